"""Correction of images: pedestals, common mode, gains and masks, one panel after the other and without the interpreter.

What is to be done is made by `psanacli.calib.common_mode` and `psanacli.calib.recipe`; here it is checked against the
arrays once, and done.
"""

import numpy as np

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free, malloc

from cython cimport floating


cdef int _same(Py_ssize_t size, Py_ssize_t other, str what) except -1:
    if size != other:
        raise ValueError(f"{what} has {other} elements, the image {size}")
    return 0


include "calib/steps.pxi"
include "calib/pieces.pxi"
include "calib/one_gain.pxi"
include "calib/ranged.pxi"
