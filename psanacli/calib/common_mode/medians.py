"""Common modes that are medians of banks, rows and columns."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from psanacli.calib.common_mode.base import CommonMode
from psanacli.calib.common_mode.regions import GROWING_HISTOGRAM, MEDIAN, Method, Pass, below, parts, tiles

LEAST = 10
"""Values that a median needs where no other number is said."""


@dataclass(frozen=True)
class Median(CommonMode):
    """The median of banks, then of the rows in each, then of its columns (Epix100a); of rows and columns (Fccd960).

    Attributes
    ----------
    banks, rows, columns : bool
        What is corrected.  Of an Fccd960 there are rows (in six groups of 160, even and odd columns apart), and
        columns (by tens in each half).
    half_range : float
        Only values from minus to plus this one count, ADU; of an Fccd960 where its histogram begins.
    max_correction : float
        A larger one is not made, ADU; 0: any.
    """

    banks: bool = False
    rows: bool = True
    columns: bool = True
    half_range: float = 30.0
    max_correction: float = 10.0
    word: ClassVar[str] = "median"
    number: ClassVar[int] = 4
    detectors: ClassVar[tuple[str, ...]] = ("Epix100a", "Fccd960")

    def passes(self, detector: str, shape: tuple[int, ...]) -> Iterator[Pass]:
        """Yield the passes that are switched on."""
        limit = self.max_correction or math.inf
        if detector == "Fccd960":
            limit = int(self.max_correction) or math.inf
            half = max(int(self.half_range), LEAST)
            method = Method(GROWING_HISTOGRAM, limit, -half, half, LEAST)
            if self.rows:
                found = tiles(shape, 1, 160)
                odd = found.copy()
                odd[:, 0] += 1
                both = np.stack((found, odd), axis=1).reshape(-1, 5)
                both[:, 3:] = 80, 2
                yield Pass(method, both)
            if self.columns:
                yield Pass(method, tiles(shape, 480, 10))
            return
        method = Method(MEDIAN, limit, -self.half_range, self.half_range, LEAST)
        banks = tiles(shape, 352, 96)
        if self.banks:
            yield Pass(method, banks)
        if self.rows:
            yield Pass(method, parts(banks, 1, 96))
        if self.columns:
            yield Pass(method, parts(banks, 352, 1))


def _of_good_pixels(max_correction: float, min_pixels: int) -> tuple[Method, Method]:
    """Return how areas, and how rows and columns are corrected that good pixels alone count for.

    The original compares the correction strictly with its limit, and the number of pixels of a row or column too.
    """
    area = Method(MEDIAN, below(max_correction), least=min_pixels, only_good=True)
    return area, area._replace(least=min_pixels + 1)


@dataclass(frozen=True)
class GoodMedian(CommonMode):
    """Medians of good pixels, of which only these are corrected: of banks, of rows in banks, of columns in halves.

    For gain-switching detectors pixels count in their high gain ranges only.

    Attributes
    ----------
    rows, columns, banks : bool
        What is corrected, in the order banks, rows, columns.
    max_correction : float
        Only smaller ones are made, ADU.
    min_pixels : int
        A row or column needs more good pixels than this, a bank as many.
    """

    rows: bool = True
    columns: bool = False
    banks: bool = False
    max_correction: float = 100.0
    min_pixels: int = LEAST
    word: ClassVar[str] = "good-median"
    number: ClassVar[int] = 7
    detectors: ClassVar[tuple[str, ...]] = ("Jungfrau", "Epix10ka", "Epix10kaQuad", "Epix10ka2M")

    def passes(self, detector: str, shape: tuple[int, ...]) -> Iterator[Pass]:
        """Yield the passes that are switched on."""
        half, bank = (256, 64) if detector == "Jungfrau" else (176, 48)
        area, line = _of_good_pixels(self.max_correction, self.min_pixels)
        if self.banks:
            yield Pass(area, tiles(shape, half, bank))
        if self.rows:
            yield Pass(line, tiles(shape, 1, bank))
        if self.columns:
            yield Pass(line, tiles(shape, half, 1))


@dataclass(frozen=True)
class PnccdMedian(CommonMode):
    """Medians of good pixels of a pnCCD, of which only these are corrected.

    Attributes
    ----------
    bank_rows, rows, columns, banks : bool
        What is corrected, in this order: rows of 128, rows of 512, columns, banks of 512 x 128.
    max_correction : float
        Only smaller ones are made, ADU.
    min_pixels : int
        A row or column needs more good pixels than this, a bank as many.
    """

    bank_rows: bool = True
    rows: bool = False
    columns: bool = False
    banks: bool = False
    max_correction: float = 500.0
    min_pixels: int = LEAST
    word: ClassVar[str] = "pnccd-median"
    number: ClassVar[int] = 8
    detectors: ClassVar[tuple[str, ...]] = ("pnCCD",)

    def passes(self, detector: str, shape: tuple[int, ...]) -> Iterator[Pass]:
        """Yield the passes that are switched on."""
        area, line = _of_good_pixels(self.max_correction, self.min_pixels)
        height, width = shape[-2], shape[-1]
        if self.bank_rows:
            yield Pass(line, tiles(shape, 1, width // 4))
        if self.rows:
            yield Pass(line, tiles(shape, 1, width))
        if self.columns:
            yield Pass(line, tiles(shape, height, 1))
        if self.banks:
            yield Pass(area, tiles(shape, height, width // 4))


@dataclass(frozen=True)
class QuietMedian(CommonMode):
    """Medians of an Epix100a without pixels that were hit, nor their neighbours: of half columns, then of rows of 96.

    Attributes
    ----------
    max_correction : float
        A larger one is not made, ADU.
    half_range : float
        Pixels beyond it do not count, ADU.
    columns, rows : bool
        What is corrected.
    min_fraction : float
        Part of a row or column that has to count.
    level : bool
        Subtract the mean of all pixels that count first.
    """

    max_correction: float = 30.0
    half_range: float = 30.0
    columns: bool = True
    rows: bool = True
    min_fraction: float = 0.25
    level: bool = False
    word: ClassVar[str] = "quiet-median"
    number: ClassVar[int] = 6
    detectors: ClassVar[tuple[str, ...]] = ("Epix100a",)
    HIT: ClassVar[float] = 10.0
    """Pixels from this many times their rms on were hit."""

    def passes(self, detector: str, shape: tuple[int, ...]) -> Iterator[Pass]:
        """Yield the passes that are switched on; which pixels count is in `quiet`."""
        for wanted, rows, columns in ((self.columns, 352, 1), (self.rows, 1, 96)):
            if wanted:
                length = rows * columns
                least = length - math.floor((1 - self.min_fraction) * length)
                yield Pass(Method(MEDIAN, self.max_correction, least=max(least, 1)), tiles(shape, rows, columns))

    def quiet(self, values: NDArray[Any], rms: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which pixels count, from an image without pedestals and the rms of the dark, ADU."""
        hit = values >= self.HIT * rms
        grown = hit.copy()
        grown[..., 1:, :] |= hit[..., :-1, :]
        grown[..., :-1, :] |= hit[..., 1:, :]
        grown[..., :, 1:] |= hit[..., :, :-1]
        grown[..., :, :-1] |= hit[..., :, 1:]
        return np.asarray(~grown & (np.abs(values) <= self.half_range))
