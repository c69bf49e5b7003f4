"""Building of events from a table of headers: order within a stream, merge of the streams, groups, and what a group does.

The rules are those of the facility's reader, including the order that its priority queue gives to datagrams of the
same instant; a recording of that reader is thus met datagram by datagram.
"""

import numpy as np

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memmove

DEF DAQ_QUEUE = 20
DEF CONTROL_QUEUE = 40
DEF MAX_FIDUCIALS = 131040
DEF SPLIT = 2

# The datagram itself is marked as incomplete; a bit of psanacli.xtc.DatagramFlag.
DEF NOT_ENTERED = 64

DEF MAP = 2
DEF CONFIGURE = 4
DEF BEGIN_RUN = 6
DEF END_RUN = 7
DEF BEGIN_STEP = 8
DEF END_STEP = 9
DEF ENABLE = 10
DEF DISABLE = 11
DEF L1ACCEPT = 12

# Values of psanacli.run.tables.Action.
DEF ACT_NOTHING = 0
DEF ACT_BEGIN_JOB = 1
DEF ACT_CONFIGURE = 2
DEF ACT_BEGIN_RUN = 3
DEF ACT_BEGIN_STEP = 4
DEF ACT_EVENT = 5
DEF ACT_END_STEP = 6
DEF ACT_END_RUN = 7
DEF ACT_TRIMMED = 8
DEF ACT_EPICS_ONLY = 9
DEF ACT_SKIPPED = 10
DEF ACT_LIMIT = 11

# Bits of psanacli.run.tables.EventFlag.
DEF HAS_DAQ = 1
DEF HAS_CONTROL = 2
DEF IS_TRIMMED = 4
DEF IS_DAMAGED = 8
DEF IS_SPLIT = 16


include "rows.pxi"

# Rows are numbers of 32 bits.
DEF MOST = 0x7FFFFFFF


GROUP = np.dtype(
    {
        "names": ["first", "event", "count", "run", "service", "action"],
        "formats": ["<i4", "<i4", "<u4", "<u4", "u1", "u1"],
        "offsets": [0, 4, 8, 12, 16, 17],
        "itemsize": sizeof(Group),
    }
)


EVENT = np.dtype(
    {
        "names": [
            "group", "step", "run", "seconds", "nanoseconds", "ticks", "fiducials", "vector", "control", "flags"
        ],
        "formats": ["<i4", "<i4", "<u4", "<u4", "<u4", "<u4", "<u4", "<u2", "u1", "u1"],
        "offsets": [0, 4, 8, 12, 16, 20, 24, 28, 30, 31],
        "itemsize": sizeof(Event),
    }
)


cdef struct Stream:
    # Rows of the stream in the order in which they are given out, their block numbers, and the current one.
    int32_t *rows
    uint32_t *blocks
    int64_t count
    int64_t at
    uint32_t number
    bint control


cdef struct Counts:
    int64_t late
    int64_t split
    int64_t repeated
    int64_t dropped
    int64_t bad_fiducials
    int64_t unmatched_control
    int64_t unmatched_daq
    int64_t repeated_transitions


cdef inline uint32_t service_of(const Datagram *datagram) noexcept nogil:
    return datagram.stamp_low >> 24 & 0xF


cdef inline uint32_t fiducials_of(const Datagram *datagram) noexcept nogil:
    return datagram.stamp_high & 0x1FFFF


cdef inline uint64_t clock_of(const Datagram *datagram) noexcept nogil:
    return <uint64_t>datagram.seconds << 32 | datagram.nanoseconds


