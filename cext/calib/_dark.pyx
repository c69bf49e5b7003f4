"""Dark events without the interpreter: order statistics of a sample, exact sums, moments behind gates.

What it means is known by `psanacli.calib.dark`.  Frames are uint16, one a row.
"""

import numpy as np

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc


cdef extern from "calib/dark.h" nogil:
    const int DARK_TILE
    ctypedef struct dark_sums:
        uint32_t *count
        uint32_t *below
        uint32_t *above
        uint32_t *wrong
        uint64_t *sum
        uint64_t *squares
        uint16_t *least
        uint16_t *largest
    ctypedef struct dark_rules:
        uint16_t bits, range_bits, range, leave_out, low, high
    void dark_ranks(const uint16_t *, int64_t, int64_t, int64_t, uint16_t, const int64_t *, int64_t, uint16_t *,
                    uint16_t *, int64_t)
    void dark_add(const uint16_t *, int64_t, int64_t, int64_t, const uint16_t *, const uint16_t *, const dark_rules *,
                  const dark_sums *)
    void dark_moments(int64_t, const uint32_t *, const uint32_t *, const uint64_t *, const uint64_t *,
                      const uint16_t *, const uint16_t *, double *, double *)


cdef int _fail_if_short(const uint16_t[::1] gate, Py_ssize_t pixels) except -1:
    if gate.shape[0] != pixels:
        raise ValueError(f"{gate.shape[0]} gates for {pixels} pixels")
    return 0


def ranks(const uint16_t[:, ::1] frames not None, uint16_t bits, const int64_t[::1] wanted not None,
          uint16_t[:, ::1] out not None):
    """Put the values of some ranks of each pixel, ``value & bits`` sorted over the frames, into the rows of `out`.

    Parameters
    ----------
    frames : ndarray of uint16, shape (n, pixels)
    bits : int
        The bits of a raw value that are its value.
    wanted : ndarray of int64, shape (m,)
        Ranks from 0 to n - 1.
    out : ndarray of uint16, shape (m, pixels)
    """
    cdef int64_t n = frames.shape[0], pixels = frames.shape[1], count = wanted.shape[0], k
    if out.shape[0] != count or out.shape[1] != pixels:
        raise ValueError("the ranks do not fit into their array")
    for k in range(count):
        if not 0 <= wanted[k] < n:
            raise ValueError(f"no rank {wanted[k]} in {n} frames")
    if pixels == 0 or count == 0:
        return
    cdef uint16_t *tile = <uint16_t *>malloc(<size_t>(n * DARK_TILE * sizeof(uint16_t)))
    if tile == NULL:
        raise MemoryError
    with nogil:
        dark_ranks(&frames[0, 0], n, pixels, pixels, bits, &wanted[0], count, tile, &out[0, 0], pixels)
    free(tile)


cdef class Sums:
    """Exact sums of any number of frames: counts in 32 bits, sums and squares in 64.

    Parameters
    ----------
    pixels : int
    """

    cdef readonly object count, below, above, wrong, sum, squares, least, largest
    cdef dark_sums _sums
    cdef int64_t _pixels

    def __init__(self, int64_t pixels):
        self._pixels = pixels
        self.count, self.below = np.zeros(pixels, np.uint32), np.zeros(pixels, np.uint32)
        self.above, self.wrong = np.zeros(pixels, np.uint32), np.zeros(pixels, np.uint32)
        self.sum, self.squares = np.zeros(pixels, np.uint64), np.zeros(pixels, np.uint64)
        self.least, self.largest = np.full(pixels, 0xffff, np.uint16), np.zeros(pixels, np.uint16)
        self._point()

    cdef void _point(self):
        cdef uint32_t[::1] count = self.count, below = self.below, above = self.above, wrong = self.wrong
        cdef uint64_t[::1] total = self.sum, squares = self.squares
        cdef uint16_t[::1] least = self.least, largest = self.largest
        if self._pixels:
            self._sums.count, self._sums.below, self._sums.above = &count[0], &below[0], &above[0]
            self._sums.wrong, self._sums.sum, self._sums.squares = &wrong[0], &total[0], &squares[0]
            self._sums.least, self._sums.largest = &least[0], &largest[0]

    def arrays(self):
        """Return all arrays by name."""
        names = ("count", "below", "above", "wrong", "sum", "squares", "least", "largest")
        return {name: getattr(self, name) for name in names}

    def add(self, const uint16_t[:, ::1] frames not None, const uint16_t[::1] gate_low not None,
            const uint16_t[::1] gate_high not None, tuple rules not None):
        """Add frames, shape (n, pixels); `rules` are (bits, range_bits, range, leave_out, low, high)."""
        cdef dark_rules how
        cdef int64_t n = frames.shape[0]
        if frames.shape[1] != self._pixels:
            raise ValueError(f"frames of {frames.shape[1]} pixels, sums of {self._pixels}")
        _fail_if_short(gate_low, self._pixels)
        _fail_if_short(gate_high, self._pixels)
        how.bits, how.range_bits, how.range, leave_out, how.low, how.high = rules
        how.leave_out = 0xffff if leave_out else 0
        if n == 0 or self._pixels == 0:
            return
        with nogil:
            dark_add(&frames[0, 0], n, self._pixels, self._pixels, &gate_low[0], &gate_high[0], &how, &self._sums)


def moments(const uint32_t[::1] count not None, const uint32_t[::1] values not None, const uint64_t[::1] total not None,
            const uint64_t[::1] squares not None, const uint16_t[::1] gate_low not None,
            const uint16_t[::1] gate_high not None):
    """Return mean and unbiased rms of each pixel, corrected for what its gate cut off a normal distribution.

    Where all `values` are inside of the gate (`count` of them), it cut off nothing.

    Returns
    -------
    mean, rms : ndarray of float64, shape (pixels,)
        0 where there is no value; the rms is 0 where there is one only.
    """
    cdef int64_t pixels = count.shape[0]
    mean, rms = np.zeros(pixels), np.zeros(pixels)
    cdef double[::1] mean_out = mean, rms_out = rms
    if values.shape[0] != pixels or total.shape[0] != pixels or squares.shape[0] != pixels:
        raise ValueError("sums of different sizes")
    _fail_if_short(gate_low, pixels)
    _fail_if_short(gate_high, pixels)
    if pixels:
        with nogil:
            dark_moments(pixels, &count[0], &values[0], &total[0], &squares[0], &gate_low[0], &gate_high[0],
                         &mean_out[0], &rms_out[0])
    return mean, rms
