"""Compression: the engines Hist16 and HistN of the data acquisition.

The encoders choose exactly as those of the facility, so that the same images give the same bytes; the layout of a block is
told in ``_decompress.pyx``.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

cdef extern from "words.h" nogil:
    uint32_t load_u2(const uint8_t *p)
    void store_u4(uint8_t *p, uint32_t value)
    void store_u2(uint8_t *p, uint32_t value)

cdef enum:
    ENGINE_HIST16 = 1
    RAW = 0
    PLAIN_MAP = 1
    RUN_LENGTH_MAP = 3


cdef struct Choice:
    # Which values count as inside of the window, and how many bits they take.
    uint32_t base
    uint32_t map_bits
    uint32_t unmap_bits


cdef int coarse_peak(const uint64_t *coarse, uint64_t count) noexcept nogil:
    """Return the last of the best pairs of neighbouring bins, or -1 when even that has less than half of the values."""
    cdef int p, best = 0
    for p in range(255):
        if coarse[p] + coarse[p + 1] >= coarse[best] + coarse[best + 1]:
            best = p
    return best if coarse[best] + coarse[best + 1] >= count // 2 else -1


cdef uint64_t best_window(
    const uint64_t *fine, uint32_t begin, uint32_t shifts, uint32_t width, uint32_t *base
) noexcept nogil:
    """Return the largest count in a window of `width` values, slid from `begin` over so many shifts; first of equals."""
    cdef uint64_t here = 0, best
    cdef uint32_t i
    for i in range(width):
        here += fine[begin + i]
    best = here
    base[0] = begin
    for i in range(shifts):
        here += fine[begin + i + width] - fine[begin + i]
        if here > best:
            best = here
            base[0] = begin + i + 1
    return best


cdef uint32_t bits_of(uint32_t value) noexcept nogil:
    cdef uint32_t bits = 0
    while value:
        bits += 1
        value >>= 1
    return bits


cdef inline uint32_t value_at(const uint8_t *p, uint64_t i, uint32_t depth) noexcept nogil:
    return p[i] if depth == 1 else load_u2(p + 2 * i)


cdef uint64_t write_map(
    const uint8_t *p, uint64_t count, uint32_t depth, uint32_t base, uint64_t width, uint8_t *out, uint32_t *flag
) noexcept nogil:
    """Write the bit map with its number of words in front; run-length coded when that has fewer words."""
    cdef uint64_t plain = count // 16 + 1, words = (count + 15) // 16
    cdef uint64_t i, w, used = 0
    cdef uint32_t bits, run = 0
    cdef int k
    cdef uint8_t *maps = out + 4
    for w in range(words):
        bits = 0
        for k in range(16):
            i = 16 * w + k
            if i < count and <uint64_t>(value_at(p, i, depth) - base) < width:
                bits |= <uint32_t>1 << k
        if bits == 0xFFFF:
            if run == 0xFFFF:
                store_u2(maps + 2 * used, run)
                store_u2(maps + 2 * used + 2, 0xFFFF)
                used += 2
                run = 0
            run += 1
            continue
        if run:
            store_u2(maps + 2 * used, run)
            store_u2(maps + 2 * used + 2, 0xFFFF)
            used += 2
            run = 0
        store_u2(maps + 2 * used, 1)
        store_u2(maps + 2 * used + 2, bits)
        used += 2
    if run:
        store_u2(maps + 2 * used, run)
        store_u2(maps + 2 * used + 2, 0xFFFF)
        used += 2
    flag[0] = RUN_LENGTH_MAP
    if used >= plain:
        flag[0] = PLAIN_MAP
        used = plain
        for w in range(plain):
            bits = 0
            for k in range(16):
                i = 16 * w + k
                if i < count and <uint64_t>(value_at(p, i, depth) - base) < width:
                    bits |= <uint32_t>1 << k
            store_u2(maps + 2 * w, bits)
    store_u4(out, <uint32_t>used)
    return 4 + 2 * used


cdef uint64_t encode_hist16(const uint8_t *p, uint64_t count, uint64_t *fine, uint64_t *coarse, uint8_t *out) noexcept nogil:
    cdef uint64_t i, used
    cdef uint32_t value, base, flag = RAW, total = 0
    cdef int peak
    for i in range(count):
        value = load_u2(p + 2 * i)
        total += value
        fine[value] += 1
        coarse[value >> 8] += 1
    store_u4(out + 4, total)
    peak = coarse_peak(coarse, count)
    if peak < 0:
        memcpy(out + 12, p, 2 * count)
        used = 2 * count
    else:
        best_window(fine, 256 * <uint32_t>peak, 256, 256, &base)
        store_u2(out + 12, base)
        used = 18
        for i in range(count):
            value = load_u2(p + 2 * i)
            if value - base < 256:
                out[used] = <uint8_t>(value - base)
                used += 1
            else:
                store_u2(out + used, value)
                used += 2
        store_u4(out + 14, <uint32_t>(used - 18))
        used += write_map(p, count, 2, base, 256, out + used, &flag)
        used -= 12
    store_u4(out, flag)
    store_u4(out + 8, <uint32_t>used)
    return used + 12


cdef void choose_bits(
    Choice *choice, uint64_t count, uint32_t depth, int peak, const uint64_t *fine
) noexcept nogil:
    """Find the width of the window that gives the smallest estimate of the size."""
    cdef uint32_t bits, base, begin = 0, span = 256
    cdef uint64_t inside, estimate, best = <uint64_t>-1
    if depth == 2:
        begin = 256 * <uint32_t>peak
        span = 512
    for bits in range(9):
        inside = best_window(fine, begin, span - (<uint32_t>1 << bits), <uint32_t>1 << bits, &base)
        estimate = (inside * bits + (count - inside) * choice.unmap_bits + 2 * count + 28) // 8
        if estimate < best:
            best = estimate
            choice.base = base
            choice.map_bits = bits


cdef uint64_t encode_histn(
    const uint8_t *p, uint64_t count, uint32_t depth, uint64_t *fine, uint64_t *coarse, uint8_t *out
) noexcept nogil:
    cdef uint64_t i, used, held = 0
    cdef uint32_t value, have = 0, flag = RAW, total = 0, largest = 0, width
    cdef int peak
    cdef Choice choice
    for i in range(count):
        value = value_at(p, i, depth)
        total += value
        fine[value] += 1
        coarse[value >> 8 * (depth - 1)] += 1
        if value > largest:
            largest = value
    memset(&choice, 0, sizeof(Choice))
    store_u2(out + 2, depth)
    store_u4(out + 4, total)
    peak = coarse_peak(coarse, count)
    if peak < 0:
        memcpy(out + 12, p, depth * count)
        used = depth * count
    else:
        choice.unmap_bits = bits_of(largest >> 8) + 8 if largest >> 8 else bits_of(largest)
        choose_bits(&choice, count, depth, peak, fine)
        store_u2(out + 12, choice.unmap_bits)
        store_u2(out + 14, choice.map_bits)
        store_u4(out + 16, choice.base)
        used = 24
        for i in range(count):
            value = value_at(p, i, depth)
            width = choice.unmap_bits
            if value - choice.base < <uint32_t>1 << choice.map_bits:
                value -= choice.base
                width = choice.map_bits
            held |= <uint64_t>value << have
            have += width
            if have >= 32:
                store_u4(out + used, <uint32_t>held)
                used += 4
                held >>= 32
                have -= 32
        if have:
            store_u4(out + used, <uint32_t>held)
            used += 4
        store_u4(out + 20, <uint32_t>(used - 24))
        used += write_map(p, count, depth, choice.base, <uint64_t>1 << choice.map_bits, out + used, &flag)
        used -= 12
    store_u2(out, flag)
    store_u4(out + 8, <uint32_t>used)
    return used + 12


def encode(const uint8_t[::1] values, int engine, int depth):
    """Compress values of `depth` bytes with engine 1 (Hist16; depth 2 only) or 2 (HistN); returns the coded bytes."""
    cdef uint64_t count = values.shape[0] // depth, used
    cdef const uint8_t *p = &values[0] if count else NULL
    # A value takes two bytes at most, and its word of the map four bytes at most for sixteen values.
    cdef uint8_t *out = <uint8_t *>malloc(64 + 2 * count + 4 * (count // 16 + 1))
    cdef uint64_t *fine = <uint64_t *>calloc(65536 + 512, sizeof(uint64_t))
    cdef uint64_t *coarse = <uint64_t *>calloc(256, sizeof(uint64_t))
    try:
        if out == NULL or fine == NULL or coarse == NULL:
            raise MemoryError
        with nogil:
            if engine == ENGINE_HIST16:
                used = encode_hist16(p, count, fine, coarse, out)
            else:
                used = encode_histn(p, count, <uint32_t>depth, fine, coarse, out)
        return PyBytes_FromStringAndSize(<const char *>out, <Py_ssize_t>used)
    finally:
        free(out)
        free(fine)
        free(coarse)
