"""Which events of some runs are meant: a slice, a list of ids, a condition, or all of them together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from psanacli.errors import NotFoundError, UsageError
from psanacli.run.eventlist import EventList
from psanacli.run.expressions import Expression, RunColumns

if TYPE_CHECKING:
    from psanacli.run.events import Events
    from psanacli.run.run import Run

_SHOWN = 3  # ids in a message


@dataclass(frozen=True)
class Chosen:
    """Events that were chosen.

    Attributes
    ----------
    events : tuple of Events
        For each run, in the order of the slice or of the list.
    missing : EventList
        Ids of the list that no run has.
    """

    events: tuple[Events, ...]
    missing: EventList

    def __len__(self) -> int:
        return sum(map(len, self.events))


@dataclass(frozen=True)
class Choice:
    """What tells which events are meant.

    Attributes
    ----------
    events : slice, EventList or None
        Of each run these numbers; or the ids of a list, each of the run that has it. None: all.
    where : str or None
        An expression that has to hold as well.
    missing_ok : bool
        Ids of the list that no run has are no error.
    """

    events: slice | EventList | None = None
    where: str | None = None
    missing_ok: bool = False

    def among(self, runs: Sequence[Run], advance: Callable[[int], None] | None = None) -> Chosen:
        """Return the events of some runs.

        Parameters
        ----------
        runs : sequence of Run
            The data.
        advance : function, optional
            Called with the number of events for which the condition was looked at, block after block.

        Raises
        ------
        NotFoundError
            An id of the list is in none of them; or the slice begins behind the last event.
        UsageError
            The list has bare numbers, and there are several runs. The expression is wrong.
        """
        expression = None if self.where is None else Expression.parse(self.where)
        bound = [None if expression is None else expression.bind(RunColumns(run)) for run in runs]
        if isinstance(self.events, EventList):
            chosen, missing = self._listed(self.events, runs)
        else:
            chosen, missing = [self._sliced(run) for run in runs], EventList()
        for place, condition in enumerate(bound):
            if condition is not None:
                numbers = condition.among(np.asarray(chosen[place].indices, np.int64), advance)
                chosen[place] = runs[place].events[numbers]
        return Chosen(tuple(chosen), missing)

    def _sliced(self, run: Run) -> Events:
        if not isinstance(self.events, slice):
            return run.events
        first = self.events.start or 0
        if 0 < len(run.events) <= first:
            raise NotFoundError(f"there is no event {first}", f"the run has {len(run.events)} events")
        return run.events[self.events]

    def _listed(self, listed: EventList, runs: Sequence[Run]) -> tuple[list[Events], EventList]:
        if len(runs) > 1 and listed.numbered.any():
            raise UsageError(
                f"{listed.origin} has numbers of events, and there are {len(runs)} runs",
                "name one run, or list events by their times",
            )
        found = [listed.resolve(run) for run in runs]
        absent = np.ones(len(listed), bool)
        for numbers in found:
            absent &= numbers < 0
        missing = listed[absent]
        if len(missing) and not self.missing_ok:
            shown = [missing.line(place) for place in range(min(len(missing), _SHOWN))]
            more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
            there = ", ".join(f"{run.experiment.name} r{run.number}" for run in runs[:_SHOWN])
            raise NotFoundError(
                f"{len(missing)} of {len(listed)} events of {listed.origin} are not in the data: "
                f"{', '.join(shown)}{more}",
                f"the data are {there}{', ...' if len(runs) > _SHOWN else ''}; "
                "psana eventid check tells more, --missing-ok goes on without them",
            )
        return [run.events[numbers[numbers >= 0]] for run, numbers in zip(runs, found, strict=True)], missing


__all__ = ["Choice", "Chosen"]
