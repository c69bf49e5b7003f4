"""Tables from outside: values by time, and where they came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError
from psanacli.outside.matching import MOST

Array = NDArray[Any]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Origin:
    """Where a table came from.

    Attributes
    ----------
    path : str
        The file; empty for arrays.
    format : str
        ``csv``, ``hdf5``, ``archiver`` or ``arrays``.
    size : int
        Bytes.
    mtime_ns : int
        When the file was changed, Unix time in ns; 0 for arrays.
    checksum : str
        SHA-256 of the content, in hexadecimal.
    time : str
        The time column, two joined by ``+``.
    zone : str
        Zone of its times: as it was stated, or ``UTC`` where the times themselves say it.
    """

    path: str
    format: str
    size: int
    mtime_ns: int
    checksum: str
    time: str
    zone: str

    def asdict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Field:
    """One column of a table.

    Attributes
    ----------
    values : ndarray, shape (rows, ...)
        Numbers or text.
    present : ndarray of bool or None
        Rows that are samples of this column (an empty cell is none); None for all.
    valid : ndarray of bool or None
        Rows that hold a value: of a sample that says NaN or null this is False; None for all.
    units : str
    state : bool
        Text, an enumeration, a switch: a value holds until the next, and there is nothing in between.
    """

    values: Array
    present: Flags | None = None
    valid: Flags | None = None
    units: str = ""
    state: bool = False

    def take(self, rows: Array) -> Field:
        """Return some of the rows."""
        present = None if self.present is None else self.present[rows]
        valid = None if self.valid is None else self.valid[rows]
        return Field(self.values[rows], present, valid, self.units, self.state)


@dataclass
class RowCounts:
    """What became of the rows of a table.

    Attributes
    ----------
    rows : int
        As they stand in the file.
    used : int
        Distinct times.
    duplicates : int
        Rows with the time of a later one, which takes their place.
    without_time : int
        Rows without a time, left out.
    twofold : int
        Rows at a local time that came twice, as clocks were set back, where the order of rows does not tell which it
        was; left out.
    impossible : int
        Rows at a local time that never was, as clocks were set forward; left out.
    invalid : int
        Samples that say themselves that they are invalid (severity), which have no value.
    """

    rows: int = 0
    used: int = 0
    duplicates: int = 0
    without_time: int = 0
    twofold: int = 0
    impossible: int = 0
    invalid: int = 0

    def asdict(self) -> dict[str, int]:
        """Return the numbers by name."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class OutsideTable:
    """Values by time from outside the data acquisition.

    Attributes
    ----------
    times : ndarray of datetime64[ns]
        UTC, strictly increasing.
    columns : dict of str to Field
        A row for each time.
    origin : Origin
    counts : RowCounts
    notes : tuple of str
        What the user should know.
    """

    times: NDArray[np.datetime64]
    columns: dict[str, Field]
    origin: Origin
    counts: RowCounts = field(default_factory=RowCounts)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.times)

    def __repr__(self) -> str:
        span = f", {self.times[0]} to {self.times[-1]}" if len(self.times) else ""
        where = self.origin.path or self.origin.format
        return f"<OutsideTable {where}: {len(self)} rows of {', '.join(self.columns)}{span}>"


def in_order(
    times: NDArray[np.int64],
    columns: Mapping[str, Field],
    origin: Origin,
    counts: RowCounts,
    notes: tuple[str, ...] = (),
) -> OutsideTable:
    """Return the table of rows in any order: sorted by time, and one row for each time.

    Of several samples of a column at one time the last in the file counts.

    Parameters
    ----------
    times : ndarray of int64
        ns since 1970, UTC.
    columns : mapping of str to Field
        With as many rows.
    origin, counts, notes
        Of the table; the counts are completed.
    """
    if len(times) and (times.min() <= -MOST or times.max() >= MOST):
        raise DataError(f"{origin.path or 'the table'}: there are times before 1824 or after 2115")
    ordered = len(times) < 2 or bool((times[1:] > times[:-1]).all())
    found = dict(columns)
    if not ordered:
        order = np.argsort(times, kind="stable")
        times = times[order]
        first = np.flatnonzero(np.concatenate(([True], times[1:] != times[:-1])))
        last = np.append(first[1:], len(times)) - 1
        counts.duplicates += len(times) - len(first)
        found = {name: _last_of_each(field.take(order), first, last) for name, field in found.items()}
        times = times[first]
    counts.used = len(times)
    return OutsideTable(times.view("datetime64[ns]"), found, origin, counts, notes)


def _last_of_each(column: Field, first: Array, last: Array) -> Field:
    """Return the last sample of each group of rows."""
    if column.present is not None and not column.present.all():
        rows = np.where(column.present, np.arange(len(column.present)), -1)
        found = np.maximum.reduceat(rows, first)
        last = np.where(found >= 0, found, last)
    return column.take(last)
