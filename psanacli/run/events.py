"""Events: a sequence that costs nothing until something of an event is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import NotFoundError, UsageError
from psanacli.run.access import Finder, Identities, Ints
from psanacli.run.event import Event
from psanacli.run.tables import times_of

if TYPE_CHECKING:
    from psanacli.run.run import Run


class Events(Sequence[Event]):
    """The events of a run, or some of them, in order.  No data are read until an event is asked for its objects.

    Examples
    --------
    >>> len(run.events), run.events[0].time                      # doctest: +SKIP
    >>> for event in run.events[100:200]:                        # doctest: +SKIP
    ...     beam = event.get("EBeam")
    """

    def __init__(self, run: Run, indices: range | NDArray[np.int64]) -> None:
        self._run = run
        self.indices = indices
        """Numbers of the events in the run."""

    @property
    def run(self) -> Run:
        """The run."""
        return self._run

    def __len__(self) -> int:
        return len(self.indices)

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice | NDArray[Any] | Sequence[int]) -> Events: ...
    def __getitem__(self, index: int | slice | NDArray[Any] | Sequence[int]) -> Event | Events:
        if isinstance(index, (int, np.integer)):
            if not -len(self) <= index < len(self):
                raise IndexError(f"no event {index}; there are {len(self)}")
            return Event(self._run, int(self.indices[int(index)]))
        if isinstance(index, slice):
            return Events(self._run, self.indices[index])
        return Events(self._run, np.asarray(self.indices)[np.asarray(index)])

    def __iter__(self) -> Iterator[Event]:
        run = self._run
        for index in self.indices if isinstance(self.indices, range) else self.indices.tolist():
            yield Event(run, index)

    @property
    def table(self) -> NDArray[Any]:
        """Rows of the event table (`psanacli.run.tables.EVENT`), a structured array."""
        table = self._run.table.events
        if isinstance(self.indices, range) and self.indices.step == 1:
            return table[self.indices.start : self.indices.stop]
        return np.asarray(table[np.asarray(self.indices, np.int64)])

    @property
    def times(self) -> NDArray[np.datetime64]:
        """Times, datetime64[ns], UTC."""
        return times_of(self.table)

    @property
    def ids(self) -> NDArray[Any]:
        """What identifies each event: a structured array with the fields of `EventId`."""
        names = ["seconds", "nanoseconds", "fiducials", "ticks", "vector", "control", "run"]
        return np.asarray(self.table[names])

    @cached_property
    def _finder(self) -> Finder:
        everything = isinstance(self.indices, range) and self.indices == range(len(self._run.table.events))
        return self._run.finder if everything else Finder(self.table)

    def find(self, ids: Identities) -> Ints:
        """Return where events are in this sequence, many at once.

        Parameters
        ----------
        ids : structured array, sequence of EventId, or integer array of shape (n, 3)
            Seconds, nanoseconds and fiducials: such as `ids` of another run or selection.  Other fields do not count.

        Returns
        -------
        ndarray of int64, shape (n,)
            In the order of `ids`; for all events of a run the numbers of the events.  -1: there is none.  Where several
            events have the same identity, as the parts of split events read in sequence do, it is the first.

        Raises
        ------
        UsageError
            `ids` are none.

        Examples
        --------
        >>> numbers = run.events.find(saved)                       # doctest: +SKIP
        >>> for event in run.events[numbers[numbers >= 0]]: ...    # doctest: +SKIP
        """
        return self._finder.find(ids)

    def select(self, expression: str) -> Events:
        """Return the events for which a condition holds, in the same order.

        Parameters
        ----------
        expression : str
            In the language of selections, see ``man psana-expressions``: ``"code(140) and not code(162)"``.  What is
            absent in an event never satisfies a comparison.

        Raises
        ------
        UsageError, NotFoundError
            The expression is wrong, or has a name that does not exist; the hint shows where.

        Examples
        --------
        >>> run.events.select("step == 3 and EBeam.ebeamPhotonEnergy > 9.49e3")    # doctest: +SKIP
        """
        from psanacli.run.expressions import Expression, RunColumns

        bound = Expression.parse(expression).bind(RunColumns(self._run))
        return Events(self._run, bound.among(np.asarray(self.indices, np.int64)))

    def at(
        self,
        *,
        time: np.datetime64 | str | None = None,
        seconds: int | None = None,
        nanoseconds: int | None = None,
        fiducials: int | None = None,
    ) -> Event:
        """Return the event with a time or stamp: the first, where several have it.

        Parameters
        ----------
        time : numpy.datetime64 or str, optional
            UTC, in place of `seconds` and `nanoseconds`.
        seconds, nanoseconds, fiducials : int, optional
            At least seconds or fiducials.

        Raises
        ------
        NotFoundError
            There is none; the nearest in time is named.
        UsageError
            Nothing was given.
        """
        if time is not None:
            try:
                moment = np.datetime64(time) if isinstance(time, str) else time
                total = int(moment.astype("datetime64[ns]").astype(np.int64))
            except ValueError:
                raise UsageError(f"{time!r} is no time", "write it like 2015-07-06T16:26:41.731790122") from None
            seconds, nanoseconds = divmod(total, 1_000_000_000)
        found = self._finder.first(seconds, nanoseconds, fiducials)
        if found >= 0:
            return self[found]
        wanted = {"seconds": seconds, "nanoseconds": nanoseconds, "fiducials": fiducials}
        text = ", ".join(f"{name} {value}" for name, value in wanted.items() if value is not None)
        hint = ""
        if len(self) and seconds is not None:
            hint = f"the nearest is {self[self._finder.nearest(seconds, nanoseconds or 0)]!r}"
        raise NotFoundError(f"no event with {text}", hint)

    def at_offset(self, path: str | PathLike[str], offset: int) -> Event:
        """Return the event that has the datagram at an offset of a big file, as `Event.offsets` tells it.

        Parameters
        ----------
        path : str or path
            The big file; its name is enough.
        offset : int
            Where the datagram begins, in bytes.

        Raises
        ------
        NotFoundError
            The run has no such file, no datagram begins there, it belongs to no event, or to one that is not among
            these.
        """
        number = self._run.origins.event(path, offset)
        if isinstance(self.indices, range):
            known = number in self.indices
        else:
            known = bool((self.indices == number).any())
        if not known:
            raise NotFoundError(f"event {number} of the run, at offset {offset}, is not among these {len(self)} events")
        return Event(self._run, number)

    def __repr__(self) -> str:
        if not len(self):
            return "<Events: none>"
        times = self.times
        return f"<Events: {len(self)}, {times[0]} to {times[-1]}>"


__all__ = ["Events"]
