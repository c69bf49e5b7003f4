"""A Jungfrau whose modules are read out apart: its pieces, and the whole that they make.

Each piece is a detector of its own, with the constants of its modules; the whole has all modules in their places.  The
rules are those by which the facility's data acquisition puts pieces together (see `psanacli.run.segments`): an event
has an image when all pieces are there, and number and time of the frame are those of the piece with the first module.
That they are of one frame is looked at too (see `psanacli.run.pieces`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from psanacli.calib import COMMON_MODE, Constants, Store
from psanacli.detector.area import ArrayChoice
from psanacli.detector.constants import DetectorConstants
from psanacli.detector.images import stored_image
from psanacli.detector.ranged import Jungfrau
from psanacli.errors import DataError
from psanacli.run import FoundDetector, JoinedElement, WholeReader
from psanacli.xtc import Record

if TYPE_CHECKING:
    from psanacli.run import Run


class PieceConstants(DetectorConstants):
    """The constants of some modules, out of those of the whole detector.

    Parameters
    ----------
    store, run
        As of `DetectorConstants`.
    whole : str
        Full name of the whole.
    whole_shape, piece_shape : function
        Give the shapes of raw images.
    first : int
        The first module.
    """

    def __init__(
        self,
        store: Store | None,
        whole: str,
        run: int,
        whole_shape: Callable[[], tuple[int, ...]],
        piece_shape: Callable[[], tuple[int, ...]],
        first: int,
    ) -> None:
        super().__init__(store, whole, run, piece_shape)
        self._whole_shape = whole_shape
        self._first = first

    def _read(self, constants_type: str) -> Constants | None:
        if self.store is None or self.which(constants_type).file is None:
            return None
        found = self.store.get(self.source, constants_type, self.run, raw_shape=self._whole_shape())
        if constants_type == COMMON_MODE:
            return found
        count = self._raw_shape()[0]
        part = np.ascontiguousarray(found.array[..., self._first : self._first + count, :, :])
        part.setflags(write=False)
        return replace(found, array=part)


class JungfrauPiece(Jungfrau):
    """Some modules of a Jungfrau, read out as a source of their own.

    Attributes
    ----------
    whole : str
        Full name of the detector that it is a piece of, whose constants are used.
    first : int
        Number of its first module in the whole.
    """

    def __init__(self, run: Run, found: FoundDetector) -> None:
        super().__init__(run, found)
        segment = found.source.segment
        assert segment is not None
        self.whole = segment.whole.name
        self.first, self.modules = segment.first, segment.modules

    @property
    def device(self) -> str:
        """Kind of the detector: ``Jungfrau``."""
        return self.whole.partition(":")[2].split(".")[0]

    @cached_property
    def constants(self) -> DetectorConstants:
        """Those of its modules, out of the constants of the whole."""
        store = Store(self._run.calib_dir) if self._run.calib_dir else None
        shape = self.shape

        def whole_shape() -> tuple[int, ...]:
            known = self._run.wholes.get(self.whole)
            return (known.modules, *shape[1:]) if known and shape else ()

        return PieceConstants(store, self.whole, self._run.number, whole_shape, lambda: shape, self.first)

    def assembled(self, record: Record) -> NDArray[Any]:
        """Return the raw image, uint16, shape (modules, 512, 1024)."""
        frame = stored_image(record)
        if len(frame) != self.modules:
            raise DataError(f"{self.name}: an image has {len(frame)} modules, by its name there are {self.modules}")
        return frame


class SegmentedJungfrau(Jungfrau):
    """A Jungfrau that is read out in pieces: all modules in their places.

    An event has an image when all pieces are there and whole, and of one frame (see `psanacli.run.pieces`);
    `incomplete` tells the events in which some are missing, `apart` those with pieces of different frames.
    Modules that no piece of the run has (`absent`) are 0 in raw and corrected images, and bad in masks.

    Attributes
    ----------
    pieces : tuple of JungfrauPiece
        Each a detector of its own, by their first module.
    modules : int
        Number of modules of the whole.
    absent : tuple of int
        The modules that are in no piece of the run.
    """

    def __init__(self, run: Run, reader: WholeReader) -> None:
        super().__init__(run, FoundDetector(reader.key.source, ()))
        self.modules = reader.modules
        self.absent = reader.whole.absent
        self.pieces = tuple(JungfrauPiece(run, run.names.find(piece.source.name)) for piece in reader.pieces)
        self._whole = reader
        self._readers = [each for piece in reader.pieces for each in piece.readers]
        self.types = tuple(dict.fromkeys(each.key.xtc_type.name for each in self._readers))

    def get(self, event: Any) -> Any:
        """Return what the pieces have in an event, a `JoinedElement`; None when it has no image."""
        records = self._record(self._index(event))
        return None if records is None else JoinedElement(records, self.assembled(records))

    def _record(self, index: int) -> Any:
        """Return the objects of all pieces."""
        return self._whole.records(index)

    def assembled(self, record: Any) -> NDArray[Any]:
        """Return the raw image of the objects of all pieces, uint16, shape (modules, 512, 1024)."""
        return self._whole.image(record, self.empty(self.shape, np.uint16))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of its images; ``()`` when no piece has any."""
        shapes = [piece.shape for piece in self.pieces if piece.shape]
        return (self.modules, *shapes[0][1:]) if shapes else ()

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """Dtype of its images; None when no piece has any."""
        return next((piece.dtype for piece in self.pieces if piece.dtype is not None), None)

    @cached_property
    def event_numbers(self) -> NDArray[np.int64]:
        """Numbers of the events that have an image, ascending; the frame numbers of all events are read."""
        return self._whole.events

    @property
    def incomplete(self) -> NDArray[np.int64]:
        """Numbers of the events in which some pieces are there and others are not, ascending: they have no image."""
        return self._whole.incomplete

    @property
    def apart(self) -> NDArray[np.int64]:
        """Numbers of the events whose pieces are of different frames, ascending: they have no image."""
        return self._whole.apart

    def mask(self, bad: str | None = None, /, **parts: Any) -> NDArray[np.uint8]:
        """Return a mask: 1 good, 0 bad, as are modules that are absent; see `AreaDetector.mask`."""
        found = super().mask(bad, **parts)
        if not self.absent:
            return found
        found = found * self._there
        found.setflags(write=False)
        return found

    @cached_property
    def _there(self) -> NDArray[np.uint8]:
        """1 for pixels of modules that there are."""
        there = np.ones((self.modules, 1, 1), np.uint8)
        there[list(self.absent)] = 0
        return there

    def _chosen(self, given: ArrayChoice, usual: NDArray[Any] | None, what: str) -> NDArray[Any] | None:
        found = super()._chosen(given, usual, what)
        if what != "mask" or not self.absent:
            return found
        mask = np.ones(self.shape, np.uint8) if found is None else found.reshape(self.shape)
        return np.asarray((mask != 0) * self._there, np.uint8)

    def __repr__(self) -> str:
        alias = f" ({self.alias})" if self.alias else ""
        absent = f"; modules {', '.join(map(str, self.absent))} are in none" if self.absent else ""
        incomplete = f", not all pieces in {len(self.incomplete)}" if len(self.incomplete) else ""
        return (
            f"<Detector {self.name}{alias}: {self.shape} {self.dtype} of {len(self.pieces)} pieces{absent}; all in"
            f" {len(self._whole.complete)} events{incomplete}>"
        )


def segmented(run: Run, name: str) -> SegmentedJungfrau | None:
    """Return the detector of a name that comes in pieces, None when none has that name.

    Raises
    ------
    DataError
        The pieces contradict each other.
    UsageError
        The name fits several.
    """
    found = run.wholes.find(name)
    return None if found is None else SegmentedJungfrau(run, found)
