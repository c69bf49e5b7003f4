"""Contributions that dropped out: blanks for their sources, filled in when the rest of a split event comes later."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from psanacli.run import Action, Objects
from psanacli.xtc import TYPE_ANY, DamageBit, Source

if TYPE_CHECKING:
    from psanacli.hdf5.plan import Planner

Ints = NDArray[np.int64]


class Absences:
    """Sources that dropped out of events, and events that come in two parts.

    Parameters
    ----------
    planner : Planner
    """

    def __init__(self, planner: Planner) -> None:
        table = planner.table
        self._step = table.events["step"]
        contents = table.contents
        rows = contents.of_type(TYPE_ANY)
        rows = rows[table.contributions["damage"][rows] >> DamageBit.DroppedContribution & 1 != 0]
        _, group, row = table.occurrences(rows, [Action.EVENT])
        event = table.groups["event"][group]
        damage = table.contributions["damage"][row]
        keys = table.keys[table.contributions["key"][row]]
        self._dropped: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for when, word, key in zip(event.tolist(), damage.tolist(), keys, strict=True):
            identity = Source(int(key["log"]), int(key["phy"])).identity
            self._dropped.setdefault(identity, []).append((when, word))
        self._repeated = _repeated(table.events, np.unique(event))

    def complete(self, objects: Objects) -> Objects:
        """Return objects with a blank row for each event in which their source dropped out.

        The source must have been there before in the step. If the rest of such an event came later, its object takes
        the place of the blank.
        """
        dropped = self._dropped.get(objects.key.source.identity)
        if dropped and len(objects):
            objects = self._with_blanks(objects, dropped)
        return self._joined(objects) if self._repeated else objects

    def _with_blanks(self, objects: Objects, dropped: list[tuple[int, int]]) -> Objects:
        present = set(objects.event.tolist())
        stored = objects.event[objects.stored]
        blanks: dict[int, int] = {}
        for event, damage in dropped:
            before = int(np.searchsorted(stored, event)) - 1
            if event not in present and before >= 0 and self._step[stored[before]] == self._step[event]:
                blanks[event] = damage
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

    def _joined(self, objects: Objects) -> Objects:
        """Put the objects of late parts into the rows of their events."""
        row_of = {event: row for row, event in enumerate(objects.event.tolist())}
        kept = np.ones(len(objects), bool)
        taken = np.arange(len(objects))
        for late, first in self._repeated.items():
            if late in row_of and first in row_of and self._step[late] == self._step[first]:
                kept[row_of[late]] = False
                if not objects.stored[row_of[first]]:
                    taken[row_of[first]] = row_of[late]
        if kept.all():
            return objects
        event = objects.event[kept]
        return replace(objects.select(taken[kept]), event=event)


def _repeated(events: NDArray[Any], split: Ints) -> dict[int, int]:
    """Return the events with the time of an earlier one of which a part is missing, and that earlier one."""
    times = events["seconds"].astype(np.int64) << 32 | events["nanoseconds"]
    first = {int(times[event]): int(event) for event in reversed(split.tolist())}
    if not first:
        return {}
    again = np.flatnonzero(np.isin(times, list(first)))
    return {event: first[int(times[event])] for event in again.tolist() if event > first[int(times[event])]}
