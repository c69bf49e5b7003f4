"""Filters of HDF5, as fast as memory allows and without HDF5's lock: shuffle, and deflate of what has no repeats."""

import sys

import numpy as np

from psanacli.run import Unread

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

cdef extern from "hdf5/planes.h" nogil:
    enum:
        BLOCK_SIZE
        WINDOW
        PAIRS
    ctypedef struct BitWriter:
        pass
    ctypedef struct Sums:
        pass
    ctypedef struct Pieces:
        const uint8_t *data
        int descriptor
        const int64_t *places
        const int64_t *sizes
        int64_t item, at, taken
        uint8_t *window
        int trouble
    int64_t block_bits(const uint8_t *data, int64_t size, uint8_t *lengths)
    int64_t plane_room(int64_t size)
    int64_t put_plane(const uint8_t *data, int64_t size, double worth, uint8_t *out, uint32_t *pairs)
    void shuffle_items(const uint8_t *source, int64_t item, int64_t count, uint8_t *target, int64_t plane)
    int take_items(Pieces *pieces, int64_t count, uint8_t *target, int64_t plane)
    void skip_items(Pieces *pieces, int64_t count)
    int64_t deflate_planes(
        Pieces *pieces, int64_t plane, const double *worth, uint8_t *out, int64_t *extents, Sums *sums, BitWriter *writers,
        uint8_t *scratch
    )

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


cdef class Array:
    """An array that lies in pieces, as if they stood one behind the other.

    Parameters
    ----------
    data : buffer or int
        Where the pieces are; the descriptor of an open file if they are in that.
    places, sizes : int64 arrays, shape (n,)
        Where each piece is; one at a negative place is zeros.  Sizes are multiples of `item`.
    item : int
        Bytes of an item.

    Attributes
    ----------
    size, item : int
        In bytes.
    """

    cdef const uint8_t[::1] data
    cdef const int64_t[::1] places, sizes
    cdef int descriptor
    cdef readonly int64_t size
    cdef readonly Py_ssize_t item

    def __init__(self, data, const int64_t[::1] places, const int64_t[::1] sizes, Py_ssize_t item):
        cdef int64_t length = (<int64_t>1) << 62, i
        self.descriptor = -1
        if isinstance(data, int):
            self.descriptor = data
        else:
            self.data = data
            length = self.data.shape[0]
        self.places, self.sizes, self.item, self.size = places, sizes, item, 0
        if sizes.shape[0] != places.shape[0] or item < 1:
            raise ValueError("a size for each place, and an item of a byte at least")
        for i in range(sizes.shape[0]):
            if sizes[i] < 0 or sizes[i] % item or sizes[i] > (<int64_t>1) << 48:
                raise ValueError("a size that is no number of items")
            if places[i] >= 0 and (sizes[i] > length or places[i] > length - sizes[i]):
                raise ValueError("outside of the buffer")
            self.size += sizes[i]

    cdef Pieces pieces(self, uint8_t *window) noexcept:
        """Return the pieces, of which none was taken; there is one at least."""
        cdef Pieces pieces
        pieces.data = &self.data[0] if self.descriptor < 0 and self.data.shape[0] else NULL
        pieces.descriptor = self.descriptor
        pieces.places = &self.places[0]
        pieces.sizes = &self.sizes[0]
        pieces.item = self.item
        pieces.at = pieces.taken = 0
        pieces.window = window
        pieces.trouble = 0
        return pieces

    cdef unread(self, Pieces *pieces):
        return Unread(self.places[pieces.at], self.sizes[pieces.at], pieces.trouble)

    def shuffled(self, int64_t first=0, count=None):
        """Return the planes of some items, uint8 of shape (item, count); default is all.

        Raises
        ------
        Unread
            A piece of the file cannot be read.
        """
        cdef int64_t n = self.size // self.item - first if count is None else count
        if first < 0 or n < 0 or n > self.size // self.item - first:
            raise ValueError("items that are not there")
        cdef uint8_t[:, ::1] out = np.empty((self.item, n), np.uint8)
        if not n:
            return np.asarray(out)
        cdef uint8_t *window = room(WINDOW if self.descriptor >= 0 else 1)
        cdef Pieces pieces = self.pieces(window)
        cdef int whole
        with nogil:
            skip_items(&pieces, first)
            whole = take_items(&pieces, n, &out[0, 0], n)
            free(window)
        if not whole:
            raise self.unread(&pieces)
        return np.asarray(out)

    def deflated(self, const double[::1] worth, uint8_t[::1] out):
        """Write the planes to `out` as blocks of a raw deflate stream, without a search for repeats.

        No block is the last of the stream, and a plane ends at a whole byte.

        Parameters
        ----------
        worth : float64 array, shape (item,)
            Of each plane: a block that would not shrink to less than this part of its size is stored as it is; with 0
            all are. With a negative number the plane itself is written.
        out : buffer of at least ``item * literals_room(size // item)`` bytes
            Each plane begins at a multiple of that room.

        Returns
        -------
        (list of int, int)
            Bytes of each plane, and the Adler-32 of all.

        Raises
        ------
        Unread
            A piece of the file cannot be read.
        """
        cdef int64_t plane = self.size // self.item, sums
        if worth.shape[0] != self.item or not plane or out.shape[0] < self.item * plane_room(plane):
            raise ValueError("a number for each plane, and room for all of them")
        cdef int64_t[::1] extents = np.empty(self.item, np.int64)
        cdef uint8_t *memory = room(
            self.item * (BLOCK_SIZE + <Py_ssize_t>sizeof(BitWriter) + <Py_ssize_t>sizeof(Sums))
            + PAIRS * <Py_ssize_t>sizeof(uint32_t)
            + WINDOW
        )
        cdef uint8_t *scratch = memory + self.item * <Py_ssize_t>(sizeof(BitWriter) + sizeof(Sums))
        cdef uint8_t *window = scratch + self.item * BLOCK_SIZE + PAIRS * <Py_ssize_t>sizeof(uint32_t)
        cdef Pieces pieces = self.pieces(window)
        with nogil:
            sums = deflate_planes(
                &pieces,
                plane,
                &worth[0],
                &out[0],
                &extents[0],
                <Sums *>memory,
                <BitWriter *>(memory + self.item * <Py_ssize_t>sizeof(Sums)),
                scratch,
            )
            free(memory)
        if sums < 0:
            raise self.unread(&pieces)
        return list(extents), sums


cdef uint8_t *room(Py_ssize_t size) except NULL:
    cdef uint8_t *found = <uint8_t *>malloc(<size_t>size)
    if found == NULL:
        raise MemoryError
    return found


def literals_size(const uint8_t[::1] data):
    """Return about how many bytes `literals` makes of at most 128 kB."""
    cdef uint8_t[257] lengths
    cdef int64_t bits = 0, size = data.shape[0]
    if not 0 < size <= BLOCK_SIZE:
        raise ValueError("not a sample")
    with nogil:
        bits = block_bits(&data[0], size, lengths)
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
    if not size:
        return 0
    cdef uint8_t *pairs = room(PAIRS * <Py_ssize_t>sizeof(uint32_t))
    with nogil:
        done = put_plane(&data[0], size, worth, &out[0], <uint32_t *>pairs)
        free(pairs)
    return done
