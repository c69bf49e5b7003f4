"""Contributions that dropped out: blanks for their sources, filled in when the rest of a split event comes later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.run import Action, Key, Objects, RunTable, chained
from psanacli.xtc import TYPE_ANY, DamageBit, Source

Ints = NDArray[np.int64]
Identity = tuple[int, int]
Find = Callable[[RunTable, int, int], Objects]
"""Gives the objects of a range of events."""
_RANGE = 1 << 16


class Absences:
    """Sources that dropped out of events, and events that come in two parts.

    Parameters
    ----------
    table : RunTable
    """

    def __init__(self, table: RunTable) -> None:
        rows = table.contents.of_type(TYPE_ANY)
        rows = rows[table.contributions["damage"][rows] >> DamageBit.DroppedContribution & 1 != 0]
        _, group, row = table.occurrences(rows, [Action.EVENT])
        event = table.groups["event"][group]
        damage = table.contributions["damage"][row]
        key = table.contributions["key"][row]
        self._dropped: dict[Identity, tuple[NDArray[Any], NDArray[Any]]] = {}
        sources = [Source(log, phy).identity for log, phy, _ in table.keys.tolist()]
        for identity in {sources[number] for number in np.unique(key).tolist()}:
            mine = np.isin(key, [number for number, known in enumerate(sources) if known == identity])
            self._dropped[identity] = event[mine], damage[mine]
        self._late, self._first = _repeated(table.events, np.unique(event))
        self._begins: dict[Key, Ints] = {}

    def watch(self, table: RunTable, key: Key, find: Find) -> None:
        """Learn in which event of each step the objects of a key begin, if some of them dropped out."""
        if key.source.identity not in self._dropped:
            return
        begins = np.full(len(table.steps), len(table.events), np.int64)
        for at in range(0, len(table.events), _RANGE):
            objects = find(table, at, min(at + _RANGE, len(table.events)))
            event = objects.event[objects.stored]
            np.minimum.at(begins, table.events["step"][event], event)
        self._begins[key] = begins

    def complete(self, table: RunTable, key: Key, find: Find, first: int, stop: int) -> Objects:
        """Return the objects of events with a blank row for each event in which their source dropped out.

        The source must have been there before in the step. If the rest of such an event came later, its object takes
        the place of the blank.
        """
        objects = self._with_blanks(table, key, find(table, first, stop), first, stop)
        inside_late = (self._late >= first) & (self._late < stop)
        inside_first = (self._first >= first) & (self._first < stop)
        if not (inside_late | inside_first).any():
            return objects
        others = np.unique(np.concatenate((self._first[inside_late], self._late[inside_first]))).tolist()
        parts = [objects]
        for event in others:
            if not first <= event < stop:
                part = self._with_blanks(table, key, find(table, event, event + 1), event, event + 1)
                parts.insert(0 if event < first else len(parts), part)
        if len(parts) > 1:
            objects = chained(parts)
        objects = self._joined(table, objects, inside_late | inside_first)
        return objects.select(slice(*np.searchsorted(objects.event, (first, stop)).tolist()))

    def _with_blanks(self, table: RunTable, key: Key, objects: Objects, first: int, stop: int) -> Objects:
        begins = self._begins.get(key)
        if begins is None:
            return objects
        event, damage = self._dropped[key.source.identity]
        low, high = np.searchsorted(event, (first, stop)).tolist()
        event, damage = event[low:high], damage[low:high]
        chosen = ~np.isin(event, objects.event) & (begins[table.events["step"][event]] < event)
        # Of several contributions of one event that dropped out the last counts.
        blanks = dict(zip(event[chosen].tolist(), damage[chosen].tolist(), strict=True))
        if not blanks:
            return objects
        count = len(blanks)
        merged: dict[str, Any] = {
            name: np.concatenate((values, np.zeros(count, values.dtype)))
            for name, values in vars(objects).items()
            if isinstance(values, np.ndarray)
        }
        merged["event"][-count:] = list(blanks)
        merged["damage"][-count:] = list(blanks.values())
        merged["config"][-count:] = -1
        return replace(objects, **merged).select(np.argsort(merged["event"], kind="stable"))

    def _joined(self, table: RunTable, objects: Objects, pairs: NDArray[np.bool_]) -> Objects:
        """Put the objects of late parts into the rows of their events."""
        step = table.events["step"]
        row_of = {event: row for row, event in enumerate(objects.event.tolist())}
        kept = np.ones(len(objects), bool)
        taken = np.arange(len(objects))
        for late, first in zip(self._late[pairs].tolist(), self._first[pairs].tolist(), strict=True):
            if late in row_of and first in row_of and step[late] == step[first]:
                kept[row_of[late]] = False
                if not objects.stored[row_of[first]]:
                    taken[row_of[first]] = row_of[late]
        if kept.all():
            return objects
        event = objects.event[kept]
        return replace(objects.select(taken[kept]), event=event)


def _repeated(events: NDArray[Any], split: NDArray[np.integer]) -> tuple[Ints, Ints]:
    """Return the events with the time of an earlier one of which a part is missing, and that earlier one."""
    if not len(split):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    first = {int(_times(events[event])): int(event) for event in reversed(split.tolist())}
    known = np.array(sorted(first), np.int64)
    pairs = []
    for at in range(0, len(events), _RANGE):
        times = _times(events[at : at + _RANGE])
        for row in np.flatnonzero(np.isin(times, known)).tolist():
            if at + row > first[int(times[row])]:
                pairs.append((at + row, first[int(times[row])]))
    late, earlier = np.array(pairs, np.int64).reshape(-1, 2).T
    return late, earlier


def _times(events: NDArray[Any]) -> NDArray[np.int64]:
    return np.asarray(events["seconds"].astype(np.int64) << 32 | events["nanoseconds"])
