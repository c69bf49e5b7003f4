"""What recipes of all kinds of detectors share: images of one shape, constants that fit to it, and calls."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.calib.common_mode import CommonMode, Off
from psanacli.calib.in_file import PixelsInFile, Raw
from psanacli.errors import ConstantsError

Image = NDArray[np.float32]

_APART = 1024 + 64
"""Bytes by which constants are moved against each other."""


class Correction(ABC):
    """A function of raw images: constants and what is done with them.

    It has no memory of former images; threads may share it.

    Attributes
    ----------
    detector : str
        Kind of the detector: ``Cspad``, ``Epix100a``, ``Opal1000``.
    shape : tuple of int
        Of raw and corrected images.
    common_mode : CommonMode
    """

    def __init__(self, detector: str, shape: tuple[int, ...], common_mode: CommonMode | None) -> None:
        self.detector = detector
        self.shape = shape
        self.size = math.prod(shape)
        self.common_mode = Off() if common_mode is None else common_mode

    def flat(self, array: NDArray[Any], dtype: Any, what: str, shape: tuple[int, ...] | None = None) -> NDArray[Any]:
        """Return constants as the native code takes them, or say that they do not fit the detector."""
        expected = self.shape if shape is None else shape
        if array.size != math.prod(expected):
            raise ConstantsError(
                f"{self.detector}: {what} have the shape {array.shape}, expected {expected}",
                "the constants belong to another detector, or to another configuration of it",
            )
        return np.ascontiguousarray(array, dtype).reshape(-1)

    def __call__(self, raw: Raw, out: Image | None = None) -> Image:
        """Return the corrected image.

        Parameters
        ----------
        raw : ndarray of an integer or float, in the shape of the pedestals, or PixelsInFile
            As the detector gave it.  The first axis may be two, ``(pieces, panels of a piece, ...)``: pieces that are
            apart in memory are not put together first.
        out : ndarray of float32, optional
            Where to write it.

        Returns
        -------
        ndarray of float32
            ADU times the gain factors; of detectors that switch gains, with gains, keV.

        Raises
        ------
        ConstantsError
            The image has another shape than the pedestals.
        DataError
            The file cannot be read; `out` holds anything then.
        """
        result = _output(out, self.shape)
        self._correct([self._checked(raw)], result.reshape(1, self.size))
        return result

    def images(self, raws: Sequence[Raw], out: Image | None = None) -> Image:
        """Return corrected images, which are the same as one by one, sooner: constants are read once for all.

        Parameters
        ----------
        raws : sequence of ndarray
            Each as for a call.
        out : ndarray of float32, shape (images, ...), optional
            Where to write them.
        """
        result = _output(out, (len(raws), *self.shape))
        self._correct([self._checked(raw) for raw in raws], result.reshape(len(raws), self.size))
        return result

    def _checked(self, raw: Raw) -> Raw:
        if raw.size != self.size:
            raise ConstantsError(
                f"{self.detector}: the image has the shape {raw.shape}, the pedestals {self.shape}",
                "the constants belong to another detector, or to another configuration of it",
            )
        return self._taken(raw) if isinstance(raw, PixelsInFile) else raw

    def _taken(self, raw: PixelsInFile) -> Raw:
        """Return an image that is in a file as `_correct` takes it."""
        return raw.whole()

    @abstractmethod
    def _correct(self, raws: list[Any], out: Image) -> None:
        """Correct images to the rows of `out`."""


def _output(out: Image | None, shape: tuple[int, ...]) -> Image:
    if out is None:
        return np.empty(shape, np.float32)
    if out.shape != shape or out.dtype != np.float32 or not out.flags.c_contiguous:
        raise ValueError(f"out has to be a contiguous float32 array of the shape {shape}")
    return out


def apart(array: NDArray[Any], place: int) -> NDArray[Any]:
    """Return a copy that begins at another place of a page than images and other constants do.

    All large arrays begin at the same place of a page, and what lies at one place of its page shares a few places of
    the innermost cache.
    """
    offset = place * _APART // array.dtype.itemsize
    room = np.empty(offset + array.size, array.dtype)[offset:]
    room[:] = array
    return room
