"""Correction of images: pedestals, common mode, gains and masks, one panel after the other and without the interpreter.

What is to be done is made by `psanacli.calib.common_mode` and `psanacli.calib.recipe`; here it is checked against the
arrays once, and done.
"""

import numpy as np

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free, malloc

from cython cimport floating


cdef extern from "calib/regions.h" nogil:
    ctypedef struct Region:
        int64_t start, rows, row_step, columns, step

    ctypedef struct Method:
        int32_t kind
        double limit, low, high, least, width
        int32_t only_good, unbonded

    ctypedef struct Scratch:
        void *values
        int16_t *bins
        uint16_t *histogram
        uint32_t *counts

    const int BY_HISTOGRAM, BY_UNBONDED, COPIES, HISTOGRAM_BINS, MEDIAN_BINS, PIECE
    double correct_region_f4(float *, const uint8_t *, const Region *, const Method *, const Scratch *)
    double correct_region_f8(double *, const uint8_t *, const Region *, const Method *, const Scratch *)

cdef extern from "calib/frames.h" nogil:
    void pedestal_u1(const uint8_t *, const float *, float *, int64_t)
    void pedestal_u2(const uint16_t *, const float *, float *, int64_t)
    void pedestal_i2(const int16_t *, const float *, float *, int64_t)
    void pedestal_i4(const int32_t *, const float *, float *, int64_t)
    void pedestal_f4(const float *, const float *, float *, int64_t)
    void whole_u1(const uint8_t *, const float *, const float *, const uint8_t *, float *, int64_t)
    void whole_u2(const uint16_t *, const float *, const float *, const uint8_t *, float *, int64_t)
    void whole_i2(const int16_t *, const float *, const float *, const uint8_t *, float *, int64_t)
    void whole_i4(const int32_t *, const float *, const float *, const uint8_t *, float *, int64_t)
    void whole_f4(const float *, const float *, const float *, const uint8_t *, float *, int64_t)
    void scale_double(float *, const double *, int64_t)
    void scale_and_blank(float *, const float *, const uint8_t *, int64_t)
    void ranges_by_bits(const uint16_t *, uint8_t *, int64_t)
    void ranges_by_switch(const uint16_t *, const uint8_t *, const uint8_t *, uint8_t *, int64_t)
    void subtract_ranged(const uint16_t *, const uint8_t *, const float *, int64_t, int64_t, float *, int64_t, int64_t)
    void scale_ranged(float *, const uint8_t *, const float *, int64_t, int64_t, const uint8_t *, int64_t, int64_t)
    void taking_part(const uint8_t *, const uint8_t *, uint32_t, uint8_t *, int64_t)

ctypedef fused Raw:
    uint8_t
    uint16_t
    int16_t
    int32_t
    float

_UNBONDED_REACH = 180 * 389 + 194


