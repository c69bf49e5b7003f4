# Detectors whose pixels have one gain.

cdef extern from "calib/frames.h" nogil:
    ctypedef struct GainMap:
        const uint8_t *is_high
        double low, high
        const double *each
        bint in_floats

    ctypedef struct Common:
        double number
        bint in_floats

    ctypedef struct Pixels:
        const int64_t *pixels
        int64_t count

    int64_t before(const Pixels *, int64_t)
    Common common_of(double, bint)
    bint gain_in_floats(double)
    void pedestal_u1(const uint8_t *, const float *, float *, int64_t)
    void pedestal_u2(const uint16_t *, const float *, float *, int64_t)
    void pedestal_i2(const int16_t *, const float *, float *, int64_t)
    void pedestal_i4(const int32_t *, const float *, float *, int64_t)
    void pedestal_f4(const float *, const float *, float *, int64_t)
    void whole_u1(const uint8_t *, const float *, const Common *, const GainMap *, const float *, float *, int64_t, int64_t, int)
    void whole_u2(const uint16_t *, const float *, const Common *, const GainMap *, const float *, float *, int64_t, int64_t, int)
    void whole_i2(const int16_t *, const float *, const Common *, const GainMap *, const float *, float *, int64_t, int64_t, int)
    void whole_i4(const int32_t *, const float *, const Common *, const GainMap *, const float *, float *, int64_t, int64_t, int)
    void whole_f4(const float *, const float *, const Common *, const GainMap *, const float *, float *, int64_t, int64_t, int)
    void finish(float *, double, const GainMap *, const float *, int64_t, int64_t)
    void blank(float *, const uint8_t *, int64_t)
    void end_streams()
    const int LARGE, FINEST

cdef extern from "calib/integers.h" nogil:
    ctypedef struct DoubledPedestals:
        const int16_t *doubled
        Pixels others

    const int LEFT_OUT
    void count_u1(const uint8_t *, const float *, const DoubledPedestals *, int64_t, int64_t, const Scratch *,
                  const float *, const float *)
    void count_u2(const uint16_t *, const float *, const DoubledPedestals *, int64_t, int64_t, const Scratch *,
                  const float *, const float *)
    void count_i2(const int16_t *, const float *, const DoubledPedestals *, int64_t, int64_t, const Scratch *,
                  const float *, const float *)
    void count_i4(const int32_t *, const float *, const DoubledPedestals *, int64_t, int64_t, const Scratch *,
                  const float *, const float *)
    void others_u1(const uint8_t *, const float *, const DoubledPedestals *, int64_t, int64_t, const Scratch *)
    void others_u2(const uint16_t *, const float *, const DoubledPedestals *, int64_t, int64_t, const Scratch *)
    void others_i2(const int16_t *, const float *, const DoubledPedestals *, int64_t, int64_t, const Scratch *)
    void others_i4(const int32_t *, const float *, const DoubledPedestals *, int64_t, int64_t, const Scratch *)


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


cdef inline void _count(const Raw *raw, const float *pedestals, const DoubledPedestals *all, int64_t at, int64_t n,
                        const Scratch *scratch, const float *next, const float *also_next) noexcept nogil:
    """Count some pixels, integers less their pedestals; floats are never counted so."""
    if Raw is uint8_t:
        count_u1(raw, pedestals, all, at, n, scratch, next, also_next)
    elif Raw is uint16_t:
        count_u2(raw, pedestals, all, at, n, scratch, next, also_next)
    elif Raw is int16_t:
        count_i2(raw, pedestals, all, at, n, scratch, next, also_next)
    elif Raw is int32_t:
        count_i4(raw, pedestals, all, at, n, scratch, next, also_next)


cdef inline void _count_others(const Raw *raw, const float *pedestals, const DoubledPedestals *all, int64_t first,
                               int64_t stop, const Scratch *scratch) noexcept nogil:
    if Raw is uint8_t:
        others_u1(raw, pedestals, all, first, stop, scratch)
    elif Raw is uint16_t:
        others_u2(raw, pedestals, all, first, stop, scratch)
    elif Raw is int16_t:
        others_i2(raw, pedestals, all, first, stop, scratch)
    elif Raw is int32_t:
        others_i4(raw, pedestals, all, first, stop, scratch)


