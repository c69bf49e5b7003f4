"""The walk over the headers of a file: one pass, without the interpreter, giving plain tables.

Bytes are read by `pread` into one window that is used again and again (``window.h``).  Every offset is compared with the
end of its parent before it is used.  As most datagrams of a stream look like one before, the headers of recent ones are
kept: where all headers of a datagram equal those of a known one, its contents are known too.
"""

import numpy as np

from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset

include "reading.pxi"

cdef enum:
    HEADER = 40
    XTC = 20
    # Number of reads after which the interpreter is asked whether the user wants to stop.
    PAUSE = 128
    # Rows of datagrams that are given to whoever keeps them, so that they are never all in one place.
    PIECE = 131072
    MAX_PROBLEMS = 100
    # Recent shapes of datagrams are kept, by their extent, unless they have too many headers.
    OUTLINES = 64
    MAX_BONES = 1024
    LAST_TRANSITION = 12
    ID_XTC = 1
    ID_PROXY = 91
    PROXY_PAYLOAD = 16
    INCOMPLETE = 0x8000

cdef enum:
    # Bits of DatagramFlag (psanacli/xtc/headers.py).
    EMPTY_CHILD = 1
    SMALL_CHILD = 2
    LARGE_CHILD = 4
    LOOSE_BYTES = 8
    NOT_A_CONTAINER = 16
    BAD_PROXY = 32
    NOT_ENTERED = 64

cdef enum:
    # Bits of ContributionFlag.
    IS_PROXY = 1
    IS_COMPRESSED = 2
    IS_NOT_ENTERED = 4
    IS_BAD_PROXY = 8

cdef enum:
    # Problems that end a walk; those of a single datagram have the bit of their DatagramFlag.
    TRUNCATED_HEADER = 1 << 16
    TRUNCATED_DATAGRAM = 2 << 16
    BAD_EXTENT = 3 << 16
    BAD_TRANSITION = 4 << 16
    UNREADABLE = 5 << 16

cdef uint32_t COMPRESSED_BIT = 0x80000000
cdef size_t MAX_ROWS = 0x7FFFFFFF

cdef enum Outcome:
    ENDED
    PAUSED
    NO_MEMORY


cdef struct Datagram:
    uint64_t offset
    uint32_t extent
    uint32_t seconds
    uint32_t nanoseconds
    uint32_t stamp_low
    uint32_t stamp_high
    uint32_t env
    uint32_t damage
    uint32_t pattern
    uint16_t file
    uint16_t flags
    uint32_t reserved


cdef struct Contribution:
    uint32_t offset
    uint32_t extent
    uint32_t key
    uint32_t damage
    uint32_t flags


cdef struct Key:
    uint32_t log
    uint32_t phy
    uint32_t type


cdef struct Trouble:
    uint64_t offset
    uint64_t datagram
    uint64_t found
    uint64_t limit
    uint32_t kind
    uint32_t reserved


TROUBLE = np.dtype(
    {
        "names": ["offset", "datagram", "found", "limit", "kind"],
        "formats": ["<u8", "<u8", "<u8", "<u8", "<u4"],
        "itemsize": sizeof(Trouble),
    }
)


cdef struct Bone:
    # The place of a header in its datagram, and its words.
    uint32_t offset
    uint8_t xtc[XTC]


cdef struct Outline:
    # All headers inside of a datagram whose pattern is known; `span` is the offset after the last of them.
    uint32_t extent
    uint32_t pattern
    size_t span
    Column bones


cdef struct Walk:
    Window window
    uint64_t position
    uint64_t stop
    uint64_t size
    Column datagrams
    Column contributions
    Column starts
    Column hashes
    Column keys
    Column key_hashes
    Column ends
    Column troubles
    uint64_t trouble_count
    # How many problems of what was walked before are listed.
    uint64_t troubles_before
    Slots pattern_slots
    Slots key_slots
    uint32_t last_pattern
    Column bones
    Outline outlines[OUTLINES]


