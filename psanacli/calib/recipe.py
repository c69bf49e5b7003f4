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

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.calib._correct import Doubled, Gains, PiecesInFile, Steps, correct
from psanacli.calib.common_mode import CommonMode, Histogram, QuietMedian
from psanacli.calib.correction import Correction, Image, apart
from psanacli.calib.in_file import PixelsInFile, Raw
from psanacli.calib.masks import Mask
from psanacli.errors import ConstantsError

RAW_TYPES = tuple(np.dtype(name) for name in ("u1", "<u2", "<i2", "<i4", "<f4"))
_FEW = 64
"""One in so many pixels may need to be counted one by one in a histogram."""


def _in_pieces(image: Raw, steps: Steps | None, lent: ExitStack) -> NDArray[Any] | PiecesInFile:
    """Return the pixels as the native code takes them, shape (pieces, pixels); a copy only where it has to be one."""
    if isinstance(image, PixelsInFile):
        descriptor, begin = lent.enter_context(image.lent())
        pieces = image.shape[0], image.size // image.shape[0]
        return PiecesInFile(descriptor, begin + image.place, image.step, pieces, image.dtype)
    if image.ndim > 1 and image.size and not image.flags.c_contiguous and image[0].flags.c_contiguous:
        length = image[0].size
        if steps is None or steps.within(length):
            return image.reshape(len(image), length)
    return np.ascontiguousarray(image).reshape(1, -1)


def _of_one_type(images: list[Raw]) -> Iterator[tuple[int, int]]:
    """Yield the bounds of images that follow one another with one dtype."""
    stop = 0
    for _, same in groupby(images, key=lambda image: image.dtype):
        first, stop = stop, stop + len(list(same))
        yield first, stop


def _masked(factor: NDArray[Any] | None, mask: NDArray[Any] | None, size: int) -> Image:
    """Return the factor of each pixel, 0 where it is masked."""
    if mask is None:
        return np.ones(size, np.float32) if factor is None else factor
    return np.where(mask, np.float32(1) if factor is None else factor, np.float32(0))


def _moderate(array: NDArray[Any]) -> bool:
    """Return whether no value is NaN, infinite, or so large that a product might be."""
    return bool((np.abs(array) < 1e18).all())


def _sizeable(pedestals: NDArray[Any]) -> bool:
    """Return whether no pedestal is so small that what is left of a raw value may be next to nothing."""
    return bool(((np.abs(pedestals) > 1e-6) | (pedestals == 0)).all())


class Recipe(Correction):
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
        super().__init__(detector, pedestals.shape, common_mode)
        shape = self.shape

        def flat(array: NDArray[Any] | None, dtype: Any, what: str) -> NDArray[Any] | None:
            return None if array is None else self.flat(array, dtype, what)

        self._pedestals = apart(self.flat(pedestals, np.float32, "pedestals"), 1)
        map_of_gains = flat(gain_map, np.float64, "the gain map")
        self._mask = flat(mask, np.uint8, "the mask")
        self._factor = apart(_masked(flat(gain, np.float32, "gains"), self._mask, self._pedestals.size), 2)
        moderate = _moderate(self._pedestals)
        self._stays_finite = moderate and (map_of_gains is None or _moderate(map_of_gains))
        self._gains = None
        if map_of_gains is not None:
            self._gains = Gains(map_of_gains, moderate and _sizeable(self._pedestals))
        status = flat(good, np.uint8, "the status")
        self._steps = self.common_mode.steps(detector, (185, 388, 2) if self._interleaved else shape)
        self._good = np.ones(self._pedestals.size, np.uint8) if status is None and self._steps else status
        self._doubled = None
        if isinstance(self.common_mode, Histogram) and detector == "Cspad" and self._good is not None:
            doubled = Doubled(self._pedestals, self._good, self._factor)
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

    @property
    def _in_three_steps(self) -> bool:
        """Whether the common mode needs another order of the pixels, or a look at the whole image."""
        return self._steps is not None and (self._interleaved or isinstance(self.common_mode, QuietMedian))

    def _taken(self, raw: PixelsInFile) -> Raw:
        if self._in_three_steps or raw.dtype not in RAW_TYPES or not raw.size:
            return raw.whole()
        return raw if self._steps is None or self._steps.within(raw.size // raw.shape[0]) else raw.whole()

    def _correct(self, raws: list[Any], out: Image) -> None:
        images = [raw if raw.dtype in RAW_TYPES else raw.astype(np.float32) for raw in raws]
        if self._in_three_steps:
            for image, to in zip(images, out, strict=True):
                plain = np.ascontiguousarray(image, np.float32).reshape(-1) - self._pedestals
                self.subtract_common_mode(plain.reshape(self.shape))
                self._finish([plain.reshape(1, -1)], np.zeros_like(self._pedestals), to.reshape(1, -1), None)
            return
        for first, stop in _of_one_type(images):
            with ExitStack() as lent:
                pieces = [_in_pieces(image, self._steps, lent) for image in images[first:stop]]
                unread, trouble = self._finish(pieces, self._pedestals, out[first:stop], self._steps)
            if unread >= 0:
                raise images[first + unread].unread(trouble)

    def _finish(
        self, pieces: list[NDArray[Any] | PiecesInFile], pedestals: Image, out: Image, steps: Steps | None
    ) -> tuple[int, int]:
        # A masked pixel times 0 is 0, unless it is not finite.
        mask = None if self._stays_finite and pieces[0].dtype != np.float32 else self._mask
        return correct(pieces, pedestals, self._gains, self._factor, mask, out, steps, self._good, self._doubled)

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
