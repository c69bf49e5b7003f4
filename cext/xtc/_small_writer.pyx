"""Copying a big file to its small data: large objects become proxies, all else is copied, without the interpreter.

Bytes are read through one window (``window.h``) and gathered in one buffer; both stay as small as the largest event of
the small data allows.  The rules are those of the facility's maker of small data.
"""

from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EINTR, ENOSPC, errno
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

cdef extern from "unistd.h" nogil:
    ssize_t pread(int fd, void *buf, size_t count, int64_t offset)
    ssize_t write(int fd, const void *buf, size_t count)

include "reading.pxi"
include "facility.pxi"

cdef enum:
    HEADER = 40
    EXTENT_AT = 36
    # What is put first into events and Configure: headers with their payloads.
    ORIGIN = 32
    CONFIG = 24
    PROXY = 36
    PIECE = 1 << 20
    # Number of reads or writes after which the interpreter is asked whether the user wants to stop.
    PAUSE = 128

cdef enum:
    # What is done with a datagram.
    COPY
    COPY_CONFIGURE
    MAKE_SMALL

# Results, known to psanacli/xtc/small_writer.py.
cpdef enum Outcome:
    DONE
    NO_MEMORY
    UNREADABLE
    UNWRITABLE
    TOO_LARGE

cdef uint64_t LARGEST_EXTENT = 0xFFFFFFFF
cdef uint32_t CONFIG_TYPE = 0x00010059
cdef uint32_t ORIGIN_TYPE = 0x0001005A
cdef uint32_t PROXY_TYPE = 0x0001005B
cdef uint32_t RECORDER = 0x04000000
# The facility leaves this word as it is in memory; objects and their configuration are found only if it is the same in both.
cdef uint32_t NO_ADDRESS = 0


cdef struct Level:
    # The container around the one that is looked at: where it ends, and where the header of the inner one was put.
    uint64_t limit
    size_t place


