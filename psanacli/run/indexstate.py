"""What can be told of an index without reading the data: for people and programs that look after them."""

from __future__ import annotations

from typing import Any

import numpy as np

from psanacli.run.indexes import find_index, index_paths, match
from psanacli.run.resolving import RunFiles


def describe_index(run: RunFiles) -> dict[str, Any]:
    """Return what the index of a run has, and whether it is still right, as plain values."""
    files = sorted(run.files, key=lambda file: file.place)
    index, path, notes = find_index(files)
    found: dict[str, Any] = {
        "experiment": str(run.experiment),
        "run": run.run,
        "path": None if path is None else str(path),
        "valid": False,
        "notes": notes,
    }
    if index is None:
        if not notes:
            notes.append("looked for at " + " and ".join(map(str, index_paths(files))))
        return found
    matched = match(index, files)
    states = {index.files[row].name: why or "as it was" for row, why in matched if row is not None}
    gone = {file.path.name for file in files}
    headers, events = index.headers, len(index.assembly.events)
    found["valid"] = not any(why for _, why in matched)
    notes += [why for _, why in matched if why]
    return found | {
        "written": str(np.datetime64(index.modified, "ns")),
        "bytes": index.size,
        "bytes_an_event": index.size / events if events else None,
        "data_bytes": sum(headers.sizes),
        "events": events,
        "steps": len(index.assembly.steps),
        "datagrams": len(headers.datagrams),
        "patterns": len(headers.start) - 1,
        "keys": len(headers.keys),
        "codes": index.codes.counts(),
        "files": [
            {
                "name": identity.name,
                "stream": identity.stream,
                "chunk": identity.chunk,
                "bytes": identity.size,
                "datagrams": int(headers.rows[row + 1] - headers.rows[row]),
                "patterns": int(headers.patterns[row + 1] - headers.patterns[row]),
                "problems": len(headers.problems[row].listed) + headers.problems[row].more,
                "state": states.get(
                    identity.name, "changed" if identity.name in gone else "not among the files that were asked for"
                ),
            }
            for row, identity in enumerate(index.files)
        ],
    }


def list_runs(run: RunFiles, *, count: bool = False) -> dict[str, Any]:
    """Return the files of a run and the state of its index, as plain values; big files are read only to `count`.

    ``index`` is ``valid``, ``stale`` (some files are not as they were), ``damaged`` or ``none``; ``why`` is the first
    reason.
    """
    from psanacli.run.run import Run

    files = sorted(run.files, key=lambda file: file.place)
    index, path, notes = find_index(files)
    events: int | None = None
    if index is None:
        state = "damaged" if notes else "none"
    else:
        notes = [why for _, why in match(index, files) if why]
        state = "stale" if notes else "valid"
        if state == "valid" and len(files) == len(index.files):
            events = len(index.assembly.events)
    if events is None and count:
        with Run(run) as opened:
            events = len(opened.events)
    return {
        "experiment": str(run.experiment),
        "run": run.run,
        "streams": sorted({file.stream for file in files}),
        "files": [file.path.name for file in files],
        "bytes": sum(file.path.stat().st_size for file in files),
        "events": events,
        "index": state,
        "why": notes[0] if notes else "",
        "path": None if path is None else str(path),
    }


__all__ = ["describe_index", "list_runs"]