cdef int64_t read_ahead(
    const Datagram *table, int64_t first, int64_t last, bint control, int32_t *rows, Counts *counts
) noexcept nogil:
    """Put rows `first` to `last` of a stream in order, as far as a short queue can; return how many remain.

    The queue is the end of `rows`: what stands before `head` has been taken out.
    """
    cdef int64_t size = CONTROL_QUEUE if control else DAQ_QUEUE
    cdef int64_t head = 0, tail = 0, row = first, place
    cdef const Datagram *datagram
    cdef const Datagram *other
    cdef uint64_t clock
    while row < last:
        if tail - head >= size:
            head += 1
            continue
        datagram = table + row
        clock = clock_of(datagram)
        place = tail
        if datagram.damage & SPLIT:
            place = head
            while place < tail and clock_of(table + rows[place]) != clock:
                place += 1
            if place < tail:
                counts.split += 1
                memmove(rows + place + 1, rows + place, (tail - place) * sizeof(int32_t))
                rows[place] = <int32_t>row
                tail += 1
                row += 1
                continue
        if service_of(datagram) == L1ACCEPT:
            while place > head:
                other = table + rows[place - 1]
                if service_of(other) != L1ACCEPT or clock_of(other) <= clock:
                    break
                place -= 1
            if place > head and service_of(table + rows[place - 1]) == L1ACCEPT and clock_of(table + rows[place - 1]) == clock:
                if control:
                    # Both go; when the equal one is not the last, the one behind it goes in its place.
                    counts.dropped += 2
                    if place == tail:
                        place -= 1
                    memmove(rows + place, rows + place + 1, (tail - place - 1) * sizeof(int32_t))
                    tail -= 1
                    row += 1
                    continue
                counts.repeated += 1
            if place < tail:
                counts.late += 1
                memmove(rows + place + 1, rows + place, (tail - place) * sizeof(int32_t))
        rows[place] = <int32_t>row
        tail += 1
        row += 1
    return tail


cdef void drop_and_number(const Datagram *table, Stream *stream, Counts *counts) noexcept nogil:
    """Leave out what never is given out, and give each row its block: the number of ends of steps up to it."""
    cdef int64_t i, kept = 0
    cdef uint32_t service, block = 0
    cdef bint after_end = False
    cdef const Datagram *datagram
    for i in range(stream.count):
        datagram = table + stream.rows[i]
        service = service_of(datagram)
        if i > 0:
            if service == ENABLE or service == DISABLE:
                continue
            if service == L1ACCEPT and fiducials_of(datagram) >= MAX_FIDUCIALS:
                counts.bad_fiducials += 1
                continue
        if service == END_STEP:
            if not after_end:
                block += 1
            after_end = True
        else:
            after_end = False
        stream.rows[kept] = stream.rows[i]
        stream.blocks[kept] = block
        kept += 1
    stream.count = kept


cdef inline bint is_later(
    const Datagram *a, uint32_t block_a, const Datagram *b, uint32_t block_b, int64_t max_difference
) noexcept nogil:
    """Return whether `a` has to come after `b`."""
    cdef bint event_a = service_of(a) == L1ACCEPT
    cdef bint event_b = service_of(b) == L1ACCEPT
    cdef int64_t difference
    cdef uint32_t fiducials_a, fiducials_b
    if event_a and not event_b:
        return block_a >= block_b
    if event_b and not event_a:
        return block_a > block_b
    if block_a != block_b:
        return block_a > block_b
    if not event_a:
        return clock_of(a) > clock_of(b)
    difference = <int64_t>a.seconds - <int64_t>b.seconds
    if difference >= max_difference:
        return True
    if -difference >= max_difference:
        return False
    fiducials_a = fiducials_of(a)
    fiducials_b = fiducials_of(b)
    if fiducials_a == fiducials_b:
        return False
    return (fiducials_a % MAX_FIDUCIALS + MAX_FIDUCIALS - fiducials_b % MAX_FIDUCIALS) % MAX_FIDUCIALS < MAX_FIDUCIALS // 2


cdef inline bint stream_is_later(const Datagram *table, const Stream *a, const Stream *b, int64_t max_difference) noexcept nogil:
    if a.at >= a.count:
        return b.at < b.count
    if b.at >= b.count:
        return False
    return is_later(table + a.rows[a.at], a.blocks[a.at], table + b.rows[b.at], b.blocks[b.at], max_difference)


# The binary heap of std::priority_queue as libstdc++ has it: which of several equal ones comes first is part of the rule.
# A stream that has ended stays in the heap, later than all others: its place decides, too.

