"""What ``psana info`` says of constants: which apply to the detectors of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from psanacli.commands import console, info_tables

if TYPE_CHECKING:
    from psanacli.run import Run


def constants(run: Run) -> list[dict[str, Any]] | None:
    """Return which constants apply to a run, a row for each detector and type that the store has a directory of.

    Returns
    -------
    list of dict, or None
        ``detector``, ``type``, and ``file`` and ``range``, which are None when none applies; None when the run has no
        directory of constants.
    """
    from psanacli.calib import GEOMETRY, TYPES, Store

    if run.calib_dir is None or not Path(run.calib_dir).is_dir():
        return None
    store = Store(Path(run.calib_dir))
    seen = {source.name for source in run.names.sources} | {key.source.name for key in run.config} | {*run.wholes}
    rows: list[dict[str, Any]] = []
    for source in store.sources():
        if source not in seen:
            continue
        for name in store.types(source):
            if name in TYPES or name == GEOMETRY:
                choice = store.which(source, name, run.number)
                applies = None if choice.entry is None else str(choice.entry.range)
                rows.append({"detector": source, "type": name, "file": choice.file, "range": applies})
    return rows


def table(run: Run) -> None:
    """Print a row for each detector and type; nothing when the run has no directory of constants."""
    rows = constants(run)
    if rows is None:
        return
    shown: list[Sequence[object]] = []
    before = ""
    for row in rows:
        head = row["detector"] if row["detector"] != before else ""
        before = row["detector"]
        file = "none applies" if row["file"] is None else Path(row["file"]).name
        shown.append((head, row["type"], file, row["range"]))
    info_tables.gap()
    if shown:
        console.table(("detector", "constants", "file", "runs"), shown, title=f"constants in {run.calib_dir}")
    else:
        click.echo(f"constants in {run.calib_dir}: none of these detectors")


def short(run: Run) -> None:
    """Print a row for each detector: types that apply, and types that do not; nothing as in `table`."""
    found: dict[str, tuple[list[str], list[str]]] = {}
    for row in constants(run) or ():
        found.setdefault(row["detector"], ([], []))[row["file"] is None].append(row["type"])
    if found:
        info_tables.gap()
        rows = [(name, ", ".join(there), ", ".join(missing)) for name, (there, missing) in found.items()]
        head = ("detector", "constants for this run") + ("not for it",) * any(row[2] for row in rows)
        console.table(head, [row[: len(head)] for row in rows])
