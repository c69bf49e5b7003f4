"""Text of constants, both ways, without the interpreter; what it means is known by `psanacli.calib.text`."""

import sys

import numpy as np

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc

if sys.byteorder != "little":
    raise ImportError("psanacli needs a machine with little-endian byte order, as the data are")


cdef extern from "calib/text.h":
    enum:
        TEXT_LONGEST
    ctypedef struct text_found:
        int64_t values, rows, columns
        int64_t uneven_row, uneven_columns
        int64_t comments
        int64_t offset, line, place
        int reason
    int64_t text_words(const char *text, int64_t size) nogil
    void text_read(const char *text, int64_t size, int kind, void *out, int64_t *comments, int64_t most_comments,
                   text_found *found) nogil
    int64_t text_write(const void *values, int kind, int64_t rows, int64_t columns, char *out) nogil


KINDS = {"f4": 0, "f8": 1, "i8": 2, "u8": 3}
REASONS = ("", "number", "fraction", "range", "comments")
MOST_COMMENTS = 4096


def read_numbers(bytes text not None, str dtype):
    """Read all numbers of a text as one of `KINDS`.

    Returns
    -------
    values : ndarray, shape (n,)
        Those before the first error, if there is one.
    comments : list of bytes
        The lines that begin with ``#``, without their ends.
    found : dict
        Of `text_found`, with ``reason`` as a word of `REASONS`.
    """
    cdef int kind = KINDS[dtype]
    cdef const char *data = PyBytes_AS_STRING(text)
    cdef int64_t size = PyBytes_GET_SIZE(text), room, most = MOST_COMMENTS
    cdef int64_t[::1] places = np.empty(2 * MOST_COMMENTS, np.int64)
    cdef text_found found
    with nogil:
        room = text_words(data, size)
    # A word may be "1#": at most one number in each, as nothing but blanks and line ends separates them.
    values = np.empty(room, dtype)
    cdef unsigned char[::1] out = values.view(np.uint8) if room else np.empty(8, np.uint8)
    with nogil:
        text_read(data, size, kind, &out[0], &places[0], most, &found)
    comments = [text[places[2 * k]:places[2 * k + 1]] for k in range(found.comments)]
    # Comments took room, too: give it back.
    return values[:found.values] if found.values > room // 2 else values[:found.values].copy(), comments, {
        "rows": found.rows, "columns": found.columns, "uneven_row": found.uneven_row,
        "uneven_columns": found.uneven_columns, "offset": found.offset, "line": found.line, "place": found.place,
        "reason": REASONS[found.reason],
    }


def write_numbers(values):
    """Return rows of numbers as text: a 2-D array of one of `KINDS`, every number exact and as short as it goes."""
    cdef int kind = KINDS[values.dtype.str[1:]]
    cdef int64_t rows = values.shape[0], columns = values.shape[1], used
    cdef const unsigned char[::1] source = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    if not rows * columns:
        return b""
    # Pages that are not used are not taken from the system.
    cdef char *out = <char *>malloc(<size_t>(rows * columns * (TEXT_LONGEST + 1)))
    if out == NULL:
        raise MemoryError
    try:
        with nogil:
            used = text_write(&source[0], kind, rows, columns, out)
        return PyBytes_FromStringAndSize(out, used)
    finally:
        free(out)