cdef void sift_up(
    const Datagram *table, Stream *streams, int *heap, int hole, int top, int value, int64_t max_difference
) noexcept nogil:
    cdef int parent = (hole - 1) // 2
    while hole > top and stream_is_later(table, streams + heap[parent], streams + value, max_difference):
        heap[hole] = heap[parent]
        hole = parent
        parent = (hole - 1) // 2
    heap[hole] = value


cdef void take_top(const Datagram *table, Stream *streams, int *heap, int count, int64_t max_difference) noexcept nogil:
    """Remove ``heap[0]``; `count` is the number before."""
    cdef int length = count - 1
    cdef int value, hole = 0, child = 0
    if length == 0:
        return
    value = heap[length]
    while child < (length - 1) // 2:
        child = 2 * (child + 1)
        if stream_is_later(table, streams + heap[child], streams + heap[child - 1], max_difference):
            child -= 1
        heap[hole] = heap[child]
        hole = child
    if (length & 1) == 0 and child == (length - 2) // 2:
        child = 2 * (child + 1)
        heap[hole] = heap[child - 1]
        hole = child - 1
    sift_up(table, streams, heap, hole, 0, value, max_difference)


cdef int64_t merge(
    const Datagram *table,
    Stream *streams,
    int count,
    int *heap,
    int64_t max_difference,
    int32_t *members,
    Group *groups,
    uint32_t *numbers,
    Counts *counts,
) noexcept nogil:
    """Merge the streams and join what is of the same event; return the number of groups."""
    cdef int s
    cdef int64_t member = 0, group = -1, row, place
    cdef const Datagram *datagram
    cdef const Datagram *first = NULL
    cdef bint first_control = False, same
    cdef int64_t difference
    cdef uint32_t number
    for s in range(count):
        sift_up(table, streams, heap, s, 0, s, max_difference)
    while count > 0 and streams[heap[0]].at < streams[heap[0]].count:
        s = heap[0]
        row = streams[s].rows[streams[s].at]
        take_top(table, streams, heap, count, max_difference)
        streams[s].at += 1
        sift_up(table, streams, heap, count - 1, 0, s, max_difference)
        datagram = table + row
        same = False
        if first != NULL:
            if service_of(first) == L1ACCEPT and service_of(datagram) == L1ACCEPT:
                difference = <int64_t>first.seconds - <int64_t>datagram.seconds
                same = (
                    (first_control or streams[s].control)
                    and fiducials_of(first) == fiducials_of(datagram)
                    and -max_difference < difference < max_difference
                )
            elif service_of(first) != L1ACCEPT:
                same = service_of(first) == service_of(datagram) and clock_of(first) == clock_of(datagram)
        if not same:
            group += 1
            groups[group].first = <int32_t>member
            groups[group].count = 0
            groups[group].reserved = 0
            first = datagram
            first_control = streams[s].control
        # Members of a group stand in the order of the streams; those of one stream in the order of arrival.
        number = streams[s].number
        place = member
        while place > groups[group].first and numbers[place - 1] > number:
            members[place] = members[place - 1]
            numbers[place] = numbers[place - 1]
            place -= 1
        members[place] = <int32_t>row
        numbers[place] = number
        groups[group].count += 1
        member += 1
    return group + 1


