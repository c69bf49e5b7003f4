"""Index files of the facility: ``index/NAME.xtc.idx`` says where in ``NAME.xtc`` each event is, and what it has.

An index has the events of one file in order of time, its steps, the event codes that occur, and its segments: the
readout nodes whose containers stand directly in the events, each with the objects that it contributes.  The original
jumps to events by them (data sources with ``idx``).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError, NotFoundError
from psanacli.whole import whole_file
from psanacli.xtc._index_file import EventVisitor, inversions
from psanacli.xtc.facility import Advance, BigFile, WrittenFile, blocks, open_big, type_limit, unreadable
from psanacli.xtc.headers import NO_FIDUCIAL, DatagramFlag, Transition, fiducials, service
from psanacli.xtc.smalldata import IN_PROGRESS
from psanacli.xtc.sources import Source
from psanacli.xtc.walk import FileTable

INDEX_DIRECTORY = "index"
INDEX_SUFFIX = ".idx"

INDEX_EVENT = np.dtype(
    [
        ("seconds", "<u4"),
        ("nanoseconds", "<u4"),
        ("fiducials", "<u4"),
        ("offset", "<i8"),
        ("damage", "<u4"),
        ("damaged", "<u4"),
        ("absent", "<u4"),
        ("codes", "<u4"),
    ]
)
"""An event, 36 bytes: clock, fiducials, offset and damage of the datagram; masks of the segments with damage, of the
segments without data, and of the event codes.  Bit k is segment or code k; a number above 31 sets all bits."""

INDEX_STEP = np.dtype([("offset", "<i8"), ("first", "<i4"), ("seconds", "<u4"), ("nanoseconds", "<u4")])
"""A step, 20 bytes: offset of its BeginCalibCycle, number of events before it, clock."""

_NAME_BYTES = 32
_TYPE_ID = 38
_TYPE_WORD = 2 << 16 | _TYPE_ID
_COUNTS = {
    1: np.dtype([("steps", "<i2"), ("codes", "i1"), ("segments", "i1"), ("events", "<i4")]),
    2: np.dtype(
        [
            ("steps", "<i4"),
            ("codes", "<i2"),
            ("segments", "<i2"),
            ("events", "<i4"),
            ("out_of_order", "<i4"),
            ("overlap_before", "<i4"),
            ("overlap_after", "<i4"),
        ]
    ),
}
_SOURCE = np.dtype([("log", "<u4"), ("phy", "<u4")])
_MOST_SHORT = 0x7FFF
_MOST_LONG = 0x7FFFFFFF
_MOST_OBJECTS = 255


@dataclass(frozen=True)
class IndexSegment:
    """A readout node, and what it contributed to the first event in which it had anything.

    Attributes
    ----------
    source : Source
        Of its container.
    objects : tuple of (Source, int)
        Source and type word of each object.
    """

    source: Source
    objects: tuple[tuple[Source, int], ...]


@dataclass(frozen=True, eq=False)
class IndexFile:
    """The contents of an index file.

    Attributes
    ----------
    name : str
        Name of the big file, without a directory; the file has room for 31 bytes of it.
    events : ndarray of `INDEX_EVENT`
        In order of time; those of equal time in the order of the file.
    steps : ndarray of `INDEX_STEP`
        In the order of the file.
    codes : tuple of int
        Event codes in order of first appearance, their lowest 8 bits.
    segments : tuple of IndexSegment
        In order of first appearance.
    out_of_order : int
        How many places events had to be moved towards the front, and one for each that has the time of an earlier one.
    overlaps : (int, int)
        Events that overlap with the chunk before and behind; the facility never counted them.
    version : int
        Of the format that was read: 1 or 2.  Version 2 is written.

    Examples
    --------
    >>> index = IndexFile.read("xtc/index/e301-r0001-s00-c00.xtc.idx")  # doctest: +SKIP
    >>> index.events["offset"][:3]  # doctest: +SKIP
    array([5760, 8164, 9796])
    """

    name: str
    events: NDArray[Any]
    steps: NDArray[Any]
    codes: tuple[int, ...]
    segments: tuple[IndexSegment, ...]
    out_of_order: int = 0
    overlaps: tuple[int, int] = (0, 0)
    version: int = 2

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> IndexFile:
        """Read an index file.

        Raises
        ------
        NotFoundError
            There is no such file.
        DataError
            It cannot be read, or is no index file.
        """
        try:
            data = Path(path).read_bytes()
        except FileNotFoundError:
            raise NotFoundError(f"{path}: no such file") from None
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from error
        try:
            return cls.parse(data)
        except DataError as error:
            raise DataError(f"{path}: {error.message}", "make it again from the big file") from None

    @classmethod
    def parse(cls, data: bytes) -> IndexFile:
        """Return the index in the bytes of a file.

        Raises
        ------
        DataError
            They are no index.
        """
        pieces = _Pieces(data)
        word = int(pieces.take("<u4", 1, "the type word")[0])
        version = word >> 16
        if word & 0xFFFF != _TYPE_ID or version not in _COUNTS:
            raise DataError(f"not an index file: it begins with {word:#010x}, not with {_TYPE_WORD:#010x}")
        name = bytes(pieces.take("u1", _NAME_BYTES, "the name")).split(b"\0")[0]
        head = pieces.take(_COUNTS[version], 1, "the header")[0]
        counts = {field: int(head[field]) for field in head.dtype.names}
        for field in ("steps", "codes", "events"):
            if counts[field] < 0:
                raise DataError(f"the number of {field} is {counts[field]}")
        if counts["segments"] < -1:
            raise DataError(f"the number of segments is {counts['segments']}")
        events = pieces.take(INDEX_EVENT, counts["events"], "the events")
        steps = pieces.take(INDEX_STEP, counts["steps"], "the steps")
        codes = pieces.take("u1", counts["codes"], "the event codes")
        segments = tuple(_segment(pieces, number) for number in range(counts["segments"]))
        if pieces.rest:
            raise DataError(f"{pieces.rest} bytes follow behind the last segment, at offset {pieces.at}")
        return cls(
            os.fsdecode(name),
            events,
            steps,
            tuple(codes.tolist()),
            segments,
            counts.get("out_of_order", 0),
            (counts.get("overlap_before", 0), counts.get("overlap_after", 0)),
            version,
        )

    def __bytes__(self) -> bytes:
        """Return the bytes of the file, version 2."""
        head = np.zeros(1, _COUNTS[2])
        head["steps"], head["events"] = len(self.steps), len(self.events)
        head["codes"] = len(self.codes)
        # Without events the facility's writer does not know its segments.
        head["segments"] = len(self.segments) if len(self.events) else -1
        head["out_of_order"] = self.out_of_order
        head["overlap_before"], head["overlap_after"] = self.overlaps
        parts = [
            _TYPE_WORD.to_bytes(4, "little"),
            os.fsencode(self.name)[: _NAME_BYTES - 1].ljust(_NAME_BYTES, b"\0"),
            head.tobytes(),
            self.events.tobytes(),
            self.steps.tobytes(),
            bytes(self.codes),
        ]
        for segment in self.segments:
            sources = [source for source, _ in segment.objects]
            words = [(source.log, source.phy) for source in (segment.source, *sources)]
            packed = np.array(words, _SOURCE).tobytes()
            types = np.array([kind for _, kind in segment.objects], "<u4").tobytes()
            parts += [packed[: _SOURCE.itemsize], bytes([len(sources)]), packed[_SOURCE.itemsize :], types]
        return b"".join(parts)


class _Pieces:
    """Bytes that are taken piece by piece."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    @property
    def rest(self) -> int:
        return len(self.data) - self.at

    def take(self, dtype: np.dtype[Any] | str, count: int, what: str) -> NDArray[Any]:
        """Return the next `count` values, a view."""
        dtype = np.dtype(dtype)
        size = dtype.itemsize * count
        if size > self.rest:
            raise DataError(f"{what} need {size} bytes at offset {self.at}, but the file ends after {self.rest}")
        values = np.frombuffer(self.data, dtype, count, self.at)
        self.at += size
        return values


