"""Events of several runs in one list, in the order in which they were given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from psanacli.run.access import Ints, fields_of
from psanacli.run.event import Event
from psanacli.run.events import Events

if TYPE_CHECKING:
    from psanacli.run.run import Run


@dataclass(frozen=True, eq=False)
class EventsOfRuns(Sequence[Event]):
    """Chosen events of some runs; the order is kept, and an event may be there more than once.

    Attributes
    ----------
    runs : tuple of Run
    which : ndarray of int64
        For each event the index of its run in `runs`.
    numbers : ndarray of int64
        For each event its number in its run.
    absent : ndarray of int64
        Indices of what was looked for and not found, ascending; see `find`.
    """

    runs: tuple[Run, ...]
    which: Ints
    numbers: Ints
    absent: Ints

    @classmethod
    def of(cls, events: Iterable[Event]) -> EventsOfRuns:
        """Make a list of events."""
        listed = list(events)
        runs = tuple({id(event.run): event.run for event in listed}.values())
        place = {id(run): i for i, run in enumerate(runs)}
        which = np.array([place[id(event.run)] for event in listed], np.int64)
        numbers = np.array([event.index for event in listed], np.int64)
        return cls(runs, which, numbers, np.zeros(0, np.int64))

    @classmethod
    def find(cls, runs: Iterable[Run], ids: NDArray[Any] | Sequence[Any]) -> EventsOfRuns:
        """Look for events in several runs.

        Parameters
        ----------
        runs : iterable of Run
            Where an identity is in several of them, the first counts.
        ids : structured array, sequence of EventId, or integer array of shape (n, 3)
            As for `Events.find`.  Where they have a run number, it has to be that of the file names or of BeginRun.

        Returns
        -------
        EventsOfRuns
            Those that were found, in the order of `ids`; `absent` tells the others.
        """
        runs = tuple(runs)
        numbered = _run_numbers(ids)
        count = len(fields_of(ids)[0])
        which, numbers = np.full(count, -1, np.int64), np.full(count, -1, np.int64)
        for i, run in enumerate(runs):
            found = run.events.find(ids)
            if numbered is not None and len(run.events):
                there = run.table.events["run"][found]
                found = np.where((numbered == there) | (numbered == run.number), found, -1)
            new = (which < 0) & (found >= 0)
            which, numbers = np.where(new, i, which), np.where(new, found, numbers)
        known = which >= 0
        return cls(runs, which[known], numbers[known], np.flatnonzero(~known))

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> EventsOfRuns: ...
    def __getitem__(self, index: int | slice) -> Event | EventsOfRuns:
        if isinstance(index, slice):
            return EventsOfRuns(self.runs, self.which[index], self.numbers[index], np.zeros(0, np.int64))
        if not -len(self) <= index < len(self):
            raise IndexError(f"no event {index}; there are {len(self)}")
        return Event(self.runs[int(self.which[index])], int(self.numbers[index]))

    def __iter__(self) -> Iterator[Event]:
        for which, number in zip(self.which.tolist(), self.numbers.tolist(), strict=True):
            yield Event(self.runs[which], number)

    def by_run(self) -> Iterator[tuple[Ints, Events]]:
        """Give for each run the places of its events in this list, ascending, and these events: to read many at once.

        Yields
        ------
        (ndarray of int64, Events)
        """
        for i, run in enumerate(self.runs):
            places = np.flatnonzero(self.which == i)
            if len(places):
                yield places, run.events[self.numbers[places]]

    def __repr__(self) -> str:
        return f"<{len(self)} events of runs {', '.join(str(run.number) for run in self.runs)}>"


def _run_numbers(ids: Any) -> Ints | None:
    if isinstance(ids, np.ndarray):
        named = ids.dtype.names is not None and "run" in ids.dtype.names
        return np.atleast_1d(ids)["run"].astype(np.int64) if named else None
    if all(hasattr(one, "run") for one in ids):
        return np.array([one.run for one in ids], np.int64)
    return None


__all__ = ["EventsOfRuns"]