cdef void act(
    const Datagram *table,
    const int32_t *members,
    const uint32_t *numbers,
    Group *groups,
    int64_t count,
    const uint8_t *only_epics,
    uint32_t first_control,
    bint accept_only,
    bint skip_epics,
    int64_t skip,
    int64_t limit,
    Counts *counts,
) noexcept nogil:
    """Decide what each group does, and number the events."""
    cdef int64_t g, m, end, event = 0, events = 0
    cdef uint64_t clock
    cdef uint64_t last[16]
    cdef bint known[16]
    cdef bint started = False, trimmed, has_daq, epics
    cdef uint32_t service, run = 0
    cdef Group *group
    cdef int s
    for s in range(16):
        known[s] = False
        last[s] = 0
    for g in range(count):
        group = groups + g
        end = <int64_t>group.first + group.count
        service = service_of(table + members[group.first])
        clock = clock_of(table + members[group.first])
        group.service = <uint8_t>service
        group.action = ACT_NOTHING
        group.event = -1
        group.run = run
        if not started:
            if service == MAP:
                continue
            started = True
            if service == CONFIGURE:
                known[service] = True
                last[service] = clock
                group.action = ACT_BEGIN_JOB
                continue
        if service == L1ACCEPT:
            trimmed = accept_only
            has_daq = False
            epics = skip_epics
            for m in range(group.first, end):
                if numbers[m] < first_control:
                    has_daq = True
                    if table[members[m]].env >> 31 == 0:
                        trimmed = False
                # A datagram whose contents contradict the format may have held more than was found.
                if not only_epics[table[members[m]].pattern] or table[members[m]].flags & ~NOT_ENTERED:
                    epics = False
            if trimmed and has_daq:
                group.action = ACT_TRIMMED
            elif epics:
                group.action = ACT_EPICS_ONLY
            elif limit >= 0 and events >= skip + limit:
                group.action = ACT_LIMIT
                for m in range(g + 1, count):
                    groups[m].service = <uint8_t>service_of(table + members[groups[m].first])
                    groups[m].action = ACT_NOTHING
                    groups[m].event = -1
                    groups[m].run = run
                return
            else:
                if events < skip:
                    group.action = ACT_SKIPPED
                else:
                    group.action = ACT_EVENT
                    group.event = <int32_t>event
                    event += 1
                    if numbers[group.first] >= first_control:
                        counts.unmatched_control += 1
                    elif numbers[end - 1] < first_control:
                        counts.unmatched_daq += 1
                events += 1
            continue
        if service != CONFIGURE and service != BEGIN_RUN and service != END_RUN and service != BEGIN_STEP and service != END_STEP:
            continue
        if known[service] and last[service] == clock:
            counts.repeated_transitions += 1
            continue
        known[service] = True
        last[service] = clock
        if service == CONFIGURE:
            group.action = ACT_CONFIGURE
        elif service == BEGIN_RUN:
            group.action = ACT_BEGIN_RUN
            for m in range(group.first, end):
                if table[members[m]].env > 0:
                    run = table[members[m]].env
                    break
            group.run = run
        elif service == BEGIN_STEP:
            group.action = ACT_BEGIN_STEP
        elif service == END_STEP:
            group.action = ACT_END_STEP
        else:
            group.action = ACT_END_RUN
            run = 0


cdef inline void take_stamp(Event *event, const Datagram *datagram) noexcept nogil:
    """Give an event the clock and the stamp of a datagram."""
    event.seconds = datagram.seconds
    event.nanoseconds = datagram.nanoseconds
    event.ticks = datagram.stamp_low & 0xFFFFFF
    event.control = <uint8_t>(datagram.stamp_low >> 24)
    event.fiducials = datagram.stamp_high & 0x1FFFF
    event.vector = <uint16_t>(datagram.stamp_high >> 17)


cdef int64_t list_events(
    const Datagram *table,
    const int32_t *members,
    const uint32_t *numbers,
    const Group *groups,
    int64_t count,
    uint32_t first_control,
    uint32_t run_number,
    Event *events,
) noexcept nogil:
    """Fill the event table, steps excepted; return the number of events."""
    cdef int64_t g, m, found = 0
    cdef const Datagram *datagram
    cdef Event *event
    cdef uint8_t flags
    for g in range(count):
        if groups[g].action != ACT_EVENT:
            continue
        datagram = table + members[groups[g].first]
        event = events + found
        found += 1
        event.group = <int32_t>g
        event.step = 0
        event.run = groups[g].run if groups[g].run > 0 else run_number
        take_stamp(event, datagram)
        flags = 0
        for m in range(groups[g].first, <int64_t>groups[g].first + groups[g].count):
            datagram = table + members[m]
            if datagram.damage:
                flags |= IS_DAMAGED
            if numbers[m] >= first_control:
                flags |= HAS_CONTROL
                continue
            flags |= HAS_DAQ
            if datagram.env >> 31:
                flags |= IS_TRIMMED
            if datagram.damage & SPLIT:
                flags |= IS_SPLIT
        event.flags = flags
    return found


