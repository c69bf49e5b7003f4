# Where raw values are: pieces of an image that are in memory, or in a file yet.

cdef extern from "run/read_whole.h" nogil:
    int64_t read_whole(int descriptor, uint8_t *where, int64_t size, int64_t offset, int *trouble)

# Files are shorter than this, and sums of such numbers fit into 64 bits.
cdef int64_t FURTHEST = <int64_t>1 << 61
# What is read for one span begins at a line of the cache.
DEF LINE = 64


ctypedef fused Raw:
    uint8_t
    uint16_t
    int16_t
    int32_t
    float


cdef struct Pieces:
    # Where the raw values of an image are: pieces of some pixels, each so many bytes behind the one before.
    const char *first  # in memory
    int64_t length, step
    int descriptor  # -1: in memory
    int64_t offset  # of the first piece in its file


cdef class PiecesInFile:
    """Raw values of an image that are in a file yet, in pieces; they are read span by span, as they are needed.

    So they stay in the cache from the file to the corrected image, which the memory for a whole one would not.

    Parameters
    ----------
    descriptor : int
        Of a file that is open for reading as long as this is in use.
    offset : int
        Where the first piece is, in bytes.
    step : int
        Bytes from the beginning of a piece to that of the next.
    shape : tuple of int
        Pieces, and pixels of each.
    dtype : numpy.dtype
        Of the values.
    """

    cdef readonly tuple shape
    cdef readonly object dtype
    cdef Pieces pieces

    def __cinit__(self, int descriptor, int64_t offset, int64_t step, tuple shape, dtype):
        cdef int64_t count, length
        count, length = self.shape = shape
        self.dtype = dtype
        if min(count, length, offset, step) < 0 or max(count, length, offset, step) > FURTHEST or descriptor < 0:
            raise ValueError("pieces that are nowhere in a file")
        if count > 1 and step > FURTHEST // count:
            raise ValueError("pieces that are nowhere in a file")
        self.pieces = Pieces(NULL, length, step, descriptor, offset)


cdef int _locate(list raws, Raw *kind, int64_t size, Pieces *found) except -1:
    """Find out where raw images are; `kind` says their type."""
    cdef const Raw[:, :] view
    cdef PiecesInFile filed
    cdef Py_ssize_t i
    for i in range(len(raws)):
        if isinstance(raws[i], PiecesInFile):
            filed = raws[i]
            _same(size, filed.shape[0] * filed.shape[1], "the raw image")
            if filed.dtype.str[1:] != raws[0].dtype.str[1:] or filed.dtype.itemsize != sizeof(Raw):
                raise ValueError(f"raw images of the types {raws[0].dtype} and {filed.dtype}")
            found[i] = filed.pieces
            continue
        view = raws[i]
        _same(size, view.shape[0] * view.shape[1], "the raw image")
        if view.strides[1] != sizeof(Raw) and view.shape[1] > 1:
            raise ValueError("a piece of the raw image is not in one row")
        if size:
            found[i] = Pieces(<const char *>&view[0, 0], view.shape[1], view.strides[0], -1, 0)
    return 0


cdef struct Unread:
    # An image that could not be read (-1: none), and the number of the error (0: the file ends before).
    int64_t image
    int trouble


cdef inline const Raw *_values(Raw *kind, const Pieces *raw, int64_t first, int64_t stop, char *room,
                               int *trouble) noexcept nogil:
    """Return where the first pixel would be, were all pieces in a row with that of some pixels; NULL: it is unreadable.

    What is in a file is read into `room`.
    """
    cdef int64_t piece = first // raw.length, size = (stop - first) * <int64_t>sizeof(Raw), place
    if raw.descriptor < 0:
        return <const Raw *>(raw.first + piece * raw.step) - piece * raw.length
    place = raw.offset + piece * raw.step + (first - piece * raw.length) * <int64_t>sizeof(Raw)
    if read_whole(raw.descriptor, <uint8_t *>room, size, place, trouble) < size:
        return NULL
    return <const Raw *>room - first
