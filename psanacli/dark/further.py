"""What belongs to a dark run beside the dark itself: gains of an ePix10ka, the common mode of a pnCCD.

Source of the rules: reference of the original's calibration, 5.5: what its tools deploy with a dark run.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.calib import COMMON_MODE

PIXEL_GAIN = "pixel_gain"
NOMINAL_GAINS = (16.4, 5.466, 0.164, 16.4, 5.466, 0.164, 0.164)
"""ADU per keV of an ePix10ka by gain range: FH, FM, FL, AHL-H, AML-M, AHL-L, AML-L."""
_MEDIAN_BY_VALUE, _LENGTH = 3, 128
_SIGMAS = 4


def further_types(source: str) -> tuple[str, ...]:
    """Return the types of constants that a dark run of a detector gives beside its pedestals, rms and status.

    Parameters
    ----------
    source : str
        Full name of the detector.
    """
    device = source.partition(":")[2]
    if device.startswith("Epix10ka"):
        return (PIXEL_GAIN,)
    return (COMMON_MODE,) if device.startswith("pnCCD") else ()


def nominal_gains(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the gains of an ePix10ka whose panels nobody has measured, float32, shape (7, panels, 352, 384)."""
    gains = np.array(NOMINAL_GAINS, np.float32).reshape(-1, *(1 for _ in shape))
    return np.broadcast_to(gains, (len(NOMINAL_GAINS), *shape)).copy()


def common_mode_of_dark(rms: NDArray[Any], good: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """Return the common mode of a pnCCD: algorithm 3 with threshold and largest correction of four mean rms.

    Parameters
    ----------
    rms : ndarray
        Of the dark, ADU.
    good : ndarray of bool
        Which pixels count.

    Returns
    -------
    ndarray of float64, shape (4,), or None
        ``(3, ceil(4 r), ceil(4 r), 128)`` with r the mean rms of good pixels; None when there are none.
    """
    if not good.any():
        return None
    limit = math.ceil(_SIGMAS * float(rms[good].mean(dtype=np.float64)))
    return np.array([_MEDIAN_BY_VALUE, limit, limit, _LENGTH], np.float64)