cdef class Steps:
    """What a common mode correction does to arrays of one size: regions, and how each is corrected.

    Parameters
    ----------
    size : int
        Elements of the arrays.
    methods : list of tuple
        One for each pass: (kind, limit, low, high, least, width, only good ones, unbonded as a way out).
    regions : ndarray of int64, shape (n, 5)
        First element, rows, distance of rows, columns, distance of columns, in elements.
    method : ndarray of int64, shape (n,)
        Number of the method of each region.
    spans : ndarray of int64, shape (m + 1,)
        Span ``k`` has the elements ``spans[k]:spans[k + 1]``, and contains the regions ``bounds[k]:bounds[k + 1]``.
    bounds : ndarray of int64, shape (m + 1,)

    Raises
    ------
    ValueError
        A region reaches out of its span.
    """

    cdef Py_ssize_t count, spans_count, largest
    cdef readonly Py_ssize_t size
    cdef Region *regions
    cdef Method *methods
    cdef int64_t *method
    cdef int64_t *spans
    cdef int64_t *bounds
    cdef readonly bint needs_good

    def __cinit__(self, Py_ssize_t size, list methods, const int64_t[:, :] regions, const int64_t[:] method,
                  const int64_t[:] spans, const int64_t[:] bounds):
        cdef Py_ssize_t i, k, n = regions.shape[0], m = spans.shape[0] - 1
        cdef int64_t last
        if regions.shape[1] != 5 or method.shape[0] != n or m < 1 or bounds.shape[0] != m + 1:
            raise ValueError("regions, methods and spans do not fit together")
        if spans[0] != 0 or spans[m] != size or bounds[0] != 0 or bounds[m] != n:
            raise ValueError("the spans are not the whole array")
        self.size, self.count, self.spans_count, self.largest = size, n, m, 1
        self.regions = <Region *>malloc((n + 1) * sizeof(Region))
        self.methods = <Method *>malloc((len(methods) + 1) * sizeof(Method))
        self.method = <int64_t *>malloc((n + 1) * sizeof(int64_t))
        self.spans = <int64_t *>malloc((m + 1) * sizeof(int64_t))
        self.bounds = <int64_t *>malloc((m + 1) * sizeof(int64_t))
        if not (self.regions and self.methods and self.method and self.spans and self.bounds):
            raise MemoryError
        for i, (kind, limit, low, high, least, width, only_good, unbonded) in enumerate(methods):
            self.methods[i] = Method(kind, limit, low, high, least, width, only_good, unbonded)
            if kind == BY_HISTOGRAM or only_good:
                self.needs_good = True
        for k in range(m + 1):
            self.spans[k], self.bounds[k] = spans[k], bounds[k]
        for k in range(m):
            if spans[k] > spans[k + 1] or bounds[k] > bounds[k + 1]:
                raise ValueError("the spans are not in order")
            for i in range(bounds[k], bounds[k + 1]):
                self.regions[i] = Region(regions[i, 0], regions[i, 1], regions[i, 2], regions[i, 3], regions[i, 4])
                self.method[i] = method[i]
                if not 0 <= method[i] < len(methods):
                    raise ValueError("a region has no method")
                if min(regions[i, 1], regions[i, 3], regions[i, 4]) < 1 or regions[i, 2] < 0:
                    raise ValueError("a region is empty")
                last = (regions[i, 1] - 1) * regions[i, 2] + (regions[i, 3] - 1) * regions[i, 4]
                if self.methods[method[i]].unbonded or self.methods[method[i]].kind == BY_UNBONDED:
                    last = max(last, <int64_t>(_UNBONDED_REACH * regions[i, 4]))
                if regions[i, 0] < spans[k] or regions[i, 0] + last >= spans[k + 1]:
                    raise ValueError("a region reaches out of its span")
                self.largest = max(self.largest, regions[i, 1] * regions[i, 3])

    def __dealloc__(self):
        free(self.regions)
        free(self.methods)
        free(self.method)
        free(self.spans)
        free(self.bounds)

    cdef int take(self, Scratch *scratch) except -1 nogil:
        """Take the room that a thread needs."""
        scratch.values = malloc((self.largest + 1) * sizeof(double))
        scratch.bins = <int16_t *>malloc(PIECE * sizeof(int16_t))
        scratch.histogram = <uint16_t *>malloc(COPIES * (HISTOGRAM_BINS + 1) * sizeof(uint16_t))
        scratch.counts = <uint32_t *>calloc(MEDIAN_BINS, sizeof(uint32_t))
        if not (scratch.values and scratch.bins and scratch.histogram and scratch.counts):
            give_back(scratch)
            with gil:
                raise MemoryError
        return 0

    cdef void span_f4(self, float *v, const uint8_t *good, Py_ssize_t span, Scratch *scratch) noexcept nogil:
        cdef int64_t i
        for i in range(self.bounds[span], self.bounds[span + 1]):
            correct_region_f4(v, good, &self.regions[i], &self.methods[self.method[i]], scratch)

    def apply(self, floating[::1] values, const uint8_t[::1] good):
        """Correct an array in place.

        Parameters
        ----------
        values : ndarray of float32 or float64
        good : ndarray of uint8 or None
            Pixels that count are not 0; None: all.

        Returns
        -------
        ndarray of float64
            What was subtracted from each region, 0 where nothing was.
        """
        cdef const uint8_t *which = NULL
        cdef Scratch scratch
        cdef Py_ssize_t i
        if values.shape[0] != self.size:
            raise ValueError("the array has another size")
        if good is None and self.needs_good:
            good = np.ones(self.size, np.uint8)
        if good is not None:
            if good.shape[0] != self.size:
                raise ValueError("the mask has another size than the array")
            which = &good[0] if self.size else NULL
        found = np.zeros(self.count)
        cdef double[::1] corrections = found
        if not self.size:
            return found
        with nogil:
            self.take(&scratch)
            for i in range(self.count):
                if floating is float:
                    corrections[i] = correct_region_f4(
                        &values[0], which, &self.regions[i], &self.methods[self.method[i]], &scratch)
                else:
                    corrections[i] = correct_region_f8(
                        &values[0], which, &self.regions[i], &self.methods[self.method[i]], &scratch)
            give_back(&scratch)
        return found


