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
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.calib._correct import Steps, correct, correct_ranged
from psanacli.calib.common_mode import CommonMode, Off, QuietMedian
from psanacli.calib.masks import Mask
from psanacli.errors import ConstantsError

Image = NDArray[np.float32]

RAW_TYPES = tuple(np.dtype(name) for name in ("u1", "<u2", "<i2", "<i4", "<f4"))
JUNGFRAU_HIGH = 0b001
"""Gain ranges of a Jungfrau whose pixels take part in the common mode, as bits."""
EPIX10KA_HIGH = 0b0011011
"""The same of the ePix10ka family: all but low gain."""


def _flat(array: NDArray[Any], dtype: Any, shape: tuple[int, ...], what: str, detector: str) -> NDArray[Any]:
    """Return an array as the native code takes it, or say that it does not fit the detector."""
    if array.size != math.prod(shape):
        raise ConstantsError(
            f"{detector}: {what} have the shape {array.shape}, expected {shape}",
            "the constants belong to another detector, or to another configuration of it",
        )
    return np.ascontiguousarray(array, dtype).reshape(-1)


def _output(out: Image | None, shape: tuple[int, ...]) -> Image:
    if out is None:
        return np.empty(shape, np.float32)
    if out.shape != shape or out.dtype != np.float32 or not out.flags.c_contiguous:
        raise ValueError(f"out has to be a contiguous float32 array of the shape {shape}")
    return out


