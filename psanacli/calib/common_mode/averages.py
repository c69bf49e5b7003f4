"""Common modes from peaks of histograms, unbonded pixels, and means or medians of runs of pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from psanacli.calib.common_mode.base import CommonMode
from psanacli.calib.common_mode.regions import BINNED_MEDIAN, HISTOGRAM, MEAN, UNBONDED, Method, Pass, stripes

BLOCK = 128
"""Length of a run of pixels where none is given, or one below 100."""


@dataclass(frozen=True)
class Histogram(CommonMode):
    """The first peak of the histogram of each 2x1 (CSPAD), or of `regions` runs of `length` pixels (cameras).

    Attributes
    ----------
    max_mean, max_sigma : float
        Larger ones are not believed, ADU.
    min_peak : float
        Pixels that the bin of the peak (1 ADU wide) has at least.
    unbonded : bool
        Where there is no good peak, take the pixels that are bonded to nothing (CSPAD).
    regions, length, stride : int
        For cameras: number and length of the runs, and the distance of their pixels.  A length below 100 stands for
        128 pixels; 0 regions for as many runs as there are.
    """

    max_mean: float = 25.0
    max_sigma: float = 25.0
    min_peak: float = 100.0
    unbonded: bool = True
    regions: int = 0
    length: int = 0
    stride: int = 1
    word: ClassVar[str] = "histogram"
    number: ClassVar[int] = 1

    def passes(self, detector: str, shape: tuple[int, ...]) -> Iterator[Pass]:
        """Yield one pass over the 2x1s or runs."""
        size = math.prod(shape)
        unbonded = self.unbonded and detector in ("Cspad", "Cspad2x2")
        method = Method(HISTOGRAM, self.max_mean, least=self.min_peak, width=self.max_sigma, unbonded=unbonded)
        if detector in ("Cspad", "Cspad2x2"):
            yield Pass(method, _two_by_ones(detector, size))
            return
        length = BLOCK if self.length < 100 else self.length
        stride = max(self.stride, 1)
        count = self.regions or size // length
        starts = np.arange(count) * length
        starts = starts[starts + (length - 1) * stride < size]
        found = np.zeros((len(starts), 5), np.int64)
        found[:, 0] = starts
        found[:, 1:] = 1, 0, length, stride
        yield Pass(method, found)


def _two_by_ones(detector: str, size: int) -> NDArray[np.int64]:
    """Return the regions of the 2x1s: one after the other (Cspad), or pixel by pixel in turn (Cspad2x2)."""
    panel = 185 * 388
    count, step = (size // panel, 1) if detector == "Cspad" else (2, 2)
    found = np.zeros((count, 5), np.int64)
    found[:, 0] = np.arange(count) * (panel if step == 1 else 1)
    found[:, 1:] = 1, 0, panel, step
    return found


@dataclass(frozen=True)
class Unbonded(CommonMode):
    """The mean of the 36 pixels of each 2x1 that are bonded to nothing.

    Attributes
    ----------
    max_correction : float
        A larger one is not made, ADU.
    """

    max_correction: float = 50.0
    word: ClassVar[str] = "unbonded"
    number: ClassVar[int] = 5
    detectors: ClassVar[tuple[str, ...]] = ("Cspad", "Cspad2x2")

    def passes(self, detector: str, shape: tuple[int, ...]) -> Iterator[Pass]:
        """Yield one pass over the 2x1s."""
        yield Pass(Method(UNBONDED, self.max_correction), _two_by_ones(detector, math.prod(shape)))


@dataclass(frozen=True)
class Mean(CommonMode):
    """The mean of runs of pixels.

    Attributes
    ----------
    threshold : float
        Only values below it count, ADU.
    max_correction : float
        A larger one is not made, ADU.
    length : int
        Pixels of a run; below 100: 128.
    """

    threshold: float = 100.0
    max_correction: float = 50.0
    length: int = BLOCK
    word: ClassVar[str] = "mean"
    number: ClassVar[int] = 2
    _kind: ClassVar[int] = MEAN

    def passes(self, detector: str, shape: tuple[int, ...]) -> Iterator[Pass]:
        """Yield one pass over the runs."""
        length = BLOCK if self.length < 100 else self.length
        yield Pass(Method(self._kind, self.max_correction, high=self.threshold), stripes(math.prod(shape), length))


@dataclass(frozen=True)
class BinnedMedian(Mean):
    """The median of runs of pixels, in whole ADU."""

    word: ClassVar[str] = "binned-median"
    number: ClassVar[int] = 3
    _kind: ClassVar[int] = BINNED_MEDIAN
