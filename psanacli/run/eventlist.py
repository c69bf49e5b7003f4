"""Lists of events that people can read, edit, keep for years and paste into a mail.

One event a line::

    # good shots of the morning
    xpptut15 r54 1436954400.123456789 f12345

that is experiment, run, seconds and nanoseconds (or ``2015-07-15T10:00:00.123456789``, UTC), and fiducials.  What is
not known may be left out, up to the time.  Everything behind ``#`` is a remark.  The order, and events that are there
twice, stay.  What else is understood: numbers of events of the only run, lines of JSON, tables with tabs and a line of
names, three numbers (seconds, nanoseconds, fiducials), and what the original prints.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import NotFoundError, UsageError, fold
from psanacli.run.access import Finder
from psanacli.run.eventlines import Line, read_lines
from psanacli.whole import whole_file

if TYPE_CHECKING:
    from psanacli.run.events import Events
    from psanacli.run.run import Run

IDS = np.dtype(
    [
        ("experiment", "<i4"),
        ("run", "<i8"),
        ("seconds", "<i8"),
        ("nanoseconds", "<i8"),
        ("fiducials", "<i8"),
        ("number", "<i8"),
    ]
)
"""A row of a list; -1 is what the list does not tell. ``experiment`` is an index into the names of the list."""

_UNKNOWN = -1
_ROWS = 1 << 16
Operator = Literal["and", "or", "minus"]


@dataclass(frozen=True, eq=False)
class EventList:
    """Ids of events, in order; of one run or of several.

    Attributes
    ----------
    experiments : tuple of str
        Names of experiments.
    rows : ndarray of `IDS`
        An id a row: by time and fiducials, or by the number of the event in its run.
    origin : str
        Where it was read, for messages.

    Examples
    --------
    >>> saved = EventList.parse("xpptut15 r54 1436954400.123456789 f12345  # the best one")
    >>> len(saved), saved.line(0)
    (1, 'xpptut15 r54 1436954400.123456789 f12345')
    """

    experiments: tuple[str, ...] = ()
    rows: NDArray[np.void] = field(default_factory=lambda: np.zeros(0, IDS))
    origin: str = "the list"

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> EventList:
        """Read a list from a file, or from standard input (``-``).

        Raises
        ------
        NotFoundError
            There is no such file.
        UsageError
            A line is no event; the message tells file and line.
        """
        if os.fspath(path) == "-":
            return cls.parse(sys.stdin.buffer.read(), "standard input")
        try:
            data = Path(path).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            hint = "give a file with an event a line, or - for standard input; --events also takes A:B:C and a number"
            raise NotFoundError(f"there is no list of events {os.fspath(path)!r}: {error.strerror}", hint) from None
        return cls.parse(data, os.fspath(path))

    @classmethod
    def parse(cls, data: bytes | str, origin: str = "the list") -> EventList:
        """Return the list of a text.

        Raises
        ------
        UsageError
            A line is no event; the message tells the line.
        """
        text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
        names: dict[str, int] = {}
        parts = []
        some: list[tuple[int, ...]] = []
        for line in read_lines(text.removeprefix("\ufeff"), origin):
            experiment = names.setdefault(line.experiment, len(names)) if line.experiment else _UNKNOWN
            some.append((experiment, line.run, line.seconds, line.nanoseconds, line.fiducials, line.number))
            if len(some) == _ROWS:
                parts.append(np.array(some, IDS))
                some = []
        parts.append(np.array(some, IDS))
        return cls(tuple(names), np.concatenate(parts), origin)

    @classmethod
    def of(cls, events: Events) -> EventList:
        """Return the ids of events of a run."""
        run, table = events.run, events.table
        rows = np.empty(len(table), IDS)
        rows["experiment"] = 0 if run.experiment.name else _UNKNOWN
        rows["run"] = run.number
        rows["number"] = _UNKNOWN
        for name in ("seconds", "nanoseconds", "fiducials"):
            rows[name] = table[name]
        return cls((run.experiment.name,) if run.experiment.name else (), rows)

    @classmethod
    def joined(cls, lists: Iterable[EventList]) -> EventList:
        """Return lists one after the other."""
        names: dict[str, int] = {}
        parts = [np.zeros(0, IDS)]
        for each in lists:
            numbers = np.array([*(names.setdefault(name, len(names)) for name in each.experiments), _UNKNOWN])
            rows = each.rows.copy()
            rows["experiment"] = numbers[rows["experiment"]]
            parts.append(rows)
        return cls(tuple(names), np.concatenate(parts))

    # --- as text ------------------------------------------------------------------------------------------------

    def lines(self) -> Iterator[str]:
        """Give the line of each event."""
        for first in range(0, len(self.rows), _ROWS):
            rows = self.rows[first : first + _ROWS]
            columns = [rows[name].tolist() for name in IDS.names or ()]
            for experiment, run, seconds, nanoseconds, fiducials, number in zip(*columns, strict=True):
                head = f"{self.experiments[experiment]} " if experiment >= 0 else ""
                head += f"r{run} " if run >= 0 else ""
                tail = f" f{fiducials}" if fiducials >= 0 else ""
                yield f"{number}" if seconds < 0 else f"{head}{seconds}.{nanoseconds:09d}{tail}"

    def line(self, place: int) -> str:
        """Return the line of one event."""
        return next(self[[place]].lines())

    def records(self) -> Iterator[dict[str, str | int]]:
        """Give each event as named values, without what the list does not tell."""
        for first in range(0, len(self.rows), _ROWS):
            rows = self.rows[first : first + _ROWS]
            columns = [rows[name].tolist() for name in IDS.names or ()]
            for values in zip(*columns, strict=True):
                known = dict(zip(IDS.names or (), values, strict=True))
                experiment = known.pop("experiment")
                head = {"experiment": self.experiments[experiment]} if experiment >= 0 else {}
                yield head | {name: value for name, value in known.items() if value >= 0}

    def write(self, path: str | os.PathLike[str], *, remarks: Sequence[str] = (), head: str = "") -> None:
        """Write the list to a file, whole or not at all.

        Parameters
        ----------
        path : path
            The file.
        remarks : sequence of str
            Lines above the events, behind ``#``.
        head : str
            Text above all, such as what the file had before.

        Raises
        ------
        OutputError
            It cannot be written.
        """
        lines = (*(f"# {line}" for remark in remarks for line in remark.splitlines()), *self.lines())
        with whole_file(Path(path)) as file:
            file.write(head.encode("utf-8", "surrogateescape"))
            file.writelines(f"{line}\n".encode("utf-8", "surrogateescape") for line in lines)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, places: slice | Sequence[int] | NDArray[np.integer] | NDArray[np.bool_]) -> EventList:
        rows = self.rows[places if isinstance(places, slice) else np.asarray(places)]
        return EventList(self.experiments, rows, self.origin)

    def __repr__(self) -> str:
        runs = np.unique(self.rows["run"])
        return f"<EventList: {len(self)} events of {len(runs)} run{'s' * (len(runs) != 1)}>"

    # --- in runs ------------------------------------------------------------------------------------------------

    @property
    def numbered(self) -> NDArray[np.bool_]:
        """Which ids are bare numbers."""
        return np.asarray(self.rows["seconds"] < 0)

    def resolve(self, run: Run) -> NDArray[np.int64]:
        """Return the number of each event in a run, -1 where the run does not have it.

        A run number has to be that of the file names or of BeginRun. Names of experiments count where they are names
        on both sides, not prefixes of files (``e158``). Without fiducials the first event of the time is meant.
        """
        rows = self.rows
        if not len(rows) or not len(run.events):
            return np.full(len(rows), -1, np.int64)
        found = self._found(run.finder, len(run.events))
        there = run.table.events["run"][found]
        ours = (rows["run"] < 0) | (rows["run"] == run.number) | (rows["run"] == there)
        same = np.array([*(_same_experiment(name, run) for name in self.experiments), True])
        return np.where(ours & same[rows["experiment"]], found, -1)

    def places(self, table: NDArray[np.void]) -> NDArray[np.int64]:
        """Return the row of each event in a table with ``seconds``, ``nanoseconds``, ``fiducials``; -1: it has none."""
        return self._found(Finder(table), len(table))

    def _found(self, finder: Finder, count: int) -> NDArray[np.int64]:
        rows, numbered = self.rows, self.numbered
        found = np.full(len(rows), -1, np.int64)
        inside = numbered & (rows["number"] < count)
        found[inside] = rows["number"][inside]
        whole = np.flatnonzero(~numbered & (rows["fiducials"] >= 0))
        if len(whole):
            found[whole] = finder.find(rows[whole])
        for row in np.flatnonzero(~numbered & (rows["fiducials"] < 0)).tolist():
            found[row] = finder.first(int(rows["seconds"][row]), int(rows["nanoseconds"][row]), None)
        return found

    # --- sets ---------------------------------------------------------------------------------------------------

    def combined(self, operator: Operator, other: EventList) -> EventList:
        """Return the events of this list that are in the other too (``and``) or are not (``minus``), or of both.

        The order is that of this list, with ``or`` followed by what only the other has.  What one of the lists does
        not tell (experiment, run, fiducials) is not compared.

        Raises
        ------
        UsageError
            One has times and the other numbers of events.
        """
        if len(self) and len(other) and len({*self.numbered.tolist(), *other.numbered.tolist()}) > 1:
            raise UsageError(
                "numbers of events cannot be compared with times",
                "psana eventid save LIST DATASOURCE --events NUMBERS makes times of numbers",
            )
        mine, others = _keys(self, other)
        if operator == "or":
            known = set(mine)
            new = np.array([key not in known for key in others], bool)
            return EventList.joined([self, other[new]])
        known = set(others)
        inside = np.array([key in known for key in mine], bool)
        return self[inside if operator == "and" else ~inside]

    def __and__(self, other: EventList) -> EventList:
        return self.combined("and", other)

    def __or__(self, other: EventList) -> EventList:
        return self.combined("or", other)

    def __sub__(self, other: EventList) -> EventList:
        return self.combined("minus", other)


def _same_experiment(name: str, run: Run) -> bool:
    ours = run.experiment.name
    return fold(name) == fold(ours) or _is_prefix(name) or _is_prefix(ours)


def _is_prefix(name: str) -> bool:
    """Whether it is not the name of an experiment, but what names of files begin with."""
    return not name or (name[0] in "eE" and name[1:].isdecimal())


def _keys(*lists: EventList) -> list[list[tuple[object, ...]]]:
    """Return for each id of each list what tells it apart, as far as all ids tell it."""
    names = ["run", "seconds", "nanoseconds", "fiducials", "number"]
    compared = [name for name in names if all((each.rows[name] >= 0).all() for each in lists)]
    by_experiment = all((each.rows["experiment"] >= 0).all() for each in lists) and not any(
        _is_prefix(name) for each in lists for name in each.experiments
    )
    found = []
    for each in lists:
        columns: list[list[object]] = [each.rows[name].tolist() for name in compared]
        if by_experiment:
            folded = [fold(name) for name in each.experiments]
            columns.append([folded[number] for number in each.rows["experiment"].tolist()])
        found.append([*zip(*columns, strict=True)])
    return found


__all__ = ["IDS", "EventList", "Line"]
