"""The objects of a detector that is read out in pieces, put together event by event.

An event has the whole when it has all pieces, and when these are of one frame of the camera.  Each piece counts its
frames by itself, and the counters need not have begun together; so what is compared is how far they are apart, which
is the same in all events of a step unless a piece lost a frame.  A few events of a step tell the usual distance.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError, NotFoundError
from psanacli.run.columns import MAX_BYTES, Column, reserve, spelled
from psanacli.run.names import DetectorNames
from psanacli.run.objects import Key
from psanacli.run.payloads import Payloads
from psanacli.run.readers import Reader, ReadersByKey
from psanacli.run.segments import Whole, wholes
from psanacli.xtc import Record, Source

Ints = NDArray[np.int64]
_TYPE = "Jungfrau.Element"
_SAMPLES = 16
"""Events of a step that tell how far the frame numbers of its pieces are apart."""
_AT_ONCE = 1 << 16
"""Events whose frame numbers are read in one go."""
_WORD = np.int64(0xFFFFFFFF)
"""Frame numbers are compared in 32 bits, as some types have no more."""


@dataclass(frozen=True, eq=False)
class JoinedElement:
    """What the pieces have in one event, as if it were one object.

    Attributes
    ----------
    pieces : tuple of Record
        The objects of the pieces, by their first module.
    frame : ndarray of uint16, shape (modules, 512, 1024)
        Modules that are in no piece are 0.
    """

    pieces: tuple[Record, ...]
    frame: NDArray[np.uint16]

    @property
    def frameNumber(self) -> int:
        """Of the piece with the first module."""
        return int(self.pieces[0].frameNumber)

    @property
    def ticks(self) -> int:
        """Of the piece with the first module."""
        return int(self.pieces[0].ticks)

    @property
    def fiducials(self) -> int:
        """Of the piece with the first module."""
        return int(self.pieces[0].fiducials)

    @property
    def moduleInfo(self) -> list[Record]:
        """What is told of each module that is there; empty in old data."""
        return [info for piece in self.pieces for info in getattr(piece, "moduleInfo", ())]

    def asdict(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        names = ("frameNumber", "ticks", "fiducials")
        infos = [info.asdict() for info in self.moduleInfo]
        return {**{name: getattr(self, name) for name in names}, "moduleInfo": infos, "frame": self.frame}


class Piece(NamedTuple):
    """A piece: its source, its modules in the whole, and what reads its objects, the newest type first."""

    source: Source
    first: int
    modules: int
    readers: tuple[Reader, ...]

    @property
    def events(self) -> Ints:
        """Numbers of the events that have it, ascending."""
        found = [reader.objects.event for reader in self.readers]
        return np.unique(np.concatenate(found)).astype(np.int64) if found else np.zeros(0, np.int64)

    def get(self, event: int) -> Record | None:
        """Return its object in an event."""
        return next((record for each in self.readers if (record := each.get(event)) is not None), None)

    def image(self, record: Record) -> NDArray[np.uint16]:
        """Return the image of an object of it, shape (modules, 512, 1024)."""
        frame: NDArray[np.uint16] = record.frame
        if len(frame) != self.modules:
            raise DataError(
                f"{self.source.name}: an image has {len(frame)} modules, by its name there are {self.modules}"
            )
        return frame


class Frames:
    """Whether the pieces of an event are of one frame.

    Parameters
    ----------
    payloads : Payloads
    pieces : sequence of Piece
    complete : ndarray of int64
        Numbers of the events that have all pieces, ascending.
    """

    def __init__(self, payloads: Payloads, pieces: Sequence[Piece], complete: Ints) -> None:
        self._columns = [Column(payloads, [*piece.readers], "frameNumber") for piece in pieces]
        self._complete = complete
        steps = payloads.table.events["step"][complete]
        self._bounds = np.concatenate(([0], np.flatnonzero(np.diff(steps)) + 1, [len(complete)]))
        """Where each step begins in `complete`."""
        self._usual: dict[int, Ints] = {}

    def same(self, event: int, numbers: Sequence[int]) -> bool:
        """Return whether the frame numbers of the pieces in a complete event go together."""
        return bool(self.go_together(np.array([event]), np.array([numbers], np.int64))[0])

    def go_together(self, events: Ints, numbers: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Return in which complete events the frame numbers of pieces, shape (events, pieces), go together."""
        steps = np.searchsorted(self._bounds[1:-1], np.searchsorted(self._complete, events), "right")
        usual = np.zeros(numbers.shape, np.int64)
        for step in np.unique(steps).tolist():
            usual[steps == step] = self._distances(step)
        return np.asarray(((_distances(numbers) == usual) | (usual < 0)).all(axis=1))

    def together(self, first: int, stop: int) -> Ints:
        """Return which of the events `first` to `stop` are complete, and of one frame."""
        events = self._complete[slice(*np.searchsorted(self._complete, (first, stop)))]
        if not len(events):
            return events
        numbers = np.stack([column.read(first, stop).data[events - first] for column in self._columns], axis=1)
        return events[self.go_together(events, numbers)]

    def _distances(self, step: int) -> Ints:
        """Return how far the frame numbers of the pieces are from those of the first, -1 for one that is not told."""
        if step not in self._usual:
            events = self._complete[self._bounds[step] : self._bounds[step + 1]]
            if not len(events):
                return np.full(len(self._columns), -1)
            chosen = events[np.unique(np.linspace(0, len(events) - 1, min(_SAMPLES, len(events))).astype(np.int64))]
            numbers = np.array(
                [[column.read(event, event + 1).data[0] for column in self._columns] for event in chosen.tolist()]
            )
            self._usual[step] = np.array([_usual(each) for each in _distances(numbers).T])
        return self._usual[step]


