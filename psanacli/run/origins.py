"""Where the datagrams of a run are in its big files, also when small data are read.

Small data have in each datagram of an event where the whole one is (``SmlData.OrigDgramOffsetV1``: offset, and extent
of the outermost Xtc; format description, 7).  Big files tell the same by the place itself.
"""

from __future__ import annotations

from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError, NotFoundError, did_you_mean
from psanacli.run.files import IN_PROGRESS
from psanacli.run.objects import Ints
from psanacli.xtc import ContributionFlag, Transition, big_file_of, service

if TYPE_CHECKING:
    from psanacli.run.payloads import Payloads

_ORIGIN = 90
"""The type SmlDataOrigDgramOffset."""
_PAYLOAD = np.dtype([("offset", "<i8"), ("extent", "<u4")])
_BEFORE_XTC = 20
"""Bytes of a datagram before its outermost Xtc: clock, stamp and env."""


class Origin(NamedTuple):
    """Where a datagram is.

    Attributes
    ----------
    path : Path
        The big file.
    offset, size : int
        Place in it and size of the whole datagram, in bytes; -1 when small data do not tell.
    """

    path: Path
    offset: int
    size: int


class Origins:
    """Places of datagrams in big files, and the way back."""

    def __init__(self, payloads: Payloads) -> None:
        self._payloads = payloads
        self._table = payloads.table

    def of(self, rows: NDArray[np.integer]) -> list[Origin]:
        """Return the places of some rows of the datagram table."""
        offset, size = self.places(rows)
        files = self._table.datagrams["file"][rows].tolist()
        return [Origin(self._paths[f], o, s) for f, o, s in zip(files, offset.tolist(), size.tolist(), strict=True)]

    @cached_property
    def _paths(self) -> tuple[Path, ...]:
        return tuple(_big(file.path) if file.small else file.path for file in self._table.files)

    def places(self, rows: NDArray[np.integer]) -> tuple[Ints, Ints]:
        """Return offset and size of some rows of the datagram table; -1 where small data do not tell."""
        table = self._table
        datagrams = table.datagrams[rows]
        offset = datagrams["offset"].astype(np.int64)
        size = datagrams["extent"].astype(np.int64) + _BEFORE_XTC
        small = np.array([file.small for file in table.files], bool)[datagrams["file"]]
        if not small.any():
            return offset, size
        offset[small] = size[small] = -1
        index, contribution = table.contents.occurrences(table.contents.of_type(_ORIGIN), datagrams["pattern"])
        told = small[index] & (table.contents.size[contribution] == _PAYLOAD.itemsize)
        told &= table.contents.flags[contribution] & ContributionFlag.NOT_ENTERED == 0
        index, contribution = index[told], contribution[told]
        index, first = np.unique(index, return_index=True)
        start = datagrams["offset"][index].astype(np.int64) + table.contents.offset[contribution[first]]
        length = np.full(len(index), _PAYLOAD.itemsize, np.int64)
        block = self._payloads.files.read_block(datagrams["file"][index], start, length)
        bytes_of = block.buffer[block.starts[:, None] + np.arange(_PAYLOAD.itemsize)]
        words = np.ascontiguousarray(bytes_of).view(_PAYLOAD).reshape(-1)
        offset[index] = words["offset"]
        size[index] = words["extent"].astype(np.int64) + _BEFORE_XTC
        return offset, size

    @cached_property
    def _sorted(self) -> tuple[NDArray[np.uint16], Ints, Ints]:
        """Rows of the datagram table by file and offset: file, offset, row."""
        rows = np.arange(len(self._table.datagrams), dtype=np.int64)
        offset, _ = self.places(rows)
        files = self._table.datagrams["file"]
        order = np.lexsort((offset, files))
        return files[order], offset[order], order

    @cached_property
    def _event_of_row(self) -> Ints:
        table = self._table
        events = np.full(len(table.datagrams), -1, np.int64)
        events[table.members[::-1]] = np.repeat(table.groups["event"], table.groups["count"])[::-1]
        return events

    def event(self, path: str | PathLike[str], offset: int) -> int:
        """Return the number of the event that has the datagram at an offset of a big file.

        Raises
        ------
        NotFoundError
            The run has no such file, no datagram begins there, or it belongs to no event.
        """
        name = Path(path).name.removesuffix(IN_PROGRESS)
        names = [big.name.removesuffix(IN_PROGRESS) for big in self._paths]
        if name not in names:
            hint = did_you_mean(name, names, f"there are {', '.join(names)}")
            raise NotFoundError(f"the run has no file {name}", hint)
        number = names.index(name)
        files, offsets, rows = self._sorted
        first, last = np.searchsorted(files, number), np.searchsorted(files, number, side="right")
        place = first + int(np.searchsorted(offsets[first:last], offset))
        if offset < 0 or place >= last or offsets[place] != offset:
            near = [int(offsets[i]) for i in (place - 1, place) if first <= i < last and offsets[i] >= 0]
            hint = f"the nearest begin at {' and '.join(map(str, near))}" if near else ""
            raise NotFoundError(f"{name}: no datagram begins at offset {offset}", hint)
        event = int(self._event_of_row[rows[place]])
        if event < 0:
            kind = int(service(self._table.datagrams[rows[place] : rows[place] + 1])[0])
            what = "is left out of the events of the run" if kind == Transition.L1Accept else f"is {_name(kind)}"
            raise NotFoundError(f"{name}: the datagram at offset {offset} {what}, no event")
        return event


def _name(kind: int) -> str:
    return Transition(kind).name if kind in {each.value for each in Transition} else f"transition {kind}"


def _big(small: Path) -> Path:
    """Return the big file of a small one, by its name when it is not there."""
    try:
        return big_file_of(small)
    except (NotFoundError, DataError):
        directory = small.absolute().parent.parent
        return directory / small.name.removesuffix(IN_PROGRESS).replace(".smd.xtc", ".xtc")


__all__ = ["Origin", "Origins"]
