"""Columns: the same members of many objects, copied from payloads into the rows of a dataset; and the shuffle filter.

A row is described by a list of copies (`COPY`): from an offset in the payload to an offset in the row, repeated
`outer` times with a step on both sides, each time `inner` elements that lie side by side.  Every row is checked against
the size of its payload before anything is read; a row that is too short stays zero and is reported.
"""

import sys

import numpy as np

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset, memchr

if sys.byteorder != "little":
    raise ImportError("psanacli needs a machine with little-endian byte order, as the data are")

# Kinds of elements: bytes (copied), text (cut at its first NUL), numbers.
DEF BYTES = 0
DEF TEXT = 1
DEF U1 = 2
DEF U2 = 3
DEF U4 = 4
DEF U8 = 5
DEF I1 = 6
DEF I2 = 7
DEF I4 = 8
DEF I8 = 9
DEF F4 = 10
DEF F8 = 11

KINDS = {"bytes": BYTES, "text": TEXT, "u1": U1, "u2": U2, "u4": U4, "u8": U8,
         "i1": I1, "i2": I2, "i4": I4, "i8": I8, "f4": F4, "f8": F8}


cdef struct Copy:
    int64_t source
    int64_t target
    int64_t source_step
    int64_t target_step
    int64_t outer
    int64_t inner
    uint8_t kind
    uint8_t to
    uint8_t shift
    uint8_t width


COPY = np.dtype(
    {
        "names": ["source", "target", "source_step", "target_step", "outer", "inner", "kind", "to", "shift", "width"],
        "formats": ["<i8"] * 6 + ["u1"] * 4,
        "offsets": [0, 8, 16, 24, 32, 40, 48, 49, 50, 51],
        "itemsize": sizeof(Copy),
    }
)

cdef int64_t[12] SIZES = [1, 1, 1, 2, 4, 8, 1, 2, 4, 8, 4, 8]


cdef inline uint64_t as_integer(double value) noexcept nogil:
    # The conversion of a value out of range is undefined in C.
    if value >= 9223372036854775808.0:
        return <uint64_t>value if value < 18446744073709551616.0 else <uint64_t>-1
    if value >= -9223372036854775808.0:
        return <uint64_t><int64_t>value
    return <uint64_t>1 << 63


cdef inline void convert(const uint8_t *source, uint8_t *target, const Copy *copy) noexcept nogil:
    """Convert one number; a bit field is cut out first."""
    cdef uint64_t bits = 0
    cdef double real = 0
    cdef bint floating = False
    cdef uint16_t u2
    cdef uint32_t u4
    cdef int16_t i2
    cdef int32_t i4
    cdef float f4
    if copy.kind == U1:
        bits = source[0]
    elif copy.kind == I1:
        bits = <uint64_t><int64_t>(<int8_t>source[0])
    elif copy.kind == U2:
        memcpy(&u2, source, 2)
        bits = u2
    elif copy.kind == I2:
        memcpy(&i2, source, 2)
        bits = <uint64_t><int64_t>i2
    elif copy.kind == U4:
        memcpy(&u4, source, 4)
        bits = u4
    elif copy.kind == I4:
        memcpy(&i4, source, 4)
        bits = <uint64_t><int64_t>i4
    elif copy.kind == F4:
        memcpy(&f4, source, 4)
        real = f4
        floating = True
    elif copy.kind == F8:
        memcpy(&real, source, 8)
        floating = True
    else:
        memcpy(&bits, source, 8)
    if copy.width:
        bits >>= copy.shift
        if copy.width < 64:
            bits &= (<uint64_t>1 << copy.width) - 1
    if copy.to == F4 or copy.to == F8:
        if not floating:
            real = <double><int64_t>bits if copy.kind >= I1 else <double>bits
        if copy.to == F8:
            memcpy(target, &real, 8)
        else:
            f4 = <float>real
            memcpy(target, &f4, 4)
    else:
        if floating:
            bits = as_integer(real)
        memcpy(target, &bits, <size_t>SIZES[copy.to])  # little endian: the low bytes come first


cdef inline void place(const uint8_t *source, uint8_t *target, const Copy *copy) noexcept nogil:
    cdef int64_t outer, inner
    cdef int64_t source_size = SIZES[copy.kind], target_size = SIZES[copy.to]
    cdef const uint8_t *end
    for outer in range(copy.outer):
        if copy.kind == BYTES:
            memcpy(target, source, <size_t>copy.inner)
        elif copy.kind == TEXT:
            end = <const uint8_t *>memchr(source, 0, <size_t>copy.inner)
            memcpy(target, source, <size_t>(copy.inner if end == NULL else end - source))
        else:
            for inner in range(copy.inner):
                convert(source + inner * source_size, target + inner * target_size, copy)
        source += copy.source_step
        target += copy.target_step


def reach(copies):
    """Return how many bytes of a payload, and of a row, the `copies` touch; both ends are checked to be sane."""
    cdef const Copy[::1] program = copies
    cdef int64_t source = 0, target = 0, end
    cdef Py_ssize_t i
    for i in range(program.shape[0]):
        if program[i].kind > F8 or program[i].to > F8 or program[i].shift + program[i].width > 64:
            raise ValueError(f"copy {i} has an unknown kind or a bit field beyond its word")
        if (
            min(program[i].source, program[i].target, program[i].source_step, program[i].target_step) < 0
            or program[i].outer < 1
            or program[i].inner < 0
        ):
            raise ValueError(f"copy {i} runs backwards, or not at all")
        end = program[i].source + (program[i].outer - 1) * program[i].source_step
        source = max(source, end + program[i].inner * SIZES[program[i].kind])
        end = program[i].target + (program[i].outer - 1) * program[i].target_step
        target = max(target, end + program[i].inner * SIZES[program[i].to])
    return source, target


