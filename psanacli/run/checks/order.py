"""Checks of the sequence of events: vectors, clocks and fiducials."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from psanacli.run.checks.evidence import Evidence, Finding, Ints, spelled
from psanacli.run.checks.triggers import VECTORS, repeats, sequence, triggers
from psanacli.xtc import MAX_FIDUCIALS

_PER_SECOND = 360
_TOLERANCE = 2
"""Fiducials by which two neighbours may disagree with their clocks, besides `_DRIFT`."""
_DRIFT = 0.005
"""The 360 Hz come from the mains, which is not as steady as a clock."""
_EXCURSION = 10
"""So many events may be off before it counts as a jump that stays."""
_LEAST_PAUSE = 2_000_000_000
_LONG = 20
"""A pause is so many times longer than half of the intervals between events."""


def gaps(evidence: Evidence) -> Iterator[Finding]:
    """Triggers that no DAQ stream has."""
    found = evidence.once(triggers)
    if not found.counted:
        return
    numbers = evidence.once(sequence).number
    if len(numbers) < 2:
        return
    steps, often = np.unique(np.diff(numbers), return_counts=True)
    usual = int(steps[np.argmax(often)])  # some count fiducials, or beam pulses
    step = np.diff(found.number)
    for place in np.flatnonzero((step > usual) & (step < 1 << 39)).tolist():
        count = -(-int(step[place]) // usual) - 1
        before = int(found.number[place])
        first, last = (before + usual) % VECTORS, (before + count * usual) % VECTORS
        which = f"vector {first}" if count == 1 else f"vectors {first} to {last}"
        what = f"{count} trigger is" if count == 1 else f"{count} triggers are"
        row = int(found.rows[place + 1])
        yield evidence.at(row, f"{what} missing before it ({which})", "every vector in some stream", count=count)


def duplicates(evidence: Evidence) -> Iterator[Finding]:
    """Events that are there twice."""
    found = evidence.once(repeats)
    for row, first in zip(found.row[found.copy].tolist(), found.first[found.copy].tolist(), strict=True):
        yield evidence.at(row, f"the same event as {_place(evidence, row, first)}", "every event once")
    for stream in evidence.streams:
        if stream.control:
            yield from _control_duplicates(evidence, stream.rows)


def _control_duplicates(evidence: Evidence, rows: slice) -> Iterator[Finding]:
    chosen = np.flatnonzero(evidence.accepts[rows]) + rows.start
    order = np.argsort(evidence.clock[chosen], kind="stable")
    clock = evidence.clock[chosen][order]
    again = np.flatnonzero(clock[1:] == clock[:-1]) + 1
    for row, first in sorted(zip(chosen[order][again].tolist(), chosen[order][again - 1].tolist(), strict=True)):
        left = " (both are left out of the events)" if evidence.group_of_row[row] < 0 else ""
        what = f"the clock of the control datagram at offset {int(evidence.datagrams['offset'][first])} again{left}"
        yield evidence.at(row, what, "a later clock")


def split(evidence: Evidence) -> Iterator[Finding]:
    """Events whose parts are in several datagrams."""
    found = evidence.once(repeats)
    parts = ~found.copy
    for row, first in zip(found.row[parts].tolist(), found.first[parts].tolist(), strict=True):
        what = f"another part of the event at {_place(evidence, row, first)}"
        yield evidence.at(row, what, "one datagram for an event in all DAQ streams")


def _place(evidence: Evidence, row: int, other: int) -> str:
    datagrams = evidence.datagrams
    file = int(datagrams["file"][other])
    where = f"offset {int(datagrams['offset'][other])}"
    return where if file == int(datagrams["file"][row]) else f"{where} of {evidence.table.files[file].path.name}"


def order(evidence: Evidence) -> Iterator[Finding]:
    """Events that stand later in their stream than younger ones."""
    numbers = evidence.once(triggers).of_rows(len(evidence.datagrams))
    found = evidence.once(repeats)
    parts = set(found.row[~found.copy].tolist()) | set(found.first[~found.copy].tolist())
    for stream in evidence.streams:
        rows = np.arange(stream.first, stream.stop)[evidence.accepts[stream.rows]]
        if stream.control:
            yield from _control_order(evidence, rows)
            continue
        yield from _late(evidence, rows, numbers[rows], parts)


def _late(evidence: Evidence, rows: Ints, numbers: Ints, parts: set[int]) -> Iterator[Finding]:
    if not len(rows):
        return
    newest = np.maximum.accumulate(numbers)
    for place in (np.flatnonzero(numbers[1:] < newest[:-1]) + 1).tolist():
        row = int(rows[place])
        if row in parts:
            continue  # the second part of a split event comes when it comes
        behind = int(np.count_nonzero(numbers[:place] > numbers[place]))
        repaired = evidence.group_of_row[row] >= 0 and behind <= (40 if evidence.control[row] else 20)
        what = f"{behind} younger event{'s' * (behind > 1)} before it"
        yield evidence.at(row, what + (", put in order when read" if repaired else ""), "events in order")


def _control_order(evidence: Evidence, rows: Ints) -> Iterator[Finding]:
    """Control streams do not count; the events they belong to tell their order."""
    groups = evidence.group_of_row[rows]
    rows, groups = rows[groups >= 0], groups[groups >= 0]
    daq = evidence.daq_member[groups]
    rows, daq = rows[daq >= 0], daq[daq >= 0]
    numbers = evidence.once(triggers).of_rows(len(evidence.datagrams))[daq]
    yield from _late(evidence, rows, numbers, set())


def clock(evidence: Evidence) -> Iterator[Finding]:
    """Events whose clock is not later than that of the event before."""
    rows = evidence.once(sequence).rows
    moved = np.diff(evidence.clock[rows])
    for place in (np.flatnonzero(moved <= 0) + 1).tolist():
        step = int(moved[place - 1])
        what = f"a clock {spelled(-step)} before that of the event before" if step else "the clock of the event before"
        yield evidence.at(int(rows[place]), what, "clocks that go forward")


def pauses(evidence: Evidence) -> Iterator[Finding]:
    """Long times without events within a step."""
    rows = evidence.once(sequence).rows
    clocks = evidence.clock[rows]
    moved = np.diff(clocks)
    forward = moved[moved > 0]
    if len(forward) < 2:
        return
    least = max(_LEAST_PAUSE, _LONG * int(np.median(forward)))
    for place in np.flatnonzero((moved >= least) & ~_interrupted(evidence, clocks)).tolist():
        what = f"no event for {spelled(int(moved[place]))} before it"
        if moved[place] >= MAX_FIDUCIALS * 10**9 // _PER_SECOND - 10**9:
            what += ": fiducials repeat"
        yield evidence.at(int(rows[place + 1]), what, "no long pause within a step")


def _interrupted(evidence: Evidence, clocks: Ints) -> NDArray[np.bool_]:
    """Whether there is a transition between two events one after the other."""
    others = np.sort(evidence.clock[~evidence.accepts & ~evidence.control])
    return np.asarray(np.searchsorted(others, clocks[1:]) > np.searchsorted(others, clocks[:-1]))


def bad_fiducials(evidence: Evidence) -> Iterator[Finding]:
    """Events with a fiducial that cannot be."""
    bad = evidence.accepts & (evidence.fiducials >= MAX_FIDUCIALS)
    for row in np.flatnonzero(bad).tolist():
        left = ": it is left out of the events" if evidence.group_of_row[row] < 0 else ""
        what = f"fiducial {int(evidence.fiducials[row]):#x}{left}"
        yield evidence.at(row, what, f"less than {MAX_FIDUCIALS}")


def fiducial_jumps(evidence: Evidence) -> Iterator[Finding]:
    """Events whose fiducials do not go with their clocks."""
    rows = evidence.once(sequence).rows
    clocks = evidence.clock[rows]
    good = evidence.fiducials[rows] < MAX_FIDUCIALS
    good &= np.concatenate(([True], np.diff(clocks) > 0))[: len(rows)]  # a clock that stands is another finding
    rows, clocks = rows[good], clocks[good]
    if len(rows) < 2:
        return
    ticks = (clocks - clocks[0]) * _PER_SECOND // 10**9
    phase = evidence.fiducials[rows] - ticks
    # Between two steps the counter may have stood.
    phase[1:] -= np.cumsum(np.where(_interrupted(evidence, clocks), np.diff(phase), 0))
    allowed = _TOLERANCE + _DRIFT * _PER_SECOND * np.abs(np.diff(clocks)) / 1e9
    jumps = np.flatnonzero(np.abs(_wrapped(np.diff(phase))) > allowed) + 1
    back = -1
    for place, after in zip(jumps.tolist(), [*jumps[1:].tolist(), -1], strict=False):
        if place == back:
            continue
        row = int(rows[place])
        count = 1
        if 0 < after - place <= _EXCURSION and abs(_wrapped(phase[after] - phase[place - 1])) <= 2 * allowed[after - 1]:
            back, count = after, after - place
        before = int(rows[place - 1])
        moved = int(evidence.fiducials[row] - evidence.fiducials[before])
        took = spelled(int(clocks[place] - clocks[place - 1]))
        want = round(int(clocks[place] - clocks[place - 1]) * _PER_SECOND / 1e9) % MAX_FIDUCIALS
        yield evidence.at(
            row, f"fiducials moved by {moved % MAX_FIDUCIALS} while the clock moved by {took}", f"{want}", count=count
        )


def _wrapped(difference: Ints) -> Ints:
    half = MAX_FIDUCIALS // 2
    return np.asarray((difference + half) % MAX_FIDUCIALS - half)