cdef inline void _whole(const Raw *raw, const float *pedestals, const Common *common, const GainMap *map,
                        const float *factor, float *out, int64_t first, int64_t stop, int streams) noexcept nogil:
    if Raw is uint8_t:
        whole_u1(raw, pedestals, common, map, factor, out, first, stop, streams)
    elif Raw is uint16_t:
        whole_u2(raw, pedestals, common, map, factor, out, first, stop, streams)
    elif Raw is int16_t:
        whole_i2(raw, pedestals, common, map, factor, out, first, stop, streams)
    elif Raw is int32_t:
        whole_i4(raw, pedestals, common, map, factor, out, first, stop, streams)
    else:
        whole_f4(raw, pedestals, common, map, factor, out, first, stop, streams)


cdef Pixels _pixels(const int64_t[::1] numbers):
    """Return some pixels as the native code takes them; who calls holds the array."""
    cdef Pixels found = Pixels(NULL, numbers.shape[0])
    if found.count:
        found.pixels = &numbers[0]
    return found


cdef class Doubled:
    """Pedestals as the histogram of a whole span takes them: doubled, and cut to integers.

    For most pixels the bin of ``raw - pedestal`` follows from integers alone.  It does not where the difference, rounded
    to float32, may come to another side of a half than the exact one: where a small pedestal is next to a half.  These
    `others` are counted in floating point.

    What the histogram says is then subtracted in single precision, if pedestals are even (``frames.h``); the few that
    are not, of pixels whose factor is not 0, go the long way.

    Parameters
    ----------
    pedestals : ndarray of float32
        ADU.
    good : ndarray of uint8
        Pixels that are 0 are not counted.
    factor : ndarray of float32
    """

    cdef DoubledPedestals all
    cdef Pixels uneven
    cdef readonly Py_ssize_t size
    cdef object _held

    def __cinit__(self, pedestals, good, factor):
        cdef int16_t[::1] doubled
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
        fine = pedestals * np.float32(FINEST)
        uneven = np.flatnonzero((fine != np.rint(fine)) & (factor != 0)).astype(np.int64)
        self.size = pedestals.size
        self._held = held, apart, uneven
        if self.size:
            doubled = held
            self.all.doubled = &doubled[0]
        self.all.others, self.uneven = _pixels(apart), _pixels(uneven)

    @property
    def others(self):
        """Number of the pixels that are counted one by one."""
        return self.all.others.count


cdef class Gains:
    """A gain map as the native code takes it.

    Parameters
    ----------
    factors : ndarray of float64
        One for each pixel; a map of two values takes a byte a pixel only.
    moderate : bool
        Whether raw values less their pedestals are finite, and 0 or at least 1e-13: then single precision may do.
    """

    cdef GainMap map
    cdef readonly Py_ssize_t size
    cdef object _held

    def __cinit__(self, const double[::1] factors, bint moderate):
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
            self.map.in_floats = moderate and gain_in_floats(self.map.low) and gain_in_floats(self.map.high)
        else:
            self._held = factors
            self.map.each = &factors[0]


# Pixels that are worked on together where there are several images: their constants stay in the innermost cache but one.
DEF TOGETHER = 32768
# One in so many pixels may have a pedestal that is not even.
DEF FEW = 64


cdef struct Waiting:
    # Pixels of an image whose common mode is known, and that are not written yet.
    const char *raw  # where its first pixel would be, were all pieces in a row with that of these pixels
    float *out
    int64_t first, stop
    Common common


cdef struct Constants:
    const float *pedestals
    const float *factor
    const GainMap *map
    const uint8_t *mask
    const Pixels *uneven  # which pedestals are not even; NULL: it is not known
    bint streams


cdef inline void _write(Raw *kind, Waiting *waiting, int64_t most, const Constants *constants) noexcept nogil:
    """Write up to so many of the pixels that wait; `kind` says the type of raw values."""
    cdef int64_t first = waiting.first, stop = min(first + most, waiting.stop), k
    cdef const Raw *raw = <const Raw *>waiting.raw
    cdef const Pixels *uneven = constants.uneven
    cdef Common common = waiting.common
    _whole(raw, constants.pedestals, &common, constants.map, constants.factor, waiting.out, first, stop,
           constants.streams)
    if common.in_floats:
        common.in_floats = False
        k = before(uneven, first)
        while k < uneven.count and uneven.pixels[k] < stop:
            _whole(raw, constants.pedestals, &common, constants.map, constants.factor, waiting.out, uneven.pixels[k],
                   uneven.pixels[k] + 1, False)
            k += 1
    if constants.mask != NULL:
        blank(waiting.out + first, constants.mask + first, stop - first)
    waiting.first = stop


