"""Raw images that are in a file yet: a recipe reads them a little at a time, so that they never leave the cache."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError


@dataclass(slots=True, eq=False)
class PixelsInFile:
    """Where the pixels of a raw image are in a file: pieces, each as many bytes behind the one before.

    Attributes
    ----------
    shape : tuple of int
        Pieces, and the shape of each.
    dtype : numpy.dtype
    place, step : int
        Of the first piece in what is lent, and from one piece to the next, in bytes.
    lent : callable
        Lends the file: its descriptor, and where what is lent begins in it.
    unread : callable
        Makes the error of the number of an error (0: the file ends before).
    whole : callable
        Reads the image, and returns it as `shape` says or as the detector has it.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    place: int
    step: int
    lent: Callable[[], AbstractContextManager[tuple[int, int]]]
    unread: Callable[[int], DataError]
    whole: Callable[[], NDArray[Any]]

    @property
    def size(self) -> int:
        """Number of pixels."""
        return math.prod(self.shape)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)


Raw = NDArray[Any] | PixelsInFile