def _segment(pieces: _Pieces, number: int) -> IndexSegment:
    what = f"segment {number}"
    (log, phy), count = pieces.take(_SOURCE, 1, what).tolist()[0], int(pieces.take("u1", 1, what)[0])
    sources = pieces.take(_SOURCE, count, f"the sources of {what}").tolist()
    types = pieces.take("<u4", count, f"the types of {what}").tolist()
    return IndexSegment(
        Source(log, phy), tuple((Source(*words), kind) for words, kind in zip(sources, types, strict=True))
    )


def index_file_of(big: str | os.PathLike[str]) -> Path:
    """Return the place of the index of a big file: ``index/NAME.xtc.idx`` beside it."""
    big = Path(big)
    return big.parent / INDEX_DIRECTORY / (big.name.removesuffix(IN_PROGRESS) + INDEX_SUFFIX)


def write_index(
    big: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    table: FileTable | None = None,
    advance: Advance | None = None,
    confirm: Callable[[], None] = lambda: None,
) -> WrittenFile:
    """Write the facility's index of a big file.

    What is written is what the facility's ``xtcindex`` would write, byte by byte, but for two things: the entry behind
    an event of unknown fiducial has its own offset (and not that of the event left out), and datagrams above 32 MB do
    not end the index.

    Parameters
    ----------
    big : path
        The big file.
    out : path
        The index file, usually `index_file_of(big)`; one that exists is replaced.  Its directory has to exist.
    table : FileTable, optional
        Of the whole big file, when it was walked already.
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
        The index cannot be written.
    UsageError
        `big` is a small-data file.
    """
    big, out = Path(big), Path(out)
    whole = BigFile.of(big, table)
    index, left_out, contradictions = _make_index(whole, advance)
    data = bytes(index)
    with whole_file(out) as file:
        file.write(data)
        confirm()
    return WrittenFile(
        out, len(data), len(index.events), left_out, 0, contradictions, whole.problems, whole.more_problems
    )


