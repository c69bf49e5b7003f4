"""Filters of HDF5, as fast as memory allows and without HDF5's lock: shuffle, and deflate of what has no repeats."""

import sys

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy, memset

if sys.byteorder != "little":
    raise ImportError("psanacli needs a machine with little-endian byte order, as the data are")


cdef extern from *:
    """
    #include <malloc.h>

    static void keep_freed(void) {
    #if defined(__GLIBC__)
        mallopt(M_MMAP_THRESHOLD, 1 << 30);
        mallopt(M_TRIM_THRESHOLD, 1 << 30);
    #endif
    }
    """
    void keep_freed() nogil


def keep_freed_memory():
    """Let this process keep memory that it frees.

    Blocks come and go by the dozen megabytes; given back to the system each time, their pages would be cleared anew, which
    costs as much as copying them.
    """
    keep_freed()


def shuffle(const uint8_t[::1] data, Py_ssize_t item, uint8_t[::1] out):
    """Write the bytes of `data` to `out` in the order of HDF5's shuffle filter: first bytes of all items first.

    A rest that is no whole item is copied as it is.
    """
    cdef int64_t size = data.shape[0], count
    if out.shape[0] != size:
        raise ValueError("out has another size than data")
    if not size:
        return
    count = size // item if item > 1 else 0
    with nogil:
        if count <= 1:
            memcpy(&out[0], &data[0], <size_t>size)
        else:
            shuffle_items(&data[0], item, count, &out[0], count)
            memcpy(&out[count * item], &data[count * item], <size_t>(size - count * item))


def shuffle_pieces(
    const uint8_t[::1] data, const int64_t[::1] places, const int64_t[::1] sizes, Py_ssize_t item, uint8_t[::1] out
):
    """Do the same for pieces of `data`, as if they stood one behind the other.

    Parameters
    ----------
    data : buffer
    places, sizes : int64 arrays, shape (n,)
        Where each piece is; one at a negative place is zeros.  Sizes are multiples of `item`.
    item : int
    out : buffer of as many bytes as all pieces have
    """
    cdef Py_ssize_t n = places.shape[0], i
    cdef int64_t length = data.shape[0], total = out.shape[0], done = 0, count, k
    if sizes.shape[0] != n or item < 1:
        raise ValueError("a size for each place, and an item of a byte at least")
    for i in range(n):
        if sizes[i] < 0 or sizes[i] % item or sizes[i] > total - done:
            raise ValueError("the output has another size than the pieces")
        if places[i] >= 0 and (sizes[i] > length or places[i] > length - sizes[i]):
            raise ValueError("outside of the buffer")
        done += sizes[i]
    if done != total:
        raise ValueError("the output has another size than the pieces")
    if not total:
        return
    cdef int64_t plane = total // item
    cdef uint8_t *to = &out[0]
    with nogil:
        for i in range(n):
            count = sizes[i] // item
            if places[i] >= 0:
                shuffle_items(&data[0] + places[i], item, count, to, plane)
            else:
                for k in range(item):
                    memset(to + k * plane, 0, <size_t>count)
            to += count


cdef void shuffle_items(const uint8_t *source, int64_t item, int64_t count, uint8_t *target, int64_t plane) noexcept nogil:
    """Deal the bytes of items to planes that lie `plane` bytes apart."""
    cdef int64_t i = 0, stop, k, block
    if item == 1:
        memcpy(target, source, <size_t>count)
    elif item == 2:
        shuffle_two(source, target, target + plane, count)
    elif item == 4:
        shuffle_four(source, target, plane, count)
    else:
        # Blocks that stay in the cache while each byte of an item has its turn.
        block = max(1, 16384 // item)
        while i < count:
            stop = min(count, i + block)
            for k in range(item):
                shuffle_one(source + i * item + k, item, target + k * plane + i, stop - i)
            i = stop


def literals_size(const uint8_t[::1] data):
    """Return about how many bytes `literals` makes of at most 128 kB."""
    cdef uint32_t[257] counts
    cdef uint8_t[257] lengths
    cdef int64_t bits = 0, size = data.shape[0]
    if not 0 < size <= BLOCK_SIZE:
        raise ValueError("not a sample")
    with nogil:
        bits = block_bits(&data[0], size, counts, lengths)
    return (bits + 7) // 8


def literals_room(int64_t size):
    """Return the most bytes that `literals` makes of `size` bytes."""
    return plane_room(size)


def literals(const uint8_t[::1] data, double worth, uint8_t[::1] out):
    """Write `data` as blocks of a raw deflate stream without a search for repeats; return the bytes written.

    No block is the last of the stream, and they end at a whole byte.

    Parameters
    ----------
    data : buffer
    worth : float
        A block that would not shrink to less than this part of its size is stored as it is; with 0 all are.
    out : buffer of at least `literals_room` bytes
    """
    cdef int64_t size = data.shape[0], done = 0
    if out.shape[0] < plane_room(size) or not 0 <= worth < 1:
        raise ValueError("too little room, or a part that is none")
    if size:
        with nogil:
            done = put_plane(&data[0], size, worth, &out[0])
    return done


cdef extern from "hdf5/huffman.h" nogil:
    enum:
        BLOCK_SIZE
    int64_t block_bits(const uint8_t *data, int64_t size, uint32_t *counts, uint8_t *lengths)
    int64_t plane_room(int64_t size)
    int64_t put_plane(const uint8_t *data, int64_t size, double worth, uint8_t *out)


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
    static void shuffle_two(const uint8_t *restrict source, uint8_t *restrict target, uint8_t *restrict high, int64_t count) {
        for (int64_t i = 0; i < count; i++) {
            uint16_t word;
            memcpy(&word, source + 2 * i, 2);
            target[i] = (uint8_t)word;
            high[i] = (uint8_t)(word >> 8);
        }
    }

    MULTIVERSION
    static void shuffle_four(const uint8_t *restrict source, uint8_t *restrict target, int64_t plane, int64_t count) {
        uint8_t *restrict b = target + plane, *restrict c = target + 2 * plane, *restrict d = target + 3 * plane;
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
    void shuffle_two(const uint8_t *source, uint8_t *target, uint8_t *high, int64_t count) noexcept nogil
    void shuffle_four(const uint8_t *source, uint8_t *target, int64_t plane, int64_t count) noexcept nogil
    void shuffle_one(const uint8_t *source, int64_t step, uint8_t *target, int64_t count) noexcept nogil
