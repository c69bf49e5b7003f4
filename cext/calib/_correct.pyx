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
        uint16_t *bins
        uint32_t *histogram
        uint32_t *counts

    const int BY_HISTOGRAM, BY_UNBONDED, COPIES, MEDIAN_BINS, PIECE, ROOM
    int believed_peak(const Scratch *, const Method *, double *)
    double correct_region_f4(float *, const uint8_t *, const Region *, const Method *, const Scratch *)
    double correct_region_f8(double *, const uint8_t *, const Region *, const Method *, const Scratch *)

cdef extern from "calib/frames.h" nogil:
    ctypedef struct GainMap:
        const uint8_t *is_high
        double low, high
        const double *each

    void pedestal_u1(const uint8_t *, const float *, float *, int64_t)
    void pedestal_u2(const uint16_t *, const float *, float *, int64_t)
    void pedestal_i2(const int16_t *, const float *, float *, int64_t)
    void pedestal_i4(const int32_t *, const float *, float *, int64_t)
    void pedestal_f4(const float *, const float *, float *, int64_t)
    void whole_u1(const uint8_t *, const float *, double, const GainMap *, const float *, float *, int64_t, int64_t, int)
    void whole_u2(const uint16_t *, const float *, double, const GainMap *, const float *, float *, int64_t, int64_t, int)
    void whole_i2(const int16_t *, const float *, double, const GainMap *, const float *, float *, int64_t, int64_t, int)
    void whole_i4(const int32_t *, const float *, double, const GainMap *, const float *, float *, int64_t, int64_t, int)
    void whole_f4(const float *, const float *, double, const GainMap *, const float *, float *, int64_t, int64_t, int)
    void finish(float *, const GainMap *, const float *, int64_t, int64_t)
    void blank(float *, const uint8_t *, int64_t)
    const int LARGE, STRETCH
    void planes_by_bits(const uint16_t *, uint8_t *, int64_t)
    void planes_by_switch(const uint16_t *, const uint8_t *, const uint8_t *, uint8_t *, int64_t)
    void subtract_ranged(const uint16_t *, const uint8_t *, const float *, int64_t, float *, int64_t, int64_t)
    void scale_ranged(float *, const uint8_t *, const float *, int64_t, int64_t, int64_t)
    void taking_part(const uint8_t *, const uint8_t *, uint32_t, uint8_t *, int64_t)

cdef extern from "calib/integers.h" nogil:
    ctypedef struct DoubledPedestals:
        const int16_t *doubled
        const int64_t *others
        int64_t count

    const int LEFT_OUT
    void count_u1(const uint8_t *, const float *, const DoubledPedestals *, int64_t, int64_t, const Scratch *)
    void count_u2(const uint16_t *, const float *, const DoubledPedestals *, int64_t, int64_t, const Scratch *)
    void count_i2(const int16_t *, const float *, const DoubledPedestals *, int64_t, int64_t, const Scratch *)
    void count_i4(const int32_t *, const float *, const DoubledPedestals *, int64_t, int64_t, const Scratch *)

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

    cdef Py_ssize_t count, largest, longest, pieces
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
        self.size, self.count, self.largest, self.pieces = size, n, 1, m
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
            self.longest = max(self.longest, <Py_ssize_t>(spans[k + 1] - spans[k]))
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

    def within(self, int64_t length):
        """Return whether every span lies in one of the pieces of some length that the array can be cut into."""
        cdef Py_ssize_t k
        for k in range(self.pieces):
            if self.spans[k] < self.spans[k + 1] and self.spans[k] // length != (self.spans[k + 1] - 1) // length:
                return False
        return True

    def __dealloc__(self):
        free(self.regions)
        free(self.methods)
        free(self.method)
        free(self.spans)
        free(self.bounds)

    cdef int take(self, Scratch *scratch) except -1 nogil:
        """Take the room that a thread needs."""
        scratch.values = malloc((self.largest + 1) * sizeof(double))
        scratch.bins = <uint16_t *>malloc(PIECE * sizeof(uint16_t))
        scratch.histogram = <uint32_t *>malloc(COPIES * ROOM * sizeof(uint32_t))
        scratch.counts = <uint32_t *>calloc(MEDIAN_BINS, sizeof(uint32_t))
        if not (scratch.values and scratch.bins and scratch.histogram and scratch.counts):
            give_back(scratch)
            with gil:
                raise MemoryError
        return 0

    cdef void span_f4(self, float *v, const uint8_t *good, Py_ssize_t span, Scratch *scratch) noexcept nogil:
        """Correct the regions of a span."""
        cdef int64_t i
        for i in range(self.bounds[span], self.bounds[span + 1]):
            correct_region_f4(v, good, &self.regions[i], &self.methods[self.method[i]], scratch)

    cdef const Method *histogram_of_all(self, Py_ssize_t span) noexcept nogil:
        """Return the method if all that is done to a span is to take its histogram as a whole, else NULL."""
        cdef int64_t i = self.bounds[span]
        cdef const Region *region = &self.regions[i]
        cdef const Method *method = &self.methods[self.method[i]]
        if (self.bounds[span + 1] == i + 1 and method.kind == BY_HISTOGRAM and region.rows == 1 and region.step == 1
                and region.start == self.spans[span] and region.columns == self.spans[span + 1] - region.start):
            return method
        return NULL

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


