"""The facility's index files and small data of whole runs, for ``psana index build --format idx`` and ``smd``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from psanacli.commands import console, files
from psanacli.errors import DataError, OutputError, UsageError

if TYPE_CHECKING:
    from psanacli.parallel import Team
    from psanacli.run import FileProblem, RunFiles
    from psanacli.xtc import WrittenFile

KINDS = {"idx": "index files", "smd": "small-data files"}
"""What ``--format`` can say of files of the facility, and what they are called."""


class Order(NamedTuple):
    """A file to make: of which big file, where, and from which size on objects stay there (None: an index)."""

    big: Path
    out: Path
    threshold: int | None


def write_files(
    runs: Sequence[RunFiles],
    kind: str,
    directory: Path | None,
    threshold: int | None,
    overwrite: bool,
    team: Team,
    as_json: bool,
) -> None:
    """Write a file for each file of the runs, as many at a time as the team has workers.

    Parameters
    ----------
    runs : sequence of RunFiles
        The runs.
    kind : str
        One of `KINDS`.
    directory : Path, optional
        Where the files go; else where the facility has them, in a directory beside each big file.
    threshold : int, optional
        Of small data: objects of this many bytes or more stay in the big file.
    overwrite : bool
        Replace files that exist.
    team : Team
        The workers.
    as_json : bool
        Print an object for each file.

    Raises
    ------
    OutputError
        One of the files exists, or cannot be written.
    UsageError
        A big file is small data itself, or its name has no ``.xtc``.
    DataError
        Something in the big files contradicts the format; said after all was written.
    """
    from psanacli.parallel import run_ordered

    begin = time.monotonic()
    orders = _orders(runs, kind, directory, threshold, overwrite) if team.is_root else []
    written: list[WrittenFile] = []
    with console.progress(KINDS[kind], len(orders), "files") as progress:

        def place(order: Order, made: WrittenFile) -> None:
            written.append(made)
            progress.advance(1, made.size)
            if as_json:
                _print_json(order, made)
            elif console.verbose():
                console.note(f"{made.path}: {made.events} events, {console.bytes_text(made.size)}")

        run_ordered(orders, _make, place, team)
    if team.is_root:
        _summarize(orders, written, KINDS[kind], time.monotonic() - begin)


def _orders(
    runs: Sequence[RunFiles], kind: str, directory: Path | None, threshold: int | None, overwrite: bool
) -> list[Order]:
    """Return what is to be made; directories exist afterwards."""
    from psanacli.xtc import SMALL_THRESHOLD, index_file_of, small_file_of

    if kind == "smd":
        threshold = SMALL_THRESHOLD if threshold is None else threshold
    elif threshold is not None:
        raise UsageError("--threshold is for --format smd only")
    orders: list[Order] = []
    for big in (file.path for run in runs for file in run.files):
        usual = index_file_of(big) if kind == "idx" else small_file_of(big)
        orders.append(Order(big, directory / usual.name if directory else usual, threshold))
    files.check_new((order.out for order in orders), overwrite)
    for parent in {order.out.parent for order in orders}:
        try:
            parent.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"{parent} cannot be made: {error.strerror}", "-o names another directory") from error
    if kind == "smd" and any(order.out.resolve() != small_file_of(order.big).resolve() for order in orders):
        hint = "small data are read from a directory smalldata/ beside the big files"
        console.warn(f"large objects cannot be found from {directory}", hint)
    return orders


def _make(order: Order) -> WrittenFile:
    from psanacli.run import witness
    from psanacli.xtc import write_index, write_small

    confirm = witness(order.big)
    if order.threshold is None:
        return write_index(order.big, order.out, confirm=confirm)
    return write_small(order.big, order.out, threshold=order.threshold, confirm=confirm)


def _print_json(order: Order, made: WrittenFile) -> None:
    console.print_json_line(
        {
            "file": str(order.big),
            "path": str(made.path),
            "bytes": made.size,
            "events": made.events,
            "left_out": made.left_out,
            "proxies": made.proxies,
            "contradictions": made.contradictions,
            "complete": made.complete,
        }
    )


def _summarize(orders: Sequence[Order], written: Sequence[WrittenFile], what: str, seconds: float) -> None:
    """Say what was written, and what is wrong with the big files."""
    from psanacli.run import FileProblem

    places = {str(made.path.parent) for made in written}
    size = console.bytes_text(sum(made.size for made in written))
    events = sum(made.events for made in written)
    took = console.duration_text(seconds)
    console.note(f"{', '.join(sorted(places))}: {len(written)} {what}; {events} events, {size} in {took}")
    problems: list[FileProblem] = []
    for order, made in zip(orders, written, strict=True):
        problems += [FileProblem(order.big, each.offset, each.kind, each.message) for each in made.problems]
        if made.more_problems:
            console.warn(f"{order.big}: {made.more_problems} more problems", "psana dump shows them")
    files.fail_if_corrupt(problems, f"all else is in the {what}")
    cut = [(order.big, made.contradictions) for order, made in zip(orders, written, strict=True) if made.contradictions]
    if cut:
        count = sum(number for _, number in cut)
        raise DataError(
            f"{cut[0][0]}: headers that cannot be, in {count} containers of {len(cut)} files",
            f"what follows in these containers is not in the {what}, as with the facility's; psana dump shows it",
        )
