# Detectors whose pixels choose their gain range.

cdef extern from "calib/ranges.h" nogil:
    const int STRETCH
    void planes_by_bits(const uint16_t *, uint8_t *, int64_t)
    void planes_by_switch(const uint16_t *, const uint8_t *, const uint8_t *, uint8_t *, int64_t)
    void subtract_ranged(const uint16_t *, const uint8_t *, const float *, int64_t, float *, int64_t, int64_t)
    void scale_ranged(float *, const uint8_t *, const float *, int64_t, int64_t, int64_t)
    void taking_part(const uint8_t *, const uint8_t *, uint32_t, uint8_t *, int64_t)


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


cdef struct Planes:
    # What all images of a detector share.
    const uint8_t *clear  # NULL: the two top bits of a value are the number of its plane
    const uint8_t *set
    const float *pedestals
    const float *factor
    const uint8_t *mask
    int64_t size
    uint32_t counting


cdef void _correct_ranged(const uint16_t *raw, const Planes *planes, float *out, int64_t first, int64_t stop,
                          Steps steps, Py_ssize_t span, uint8_t *plane, Scratch *scratch) noexcept nogil:
    """Correct some pixels of an image, which are a span if there is a common mode; `plane` has room for two bytes each."""
    cdef int64_t n = stop - first
    if planes.clear == NULL:
        planes_by_bits(raw + first, plane, n)
    else:
        planes_by_switch(raw + first, planes.clear + first, planes.set + first, plane, n)
    subtract_ranged(raw, plane, planes.pedestals, planes.size, out, first, stop)
    if steps is not None:
        taking_part(plane, planes.mask + first, planes.counting, plane + n, n)
        steps.span_f4(out, plane + n - first, span, scratch)
    scale_ranged(out, plane, planes.factor, planes.size, first, stop)


def correct_ranged(list raws, Switch switch, const float[:, ::1] pedestals, const float[:, ::1] factor,
                   const uint8_t[::1] mask, float[:, ::1] out, Steps steps, uint32_t counting):
    """Write corrected values of a detector whose pixels choose their gain range: some images, side by side.

    Parameters
    ----------
    raws : list of ndarray of uint16, shape (n,)
        The low 14 bits are the value.
    switch : Switch or None
        Which plane of constants a pixel takes; None: the two top bits are its number.
    pedestals, factor : ndarray of float32, shape (planes, n)
        The factor is 0 where a pixel is masked.
    mask : ndarray of uint8, shape (n,)
        Pixels that are 0 do not take part in the common mode.
    out : ndarray of float32, shape (images, n)
    steps : Steps or None
    counting : int
        Bits of the planes whose pixels take part in the common mode.
    """
    cdef int64_t images = out.shape[0], size = out.shape[1], first = 0, at, end, stop, most = STRETCH, image
    cdef Py_ssize_t span = 0
    cdef const uint16_t[::1] raw
    cdef const uint16_t **each
    cdef Planes planes
    cdef Scratch scratch
    cdef uint8_t *plane
    if len(raws) != images:
        raise ValueError(f"{len(raws)} images, and room for {images}")
    _same(size, pedestals.shape[1], "the array of pedestals")
    _same(size, factor.shape[1], "the array of factors")
    _same(size, mask.shape[0], "the mask")
    if factor.shape[0] != pedestals.shape[0]:
        raise ValueError("there are not as many gains as pedestals")
    if switch is not None:
        _same(size, switch.size, "the map of ranges")
    if pedestals.shape[0] < (4 if switch is None else switch.planes):
        raise ValueError("pixels are in ranges that have no constants")
    if steps is not None:
        _same(size, steps.size, "the common mode")
        most = steps.longest
    if not size or not images:
        return
    planes = Planes(NULL, NULL, &pedestals[0, 0], &factor[0, 0], &mask[0], size, counting)
    if switch is not None:
        planes.clear, planes.set = &switch.clear[0], &switch.set[0]
    plane = <uint8_t *>malloc(2 * most)
    each = <const uint16_t **>malloc(images * sizeof(uint16_t *))
    try:
        if not plane or not each:
            raise MemoryError
        for image in range(images):
            raw = raws[image]
            _same(size, raw.shape[0], "the raw image")
            each[image] = &raw[0]
        with nogil:
            if steps is not None:
                steps.take(&scratch)
            while first < size:
                stop = steps.spans[span + 1] if steps is not None else min(first + TOGETHER, size)
                for image in range(images):
                    at = first
                    while at < stop:
                        end = min(at + most, stop)
                        _correct_ranged(each[image], &planes, &out[image, 0], at, end, steps, span, plane, &scratch)
                        at = end
                first = stop
                span += 1
            if steps is not None:
                give_back(&scratch)
    finally:
        free(each)
        free(plane)
