"""What an older index of a run knows of payloads, for the run as it is now: only what is new is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from psanacli.run.codes import EventCodes
from psanacli.run.epics import RecordKinds
from psanacli.run.files import XtcFile
from psanacli.run.index import RunIndex
from psanacli.run.runtable import RunTable
from psanacli.run.tables import DEFAULT_RULES

if TYPE_CHECKING:
    from psanacli.run.run import Run

Ints = NDArray[np.int64]


class Before:
    """A run as an index knows it, beside the run as it is now.

    Parameters
    ----------
    index : RunIndex
        The older index.
    matched : sequence of int or None
        For each file of the run, which of the index it begins with.
    table : RunTable
        The run as it is now.
    """

    def __init__(self, index: RunIndex, matched: Sequence[int | None], table: RunTable) -> None:
        self.index = index
        self.table = table
        self.row = np.full(len(table.datagrams), -1, np.int32)
        """Row in the older table of each datagram, -1 for new ones."""
        before, now = index.headers.rows.tolist(), table.headers.rows.tolist()
        for number, old in enumerate(matched):
            if old is not None:
                count = before[old + 1] - before[old]
                self.row[now[number] : now[number] + count] = np.arange(before[old], before[old + 1])

    def events(self) -> Ints:
        """Return the number that each event had: the one made of the same datagrams; -1 where there was none."""
        old, new = self.index.assembly, self.table.assembly
        found = np.full(len(new.events), -1, np.int64)
        if not len(old.events):
            return found
        owner = np.full(len(self.index.headers.datagrams), -1, np.int32)
        owner[old.members] = np.repeat(old.groups["event"], old.groups["count"])
        rows = self.row[new.members]
        event = np.where(rows >= 0, owner[rows], -1)
        # An event is an old one when all its datagrams were in one event, which had no more of them.
        groups = new.groups[new.events["group"]]
        first, count = groups["first"].astype(np.int64), groups["count"].astype(np.int64)
        candidate = event[first]
        place = np.repeat(first, count) + _within(count)
        same = event[place] == np.repeat(candidate, count)
        all_same = np.logical_and.reduceat(same, np.cumsum(count) - count) if len(count) else np.zeros(0, bool)
        had = old.groups["count"][old.events["group"][candidate]]
        good = (candidate >= 0) & all_same & (had == count)
        found[good] = candidate[good]
        return found

    def codes(self, run: Run) -> EventCodes:
        """Return the event codes of the run."""
        known = self.events()
        old, new = self.index.codes, run.read_codes(known < 0)
        lengths = np.where(known >= 0, np.diff(old.starts)[known] if len(old) else 0, np.diff(new.starts))
        values = np.concatenate((old.values, new.values))
        begin = np.where(known >= 0, old.starts[known], len(old.values) + new.starts[:-1])
        return EventCodes.of_lists(
            np.concatenate(([0], np.cumsum(lengths))), values[np.repeat(begin, lengths) + _within(lengths)]
        )

    def epics(self, run: Run) -> RecordKinds:
        """Return what the EPICS records of the run are."""
        from psanacli.run.run import Run

        # Where the older records were is found out from its tables.
        directory = self.table.files[0].path.parent if self.table.files else Path()
        files = [XtcFile.of(directory / identity.name) for identity in self.index.files]
        before = RunTable(files, self.index.number, DEFAULT_RULES, self.index.headers, self.index.assembly)
        with Run(run.files, table=before) as opened:
            places = opened.epics.places
            had = _marks(before, places.datagram.astype(np.int64), places.contribution)
        places = run.epics.places
        rows = self.row[places.datagram].astype(np.int64)
        marks = _marks(self.table, rows, places.contribution)
        order = np.argsort(had, kind="stable")
        at = np.minimum(np.searchsorted(had, marks, sorter=order), max(len(had) - 1, 0))
        known = np.full(len(marks), -1, np.int64)
        if len(had):
            known = np.where((rows >= 0) & (had[order[at]] == marks), order[at], -1)
        fresh = np.flatnonzero(known < 0)
        kinds = RecordKinds.of(run.epics.heads_of(fresh))
        table = np.concatenate((self.index.epics.table, kinds.table))
        number = np.zeros(len(marks), np.int64)
        number[fresh] = kinds.number.astype(np.int64) + len(self.index.epics.table)
        old = np.flatnonzero(known >= 0)
        number[old] = self.index.epics.number[known[old]]
        return RecordKinds.of(table[number])


def _within(counts: Ints) -> Ints:
    """Return 0, 1, ... for each of the counts, one after the other."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)


def _marks(table: RunTable, rows: Ints, contributions: Ints) -> Ints:
    """Return a number for each contribution of a datagram: its row, then its place in the datagram."""
    return rows << 32 | contributions - table.start[table.contents.pattern[contributions]]


__all__ = ["Before"]