def gather(const uint8_t[::1] buffer, const int64_t[::1] starts, const int64_t[::1] sizes, copies, uint8_t[:, ::1] rows):
    """Fill rows from payloads.

    Parameters
    ----------
    buffer : bytes-like
        Holds the payloads.
    starts, sizes : int64, shape (n,)
        Place of each payload in `buffer`; a negative start makes a blank row.
    copies : array of `COPY`
        What to copy, the same for every row.
    rows : uint8, shape (n, row size)
        Overwritten; all that no copy fills is zero.

    Returns
    -------
    int
        Number of payloads that are too short for the copies; their rows are zero.
    """
    cdef const Copy[::1] program = copies
    cdef int64_t need, width
    need, width = reach(copies)
    cdef Py_ssize_t count = starts.shape[0], row, i, steps = program.shape[0]
    cdef int64_t short_rows = 0, start, total = buffer.shape[0], row_size = rows.shape[1], covered = 0
    if sizes.shape[0] != count or rows.shape[0] != count:
        raise ValueError("starts, sizes and rows differ in length")
    if width > row_size:
        raise ValueError(f"the copies reach {width} bytes into rows of {row_size}")
    if not count or not row_size:
        return 0
    if not total:
        memset(&rows[0, 0], 0, <size_t>(count * row_size))
        for row in range(count):
            short_rows += starts[row] >= 0 and need > 0
        return short_rows
    for i in range(steps):
        if program[i].kind != TEXT:
            covered += program[i].outer * program[i].inner * SIZES[program[i].to]
    with nogil:
        for row in range(count):
            start = starts[row]
            if start < 0 or sizes[row] < need or start > total - need:
                memset(&rows[row, 0], 0, <size_t>row_size)
                short_rows += start >= 0
                continue
            if covered < row_size:
                memset(&rows[row, 0], 0, <size_t>row_size)
            for i in range(steps):
                place(&buffer[0] + start + program[i].source, &rows[row, 0] + program[i].target, &program[i])
    return short_rows


def shuffle(const uint8_t[::1] data, Py_ssize_t item, uint8_t[::1] out):
    """Write the bytes of `data` to `out` in the order of HDF5's shuffle filter: first bytes of all items first.

    A rest that is no whole item is copied as it is.
    """
    cdef Py_ssize_t size = data.shape[0], count, i, k, block, stop
    if out.shape[0] != size:
        raise ValueError("out has another size than data")
    if not size:
        return
    count = size // item if item > 0 else 0
    cdef const uint8_t *source = &data[0]
    cdef uint8_t *target = &out[0]
    with nogil:
        if item <= 1 or count <= 1:
            memcpy(target, source, <size_t>size)
        elif item == 2:
            shuffle_two(source, target, count)
        elif item == 4:
            shuffle_four(source, target, count)
        else:
            # Blocks that stay in the cache while each byte of an item has its turn.
            block = max(1, 16384 // item)
            i = 0
            while i < count:
                stop = min(count, i + block)
                for k in range(item):
                    shuffle_one(source + i * item + k, item, target + k * count + i, stop - i)
                i = stop
        if item > 1 and count > 1 and count * item < size:
            memcpy(target + count * item, source + count * item, <size_t>(size - count * item))


cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>

    #if defined(__GNUC__) && defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__clang__)
    #define MULTIVERSION __attribute__((target_clones("avx2", "default")))
    #else
    #define MULTIVERSION
    #endif

    MULTIVERSION
    static void shuffle_two(const uint8_t *restrict source, uint8_t *restrict target, int64_t count) {
        uint8_t *restrict high = target + count;
        for (int64_t i = 0; i < count; i++) {
            uint16_t word;
            memcpy(&word, source + 2 * i, 2);
            target[i] = (uint8_t)word;
            high[i] = (uint8_t)(word >> 8);
        }
    }

    MULTIVERSION
    static void shuffle_four(const uint8_t *restrict source, uint8_t *restrict target, int64_t count) {
        uint8_t *restrict b = target + count, *restrict c = target + 2 * count, *restrict d = target + 3 * count;
        for (int64_t i = 0; i < count; i++) {
            uint32_t word;
            memcpy(&word, source + 4 * i, 4);
            target[i] = (uint8_t)word;
            b[i] = (uint8_t)(word >> 8);
            c[i] = (uint8_t)(word >> 16);
            d[i] = (uint8_t)(word >> 24);
        }
    }

    static void shuffle_one(const uint8_t *restrict source, int64_t step, uint8_t *restrict target, int64_t count) {
        for (int64_t i = 0; i < count; i++)
            target[i] = source[i * step];
    }
    """
    void shuffle_two(const uint8_t *source, uint8_t *target, int64_t count) nogil
    void shuffle_four(const uint8_t *source, uint8_t *target, int64_t count) nogil
    void shuffle_one(const uint8_t *source, int64_t step, uint8_t *target, int64_t count) nogil
