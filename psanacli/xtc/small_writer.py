"""Writing small data: the datagrams of a big file, with each large object of an event replaced by a proxy.

The other way, from a proxy to its object, is `psanacli.xtc.smalldata`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError, OutputError, UsageError
from psanacli.whole import whole_file
from psanacli.xtc._small_writer import Outcome, SmallCopier
from psanacli.xtc.facility import Advance, BigFile, WrittenFile, blocks, open_big, type_limit, unreadable
from psanacli.xtc.headers import XTC_HEADER, DatagramFlag, Transition, service
from psanacli.xtc.smalldata import IN_PROGRESS, SMALL_DIRECTORY, SMALL_SUFFIX
from psanacli.xtc.walk import FileTable

SMALL_THRESHOLD = 1024
"""Objects of this many bytes or more, header included, become proxies unless something else is asked for."""

_COPY, _COPY_CONFIGURE, _MAKE_SMALL = range(3)


def small_file_of(big: str | os.PathLike[str]) -> Path:
    """Return the place of the small data of a big file: ``smalldata/NAME.smd.xtc`` beside ``NAME.xtc``.

    Raises
    ------
    UsageError
        The name of the big file does not end in ``.xtc``; its small data could not be told from it.
    """
    big = Path(big)
    name = big.name.removesuffix(IN_PROGRESS)
    if not name.endswith(".xtc"):
        raise UsageError(f"{big}: small data can be made of files called NAME.xtc only")
    return big.parent / SMALL_DIRECTORY / f"{name.removesuffix('.xtc')}{SMALL_SUFFIX}"


def write_small(
    big: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    threshold: int = SMALL_THRESHOLD,
    table: FileTable | None = None,
    as_they_are: NDArray[np.integer] | None = None,
    advance: Advance | None = None,
    confirm: Callable[[], None] = lambda: None,
) -> WrittenFile:
    """Write the small data of a big file.

    What is written is what the facility's ``smldata`` would write, byte by byte, where that is defined: the source
    words that it leaves as they are in memory are 0, an object that reaches beyond its datagram ends its container
    (there leftover memory is copied), and datagrams above 64 MB do not end the file.

    Parameters
    ----------
    big : path
        The big file.
    out : path
        The small file; proxies can be followed only from `small_file_of(big)`.  One that exists is replaced.  Its
        directory has to exist.
    threshold : int
        Objects of this many bytes or more, header included, become proxies; EvrData never do.
    table : FileTable, optional
        Of the whole big file, when it was walked already.
    as_they_are : integer array, optional
        Offsets of events that are copied unchanged.  Events with nothing but EPICS records are no events when the big
        file is read, but are when the small data have, as always, the place of each event in the big file in it.
    advance : callable, optional
        Called now and then with the number of bytes of the big file that were dealt with since the last call.
    confirm : callable, optional
        Called when all was read, before the file takes its place; if it raises, nothing has changed.

    Returns
    -------
    WrittenFile
        What was written, and what is wrong with the big file.

    Raises
    ------
    NotFoundError
        There is no such big file.
    DataError
        The big file cannot be read.
    OutputError
        The small data cannot be written.
    UsageError
        `big` is a small-data file, or the threshold is none.
    """
    big, out = Path(big), Path(out)
    if not 0 <= threshold <= 0xFFFFFFFF:
        raise UsageError(f"a threshold of {threshold} bytes is not from 0 to {0xFFFFFFFF}")
    whole = BigFile.of(big, table)
    rows = whole.datagrams
    kinds = service(rows)
    ways = np.full(len(rows), _COPY, np.uint8)
    ways[kinds == Transition.Configure] = _COPY_CONFIGURE
    ways[kinds == Transition.L1Accept] = _MAKE_SMALL
    if as_they_are is not None:
        ways[np.isin(rows["offset"], as_they_are)] = _COPY
    # An incomplete datagram has nothing in it that may be looked at, and so nothing to write.
    shut = (ways == _MAKE_SMALL) & (rows["flags"] & DatagramFlag.NOT_ENTERED != 0)
    rows, ways = rows[~shut], ways[~shut]
    offsets, extents = np.ascontiguousarray(rows["offset"]), np.ascontiguousarray(rows["extent"])
    with open_big(big) as source, whole_file(out) as target:
        copier = SmallCopier(source.fileno(), target.fileno(), threshold, type_limit())
        for block in blocks(len(rows)):
            result = copier.add(offsets[block], extents[block], ways[block])
            _check(*result, whole.path, out, offsets[block])
            if advance is not None:
                advance(int((extents[block] + XTC_HEADER).sum(dtype=np.int64)))
        _check(*copier.finish(), whole.path, out, offsets)
        size = os.fstat(target.fileno()).st_size
        confirm()
    return WrittenFile(
        path=out,
        size=size,
        events=int(np.count_nonzero(ways == _MAKE_SMALL)) - copier.left_out,
        left_out=int(np.count_nonzero(shut)) + copier.left_out,
        proxies=copier.proxies,
        contradictions=copier.contradictions,
        problems=whole.problems,
        more_problems=whole.more_problems,
    )


def _check(outcome: Outcome, at: int, error: int, big: Path, out: Path, offsets: np.ndarray) -> None:
    """Raise what a native call says."""
    match outcome:
        case Outcome.DONE:
            return
        case Outcome.NO_MEMORY:
            raise MemoryError("no memory for an event of the small data")
        case Outcome.UNREADABLE:
            raise unreadable(big, int(offsets[at]), error)
        case Outcome.UNWRITABLE:
            raise OutputError(f"{out} cannot be written: {os.strerror(error)}")
        case Outcome.TOO_LARGE:
            where = f"{big}: the datagram at offset {int(offsets[at])}"
            raise DataError(
                f"{where} would be larger than 4 GB in the small data", "a larger threshold makes it smaller"
            )
