"""Correction recipes: from the raw image of a detector to the corrected one.

A recipe is made once from the constants of a detector and a run, and is then a function of images.  It has no buffers
and no memory of former images; threads may share it.  What the original does, step by step, is in the reference of its
calibration, section 5.8:

- most detectors: raw - pedestals, common mode, gain map of the configuration (CSPAD), `pixel_gain` as a factor, mask;
- detectors that switch gains: pedestal (and offset) of the range that each pixel is in, common mode of pixels in high
  gain, divided by `pixel_gain` of the range, mask.

All in float32; a masked pixel is 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.calib._correct import Doubled, Gains, Steps, Switch, correct, correct_ranged
from psanacli.calib.common_mode import CommonMode, Histogram, Off, QuietMedian
from psanacli.calib.masks import Mask
from psanacli.errors import ConstantsError

Image = NDArray[np.float32]

RAW_TYPES = tuple(np.dtype(name) for name in ("u1", "<u2", "<i2", "<i4", "<f4"))
JUNGFRAU_HIGH = 0b001
"""Gain ranges of a Jungfrau whose pixels take part in the common mode, as bits."""
EPIX10KA_HIGH = 0b0011011
"""The same of the ePix10ka family: all but low gain."""
_APART = 1024 + 64
"""Bytes by which constants are moved against each other."""
_FEW = 64
"""One in so many pixels may need to be counted one by one in a histogram."""
_NONE = 255
_BY_TWO_BITS = (0, 1, _NONE, 2)
"""Gain ranges of a Jungfrau by the two top bits of a value."""


def _flat(array: NDArray[Any], dtype: Any, shape: tuple[int, ...], what: str, detector: str) -> NDArray[Any]:
    """Return an array as the native code takes it, or say that it does not fit the detector."""
    if array.size != math.prod(shape):
        raise ConstantsError(
            f"{detector}: {what} have the shape {array.shape}, expected {shape}",
            "the constants belong to another detector, or to another configuration of it",
        )
    return np.ascontiguousarray(array, dtype).reshape(-1)


def _same_size(raw: NDArray[Any], shape: tuple[int, ...], detector: str) -> None:
    if raw.size != math.prod(shape):
        raise ConstantsError(
            f"{detector}: the image has the shape {raw.shape}, the pedestals {shape}",
            "the constants belong to another detector, or to another configuration of it",
        )


def _in_pieces(image: NDArray[Any], steps: Steps | None) -> NDArray[Any]:
    """Return the pixels as the native code takes them, shape (pieces, pixels); a copy only where it has to be one."""
    if image.ndim > 1 and image.size and not image.flags.c_contiguous and image[0].flags.c_contiguous:
        length = image[0].size
        if steps is None or steps.within(length):
            return image.reshape(len(image), length)
    return np.ascontiguousarray(image).reshape(1, -1)


def apart(array: NDArray[Any], place: int) -> NDArray[Any]:
    """Return a copy that begins at another place of a page than images and other constants do.

    All large arrays begin at the same place of a page, and what lies at one place of its page shares a few places of
    the innermost cache.  Being a copy, it is also in pages as large as the system has, whatever the array was read from.
    """
    offset = place * _APART // array.dtype.itemsize
    room = np.empty(offset + array.size, array.dtype)[offset:]
    room[:] = array
    return room


def _masked(factor: NDArray[Any] | None, mask: NDArray[Any] | None, size: int) -> Image:
    """Return the factor of each pixel, 0 where it is masked."""
    if mask is None:
        return np.ones(size, np.float32) if factor is None else factor
    return np.where(mask, np.float32(1) if factor is None else factor, np.float32(0))


def _moderate(array: NDArray[Any]) -> bool:
    """Return whether no value is NaN, infinite, or so large that a product might be."""
    return bool((np.abs(array) < 1e18).all())


def _output(out: Image | None, shape: tuple[int, ...]) -> Image:
    if out is None:
        return np.empty(shape, np.float32)
    if out.shape != shape or out.dtype != np.float32 or not out.flags.c_contiguous:
        raise ValueError(f"out has to be a contiguous float32 array of the shape {shape}")
    return out


class Recipe:
    """Correction of a detector whose pixels have one gain.

    Parameters
    ----------
    detector : str
        Kind of the detector: ``Cspad``, ``Epix100a``, ``Opal1000``.
    pedestals : ndarray
        ADU, in the shape of the raw image; panels first.
    gain : ndarray, optional
        Factor of each pixel (`pixel_gain`).
    gain_map : ndarray of float64, optional
        Factor of each pixel from the configuration, applied before `gain` (CSPAD: 1 in low gain, 6.85 in high gain).
    mask : ndarray of uint8, optional
        0 where the result is 0.
    good : ndarray of uint8, optional
        Pixels that count for the common mode are not 0; default is all.
    common_mode : CommonMode
    rms : ndarray, optional
        Rms of the dark, ADU; for the common mode that leaves out hit pixels.

    Attributes
    ----------
    detector : str
    shape : tuple of int
        Of raw and corrected images.
    common_mode : CommonMode

    Raises
    ------
    ConstantsError
        An array does not have the shape of the pedestals.
    UsageError
        The common mode is not for such a detector.
    """

    def __init__(
        self,
        detector: str,
        pedestals: NDArray[Any],
        gain: NDArray[Any] | None = None,
        gain_map: NDArray[Any] | None = None,
        mask: Mask | None = None,
        good: Mask | None = None,
        common_mode: CommonMode | None = None,
        rms: NDArray[Any] | None = None,
    ) -> None:
        self.detector = detector
        self.shape = shape = pedestals.shape
        self.common_mode = Off() if common_mode is None else common_mode

        def flat(array: NDArray[Any] | None, dtype: Any, what: str) -> NDArray[Any] | None:
            return None if array is None else _flat(array, dtype, shape, what, detector)

        self._pedestals = apart(_flat(pedestals, np.float32, shape, "pedestals", detector), 1)
        map_of_gains = flat(gain_map, np.float64, "the gain map")
        self._gains = None if map_of_gains is None else Gains(map_of_gains)
        self._mask = flat(mask, np.uint8, "the mask")
        self._factor = apart(_masked(flat(gain, np.float32, "gains"), self._mask, self._pedestals.size), 2)
        self._stays_finite = _moderate(self._pedestals) and (map_of_gains is None or _moderate(map_of_gains))
        status = flat(good, np.uint8, "the status")
        self._steps = self.common_mode.steps(detector, (185, 388, 2) if self._interleaved else shape)
        self._good = np.ones(self._pedestals.size, np.uint8) if status is None and self._steps else status
        self._doubled = None
        if isinstance(self.common_mode, Histogram) and detector == "Cspad" and self._good is not None:
            doubled = Doubled(self._pedestals, self._good)
            self._doubled = doubled if doubled.others * _FEW < doubled.size else None
        self._rms = flat(rms, np.float32, "the rms")
        if isinstance(self.common_mode, QuietMedian) and rms is None:
            raise ConstantsError(
                f"{detector}: common mode {self.common_mode.word} needs the rms of the dark (pixel_rms)"
            )

    @property
    def _interleaved(self) -> bool:
        """Whether the common mode goes by the order of the pixels as they are stored."""
        return self.detector == "Cspad2x2"

    def __call__(self, raw: NDArray[Any], out: Image | None = None) -> Image:
        """Return the corrected image.

        Parameters
        ----------
        raw : ndarray of an integer or float, in the shape of the pedestals
            As the detector gave it.  The first axis may be two, ``(pieces, panels of a piece, ...)``: pieces that are
            apart in memory are not put together first.
        out : ndarray of float32, optional
            Where to write it.

        Returns
        -------
        ndarray of float32
            ADU times the gain factors.

        Raises
        ------
        ConstantsError
            The image has another shape than the pedestals.
        """
        _same_size(raw, self.shape, self.detector)
        result = _output(out, self.shape)
        image = raw if raw.dtype in RAW_TYPES else raw.astype(np.float32)
        pedestals, steps = self._pedestals, self._steps
        if steps is not None and (self._interleaved or isinstance(self.common_mode, QuietMedian)):
            # What needs another order of the pixels, or a look at the whole image, is done in three steps.
            image = np.ascontiguousarray(image, np.float32).reshape(-1) - pedestals
            self.subtract_common_mode(image.reshape(self.shape))
            pedestals, steps = np.zeros_like(pedestals), None
        # A masked pixel times 0 is 0, unless it is not finite.
        mask = None if self._stays_finite and image.dtype != np.float32 else self._mask
        pieces = _in_pieces(image, steps)
        correct(
            pieces[np.newaxis],
            pedestals,
            self._gains,
            self._factor,
            mask,
            result.reshape(1, -1),
            steps,
            self._good,
            self._doubled,
        )
        return result

    def subtract_common_mode(self, image: NDArray[Any]) -> None:
        """Subtract the common mode from an image without pedestals, in place.

        Parameters
        ----------
        image : ndarray of float32 or float64, contiguous, in the shape of the pedestals
            ADU.
        """
        if self._steps is None:
            return
        mode, good = self.common_mode, self._good
        if isinstance(mode, QuietMedian):
            assert self._rms is not None
            quiet = mode.quiet(image, self._rms.reshape(self.shape))
            if mode.level and quiet.any():
                image[quiet] -= image[quiet].mean(dtype=np.float64)
            self._steps.apply(image.reshape(-1), quiet.astype(np.uint8).reshape(-1))
        elif self._interleaved:
            # The original works on the pixels as they are stored, the two sections in turn.
            assert good is not None
            stored = np.ascontiguousarray(np.moveaxis(image, 0, -1))
            which = np.ascontiguousarray(np.moveaxis(good.reshape(self.shape), 0, -1))
            self._steps.apply(stored.reshape(-1), which.reshape(-1))
            image[...] = np.moveaxis(stored, -1, 0)
        else:
            self._steps.apply(image.reshape(-1), good)


@dataclass(frozen=True, eq=False)
class Ranges:
    """Which gain range a pixel is in, when bit 14 of its value is clear, and when it is set; 255: none.

    Attributes
    ----------
    clear, set : ndarray of uint8, in the shape of the raw image
    """

    clear: NDArray[np.uint8]
    set: NDArray[np.uint8]


class RangedRecipe:
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
        self.detector = detector
        self.shape = pedestals.shape[1:]
        self.common_mode = Off() if common_mode is None else common_mode
        count, size = pedestals.shape[0], math.prod(self.shape)
        offsets = np.ascontiguousarray(pedestals, np.float32).reshape(count, size)
        factors = np.ones_like(offsets)
        if gain is not None:
            divisors = _flat(gain, np.float32, pedestals.shape, "gains", detector).reshape(count, size)
            factors = np.divide(1, divisors, out=np.zeros_like(divisors), where=divisors != 0)
        self._mask = np.ones(size, np.uint8)
        if mask is not None:
            self._mask = _flat(mask, np.uint8, self.shape, "the mask", detector)
        # The last range is that of pixels in none: no pedestal, the factor 1.
        if ranges is None:
            self._switch, planes = None, tuple(min(number, count) for number in _BY_TWO_BITS)
        else:
            clear = _flat(ranges.clear, np.uint8, self.shape, "the gain ranges", detector)
            after = _flat(ranges.set, np.uint8, self.shape, "the gain ranges", detector)
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

    def __call__(self, raw: NDArray[Any], out: Image | None = None) -> Image:
        """Return the corrected image; with gains in keV, else in ADU.

        Parameters
        ----------
        raw : ndarray of uint16, shape (panels, rows, columns)
            The low 14 bits are the value.
        out : ndarray of float32, optional
            Where to write it.

        Raises
        ------
        ConstantsError
            The image has another shape than the pedestals.
        """
        _same_size(raw, self.shape, self.detector)
        result = _output(out, self.shape)
        image = np.ascontiguousarray(raw, np.uint16).reshape(-1)
        correct_ranged(
            image,
            self._switch,
            self._pedestals,
            self._factors,
            self._mask,
            result.reshape(-1),
            self._steps,
            self._counting,
        )
        return result


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
