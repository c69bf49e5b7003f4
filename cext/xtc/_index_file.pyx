"""What an index of the facility says about the contents of each event, without the interpreter.

Events are visited by the rules of the facility's maker of indexes: readout nodes ("segments") and event codes are
numbered in the order in which they appear, and each event has masks of these numbers.
"""

import numpy as np

from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

include "reading.pxi"
include "facility.pxi"

cdef enum:
    HEADER = 40
    # Versions of EvrData: a count, and so many codes with their times, 12 bytes each.
    FIRST_FIFO_VERSION = 3
    LAST_FIFO_VERSION = 4
    FIFO_EVENT = 12
    FIFO_CODE = 8
    # Number of reads after which the interpreter is asked whether the user wants to stop.
    PAUSE = 128
    # What a visit returns in place of 1 when it fails.
    NO_MEMORY = 0
    UNREADABLE = -1

cdef enum:
    # The list of objects of a segment: empty, begun in this event, complete.
    NOTHING
    LISTED
    CLOSED

cdef int64_t NO_SEGMENT = -1


cdef struct Level:
    # The container around the one that is looked at: where it ends, and its segment.
    uint64_t limit
    int64_t segment


cdef struct Listed:
    # An object in the list of a segment.
    uint32_t segment
    uint32_t log
    uint32_t phy
    uint32_t type


cdef inline uint32_t with_bit(uint32_t mask, int64_t number) noexcept nogil:
    """Set a bit; a number that has none sets all."""
    return mask | <uint32_t>1 << number if number < 32 else 0xFFFFFFFF