cdef class SmallCopier:
    """Copies datagrams of an open big file to the end of an open small file.

    Parameters
    ----------
    source, target : int
        The open files.
    threshold : int
        Objects with a header word `extent` of this or more become proxies.
    types : int
        Type numbers below this one exist.

    Attributes
    ----------
    proxies, left_out, contradictions : int
        Proxies that were made, events left out as nothing is in them, containers of which not all could be copied.
    """

    cdef Window window
    cdef int target
    cdef uint32_t threshold
    cdef uint32_t types
    cdef Column out
    cdef Column levels
    cdef uint64_t writes
    cdef int error
    cdef readonly uint64_t proxies
    cdef readonly uint64_t left_out
    cdef readonly uint64_t contradictions

    def __cinit__(self, int source, int target, uint32_t threshold, uint32_t types):
        self.target = target
        self.threshold = threshold
        self.types = types
        open_window(&self.window, source)
        self.out.width = 1
        self.levels.width = sizeof(Level)
        if not widen(&self.out, 2 * PIECE):
            raise MemoryError

    def __dealloc__(self):
        free(self.window.own)
        free(self.out.data)
        free(self.levels.data)

    cdef Outcome flush(self) noexcept nogil:
        """Write what was gathered."""
        cdef size_t done = 0
        cdef ssize_t put
        while done < self.out.count:
            self.writes += 1
            put = write(self.target, self.out.data + done, self.out.count - done)
            if put < 0 and errno == EINTR:
                continue
            if put <= 0:
                self.error = errno if put < 0 else ENOSPC
                return UNWRITABLE
            done += put
        self.out.count = 0
        return DONE

    cdef Outcome take(self, uint64_t offset, uint64_t count) noexcept nogil:
        """Gather `count` bytes from `offset` of the big file."""
        cdef const uint8_t *p
        cdef ssize_t got
        if not widen(&self.out, self.out.count + count):
            return NO_MEMORY
        if count <= SMALL_WINDOW:
            p = window_reach(&self.window, offset, count)
            if p == NULL:
                self.error = self.window.error
                return UNREADABLE
            memcpy(self.out.data + self.out.count, p, count)
            self.out.count += count
            return DONE
        while count:
            self.window.reads += 1
            got = pread(self.window.fd, self.out.data + self.out.count, count, <int64_t>offset)
            if got < 0 and errno == EINTR:
                continue
            if got <= 0:
                self.error = errno if got < 0 else 0
                return UNREADABLE
            self.out.count += got
            offset += got
            count -= got
        return DONE

    cdef void put_xtc(self, uint32_t damage, uint32_t log, uint32_t phy, uint32_t type, uint32_t extent) noexcept nogil:
        """Gather an Xtc header; there has to be room for it."""
        cdef uint8_t *p = self.out.data + self.out.count
        store_u4(p, damage)
        store_u4(p + 4, log)
        store_u4(p + 8, phy)
        store_u4(p + 12, type)
        store_u4(p + 16, extent)
        self.out.count += FACILITY_XTC

    cdef void put_word(self, uint64_t value) noexcept nogil:
        """Gather a word of 4 bytes; there has to be room for it."""
        store_u4(self.out.data + self.out.count, <uint32_t>value)
        self.out.count += 4

    cdef Outcome copy(self, uint64_t offset, uint64_t size) noexcept nogil:
        """Copy bytes as they are, in pieces."""
        cdef Outcome outcome
        cdef uint64_t piece
        while size:
            piece = size if size < PIECE else PIECE
            outcome = self.take(offset, piece)
            if outcome == DONE and self.out.count >= PIECE:
                outcome = self.flush()
            if outcome != DONE:
                return outcome
            offset += piece
            size -= piece
        return DONE

    cdef Outcome copy_configure(self, uint64_t offset, uint32_t extent) noexcept nogil:
        """Copy a Configure, with the threshold put first."""
        cdef Outcome outcome
        if <uint64_t>extent + CONFIG > LARGEST_EXTENT:
            return TOO_LARGE
        outcome = self.take(offset, HEADER)
        if outcome != DONE:
            return outcome
        store_u4(self.out.data + self.out.count - HEADER + EXTENT_AT, extent + CONFIG)
        if not widen(&self.out, self.out.count + CONFIG):
            return NO_MEMORY
        self.put_xtc(0, RECORDER, NO_ADDRESS, CONFIG_TYPE, CONFIG)
        self.put_word(self.threshold)
        return self.copy(offset + HEADER, extent - FACILITY_XTC)

    cdef Outcome make_small(self, uint64_t offset, uint32_t extent) noexcept nogil:
        """Gather an event with its place put first and large objects replaced; nothing if the event has no contents."""
        cdef size_t begin = self.out.count
        cdef uint64_t size
        cdef Outcome outcome = self.take(offset, HEADER)
        if outcome != DONE:
            return outcome
        if not widen(&self.out, self.out.count + ORIGIN):
            return NO_MEMORY
        self.put_xtc(0, RECORDER, NO_ADDRESS, ORIGIN_TYPE, ORIGIN)
        self.put_word(offset)
        self.put_word(offset >> 32)
        self.put_word(extent)
        outcome = self.make_small_tree(offset + HEADER, offset + FACILITY_XTC + extent)
        if outcome != DONE:
            return outcome
        size = self.out.count - begin
        if size == HEADER + ORIGIN:
            self.left_out += 1
            self.out.count = begin
            return DONE
        store_u4(self.out.data + begin + EXTENT_AT, <uint32_t>(size - FACILITY_XTC))
        return DONE

    cdef Outcome make_small_tree(self, uint64_t begin, uint64_t end) noexcept nogil:
        """Gather the containers and objects between two offsets.

        A header that cannot be one ends its container, and so does an object that reaches beyond it.
        """
        cdef uint64_t at = begin, limit = end, rest
        cdef size_t depth = 0, first = self.out.count, place = 0
        cdef const uint8_t *p
        cdef FacilityXtc xtc
        cdef Level *level
        cdef Outcome outcome
        while True:
            if self.out.count - first + 2 * HEADER > LARGEST_EXTENT:
                return TOO_LARGE
            rest = limit - at
            if rest == 0:
                if depth == 0:
                    return DONE
                store_u4(self.out.data + place + 16, <uint32_t>(self.out.count - place))
                depth -= 1
                level = <Level *>self.levels.data + depth
                limit = level.limit
                place = level.place
                continue
            if rest < FACILITY_XTC:
                self.contradictions += 1
                at = limit
                continue
            p = window_reach(&self.window, at, FACILITY_XTC)
            if p == NULL:
                self.error = self.window.error
                return UNREADABLE
            xtc = facility_xtc(p)
            if facility_corrupt(&xtc, self.types):
                self.contradictions += 1
                at = limit
                continue
            if facility_type(&xtc) == FACILITY_CONTAINER:
                if not widen(&self.out, self.out.count + FACILITY_XTC):
                    return NO_MEMORY
                if xtc.extent > rest:
                    self.contradictions += 1
                    xtc.extent = <uint32_t>rest
                if xtc.damage & FACILITY_INCOMPLETE:
                    self.put_xtc(xtc.damage, xtc.log, xtc.phy, xtc.type, FACILITY_XTC)
                    at += xtc.extent
                    continue
                if not widen(&self.levels, depth + 1):
                    return NO_MEMORY
                level = <Level *>self.levels.data + depth
                level.limit = limit
                level.place = place
                depth += 1
                place = self.out.count
                limit = at + xtc.extent
                self.put_xtc(xtc.damage, xtc.log, xtc.phy, xtc.type, FACILITY_XTC)
                at += FACILITY_XTC
                continue
            if xtc.extent > rest:
                self.contradictions += 1
                at = limit
                continue
            if xtc.extent >= self.threshold and facility_type(&xtc) != FACILITY_EVR_DATA:
                if not widen(&self.out, self.out.count + PROXY):
                    return NO_MEMORY
                self.put_xtc(xtc.damage, xtc.log, xtc.phy, PROXY_TYPE, PROXY)
                self.put_word(at)
                self.put_word(at >> 32)
                self.put_word(xtc.type)
                self.put_word(xtc.extent)
                self.proxies += 1
            else:
                outcome = self.take(at, xtc.extent)
                if outcome != DONE:
                    return outcome
            at += xtc.extent

    cdef Outcome next_one(self, uint64_t offset, uint32_t extent, uint8_t what) noexcept nogil:
        """Deal with one datagram."""
        cdef Outcome outcome
        if what == MAKE_SMALL:
            outcome = self.make_small(offset, extent)
        elif what == COPY_CONFIGURE:
            outcome = self.copy_configure(offset, extent)
        else:
            outcome = self.copy(offset, <uint64_t>extent + FACILITY_XTC)
        if outcome == DONE and self.out.count >= PIECE:
            outcome = self.flush()
        return outcome

    def add(self, const uint64_t[::1] offsets not None, const uint32_t[::1] extents not None, const uint8_t[::1] what not None):
        """Copy datagrams at `offsets` whose last header words are `extents`, each in the way `what` says.

        Returns
        -------
        Outcome, int, int
            What happened; number of the datagram with which it did, and of the error (0: the file ended).
        """
        cdef int64_t at = 0, count = offsets.shape[0]
        cdef uint64_t busy
        cdef Outcome outcome = DONE
        if extents.shape[0] != count or what.shape[0] != count:
            raise ValueError("an offset, an extent and a way for each datagram")
        for at in range(count):
            if extents[at] < FACILITY_XTC:
                raise ValueError(f"datagram {at} is shorter than its header")
        at = 0
        while at < count:
            with nogil:
                busy = self.window.reads + self.writes
                while at < count and self.window.reads + self.writes - busy <= PAUSE:
                    outcome = self.next_one(offsets[at], extents[at], what[at])
                    if outcome != DONE:
                        break
                    at += 1
            if outcome != DONE:
                return outcome, at, self.error
            PyErr_CheckSignals()
        return outcome, count, 0

    def finish(self):
        """Write what is left; returns as `add`."""
        cdef Outcome outcome
        with nogil:
            outcome = self.flush()
        return outcome, 0, self.error