def build(
    datagrams not None,
    const int64_t[::1] starts not None,
    const uint32_t[::1] numbers not None,
    const uint8_t[::1] only_epics not None,
    *,
    int64_t max_difference,
    uint32_t first_control,
    uint32_t first_control_content,
    bint accept_only,
    bint skip_epics,
    int64_t skip,
    int64_t limit,
    uint32_t run_number,
    room not None,
):
    """Build the groups and events of a run from its datagram table.

    See `psanacli.run.tables.build_groups`, which checks the arguments.  `room(count, dtype)` gives arrays that may be as
    long as the run.
    """
    cdef Py_ssize_t streams_count = numbers.shape[0]
    cdef int64_t total = datagrams.shape[0]
    if datagrams.dtype.itemsize != sizeof(Datagram) or not datagrams.flags.c_contiguous:
        raise ValueError("the table is not a contiguous datagram table")
    if starts.shape[0] != streams_count + 1 or starts[0] != 0 or starts[streams_count] != total:
        raise ValueError("the streams do not cover the table")
    if total > MOST:
        raise ValueError("more datagrams than rows can count")
    cdef Py_ssize_t i
    for i in range(streams_count):
        if starts[i + 1] < starts[i]:
            raise ValueError("the streams do not cover the table")
    if total and int(datagrams["pattern"].max()) >= only_epics.shape[0]:
        raise ValueError("a pattern is out of range")
    members_array = room(max(total, 1), np.int32)
    groups_array = room(max(total, 1), GROUP)
    events_array = room(max(total, 1), EVENT)
    scratch_array = room(3 * (total + 1), np.uint32)
    cdef uint32_t[::1] scratch = scratch_array
    cdef int32_t[::1] members = members_array
    cdef const uint8_t[::1] table_bytes = datagrams.view(np.uint8).reshape(-1)
    cdef uint8_t[::1] group_bytes = groups_array.view(np.uint8).reshape(-1)
    cdef const Datagram *table = <const Datagram *>&table_bytes[0] if total else NULL
    cdef Group *groups = <Group *>&group_bytes[0]
    cdef uint8_t[::1] event_bytes = events_array.view(np.uint8).reshape(-1)
    cdef Event *events = <Event *>&event_bytes[0]
    cdef Counts counts
    cdef Stream *streams = <Stream *>malloc((streams_count + 1) * sizeof(Stream))
    cdef int *heap = <int *>malloc((streams_count + 1) * sizeof(int))
    cdef int32_t *rows = <int32_t *>&scratch[0]
    cdef uint32_t *blocks = &scratch[total + 1]
    cdef uint32_t *member_numbers = &scratch[2 * (total + 1)]
    cdef int64_t group_count = 0, member_count = 0, event_count = 0
    try:
        if streams == NULL or heap == NULL:
            raise MemoryError
        with nogil:
            counts.late = counts.split = counts.repeated = counts.dropped = counts.bad_fiducials = 0
            counts.unmatched_control = counts.unmatched_daq = counts.repeated_transitions = 0
            for i in range(streams_count):
                streams[i].rows = rows + starts[i]
                streams[i].blocks = blocks + starts[i]
                streams[i].at = 0
                streams[i].number = numbers[i]
                streams[i].control = numbers[i] >= first_control
                streams[i].count = read_ahead(
                    table, starts[i], starts[i + 1], streams[i].control, streams[i].rows, &counts
                )
                drop_and_number(table, streams + i, &counts)
                member_count += streams[i].count
            group_count = merge(
                table, streams, <int>streams_count, heap, max_difference, &members[0], groups, member_numbers, &counts
            )
            act(
                table,
                &members[0],
                member_numbers,
                groups,
                group_count,
                &only_epics[0] if only_epics.shape[0] else NULL,
                first_control_content,
                accept_only,
                skip_epics,
                skip,
                limit,
                &counts,
            )
            event_count = list_events(
                table, &members[0], member_numbers, groups, group_count, first_control_content, run_number, events
            )
    finally:
        free(streams)
        free(heap)
    tally = {
        "late": counts.late,
        "split": counts.split,
        "repeated": counts.repeated,
        "dropped": counts.dropped,
        "bad_fiducials": counts.bad_fiducials,
        "unmatched_control": counts.unmatched_control,
        "unmatched_daq": counts.unmatched_daq,
        "repeated_transitions": counts.repeated_transitions,
    }
    return members_array[:member_count], groups_array[:group_count], events_array[:event_count], tally


