# The rules of the facility's makers of indexes and small data, which visit events alike.

cdef extern from "xtc/facility.h" nogil:
    enum:
        FACILITY_XTC
        FACILITY_SEGMENT
        FACILITY_CONTAINER
        FACILITY_EPICS
        FACILITY_EVR_DATA
        FACILITY_INCOMPLETE
    ctypedef struct FacilityXtc:
        uint32_t damage
        uint32_t log
        uint32_t phy
        uint32_t type
        uint32_t extent
    FacilityXtc facility_xtc(const uint8_t *p)
    uint32_t facility_type(const FacilityXtc *xtc)
    int facility_corrupt(const FacilityXtc *xtc, uint32_t types)


cdef int open_window(Window *window, int descriptor) except -1:
    """Prepare to read an open file; `free` of its own memory is for whoever has the window."""
    window.fd = descriptor
    window.want = SMALL_WINDOW
    window.own = <uint8_t *>malloc(LARGE_WINDOW)
    if window.own == NULL:
        raise MemoryError
    window.data = window.own
    return 0
