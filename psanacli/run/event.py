"""One event of a run: what identifies it, what is in it, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import UsageError
from psanacli.run.objects import Key, is_dropped
from psanacli.run.origins import Origin
from psanacli.run.steps import Step
from psanacli.run.why import why
from psanacli.xtc import Damage, Source

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

    def get(self, name: str) -> Any:
        """Return the object of a detector, None when this event has none.

        That is a `Record`, or of a detector that is read out in pieces a `JoinedElement`.

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
            row = objects.row_of(self.index)
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
        return why(self, name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Event) and other._run is self._run and other.index == self.index

    def __hash__(self) -> int:
        return hash((id(self._run), self.index))

    def __repr__(self) -> str:
        event_id = self.id
        time = str(event_id.time).replace("T", " ")
        step = int(self.row["step"])
        return f"<Event {self.index} of run {event_id.run}: {time}, fiducials {event_id.fiducials}, step {step}>"