cdef int report(
    Walk *walk, uint32_t kind, uint64_t offset, uint64_t found, uint64_t limit
) noexcept nogil:
    """Note a problem; the one that ends the walk is kept even if there were too many before."""
    cdef Trouble *trouble
    walk.trouble_count += 1
    if walk.troubles.count + walk.troubles_before >= MAX_PROBLEMS and kind < TRUNCATED_HEADER:
        return 1
    if not widen(&walk.troubles, walk.troubles.count + 1):
        return 0
    trouble = <Trouble *>walk.troubles.data + walk.troubles.count
    walk.troubles.count += 1
    trouble.offset = offset
    trouble.datagram = walk.position
    trouble.found = found
    trouble.limit = limit
    trouble.kind = kind
    trouble.reserved = 0
    return 1


cdef int find_key(Walk *walk, const Key *key, uint32_t *row) noexcept nogil:
    """Find or enter a key; 0 when there is no memory."""
    cdef size_t at, count = walk.keys.count
    cdef Key *keys
    cdef uint64_t code = mix(mix(mix(key.log) + key.phy) + key.type)
    if 2 * (count + 1) > walk.key_slots.mask and not enlarge(&walk.key_slots, &walk.key_hashes):
        return 0
    keys = <Key *>walk.keys.data
    at = code & walk.key_slots.mask
    while walk.key_slots.slot[at]:
        row[0] = walk.key_slots.slot[at] - 1
        if memcmp(keys + row[0], key, sizeof(Key)) == 0:
            return 1
        at = (at + 1) & walk.key_slots.mask
    if count >= MAX_ROWS or not widen(&walk.keys, count + 1) or not widen(&walk.key_hashes, count + 1):
        return 0
    (<Key *>walk.keys.data)[count] = key[0]
    (<uint64_t *>walk.key_hashes.data)[count] = code
    walk.keys.count = walk.key_hashes.count = count + 1
    walk.key_slots.slot[at] = <uint32_t>(count + 1)
    row[0] = <uint32_t>count
    return 1


cdef int find_pattern(Walk *walk, size_t fresh, uint32_t *row) noexcept nogil:
    """Find the pattern of the `fresh` contributions behind the known ones, or enter it; 0 when there is no memory."""
    cdef size_t at, i, begin, count = walk.hashes.count, known = walk.contributions.count
    cdef const Contribution *contributions = <Contribution *>walk.contributions.data
    cdef const uint64_t *starts = <uint64_t *>walk.starts.data
    cdef const Contribution *c
    cdef uint64_t code = fresh
    for i in range(fresh):
        c = contributions + known + i
        code = mix(code + (<uint64_t>c.offset << 32 | c.extent))
        code = mix(code + (<uint64_t>c.key << 32 | c.damage))
        code = mix(code + c.flags)
    if 2 * (count + 1) > walk.pattern_slots.mask and not enlarge(&walk.pattern_slots, &walk.hashes):
        return 0
    at = code & walk.pattern_slots.mask
    while walk.pattern_slots.slot[at]:
        row[0] = walk.pattern_slots.slot[at] - 1
        begin = starts[row[0]]
        if (
            (<uint64_t *>walk.hashes.data)[row[0]] == code
            and starts[row[0] + 1] - begin == fresh
            and (fresh == 0 or memcmp(contributions + begin, contributions + known, fresh * sizeof(Contribution)) == 0)
        ):
            return 1
        at = (at + 1) & walk.pattern_slots.mask
    if count >= MAX_ROWS or not widen(&walk.hashes, count + 1) or not widen(&walk.starts, count + 2):
        return 0
    (<uint64_t *>walk.hashes.data)[count] = code
    walk.hashes.count = count + 1
    walk.contributions.count = known + fresh
    (<uint64_t *>walk.starts.data)[count + 1] = known + fresh
    walk.starts.count = count + 2
    walk.pattern_slots.slot[at] = <uint32_t>(count + 1)
    row[0] = <uint32_t>count
    return 1


cdef inline Outline *outline_of(Walk *walk, uint32_t extent) noexcept nogil:
    return &walk.outlines[(extent >> 2 ^ extent >> 8) % OUTLINES]


