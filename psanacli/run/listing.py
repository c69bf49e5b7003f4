"""Lists of events with columns: quantities of the event table, values of detectors, whatever an expression can say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import UsageError
from psanacli.run.events import Events
from psanacli.run.expressions import Bound, Expression, RunColumns
from psanacli.run.tables import EventFlag
from psanacli.xtc import Damage

if TYPE_CHECKING:
    from psanacli.run.run import Run

DEFAULT_COLUMNS = ("run", "number", "time", "fiducials", "step", "codes", "damage")
_ROWS = 4096
_PART = re.compile(r"""'[^']*'|"[^"]*"|`[^`]*`|[(\[]|[)\]]|,|[^'"`()\[\],]+|.""", re.DOTALL)


def split_columns(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the columns of lists such as ``number,min(ipm3.sum, 5)``: commas in brackets and quotes do not split.

    Raises
    ------
    UsageError
        A column is empty, or there twice.
    """
    found: list[str] = []
    for text in texts:
        words = [""]
        depth = 0
        for part in _PART.findall(text):
            depth += (part in "([") - (part in ")]")
            if part == "," and not depth:
                words.append("")
            else:
                words[-1] += part
        found += (word.strip() for word in words)
    if "" in found:
        raise UsageError("a column has no name", "write them with commas between: number,time,fiducials")
    twice = [name for name in found if found.count(name) > 1]
    if twice:
        raise UsageError(f"the column {twice[0]!r} is there twice")
    return tuple(found)


class EventTable:
    """Some columns of events of a run.

    Parameters
    ----------
    run : Run
    names : iterable of str
        Expressions, or ``codes`` (the event codes), ``damage`` (damaged sources and how), ``experiment``.

    Raises
    ------
    UsageError, NotFoundError
        A column is wrong, or has a name that does not exist.
    """

    def __init__(self, run: Run, names: Iterable[str]) -> None:
        self.run = run
        self.names = tuple(names)
        columns = RunColumns(run)
        self._bound: dict[str, Bound] = {
            name: Expression.parse(name).bind(columns)
            for name in self.names
            if name.lower() not in ("codes", "damage", "experiment", "run")
        }

    @cached_property
    def _dropped(self) -> NDArray[np.int64]:
        """The events in which a contribution was dropped."""
        return self.run.table.events_with(self.run.table.contents.dropped)

    def rows(self, events: Events) -> Iterator[tuple[Any, ...]]:
        """Give a row for each event: plain values, None where one is absent; a time is a `numpy.datetime64`.

        Events are read by blocks, so the memory does not depend on their number.
        """
        for first in range(0, len(events), _ROWS):
            some = events[first : first + _ROWS]
            yield from zip(*(self._column(name, some) for name in self.names), strict=True)

    def _column(self, name: str, events: Events) -> list[Any]:
        numbers = np.asarray(events.indices, np.int64)
        match name.lower():
            case "codes":
                starts, values = self.run.codes.starts, self.run.codes.values
                return [values[starts[number] : starts[number + 1]].tolist() for number in numbers.tolist()]
            case "damage":
                return self._damage(numbers.tolist())
            case "experiment":
                return [self.run.experiment.name] * len(numbers)
            case "run":
                return [self.run.number] * len(numbers)
        column = self._bound[name].at(numbers)
        mask = np.ma.getmaskarray(column)
        gone: Any = mask.reshape(len(numbers), -1).any(axis=1).tolist() if mask.size else [False] * len(numbers)
        data = [*column.data] if column.dtype.kind == "M" else column.data.tolist()
        return [None if absent else value for value, absent in zip(data, gone, strict=True)]

    def _damage(self, numbers: list[int]) -> list[dict[str, list[str]]]:
        """Return names of the damage of each event by the name of its source."""
        found: list[dict[str, list[str]]] = [{} for _ in numbers]
        wanted: dict[int, list[int]] = {}
        for place, number in enumerate(numbers):
            wanted.setdefault(number, []).append(place)
        table = self.run.table
        for key in table.object_keys():
            objects = table.objects(key.xtc_type, key.source)
            low, high = np.searchsorted(objects.event, (min(numbers), max(numbers) + 1)).tolist()
            rows = low + np.flatnonzero(objects.damage[low:high])
            for number, damage in zip(objects.event[rows].tolist(), objects.damage[rows].tolist(), strict=True):
                for place in wanted.get(number, ()):
                    _add(found[place], key.source.name, Damage(damage))
        for number in np.intersect1d(self._dropped, numbers).tolist():
            for place in wanted.get(number, ()):
                for source, damage in self.run.events[number].dropped:
                    _add(found[place], source.name, damage)
        return found


def _add(found: dict[str, list[str]], name: str, damage: Damage) -> None:
    words = found.setdefault(name, [])
    for word in damage.names or [f"user bits {damage.user_bits}"]:
        if word not in words:
            words.append(word)


__all__ = ["DEFAULT_COLUMNS", "EventTable", "split_columns"]


def event_values(events: Events) -> Iterator[dict[str, Any]]:
    """Give events as plain values: number, time (ISO 8601), stamp, step, codes and flags."""
    run, table = events.run, events.table
    columns = [table[name].tolist() for name in ("seconds", "nanoseconds", "fiducials", "vector", "step", "flags")]
    times = np.datetime_as_string(events.times).tolist()
    starts, codes = run.codes.starts.tolist(), run.codes.values.tolist()
    names = {flags: flag_names(flags) for flags in set(columns[-1])}
    for index, time, *numbers, flags in zip(np.asarray(events.indices).tolist(), times, *columns, strict=True):
        seconds, nanoseconds, fiducials, vector, of_step = numbers
        yield {
            "run": run.number,
            "event": index,
            "time": time,
            "seconds": seconds,
            "nanoseconds": nanoseconds,
            "fiducials": fiducials,
            "vector": vector,
            "step": of_step,
            "codes": codes[starts[index] : starts[index + 1]],
            "flags": names[flags],
        }


def flag_names(flags: int) -> list[str]:
    """Return what an event is made of, and what is wrong with it, in words."""
    return [str(flag.name).lower() for flag in EventFlag if flags & flag]