cdef inline void _subtract(const Raw *raw, const float *pedestals, float *out, int64_t n) noexcept nogil:
    if Raw is uint8_t:
        pedestal_u1(raw, pedestals, out, n)
    elif Raw is uint16_t:
        pedestal_u2(raw, pedestals, out, n)
    elif Raw is int16_t:
        pedestal_i2(raw, pedestals, out, n)
    elif Raw is int32_t:
        pedestal_i4(raw, pedestals, out, n)
    else:
        pedestal_f4(raw, pedestals, out, n)


cdef inline bint _count(const Raw *raw, const float *pedestals, const DoubledPedestals *all, int64_t first, int64_t stop,
                        const Scratch *scratch) noexcept nogil:
    """Count integers less their pedestals; False when the values are no integers."""
    if Raw is float:
        return False
    elif Raw is uint8_t:
        count_u1(raw, pedestals, all, first, stop, scratch)
    elif Raw is uint16_t:
        count_u2(raw, pedestals, all, first, stop, scratch)
    elif Raw is int16_t:
        count_i2(raw, pedestals, all, first, stop, scratch)
    else:
        count_i4(raw, pedestals, all, first, stop, scratch)
    return True


cdef inline void _whole(const Raw *raw, const float *pedestals, double number, const GainMap *map, const float *factor,
                        float *out, int64_t first, int64_t stop, int streams) noexcept nogil:
    if Raw is uint8_t:
        whole_u1(raw, pedestals, number, map, factor, out, first, stop, streams)
    elif Raw is uint16_t:
        whole_u2(raw, pedestals, number, map, factor, out, first, stop, streams)
    elif Raw is int16_t:
        whole_i2(raw, pedestals, number, map, factor, out, first, stop, streams)
    elif Raw is int32_t:
        whole_i4(raw, pedestals, number, map, factor, out, first, stop, streams)
    else:
        whole_f4(raw, pedestals, number, map, factor, out, first, stop, streams)


cdef class Doubled:
    """Pedestals as the histogram of a whole span takes them: doubled, and cut to integers.

    For most pixels the bin of ``raw - pedestal`` follows from integers alone.  It does not where the difference, rounded
    to float32, may come to another side of a half than the exact one: where a small pedestal is next to a half.  These
    `others` are counted in floating point.

    Parameters
    ----------
    pedestals : ndarray of float32
        ADU.
    good : ndarray of uint8
        Pixels that are 0 are not counted.
    """

    cdef DoubledPedestals all
    cdef readonly Py_ssize_t size
    cdef object _held

    def __cinit__(self, pedestals, good):
        cdef int16_t[::1] doubled
        cdef int64_t[::1] others
        twice = 2.0 * pedestals
        whole = np.rint(twice)
        away = np.abs(twice - 2 * np.floor(pedestals) - 1)
        # A difference below 2048 is rounded by 2^-14 at most, by nothing when the pedestal has no smaller bits itself.
        exact = (twice == whole) | (away > 2.0**-12) | (pedestals >= 1024)
        integers = (twice >= 0) & (whole < 2**15 - 2) & exact
        chosen = np.where(twice == whole, whole, 2 * np.rint(pedestals))
        held = np.full(pedestals.size, LEFT_OUT, np.int16)
        counted = (good != 0) & np.isfinite(pedestals)
        held[counted & integers] = chosen[counted & integers]
        apart = np.flatnonzero(counted & ~integers).astype(np.int64)
        self.size = pedestals.size
        self._held = held, apart
        if self.size:
            doubled = held
            self.all.doubled = &doubled[0]
        self.all.count = apart.size
        if apart.size:
            others = apart
            self.all.others = &others[0]

    @property
    def others(self):
        """Number of the pixels that are counted one by one."""
        return self.all.count