cdef bint looks_like(Walk *walk, const Outline *outline, const Datagram *datagram) noexcept nogil:
    """Say whether a datagram has the same headers at the same places as one that was walked before.

    Where the headers are is known here, so that the processor need not wait for one to find the next.
    """
    cdef const Bone *bones = <Bone *>outline.bones.data
    cdef const uint8_t *p
    cdef uint64_t differences = 0
    cdef size_t i
    if outline.extent != datagram.extent:
        return False
    if outline.span > SMALL_WINDOW and not window_holds(&walk.window, datagram.offset, outline.span):
        return False
    p = window_reach(&walk.window, datagram.offset, outline.span)
    if p == NULL:
        return False
    walk.window.accesses += outline.bones.count
    for i in range(outline.bones.count):
        differences |= differ_u4x5(p + bones[i].offset, bones[i].xtc)
    return differences == 0


cdef int note_bone(Walk *walk, uint64_t offset, const uint8_t *p) noexcept nogil:
    """Remember a header for the outline of this datagram."""
    cdef Bone *bone
    if walk.bones.count > MAX_BONES:
        return 1
    if not widen(&walk.bones, walk.bones.count + 1):
        return 0
    bone = <Bone *>walk.bones.data + walk.bones.count
    bone.offset = <uint32_t>offset
    memcpy(bone.xtc, p, XTC)
    walk.bones.count += 1
    return 1


cdef void keep_outline(Walk *walk, const Datagram *datagram) noexcept nogil:
    """Keep the headers of a datagram that was walked, in place of those of an earlier one."""
    cdef Outline *outline = outline_of(walk, datagram.extent)
    cdef Column bones = outline.bones
    if walk.bones.count > MAX_BONES:
        return
    outline.extent = datagram.extent
    outline.pattern = datagram.pattern
    outline.bones = walk.bones
    outline.span = HEADER
    if walk.bones.count:
        outline.span = (<Bone *>walk.bones.data)[walk.bones.count - 1].offset + XTC
    walk.bones = bones