def _distances(numbers: NDArray[np.integer]) -> Ints:
    """Return how far numbers are from those of the first piece, shape (events, pieces)."""
    plain = numbers.astype(np.int64)
    return np.asarray((plain - plain[:, :1]) & _WORD)


def _usual(distances: Ints) -> int:
    """Return 0 if some events have equal numbers, else the distance of most events, -1 when there is no such one."""
    values, counts = np.unique(distances, return_counts=True)
    if 0 in values:
        return 0
    most = int(np.argmax(counts))
    return int(values[most]) if 2 * counts[most] > len(distances) else -1


class WholeReader:
    """What gives the whole of a detector in any event, and its fields in many; see `Reader`.

    Attributes
    ----------
    whole : Whole
    key : Key
        Its type, of several versions the newest, and its source.
    pieces : tuple of Piece
        By their first module.

    Raises
    ------
    DataError
        The pieces contradict each other.
    """

    def __init__(self, payloads: Payloads, whole: Whole, readers: ReadersByKey) -> None:
        self.whole = whole
        self.modules = whole.modules
        self._payloads = payloads
        found = []
        for source, segment in whole.pieces:
            mine = [
                readers[key] for key in readers if key.source.same_as(source) and key.xtc_type.name.startswith(_TYPE)
            ]
            mine.sort(key=lambda reader: reader.key.xtc_type.version or 0, reverse=True)
            if not mine:
                raise NotFoundError(
                    f"no event of the run has an image of {source.name}, a piece of {whole.source.name}"
                )
            found.append(Piece(source, segment.first, segment.modules, tuple(mine)))
        self.pieces = tuple(found)
        types = [reader.key.xtc_type for piece in found for reader in piece.readers]
        self.key = Key(max(types, key=lambda each: each.version or 0), whole.source)

    # Which events

    @cached_property
    def complete(self) -> Ints:
        """Numbers of the events that have all pieces, ascending; nothing of them is read."""
        return reduce(np.intersect1d, [piece.events for piece in self.pieces])

    @cached_property
    def incomplete(self) -> Ints:
        """Numbers of the events that have some pieces, and not all, ascending."""
        return np.setdiff1d(reduce(np.union1d, [piece.events for piece in self.pieces]), self.complete)

    @cached_property
    def frames(self) -> Frames:
        """Whether pieces are of one frame."""
        return Frames(self._payloads, self.pieces, self.complete)

    @cached_property
    def events(self) -> Ints:
        """Numbers of the events that have the whole, ascending; all frame numbers are read."""
        ends = int(self.complete[-1]) + 1 if len(self.complete) else 0
        found = [self.frames.together(at, min(at + _AT_ONCE, ends)) for at in range(0, ends, _AT_ONCE)]
        return np.concatenate(found) if found else self.complete

    @property
    def apart(self) -> Ints:
        """Numbers of the events that have all pieces, but of different frames, ascending."""
        return np.setdiff1d(self.complete, self.events)

    # What is in them

    def records(self, event: int) -> tuple[Record, ...] | None:
        """Return the objects of all pieces; None when one is missing, or they are of different frames."""
        found = tuple(piece.get(event) for piece in self.pieces)
        there = tuple(record for record in found if record is not None)
        if len(there) < len(found) or not self.frames.same(event, [int(record.frameNumber) for record in there]):
            return None
        return there

    def get(self, event: int) -> JoinedElement | None:
        """Return the whole in an event, None when the event has none."""
        records = self.records(event)
        if records is None:
            return None
        shape = self.pieces[0].image(records[0]).shape
        return JoinedElement(records, self.image(records, np.empty((self.modules, *shape[1:]), np.uint16)))

    def image(self, records: Sequence[Record], out: NDArray[np.uint16]) -> NDArray[np.uint16]:
        """Put the images of the objects of all pieces into their places, and return them."""
        for piece, record in zip(self.pieces, records, strict=True):
            frame = piece.image(record)
            if frame.shape[1:] != out.shape[1:]:
                raise DataError(
                    f"{piece.source.name} has modules of {frame.shape[1:]} pixels, {self.pieces[0].source.name} of"
                    f" {out.shape[1:]}"
                )
            out[piece.first : piece.first + len(frame)] = frame
        out[list(self.whole.absent)] = 0
        return out

    def column(self, path: str) -> WholeColumn:
        """Return what reads a field of it in any events."""
        return WholeColumn(self._payloads, self, path)

    def why_not(self, event: int) -> str:
        """Return in words why an event that has all pieces does not have the whole; empty when it has it."""
        records = [piece.get(event) for piece in self.pieces]
        numbers = [int(record.frameNumber) for record in records if record is not None]
        if len(numbers) < len(records) or self.frames.same(event, numbers):
            return ""
        told = ", ".join(f"{number} of {piece.source.name}" for number, piece in zip(numbers, self.pieces, strict=True))
        return f"its pieces are of different frames: frame numbers {told} are not as far apart as in other events"


