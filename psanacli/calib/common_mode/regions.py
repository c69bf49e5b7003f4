"""Regions of an image, the passes of a correction over them, and their native form."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from psanacli.calib._correct import Steps

HISTOGRAM, MEAN, BINNED_MEDIAN, MEDIAN, UNBONDED, GROWING_HISTOGRAM = range(1, 7)

_PIECE = 1 << 15
"""Pixels that a piece of the image has at least: each costs a call."""


class Method(NamedTuple):
    """How regions are corrected, as the native code takes it (``cext/calib/regions.h``)."""

    kind: int
    limit: float = math.inf
    """Largest correction, ADU."""
    low: float = -math.inf
    high: float = math.inf
    """Values that count, ADU."""
    least: float = 0.0
    """How many values are needed; of a histogram the least height of its peak."""
    width: float = math.inf
    """Largest sigma of a peak, ADU."""
    only_good: bool = False
    """Bad pixels keep their value."""
    unbonded: bool = False
    """Unbonded pixels serve where the histogram fails."""


class Pass(NamedTuple):
    """One correction of many regions: how, and each region as first element, rows, row step, columns, step."""

    method: Method
    regions: NDArray[np.int64]


def below(limit: float | None) -> float:
    """Return the largest number below a limit (None: no limit), where the original compares strictly."""
    return math.inf if limit is None else math.nextafter(float(limit), -math.inf)


def tiles(shape: Sequence[int], rows: int, columns: int, *, by_column: bool = False) -> NDArray[np.int64]:
    """Return the regions that cut the last two axes of an array into tiles of `rows` x `columns` pixels.

    What is left at the end of an axis belongs to no region.  They come row by row of tiles, or column by column.
    """
    height, width = int(shape[-2]), int(shape[-1])
    panels = math.prod(shape[:-2])
    first = np.arange(panels)[:, None, None] * height * width
    down = np.arange(height // rows)[:, None] * rows * width
    across = np.arange(width // columns) * columns
    grid = down + across
    starts = (first + (grid.T if by_column else grid)).reshape(-1)
    found = np.empty((len(starts), 5), np.int64)
    found[:, 0] = starts
    found[:, 1:] = rows, width, columns, 1
    return found


def stripes(size: int, length: int) -> NDArray[np.int64]:
    """Return the regions of `length` consecutive pixels; the last has what is left.

    The original reads beyond the array there (trap T15).
    """
    starts = np.arange(0, size, length)
    found = np.zeros((len(starts), 5), np.int64)
    found[:, 0] = starts
    found[:, 1] = found[:, 4] = 1
    found[:, 3] = np.minimum(length, size - starts)
    return found


def parts(regions: NDArray[np.int64], rows: int, columns: int) -> NDArray[np.int64]:
    """Return regions cut into tiles of `rows` x `columns`, region by region."""
    found = []
    for start, height, row_step, width, step in regions.tolist():
        grid = np.arange(height // rows)[:, None] * rows * row_step + np.arange(width // columns) * columns * step
        cut = np.empty((grid.size, 5), np.int64)
        cut[:, 0] = start + grid.reshape(-1)
        cut[:, 1:] = rows, row_step, columns, step
        found.append(cut)
    return np.concatenate(found) if found else np.zeros((0, 5), np.int64)


def compiled(passes: Iterable[Pass], size: int) -> Steps | None:
    """Return the native form of passes over arrays of `size` elements.

    The array is cut where no region crosses, so that each piece can be worked on while it is in the cache.
    """
    found = [each for each in passes if len(each.regions)]
    if not found:
        return None
    regions = np.concatenate([each.regions for each in found])
    method = np.repeat(np.arange(len(found)), [len(each.regions) for each in found])
    last = regions[:, 0] + (regions[:, 1] - 1) * regions[:, 2] + (regions[:, 3] - 1) * regions[:, 4]
    order = np.argsort(regions[:, 0], kind="stable")
    reach = np.maximum.accumulate(last[order])
    cuts = regions[order[1:], 0][regions[order[1:], 0] > reach[:-1]]
    wide = [0]
    for cut in cuts.tolist():
        if cut - wide[-1] >= _PIECE:
            wide.append(cut)
    spans = np.array([*wide, size], np.int64)
    piece = np.searchsorted(spans, regions[:, 0], side="right") - 1
    in_pieces = np.argsort(piece, kind="stable")
    bounds = np.searchsorted(piece[in_pieces], np.arange(len(spans)))
    return Steps(
        size, [each.method for each in found], regions[in_pieces], method[in_pieces], spans, bounds.astype(np.int64)
    )
