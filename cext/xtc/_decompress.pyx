"""Decompression: payloads coded by the engines Hist16 and HistN of the data acquisition.

Both engines expect that most values of an image lie in a narrow window: values in the window are stored in few bits, the
others in many, and a map with one bit a value (plain, or run-length coded) tells which.  Nothing of a block is believed:
all lengths are compared with what is there, the number of values with what the map can give, and the sum at the end.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

cdef extern from "words.h" nogil:
    uint32_t load_u4(const uint8_t *p)
    uint32_t load_u2(const uint8_t *p)
    void store_u2(uint8_t *p, uint32_t value)

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
        bits.left = load_u2(bits.next)
        bits.current = load_u2(bits.next + 2)
        bits.next += 4
        bits.words -= 2
    if bits.runs:
        bits.left -= 1
        value[0] = bits.current
        return 1
    if bits.words == 0:
        return 0
    value[0] = load_u2(bits.next)
    bits.next += 2
    bits.words -= 1
    return 1


cdef int map_covers(Map bits, uint64_t values) noexcept nogil:
    """Say whether a bit map has a bit for each of that many values."""
    cdef uint64_t i, needed = (values + 15) // 16, found = 0
    if not bits.runs:
        return bits.words >= needed
    for i in range(bits.words // 2):
        found += load_u2(bits.next + 4 * i)
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
            total += load_u2(p + 2 * i)
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
    if rest < 4 or <uint64_t>load_u4(p) * 2 != rest - 4:
        return BAD_LENGTHS
    s.bits.words = load_u4(p)
    s.bits.next = p + 4
    s.bits.runs = s.flag == RUN_LENGTH_MAP
    s.bits.left = 0
    return RIGHT if map_covers(s.bits, s.count) else SHORT_MAP


cdef int open_hist16(Stream *s, const uint8_t *p, uint64_t size, uint64_t expanded) noexcept nogil:
    if size < 12:
        return SHORT_STREAM
    s.flag = load_u4(p)
    s.depth = 2
    s.checksum = load_u4(p + 4)
    s.count = expanded // 2
    if load_u4(p + 8) != size - 12:
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
    s.base = load_u2(p)
    s.value_bytes = load_u4(p + 2)
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
    s.flag = load_u2(p)
    s.depth = load_u2(p + 2)
    s.checksum = load_u4(p + 4)
    if load_u4(p + 8) != size - 12:
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
    s.unmap_bits = load_u2(p)
    s.map_bits = load_u2(p + 2)
    s.base = load_u4(p + 4)
    s.value_bytes = load_u4(p + 8)
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
                store_u2(out + 2 * i, value)
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
                value = load_u2(p)
                p += 2
            total += value
            store_u2(out, value)
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
                held |= <uint64_t>load_u4(p) << have
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
                store_u2(out, value)
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
    b.header_size = load_u4(p)
    if b.header_size > rest - BLOCK_WORDS:
        return LONG_HEADER
    b.header = p + 4
    p += 4 + b.header_size
    b.engine = load_u4(p)
    b.expanded = load_u4(p + 8)
    b.data_size = load_u4(p + 12)
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
