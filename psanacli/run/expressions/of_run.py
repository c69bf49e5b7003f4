"""The columns of a run: of its event table, of its detectors, of EPICS, steps, and of tables joined with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError, NotFoundError, UsageError, did_you_mean, fold
from psanacli.run.columns import Column
from psanacli.run.epics import Variable
from psanacli.run.expressions.columns import Columns, Whole
from psanacli.run.expressions.columns import Source as Values
from psanacli.run.expressions.values import Value, absent
from psanacli.run.names import FoundDetector, Names
from psanacli.run.objects import Objects
from psanacli.run.pieces import WholeColumn, WholeReader
from psanacli.run.tables import EventFlag, times_of
from psanacli.xtc import Damage, Source

if TYPE_CHECKING:
    from psanacli.run.run import Run

#: Names of the event table, and what they are.
EVENT_COLUMNS = {
    "number": "number of the event in the run, from 0",
    "time": "time of the event, UTC; compared with texts such as '2015-07-15 10:00'",
    "seconds": "seconds of its time, since 1970",
    "nanoseconds": "the rest of its time",
    "fiducials": "count of pulses at 360 Hz, 0 to 131039",
    "ticks": "count of the 119 MHz clock",
    "vector": "count of the events of the data acquisition",
    "control": "the other part of the stamp of the event",
    "run": "run number",
    "step": "number of the step (calib cycle), from 0",
}


@dataclass(frozen=True, eq=False)
class _Made:
    """A column that a function makes."""

    make: Callable[[int, int], Value]
    weight: int = 8

    def read(self, first: int, stop: int) -> Value:
        return self.make(first, stop)


@dataclass(frozen=True, eq=False)
class _Field:
    """A field of a detector."""

    name: str
    field: Column | WholeColumn

    @property
    def weight(self) -> int:
        """The size of its largest payload: the array of a field is not larger."""
        return self.field.weight

    def read(self, first: int, stop: int) -> Value:
        column = self.field.read(first, stop)
        if column.dtype.names:
            fields = ", ".join(column.dtype.names[:12])
            raise UsageError(f"{self.name!r} is a detector", f"name one of its fields: {fields}")
        mask = np.ma.getmaskarray(column)
        mask = mask.reshape(len(mask), -1)[:, 0] if mask.size else np.zeros(len(mask), bool)
        return Value(column.data, mask if mask.any() else None)


class _Variable:
    """An EPICS variable at each event."""

    weight = 16

    def __init__(self, run: Run, variable: Variable, words: bool = False) -> None:
        self.variable = variable
        self._groups = run.table.events["group"]
        self._values = _plain(variable)
        if words:
            texts = np.array([*variable.enum_strings, ""])
            numbers = self._values.astype(np.int64)
            known = (numbers >= 0) & (numbers < len(texts) - 1)
            self._values = texts[np.where(known, numbers, len(texts) - 1)]

    def read(self, first: int, stop: int) -> Value:
        rows = np.searchsorted(self.variable.group, self._groups[first:stop], side="right") - 1
        there = rows >= 0
        if not there.any():
            return absent(stop - first)
        return Value(self._values[np.maximum(rows, 0)], None if there.all() else ~there)


def _plain(variable: Variable) -> NDArray[Any]:
    """Return the values of a variable as an array of numbers or texts."""
    values = variable.values
    if values.dtype != object:
        return values
    try:
        plain = np.array(values.tolist())
    except ValueError:
        plain = values
    if plain.dtype.kind not in "biufU" or (
        plain.dtype.kind == "U" and not all(isinstance(each, str) for each in values)
    ):
        raise DataError(f"the values of {variable.name} are of several kinds or lengths")
    return plain


class RunColumns(Columns):
    """The columns of a run.

    Parameters
    ----------
    run : Run
    """

    def __init__(self, run: Run) -> None:
        self.run = run

    def __len__(self) -> int:
        return len(self.run.table.events)

    def column(self, parts: tuple[str, ...]) -> Values:
        """Return a column of a joined table, of the event table, or the field of a detector."""
        joined = next((table for name, table in self.run.joined.items() if fold(name) == fold(parts[0])), None)
        if joined is not None:
            return Whole.of(joined.columns[joined.find(".".join(parts[1:]))])
        if len(parts) == 1 and fold(parts[0]) in EVENT_COLUMNS:
            return self._of_events(fold(parts[0]))
        name = ".".join(parts)
        try:
            detector, path = self.run.names.find_field(name)
        except NotFoundError as error:
            whole = self.run.wholes.find_field(name)
            if whole is not None:
                return self._of_whole(name, *whole)
            if len(parts) > 1:
                raise
            hint = did_you_mean(name, [*EVENT_COLUMNS, *self.run.joined], error.hint)
            raise NotFoundError(f"there is no {name!r}: no quantity of events, and no detector", hint) from None
        if not path:
            self._need_field(name, detector)
        return _Field(name, self.run.field(name))

    def _of_whole(self, name: str, whole: WholeReader, path: str) -> Values:
        """Return the field of a detector that comes in pieces."""
        if not path:
            self._need_one_of(name, [*whole.key.xtc_type.accessors])
        return _Field(name, whole.column(path))

    def _need_field(self, name: str, detector: FoundDetector) -> None:
        fields = [
            accessor
            for key in self.run.readers
            if key.source.same_as(detector.source) and key.xtc_type.name in detector.types
            for accessor in key.xtc_type.accessors
        ]
        self._need_one_of(name, fields)

    @staticmethod
    def _need_one_of(name: str, fields: list[str]) -> None:
        shown = ", ".join(dict.fromkeys(fields[:16])) + (", ..." if len(fields) > 16 else "")
        raise UsageError(f"{name!r} is a detector, not a value", f"name one of its fields: {shown}")

    def _of_events(self, name: str) -> Values:
        events = self.run.table.events
        if name == "number":
            return _Made(lambda first, stop: Value(np.arange(first, stop)))
        if name == "time":
            return _Made(lambda first, stop: Value(times_of(events[first:stop])))
        return _Made(lambda first, stop: Value(events[name][first:stop]))

    # --- presence and damage ------------------------------------------------------------------------------------

    def _objects(self, detector: FoundDetector) -> list[Objects]:
        return [
            self.run.table.objects(key.xtc_type, key.source)
            for key in self.run.readers
            if key.source.same_as(detector.source) and key.xtc_type.name in detector.types
        ]

    def present(self, name: tuple[str, ...]) -> Values | None:
        """Return in which events a detector has an object; nothing of it is read."""
        if (len(name) == 1 and fold(name[0]) in EVENT_COLUMNS) or fold(name[0]) in map(fold, self.run.joined):
            return None
        found = np.zeros(len(self), bool)
        try:
            detector, path = self.run.names.find_field(".".join(name))
        except NotFoundError:
            whole = self.run.wholes.find_field(".".join(name))
            if whole is None:
                raise
            found[whole[0].events] = True
            return None if whole[1] else Whole(found)
        if path:
            return None
        for objects in self._objects(detector):
            found[objects.event[objects.stored]] = True
        return Whole(found)

    def damaged(self, name: str | None) -> Values:
        """Return in which events a detector is damaged, or was dropped; for None, in which there is any damage."""
        table = self.run.table
        found = np.zeros(len(self), bool)
        if name is None:
            found |= table.events["flags"] & EventFlag.DAMAGED != 0
            found[table.events_with(np.flatnonzero(table.contributions["damage"]))] = True
            return Whole(found)
        for detector in self._pieces(name):
            for objects in self._objects(detector):
                found[objects.event[objects.damage != 0]] = True
            found[self._dropped(detector)] = True
        return Whole(found)

    def _pieces(self, name: str) -> list[FoundDetector]:
        """Return the source of a name, or the sources that are its pieces."""
        try:
            return [self.run.names.find(name)]
        except NotFoundError:
            whole = self.run.wholes.find(name)
            if whole is None:
                raise
            return [self.run.names.find(piece.source.name) for piece in whole.pieces]

    def _dropped(self, detector: FoundDetector) -> NDArray[np.int64]:
        """Return the events in which a contribution of a detector was dropped."""
        table = self.run.table
        rows = table.contents.dropped
        ours = [Source(log, phy).same_as(detector.source) for log, phy, _ in table.keys.tolist()]
        return table.events_with(rows[np.array(ours, bool)[table.contributions["key"][rows]]])

    def why(self, name: str) -> Values:
        """Return why a detector is absent, in words; empty where it is there."""
        try:
            detector = self.run.names.find(name)
        except NotFoundError:
            whole = self.run.wholes.find(name)
            if whole is None:
                raise
            return _Made(lambda first, stop: Value(self._reasons_of_whole(whole, first, stop)), weight=512)
        return _Made(lambda first, stop: Value(self._reasons(name, detector, first, stop)), weight=512)

    def _reasons_of_whole(self, whole: WholeReader, first: int, stop: int) -> NDArray[np.str_]:
        """Return what is missing of a detector that comes in pieces."""
        texts = np.full(stop - first, "")
        for piece in whole.pieces:
            mine = self._reasons(piece.source.name, self.run.names.find(piece.source.name), first, stop)
            mine = np.where(mine == "", "", np.char.add(f"{piece.source.name}: ", mine))
            both = (texts != "") & (mine != "")
            texts = np.char.add(np.char.add(texts, np.where(both, "; ", "")), mine)
        apart = np.setdiff1d(np.flatnonzero(texts == "") + first, whole.frames.together(first, stop))
        reasons = {event: whole.why_not(event) for event in apart.tolist()}
        return (
            np.array([reasons.get(first + row, text) for row, text in enumerate(texts.tolist())]) if reasons else texts
        )

    def _reasons(self, name: str, detector: FoundDetector, first: int, stop: int) -> NDArray[np.str_]:
        """Ask one event of each kind: events in which all objects are in the same state have the same reason."""
        count = stop - first
        states = []
        there = np.zeros(count, bool)
        for objects in self._objects(detector):
            low, high = np.searchsorted(objects.event, (first, stop))
            rows = objects.event[low:high] - first
            state = np.full((count, 4), -1, np.int64)
            state[rows, 0] = objects.stored[low:high]
            state[rows, 1] = objects.damage[low:high]
            state[rows, 2] = objects.size[low:high] > 0
            state[rows, 3] = objects.config[low:high] >= 0
            there[rows[objects.stored[low:high]]] = True
            states.append(state)
        dropped = np.zeros((count, 1), np.int64)
        gone = self._dropped(detector)
        inside = gone[(gone >= first) & (gone < stop)] - first
        dropped[inside, 0] = [self._dropped_word(detector, first + row) for row in inside.tolist()]
        _, samples, which = np.unique(
            np.concatenate([*states, dropped], axis=1)[~there], axis=0, return_index=True, return_inverse=True
        )
        missing = np.flatnonzero(~there)
        texts = np.array(
            ["", *(self.run.events[first + int(missing[row])].why(name).partition(": ")[2] for row in samples)]
        )
        result = np.zeros(count, np.int64)
        result[missing] = which.reshape(-1) + 1
        return np.asarray(texts[result])

    def _dropped_word(self, detector: FoundDetector, event: int) -> Damage:
        return next(
            (damage for source, damage in self.run.events[event].dropped if source.same_as(detector.source)), Damage(0)
        )

    # --- codes, EPICS, steps ------------------------------------------------------------------------------------

    def code(self, number: int) -> Values:
        """Return in which events there is an event code; absent in those without timing data."""
        known = np.zeros(len(self), bool)
        for key in self.run.readers:
            if key.xtc_type.name.startswith("EvrData.Data"):
                objects = self.run.table.objects(key.xtc_type, key.source)
                known[objects.event[objects.stored]] = True
        return Whole(self.run.codes.present(number), None if known.all() else ~known)

    def epics(self, name: str) -> Values:
        """Return an EPICS variable as it is at each event; absent before its first value."""
        return _Variable(self.run, self.run.epics[name])

    def as_text(self, source: Values) -> Values | None:
        """Return the texts of an EPICS enumeration."""
        if isinstance(source, _Variable) and source.variable.enum_strings:
            return _Variable(self.run, source.variable, words=True)
        return None

    def scan(self, name: str) -> Values:
        """Return what was set for the steps: a value (`Step.values`) or a text (`Step.labels`)."""
        steps = [*self.run.steps]
        for kind in ("values", "labels"):
            names = Names[str]("value of the scan")
            for step in steps:
                for known in getattr(step, kind):
                    names.add(known, known)
            found = names.get(name)
            if found is not None:
                values = [getattr(step, kind).get(found) for step in steps]
                return _by_step(self.run.table.events["step"], values, "" if kind == "labels" else 0.0)
        known = dict.fromkeys(name for step in steps for name in (*step.values, *step.labels))
        shown = f"there are {', '.join(known)}" if known else "nothing was set for the steps of this run"
        raise NotFoundError(f"no value of the scan is called {name!r}", did_you_mean(name, known, shown))


def _by_step(step: NDArray[np.int32], values: list[Any], nothing: Any) -> Values:
    missing = np.array([value is None for value in values], bool)
    table = np.array([nothing if value is None else value for value in values])

    def make(first: int, stop: int) -> Value:
        rows = step[first:stop]
        inside = (rows >= 0) & (rows < len(table))
        if not inside.any():
            return absent(stop - first)
        rows = np.where(inside, rows, 0)
        mask = missing[rows] | ~inside
        return Value(table[rows], mask if mask.any() else None)

    return _Made(make)
