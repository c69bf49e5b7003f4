"""`psana dump`: every datagram of files, and everything in it."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase

import click
import numpy as np
from numpy.typing import NDArray

from psanacli.commands import common, console
from psanacli.commands.dump_text import datagram_line, item_lines
from psanacli.errors import NotFoundError, did_you_mean, fold
from psanacli.run import EventList
from psanacli.xtc import (
    DatagramError,
    FileContents,
    Item,
    SourceMatch,
)


class _Wanted:
    """What ``--types`` and ``--sources`` select; remembers which patterns found something."""

    def __init__(self, types: tuple[str, ...], sources: tuple[str, ...]) -> None:
        self.types = {fold(pattern): pattern for pattern in types}
        self.sources = {SourceMatch.parse(pattern): pattern for pattern in sources}
        self.found: set[str] = set()
        self.seen_types: set[str] = set()
        self.seen_sources: set[str] = set()

    def __call__(self, item: Item) -> bool:
        if not item.node.fits:
            return False
        names = {item.type_text, item.type_text.rpartition("_")[0]}
        if item.xtc_type is not None:
            names.add(item.xtc_type.name)
        self.seen_types |= names
        self.seen_sources.add(item.source.name)
        by_type = [
            text for pattern, text in self.types.items() if any(fnmatchcase(fold(name), pattern) for name in names)
        ]
        by_source = [text for match, text in self.sources.items() if match.matches(item.source)]
        self.found.update(by_type, by_source)
        return bool(by_type or not self.types) and bool(by_source or not self.sources)

    def check(self) -> None:
        """Say which pattern found nothing."""
        for patterns, seen, what in (
            (self.types.values(), self.seen_types, "type"),
            (self.sources.values(), self.seen_sources, "source"),
        ):
            for pattern in patterns:
                if pattern not in self.found:
                    raise NotFoundError(f"no {what} matches {pattern}", did_you_mean(pattern.strip("*"), seen))


@common.verb(
    examples=[
        ("psana dump e158-r0054-s00-c00.xtc", "everything in a file"),
        (
            "psana dump e158-r0054-s00-c00.xtc --events 0:3 --types 'EBeam*'",
            "one kind of object in the first three events",
        ),
        (
            "psana eventid select exp=xpptut15:run=54 --where 'damaged(cspad)' | "
            "psana dump e158-r0054-s00-c00.xtc --events -",
            "the events for which a condition holds",
        ),
        ("psana dump e158-r0054-s00-c00.xtc --headers", "only what the headers say, no objects"),
        ("psana dump e158-r0054-s00-c00.xtc --json | jq '.dgrams[0].transition'", "for other programs"),
    ]
)
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(dir_okay=False, readable=False))
@common.events
@common.missing_ok
@click.option(
    "--types", multiple=True, metavar="GLOB", help="Only these types: `Camera.FrameV1`, `Frame_v1`, `EBeam*`."
)
@click.option(
    "--sources", multiple=True, metavar="PATTERN", help="Only these sources: `XppEndstation.0:Opal1000.1`, `*:Cspad.*`."
)
@click.option("--headers", is_flag=True, help="Only headers, no objects.")
@click.option(
    "--expand", is_flag=True, help="In small data, show the objects of the big file in place of their proxies."
)
@common.json_output
@common.talk
def command(
    files: tuple[str, ...],
    events: slice | str | None,
    missing_ok: bool,
    types: tuple[str, ...],
    sources: tuple[str, ...],
    headers: bool,
    expand: bool,
    as_json: bool,
) -> None:
    """Print every datagram of XTC files and everything in it, decoded.

    Big files and small data are read. Of damaged files all whole datagrams before the damage are printed; then a
    message says what is wrong and where, and the exit code is 4. Numbers of events count in each file; ids of a list
    are looked for by time and fiducials, of which control streams have others than the run. There is no --where, as
    its conditions are about events of a run and not about a file: psana eventid select makes a list of such events.
    """
    wanted = _Wanted(types, sources) if types or sources else None
    failure: DatagramError | None = None
    listed = EventList.read(events) if isinstance(events, str) else None
    missing = np.ones(len(listed) if listed is not None else 0, bool)
    for path in files:
        chosen = events if isinstance(events, slice) else None if listed is None else _places(listed, path, missing)
        contents = FileContents(path, events=chosen, wanted=wanted, objects=not headers, expand=expand)
        error = _print_json(contents, headers) if as_json else _print_text(contents, headers)
        for text, count in contents.notes.items():
            console.note(f"{path}: {text}" + (f" ({count} times)" if count > 1 else ""))
        if error is not None and failure is not None:
            console.error(failure.message)
        failure = error or failure
    if failure is not None:
        raise failure
    if listed is not None and missing.any():
        gone = listed[missing]
        if not missing_ok:
            raise NotFoundError(
                f"{len(gone)} of {len(listed)} events of {listed.origin} are in none of the files: {gone.line(0)}",
                "a list of the run may have events of other streams; --missing-ok goes on without them",
            )
        console.warn(f"{len(gone)} of {len(listed)} events of the list are in none of the files")
    if wanted is not None:
        wanted.check()


def _places(listed: EventList, path: str, missing: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the numbers that events of a list have in a file; what it has is no longer missing."""
    from psanacli.xtc import Transition, fiducials, service, walk_file

    rows = walk_file(path).datagrams
    rows = rows[service(rows) == Transition.L1Accept]
    table = np.zeros(len(rows), [("seconds", "<i8"), ("nanoseconds", "<i8"), ("fiducials", "<i8")])
    table["seconds"], table["nanoseconds"], table["fiducials"] = rows["seconds"], rows["nanoseconds"], fiducials(rows)
    found = listed.places(table)
    missing &= found < 0
    return np.unique(found[found >= 0])


def _print_json(contents: FileContents, headers: bool) -> DatagramError | None:
    """Print one JSON object, datagram after datagram; return what ended it early."""
    head = json.dumps({"file": contents.path.name, "size": contents.table.size})
    click.echo(f'{head[:-1]}, "dgrams": [', nl=False)
    error = None
    separator = "\n"
    try:
        for datagram in contents:
            value = datagram.plain() | {"xtcs": [item.plain(data=not headers) for item in datagram.items]}
            click.echo(separator + json.dumps(value, allow_nan=False), nl=False)
            separator = ",\n"
    except DatagramError as end:
        error = end
    click.echo(f'\n], "end": {contents.end}}}')
    return error


def _print_text(contents: FileContents, headers: bool) -> DatagramError | None:
    """Print the contents for people; return what ended it early."""
    click.echo(f"{contents.path}: {console.bytes_text(contents.table.size)}, {len(contents.table.datagrams)} datagrams")
    try:
        for datagram in contents:
            click.echo(datagram_line(datagram))
            for item in datagram.items:
                click.echo("\n".join(item_lines(item, headers)))
    except DatagramError as end:
        return end
    return None
