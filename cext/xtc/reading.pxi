# What walks over files share: growing columns and rolls, the window through which bytes are read, and words.

cdef extern from "xtc/growing.h" nogil:
    ctypedef struct Column:
        uint8_t *data
        size_t count
        size_t width
    ctypedef struct Slots:
        uint32_t *slot
        size_t mask
    ctypedef struct Roll:
        Column rows
        Column hashes
        Slots slots
    int widen(Column *column, size_t count)
    int enlarge(Slots *slots, const Column *hashes)
    uint64_t mix(uint64_t value)
    int64_t enlist(Roll *roll, const uint32_t *words)

cdef extern from "xtc/window.h" nogil:
    enum:
        SMALL_WINDOW
        LARGE_WINDOW
    ctypedef struct Window:
        const uint8_t *data
        uint64_t length
        uint64_t accesses
        uint64_t reads
        uint8_t *own
        size_t want
        int fd
        int error
    bint window_holds(const Window *window, uint64_t offset, size_t count)
    const uint8_t *window_reach(Window *window, uint64_t offset, size_t count)

cdef extern from "words.h" nogil:
    uint32_t load_u4(const uint8_t *p)
    uint64_t differ_u4x5(const uint8_t *a, const uint8_t *b)
    void store_u4(uint8_t *p, uint32_t value)
