"""Values from outside the data acquisition, joined to the events of a run by time."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from psanacli.errors import NotFoundError, UsageError, did_you_mean, fold
from psanacli.outside import (
    NAME,
    Counts,
    Match,
    Origin,
    OutsideTable,
    ReadOptions,
    RowCounts,
    checked_how,
    from_arrays,
    match,
    parse_tolerance,
    read_table,
    taken,
    tolerance_text,
)

if TYPE_CHECKING:
    from psanacli.run.run import Run

Values = np.ma.MaskedArray[Any, Any]

ONLY = "value"
"""Another name of the field of a table that has only one."""
_TAKEN = frozenset(
    "and or not code codes damage damaged epics event events fiducials nanoseconds number present reason run seconds "
    "shift step time ticks vector control".split()
)
"""Names that mean something else where events are listed and chosen."""


@dataclass(frozen=True, eq=False)
class Joined:
    """Values from outside, one an event.

    Attributes
    ----------
    name : str
        In ``NAME.field``.
    columns : dict of str to masked array, shape (events, ...)
        By field; masked where the event has no value.
    counts : dict of str to Counts
        By field: events with a value, and why the others have none.
    how : str
        ``nearest``, ``previous`` or ``linear``.
    hows : dict of str to str
        The same by field: states are ``previous`` where numbers are ``linear``.
    tolerance : int or None
        In ns; None for any.
    units : dict of str to str
        By field.
    origin : Origin
        The table: file, size, time of change, checksum, time column, zone.
    rows : RowCounts
        What became of its rows.
    notes : tuple of str
        What the user should know of the table.
    """

    name: str
    columns: dict[str, Values]
    counts: dict[str, Counts]
    how: str
    hows: dict[str, str]
    tolerance: int | None
    units: dict[str, str]
    origin: Origin
    rows: RowCounts
    notes: tuple[str, ...] = ()

    def find(self, field: str) -> str:
        """Return the name of a field from one of its spellings.

        Case does not matter, and ``_`` stands for any character that a name in an expression cannot have. The only
        field of a table is also ``value``, or nothing.

        Raises
        ------
        NotFoundError
            There is none, with the nearest names.
        UsageError
            It could be several.
        """
        if field in self.columns:
            return field
        found = [name for name in self.columns if fold(name) == fold(field)]
        found = found or [name for name in self.columns if _identifier(name) == _identifier(field)]
        if not found and field in ("", ONLY) and len(self.columns) == 1:
            found = list(self.columns)
        if len(found) > 1:
            raise UsageError(f"{self.name}.{field} is ambiguous", f"it may be {', '.join(found)}")
        if not found:
            known = [f"{self.name}.{name}" for name in self.columns]
            hint = did_you_mean(f"{self.name}.{field}", known, f"there are {', '.join(known[:12])}")
            what = f"no field {field!r}" if field else "several fields: name one"
            raise NotFoundError(f"{self.name}, joined from {self.origin.path or 'arrays'}, has {what}", hint)
        return found[0]

    def remarks(self) -> list[str]:
        """Return in words which events have no value, and what is wrong with the table."""
        same: dict[Counts, list[str]] = {}
        for name, counts in self.counts.items():
            same.setdefault(counts, []).append(name)
        lines = []
        for counts, names in same.items():
            reasons = [
                (counts.outside, f"no row within {tolerance_text(self.tolerance)}"),
                (counts.before, "before the first row"),
                (counts.after, "after the last row"),
                (counts.no_value, "the row has no value"),
            ]
            why = ", ".join(f"{what}: {count}" for count, what in reasons if count)
            if why:
                shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
                lines.append(f"{self.name}: {counts.absent} of {counts.events} events have no {shown}: {why}")
        irregular = [
            (self.rows.duplicates, "with the time of a later row, which takes their place"),
            (self.rows.without_time, "without a time, left out"),
            (self.rows.twofold, "at a local time that came twice when clocks were set back, left out"),
            (self.rows.impossible, "at a local time that never was as clocks were set forward, left out"),
            (self.rows.invalid, "marked as invalid, without a value"),
        ]
        lines += [f"{self.name}: {count} row{'s' * (count != 1)} {what}" for count, what in irregular if count]
        linear = [name for name, how in self.hows.items() if how != self.how]
        if linear:
            lines.append(
                f"{self.name}: {', '.join(linear[:8])}: a state has no values in between, the previous is taken"
            )
        return [*lines, *(f"{self.name}: {note}" for note in self.notes)]

    def asdict(self) -> dict[str, Any]:
        """Return everything but the values as plain values."""
        return {
            "name": self.name,
            "how": self.how,
            "tolerance": tolerance_text(self.tolerance),
            "origin": self.origin.asdict(),
            "rows": self.rows.asdict(),
            "fields": [
                {
                    "field": name,
                    "units": self.units[name],
                    "how": self.hows[name],
                    "dtype": str(values.dtype),
                    "shape": list(values.shape[1:]),
                    **self.counts[name].asdict(),
                }
                for name, values in self.columns.items()
            ],
            "notes": self.remarks(),
        }


@dataclass(frozen=True, eq=False)
class JoinedColumn:
    """One joined field, as columns of detectors are read."""

    values: Values

    def read(self, first: int, stop: int, max_bytes: int = 0) -> Values:
        """Return the values of the events `first` to `stop`."""
        return self.values[first:stop]


def joined_column(joined: Mapping[str, Joined], name: str) -> JoinedColumn | None:
    """Return the column ``NAME.field`` of joined values, None if no joined values have that name."""
    head, _, field = name.strip().partition(".")
    found = joined.get(head) or next((each for key, each in joined.items() if fold(key) == fold(head)), None)
    return None if found is None else JoinedColumn(found.columns[found.find(field)])


def join(run: Run, table: OutsideTable, name: str, how: str, tolerance: str) -> Joined:
    """Return the values of a table for all events of a run.

    Parameters
    ----------
    run : Run
        Its events and the names that are taken.
    table : OutsideTable
        The values.
    name : str
        Letters, digits and ``_``.
    how, tolerance : str
        See `psanacli.outside.match`.

    Raises
    ------
    UsageError
        The name cannot be used, or is that of a detector.
    """
    _need_free(run, name)
    checked_how(how)
    limit = parse_tolerance(tolerance)
    events = run.events.times.astype(np.int64)
    times = table.times.astype(np.int64)
    matches: dict[tuple[str, bytes], Match] = {}
    columns, counts, hows = {}, {}, {}
    for field, column in table.columns.items():
        by = "previous" if column.state and how == "linear" else how
        present = column.present
        key = by, b"" if present is None else np.packbits(present).tobytes()
        values, valid = column.values, column.valid
        if present is not None:
            values, valid = values[present], None if valid is None else valid[present]
        if key not in matches:
            matches[key] = match(times if present is None else times[present], events, by, limit)
        columns[field], counts[field] = taken(matches[key], values, valid)
        hows[field] = by
    units = {field: column.units for field, column in table.columns.items()}
    return Joined(name, columns, counts, how, hows, limit, units, table.origin, table.counts, table.notes)


def _need_free(run: Run, name: str) -> None:
    if not re.fullmatch(NAME, name, re.ASCII):
        raise UsageError(f"{name!r} cannot be a name of joined values", "it has letters, digits and _ only")
    if fold(name) in _TAKEN:
        raise UsageError(f"{name!r} has a meaning for events, so it cannot be a name of joined values", "take another")
    try:
        found = run.names.find(name).source
    except NotFoundError:
        whole = run.wholes.find(name)
        if whole is None:
            return
        found = whole.key.source
    except UsageError:
        raise UsageError(f"{name!r} is a name of detectors of the run", "take another for what is joined") from None
    raise UsageError(f"{name!r} is the detector {found.name} of the run", "take another for what is joined")


def _identifier(name: str) -> str:
    return re.sub(r"\W", "_", name.casefold())


def table_of(source: Any, time: Any, options: Mapping[str, Any]) -> OutsideTable:
    """Return the table that a program gave.

    Parameters
    ----------
    source : OutsideTable, path, mapping of str to array, structured array, or array
        The values.
    time : str or array
        Name of the time column, or the times.
    options : mapping
        The other options of `ReadOptions`, by name.
    """
    known = [option.name for option in fields(ReadOptions)]
    for name in options:
        if name not in known:
            raise UsageError(f"there is no option {name!r}", did_you_mean(name, known, f"there are {', '.join(known)}"))
    given = None if isinstance(time, str) else np.ma.asanyarray(time)
    if isinstance(source, OutsideTable):
        if given is not None or time or any(options.values()):
            raise UsageError("a table that was read has its times", "leave time=, zone= and the others out")
        return source
    chosen = ReadOptions(**{**options, "time": "" if given is not None else time})
    if isinstance(source, (str, os.PathLike)):
        if given is not None:
            raise UsageError("the times of a file are in the file", "name their column: time='COLUMN'")
        return read_table(source, chosen)
    columns = _columns_of(source)
    if given is not None:
        name = next(name for name in ("time", "times", "time of the rows") if name not in columns)
        return from_arrays({name: given, **columns}, replace(chosen, time=name))
    return from_arrays(columns, chosen)


def _columns_of(source: Any) -> dict[str, Any]:
    """Return the columns of a mapping (a frame of pandas is one too), of a structured array, or of one array."""
    if isinstance(source, np.ndarray) and source.dtype.names:
        return {name: source[name] for name in source.dtype.names}
    if hasattr(source, "keys"):
        return {str(name): source[name] for name in source.keys()}
    return {ONLY: source}
