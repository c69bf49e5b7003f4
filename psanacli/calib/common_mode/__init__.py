"""Common mode: an offset that all pixels of a region of a detector share in one event, found and subtracted.

Each algorithm is a value with named parameters, and knows the regions of the detector it is for.  The numbers of
the original (``1,25,25,100``) are understood too.  The algorithms are those of the reference of its calibration,
section 5.6.

Examples
--------
>>> parse_common_mode("1,8,6,100,0", "Cspad") == Histogram(max_mean=8, max_sigma=6, unbonded=False)
True
>>> parse_common_mode("median:rows=yes,columns=yes,max_correction=10", "Epix100a")
Median(banks=False, rows=True, columns=True, half_range=30.0, max_correction=10.0)
"""

from psanacli.calib.common_mode.averages import BinnedMedian, Histogram, Mean, Unbonded
from psanacli.calib.common_mode.base import COMMON_MODES, CommonMode, Off
from psanacli.calib.common_mode.medians import GoodMedian, Median, PnccdMedian, QuietMedian
from psanacli.calib.common_mode.spelling import default_common_mode, from_numbers, parse_common_mode

__all__ = [
    "COMMON_MODES",
    "BinnedMedian",
    "CommonMode",
    "GoodMedian",
    "Histogram",
    "Mean",
    "Median",
    "Off",
    "PnccdMedian",
    "QuietMedian",
    "Unbonded",
    "default_common_mode",
    "from_numbers",
    "parse_common_mode",
]
