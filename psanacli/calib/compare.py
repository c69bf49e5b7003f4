"""Two arrays of constants compared: numbers, and a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.calib.constants import Array
from psanacli.calib.sheet import FRAME, drawn, labels
from psanacli.errors import ConstantsError


@dataclass(frozen=True, eq=False)
class Difference:
    """How the second array differs from the first.

    Attributes
    ----------
    delta : ndarray of float64
        Second minus first, in their shape; NaN where both are the same infinity or NaN.
    changed : int
        Values that are not the same.
    """

    delta: NDArray[np.float64]
    changed: int

    @property
    def same(self) -> bool:
        """Whether all values are the same."""
        return not self.changed

    def numbers(self) -> dict[str, Any]:
        """Return mean, median, standard deviation and extremes of the difference, and where the largest is."""
        finite = self.delta[np.isfinite(self.delta)]
        told: dict[str, Any] = {"values": int(self.delta.size), "changed": self.changed}
        if finite.size:
            magnitude = np.where(np.isfinite(self.delta), np.abs(self.delta), -1)
            place = np.unravel_index(int(magnitude.argmax()), self.delta.shape)
            told |= {"mean": float(finite.mean()), "median": float(np.median(finite)), "std": float(finite.std())}
            told |= {"min": float(finite.min()), "max": float(finite.max())}
            told["largest_at"] = [int(axis) for axis in place]
        return told

    def png(self, title: str = "") -> bytes:
        """Draw the difference: red where it grew, blue where it shrank, white where it did not.

        Panels stand in a sheet with grey lines between, and have their numbers.  The colours end at the 99th percentile
        of what changed.
        """
        from psanacli.run import Canvas

        image, lines = drawn(self.delta)
        changed = np.abs(image[np.isfinite(image) & (image != 0)])
        limit = float(np.percentile(changed, 99)) if changed.size else 1.0
        share = np.clip(np.nan_to_num(image, nan=0.0) / limit, -1, 1)[..., None]
        grew, shrank = np.array([200.0, 30, 30]), np.array([40.0, 84, 160])
        colours = 255 + np.where(share > 0, (grew - 255) * share, (shrank - 255) * -share)
        colours[lines] = FRAME
        margin = 24
        legend = f"red +{limit:.4g}  blue -{limit:.4g}  white: the same"
        width = max(image.shape[1] + 20, 6 * (max(len(title), len(legend)) + 4))
        canvas = Canvas(width, image.shape[0] + 2 * margin)
        canvas.write(10, 7, title)
        canvas.place(10, margin, np.rint(colours).astype(np.uint8))
        for number, x, y in labels(self.delta.shape):
            canvas.write(13 + x, margin + y + 3, number, FRAME)
        canvas.write(10, margin + image.shape[0] + 7, legend)
        return canvas.png()


def compare(first: Array, second: Array, what: str) -> Difference:
    """Compare two arrays.

    Raises
    ------
    ConstantsError
        Their shapes differ.
    """
    if first.shape != second.shape:
        raise ConstantsError(f"{what}: the shapes differ: {first.shape} and {second.shape}")
    both_nan = (first != first) & (second != second)
    changed = (first != second) & ~both_nan
    with np.errstate(invalid="ignore", over="ignore"):
        if first.dtype.kind in "iub" and second.dtype.kind in "iub":
            larger = second >= first
            low, high = np.where(larger, first, second), np.where(larger, second, first)
            size = (high - low).astype(np.float64)
            delta = np.where(larger, size, -size)
        else:
            delta = second.astype(np.float64) - first.astype(np.float64)
    return Difference(delta, int(np.count_nonzero(changed)))