cdef int look_inside(Walk *walk, uint64_t begin, uint64_t end, Datagram *datagram) noexcept nogil:
    """List what the payload of one datagram holds; 0 when there is no memory, -1 when the file cannot be read.

    The new contributions are written behind those of the known patterns, and stay there only if the pattern is new.  As
    long as they agree with the pattern of the datagram before, no table has to be searched.
    """
    cdef uint64_t at = begin, limit = end, rest
    cdef size_t depth = 0, fresh = 0, same = 0, known = walk.contributions.count
    cdef size_t like = 0, like_count = 0
    cdef uint32_t extent, kind, stands_for
    cdef const uint8_t *p
    cdef Contribution *c
    cdef const Contribution *before
    cdef const Key *known_key
    cdef Key key
    walk.bones.count = 0
    if walk.hashes.count:
        like = (<uint64_t *>walk.starts.data)[walk.last_pattern]
        like_count = (<uint64_t *>walk.starts.data)[walk.last_pattern + 1] - like
    while True:
        if at == limit:
            if depth == 0:
                break
            depth -= 1
            limit = (<uint64_t *>walk.ends.data)[depth]
            continue
        rest = limit - at
        kind = 0
        extent = 0
        if rest < XTC:
            kind = LOOSE_BYTES
        else:
            p = window_reach(&walk.window, at, XTC)
            if p == NULL:
                return -1
            extent = load_u4(p + 16)
            if extent == 0:
                kind = EMPTY_CHILD
            elif extent < XTC:
                kind = SMALL_CHILD
            elif extent > rest:
                kind = LARGE_CHILD
        if kind:
            datagram.flags |= kind
            if not report(walk, kind, at, extent, rest):
                return 0
            at = limit
            continue
        if not note_bone(walk, at - datagram.offset, p):
            return 0
        key.log = load_u4(p + 4)
        key.phy = load_u4(p + 8)
        key.type = load_u4(p + 12)
        if (key.type & 0xFFFF) == ID_XTC and not load_u4(p) & INCOMPLETE:
            if not widen(&walk.ends, depth + 1):
                return 0
            (<uint64_t *>walk.ends.data)[depth] = limit
            depth += 1
            limit = at + extent
            at += XTC
            continue
        if not widen(&walk.contributions, known + fresh + 1):
            return 0
        c = <Contribution *>walk.contributions.data + known + fresh
        c.offset = <uint32_t>(at - datagram.offset)
        c.extent = extent
        c.damage = load_u4(p)
        c.flags = 0
        if (key.type & 0xFFFF) == ID_XTC:
            c.flags = IS_NOT_ENTERED
        elif (key.type & 0xFFFF) == ID_PROXY:
            # What a proxy stands for is not in its header, so that this datagram is no model for others.
            walk.bones.count = MAX_BONES + 1
            c.flags = IS_BAD_PROXY
            if extent >= XTC + PROXY_PAYLOAD:
                p = window_reach(&walk.window, at, XTC + PROXY_PAYLOAD)
                if p == NULL:
                    return -1
                stands_for = load_u4(p + 28) & 0xFFFF
                if load_u4(p + 32) >= XTC and not load_u4(p + 24) >> 31 and stands_for != ID_XTC and stands_for != ID_PROXY:
                    key.type = load_u4(p + 28)
                    c.extent = load_u4(p + 32)
                    c.flags = IS_PROXY
            if c.flags == IS_BAD_PROXY:
                datagram.flags |= BAD_PROXY
                if not report(walk, BAD_PROXY, at, extent, rest):
                    return 0
        if key.type & COMPRESSED_BIT:
            c.flags |= IS_COMPRESSED
            key.type &= ~COMPRESSED_BIT
        before = NULL
        if fresh < like_count:
            before = <Contribution *>walk.contributions.data + like + fresh
            known_key = <Key *>walk.keys.data + before.key
            if known_key.log != key.log or known_key.phy != key.phy or known_key.type != key.type:
                before = NULL
        if before != NULL:
            c.key = before.key
            if same == fresh and memcmp(before, c, sizeof(Contribution)) == 0:
                same += 1
        elif not find_key(walk, &key, &c.key):
            return 0
        fresh += 1
        at += extent
    if walk.hashes.count and same == fresh and fresh == like_count:
        datagram.pattern = walk.last_pattern
    elif not find_pattern(walk, fresh, &datagram.pattern):
        return 0
    if not datagram.flags:
        keep_outline(walk, datagram)
    return 1


cdef Outcome unreadable(Walk *walk, uint64_t offset) noexcept nogil:
    """End at a place that cannot be read, though the size of the file says that it is there."""
    return ENDED if report(walk, UNREADABLE, offset, <uint64_t>walk.window.error, walk.size) else NO_MEMORY


