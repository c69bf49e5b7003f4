"""Images that follow one another, corrected a few at a time: so the constants are read once for all of them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby, islice
from typing import Any

from numpy.typing import NDArray

from psanacli.calib import RangedRecipe, Raw, Recipe

AnyRecipe = Recipe | RangedRecipe

TOGETHER = 4
"""Images at a time: with more of them the raw ones have left the cache before they are corrected."""


def correct_together(images: Iterable[tuple[Raw, AnyRecipe | None]], out: NDArray[Any]) -> None:
    """Correct images to the rows of an array.

    Parameters
    ----------
    images : iterable of (ndarray or PixelsInFile, recipe or None)
        Raw images as a recipe takes them, asked for a few at a time; None: an image stays as it is.
    out : ndarray, shape (images, ...)
        Where they go.
    """
    place = 0
    for _, same in groupby(images, key=lambda each: id(each[1])):
        while some := list(islice(same, TOGETHER)):
            recipe, rows = some[0][1], out[place : place + len(some)]
            if recipe is None:
                for row, (raw, _) in zip(rows, some, strict=True):
                    row[...] = raw
            else:
                recipe.images([raw for raw, _ in some], rows)
            place += len(some)


def image_shape(raw: Raw, recipe: AnyRecipe | None) -> tuple[int, ...]:
    """Return the shape of an image whose pixels may come in pieces."""
    return raw.shape if recipe is None or raw.ndim == len(recipe.shape) else recipe.shape
