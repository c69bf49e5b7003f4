"""Checks of the transitions: their order in a stream, and whether all streams have them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from psanacli.run.checks.evidence import Evidence, Finding, Ints, StreamRows, spelled, transition_name
from psanacli.xtc import Transition

_SAME = 1_000_000
"""Transitions of one kind whose clocks differ by less (in ns) are the same in all streams."""
_START, _NONE = -1, -2
_AFTER: dict[int, tuple[int, ...]] = {
    Transition.Map: (_START,),
    Transition.Configure: (_START, Transition.Map, Transition.Unconfigure, Transition.Reset),
    Transition.BeginRun: (Transition.Configure, Transition.EndRun),
    Transition.BeginCalibCycle: (Transition.BeginRun, Transition.EndCalibCycle),
    Transition.L1Accept: (Transition.BeginCalibCycle, Transition.L1Accept),
    Transition.EndCalibCycle: (Transition.BeginCalibCycle, Transition.L1Accept),
    Transition.EndRun: (Transition.BeginRun, Transition.EndCalibCycle),
    Transition.Unconfigure: (Transition.EndRun, Transition.Configure),
    Transition.Unmap: (Transition.Unconfigure, _START),
}
"""What may stand before each.  Enable and Disable only pause; no reader needs them."""
_ENDS = (Transition.EndRun, Transition.Unconfigure, Transition.Unmap)


class Turns(NamedTuple):
    """The transitions of a stream, with the first event after each.

    Attributes
    ----------
    rows, service : list of int
        Rows of the datagram table, and what they are; repeated ones, Enable and Disable are left out.
    repeated : list of (int, int)
        Rows of transitions that repeat the one before, and that one.
    """

    rows: list[int]
    service: list[int]
    repeated: list[tuple[int, int]]


def turns(evidence: Evidence, stream: StreamRows) -> Turns:
    """Return where a stream turns from one transition to the next."""
    service = evidence.service[stream.rows]
    events = service == Transition.L1Accept
    first_events = events & np.concatenate(([True], ~events[:-1]))
    chosen = np.flatnonzero(~events | first_events) + stream.first
    rows: list[int] = []
    kinds: list[int] = []
    repeated: list[tuple[int, int]] = []
    last: dict[int, int] = {}
    for row in chosen.tolist():
        kind = int(evidence.service[row])
        if kind != Transition.L1Accept:
            before = last.get(kind)
            last[kind] = row
            if before is not None and evidence.clock[before] == evidence.clock[row]:
                repeated.append((row, before))
                continue
        if kind in (Transition.Enable, Transition.Disable) or (kind == Transition.L1Accept == (kinds or [0])[-1]):
            continue
        rows.append(row)
        kinds.append(kind)
    return Turns(rows, kinds, repeated)


def repeated(evidence: Evidence) -> Iterator[Finding]:
    """Transitions that are there twice."""
    for stream in evidence.streams:
        for row, before in turns(evidence, stream).repeated:
            what = f"the {evidence.name_of(row)} of offset {int(evidence.datagrams['offset'][before])} again"
            yield evidence.at(row, what, "every transition once")


def order(evidence: Evidence) -> Iterator[Finding]:
    """Transitions in the wrong order, or missing."""
    for stream in evidence.streams:
        found = turns(evidence, stream)
        state = _START
        for row, kind in zip(found.rows, found.service, strict=True):
            allowed = _AFTER.get(kind, ())
            if kind == Transition.Configure and state not in allowed and kind in found.service[: found.rows.index(row)]:
                what = f"a Configure after {_spelled(state)}"
                yield evidence.at(row, what, "one, at the beginning of the stream")
                continue
            if state not in allowed and not (kind == Transition.Reset or (state == _START and kind in _ENDS)):
                if state == _START and kind != Transition.Configure:
                    yield evidence.at(row, f"the stream begins with {transition_name(kind)}", "Configure")
                elif not stream.control:  # recorders of control data often lack some
                    what = f"{transition_name(kind)} after {_spelled(state)}"
                    yield evidence.at(row, what, " or ".join(_spelled(one) for one in allowed) + " before it")
            state = kind
        if state not in _ENDS:
            row = stream.stop - 1
            what = f"the stream ends with {transition_name(int(evidence.service[row]))}"
            yield evidence.at(row, what, "EndRun")


def _spelled(state: int) -> str:
    return "the beginning" if state == _START else transition_name(state)


def no_configure(evidence: Evidence) -> Iterator[Finding]:
    """A run without Configure: nothing that needs a configuration can be decoded."""
    if len(evidence.datagrams) and not (evidence.service == Transition.Configure).any():
        yield evidence.at(0, "no stream has a Configure", "one in each")


class Cluster(NamedTuple):
    """One transition in all streams that have it."""

    service: int
    clock: int
    rows: Ints


def clusters(evidence: Evidence, streams: list[StreamRows]) -> Iterator[Cluster]:
    """Find what is the same transition in all streams: of one kind, at nearly the same time."""
    chosen = [np.flatnonzero(~evidence.accepts[stream.rows]) + stream.first for stream in streams]
    rows = np.concatenate(chosen) if chosen else np.zeros(0, np.int64)
    order_ = np.lexsort((evidence.clock[rows], evidence.service[rows]))
    rows = rows[order_]
    new = np.ones(len(rows), bool)
    new[1:] = (np.diff(evidence.service[rows].astype(np.int64)) != 0) | (np.diff(evidence.clock[rows]) >= _SAME)
    bounds = np.flatnonzero(np.concatenate((new, [True]))).tolist()
    for first, stop in pairwise(bounds):
        clocks, counts = np.unique(evidence.clock[rows[first:stop]], return_counts=True)
        clock = int(clocks[np.argmax(counts)])
        yield Cluster(int(evidence.service[rows[first]]), clock, np.sort(rows[first:stop]))


def _with_daq_clock(evidence: Evidence) -> list[StreamRows]:
    """Streams whose transitions have the clock of the DAQ: of the control streams some."""
    daq = evidence.clock[~evidence.accepts & ~evidence.control]
    daq = np.sort(daq)
    found = []
    for stream in evidence.streams:
        own = evidence.clock[stream.rows][~evidence.accepts[stream.rows]]
        if stream.control and len(daq):
            at = np.clip(np.searchsorted(daq, own), 1, len(daq) - 1) if len(daq) > 1 else np.zeros(len(own), int)
            away = np.minimum(np.abs(daq[at] - own), np.abs(daq[np.maximum(at - 1, 0)] - own))
            if 2 * np.count_nonzero(away < _SAME) < len(own):
                continue
        found.append(stream)
    return found


def missing(evidence: Evidence) -> Iterator[Finding]:
    """Transitions that some DAQ streams have and others have not."""
    streams = [stream for stream in evidence.streams if not stream.control]  # the others often lack some
    if len(streams) < 2:
        return
    number_of_row = evidence.stream_of_row
    ends = {}
    for stream in streams:
        others = evidence.clock[stream.rows][~evidence.accepts[stream.rows]]
        ends[stream.number] = int(others.max(initial=0))
    cut = {problem.path for problem in evidence.table.problems if problem.kind.ends_file}
    broken = {file.stream for file in evidence.table.files if file.path in cut}
    kinds = {stream.number: set(np.unique(evidence.service[stream.rows]).tolist()) for stream in streams}
    whole = {number for number, has in kinds.items() if Transition.EndRun in has} - broken
    lacking: dict[tuple[int, int], list[int]] = {}
    total: dict[int, int] = {}
    for cluster in clusters(evidence, streams):
        have = set(number_of_row[cluster.rows].tolist())
        kind = cluster.service
        total[kind] = total.get(kind, 0) + 1
        without = []
        for stream in streams:
            number = stream.number
            # That a stream ends is another finding, unless nothing but the last Unconfigure is missing.
            gone = ends[number] < cluster.clock and (kind != Transition.Unconfigure or number not in whole)
            if number not in have and not gone:
                without.append(stream)
        if not without:
            continue
        if 2 * len(have) < len(without) + len(have):
            for row in cluster.rows.tolist():
                numbers = ", ".join(str(stream.number) for stream in without)
                what = f"{transition_name(kind)}, which is not in stream {numbers}"
                yield evidence.at(row, what, "it in all streams or in none")
            continue
        for stream in without:
            lacking.setdefault((stream.number, kind), []).append(cluster.clock)
    by_number = {stream.number: stream for stream in streams}
    for (number, kind), clocks in sorted(lacking.items()):
        stream = by_number[number]
        if len(clocks) > 1 and len(clocks) == total[kind] and kind not in kinds[number]:
            what = f"stream {number} has no {transition_name(kind)}"
            yield evidence.at(stream.first, what, f"{len(clocks)}, as other streams have", count=len(clocks))
            continue
        for moment in clocks:
            after = np.flatnonzero(evidence.clock[stream.rows] >= moment)
            row = stream.first + int(after[0]) if len(after) else stream.stop - 1
            where = "before it" if len(after) else "behind it"
            what = f"{transition_name(kind)} is missing {where}"
            yield evidence.at(row, what, f"one at {np.datetime64(moment, 'ns')}, as in other streams")


def clocks(evidence: Evidence) -> Iterator[Finding]:
    """Transitions whose clocks differ among the streams."""
    streams = _with_daq_clock(evidence)
    found = []
    for cluster in clusters(evidence, streams):
        for row in cluster.rows.tolist():
            away = int(evidence.clock[row]) - cluster.clock
            if away:
                found.append((row, away))
    for row, away in sorted(found):
        later = "later" if away > 0 else "earlier"
        what = f"{evidence.name_of(row)} is {spelled(abs(away))} {later} than in other streams"
        yield evidence.at(row, what, "one clock")


def run_number(evidence: Evidence) -> Iterator[Finding]:
    """BeginRun with another run number than the file name."""
    rows = np.flatnonzero((evidence.service == Transition.BeginRun) & (evidence.datagrams["env"] != 0))
    for row in rows.tolist():
        file = evidence.table.files[int(evidence.datagrams["file"][row])]
        number = int(evidence.datagrams["env"][row])
        if file.run and number != file.run:
            yield evidence.at(row, f"BeginRun of run {number}", f"run {file.run}, as in the name of the file")