cdef Outcome run(Walk *walk) noexcept nogil:
    """Walk until the end, a problem that ends the file, or the next pause."""
    cdef const uint8_t *p
    cdef Datagram *row
    cdef const Outline *outline
    cdef uint64_t at, rest, reads = walk.window.reads
    cdef uint32_t extent, transition
    cdef int done
    while walk.position < walk.stop:
        if walk.window.reads - reads > PAUSE or walk.datagrams.count >= PIECE:
            return PAUSED
        at = walk.position
        rest = walk.size - at
        if rest < HEADER:
            return ENDED if report(walk, TRUNCATED_HEADER, at, rest, HEADER) else NO_MEMORY
        p = window_reach(&walk.window, at, HEADER)
        if p == NULL:
            return unreadable(walk, at)
        extent = load_u4(p + 36)
        transition = load_u4(p + 8) >> 24 & 0xF
        if extent < XTC:
            return ENDED if report(walk, BAD_EXTENT, at, extent, XTC) else NO_MEMORY
        if transition > LAST_TRANSITION:
            return ENDED if report(walk, BAD_TRANSITION, at, transition, LAST_TRANSITION) else NO_MEMORY
        if <uint64_t>extent + XTC > rest:
            return ENDED if report(walk, TRUNCATED_DATAGRAM, at, <uint64_t>extent + XTC, rest) else NO_MEMORY
        if not widen(&walk.datagrams, walk.datagrams.count + 1):
            return NO_MEMORY
        row = <Datagram *>walk.datagrams.data + walk.datagrams.count
        row.offset = at
        row.extent = extent
        row.nanoseconds = load_u4(p)
        row.seconds = load_u4(p + 4)
        row.stamp_low = load_u4(p + 8)
        row.stamp_high = load_u4(p + 12)
        row.env = load_u4(p + 16)
        row.damage = load_u4(p + 20)
        row.file = 0
        row.flags = 0
        row.reserved = 0
        at += HEADER
        rest = walk.position + XTC + extent
        if row.damage & INCOMPLETE:
            row.flags |= NOT_ENTERED
            at = rest
        elif (load_u4(p + 32) & 0xFFFF) != ID_XTC:
            row.flags |= NOT_A_CONTAINER
            if not report(walk, NOT_A_CONTAINER, walk.position, load_u4(p + 32), ID_XTC):
                return NO_MEMORY
            at = rest
        outline = outline_of(walk, extent)
        if not row.flags and looks_like(walk, outline, row):
            row.pattern = outline.pattern
            done = 1
        else:
            done = look_inside(walk, at, rest, row)
        if done == 0:
            return NO_MEMORY
        if done < 0:
            return unreadable(walk, walk.position)
        walk.last_pattern = row.pattern
        walk.datagrams.count += 1
        walk.position = rest
    return ENDED


cdef object taken(const Column *column, object dtype):
    """Copy a column into an array."""
    cdef uint8_t[::1] view
    array = np.empty(column.count, dtype)
    if array.itemsize != column.width:
        raise AssertionError(f"rows of {dtype} are not {column.width} bytes long")
    if column.count:
        view = array.view(np.uint8)
        memcpy(&view[0], column.data, column.count * column.width)
    return array


cdef int enter_all(
    Walk *walk,
    const uint8_t *keys,
    size_t key_count,
    const uint8_t *contributions,
    const int64_t *starts,
    size_t pattern_count,
) noexcept nogil:
    """Enter keys and patterns that are known from before; 0 when there is no memory, -1 when one is there twice."""
    cdef size_t i, fresh
    cdef uint32_t row
    cdef Key key
    for i in range(key_count):
        memcpy(&key, keys + i * sizeof(Key), sizeof(Key))
        if not find_key(walk, &key, &row):
            return 0
        if row != i:
            return -1
    for i in range(pattern_count):
        fresh = <size_t>(starts[i + 1] - starts[i])
        if not widen(&walk.contributions, walk.contributions.count + fresh):
            return 0
        memcpy(
            <Contribution *>walk.contributions.data + walk.contributions.count,
            contributions + starts[i] * sizeof(Contribution),
            fresh * sizeof(Contribution),
        )
        if not find_pattern(walk, fresh, &row):
            return 0
        if row != i:
            return -1
    return 1


cdef void enter_known(Walk *walk, known) except *:
    """Enter what is known from before: keys, contributions, pattern starts and the number of listed problems."""
    keys, contributions, starts, listed = known
    if keys.itemsize != sizeof(Key) or contributions.itemsize != sizeof(Contribution):
        raise ValueError("the tables have other rows")
    if len(starts) < 1 or starts[0] != 0 or starts[-1] > len(contributions) or (np.diff(starts) < 0).any():
        raise ValueError("the patterns do not fit to the contributions")
    if len(contributions) and int(contributions["key"].max()) >= len(keys):
        raise ValueError("a key is out of range")
    cdef const uint8_t[::1] key_bytes = np.ascontiguousarray(keys).view(np.uint8)
    cdef const uint8_t[::1] bytes_ = np.ascontiguousarray(contributions).view(np.uint8)
    cdef const int64_t[::1] at = np.ascontiguousarray(starts, np.int64)
    cdef size_t key_count = len(keys), pattern_count = len(starts) - 1
    cdef const uint8_t *first_key = &key_bytes[0] if key_count else NULL
    cdef const uint8_t *first = &bytes_[0] if bytes_.shape[0] else NULL
    cdef int done
    with nogil:
        done = enter_all(walk, first_key, key_count, first, &at[0], pattern_count)
    if done == 0:
        raise MemoryError
    if done < 0:
        raise ValueError("a key or pattern is there twice")
    walk.troubles_before = listed