@dataclass(frozen=True, eq=False)
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

    Raises
    ------
    ConstantsError
        An array does not have the shape of the pedestals.
    UsageError
        The common mode is not for such a detector.
    """

    detector: str
    pedestals: NDArray[Any]
    gain: NDArray[Any] | None = None
    gain_map: NDArray[Any] | None = None
    mask: Mask | None = None
    good: Mask | None = None
    common_mode: CommonMode = field(default_factory=Off)
    rms: NDArray[Any] | None = None
    _arrays: tuple[Any, ...] = field(init=False, repr=False)
    _steps: Steps | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        shape = self.shape
        size = math.prod(shape)

        def flat(array: NDArray[Any] | None, dtype: Any, what: str, otherwise: Any = None) -> NDArray[Any] | None:
            if array is None:
                return None if otherwise is None else np.full(size, otherwise, dtype)
            return _flat(array, dtype, shape, what, self.detector)

        arrays = (
            flat(self.pedestals, np.float32, "pedestals"),
            flat(self.gain_map, np.float64, "the gain map"),
            flat(self.gain, np.float32, "gains", 1),
            flat(self.mask, np.uint8, "the mask", 1),
            flat(self.good, np.uint8, "the status", 1),
        )
        object.__setattr__(self, "_arrays", arrays)
        stored = (185, 388, 2) if self.detector == "Cspad2x2" else shape
        object.__setattr__(self, "_steps", self.common_mode.steps(self.detector, stored))
        if isinstance(self.common_mode, QuietMedian) and self.rms is None:
            raise ConstantsError(
                f"{self.detector}: common mode {self.common_mode.word} needs the rms of the dark (pixel_rms)"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of raw and corrected images."""
        return self.pedestals.shape

    def __call__(self, raw: NDArray[Any], out: Image | None = None) -> Image:
        """Return the corrected image.

        Parameters
        ----------
        raw : ndarray of an integer or float, in the shape of the pedestals
            As the detector gave it.
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
        if raw.size != self.pedestals.size:
            raise ConstantsError(
                f"{self.detector}: the image has the shape {raw.shape}, the pedestals {self.pedestals.shape}",
                "the constants belong to another detector, or to another configuration of it",
            )
        result = _output(out, self.shape)
        pedestals, gain_map, gain, mask, good = self._arrays
        image = np.ascontiguousarray(raw, raw.dtype if raw.dtype in RAW_TYPES else np.float32).reshape(-1)
        if self._steps is None or not (self.detector == "Cspad2x2" or isinstance(self.common_mode, QuietMedian)):
            correct(image, pedestals, gain_map, gain, mask, result.reshape(-1), self._steps, good)
            return result
        # What needs another order of the pixels, or a look at the whole image, is done in three steps.
        plain = image.astype(np.float32) - pedestals
        self.subtract_common_mode(plain.reshape(self.shape))
        correct(plain, np.zeros_like(pedestals), gain_map, gain, mask, result.reshape(-1), None, None)
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
        good = self._arrays[4]
        mode = self.common_mode
        if isinstance(mode, QuietMedian):
            assert self.rms is not None
            quiet = mode.quiet(image, self.rms.reshape(self.shape))
            if mode.level and quiet.any():
                image[quiet] -= image[quiet].mean(dtype=np.float64)
            self._steps.apply(image.reshape(-1), quiet.astype(np.uint8).reshape(-1))
        elif self.detector == "Cspad2x2":
            # The original works on the pixels as they are stored, the two sections in turn.
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


@dataclass(frozen=True, eq=False)
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
    """

    detector: str
    pedestals: NDArray[Any]
    gain: NDArray[Any] | None = None
    mask: Mask | None = None
    ranges: Ranges | None = None
    common_mode: CommonMode = field(default_factory=Off)
    high: int = JUNGFRAU_HIGH
    _arrays: tuple[Any, ...] = field(init=False, repr=False)
    _steps: Steps | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.pedestals.ndim < 3:
            shape = self.pedestals.shape
            raise ConstantsError(f"{self.detector}: pedestals of {shape} are not one array for each gain range")
        planes, size = self.pedestals.shape[0], math.prod(self.shape)
        pedestals = np.ascontiguousarray(self.pedestals, np.float32).reshape(planes, size)
        factor = np.ones((planes, size), np.float32)
        if self.gain is not None:
            gain = _flat(self.gain, np.float32, self.pedestals.shape, "gains", self.detector).reshape(planes, size)
            factor = np.divide(1, gain, out=np.zeros_like(gain), where=gain != 0)
        if self.mask is None:
            mask = np.ones(size, np.uint8)
        else:
            mask = _flat(self.mask, np.uint8, self.shape, "the mask", self.detector)
        clear = high = None
        if self.ranges is not None:
            clear = _flat(self.ranges.clear, np.uint8, self.shape, "the gain ranges", self.detector)
            high = _flat(self.ranges.set, np.uint8, self.shape, "the gain ranges", self.detector)
        object.__setattr__(self, "_arrays", (clear, high, pedestals, factor, mask))
        object.__setattr__(self, "_steps", self.common_mode.steps(self.detector, self.shape))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of raw and corrected images."""
        return self.pedestals.shape[1:]

    def __call__(self, raw: NDArray[Any], out: Image | None = None) -> Image:
        """Return the corrected image; with gains in keV, else in ADU.

        Parameters
        ----------
        raw : ndarray of uint16, shape (panels, rows, columns)
            The low 14 bits are the value.
        out : ndarray of float32, optional
            Where to write it.
        """
        if raw.size != math.prod(self.shape):
            raise ConstantsError(
                f"{self.detector}: the image has the shape {raw.shape}, the pedestals {self.pedestals.shape}",
                "the constants belong to another detector, or to another configuration of it",
            )
        result = _output(out, self.shape)
        image = np.ascontiguousarray(raw, np.uint16).reshape(-1)
        clear, high, pedestals, factor, mask = self._arrays
        correct_ranged(image, clear, high, pedestals, factor, mask, result.reshape(-1), self._steps, self.high)
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
    clear = np.full(pixel_bits.shape, 255, np.uint8)
    clear[bits == 0x0C] = 1
    clear[(bits == 0x0C) & high] = 0
    clear[bits == 0x08] = 2
    after = clear.copy()
    automatic = bits == 0
    clear[automatic] = np.where(high[automatic], 3, 4)
    after[automatic] = np.where(high[automatic], 5, 6)
    return Ranges(clear, after)