cdef class EventVisitor:
    """Visits the events of one open file, and keeps what all of them together have: segments, their objects, codes.

    Parameters
    ----------
    descriptor : int
        The open file.
    types : int
        Type numbers below this one exist.
    """

    cdef Window window
    cdef uint32_t types
    cdef Roll segments
    cdef Roll codes
    cdef Column states
    cdef Column listed
    cdef Column levels
    cdef readonly uint64_t contradictions

    def __cinit__(self, int descriptor, uint32_t types):
        self.types = types
        open_window(&self.window, descriptor)
        self.segments.rows.width = 2 * sizeof(uint32_t)
        self.codes.rows.width = sizeof(uint32_t)
        self.segments.hashes.width = self.codes.hashes.width = sizeof(uint64_t)
        self.states.width = 1
        self.listed.width = sizeof(Listed)
        self.levels.width = sizeof(Level)

    def __dealloc__(self):
        free(self.window.own)
        free(self.segments.rows.data)
        free(self.segments.hashes.data)
        free(self.segments.slots.slot)
        free(self.codes.rows.data)
        free(self.codes.hashes.data)
        free(self.codes.slots.slot)
        free(self.states.data)
        free(self.listed.data)
        free(self.levels.data)

    cdef int64_t segment_of(self, const FacilityXtc *xtc) noexcept nogil:
        """Return the number of a segment, -1 when there is no memory."""
        cdef uint32_t[2] words
        cdef int64_t number
        words[0] = xtc.log
        words[1] = xtc.phy
        number = enlist(&self.segments, words)
        if number >= 0 and <size_t>number == self.states.count:
            if not widen(&self.states, self.states.count + 1):
                return -1
            self.states.data[number] = NOTHING
            self.states.count += 1
        return number

    cdef int list_object(self, int64_t segment, const FacilityXtc *xtc) noexcept nogil:
        """Put an object into the list of its segment; 0 when there is no memory."""
        cdef Listed *row
        if not widen(&self.listed, self.listed.count + 1):
            return 0
        row = <Listed *>self.listed.data + self.listed.count
        row.segment = <uint32_t>segment
        row.log = xtc.log
        row.phy = xtc.phy
        row.type = xtc.type
        self.listed.count += 1
        self.states.data[segment] = LISTED
        return 1

    cdef int read_codes(self, uint64_t at, const FacilityXtc *xtc, uint32_t *mask) noexcept nogil:
        """Number the event codes of an EvrData object; or fail, see above."""
        cdef uint64_t room = xtc.extent - FACILITY_XTC, i
        cdef uint32_t count, code, version = xtc.type >> 16
        cdef int64_t number
        cdef const uint8_t *p
        if version < FIRST_FIFO_VERSION or version > LAST_FIFO_VERSION or room < 4:
            return 1
        p = window_reach(&self.window, at + FACILITY_XTC, 4)
        if p == NULL:
            return UNREADABLE
        count = load_u4(p)
        if count > (room - 4) // FIFO_EVENT:
            count = <uint32_t>((room - 4) // FIFO_EVENT)
        for i in range(count):
            p = window_reach(&self.window, at + FACILITY_XTC + 4 + i * FIFO_EVENT, FIFO_EVENT)
            if p == NULL:
                return UNREADABLE
            code = load_u4(p + FIFO_CODE)
            number = enlist(&self.codes, &code)
            if number < 0:
                return NO_MEMORY
            mask[0] = with_bit(mask[0], number)
        return 1

    cdef int look_inside(self, uint64_t begin, uint64_t end, uint32_t *masks) noexcept nogil:
        """Visit one event; or fail, see above.

        `masks` are those of segments with damage, of segments without data, and of event codes.
        """
        cdef uint64_t at = begin, limit = end, rest
        cdef size_t depth = 0
        cdef int64_t segment = NO_SEGMENT, inner
        cdef const uint8_t *p
        cdef FacilityXtc xtc
        cdef Level *level
        cdef bint container
        cdef int done
        while True:
            rest = limit - at
            if rest == 0:
                if depth == 0:
                    return 1
                depth -= 1
                level = <Level *>self.levels.data + depth
                if segment != level.segment and self.states.data[segment] == LISTED:
                    # The list of a segment is that of the first event in which it has anything.
                    self.states.data[segment] = CLOSED
                limit = level.limit
                segment = level.segment
                continue
            if rest < FACILITY_XTC:
                self.contradictions += 1
                at = limit
                continue
            p = window_reach(&self.window, at, FACILITY_XTC)
            if p == NULL:
                return UNREADABLE
            xtc = facility_xtc(p)
            container = facility_type(&xtc) == FACILITY_CONTAINER
            if facility_corrupt(&xtc, self.types) or (not container and xtc.extent > rest):
                self.contradictions += 1
                at = limit
                continue
            if xtc.damage & FACILITY_INCOMPLETE:
                at = limit
                continue
            inner = segment
            if xtc.log >> 24 == FACILITY_SEGMENT:
                inner = self.segment_of(&xtc)
                if inner < 0:
                    return NO_MEMORY
                if xtc.damage:
                    masks[0] = with_bit(masks[0], inner)
                if container and xtc.extent == FACILITY_XTC:
                    masks[1] = with_bit(masks[1], inner)
            elif not container and segment >= 0:
                if self.states.data[segment] != CLOSED and not self.list_object(segment, &xtc):
                    return NO_MEMORY
                if facility_type(&xtc) == FACILITY_EVR_DATA:
                    done = self.read_codes(at, &xtc, masks + 2)
                    if done <= 0:
                        return done
                if self.states.data[segment] == CLOSED or facility_type(&xtc) == FACILITY_EPICS:
                    at = limit
                    continue
            if not container:
                at += xtc.extent
                continue
            if not widen(&self.levels, depth + 1):
                return NO_MEMORY
            level = <Level *>self.levels.data + depth
            level.limit = limit
            level.segment = segment
            depth += 1
            segment = inner
            if xtc.extent > rest:
                self.contradictions += 1
            else:
                limit = at + xtc.extent
            at += FACILITY_XTC

    def visit(self, const uint64_t[::1] offsets not None, const uint32_t[::1] extents not None, uint32_t[:, ::1] masks not None):
        """Visit events, datagrams at `offsets` whose last header words are `extents`.

        Parameters
        ----------
        offsets, extents : arrays of shape (n,)
            The datagrams; each has to lie within the file.
        masks : ndarray of uint32, shape (n, 3)
            Filled with the masks of segments with damage, segments without data, and event codes.

        Returns
        -------
        int, int
            Number of the event that could not be read, and the number of the error (0: the file ended); -1, 0 if all could.
        """
        cdef int64_t at = 0, count = offsets.shape[0]
        cdef uint64_t reads
        cdef int done = 1
        if extents.shape[0] != count or masks.shape[0] != count or masks.shape[1] != 3:
            raise ValueError("an offset, an extent and three masks for each event")
        while at < count:
            with nogil:
                reads = self.window.reads
                while at < count and self.window.reads - reads <= PAUSE:
                    masks[at, 0] = masks[at, 1] = masks[at, 2] = 0
                    if extents[at] > FACILITY_XTC:
                        done = self.look_inside(
                            offsets[at] + HEADER, offsets[at] + FACILITY_XTC + extents[at], &masks[at, 0]
                        )
                        if done <= 0:
                            break
                    at += 1
            if done == NO_MEMORY:
                raise MemoryError("no memory for the lists of an index")
            if done == UNREADABLE:
                return at, self.window.error
            PyErr_CheckSignals()
        return -1, 0

    def found(self):
        """Return what was found: segments (n, 2) and codes (n,), in order of appearance, and objects (n, 4).

        A row of objects is number of the segment, log, phy, type word.
        """
        return (
            rows_of(&self.segments.rows).reshape(-1, 2),
            rows_of(&self.codes.rows),
            rows_of(&self.listed).reshape(-1, 4),
        )


cdef object rows_of(const Column *column):
    """Copy a column of words into an array."""
    cdef uint32_t[::1] view
    array = np.empty(column.count * (column.width // 4), np.uint32)
    if column.count:
        view = array
        memcpy(&view[0], column.data, column.count * column.width)
    return array


def inversions(const uint64_t[::1] keys not None):
    """Count the pairs of which the later one is smaller, in n log n steps."""
    cdef int64_t count = keys.shape[0], width = 1, begin, middle, end, i, j, k
    cdef uint64_t total = 0
    cdef uint64_t *swap
    cdef uint64_t *rest
    cdef uint64_t *memory
    if count < 2:
        return 0
    memory = <uint64_t *>malloc(2 * count * sizeof(uint64_t))
    if memory == NULL:
        raise MemoryError
    with nogil:
        rest = memory
        swap = memory + count
        memcpy(rest, &keys[0], count * sizeof(uint64_t))
        while width < count:
            begin = 0
            while begin < count:
                middle = begin + width if begin + width < count else count
                end = middle + width if middle + width < count else count
                i = begin
                j = middle
                for k in range(begin, end):
                    if i < middle and (j >= end or rest[i] <= rest[j]):
                        swap[k] = rest[i]
                        i += 1
                    else:
                        total += middle - i
                        swap[k] = rest[j]
                        j += 1
                begin = end
            rest, swap = swap, rest
            width *= 2
    free(memory)
    return total
