"""Correction recipes of detectors whose pixels switch their gain: Jungfrau and ePix10ka."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.calib._correct import Switch, correct_ranged
from psanacli.calib.common_mode import CommonMode
from psanacli.calib.correction import Correction, Image
from psanacli.calib.masks import Mask
from psanacli.errors import ConstantsError

JUNGFRAU_HIGH = 0b001
"""Gain ranges of a Jungfrau whose pixels take part in the common mode, as bits."""
EPIX10KA_HIGH = 0b0011011
"""The same of the ePix10ka family: all but low gain."""
_NONE = 255
_BY_TWO_BITS = (0, 1, _NONE, 2)
"""Gain ranges of a Jungfrau by the two top bits of a value."""


@dataclass(frozen=True, eq=False)
class Ranges:
    """Which gain range a pixel is in, when bit 14 of its value is clear, and when it is set; 255: none.

    Attributes
    ----------
    clear, set : ndarray of uint8, in the shape of the raw image
    """

    clear: NDArray[np.uint8]
    set: NDArray[np.uint8]


class RangedRecipe(Correction):
    """Correction of a detector whose pixels choose their gain range in each image.

    Parameters
    ----------
    detector : str
        ``Jungfrau``, ``Epix10ka``, ``Epix10kaQuad``, ``Epix10ka2M``.
    pedestals : ndarray, shape (ranges, panels, rows, columns)
        ADU; with `pixel_offset` added.
    gain : ndarray, optional
        ADU per keV, in the same shape; divides. Where it is 0 the result is 0.
    mask : ndarray of uint8, optional
        Shape (panels, rows, columns): 0 where the result is 0, and bad pixels of the common mode.
    ranges : Ranges, optional
        Which range a pixel is in; default is by its two top bits (Jungfrau).
    common_mode : CommonMode
    high : int
        Bits of the ranges whose pixels take part in the common mode.

    Attributes
    ----------
    detector : str
    shape : tuple of int
        Of raw and corrected images.
    common_mode : CommonMode

    Raises
    ------
    ConstantsError
        The pedestals are not one array for each range, or another array does not have their shape.
    UsageError
        The common mode is not for such a detector.
    """

    def __init__(
        self,
        detector: str,
        pedestals: NDArray[Any],
        gain: NDArray[Any] | None = None,
        mask: Mask | None = None,
        ranges: Ranges | None = None,
        common_mode: CommonMode | None = None,
        high: int = JUNGFRAU_HIGH,
    ) -> None:
        if pedestals.ndim < 3:
            raise ConstantsError(f"{detector}: pedestals of {pedestals.shape} are not one array for each gain range")
        super().__init__(detector, pedestals.shape[1:], common_mode)
        count, size = pedestals.shape[0], self.size
        offsets = np.ascontiguousarray(pedestals, np.float32).reshape(count, size)
        factors = np.ones_like(offsets)
        if gain is not None:
            divisors = self.flat(gain, np.float32, "gains", pedestals.shape).reshape(count, size)
            factors = np.divide(1, divisors, out=np.zeros_like(divisors), where=divisors != 0)
        self._mask = np.ones(size, np.uint8)
        if mask is not None:
            self._mask = self.flat(mask, np.uint8, "the mask")
        # The last range is that of pixels in none: no pedestal, the factor 1.
        if ranges is None:
            self._switch, planes = None, tuple(min(number, count) for number in _BY_TWO_BITS)
        else:
            clear = self.flat(ranges.clear, np.uint8, "the gain ranges")
            after = self.flat(ranges.set, np.uint8, "the gain ranges")
            self._switch, planes = Switch(np.minimum(clear, count), np.minimum(after, count)), tuple(range(count + 1))
        self._pedestals = np.zeros((len(planes), size), np.float32)
        self._factors = np.ones((len(planes), size), np.float32)
        self._counting = 0
        for plane, number in enumerate(planes):
            if number < count:
                self._pedestals[plane], self._factors[plane] = offsets[number], factors[number]
                self._counting |= (high >> number & 1) << plane
        self._pedestals[:, self._mask == 0] = self._factors[:, self._mask == 0] = 0
        self._steps = self.common_mode.steps(detector, self.shape)

    def _correct(self, raws: list[NDArray[Any]], out: Image) -> None:
        correct_ranged(
            [np.ascontiguousarray(raw, np.uint16).reshape(-1) for raw in raws],
            self._switch,
            self._pedestals,
            self._factors,
            self._mask,
            out,
            self._steps,
            self._counting,
        )


def epix10ka_ranges(pixel_bits: NDArray[Any], asic_trbits: NDArray[Any]) -> Ranges:
    """Return the gain ranges of the pixels of ePix10ka panels.

    Parameters
    ----------
    pixel_bits : ndarray of uint16, shape (panels, 352, 384)
        `asicPixelConfigArray` of the configuration.
    asic_trbits : ndarray of bool, shape (panels, 4)
        `trbit` of each ASIC: 0 lower right, 1 upper right, 2 upper left, 3 lower left quarter of a panel as read out.

    Returns
    -------
    Ranges
        Numbers 0 to 6: high, medium, low, automatic high-low and medium-low before switching, the same two after.
        Source of the rule: reference of the original's calibration, 5.8.
    """
    _, rows, columns = pixel_bits.shape
    high = np.zeros(pixel_bits.shape, bool)
    middle, centre = rows // 2, columns // 2
    lower, upper, left, right = slice(middle, None), slice(None, middle), slice(None, centre), slice(centre, None)
    for asic, quarter in enumerate(((lower, right), (upper, right), (upper, left), (lower, left))):
        high[(slice(None), *quarter)] = asic_trbits[:, asic, None, None] != 0
    bits = np.asarray(pixel_bits) & 0x0C
    clear = np.full(pixel_bits.shape, _NONE, np.uint8)
    clear[bits == 0x0C] = 1
    clear[(bits == 0x0C) & high] = 0
    clear[bits == 0x08] = 2
    after = clear.copy()
    automatic = bits == 0
    clear[automatic] = np.where(high[automatic], 3, 4)
    after[automatic] = np.where(high[automatic], 5, 6)
    return Ranges(clear, after)
