"""Compressed payloads: the engines Hist16 and HistN of the data acquisition, both ways.

Both engines expect that most values of an image lie in a narrow window: values in the window are stored in few bits, the
others in many, and a map with one bit a value (plain, or run-length coded) tells which.  Nothing of a block is believed:
all lengths are compared with what is there, the number of values with what the map can give, and the sum at the end.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

cdef enum:
    # What can be wrong; the texts are in psanacli/xtc/compress.py.
    RIGHT = 0
    SHORT_BLOCK = 1
    LONG_HEADER = 2
    LONG_DATA = 3
    UNKNOWN_ENGINE = 4
    SIZE_DIFFERS = 5
    TOO_LARGE = 6
    SHORT_STREAM = 7
    BAD_LENGTHS = 8
    UNKNOWN_FLAG = 9
    BAD_BITS = 10
    SHORT_MAP = 11
    SHORT_VALUES = 12
    LOOSE_VALUES = 13
    BAD_SUM = 14
    BAD_VALUE = 15

cdef enum:
    BLOCK_WORDS = 20
    ENGINE_NONE = 0
    ENGINE_HIST16 = 1
    ENGINE_HISTN = 2
    RAW = 0
    PLAIN_MAP = 1
    RUN_LENGTH_MAP = 3


cdef inline uint32_t word(const uint8_t *p) noexcept nogil:
    cdef uint32_t value
    memcpy(&value, p, 4)
    return value


cdef inline uint32_t half(const uint8_t *p) noexcept nogil:
    cdef uint16_t value
    memcpy(&value, p, 2)
    return value


cdef inline void put(uint8_t *p, uint32_t value) noexcept nogil:
    memcpy(p, &value, 4)


cdef inline void put_half(uint8_t *p, uint32_t value) noexcept nogil:
    cdef uint16_t narrow = <uint16_t>value
    memcpy(p, &narrow, 2)


cdef struct Map:
    # Words of a bit map, one after the other; a run gives the same word `left` times.
    const uint8_t *next
    uint64_t words
    bint runs
    uint32_t left
    uint32_t current


cdef inline int map_word(Map *bits, uint32_t *value) noexcept nogil:
    """Take the next word of a bit map; 0 when there is none."""
    while bits.runs and bits.left == 0:
        if bits.words < 2:
            return 0
        bits.left = half(bits.next)
        bits.current = half(bits.next + 2)
        bits.next += 4
        bits.words -= 2
    if bits.runs:
        bits.left -= 1
        value[0] = bits.current
        return 1
    if bits.words == 0:
        return 0
    value[0] = half(bits.next)
    bits.next += 2
    bits.words -= 1
    return 1


cdef int map_covers(Map bits, uint64_t values) noexcept nogil:
    """Say whether a bit map has a bit for each of that many values."""
    cdef uint64_t i, needed = (values + 15) // 16, found = 0
    if not bits.runs:
        return bits.words >= needed
    for i in range(bits.words // 2):
        found += half(bits.next + 4 * i)
        if found >= needed:
            return 1
    return found >= needed


cdef int sum_bytes(const uint8_t *p, uint64_t count, uint32_t depth, uint32_t expected) noexcept nogil:
    cdef uint64_t i
    cdef uint32_t total = 0
    if depth == 1:
        for i in range(count):
            total += p[i]
    else:
        for i in range(count):
            total += half(p + 2 * i)
    return RIGHT if total == expected else BAD_SUM


cdef struct Stream:
    # The parts of one coded block, found by `open_hist16` and `open_histn`.
    uint32_t flag
    uint32_t depth
    uint32_t checksum
    uint32_t base
    uint32_t map_bits
    uint32_t unmap_bits
    const uint8_t *values
    uint64_t value_bytes
    Map bits
    uint64_t count


cdef int open_map(Stream *s, const uint8_t *p, uint64_t rest) noexcept nogil:
    """Find the bit map, which fills the rest of a block exactly."""
    if rest < 4 or <uint64_t>word(p) * 2 != rest - 4:
        return BAD_LENGTHS
    s.bits.words = word(p)
    s.bits.next = p + 4
    s.bits.runs = s.flag == RUN_LENGTH_MAP
    s.bits.left = 0
    return RIGHT if map_covers(s.bits, s.count) else SHORT_MAP


cdef int open_hist16(Stream *s, const uint8_t *p, uint64_t size, uint64_t expanded) noexcept nogil:
    if size < 12:
        return SHORT_STREAM
    s.flag = word(p)
    s.depth = 2
    s.checksum = word(p + 4)
    s.count = expanded // 2
    if word(p + 8) != size - 12:
        return BAD_LENGTHS
    if expanded & 1:
        return SIZE_DIFFERS
    p += 12
    size -= 12
    s.values = p
    s.value_bytes = size
    if s.flag == RAW:
        return RIGHT if size == expanded else SIZE_DIFFERS
    if s.flag != PLAIN_MAP and s.flag != RUN_LENGTH_MAP:
        return UNKNOWN_FLAG
    if size < 6:
        return SHORT_STREAM
    s.base = half(p)
    s.value_bytes = word(p + 2)
    s.values = p + 6
    size -= 6
    if s.value_bytes > size:
        return BAD_LENGTHS
    # Each value takes a byte at least.
    if s.count > s.value_bytes:
        return SHORT_VALUES
    return open_map(s, s.values + s.value_bytes, size - s.value_bytes)


cdef int open_histn(Stream *s, const uint8_t *p, uint64_t size, uint64_t expanded) noexcept nogil:
    if size < 12:
        return SHORT_STREAM
    s.flag = half(p)
    s.depth = half(p + 2)
    s.checksum = word(p + 4)
    if word(p + 8) != size - 12:
        return BAD_LENGTHS
    if s.depth != 1 and s.depth != 2:
        return BAD_BITS
    if expanded % s.depth:
        return SIZE_DIFFERS
    s.count = expanded // s.depth
    p += 12
    size -= 12
    s.values = p
    s.value_bytes = size
    if s.flag == RAW:
        return RIGHT if size == expanded else SIZE_DIFFERS
    if s.flag != PLAIN_MAP and s.flag != RUN_LENGTH_MAP:
        return UNKNOWN_FLAG
    if size < 12:
        return SHORT_STREAM
    s.unmap_bits = half(p)
    s.map_bits = half(p + 2)
    s.base = word(p + 4)
    s.value_bytes = word(p + 8)
    s.values = p + 12
    size -= 12
    if s.map_bits > 8 or s.unmap_bits > 8 * s.depth or s.base >= <uint32_t>1 << 8 * s.depth:
        return BAD_BITS
    if s.value_bytes > size or s.value_bytes % 4:
        return BAD_LENGTHS
    return open_map(s, s.values + s.value_bytes, size - s.value_bytes)


cdef int decode_hist16(Stream *s, uint8_t *out) noexcept nogil:
    cdef const uint8_t *p = s.values
    cdef const uint8_t *end = p + s.value_bytes
    cdef uint64_t left = s.count
    cdef uint32_t bits = 0, value, total = 0, base = s.base
    cdef int i, n
    while left:
        if not map_word(&s.bits, &bits):
            return SHORT_MAP
        n = 16 if left >= 16 else <int>left
        left -= n
        if bits == 0xFFFF and n == 16 and end - p >= 16:
            for i in range(16):
                value = (base + p[i]) & 0xFFFF
                total += value
                put_half(out + 2 * i, value)
            p += 16
            out += 32
            continue
        for i in range(n):
            if bits >> i & 1:
                if p >= end:
                    return SHORT_VALUES
                value = (base + p[0]) & 0xFFFF
                p += 1
            else:
                if end - p < 2:
                    return SHORT_VALUES
                value = half(p)
                p += 2
            total += value
            put_half(out, value)
            out += 2
    if p != end:
        return LOOSE_VALUES
    return RIGHT if total == s.checksum else BAD_SUM


cdef int decode_histn(Stream *s, uint8_t *out) noexcept nogil:
    cdef const uint8_t *p = s.values
    cdef const uint8_t *end = p + s.value_bytes
    cdef uint64_t left = s.count, held = 0
    cdef uint32_t bits = 0, value, total = 0, width, have = 0
    cdef uint32_t limit = (<uint32_t>1 << 8 * s.depth) - 1
    cdef uint32_t inside
    cdef int i, n
    while left:
        if not map_word(&s.bits, &bits):
            return SHORT_MAP
        n = 16 if left >= 16 else <int>left
        left -= n
        for i in range(n):
            inside = bits >> i & 1
            width = s.map_bits if inside else s.unmap_bits
            if have < width:
                if p >= end:
                    return SHORT_VALUES
                held |= <uint64_t>word(p) << have
                have += 32
                p += 4
            value = <uint32_t>(held & ((<uint64_t>1 << width) - 1))
            held >>= width
            have -= width
            if inside:
                value += s.base
                if value > limit:
                    return BAD_VALUE
            total += value
            if s.depth == 1:
                out[0] = <uint8_t>value
                out += 1
            else:
                put_half(out, value)
                out += 2
    if p != end:
        return LOOSE_VALUES
    return RIGHT if total == s.checksum else BAD_SUM


cdef struct Block:
    const uint8_t *header
    uint64_t header_size
    uint32_t engine
    const uint8_t *data
    uint64_t data_size
    uint64_t expanded
    uint64_t length


cdef int open_block(Block *b, const uint8_t *p, uint64_t rest) noexcept nogil:
    if rest < BLOCK_WORDS:
        return SHORT_BLOCK
    b.header_size = word(p)
    if b.header_size > rest - BLOCK_WORDS:
        return LONG_HEADER
    b.header = p + 4
    p += 4 + b.header_size
    b.engine = word(p)
    b.expanded = word(p + 8)
    b.data_size = word(p + 12)
    b.data = p + 16
    b.length = BLOCK_WORDS + b.header_size + b.data_size
    if b.length > rest:
        return LONG_DATA
    b.length += -b.length & 3
    if b.length > rest:
        b.length = rest
    return RIGHT


cdef int open_stream(Block *b, Stream *s) noexcept nogil:
    """Look at what a block says of itself, so that its size can be believed."""
    memset(s, 0, sizeof(Stream))
    if b.engine == ENGINE_NONE:
        return RIGHT if b.expanded == b.data_size else SIZE_DIFFERS
    if b.engine == ENGINE_HIST16:
        return open_hist16(s, b.data, b.data_size, b.expanded)
    if b.engine == ENGINE_HISTN:
        return open_histn(s, b.data, b.data_size, b.expanded)
    return UNKNOWN_ENGINE


cdef int measure(const uint8_t *p, uint64_t size, uint64_t limit, uint64_t *total, uint64_t *at) noexcept nogil:
    cdef Block block
    cdef Stream stream
    cdef int wrong
    total[0] = at[0] = 0
    while at[0] < size:
        wrong = open_block(&block, p + at[0], size - at[0])
        if wrong == RIGHT:
            wrong = open_stream(&block, &stream)
        if wrong:
            return wrong
        total[0] += block.header_size + block.expanded
        if total[0] > limit:
            return TOO_LARGE
        at[0] += block.length
    return RIGHT


cdef int expand(const uint8_t *p, uint64_t size, uint8_t *out, uint64_t *at) noexcept nogil:
    """Write what the blocks of a payload give; `measure` has found them right as far as lengths tell."""
    cdef Block block
    cdef Stream stream
    cdef int wrong
    at[0] = 0
    while at[0] < size:
        wrong = open_block(&block, p + at[0], size - at[0])
        if wrong == RIGHT:
            wrong = open_stream(&block, &stream)
        if wrong:
            return wrong
        memcpy(out, block.header, block.header_size)
        out += block.header_size
        if block.engine == ENGINE_NONE:
            memcpy(out, block.data, block.data_size)
        elif stream.flag == RAW:
            memcpy(out, stream.values, stream.value_bytes)
            wrong = sum_bytes(stream.values, stream.count, stream.depth, stream.checksum)
        elif block.engine == ENGINE_HIST16:
            wrong = decode_hist16(&stream, out)
        else:
            wrong = decode_histn(&stream, out)
        if wrong:
            return wrong
        out += block.expanded
        at[0] += block.length
    return RIGHT


def decompress(const uint8_t[::1] payload, uint64_t limit):
    """Decompress a payload; returns the bytes, or the tuple (what is wrong, offset of the block)."""
    cdef const uint8_t *p = NULL
    cdef uint64_t size = payload.shape[0], total, at
    cdef uint8_t *out
    cdef int wrong
    if size == 0:
        return b""
    p = &payload[0]
    with nogil:
        wrong = measure(p, size, limit, &total, &at)
    if wrong:
        return wrong, at
    result = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>total)
    out = <uint8_t *>PyBytes_AS_STRING(result)
    with nogil:
        wrong = expand(p, size, out, &at)
    if wrong:
        return wrong, at
    return result


def uncompressed_size(const uint8_t[::1] payload, uint64_t limit):
    """Return the size of a payload when decompressed, or the tuple (what is wrong, offset of the block)."""
    cdef uint64_t total, at
    cdef int wrong
    if payload.shape[0] == 0:
        return 0
    wrong = measure(&payload[0], payload.shape[0], limit, &total, &at)
    if wrong:
        return wrong, at
    return total


# ---------------------------------------------------------------------------------------------------------------------
# The encoders choose exactly as those of the data acquisition, so that the same images give the same bytes.


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
    return p[i] if depth == 1 else half(p + 2 * i)


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
                put_half(maps + 2 * used, run)
                put_half(maps + 2 * used + 2, 0xFFFF)
                used += 2
                run = 0
            run += 1
            continue
        if run:
            put_half(maps + 2 * used, run)
            put_half(maps + 2 * used + 2, 0xFFFF)
            used += 2
            run = 0
        put_half(maps + 2 * used, 1)
        put_half(maps + 2 * used + 2, bits)
        used += 2
    if run:
        put_half(maps + 2 * used, run)
        put_half(maps + 2 * used + 2, 0xFFFF)
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
            put_half(maps + 2 * w, bits)
    put(out, <uint32_t>used)
    return 4 + 2 * used


cdef uint64_t encode_hist16(const uint8_t *p, uint64_t count, uint64_t *fine, uint64_t *coarse, uint8_t *out) noexcept nogil:
    cdef uint64_t i, used
    cdef uint32_t value, base, flag = RAW, total = 0
    cdef int peak
    for i in range(count):
        value = half(p + 2 * i)
        total += value
        fine[value] += 1
        coarse[value >> 8] += 1
    put(out + 4, total)
    peak = coarse_peak(coarse, count)
    if peak < 0:
        memcpy(out + 12, p, 2 * count)
        used = 2 * count
    else:
        best_window(fine, 256 * <uint32_t>peak, 256, 256, &base)
        put_half(out + 12, base)
        used = 18
        for i in range(count):
            value = half(p + 2 * i)
            if value - base < 256:
                out[used] = <uint8_t>(value - base)
                used += 1
            else:
                put_half(out + used, value)
                used += 2
        put(out + 14, <uint32_t>(used - 18))
        used += write_map(p, count, 2, base, 256, out + used, &flag)
        used -= 12
    put(out, flag)
    put(out + 8, <uint32_t>used)
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
    put_half(out + 2, depth)
    put(out + 4, total)
    peak = coarse_peak(coarse, count)
    if peak < 0:
        memcpy(out + 12, p, depth * count)
        used = depth * count
    else:
        choice.unmap_bits = bits_of(largest >> 8) + 8 if largest >> 8 else bits_of(largest)
        choose_bits(&choice, count, depth, peak, fine)
        put_half(out + 12, choice.unmap_bits)
        put_half(out + 14, choice.map_bits)
        put(out + 16, choice.base)
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
                put(out + used, <uint32_t>held)
                used += 4
                held >>= 32
                have -= 32
        if have:
            put(out + used, <uint32_t>held)
            used += 4
        put(out + 20, <uint32_t>(used - 24))
        used += write_map(p, count, depth, choice.base, <uint64_t>1 << choice.map_bits, out + used, &flag)
        used -= 12
    put_half(out, flag)
    put(out + 8, <uint32_t>used)
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
