# Common modes: what is done to the regions of an array.

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
        uint8_t *pairs
        int64_t *sorted
        int64_t *exchanges

    const int BY_HISTOGRAM, BY_UNBONDED, COPIES, MEDIAN_BINS, PIECE, ROOM, SIDE, SHORT, EXCHANGES
    void clear_copies(const Scratch *)
    void add_copies(const Scratch *)
    int believed_peak(const Scratch *, const Method *, double *)
    void correct_regions_f4(float *, const uint8_t *, const Region *, const Method *, const int64_t *, int64_t, int64_t,
                            const Scratch *, double *)
    void correct_regions_f8(double *, const uint8_t *, const Region *, const Method *, const int64_t *, int64_t, int64_t,
                            const Scratch *, double *)


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
        Number of the method of each region.  Regions of one method do not overlap.
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
        scratch.values = malloc(max(self.largest + 1, SHORT * (SIDE + 1)) * sizeof(double))
        scratch.bins = <uint16_t *>malloc(PIECE * sizeof(uint16_t))
        scratch.histogram = <uint32_t *>malloc(COPIES * ROOM * sizeof(uint32_t))
        scratch.counts = <uint32_t *>calloc(MEDIAN_BINS, sizeof(uint32_t))
        scratch.pairs = <uint8_t *>malloc(2 * EXCHANGES)
        scratch.sorted = <int64_t *>calloc(2, sizeof(int64_t))
        scratch.exchanges = scratch.sorted + 1
        if not (scratch.values and scratch.bins and scratch.histogram and scratch.counts and scratch.pairs
                and scratch.sorted):
            give_back(scratch)
            with gil:
                raise MemoryError
        return 0

    cdef void span_f4(self, float *v, const uint8_t *good, Py_ssize_t span, Scratch *scratch) noexcept nogil:
        """Correct the regions of a span."""
        correct_regions_f4(v, good, self.regions, self.methods, self.method, self.bounds[span], self.bounds[span + 1],
                           scratch, NULL)

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
        if not self.size or not self.count:
            return found
        with nogil:
            self.take(&scratch)
            if floating is float:
                correct_regions_f4(&values[0], which, self.regions, self.methods, self.method, 0, self.count, &scratch,
                                   &corrections[0])
            else:
                correct_regions_f8(&values[0], which, self.regions, self.methods, self.method, 0, self.count, &scratch,
                                   &corrections[0])
            give_back(&scratch)
        return found


cdef void give_back(Scratch *scratch) noexcept nogil:
    free(scratch.values)
    free(scratch.bins)
    free(scratch.histogram)
    free(scratch.counts)
    free(scratch.pairs)
    free(scratch.sorted)
