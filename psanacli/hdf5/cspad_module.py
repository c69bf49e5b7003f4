"""CSPAD images as the module of the facility's automatic translation corrected them.

They are int16, in the type of the raw data: ``(raw - pedestal - common_mode) * gain``, rounded half away from zero;
what has no constants is left out.  The common mode of each section is stored beside, -10000 where it was not found
(reference of the translator, section 4).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.calib import COMMON_MODE, CommonMode, Histogram, Recipe, from_numbers
from psanacli.detector import AreaDetector
from psanacli.hdf5.values import Column
from psanacli.xtc import Batch, Record

NOT_FOUND = -10000.0
_ANY_NEGATIVE = 1000.0
"""The histogram begins at -1000 ADU, and the module has no limit for negative means (trap T47)."""
_NUMBERS = slice(1, 4)
_HISTOGRAM = 1


def covers(type_name: str) -> bool:
    """Return whether the module corrected objects of a type."""
    return type_name in ("CsPad.DataV1", "CsPad.DataV2", "CsPad2x2.ElementV1")


class Module:
    """Corrects the images of one detector; threads may share it.

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
        self._detector = detector
        constants = detector.constants
        needed = constants.get if allow_uncalibrated else constants.need
        self.calibrated = needed("pedestals") is not None
        shape = detector.shape
        self._pedestals = np.zeros(shape, np.float32) if not self.calibrated else detector.pedestals.reshape(shape)
        gain = constants.get("pixel_gain")
        self._gain = None if gain is None else constants.oriented(gain.array).reshape(shape)
        status = constants.get("pixel_status")
        good = None if status is None else np.asarray(constants.oriented(status.array).reshape(shape) == 0, np.uint8)
        found = constants.get(COMMON_MODE)
        self.common_mode: CommonMode = from_numbers([0], detector.device)
        self._largest = 0.0
        self._recipe: Recipe | None = None
        if found is not None and found.array.size > 3 and found.array.flat[0] == _HISTOGRAM:
            self._largest, sigma, peak = (float(number) for number in found.array.flat[_NUMBERS])
            self.common_mode = Histogram(self._largest, sigma, peak, unbonded=False)
            limits = Histogram(max(self._largest, _ANY_NEGATIVE), sigma, peak, unbonded=False)
            self._recipe = Recipe(detector.device, self._pedestals, good=good, common_mode=limits)

    def rows(self, column: Column, batch: Batch) -> NDArray[Any] | None:
        """Return the rows of the images or of their common mode; None for what is as in the raw data."""
        if column.name not in ("data", "common_mode"):
            return None
        result = np.zeros((len(batch), *column.shape), column.base.dtype)
        for place in range(len(batch)):
            record = batch[place]
            image, common_mode = self._corrected(record)
            found = image if column.name == "data" else common_mode
            result[place] = self._as_stored(record, found, column.shape)
        return result

    def _corrected(self, record: Record) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
        """Return the corrected sections of an image, and their common modes."""
        image = self._detector.assembled(record).astype(np.float64) - self._pedestals
        common_mode = np.full(len(image), NOT_FOUND, np.float32)
        if self._recipe is not None:
            before = image.copy()
            self._recipe.subtract_common_mode(image)
            shift = (before - image)[:, 0, 0]
            found = (shift != 0) & (shift <= self._largest)
            common_mode[found] = shift[found]
            image[~found] = before[~found]
        if self._gain is not None:
            image *= self._gain
        rounded = np.copysign(np.floor(np.abs(image) + 0.5), image)
        limits = np.iinfo(np.int16)
        return np.clip(rounded, limits.min, limits.max).astype(np.int16), common_mode

    def _as_stored(self, record: Record, sections: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """Return values of sections in the order in which the raw data have them."""
        if record.xtc_type.name == "CsPad2x2.ElementV1":
            return np.moveaxis(sections, 0, -1)
        read = sorted((int(quad.quad), int(quad.sectionMask)) for quad in record.quads)
        chosen = [8 * quad + section for quad, mask in read for section in range(8) if mask >> section & 1]
        found: NDArray[Any] = sections[chosen].reshape(shape)
        return found
