"""The panels of a detector side by side in one image, as they are drawn."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

MOST_DOTS = 1600
FRAME = (150, 150, 150)
"""Colour of the lines between panels."""


def tiled(array: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return an array as one image: the panels of more than two dimensions in a nearly square sheet, a dot between."""
    if array.ndim < 2:
        return np.atleast_2d(array)
    panels = array.reshape(-1, *array.shape[-2:])
    if _interleaved(array.shape):
        panels = np.moveaxis(array, -1, 0)
    count, rows, columns = panels.shape
    if count == 1:
        first: NDArray[np.float64] = panels[0]
        return first
    across = _across(count, rows, columns)
    down = -(-count // across)
    sheet = np.full((down * (rows + 1) - 1, across * (columns + 1) - 1), np.nan)
    for k, panel in enumerate(panels):
        y, x = (k // across) * (rows + 1), (k % across) * (columns + 1)
        sheet[y : y + rows, x : x + columns] = panel
    return sheet


def _interleaved(shape: tuple[int, ...]) -> bool:
    """Whether panels are the last axis: of a CSPAD 2x2."""
    return len(shape) == 3 and shape[-1] == 2


def _across(count: int, rows: int, columns: int) -> int:
    """Return how many panels stand side by side."""
    return min(max(1, round(math.sqrt(count * rows / columns))), count)


def labels(shape: tuple[int, ...]) -> list[tuple[str, int, int]]:
    """Return the number of each panel, and column and row of its upper left corner in the image that `drawn` gives.

    A panel of one of several gain ranges has the number of the range before its own: ``2.5``.  A lone one has none.
    """
    if len(shape) < 3:
        return []
    outer = (2,) if _interleaved(shape) else shape[:-2]
    rows, columns = shape[:-1] if _interleaved(shape) else shape[-2:]
    count = math.prod(outer)
    if count < 2:
        return []
    across = _across(count, rows, columns)
    side = max(-(-count // across) * (rows + 1) - 1, across * (columns + 1) - 1)
    step = max(1, math.ceil(side / MOST_DOTS))
    return [
        (".".join(map(str, index)), (k % across) * (columns + 1) // step, (k // across) * (rows + 1) // step)
        for k, index in enumerate(np.ndindex(*outer))
    ]


def drawn(array: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return an array as an image of at most `MOST_DOTS` dots a side, and where the lines between its panels are.

    A dot that stands for several pixels has the value farthest from zero: a single one shows.
    """
    image = tiled(array)
    between = np.isnan(tiled(np.zeros(array.shape))) if array.ndim > 2 else np.zeros(image.shape, bool)
    step = max(1, math.ceil(max(image.shape) / MOST_DOTS))
    lines = _largest_of_blocks(between.astype(np.float64), step) > 0
    return _largest_of_blocks(image, step), lines


def _largest_of_blocks(image: NDArray[np.float64], step: int) -> NDArray[np.float64]:
    """Shrink an image, keeping of each block the value farthest from zero: a single changed pixel shows."""
    if step == 1:
        return image
    rows, columns = -(-image.shape[0] // step), -(-image.shape[1] // step)
    full = np.zeros((rows * step, columns * step))
    full[: image.shape[0], : image.shape[1]] = np.nan_to_num(image, nan=0.0)
    blocks = full.reshape(rows, step, columns, step).transpose(0, 2, 1, 3).reshape(rows, columns, -1)
    best = np.abs(blocks).argmax(axis=2)
    farthest: NDArray[np.float64] = np.take_along_axis(blocks, best[..., None], axis=2)[..., 0]
    return farthest
