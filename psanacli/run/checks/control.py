"""Checks of control streams: recorders with clocks of their own, joined to events by their fiducials."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from psanacli.run.checks.evidence import Evidence, Finding, Ints, StreamRows, spelled
from psanacli.xtc import MAX_FIDUCIALS

_SECOND = 1_000_000_000
_STEADY = 3 * _SECOND // 4
"""The clock of a control stream may be off by any constant; by so much (in ns) the difference may vary."""


def _events(evidence: Evidence, stream: StreamRows) -> Ints:
    """Rows of the events of a stream with good fiducials that event building has used."""
    rows = np.arange(stream.first, stream.stop)[evidence.accepts[stream.rows]]
    return rows[(evidence.fiducials[rows] < MAX_FIDUCIALS) & (evidence.group_of_row[rows] >= 0)]


def _has_daq_events(evidence: Evidence) -> bool:
    return bool((evidence.accepts & ~evidence.control).any())


def _offset_of_strangers(evidence: Evidence, rows: Ints) -> int | None:
    """Return by how many ns the clock of a stream without any match is off, if fiducials tell; None if they do not."""
    daq = np.flatnonzero(evidence.accepts & ~evidence.control & (evidence.fiducials < MAX_FIDUCIALS))
    _, mine, theirs = np.intersect1d(evidence.fiducials[rows], evidence.fiducials[daq], return_indices=True)
    if 2 * len(mine) < len(rows):
        return None
    return int(np.median(evidence.clock[rows[mine]] - evidence.clock[daq[theirs]]))


def unmatched(evidence: Evidence) -> Iterator[Finding]:
    """Control datagrams that belong to no event of the DAQ."""
    if not _has_daq_events(evidence):
        return
    for stream in evidence.streams:
        if not stream.control:
            continue
        rows = _events(evidence, stream)
        lone = evidence.daq_member[evidence.group_of_row[rows]] < 0
        if len(rows) and lone.all() and _offset_of_strangers(evidence, rows) is not None:
            continue  # its clock is wrong: another finding
        daq = np.flatnonzero(evidence.accepts & ~evidence.control)
        known = set(evidence.fiducials[daq].tolist())
        for row in rows[lone].tolist():
            fiducial = int(evidence.fiducials[row])
            where = "far away in time or order" if fiducial in known else "in no DAQ stream"
            yield evidence.at(row, f"fiducial {fiducial}, which is {where}", "the fiducial of an event")


def clock(evidence: Evidence) -> Iterator[Finding]:
    """Control streams whose clock is not off by a constant, or by too much to be matched."""
    if not _has_daq_events(evidence):
        return
    limit = evidence.table.rules.max_clock_difference
    for stream in evidence.streams:
        if not stream.control:
            continue
        rows = _events(evidence, stream)
        daq = evidence.daq_member[evidence.group_of_row[rows]]
        if len(rows) and (daq < 0).all():
            offset = _offset_of_strangers(evidence, rows)
            if offset is not None:
                what = f"the clock of stream {stream.number} is off by {spelled(offset)}: nothing can be matched"
                yield evidence.at(int(rows[0]), what, f"less than {limit} s", count=len(rows))
            continue
        yield from _unsteady(evidence, rows[daq >= 0], daq[daq >= 0])
        yield from _backwards(evidence, rows)


def _backwards(evidence: Evidence, rows: Ints) -> Iterator[Finding]:
    """Find where the clock goes back while the fiducials go on; a lone datagram that is late has both earlier."""
    moved = np.diff(evidence.clock[rows])
    ahead = np.diff(evidence.fiducials[rows]) % MAX_FIDUCIALS
    for place in (np.flatnonzero((moved < 0) & (ahead > 0) & (ahead < MAX_FIDUCIALS // 2)) + 1).tolist():
        what = f"a clock {spelled(-int(moved[place - 1]))} before that of the control datagram before"
        yield evidence.at(int(rows[place]), what, "clocks that go forward")


def _unsteady(evidence: Evidence, rows: Ints, daq: Ints) -> Iterator[Finding]:
    """Find where the difference of the clocks is not the usual one."""
    if len(rows) < 2:
        return
    seconds = (evidence.clock[rows] // _SECOND - evidence.clock[daq] // _SECOND) * _SECOND
    exact = evidence.clock[rows] - evidence.clock[daq]
    # Some recorders have right seconds and arbitrary nanoseconds.
    away = np.minimum(np.abs(seconds - np.median(seconds)), np.abs(exact - np.median(exact)))
    off = away > _STEADY
    same = np.zeros(len(rows), bool)
    same[1:] = off[1:] & off[:-1] & (np.abs(np.diff(exact)) <= _STEADY)
    begins = np.flatnonzero(off & ~same).tolist()
    usual = spelled(int(np.median(exact)))
    for begin in begins:
        stop = begin + 1
        while stop < len(rows) and same[stop]:
            stop += 1
        what = f"the clock is {spelled(int(exact[begin]))} from that of the DAQ"
        yield evidence.at(int(rows[begin]), what, f"{usual}, as in most of the stream", count=stop - begin)