cdef class Gains:
    """A gain map as the native code takes it.

    Parameters
    ----------
    factors : ndarray of float64
        One for each pixel; a map of two values takes a byte a pixel only.
    """

    cdef GainMap map
    cdef readonly Py_ssize_t size
    cdef object _held

    def __cinit__(self, const double[::1] factors):
        cdef const uint8_t[::1] high
        values = np.asarray(factors)
        self.size = values.size
        if not self.size:
            return
        self.map.low, self.map.high = values.min(), values.max()
        is_high = values == self.map.high
        if (is_high | (values == self.map.low)).all():
            self._held = high = is_high.view(np.uint8)
            self.map.is_high = &high[0]
        else:
            self._held = factors
            self.map.each = &factors[0]


def correct(const Raw[:, :] raw, const float[::1] pedestals, Gains gains, const float[::1] factor,
            const uint8_t[::1] mask, float[::1] out, Steps steps, const uint8_t[::1] good,
            Doubled doubled):
    """Write ``(raw - pedestals - common mode) * gains * factor`` to `out`.

    Parameters
    ----------
    raw : ndarray of uint8, uint16, int16, int32 or float32, shape (pieces, pixels)
        The pieces follow one another, wherever each is in memory; a span of the common mode is in one piece.
    pedestals, factor : ndarray of float32
        The factor is 0 where a pixel is masked.
    gains : Gains or None
        A factor that is applied in double precision.
    mask : ndarray of uint8 or None
        0 where the result is 0 even if the value is not finite.
    out : ndarray of float32
    steps : Steps or None
        The common mode; None: no correction.
    good : ndarray of uint8 or None
        Pixels that count for the common mode.
    doubled : Doubled or None
        Made of the same pedestals and good pixels; makes a histogram faster.
    """
    cdef int64_t size = out.shape[0], length = raw.shape[1], first = 0, stop, piece
    cdef Py_ssize_t span = 0
    cdef double number
    cdef bint in_regions
    cdef const Method *method
    cdef Scratch scratch
    cdef const uint8_t *which = NULL
    cdef const GainMap *map = NULL
    cdef const Raw *here
    _same(size, raw.shape[0] * length, "the raw image")
    if raw.strides[1] != sizeof(Raw) and length > 1:
        raise ValueError("a piece of the raw image is not in one row")
    _same(size, pedestals.shape[0], "the array of pedestals")
    _same(size, factor.shape[0], "the array of factors")
    if mask is not None:
        _same(size, mask.shape[0], "the mask")
    if gains is not None:
        _same(size, gains.size, "the gain map")
        map = &gains.map
    if steps is not None:
        _same(size, steps.size, "the common mode")
        if raw.shape[0] > 1 and not steps.within(length):
            raise ValueError("a span of the common mode is in several pieces of the raw image")
        if good is not None:
            _same(size, good.shape[0], "the status")
            which = &good[0] if size else NULL
        elif steps.needs_good:
            raise ValueError("the common mode needs to know which pixels are good")
        if doubled is not None:
            _same(size, doubled.size, "the array of doubled pedestals")
    if not size:
        return
    with nogil:
        if steps is not None:
            steps.take(&scratch)
        while first < size:
            piece = first // length
            # Where the first pixel would be, were all pieces in a row with this one.
            here = &raw[piece, 0] - piece * length
            stop, number, in_regions = (piece + 1) * length, 0.0, steps is not None
            if steps is not None:
                stop = steps.spans[span + 1]
                method = steps.histogram_of_all(span)
                if method != NULL and doubled is not None and _count(
                        here, &pedestals[0], &doubled.all, first, stop, &scratch):
                    if believed_peak(&scratch, method, &number):
                        in_regions = False
            if in_regions:
                _subtract(here + first, &pedestals[first], &out[first], stop - first)
                steps.span_f4(&out[0], which, span, &scratch)
                finish(&out[0], map, &factor[0], first, stop)
            else:
                _whole(here, &pedestals[0], number, map, &factor[0], &out[0], first, stop, size > LARGE)
            if mask is not None:
                blank(&out[first], &mask[first], stop - first)
            first = stop
            span += 1
        if steps is not None:
            give_back(&scratch)


