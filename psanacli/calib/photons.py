"""Photon counting."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.calib import _photons
from psanacli.errors import UsageError

THRESHOLD = 0.9
"""Fractions of two neighbours that make at least so much together are one photon."""


def photons(
    image: NDArray[Any],
    *,
    adu_per_photon: float = 1.0,
    threshold: float = THRESHOLD,
    mask: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint16]:
    """Return the number of photons in each pixel of a corrected image.

    Whole photons are counted; what is left over is a fraction.  A pixel whose fraction is a local maximum, and at least
    one half, is joined with its neighbour (up, down, left, right) of largest fraction: both together make one photon
    more if their fractions reach the threshold.  The rule is that of the original (reference 5.9), where the mask is
    honoured or not at random (trap T23), and the image is changed (T22); here it is, and is not.

    Parameters
    ----------
    image : ndarray, shape (..., rows, columns)
        Each panel is counted by itself.
    adu_per_photon : float
        Units of the image that one photon makes.
    threshold : float
        In photons.
    mask : ndarray of uint8, optional
        Pixels that are 0 have no photons.

    Returns
    -------
    ndarray of uint16
        In the shape of the image; at most 65535.

    Raises
    ------
    UsageError
        The image has less than two axes, the mask another shape, or `adu_per_photon` is not positive.
    """
    if image.ndim < 2:
        raise UsageError(f"an image has rows and columns, this array has the shape {image.shape}")
    if not adu_per_photon > 0:
        raise UsageError(f"a photon cannot make {adu_per_photon:g} ADU")
    if mask is not None and mask.shape != image.shape:
        raise UsageError(f"the mask has the shape {mask.shape}, the image {image.shape}")
    kind = image.dtype if image.dtype in (np.float32, np.float64) else np.dtype(np.float32)
    panels = np.ascontiguousarray(image, kind).reshape(-1, *image.shape[-2:])
    good = None if mask is None else np.ascontiguousarray(mask, np.uint8).reshape(panels.shape)
    scale = float(np.float32(1.0 / adu_per_photon)) if kind == np.float32 else 1.0 / adu_per_photon
    return _photons.count(panels, good, scale, threshold).reshape(image.shape)
