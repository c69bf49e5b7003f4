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