cdef class Switch:
    """Which plane of constants a pixel takes when bit 14 of its value is clear, and when it is set.

    Parameters
    ----------
    clear, set : ndarray of uint8
        Numbers of planes, one for each pixel.
    """

    cdef const uint8_t[::1] clear, set
    cdef readonly Py_ssize_t size, planes

    def __cinit__(self, clear, set):
        if clear.shape != set.shape:
            raise ValueError("the two maps of planes have different sizes")
        # Copies, as the loops rely on the numbers.
        self.clear, self.set = np.array(clear, np.uint8), np.array(set, np.uint8)
        self.size = clear.size
        self.planes = 1 + max(int(clear.max()), int(set.max())) if clear.size else 0


def correct_ranged(const uint16_t[::1] raw, Switch switch, const float[:, ::1] pedestals, const float[:, ::1] factor,
                   const uint8_t[::1] mask, float[::1] out, Steps steps, uint32_t counting):
    """Write corrected values of a detector whose pixels choose their gain range.

    Parameters
    ----------
    raw : ndarray of uint16, shape (n,)
        The low 14 bits are the value.
    switch : Switch or None
        Which plane of constants a pixel takes; None: the two top bits are its number.
    pedestals, factor : ndarray of float32, shape (planes, n)
        The factor is 0 where a pixel is masked.
    mask : ndarray of uint8, shape (n,)
        Pixels that are 0 do not take part in the common mode.
    out : ndarray of float32, shape (n,)
    steps : Steps or None
    counting : int
        Bits of the planes whose pixels take part in the common mode.
    """
    cdef int64_t size = out.shape[0], planes = pedestals.shape[0], first = 0, stop, room = STRETCH
    cdef Py_ssize_t span = 0
    cdef Scratch scratch
    cdef uint8_t *plane
    cdef uint8_t *good
    _same(size, raw.shape[0], "the raw image")
    _same(size, pedestals.shape[1], "the array of pedestals")
    _same(size, factor.shape[1], "the array of factors")
    _same(size, mask.shape[0], "the mask")
    if factor.shape[0] != planes:
        raise ValueError("there are not as many gains as pedestals")
    if switch is not None:
        _same(size, switch.size, "the map of ranges")
    if planes < (4 if switch is None else switch.planes):
        raise ValueError("pixels are in ranges that have no constants")
    if steps is not None:
        _same(size, steps.size, "the common mode")
        room = steps.longest
    if not size:
        return
    plane = <uint8_t *>malloc(size + room)
    if not plane:
        raise MemoryError
    good = plane + room
    with nogil:
        if steps is not None:
            steps.take(&scratch)
        while first < size:
            stop = steps.spans[span + 1] if steps is not None else min(first + STRETCH, size)
            if switch is None:
                planes_by_bits(&raw[first], plane, stop - first)
            else:
                planes_by_switch(&raw[first], &switch.clear[first], &switch.set[first], plane, stop - first)
            subtract_ranged(&raw[0], plane, &pedestals[0, 0], size, &out[0], first, stop)
            if steps is not None:
                taking_part(plane, &mask[first], counting, good + first, stop - first)
                steps.span_f4(&out[0], good, span, &scratch)
                span += 1
            scale_ranged(&out[0], plane, &factor[0, 0], size, first, stop)
            first = stop
        if steps is not None:
            give_back(&scratch)
        free(plane)
