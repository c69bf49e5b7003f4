"""The streams of a run, and its time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from psanacli.run.files import XtcFile
from psanacli.run.runtable import DELIVERED, RunTable
from psanacli.run.tables import Rules, times_of

_PART = 1 << 18  # groups that are looked at together


@dataclass(frozen=True)
class Stream:
    """One stream of a run.

    Attributes
    ----------
    number : int
    control : bool
        Whether it is a control stream.
    files : tuple of XtcFile
        Its chunks.
    bytes, datagrams : int
        Of all its files.
    """

    number: int
    control: bool
    files: tuple[XtcFile, ...]
    bytes: int
    datagrams: int


def streams_of(table: RunTable, rules: Rules) -> tuple[Stream, ...]:
    """Return the streams, by number."""
    found = []
    for number, count in zip(table.streams.tolist(), np.diff(table.first_rows).tolist(), strict=True):
        files = [i for i, file in enumerate(table.files) if file.stream == number]
        size = sum(table.sizes[i] for i in files)
        control = number >= rules.first_control_stream
        found.append(Stream(number, control, tuple(table.files[i] for i in files), size, count))
    return tuple(found)


def clock_of(table: RunTable, rules: Rules) -> tuple[np.datetime64, np.datetime64] | None:
    """Return the earliest and latest time of what is delivered; None when there is nothing."""
    # Control streams have clocks of their own, off by seconds; a group begins with its lowest stream.
    known: dict[bool, list[np.datetime64]] = {True: [], False: []}
    for begin in range(0, len(table.groups), _PART):
        groups = table.groups[begin : begin + _PART]
        rows = table.members[groups["first"][np.isin(groups["action"], DELIVERED)]]
        daq = table.streams_of(rows) < rules.first_control_stream
        for which, some in ((True, rows[daq]), (False, rows[~daq])):
            if len(some):
                times = times_of(table.datagrams[some])
                known[which] += [times.min(), times.max()]
    times_known = known[True] or known[False]
    return (min(times_known), max(times_known)) if times_known else None
