"""Reading many pieces of files in one call, or copying them to another file, without the interpreter.

Pieces that lie close together in a file are read with one `pread` into a window and copied from there; large ones are read
straight into their place.
"""

import numpy as np

from cpython.exc cimport PyErr_CheckSignals
from cpython.list cimport PyList_GET_ITEM
from cpython.ref cimport PyObject
from libc.errno cimport EINTR, ENOSPC, errno
from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(PyObject *obj)

cdef extern from "unistd.h" nogil:
    ssize_t pwrite(int fd, const void *buf, size_t count, int64_t offset)

DEF WINDOW = 262144
# Copying this many bytes that nobody wants costs about as much as a call of the system.
DEF GAP = 4096
DEF LARGE = 65536
# What is copied from file to file stays in the innermost cache but one on its way.
DEF HANDFUL = 65536
# Files are shorter than this, and sums of such numbers fit into 64 bits.
cdef int64_t FURTHEST = <int64_t>1 << 61
# Number of reads after which the interpreter is asked whether the user wants to stop.
DEF PAUSE = 512


cdef extern from "run/read_whole.h" nogil:
    int64_t read_whole(int descriptor, uint8_t *where, int64_t size, int64_t offset, int *trouble)


cdef int64_t read_some(
    const int *descriptors,
    const int64_t *offsets,
    const int64_t *sizes,
    const int64_t *places,
    int64_t first,
    int64_t count,
    uint8_t *out,
    uint8_t *window,
    int *trouble,
) noexcept nogil:
    """Read pieces from number `first`, at most `PAUSE` system calls; return the number of the next, or -1 - the one that failed."""
    cdef int64_t i = first, j, begin, end, k, got
    cdef int calls = 0
    while i < count and calls < PAUSE:
        calls += 1
        begin = offsets[i]
        end = begin + sizes[i]
        if sizes[i] >= LARGE:
            if read_whole(descriptors[i], out + places[i], sizes[i], begin, trouble) < sizes[i]:
                return -1 - i
            i += 1
            continue
        j = i + 1
        while (
            j < count
            and descriptors[j] == descriptors[i]
            and offsets[j] >= offsets[j - 1]
            and offsets[j] <= end + GAP
            and sizes[j] < LARGE
            and offsets[j] + sizes[j] - begin <= WINDOW
        ):
            if offsets[j] + sizes[j] > end:
                end = offsets[j] + sizes[j]
            j += 1
        if j == i + 1:
            if read_whole(descriptors[i], out + places[i], sizes[i], begin, trouble) < sizes[i]:
                return -1 - i
            i = j
            continue
        got = read_whole(descriptors[i], window, end - begin, begin, trouble)
        for k in range(i, j):
            if offsets[k] - begin + sizes[k] > got:
                return -1 - k
            memcpy(out + places[k], window + (offsets[k] - begin), <size_t>sizes[k])
        i = j
    return i


def read_piece(int descriptor, int64_t offset, uint8_t[::1] out not None):
    """Fill `out` with what is at an offset of an open file; return -1, or the number of the error (0: the file ends before)."""
    cdef int64_t size = out.shape[0], got = 0
    cdef int trouble = 0
    if offset < 0:
        raise ValueError("negative offset")
    if size:
        with nogil:
            got = read_whole(descriptor, &out[0], size, offset, &trouble)
    return trouble if got < size else -1


def unused(list rooms not None, Py_ssize_t size):
    """Return the index of a buffer of `size` bytes that only the list holds, -1 when there is none."""
    cdef Py_ssize_t i
    for i in range(len(rooms)):
        # A look at the item must not hold it, or it would never be alone.
        if Py_REFCNT(<PyObject *>PyList_GET_ITEM(rooms, i)) == 1 and len(rooms[i]) == size:
            return i
    return -1


def read_pieces(
    const int[::1] descriptors not None,
    const int64_t[::1] offsets not None,
    const int64_t[::1] sizes not None,
    const int64_t[::1] places not None,
    uint8_t[::1] out not None,
):
    """Read piece ``i``, `sizes` bytes at `offsets` of an open file, to `places` in `out`.

    Returns (-1, 0), or the number of the first piece that could not be read whole, and the number of the error (0: the
    file ends before).
    """
    cdef int64_t count = descriptors.shape[0], i, at = 0, room = out.shape[0]
    cdef int trouble = 0
    if offsets.shape[0] != count or sizes.shape[0] != count or places.shape[0] != count:
        raise ValueError("one descriptor, offset, size and place for each piece")
    for i in range(count):
        if sizes[i] < 0 or offsets[i] < 0 or places[i] < 0 or sizes[i] > room or places[i] > room - sizes[i]:
            raise ValueError(f"piece {i} does not fit into the output")
    if count == 0 or room == 0:
        return -1, 0
    cdef uint8_t *window = <uint8_t *>malloc(WINDOW)
    if window == NULL:
        raise MemoryError
    try:
        while 0 <= at < count:
            with nogil:
                at = read_some(
                    &descriptors[0], &offsets[0], &sizes[0], &places[0], at, count, &out[0], window, &trouble
                )
            PyErr_CheckSignals()
    finally:
        free(window)
    if at < 0:
        return -1 - at, trouble
    return -1, 0