cdef object walk_all(Walk *walk, dtypes, rows, known=None):
    cdef Outcome outcome = PAUSED
    cdef int i
    datagram, contribution, key = dtypes
    walk.datagrams.width = sizeof(Datagram)
    walk.contributions.width = sizeof(Contribution)
    walk.starts.width = walk.hashes.width = walk.key_hashes.width = walk.ends.width = sizeof(uint64_t)
    walk.keys.width = sizeof(Key)
    walk.troubles.width = sizeof(Trouble)
    walk.bones.width = sizeof(Bone)
    for i in range(OUTLINES):
        walk.outlines[i].bones.width = sizeof(Bone)
    try:
        if not widen(&walk.starts, 1):
            raise MemoryError
        (<uint64_t *>walk.starts.data)[0] = 0
        walk.starts.count = 1
        if known is not None:
            enter_known(walk, known)
        while outcome == PAUSED:
            with nogil:
                outcome = run(walk)
            PyErr_CheckSignals()
            if outcome != NO_MEMORY and (outcome == ENDED or walk.datagrams.count >= PIECE):
                rows.add(taken(&walk.datagrams, datagram))
                walk.datagrams.count = 0
        if outcome == NO_MEMORY:
            raise MemoryError("no memory for the table of datagrams")
        return (
            taken(&walk.starts, np.dtype("<i8")),
            taken(&walk.contributions, contribution),
            taken(&walk.keys, key),
            walk.position,
            taken(&walk.troubles, TROUBLE),
            walk.trouble_count,
        )
    finally:
        free(walk.datagrams.data)
        free(walk.contributions.data)
        free(walk.starts.data)
        free(walk.hashes.data)
        free(walk.keys.data)
        free(walk.key_hashes.data)
        free(walk.ends.data)
        free(walk.troubles.data)
        free(walk.bones.data)
        for i in range(OUTLINES):
            free(walk.outlines[i].bones.data)
        free(walk.pattern_slots.slot)
        free(walk.key_slots.slot)


def walk_descriptor(int descriptor, uint64_t start, uint64_t stop, uint64_t size, dtypes, rows, known=None):
    """Walk an open file of `size` bytes over the datagrams that begin at `start` or later, before `stop`.

    `known` are keys, contributions and pattern starts of what is before `start`, and how many problems of it are listed:
    the arrays that are given back then go on where those end, and the rows of datagrams and problems are those behind.
    `dtypes` are those of datagram, contribution and key rows.  The rows of datagrams go to `rows.add`, piece by piece.
    Returns the arrays of pattern starts, contributions and keys, the offset after the last whole datagram, the array of problems, and their true number.
    """
    cdef Walk walk
    memset(&walk, 0, sizeof(Walk))
    walk.position = start
    walk.stop = stop
    walk.size = size
    walk.window.fd = descriptor
    walk.window.want = SMALL_WINDOW
    walk.window.own = <uint8_t *>malloc(LARGE_WINDOW)
    if walk.window.own == NULL:
        raise MemoryError
    walk.window.data = walk.window.own
    try:
        return walk_all(&walk, dtypes, rows, known)
    finally:
        free(walk.window.own)


def walk_memory(const uint8_t[::1] buffer, dtypes, rows):
    """Walk the datagrams in a buffer; returns the same as `walk_descriptor`."""
    cdef Walk walk
    memset(&walk, 0, sizeof(Walk))
    walk.size = walk.stop = walk.window.length = buffer.shape[0]
    walk.window.fd = -1
    if walk.size:
        walk.window.data = &buffer[0]
    return walk_all(&walk, dtypes, rows)
