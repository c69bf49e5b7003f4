"""Masks: which pixels are good.  Everywhere 1 is good and 0 is bad, uint8, in the shape of the image, panels first.

Each function gives a new array and leaves its arguments alone (the original changes some, trap T19).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import UsageError

Mask = NDArray[np.uint8]
Shape = tuple[int, ...]

ALL_BITS = (1 << 64) - 1
RANGES_OF_STATUS = {7: (0, 1, 2, 3, 4)}
"""Gain ranges whose status counts, by their number: of an ePix10ka those that have dark runs of their own."""
NEIGHBOURS_4 = ((-1, 0), (1, 0), (0, -1), (0, 1))
NEIGHBOURS_8 = (*NEIGHBOURS_4, (-1, -1), (-1, 1), (1, -1), (1, 1))

ASIC_BORDERS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "Cspad": ((), (194,)),
    "Cspad2x2": ((), (194,)),
    "Epix100a": ((352,), (384,)),
    "Epix10ka": ((176,), (192,)),
    "Epix10kaQuad": ((176,), (192,)),
    "Epix10ka2M": ((176,), (192,)),
    "Jungfrau": ((256,), (256, 512, 768)),
}
"""By detector: the first row and the first column behind each border between ASICs of a panel."""

_UNBONDED_AT = range(0, 190, 10)
_SECOND_ASIC = 194


def good_everywhere(shape: Sequence[int]) -> Mask:
    """Return a mask without bad pixels."""
    return np.ones(tuple(shape), np.uint8)


def from_status(status: NDArray[Any], bits: int = ALL_BITS) -> Mask:
    """Return the mask of pixel status words: a pixel is bad when one of the chosen bits is set.

    Parameters
    ----------
    status : ndarray of an unsigned integer
        Of any shape.
    bits : int
        The bits that count; 0: none.
    """
    most = int(np.iinfo(status.dtype).max)
    return np.asarray((status & status.dtype.type(bits & most)) == 0, np.uint8)


def combined(*masks: Mask | None) -> Mask | None:
    """Return a mask of the pixels that are good in all of several masks; None counts as no mask.

    Raises
    ------
    UsageError
        Their shapes differ.
    """
    given = [mask for mask in masks if mask is not None]
    if not given:
        return None
    if len({mask.shape for mask in given}) > 1:
        shapes = ", ".join(str(mask.shape) for mask in given)
        raise UsageError(f"masks of different shapes cannot be combined: {shapes}")
    result = given[0] != 0
    for mask in given[1:]:
        result = result & (mask != 0)
    return np.asarray(result, np.uint8)


def with_neighbours(mask: Mask, eight: bool = True) -> Mask:
    """Return a mask in which the four or eight neighbours of bad pixels, on the same panel, are bad too."""
    return _grown(mask, NEIGHBOURS_8 if eight else NEIGHBOURS_4)


def with_surroundings(mask: Mask, radius: int, form: Literal["diamond", "disc", "square"] = "diamond") -> Mask:
    """Return a mask in which all pixels near a bad one, on the same panel, are bad too.

    Parameters
    ----------
    mask : ndarray of uint8
        Shape (..., rows, columns).
    radius : int
        In pixels.
    form : str
        What near means: ``diamond`` (rows and columns together at most `radius`), ``disc``, ``square``.
    """
    if radius < 0:
        raise UsageError(f"a radius of {radius} pixels cannot be")
    row, column = np.indices((2 * radius + 1, 2 * radius + 1)) - radius
    forms = {
        "diamond": abs(row) + abs(column) <= radius,
        "disc": row * row + column * column <= radius * radius,
        "square": row == row,
    }
    if form not in forms:
        raise UsageError(f"there is no form {form!r}", "there are diamond, disc and square")
    inside = forms[form]
    return _grown(mask, list(zip(row[inside].tolist(), column[inside].tolist(), strict=True)))


def _grown(mask: Mask, offsets: Sequence[tuple[int, int]]) -> Mask:
    """Return the mask with every bad pixel copied to its neighbours at some offsets."""
    bad = mask == 0
    result = bad.copy()
    height, width = bad.shape[-2:]
    for row, column in offsets:
        if abs(row) >= height or abs(column) >= width:
            continue
        to = slice(max(row, 0), height + min(row, 0)), slice(max(column, 0), width + min(column, 0))
        of = slice(max(-row, 0), height + min(-row, 0)), slice(max(-column, 0), width + min(-column, 0))
        result[(..., *to)] |= bad[(..., *of)]
    return np.asarray(~result, np.uint8)


def edges(shape: Sequence[int], rows: int = 1, columns: int = 1) -> Mask:
    """Return a mask with the rim of each panel bad: so many rows and columns on each side.

    Raises
    ------
    UsageError
        The rim is wider than the panel.
    """
    mask = good_everywhere(shape)
    if rows < 0 or columns < 0 or rows > shape[-2] or columns > shape[-1]:
        raise UsageError(
            f"a rim of {rows} rows and {columns} columns does not fit on a panel of {shape[-2]} x {shape[-1]} pixels"
        )
    if rows:
        mask[..., :rows, :] = mask[..., -rows:, :] = 0
    if columns:
        mask[..., :, :columns] = mask[..., :, -columns:] = 0
    return mask


def central(shape: Sequence[int], detector: str, width: int = 1) -> Mask:
    """Return a mask with the pixels beside the borders between the ASICs of a panel bad, `width` on each side.

    Parameters
    ----------
    shape : sequence of int
        Of the image, panels first.
    detector : str
        Kind of the detector, such as ``Jungfrau``; others than those of `ASIC_BORDERS` have no such borders.
    width : int
        In pixels.
    """
    mask = good_everywhere(shape)
    rows, columns = ASIC_BORDERS.get(detector, ((), ()))
    for row in rows if width > 0 else ():
        mask[..., max(row - width, 0) : row + width, :] = 0
    for column in columns if width > 0 else ():
        mask[..., :, max(column - width, 0) : column + width] = 0
    return mask


def unbonded(shape: Sequence[int], detector: str, neighbours: Literal[0, 4, 8] = 0) -> Mask:
    """Return a mask with the pixels of CSPAD 2x1s bad that are bonded to nothing, with their neighbours if wanted.

    The original leaves the two in the corners, (0, 0) and (0, 194), good when it masks neighbours (trap T37).
    """
    mask = good_everywhere(shape)
    if detector not in ("Cspad", "Cspad2x2"):
        return mask
    at = np.array(_UNBONDED_AT)
    mask[..., at, at] = mask[..., at, at + _SECOND_ASIC] = 0
    return with_neighbours(mask, neighbours == 8) if neighbours else mask


def over_ranges(masks: Mask, ranges: Sequence[int] | None = None) -> Mask:
    """Return the mask of pixels that are good in all of some gain ranges.

    Parameters
    ----------
    masks : ndarray of uint8, shape (ranges, ...)
        One for each range.
    ranges : sequence of int, optional
        Numbers of the ranges; default is all.
    """
    chosen = masks if ranges is None else masks[list(ranges)]
    return np.asarray((chosen != 0).all(axis=0), np.uint8)
