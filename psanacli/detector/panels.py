"""CSPAD, CSPAD 2x2 and pnCCD: images that are put together of panels."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from psanacli.calib import CommonMode, PixelsInFile
from psanacli.detector.area import AreaDetector, ArrayChoice
from psanacli.errors import DataError
from psanacli.run import Event, Reader, place_in
from psanacli.xtc import Record

if TYPE_CHECKING:
    from psanacli.run import FoundDetector, Run

HIGH_GAIN = 6.85
"""How much more a pixel of a CSPAD in low gain has to count (psana's default)."""
_SECTIONS = 8
_PANEL = (185, 388)
_QUADRANT = (_SECTIONS, *_PANEL)
_IN_ORDER = [0, 1, 2, 3]
_QUADRANTS = (4, *_QUADRANT)
_DTYPE = np.dtype("<i2")
_ALL_SECTIONS = (1 << _SECTIONS) - 1
_ALL_PANELS = (1 << 4 * _SECTIONS) - 1


class Cspad(AreaDetector):
    """A CSPAD: 32 sections (2x1s) of 185 x 388 pixels; ``8 * quadrant + section`` is the first index.

    What is not read out (quadrants, sections) is 0 in the raw image.
    """

    config_types: ClassVar[tuple[str, ...]] = ("CsPad.Config",)

    def __init__(self, run: Run, found: FoundDetector) -> None:
        super().__init__(run, found)
        self._outlines: dict[tuple[str, int, int], _Outline | None] = {}

    def assembled(self, record: Record) -> NDArray[Any]:
        """Return the raw image, int16, shape (32, 185, 388)."""
        result = self.empty((4 * _SECTIONS, *_PANEL), np.int16)
        filled = 0
        for quad in record.quads:
            first, mask = quad.quad * _SECTIONS, quad.sectionMask
            if mask == _ALL_SECTIONS:
                result[first : first + _SECTIONS] = quad.data
            else:
                result[first + _bits(mask)] = quad.data
            filled |= mask << first
        if filled != _ALL_PANELS:
            result[filled >> np.arange(len(result)) & 1 == 0] = 0
        return result

    def pixels(self, record: Record) -> NDArray[Any]:
        """Return the raw image by quadrants, int16, shape (4, 8, 185, 388), a view, when all of it was read out."""
        found = _in_row(record)
        if found is None:
            return self.assembled(record)
        first, step = found
        return as_strided(first, _QUADRANTS, (step, *first.strides), writeable=False)

    def in_file(self, index: int) -> PixelsInFile | None:
        """Return where the quadrants are, when all was read out and lies in the file as it is."""
        reader = next((each for each in self._images if each.has(index)), None)
        form = None if reader is None or reader.holds(index) else reader.lies_as_it_is(index)
        if reader is None or form is None:
            return None
        key = reader.key.xtc_type.name, *form
        if key not in self._outlines:
            self._outlines[key] = _outline_of(reader, index)
        outline = self._outlines[key]
        if outline is None:
            return None
        try:
            record = reader.outline(index, outline.parts)
        except DataError:
            return None  # who reads all of it says what is wrong
        # Where the pixels of a quadrant are follows from the configuration and the numbers of those before it.
        if [quad.quad for quad in record.quads] != _IN_ORDER:
            return None
        return PixelsInFile(
            _QUADRANTS,
            _DTYPE,
            outline.place,
            outline.step,
            partial(reader.lent, index),
            partial(reader.unread, index),
            partial(self._read, reader, index),
        )

    def _read(self, reader: Reader, index: int) -> NDArray[Any]:
        """Read an image that is there."""
        record = reader.get(index)
        assert record is not None
        return self.pixels(record)

    def gain_map(self, event: Event | None = None, factor: float = HIGH_GAIN) -> NDArray[np.float64] | None:
        """Return the factor of each pixel by the gain that it was configured for.

        Parameters
        ----------
        event : Event, optional
            When; default is at the first event.
        factor : float
            Of pixels in low gain; 1 is that of the others.

        Returns
        -------
        ndarray of float64, shape (32, 185, 388), or None
            None when there is no configuration.
        """
        low = self.low_gain(event)
        return None if low is None else np.where(low, factor, 1.0)

    def low_gain(self, event: Event | None = None) -> NDArray[np.bool_] | None:
        """Return which pixels were configured for low gain, None when there is no configuration."""
        config = self.config(event)
        return None if config is None else _low_gain(config)

    def _map_of(self, config: Record | None) -> NDArray[Any] | None:
        if config is None:
            return None
        low = _low_gain(config)
        # Where all pixels are in low gain the original has no factor.
        return np.where(low, HIGH_GAIN, 1.0) if low.any() and not low.all() else None


class _Outline(NamedTuple):
    """Where the quadrants of payloads of one size and configuration are, and the parts around them."""

    place: int
    step: int
    parts: NDArray[np.int64]


def _in_row(record: Record) -> tuple[NDArray[np.int16], int] | None:
    """Return the pixels of the first quadrant, and the bytes from one to the next; None unless all are in order."""
    quads = list(record.quads)
    if [quad.quad for quad in quads] != _IN_ORDER:
        return None
    data = [quad.data for quad in quads]
    if any(each.shape != _QUADRANT for each in data):
        return None
    first, second, *others = (each.__array_interface__["data"][0] for each in data)
    step = second - first
    return (data[0], step) if others == [first + 2 * step, first + 3 * step] else None


def _outline_of(reader: Reader, index: int) -> _Outline | None:
    """Return where the quadrants of the object in an event are, None unless all are there in order."""
    record = reader.get(index)
    found = None if record is None else _in_row(record)
    form = reader.lies_as_it_is(index)
    if record is None or found is None or form is None:
        return None
    first, step = found
    place = place_in(record, first)
    begins = place + step * np.arange(4)
    ends = begins + math.prod(_QUADRANT) * _DTYPE.itemsize
    parts = np.stack([np.append(0, ends), np.append(begins, form[0]) - np.append(0, ends)])
    return _Outline(place, step, parts.astype(np.int64)) if (parts >= 0).all() else None


def _bits(mask: int) -> NDArray[np.intp]:
    """Return the numbers of the bits that are set."""
    return np.flatnonzero(mask >> np.arange(_SECTIONS) & 1)


def _low_gain(config: Record) -> NDArray[np.bool_]:
    """Return which pixels have a clear bit in the gain maps of the quadrants."""
    result = np.empty((4, _SECTIONS, *_PANEL), bool)
    for number, quad in enumerate(config.quads):
        result[number] = _of_sections(quad.gm.gainMap, _SECTIONS)
    return result.reshape(-1, *_PANEL)


def _of_sections(gain_map: NDArray[np.uint16], count: int) -> NDArray[np.bool_]:
    """Return where the bits of a gain map are clear: bit ``2 * section + asic`` of a pixel of 185 x 194."""
    bits = gain_map >> np.arange(2 * count, dtype=np.uint16).reshape(count, 2, 1, 1) & 1
    return np.asarray(bits == 0).transpose(0, 2, 1, 3).reshape(count, *_PANEL)


class Cspad2x2(AreaDetector):
    """A CSPAD 2x2: two sections (2x1s) of 185 x 388 pixels.

    The gain that its pixels are configured for is not corrected unless `gain_map` is given to `calib`, as in the
    original.
    """

    config_types: ClassVar[tuple[str, ...]] = ("CsPad2x2.Config",)

    def assembled(self, record: Record) -> NDArray[Any]:
        """Return the raw image, int16, shape (2, 185, 388)."""
        return np.moveaxis(record.data, -1, 0)

    def gain_map(self, event: Event | None = None, factor: float = HIGH_GAIN) -> NDArray[np.float64] | None:
        """Return the factor of each pixel by the gain that it was configured for: `factor` in low gain, else 1."""
        low = self.low_gain(event)
        return None if low is None else np.where(low, factor, 1.0)

    def low_gain(self, event: Event | None = None) -> NDArray[np.bool_] | None:
        """Return which pixels were configured for low gain, None when there is no configuration."""
        config = self.config(event)
        return None if config is None else _of_sections(config.quad.gm.gainMap, 2)


class Pnccd(AreaDetector):
    """A pnCCD: four panels of 512 x 512 pixels, in the order of the links."""

    def assembled(self, record: Record) -> NDArray[Any]:
        """Return the raw image, uint16, shape (4, 512, 512)."""
        return np.stack([frame.data for frame in record.frame])

    def _good(self, mode: CommonMode, mask: ArrayChoice) -> NDArray[np.uint8] | None:
        # The medians by rows and banks take the mask of the call, and no other (reference 5.6).
        if mode.number == 8:
            return mask if isinstance(mask, np.ndarray) else None
        return super()._good(mode, mask)