def expand(
    datagrams not None,
    const int32_t[::1] members not None,
    const int32_t[::1] first not None,
    const uint8_t[::1] actions not None,
    const int64_t[::1] run_groups not None,
    const uint32_t[::1] run_numbers not None,
    const uint8_t[::1] flags not None,
    const int64_t[::1] step_first not None,
    const int64_t[::1] step_stop not None,
    uint32_t number,
    groups_array not None,
    events_array not None,
):
    """Fill the tables of groups and events from what is kept of them, and from the rows of their first datagrams.

    Parameters
    ----------
    datagrams, members, first, actions
        The datagram table; its rows group by group; the first member of each group and its action.
    run_groups, run_numbers
        From which group on there is which run number.
    flags
        Of each event.
    step_first, step_stop
        Events of each step.
    number
        Run number of events without one of their own.
    groups_array, events_array
        Are filled.

    Raises
    ------
    ValueError
        What is kept does not fit together.
    """
    cdef int64_t total = datagrams.shape[0], count = first.shape[0], events_count = flags.shape[0]
    cdef int64_t member_count = members.shape[0], runs = run_groups.shape[0], steps = step_first.shape[0]
    if datagrams.dtype.itemsize != sizeof(Datagram) or not datagrams.flags.c_contiguous:
        raise ValueError("the table is not a contiguous datagram table")
    if groups_array.dtype.itemsize != sizeof(Group) or events_array.dtype.itemsize != sizeof(Event):
        raise ValueError("rows of another size")
    if len(groups_array) != count or len(events_array) != events_count:
        raise ValueError("tables of another length")
    if actions.shape[0] != count or run_numbers.shape[0] != runs or step_stop.shape[0] != steps:
        raise ValueError("the parts of one table have not the same length")
    if count == 0:
        if events_count or member_count:
            raise ValueError("there are no groups")
        return
    cdef const uint8_t[::1] table_bytes = datagrams.view(np.uint8).reshape(-1)
    cdef uint8_t[::1] group_bytes = groups_array.view(np.uint8).reshape(-1)
    cdef uint8_t[::1] event_bytes = events_array.view(np.uint8).reshape(-1)
    cdef Group *groups = <Group *>&group_bytes[0]
    cdef Event *events = <Event *>&event_bytes[0] if events_count else NULL
    cdef const Datagram *table = <const Datagram *>&table_bytes[0] if total else NULL
    cdef const Datagram *head
    cdef Event *event
    cdef int64_t g, begin, end, row, found = 0, run = -1, step = 0
    cdef bint fits = True
    with nogil:
        for g in range(count):
            begin = first[g]
            end = first[g + 1] if g + 1 < count else member_count
            if begin < 0 or begin >= end or end > member_count:
                fits = False
                break
            row = members[begin]
            if row < 0 or row >= total:
                fits = False
                break
            head = table + row
            while run + 1 < runs and run_groups[run + 1] <= g:
                run += 1
            groups[g].first = <int32_t>begin
            groups[g].count = <uint32_t>(end - begin)
            groups[g].run = run_numbers[run] if run >= 0 else 0
            groups[g].service = <uint8_t>service_of(head)
            groups[g].action = actions[g]
            groups[g].reserved = 0
            groups[g].event = -1
            if actions[g] != ACT_EVENT:
                continue
            if found >= events_count:
                fits = False
                break
            while step < steps and step_stop[step] <= found:
                step += 1
            groups[g].event = <int32_t>found
            event = events + found
            event.group = <int32_t>g
            event.step = <int32_t>step if step < steps and step_first[step] <= found else 0
            event.run = groups[g].run if groups[g].run > 0 else number
            take_stamp(event, head)
            event.flags = flags[found]
            found += 1
    if not fits or found != events_count:
        raise ValueError("groups, members and events do not fit together")
