"""CSPAD images as the module of the facility's automatic translation corrected them.

They are int16, in the type of the raw data: ``(raw - pedestal - common_mode) * gain``, rounded half away from zero;
what has no constants is left out.  The common mode of each section is stored beside, -10000 where it was not found
(reference of the translator, section 4).
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.calib import COMMON_MODE, CommonMode, Histogram, from_numbers
from psanacli.detector import AreaDetector
from psanacli.hdf5.values import Column
from psanacli.xtc import Batch, Record

NOT_FOUND = -10000.0
_ANY_NEGATIVE = 1000.0
"""The histogram begins at -1000 ADU, and the module has no limit for negative means (trap T47)."""
_NUMBERS = slice(1, 4)
_HISTOGRAM = 1
_SECTIONS = 8
_MOST_KNOWN = 1 << 13


def covers(type_name: str) -> bool:
    """Return whether the module corrected objects of a type."""
    return type_name in ("CsPad.DataV1", "CsPad.DataV2", "CsPad2x2.ElementV1")


class Module:
    """Corrects the images of one detector; threads may share it.

    A CSPAD is corrected section by section, straight from where it was read to its row, so that what is in between
    stays in the cache; a CSPAD 2x2, whose two sections are stored pixel by pixel in turn, as a whole.  The rounding to
    whole numbers is that of float64, so nothing is done in fewer bits.

    Parameters
    ----------
    detector : AreaDetector
        A CSPAD or CSPAD 2x2.
    allow_uncalibrated : bool
        Whether it may have no pedestals.

    Raises
    ------
    ConstantsError
        It has none, or constants cannot be read.
    """

    def __init__(self, detector: AreaDetector, allow_uncalibrated: bool) -> None:
        constants = detector.constants
        needed = constants.get if allow_uncalibrated else constants.need
        self.calibrated = needed("pedestals") is not None
        self._interleaved = detector.device == "Cspad2x2"
        shape = detector.shape

        def units(array: NDArray[Any] | None) -> NDArray[Any] | None:
            """Return constants as the pixels are stored, an array for each unit that is corrected by itself."""
            if array is None:
                return None
            plain = array.reshape(shape)
            return np.ascontiguousarray(np.moveaxis(plain, 0, -1)[np.newaxis] if self._interleaved else plain)

        pedestals = units(detector.pedestals if self.calibrated else np.zeros(shape, np.float32))
        assert pedestals is not None
        self._pedestals = pedestals
        gain, status = constants.get("pixel_gain"), constants.get("pixel_status")
        self._gain = None if gain is None else units(constants.oriented(gain.array))
        good = None if status is None else units(constants.oriented(status.array) == 0)
        self._good = np.ones(pedestals.shape, np.uint8) if good is None else good.astype(np.uint8)
        found = constants.get(COMMON_MODE)
        self.common_mode: CommonMode = from_numbers([0], detector.device)
        self._largest = 0.0
        self._steps = None
        if found is not None and found.array.size > 3 and found.array.flat[0] == _HISTOGRAM:
            self._largest, sigma, peak = (float(number) for number in found.array.flat[_NUMBERS])
            self.common_mode = Histogram(self._largest, sigma, peak, unbonded=False)
            limits = Histogram(max(self._largest, _ANY_NEGATIVE), sigma, peak, unbonded=False)
            unit = pedestals.shape[1:] if self._interleaved else (1, *shape[1:])
            self._steps = limits.steps(detector.device, unit)
        self._known: OrderedDict[int, NDArray[np.float32]] = OrderedDict()
        """Common modes of images that were corrected: their dataset is written after that of the images."""

    def rows(self, column: Column, batch: Batch, events: NDArray[np.int64]) -> NDArray[Any] | None:
        """Return the rows of the images or of their common mode; None for what is as in the raw data."""
        if column.name not in ("data", "common_mode"):
            return None
        result = np.zeros((len(batch), *column.shape), column.base.dtype)
        room = np.empty((2, *self._pedestals.shape[1:]))
        for row, event, record in zip(result, events.tolist(), batch, strict=True):
            if column.name == "data":
                common_mode = self._corrected(record, room, row)
                self._known[event] = common_mode
                while len(self._known) > _MOST_KNOWN:
                    with suppress(KeyError):  # another thread was faster
                        self._known.popitem(last=False)
            else:
                known = self._known.get(event)
                common_mode = self._corrected(record, room, None) if known is None else known
                row[: len(common_mode)] = common_mode[: len(row)]
        return result

    def _corrected(self, record: Record, room: NDArray[np.float64], out: NDArray[Any] | None) -> NDArray[np.float32]:
        """Correct an image to a row, if there is one; return the common modes of its sections."""
        if self._interleaved:
            return self._unit(0, record.data, room, out)
        found: list[NDArray[np.float32]] = []
        for quad in sorted(record.quads, key=lambda quad: int(quad.quad)):
            sections = [section for section in range(_SECTIONS) if int(quad.sectionMask) >> section & 1]
            for section, raw in zip(sections, quad.data, strict=True):
                place = len(found)
                to = out[place] if out is not None and place < len(out) else None
                found.append(self._unit(_SECTIONS * int(quad.quad) + section, raw, room, to))
        return np.concatenate(found) if found else np.zeros(0, np.float32)

    def _unit(
        self, number: int, raw: NDArray[Any], room: NDArray[np.float64], out: NDArray[Any] | None
    ) -> NDArray[np.float32]:
        """Correct a section (CSPAD) or image (CSPAD 2x2); return the common mode of each of its sections."""
        image, shifted = room
        np.subtract(raw, self._pedestals[number], out=image, dtype=np.float64)
        common_mode = np.full(image.shape[-1] if self._interleaved else 1, NOT_FOUND, np.float32)
        if self._steps is not None:
            shifted[...] = image
            shift = self._steps.apply(shifted.reshape(-1), self._good[number].reshape(-1))
            found = (shift != 0) & (shift <= self._largest)
            common_mode[found] = shift[found]
            if self._interleaved:
                image[..., found] = shifted[..., found]
            elif found[0]:
                image, shifted = shifted, image
        if out is None:
            return common_mode
        if self._gain is not None:
            image *= self._gain[number]
        limits = np.iinfo(np.int16)
        np.clip(image, limits.min, limits.max, out=image)
        # Cut to a whole number, which rounds half away from zero.
        image += np.copysign(0.5, image, out=shifted)
        np.copyto(out, image, casting="unsafe")
        return common_mode