def _make_index(big: BigFile, advance: Advance | None) -> tuple[IndexFile, int, int]:
    """Return the index, the number of events left out, and of containers of which not all was understood."""
    rows = big.datagrams
    events = service(rows) == Transition.L1Accept
    known = events & (fiducials(rows) != NO_FIDUCIAL)
    masks, visitor = _visit(big, rows[known], advance)
    nodes = np.zeros(len(masks), INDEX_EVENT)
    nodes["fiducials"] = fiducials(rows[known])
    for name in ("seconds", "nanoseconds", "offset", "damage"):
        nodes[name] = rows[name][known]
    for number, name in enumerate(("damaged", "absent", "codes")):
        nodes[name] = masks[:, number]
    clock = nodes["seconds"].astype(np.uint64) << np.uint64(32) | nodes["nanoseconds"]
    # The facility's writer counts a step for each event that it passes on the way to the right place, and for one of
    # the same time.
    out_of_order = inversions(clock) + len(clock) - len(np.unique(clock))
    begins = service(rows) == Transition.BeginCalibCycle
    steps = np.zeros(np.count_nonzero(begins), INDEX_STEP)
    steps["first"] = np.cumsum(known)[begins]
    for name in ("offset", "seconds", "nanoseconds"):
        steps[name] = rows[name][begins]
    segments, codes = _found(visitor)
    index = IndexFile(
        big.path.name.removesuffix(IN_PROGRESS),
        nodes[np.argsort(clock, kind="stable")],
        steps,
        codes,
        segments,
        min(out_of_order, _MOST_LONG),
    )
    return index, int(np.count_nonzero(events & ~known)), visitor.contradictions


def _visit(big: BigFile, events: NDArray[Any], advance: Advance | None) -> tuple[NDArray[np.uint32], EventVisitor]:
    """Look into all events; those whose datagram is incomplete have nothing in them."""
    masks = np.zeros((len(events), 3), np.uint32)
    offsets = np.ascontiguousarray(events["offset"])
    extents = np.ascontiguousarray(events["extent"])
    entered = np.flatnonzero(events["flags"] & DatagramFlag.NOT_ENTERED == 0)
    with open_big(big.path) as file:
        visitor = EventVisitor(file.fileno(), type_limit())
        for block in blocks(len(entered)):
            chosen = entered[block]
            found = np.zeros((len(chosen), 3), np.uint32)
            at, error = visitor.visit(offsets[chosen], extents[chosen], found)
            if at >= 0:
                raise unreadable(big.path, int(offsets[chosen][at]), error)
            masks[chosen] = found
            if advance is not None:
                advance(int(extents[chosen].sum(dtype=np.int64)))
    return masks, visitor


def _found(visitor: EventVisitor) -> tuple[tuple[IndexSegment, ...], tuple[int, ...]]:
    """Return the segments with their objects, and the event codes, as far as the format can count them."""
    sources, codes, listed = visitor.found()
    listed = listed[np.argsort(listed[:, 0], kind="stable")]
    starts = np.searchsorted(listed[:, 0], np.arange(min(len(sources), _MOST_SHORT) + 1))
    segments = []
    for number, (log, phy) in enumerate(sources[:_MOST_SHORT].tolist()):
        objects = listed[starts[number] : starts[number + 1]][:_MOST_OBJECTS, 1:].tolist()
        segments.append(IndexSegment(Source(log, phy), tuple((Source(a, b), kind) for a, b, kind in objects)))
    return tuple(segments), tuple((codes[:_MOST_SHORT] & 0xFF).tolist())