cdef void give_back(Scratch *scratch) noexcept nogil:
    free(scratch.values)
    free(scratch.bins)
    free(scratch.histogram)
    free(scratch.counts)


cdef int _same(Py_ssize_t size, Py_ssize_t other, str what) except -1:
    if size != other:
        raise ValueError(f"{what} has {other} elements, the image {size}")
    return 0


def correct(const Raw[::1] raw, const float[::1] pedestals, const double[::1] before, const float[::1] factor,
            const uint8_t[::1] mask, float[::1] out, Steps steps, const uint8_t[::1] good):
    """Write ``(raw - pedestals - common mode) * before * factor * mask`` to `out`.

    Parameters
    ----------
    raw : ndarray of uint8, uint16, int16, int32 or float32
    pedestals, factor : ndarray of float32
    before : ndarray of float64 or None
        A factor that is applied in double precision.
    mask : ndarray of uint8
        0 where the result is 0.
    out : ndarray of float32
    steps : Steps or None
        The common mode; None: no correction.
    good : ndarray of uint8 or None
        Pixels that count for the common mode.
    """
    cdef Py_ssize_t size = out.shape[0], span, spans = 1
    cdef int64_t first, stop, n
    cdef Scratch scratch
    cdef const uint8_t *which = NULL
    _same(size, raw.shape[0], "the raw image")
    _same(size, pedestals.shape[0], "the array of pedestals")
    _same(size, factor.shape[0], "the array of factors")
    _same(size, mask.shape[0], "the mask")
    if before is not None:
        _same(size, before.shape[0], "the array of gain factors")
    if steps is not None:
        _same(size, steps.size, "the common mode")
        if good is not None:
            _same(size, good.shape[0], "the status")
            which = &good[0] if size else NULL
        elif steps.needs_good:
            raise ValueError("the common mode needs to know which pixels are good")
        spans = steps.spans_count
    if not size:
        return
    with nogil:
        if steps is None and before is None:
            if Raw is uint8_t:
                whole_u1(&raw[0], &pedestals[0], &factor[0], &mask[0], &out[0], size)
            elif Raw is uint16_t:
                whole_u2(&raw[0], &pedestals[0], &factor[0], &mask[0], &out[0], size)
            elif Raw is int16_t:
                whole_i2(&raw[0], &pedestals[0], &factor[0], &mask[0], &out[0], size)
            elif Raw is int32_t:
                whole_i4(&raw[0], &pedestals[0], &factor[0], &mask[0], &out[0], size)
            else:
                whole_f4(&raw[0], &pedestals[0], &factor[0], &mask[0], &out[0], size)
        else:
            if steps is not None:
                steps.take(&scratch)
            for span in range(spans):
                first = steps.spans[span] if steps is not None else 0
                stop = steps.spans[span + 1] if steps is not None else size
                n = stop - first
                if Raw is uint8_t:
                    pedestal_u1(&raw[first], &pedestals[first], &out[first], n)
                elif Raw is uint16_t:
                    pedestal_u2(&raw[first], &pedestals[first], &out[first], n)
                elif Raw is int16_t:
                    pedestal_i2(&raw[first], &pedestals[first], &out[first], n)
                elif Raw is int32_t:
                    pedestal_i4(&raw[first], &pedestals[first], &out[first], n)
                else:
                    pedestal_f4(&raw[first], &pedestals[first], &out[first], n)
                if steps is not None:
                    steps.span_f4(&out[0], which, span, &scratch)
                if before is not None:
                    scale_double(&out[first], &before[first], n)
                scale_and_blank(&out[first], &factor[first], &mask[first], n)
            if steps is not None:
                give_back(&scratch)