class WholeColumn:
    """The values of a field of a whole: images and what is told of modules in their places.

    All else is that of the piece with the first module.
    """

    def __init__(self, payloads: Payloads, reader: WholeReader, path: str) -> None:
        self._reader = reader
        self._path = path
        first = Column(payloads, [*reader.pieces[0].readers], path)
        head = (spelled(reader.pieces[0].readers[0].key.xtc_type, path) or path).partition(".")[0]
        self._placed = head in ("frame", "moduleInfo")
        more = reader.pieces[1:] if self._placed else ()
        self._columns = [first, *(Column(payloads, [*piece.readers], path) for piece in more)]
        self.weight = sum(column.weight for column in self._columns)

    def read(self, first: int, stop: int, max_bytes: int = MAX_BYTES) -> np.ma.MaskedArray[Any, Any]:
        """Return the values of the events `first` to `stop`, masked where an event has no whole; see `Column.read`."""
        there = np.zeros(stop - first, bool)
        there[self._reader.frames.together(first, stop) - first] = True
        if self._placed:
            parts = (column.read(first, stop, max_bytes) for column in self._columns)
            result, known = self._in_places(parts, stop - first, max_bytes)
        else:
            column = self._columns[0].read(first, stop, max_bytes)
            result, known = column.data, _known(column)
        there &= known
        result[~there] = np.zeros((), result.dtype)
        mask = np.broadcast_to(~there.reshape(-1, *[1] * (result.ndim - 1)), result.shape)
        return np.ma.MaskedArray(result, mask, keep_mask=False)

    def _in_places(
        self, parts: Iterator[np.ma.MaskedArray[Any, Any]], count: int, max_bytes: int
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return images with those of the pieces in their places, and which events have all of them."""
        result: NDArray[Any] | None = None
        known = np.ones(count, bool)
        for piece, part in zip(self._reader.pieces, parts, strict=True):
            known &= _known(part)
            if part.ndim < 2:
                continue  # no event of these has it
            if result is None:
                shape = (self._reader.modules, *part.shape[2:])
                result = reserve(count, shape, part.dtype, max_bytes, self._path)
            if part.shape[1:] != (piece.modules, *result.shape[2:]):
                raise DataError(f"{piece.source.name}: images have the shape {part.shape[1:]}, by its name other ones")
            result[:, piece.first : piece.first + piece.modules] = part.data
        return np.zeros(count) if result is None else result, known


def _known(column: np.ma.MaskedArray[Any, Any]) -> NDArray[np.bool_]:
    """Return which events have a value."""
    mask = np.ma.getmaskarray(column)
    return ~mask.reshape(len(mask), -1)[:, 0] if mask.size else np.zeros(len(mask), bool)


class Wholes(Mapping[str, Whole]):
    """The detectors of a run that come in pieces, by full name.

    Parameters
    ----------
    payloads : Payloads
    readers : ReadersByKey
    names : DetectorNames
        Of the sources of the run.
    aliases : mapping of str to Source
    """

    def __init__(
        self, payloads: Payloads, readers: ReadersByKey, names: DetectorNames, aliases: Mapping[str, Source]
    ) -> None:
        self._payloads = payloads
        self._readers = readers
        self._wholes = wholes(names.sources)
        self._known: dict[str, WholeReader] = {}
        pieces = {whole.source.identity: {source.identity for source, _ in whole.pieces} for whole in self.values()}
        self.names = DetectorNames(
            (
                (key.xtc_type.name, whole.source)
                for whole in self._wholes.values()
                for key in readers
                if key.source.identity in pieces[whole.source.identity] and key.xtc_type.name.startswith(_TYPE)
            ),
            aliases,
        )

    def find(self, name: str) -> WholeReader | None:
        """Return what reads the detector of a name, None when none has it.

        Raises
        ------
        DataError
            Its pieces contradict each other.
        UsageError
            The name fits several.
        """
        found = self.find_field(name)
        return None if found is None or found[1] else found[0]

    def find_field(self, name: str) -> tuple[WholeReader, str] | None:
        """Return what reads the detector of a name like ``jungfrau4M.frame``, and the field (empty: none)."""
        if not self._wholes:
            return None
        try:
            found, path = self.names.find_field(name)
        except NotFoundError:
            return None
        return self.reader(found.source.name), path

    def reader(self, name: str) -> WholeReader:
        """Return what reads a detector, by its full name."""
        if name not in self._known:
            self._known[name] = WholeReader(self._payloads, self._wholes[name], self._readers)
        return self._known[name]

    def __getitem__(self, name: str) -> Whole:
        return self._wholes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._wholes)

    def __len__(self) -> int:
        return len(self._wholes)