def stretches(
    const int64_t[::1] order not None,
    const int64_t[::1] files not None,
    const int64_t[::1] offsets not None,
    const int64_t[::1] sizes not None,
    int64_t gap,
):
    """Put pieces that lie side by side in a file together, so that they are read in one go and stay where they are.

    Parameters
    ----------
    order : int64 array
        Numbers of all pieces, by file and offset.
    files, offsets, sizes : int64 arrays
        Where each piece is.
    gap : int
        Bytes between two pieces that are read with them.

    Returns
    -------
    first, length : int64 arrays
        Number of the first piece of each stretch, and its bytes.
    start : int64 array
        Where each stretch begins when they stand one behind the other, each at a multiple of 8 bytes.
    places : int64 array
        Where each piece is then.
    """
    cdef int64_t count = order.shape[0], found = 0, k, i, begin = 0, end = 0, base = 0, file = -1
    if files.shape[0] != count or offsets.shape[0] != count or sizes.shape[0] != count:
        raise ValueError("one number, file, offset and size for each piece")
    cdef int64_t[::1] first = np.empty(count, np.int64), length = np.empty(count, np.int64)
    cdef int64_t[::1] start = np.empty(count, np.int64), places = np.empty(count, np.int64)
    for k in range(count):
        if not 0 <= order[k] < count or sizes[k] < 0 or offsets[k] < 0 or sizes[k] > FURTHEST or offsets[k] > FURTHEST:
            raise ValueError(f"piece {k} is nowhere")
    with nogil:
        for k in range(count):
            i = order[k]
            if k == 0 or files[i] != file or offsets[i] < begin or offsets[i] > end + gap:
                base += (end - begin + 7) & ~<int64_t>7
                file, begin, end = files[i], offsets[i], offsets[i]
                first[found] = i
                start[found] = base
                found += 1
            places[i] = base + offsets[i] - begin
            end = max(end, offsets[i] + sizes[i])
            length[found - 1] = end - begin
    return np.asarray(first)[:found], np.asarray(length)[:found], np.asarray(start)[:found], np.asarray(places)


cdef extern from *:
    """
    #include <unistd.h>

    /* Lets the kernel copy a part of a file to another; returns the bytes that it did, 0 or less where it does not. */
    static int64_t copy_inside(int source, int64_t from, int target, int64_t to, int64_t size) {
    #if defined(__linux__) && defined(__GLIBC__)
        off64_t at = from, place = to;
        return copy_file_range(source, &at, target, &place, (size_t)size, 0);
    #else
        (void)source, (void)from, (void)target, (void)to, (void)size;
        return 0;
    #endif
    }
    """
    int64_t copy_inside(int source, int64_t start, int target, int64_t to, int64_t size) noexcept nogil


cdef int64_t copy_some(
    const int *descriptors,
    const int64_t *offsets,
    const int64_t *sizes,
    int target,
    const int64_t *places,
    int64_t first,
    int64_t count,
    uint8_t *window,
    int *trouble,
    bint *writing,
) noexcept nogil:
    """Copy pieces from number `first`, about `PAUSE` handfuls; return the number of the next, or -1 - the one that failed."""
    cdef int64_t i = first, done, part, put
    cdef int64_t calls = 0
    cdef ssize_t wrote
    while i < count and calls < PAUSE:
        done = 0
        while done < sizes[i]:
            part = copy_inside(descriptors[i], offsets[i] + done, target, places[i] + done, sizes[i] - done)
            if part > 0:
                calls += 1 + part // HANDFUL
                done += part
                continue
            # Between these files it cannot, or something is wrong, which is found out here.
            calls += 1
            part = min(<int64_t>HANDFUL, sizes[i] - done)
            if read_whole(descriptors[i], window, part, offsets[i] + done, trouble) < part:
                return -1 - i
            put = 0
            while put < part:
                wrote = pwrite(target, window + put, <size_t>(part - put), places[i] + done + put)
                if wrote < 0 and errno == EINTR:
                    continue
                if wrote <= 0:
                    trouble[0] = errno if wrote < 0 else ENOSPC
                    writing[0] = True
                    return -1 - i
                put += wrote
            done += part
        i += 1
    return i


def copy_pieces(
    const int[::1] descriptors not None,
    const int64_t[::1] offsets not None,
    const int64_t[::1] sizes not None,
    int target,
    const int64_t[::1] places not None,
):
    """Copy piece ``i``, `sizes` bytes at `offsets` of an open file, to `places` of the open file `target`.

    Returns (-1, 0, False), or the number of the first piece that could not be copied, the number of the error (0: the file
    ends before), and whether it came from writing.
    """
    cdef int64_t count = descriptors.shape[0], i, at = 0
    cdef int trouble = 0
    cdef bint writing = False
    if offsets.shape[0] != count or sizes.shape[0] != count or places.shape[0] != count:
        raise ValueError("one descriptor, offset, size and place for each piece")
    for i in range(count):
        if sizes[i] < 0 or offsets[i] < 0 or places[i] < 0:
            raise ValueError(f"piece {i} is nowhere")
    if count == 0:
        return -1, 0, False
    cdef uint8_t *window = <uint8_t *>malloc(HANDFUL)
    if window == NULL:
        raise MemoryError
    try:
        while 0 <= at < count:
            with nogil:
                at = copy_some(
                    &descriptors[0], &offsets[0], &sizes[0], target, &places[0], at, count, window, &trouble, &writing
                )
            PyErr_CheckSignals()
    finally:
        free(window)
    if at < 0:
        return -1 - at, trouble, bool(writing)
    return -1, 0, False