def correct_ranged(const uint16_t[::1] raw, const uint8_t[::1] clear, const uint8_t[::1] set, const float[:, ::1] pedestals,
                   const float[:, ::1] factor, const uint8_t[::1] mask, float[::1] out, Steps steps, uint32_t low_ranges):
    """Write corrected values of a detector whose pixels choose their gain range.

    Parameters
    ----------
    raw : ndarray of uint16, shape (n,)
        The low 14 bits are the value.
    clear, set : ndarray of uint8, shape (n,), or None
        Range of each pixel when bit 14 is clear, and when it is set; 255: none. None: the two top bits tell the range
        (0, 1, and 3 for range 2).
    pedestals, factor : ndarray of float32, shape (ranges, n)
    mask : ndarray of uint8, shape (n,)
    out : ndarray of float32, shape (n,)
    steps : Steps or None
    low_ranges : int
        Bits of the ranges whose pixels take part in the common mode.
    """
    cdef Py_ssize_t size = out.shape[0], span, spans = 1
    cdef int64_t ranges = pedestals.shape[0], first, stop
    cdef Scratch scratch
    cdef uint8_t *range_of
    cdef uint8_t *good
    _same(size, raw.shape[0], "the raw image")
    _same(size, pedestals.shape[1], "the array of pedestals")
    _same(size, factor.shape[1], "the array of factors")
    _same(size, mask.shape[0], "the mask")
    if factor.shape[0] != ranges:
        raise ValueError("there are not as many gains as pedestals")
    if clear is not None:
        _same(size, clear.shape[0], "the map of ranges")
        _same(size, set.shape[0], "the map of ranges")
    if steps is not None:
        _same(size, steps.size, "the common mode")
        spans = steps.spans_count
    if not size:
        return
    range_of = <uint8_t *>malloc(2 * size)
    if not range_of:
        raise MemoryError
    good = range_of + size
    with nogil:
        if steps is not None:
            steps.take(&scratch)
        for span in range(spans):
            first = steps.spans[span] if steps is not None else 0
            stop = steps.spans[span + 1] if steps is not None else size
            if clear is None:
                ranges_by_bits(&raw[first], range_of + first, stop - first)
            else:
                ranges_by_switch(&raw[first], &clear[first], &set[first], range_of + first, stop - first)
            subtract_ranged(&raw[0], range_of, &pedestals[0, 0], size, ranges, &out[0], first, stop)
            if steps is not None:
                taking_part(range_of + first, &mask[first], low_ranges, good + first, stop - first)
                steps.span_f4(&out[0], good, span, &scratch)
            scale_ranged(&out[0], range_of, &factor[0, 0], size, ranges, &mask[0], first, stop)
        if steps is not None:
            give_back(&scratch)
        free(range_of)
