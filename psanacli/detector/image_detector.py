"""What an area detector has before anything is corrected: raw images, constants, configuration, masks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from psanacli.calib import COMMON_MODE, CommonMode, PixelsInFile, Store, default_common_mode, from_numbers
from psanacli.detector.constants import DetectorConstants
from psanacli.detector.images import field_of, has_image, stored_image
from psanacli.detector.masks import ALL_BITS, Masks
from psanacli.errors import UsageError
from psanacli.run import Detector, Event, Key, Rooms
from psanacli.xtc import Record

if TYPE_CHECKING:
    from psanacli.run import FoundDetector, Run


class ImageDetector(Detector):
    """A detector of images, with its constants and masks; `psanacli.detector.AreaDetector` corrects them too.

    Arrays of pixels have the shape of the raw image, panels first; constants of detectors that switch gains have one
    such array for each range.  An event without the detector gives None.
    """

    config_types: ClassVar[tuple[str, ...]] = ()
    """Types (their beginning) of the configuration object on which its correction depends."""

    def __init__(self, run: Run, found: FoundDetector) -> None:
        super().__init__(run, found)
        images = [reader for reader in self._readers if has_image(reader.key.xtc_type.name)]
        if self._as_stored:
            images = [reader for reader in images if field_of(reader.key.xtc_type.name)]
        # Of several versions in an event the newest counts.
        self._images = sorted(images, key=lambda reader: reader.key.xtc_type.version or 0, reverse=True)
        self._rooms = Rooms()
        self._config_known: tuple[object, Record | None] = None, None

    # Raw images

    def get(self, event: Event) -> Record | None:
        """Return the object that holds its image in an event, None when the event has none."""
        return self._record(self._index(event))

    def raw(self, event: Event) -> NDArray[Any] | None:
        """Return the raw image.

        Parameters
        ----------
        event : Event
            Which event.

        Returns
        -------
        ndarray of an integer, or None
            None when the event has none.  A read-only view of what was read, where the image lies in one piece.
        """
        return self._raw_of(self._index(event))

    def _raw_of(self, index: int) -> NDArray[Any] | None:
        record = self._record(index)
        return None if record is None else self.assembled(record)

    def _record(self, index: int) -> Record | None:
        for reader in self._images:
            record = reader.get(index)
            if record is not None:
                return record
        return None

    def assembled(self, record: Record) -> NDArray[Any]:
        """Return the raw image of a record of an event."""
        return stored_image(record)

    def pixels(self, record: Record) -> NDArray[Any]:
        """Return the raw image as a recipe takes it: in pieces, with one axis more, where that saves a copy."""
        return self.assembled(record)

    def in_file(self, index: int) -> PixelsInFile | None:
        """Return where in its file the raw image of an event is, for a recipe to read; None: read it first."""
        return None

    @property
    def _as_stored(self) -> bool:
        """Whether its images are a field of its objects as it is."""
        return type(self).assembled is ImageDetector.assembled

    @property
    def image_keys(self) -> list[Key]:
        """The keys of the objects that hold its images."""
        return [reader.key for reader in self._images]

    @property
    def image_field(self) -> str:
        """The field of these objects that is the image as it is stored; empty where it is put together."""
        return field_of(self._images[0].key.xtc_type.name) if self._as_stored and self._images else ""

    def empty(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """Return an array with anything in it, in memory of earlier images that nobody looks at any more."""
        kind = np.dtype(dtype)
        room: NDArray[Any] = self._rooms.take(math.prod(shape) * kind.itemsize).view(kind)
        return room.reshape(shape)

    @cached_property
    def event_numbers(self) -> NDArray[np.int64]:
        """Numbers of the events that have an image, ascending."""
        found = [reader.objects.event for reader in self._images]
        return np.unique(np.concatenate(found)).astype(np.int64) if found else np.zeros(0, np.int64)

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which events have an image, shape (events,)."""
        mask = np.zeros(len(self._run.events), bool)
        mask[self.event_numbers] = True
        return mask

    @cached_property
    def _first_raw(self) -> NDArray[Any] | None:
        numbers = self.event_numbers
        return self._raw_of(int(numbers[0])) if len(numbers) else None

    # Constants

    @property
    def device(self) -> str:
        """Kind of the detector: ``Cspad``."""
        return self.name.partition(":")[2].split(".")[0]

    @cached_property
    def constants(self) -> DetectorConstants:
        """Its constants in this run.

        Raises
        ------
        UsageError
            No constants are known of such a device.
        """
        store = Store(self._run.calib_dir) if self._run.calib_dir else None
        return DetectorConstants(store, self.name, self._run.number, lambda: self.shape)

    @property
    def pedestals(self) -> NDArray[np.float32]:
        """Average of the dark, ADU.

        Raises
        ------
        ConstantsError
            There is no file of them for this run, or it is unreadable or has a wrong shape.
        """
        return self.constants.oriented(self.constants.need("pedestals").array)

    @property
    def rms(self) -> NDArray[np.float32] | None:
        """Rms of the dark, ADU; None when there is no file, and no shape to assume."""
        return self.constants.array("pixel_rms")

    @property
    def gain(self) -> NDArray[np.float32] | None:
        """`pixel_gain`: a factor; of detectors that switch gains ADU per keV, which divides."""
        return self.constants.array("pixel_gain")

    @property
    def offset(self) -> NDArray[np.float32] | None:
        """`pixel_offset`: what is added to the pedestals of a Jungfrau, ADU."""
        return self.constants.array("pixel_offset")

    @property
    def background(self) -> NDArray[np.float32] | None:
        """`pixel_bkgd`, ADU."""
        return self.constants.array("pixel_bkgd")

    @property
    def pixel_mask(self) -> NDArray[np.uint8] | None:
        """`pixel_mask`: 1 good, 0 bad."""
        return self.constants.array("pixel_mask")

    @property
    def status(self) -> NDArray[np.uint16] | None:
        """`pixel_status`: bits of bad pixels, 0 is good."""
        return self.constants.array("pixel_status")

    @property
    def status_extra(self) -> NDArray[np.uint64] | None:
        """`status_extra`: further bits."""
        return self.constants.array("status_extra")

    @property
    def status_data(self) -> NDArray[np.uint16] | None:
        """`status_data`: further bits."""
        return self.constants.array("status_data")

    @property
    def common_mode(self) -> CommonMode:
        """The common mode that the constants say, else what is usual for such a detector."""
        found = self.constants.get(COMMON_MODE)
        return default_common_mode(self.device) if found is None else from_numbers(found.array.tolist(), self.device)

    # Masks

    @property
    def masks(self) -> Masks:
        """What makes masks of it."""
        return Masks(self.constants, self.device, self.shape)

    def status_as_mask(
        self,
        bits: int = ALL_BITS,
        *,
        extra: int = ALL_BITS,
        data: int = ALL_BITS,
        neighbours: Literal[0, 4, 8] = 0,
        ranges: Sequence[int] | None = None,
    ) -> NDArray[np.uint8] | None:
        """Return the mask of the status of pixels; see `psanacli.detector.masks.Masks.status`."""
        return self.masks.status(bits, extra=extra, data=data, neighbours=neighbours, ranges=ranges)

    def mask(self, bad: str | None = None, /, **parts: Any) -> NDArray[np.uint8]:
        """Return a mask: 1 good, 0 bad; by default that of the status of pixels.

        Parameters
        ----------
        bad : str, optional
            Expression that says what is bad, ``"status or edges(2) or rms > 20"``; see `psana help masks`.
        **parts
            In place of an expression.
            See `psanacli.detector.masks.Masks.combined`: ``status``, ``pixel_mask``, ``edges``, ``central``,
            ``unbonded``, ``unbonded_neighbours``, ``around``, ``form``, ``user``.

        Returns
        -------
        ndarray of uint8, in the shape of the raw image
            Read-only.
        """
        if bad is None:
            return self.masks.combined(**parts)
        if not isinstance(bad, str):
            raise UsageError(f"an expression is text, not {type(bad).__name__}", "a mask of your own: mask(user=ARRAY)")
        if parts:
            raise UsageError("a mask is told by an expression, or by its parts", f"leave out {', '.join(parts)}")
        return self.masks.expressed(bad)

    # Configuration

    def config(self, event: Event | None = None) -> Record | None:
        """Return the configuration object that its correction depends on, in force at an event or at the first one."""
        if event is not None:
            self._index(event)
        if not self.config_types:
            return None
        config = self._run.config
        now = config.start if event is None else config.at(event)
        known, found = self._config_known
        if now is not known:  # it is one object as long as nothing changes
            keys = (key for key in now if key.source.same_as(self.source))
            chosen = next((key for key in keys if key.xtc_type.name.startswith(self.config_types)), None)
            found = None if chosen is None else now[chosen]
            self._config_known = now, found
        return found

    def gain_map(self, event: Event | None = None) -> NDArray[Any] | None:
        """Return the factors of pixels that the configuration tells, None when it tells none."""
        if event is not None:
            self._index(event)
        return None