cdef inline void _count_and_write(const Raw *raw, const DoubledPedestals *all, int64_t first, int64_t stop,
                                  const Scratch *scratch, Waiting *waiting, const Constants *constants) noexcept nogil:
    """Take the histogram of a span, and write what waits, in turn.

    One keeps the processor busy and the other the memory.
    """
    cdef int64_t at = first, n
    clear_copies(scratch)
    while at < stop:
        n = min(PIECE, stop - at)
        _count(raw, constants.pedestals, all, at, n, scratch, constants.pedestals + waiting.first,
               constants.factor + waiting.first)
        if waiting.first < waiting.stop:
            _write(<Raw *>NULL, waiting, PIECE, constants)
        at += n
    _count_others(raw, constants.pedestals, all, first, stop, scratch)
    add_copies(scratch)


cdef int _correct(Raw *kind, const Pieces *raws, int64_t images, float *out, int64_t size, const Constants *constants,
                  Steps steps, const uint8_t *good, const DoubledPedestals *doubled, Unread *unread) except -1 nogil:
    """Correct images, span by span: each span of all images, as long as its constants are in the cache."""
    cdef int64_t first = 0, stop, image, room = 0
    cdef char *rooms = NULL
    cdef int turn = 0
    cdef Py_ssize_t span = 0
    cdef bint known
    cdef double number
    cdef float *here
    cdef const Raw *raw
    cdef const Method *method = NULL
    cdef Scratch scratch
    cdef Waiting waiting = Waiting(NULL, NULL, 0, 0, Common(0.0, False))
    for image in range(images):
        if raws[image].descriptor >= 0:
            room = min(size, TOGETHER if steps is None else steps.longest) * <int64_t>sizeof(Raw)
            room = (room + LINE - 1) // LINE * LINE
    if steps is not None:
        steps.take(&scratch)
    if room:
        # Two in turn: while one is read to, what is in the other waits to be written.
        rooms = <char *>malloc(2 * room)
        if rooms == NULL:
            if steps is not None:
                give_back(&scratch)
            with gil:
                raise MemoryError
    while first < size and unread.image < 0:
        stop = size
        if steps is not None:
            stop = steps.spans[span + 1]
            method = steps.histogram_of_all(span)
        else:
            if images > 1 or room:
                stop = min(stop, first + TOGETHER)
            for image in range(images):
                stop = min(stop, (first // raws[image].length + 1) * raws[image].length)
        for image in range(images):
            turn ^= 1
            raw = _values(kind, &raws[image], first, stop, rooms + turn * room, &unread.trouble)
            if raw == NULL:
                unread.image = image
                break
            here = out + image * size
            known, number = steps is None, 0.0
            if Raw is not float:
                if method != NULL and doubled != NULL:
                    _count_and_write(raw, doubled, first, stop, &scratch, &waiting, constants)
                    known = believed_peak(&scratch, method, &number)
            if waiting.first < waiting.stop:
                _write(<Raw *>NULL, &waiting, size, constants)
            if known:
                waiting = Waiting(<const char *>raw, here, first, stop, common_of(number, constants.uneven != NULL))
            else:
                _subtract(raw + first, constants.pedestals + first, here + first, stop - first)
                steps.span_f4(here, good, span, &scratch)
                finish(here, 0.0, constants.map, constants.factor, first, stop)
                if constants.mask != NULL:
                    blank(here + first, constants.mask + first, stop - first)
        first = stop
        span += 1
    if waiting.first < waiting.stop and unread.image < 0:
        _write(<Raw *>NULL, &waiting, size, constants)
    end_streams()
    free(rooms)
    if steps is not None:
        give_back(&scratch)
    return 0


def correct(list raws, const float[::1] pedestals, Gains gains, const float[::1] factor, const uint8_t[::1] mask,
            float[:, ::1] out, Steps steps, const uint8_t[::1] good, Doubled doubled):
    """Write ``(raw - pedestals - common mode) * gains * factor`` of some images to `out`.

    Parameters
    ----------
    raws : list of ndarray of uint8, uint16, int16, int32 or float32, all of one type, shape (pieces, pixels)
        The pieces of an image follow one another, wherever each is in memory; a span of the common mode is in one piece.
        `PiecesInFile` are as good.
    pedestals, factor : ndarray of float32
        The factor is 0 where a pixel is masked.
    gains : Gains or None
        A factor that is applied in double precision.
    mask : ndarray of uint8 or None
        0 where the result is 0 even if the value is not finite.
    out : ndarray of float32, shape (images, pixels)
    steps : Steps or None
        The common mode; None: no correction.
    good : ndarray of uint8 or None
        Pixels that count for the common mode.
    doubled : Doubled or None
        Made of the same pedestals and good pixels; makes a histogram faster.

    Returns
    -------
    unread, trouble : int
        Number of an image that could not be read from its file, after which `out` holds anything, and the number of the
        error (0: the file ends before); -1, 0: all could.
    """
    cdef Unread unread = Unread(-1, 0)
    cdef int64_t images = out.shape[0], size = out.shape[1]
    cdef const uint8_t *which = NULL
    cdef const DoubledPedestals *twice = NULL
    cdef Constants constants = Constants(NULL, NULL, NULL, NULL, NULL, False)
    cdef GainMap map
    cdef Pieces *pieces
    cdef float *to
    cdef str kind
    if len(raws) != images:
        raise ValueError(f"{len(raws)} images, and room for {images}")
    _same(size, pedestals.shape[0], "the array of pedestals")
    _same(size, factor.shape[0], "the array of factors")
    if mask is not None:
        _same(size, mask.shape[0], "the mask")
    if gains is not None:
        _same(size, gains.size, "the gain map")
    if steps is not None:
        _same(size, steps.size, "the common mode")
        for raw in raws:
            if raw.shape[0] > 1 and not steps.within(raw.shape[1]):
                raise ValueError("a span of the common mode is in several pieces of the raw image")
        if good is not None:
            _same(size, good.shape[0], "the status")
        elif steps.needs_good:
            raise ValueError("the common mode needs to know which pixels are good")
        if doubled is not None:
            _same(size, doubled.size, "the array of doubled pedestals")
            twice = &doubled.all
            if doubled.uneven.count * FEW < size:
                constants.uneven = &doubled.uneven
    if not size or not images:
        return -1, 0
    constants.pedestals, constants.factor, constants.streams = &pedestals[0], &factor[0], size > LARGE
    if gains is not None:
        map = gains.map
        map.in_floats = map.in_floats and raws[0].dtype.kind != "f"
        constants.map = &map
    if mask is not None:
        constants.mask = &mask[0]
    if steps is not None and good is not None:
        which = &good[0]
    to, kind = &out[0, 0], raws[0].dtype.str[1:]
    pieces = <Pieces *>malloc(images * sizeof(Pieces))
    if not pieces:
        raise MemoryError
    try:
        if kind == "u1":
            _locate(raws, <uint8_t *>NULL, size, pieces)
            with nogil:
                _correct(<uint8_t *>NULL, pieces, images, to, size, &constants, steps, which, twice, &unread)
        elif kind == "u2":
            _locate(raws, <uint16_t *>NULL, size, pieces)
            with nogil:
                _correct(<uint16_t *>NULL, pieces, images, to, size, &constants, steps, which, twice, &unread)
        elif kind == "i2":
            _locate(raws, <int16_t *>NULL, size, pieces)
            with nogil:
                _correct(<int16_t *>NULL, pieces, images, to, size, &constants, steps, which, twice, &unread)
        elif kind == "i4":
            _locate(raws, <int32_t *>NULL, size, pieces)
            with nogil:
                _correct(<int32_t *>NULL, pieces, images, to, size, &constants, steps, which, twice, &unread)
        elif kind == "f4":
            _locate(raws, <float *>NULL, size, pieces)
            with nogil:
                _correct(<float *>NULL, pieces, images, to, size, &constants, steps, which, twice, &unread)
        else:
            raise ValueError(f"raw images of the type {raws[0].dtype}")
    finally:
        free(pieces)
    return unread.image, unread.trouble
