"""Events: a sequence that costs nothing until something of an event is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import NotFoundError, UsageError
from psanacli.run.access import Finder, Identities, Ints
from psanacli.run.objects import Key, is_dropped
from psanacli.run.origins import Origin
from psanacli.run.steps import Step
from psanacli.run.tables import times_of
from psanacli.xtc import Damage, Record, Source

if TYPE_CHECKING:
    from psanacli.run.epics import Value
    from psanacli.run.run import Run


@dataclass(frozen=True, order=True)
class EventId:
    """What identifies an event: time and stamp of its first datagram.

    Attributes
    ----------
    seconds, nanoseconds : int
        Unix time, UTC.
    fiducials : int
        Count of pulses at 360 Hz, 0 to 131039.
    ticks, vector, control : int
        The other parts of the stamp.
    run : int
        Run number.
    """

    seconds: int
    nanoseconds: int
    fiducials: int
    ticks: int
    vector: int
    control: int
    run: int

    @property
    def time(self) -> np.datetime64:
        """The time, datetime64[ns], UTC."""
        return np.datetime64(self.seconds * 1_000_000_000 + self.nanoseconds, "ns")

    def __str__(self) -> str:
        time = str(np.datetime64(self.seconds, "s")).replace("T", " ")
        return (
            f"XtcEventId(run={self.run}, time={time}.{self.nanoseconds:09d}-00, fiducials={self.fiducials}, "
            f"ticks={self.ticks}, vector={self.vector}, control={self.control})"
        )


def index_in(run: Run, event: Event, whose: str = "") -> int:
    """Return the number of an event in the run that it has to be of.

    Parameters
    ----------
    run : Run
        Whose event it has to be.
    event : Event
        What a user gave as one.
    whose : str
        The detector that is asked, for the message.

    Raises
    ------
    UsageError
        It is of another run, or no event at all: its number would mean another event here.
    """
    if isinstance(event, Event) and event._run is run:
        return event.index
    asked = f"{whose}: " if whose else ""
    if not isinstance(event, Event):
        which = f"run.events[{event}]" if isinstance(event, int) else "run.events[0] is the first one"
        raise UsageError(f"{asked}an event of run {run.number} is needed, not {event!r}", which)
    if event._run.files == run.files:
        raise UsageError(
            f"{asked}event {event.index} is of the same run {run.number}, but of another opening of it",
            "open the run once, and take events and detectors of that",
        )
    there = event._run
    raise UsageError(
        f"{asked}event {event.index} is of run {there.number} of {there.experiment.name or 'lone files'}, not of run"
        f" {run.number} of {run.experiment.name or 'lone files'}",
        f"event.run.detector({whose!r}) is the detector of that run" if whose else "ask event.run",
    )


class Event:
    """One event of a run.

    Attributes
    ----------
    index : int
        Its number in the run, from 0.
    """

    __slots__ = ("_run", "index")

    def __init__(self, run: Run, index: int) -> None:
        self._run = run
        self.index = index

    @property
    def run(self) -> Run:
        """The run."""
        return self._run

    def get(self, name: str) -> Record | None:
        """Return the object of a detector, None when this event has none.

        Parameters
        ----------
        name : str
            An alias, a source (``"XppEndstation.0:Opal1000.1"``, ``"EBeam"``) or a part of it; where a source has
            objects of several types, with the type: ``"ipm3/IpmFex"``.  Case and ``-`` for ``_`` do not matter.

        Raises
        ------
        NotFoundError
            No event of the run has it.
        UsageError
            The name fits several things.
        DataError
            The payload is damaged in a way that its damage word does not tell.
        """
        reader = self._run.by_name.get(name)
        if reader is None:
            reader = self._run.reader(name)
        return reader.get(self.index)

    @property
    def row(self) -> np.void:
        """The row of the event table."""
        row: np.void = self._run.table.events[self.index]
        return row

    @property
    def group(self) -> int:
        """Number of its group in the run table."""
        return int(self.row["group"])

    @property
    def id(self) -> EventId:
        """What identifies it."""
        row = self.row
        return EventId(
            *(int(row[name]) for name in ("seconds", "nanoseconds", "fiducials", "ticks", "vector", "control", "run"))
        )

    @property
    def time(self) -> np.datetime64:
        """Its time, datetime64[ns], UTC."""
        row = self.row
        return np.datetime64(int(row["seconds"]) * 1_000_000_000 + int(row["nanoseconds"]), "ns")

    @property
    def step(self) -> Step:
        """The step it belongs to."""
        return self._run.steps[int(self.row["step"])]

    @property
    def codes(self) -> tuple[int, ...]:
        """Its event codes, in the order of the EVR."""
        return tuple(self._run.codes.of(self.index).tolist())

    def keys(self) -> list[Key]:
        """Return type and source of all its objects, in the order of sources and types."""
        return [key for key, reader in self._run.readers.items() if reader.has(self.index)]

    @property
    def damage(self) -> dict[Key, Damage]:
        """Damage words of its objects: of all that are damaged, and of those that are not shown for another reason."""
        found = {}
        for key in self._run.table.object_keys():
            objects = self._run.table.objects(key.xtc_type, key.source)
            row = _row(objects.event, self.index)
            if row is not None and (objects.damage[row] or not objects.stored[row]):
                found[key] = Damage(int(objects.damage[row]))
        return found

    @property
    def dropped(self) -> list[tuple[Source, Damage]]:
        """Contributions that are missing: their source and damage word."""
        table = self._run.table
        found = []
        for pattern in table.datagrams["pattern"][self.datagrams].tolist():
            rows = table.contributions[table.start[pattern] : table.start[pattern + 1]]
            keys = table.keys[rows["key"]]
            for row in np.flatnonzero(is_dropped(keys["type"], rows["damage"])).tolist():
                found.append((Source(int(keys["log"][row]), int(keys["phy"][row])), Damage(int(rows["damage"][row]))))
        return found

    @property
    def datagrams(self) -> NDArray[np.int32]:
        """Rows of the datagram table, in the order of the streams."""
        return self._run.table.rows_of(self.group)

    @property
    def offsets(self) -> list[Origin]:
        """Where its datagrams are: big file, offset and size of each; the same from big files and from small data."""
        return self._run.origins.of(self.datagrams)

    @property
    def next(self) -> Event | None:
        """The event after it in the run, None for the last one."""
        return self.shift(1)

    @property
    def previous(self) -> Event | None:
        """The event before it in the run, None for the first one."""
        return self.shift(-1)

    def shift(self, by: int) -> Event | None:
        """Return the event that is `by` events further on (back, if negative), None beyond the ends of the run."""
        index = self.index + by
        return Event(self._run, index) if 0 <= index < len(self._run.table.events) else None

    @property
    def epics(self) -> dict[str, Value]:
        """All EPICS variables as they were."""
        return self._run.epics.at(self)

    def why(self, name: str) -> str:
        """Return in words why an object is absent, or that it is there.

        It may be absent because this event does not have it, because it is damaged, because its configuration is
        missing, because its type is not known, or because the run has nothing of that name.
        """
        return _why(self, name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Event) and other._run is self._run and other.index == self.index

    def __hash__(self) -> int:
        return hash((id(self._run), self.index))

    def __repr__(self) -> str:
        event_id = self.id
        time = str(event_id.time).replace("T", " ")
        step = int(self.row["step"])
        return f"<Event {self.index} of run {event_id.run}: {time}, fiducials {event_id.fiducials}, step {step}>"


def _row(events: NDArray[np.integer], index: int) -> int | None:
    row = int(np.searchsorted(events, index))
    return row if row < len(events) and int(events[row]) == index else None


def _why(event: Event, name: str) -> str:
    run = event.run
    try:
        detector = run.names.find(name)
    except (NotFoundError, UsageError) as error:
        unknown = _unknown_type(event, name)
        return unknown or f"{error.message}{'; ' if error.hint else ''}{error.hint}"
    reasons = []
    for type_name in detector.types:
        key = next(
            (key for key in run.readers if key.xtc_type.name == type_name and key.source.same_as(detector.source)), None
        )
        if key is None:
            reasons.append(f"{type_name} is configuration: see run.config.at(event)")
            continue
        objects = run.table.objects(key.xtc_type, key.source)
        row = _row(objects.event, event.index)
        if row is None:
            reasons.append(f"{type_name} is not in this event; {int(np.count_nonzero(objects.stored))} events have it")
            continue
        damage = Damage(int(objects.damage[row]))
        if objects.stored[row]:
            reasons.append(f"{type_name} is there" + (f", with {damage!r}" if damage else ""))
        elif damage:
            reasons.append(f"{type_name} is damaged: {', '.join(damage.names) or f'user bits {damage.user_bits}'}")
        elif int(objects.size[row]) <= 0:
            reasons.append(f"{type_name} has no payload in this event")
        elif objects.config[row] < 0 and objects.product.config_types:
            wanted = " or ".join(objects.product.config_types)
            reasons.append(
                f"{type_name} cannot be decoded: its source has no configuration ({wanted}) before this event"
            )
        else:
            reasons.append(f"{type_name} is too short in this event")
    missing = [damage for source, damage in event.dropped if source.same_as(detector.source)]
    if missing:
        reasons.append(f"the contribution was dropped: {', '.join(missing[0].names)}")
    return f"{name}: {'; '.join(reasons) or 'the run has no objects of it'}"


def _unknown_type(event: Event, name: str) -> str:
    """Return the reason when a source has only types that the catalogue does not have."""
    from psanacli.run.objects import products_of
    from psanacli.xtc import type_name

    table = event.run.table
    for log, phy, word in table.keys.tolist():
        source = Source(log, phy)
        if name in (source.name, source.text, source.daq_name) and not products_of(word):
            return f"{name}: its type {type_name(word)} is not known"
    return ""


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


__all__ = ["Event", "EventId", "Events"]
