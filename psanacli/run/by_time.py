"""Events as the index mode (``idx``) means them: what has the same time and fiducial is one event.

The facility's reader has two ways to form events.  In sequence, it merges the streams and joins neighbours
(`_build`).  By index, it sorts all events of the DAQ streams by time and fiducial, and takes what is equal together;
datagrams of control streams, whose clocks are their own, are added by fiducial.  Nothing is left out: neither what the
level-3 trigger trimmed nor what holds nothing but EPICS (format description, 10.9).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.run._build import EVENT, GROUP
from psanacli.run.actions import Action, EventFlag
from psanacli.xtc import DamageBit, Transition, control, fiducials, service, ticks, vector

Rows = NDArray[Any]
Ints = NDArray[np.int64]

NO_FIDUCIAL = 0x1FFFF
"""The fiducial of what came without timing; such datagrams cannot be joined with others."""
CONTROL_WINDOW = 5
"""Seconds by which a control stream may be off; fiducials repeat after 364 s."""

_SPLIT = np.uint32(1 << DamageBit.DroppedContribution)


@dataclass(frozen=True, eq=False)
class _Headers:
    """What of the datagram table is needed, a row a datagram: stream after stream, in a stream as written."""

    table: Rows
    stream: Ints
    kind: NDArray[np.uint32]
    fiducials: Ints
    clock: Ints
    """Nanoseconds."""
    control: NDArray[np.bool_]

    def of(self, kind: Transition, *, control: bool) -> Ints:
        """Return the rows of a transition in the control streams, or in the others."""
        return np.flatnonzero((self.kind == kind) & (self.control == control))


@dataclass(frozen=True, eq=False)
class _Groups:
    """Groups of one kind, not yet in order.

    Attributes
    ----------
    action, service
        One for all.
    position : ndarray of int64
        Each stands before the event of this number.
    rank : int
        What comes first of several at one position.
    rows : ndarray of int64
        All members.
    owner : ndarray of int64
        Which of the groups each member belongs to.
    """

    action: Action
    service: Transition
    position: Ints
    rank: int
    rows: Ints
    owner: Ints

    @classmethod
    def alone(cls, action: Action, service: Transition, position: Ints, rank: int, rows: Ints) -> _Groups:
        """Make a group of each row."""
        return cls(action, service, position, rank, rows, np.arange(len(rows)))

    @classmethod
    def one(cls, action: Action, service: Transition, position: int, rank: int, rows: Ints) -> _Groups:
        """Make one group of all rows."""
        return cls(action, service, np.array([position]), rank, rows, np.zeros(len(rows), np.int64))


def build(
    datagrams: Rows, starts: Ints, numbers: NDArray[np.uint32], first_control: int, run_number: int
) -> tuple[NDArray[np.int32], Rows, Rows, dict[str, int]]:
    """Build the groups and events of a run from its datagram table.

    Parameters and result are those of `psanacli.run.tables.build_groups`; `first_control` is the first control stream.

    The transitions are those of the first DAQ stream that has them.  A BeginCalibCycle stands before all events that
    are later than it; the first one before all events.
    """
    stream = np.repeat(np.asarray(numbers, np.int64), np.diff(starts))
    clock = datagrams["seconds"].astype(np.int64) * 1_000_000_000 + datagrams["nanoseconds"]
    is_control = stream >= first_control
    if is_control.all():
        is_control = np.zeros(len(stream), bool)  # a run of control streams only: they are its streams
    headers = _Headers(datagrams, stream, service(datagrams), fiducials(datagrams).astype(np.int64), clock, is_control)
    events, heads, lonely = _events(headers)
    place = np.zeros(len(stream), np.int64)
    place[events.rows] = events.owner + 1
    place = _latest(headers, place)
    transitions, repeated = _transitions(headers, clock[heads], place)
    # Control datagrams without an event stand behind the last of their stream that has one; their EPICS values count.
    alone = _Groups.alone(Action.UNMATCHED, Transition.L1Accept, place[lonely], 0, lonely)
    members, groups = _ordered(headers, [*transitions, events, alone])
    run = _run_of(datagrams, members, groups)
    groups["run"] = run
    table = _event_table(headers, members, groups, run or run_number)
    counts = _counts(headers, members, groups, table, len(lonely))
    return members, groups, table, {**counts, "repeated_transitions": repeated}


def _events(headers: _Headers) -> tuple[_Groups, Ints, Ints]:
    """Return the events, the first datagram of each, and the control datagrams that no event has."""
    timed = headers.fiducials != NO_FIDUCIAL
    daq = headers.of(Transition.L1Accept, control=False)
    daq = daq[timed[daq]]
    daq = daq[np.lexsort((headers.fiducials[daq], headers.clock[daq]))]  # stable: in a stream as written
    new = np.ones(len(daq), bool)
    new[1:] = np.any([values[daq[1:]] != values[daq[:-1]] for values in (headers.clock, headers.fiducials)], axis=0)
    event = np.cumsum(new) - 1
    heads = daq[new]
    others = headers.of(Transition.L1Accept, control=True)
    others = others[timed[others]]
    match = _match(headers, others, heads)
    joined = match >= 0
    rows = np.concatenate((daq, others[joined]))
    owner = np.concatenate((event, match[joined]))
    # The event of number n stands "before event n", after all transitions there.
    groups = _Groups(Action.EVENT, Transition.L1Accept, np.arange(len(heads)), 3, rows, owner)
    return groups, heads, others[~joined]


def _match(headers: _Headers, rows: Ints, heads: Ints) -> Ints:
    """Return for control datagrams the event with their fiducial that is nearest in time, -1 for none."""
    seconds = headers.table["seconds"].astype(np.int64)
    order = np.lexsort((headers.clock[heads], headers.fiducials[heads]))
    keys = headers.fiducials[heads][order] << 33 | seconds[heads][order] + CONTROL_WINDOW
    wanted = headers.fiducials[rows] << 33 | seconds[rows] + CONTROL_WINDOW
    first = np.searchsorted(keys, wanted - CONTROL_WINDOW)
    count = np.searchsorted(keys, wanted + CONTROL_WINDOW, side="right") - first
    which = np.repeat(np.arange(len(rows)), count)
    candidate = order[np.repeat(first, count) + np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)]
    distance = np.abs(headers.clock[heads[candidate]] - headers.clock[rows[which]])
    best = np.lexsort((candidate, distance, which))
    chosen, at = np.unique(which[best], return_index=True)
    match = np.full(len(rows), -1, np.int64)
    match[chosen] = candidate[best[at]]
    return match


def _latest(headers: _Headers, place: Ints) -> Ints:
    """Fill the gaps of a column: each 0 becomes what was last in its stream, which never goes back."""
    filled = np.maximum.accumulate(place + headers.stream * (len(place) + 1))
    return np.asarray(filled - headers.stream * (len(place) + 1))


def _transitions(headers: _Headers, clocks: Ints, place: Ints) -> tuple[list[_Groups], int]:
    """Return all transitions, and how many are left out as repeated.

    `clocks` are those of the events, `place` tells for all rows behind which event they stand in a control stream.
    """
    configures, repeated_configures = _of_first_stream(headers, Transition.Configure)
    runs, _ = _of_first_stream(headers, Transition.BeginRun)
    begins, repeated_begins = _of_first_stream(headers, Transition.BeginCalibCycle)
    begins = begins[np.argsort(headers.clock[begins], kind="stable")]
    position = _after(headers, begins, clocks)
    position[:1] = 0
    job, others = _with_control(headers, Transition.Configure, configures[:1])
    run, _ = _with_control(headers, Transition.BeginRun, runs[:1])
    step, step_owner, more = _nearest_control(headers, begins)
    others = np.concatenate((others, more))
    ends, end_position = _ends(headers, begins, position, len(clocks))
    last, _ = _of_first_stream(headers, Transition.EndRun)
    last = last[-1:]
    found = [
        _Groups.one(Action.BEGIN_JOB, Transition.Configure, 0, -2, job),
        _Groups.one(Action.BEGIN_RUN, Transition.BeginRun, 0, -1, run),
        _Groups(Action.BEGIN_STEP, Transition.BeginCalibCycle, position, 2, step, step_owner),
        _Groups.alone(Action.END_STEP, Transition.EndCalibCycle, end_position, 1, ends),
        _Groups.alone(
            Action.CONFIGURE, Transition.Configure, _after(headers, configures[1:], clocks), 2, configures[1:]
        ),
        # Configuration of control streams that has no counterpart in the DAQ.
        _Groups.alone(Action.CONFIGURE, Transition.Configure, place[others], 0, others),
        _Groups.one(Action.END_RUN, Transition.EndRun, len(clocks), 4, last),
    ]
    return [groups for groups in found if len(groups.rows)], repeated_configures + repeated_begins


def _after(headers: _Headers, rows: Ints, clocks: Ints) -> Ints:
    """Return the number of the first event that is later, for rows."""
    return np.searchsorted(clocks, headers.clock[rows], side="right").astype(np.int64)


def _of_first_stream(headers: _Headers, kind: Transition) -> tuple[Ints, int]:
    """Return a transition in the first DAQ stream that has it, and how many of it are left out.

    Streams with events come before those without; one with the clock of the one before is a repetition.
    """
    rows = headers.of(kind, control=False)
    streams = np.unique(headers.stream[rows])
    filled = np.unique(headers.stream[headers.of(Transition.L1Accept, control=False)])
    better = streams[np.isin(streams, filled)]
    rows = rows[headers.stream[rows] == (better if len(better) else streams)[:1]]
    new = np.ones(len(rows), bool)
    new[1:] = headers.clock[rows[1:]] != headers.clock[rows[:-1]]
    return rows[new], int(np.count_nonzero(~new))


def _with_control(headers: _Headers, kind: Transition, rows: Ints) -> tuple[Ints, Ints]:
    """Add the first of each control stream; return also the further ones of the control streams."""
    others = headers.of(kind, control=True)
    _, first = np.unique(headers.stream[others], return_index=True)
    return np.concatenate((rows, others[first])), np.delete(others, first)


def _nearest_control(headers: _Headers, begins: Ints) -> tuple[Ints, Ints, Ints]:
    """Add to each BeginCalibCycle those of control streams that are nearest to it in time.

    Returns
    -------
    rows, owner, others : ndarray of int64
        Members, which of `begins` they belong to, and rows of control streams that are near to none.
    """
    others = headers.of(Transition.BeginCalibCycle, control=True)
    owner = np.arange(len(begins))
    if not len(begins):
        return begins, owner, others
    at = np.searchsorted(headers.clock[begins], headers.clock[others])
    near = np.stack([np.maximum(at - 1, 0), np.minimum(at, len(begins) - 1)])
    distance = np.abs(headers.clock[begins[near]] - headers.clock[others])
    best = np.where(distance[0] < distance[1], near[0], near[1])
    joined = distance.min(axis=0) <= CONTROL_WINDOW * 1_000_000_000
    return np.concatenate((begins, others[joined])), np.concatenate((owner, best[joined])), others[~joined]


def _ends(headers: _Headers, begins: Ints, position: Ints, count: int) -> tuple[Ints, Ints]:
    """Return the EndCalibCycle of each BeginCalibCycle that has one, and where they stand: before the next beginning.

    An event between an end and the next beginning belongs to the step that has ended.
    """
    rows = headers.of(Transition.EndCalibCycle, control=False)
    rows = rows[np.isin(headers.stream[rows], headers.stream[begins[:1]])]
    inside = np.sort(begins)
    which = np.searchsorted(inside, rows) - 1
    which, first = np.unique(which, return_index=True)
    known = which >= 0
    rows, which = rows[first[known]], which[known]
    rank = np.searchsorted(inside, begins)  # where each of the sorted steps stands in the stream
    step = np.argsort(rank)[which]
    return rows, np.append(position[1:], count)[step]


def _ordered(headers: _Headers, found: list[_Groups]) -> tuple[NDArray[np.int32], Rows]:
    """Put all groups in order, and their members by stream."""
    first = np.concatenate(([0], np.cumsum([len(groups.position) for groups in found])))
    position = np.concatenate([groups.position for groups in found])
    rank = np.repeat([groups.rank for groups in found], np.diff(first))
    rows = np.concatenate([groups.rows for groups in found])
    owner = np.concatenate([groups.owner + base for groups, base in zip(found, first[:-1], strict=True)])
    order = np.lexsort((rows, owner))
    rows, owner = rows[order], owner[order]
    head = rows[np.searchsorted(owner, np.arange(len(position)))]
    order = np.lexsort((headers.clock[head], rank, position))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    groups = np.zeros(len(order), GROUP)
    groups["count"] = np.bincount(owner, minlength=len(order))[order]
    groups["first"] = np.cumsum(groups["count"]) - groups["count"]
    groups["service"] = np.repeat([each.service for each in found], np.diff(first))[order]
    groups["action"] = np.repeat([each.action for each in found], np.diff(first))[order]
    is_event = groups["action"] == Action.EVENT
    groups["event"] = np.where(is_event, np.cumsum(is_event) - 1, -1)
    return rows[np.argsort(place[owner], kind="stable")].astype(np.int32), groups


def _run_of(datagrams: Rows, members: NDArray[np.int32], groups: Rows) -> int:
    """Return the run number in the BeginRun of the first stream, 0 when there is none."""
    begins = groups["first"][groups["action"] == Action.BEGIN_RUN]
    return int(datagrams["env"][members[begins[0]]]) if len(begins) else 0


def _event_table(headers: _Headers, members: NDArray[np.int32], groups: Rows, run: int) -> Rows:
    chosen = np.flatnonzero(groups["action"] == Action.EVENT)
    heads = headers.table[members[groups["first"][chosen]]]
    events = np.zeros(len(chosen), EVENT)
    events["group"], events["run"] = chosen, run
    events["seconds"], events["nanoseconds"] = heads["seconds"], heads["nanoseconds"]
    events["ticks"], events["fiducials"] = ticks(heads), fiducials(heads)
    events["vector"], events["control"] = vector(heads), control(heads)
    damage, env = headers.table["damage"][members], headers.table["env"][members]
    other = headers.control[members]
    flags = np.where(other, np.uint8(EventFlag.CONTROL), np.uint8(EventFlag.DAQ))
    flags |= np.where(~other & (env >> 31 != 0), np.uint8(EventFlag.TRIMMED), np.uint8(0))
    flags |= np.where(~other & (damage & _SPLIT != 0), np.uint8(EventFlag.SPLIT), np.uint8(0))
    flags |= np.where(damage != 0, np.uint8(EventFlag.DAMAGED), np.uint8(0))
    if len(chosen):
        events["flags"] = np.bitwise_or.reduceat(flags, groups["first"])[chosen]
    return events


def _counts(headers: _Headers, members: NDArray[np.int32], groups: Rows, events: Rows, lonely: int) -> dict[str, int]:
    """Return what was irregular, as in sequence as far as it applies."""
    accepts = headers.kind == Transition.L1Accept
    daq = headers.of(Transition.L1Accept, control=False)
    same = headers.stream[daq[1:]] == headers.stream[daq[:-1]]
    event = np.repeat(groups["event"], groups["count"])
    again = (event[1:] == event[:-1]) & (event[1:] >= 0)
    again &= headers.stream[members[1:]] == headers.stream[members[:-1]]
    split = headers.table["damage"][members] & _SPLIT != 0
    split = split[1:] | split[:-1]
    return {
        "late": int(np.count_nonzero(same & (headers.clock[daq[1:]] < headers.clock[daq[:-1]]))),
        "split": int(np.count_nonzero(again & split)),
        "repeated": int(np.count_nonzero(again & ~split)),
        "dropped": 0,
        "bad_fiducials": int(np.count_nonzero(accepts & (headers.fiducials == NO_FIDUCIAL))),
        "unmatched_control": lonely,
        "unmatched_daq": int(np.count_nonzero(events["flags"] & EventFlag.CONTROL == 0)),
    }
