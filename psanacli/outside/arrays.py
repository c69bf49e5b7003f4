"""Tables made of arrays that a program has."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import UsageError, fold
from psanacli.outside.cells import Place
from psanacli.outside.table import Field, Origin, OutsideTable, RowCounts, in_order
from psanacli.outside.times import (
    ReadOptions,
    RowTimes,
    Scale,
    time_columns,
    times_of_cells,
    times_of_datetimes,
    times_of_numbers,
    times_of_pair,
)

Array = NDArray[Any]


def from_arrays(
    columns: Mapping[str, Any],
    options: ReadOptions,
    *,
    units: Mapping[str, str] | None = None,
    states: frozenset[str] = frozenset(),
    origin: Origin | None = None,
    notes: tuple[str, ...] = (),
) -> OutsideTable:
    """Return the table of columns by name, one or two of which are the time.

    Parameters
    ----------
    columns : mapping of str to array, shape (rows, ...)
        Numbers, text, or times (datetime64; of UTC unless a zone is stated). Masked elements are no samples.
    options : ReadOptions
        What the arrays do not say themselves.
    units : mapping of str to str, optional
        Of columns that have some.
    states : frozenset of str
        Columns that are enumerations, beside those in `options`.
    origin : Origin, optional
        Default: of these arrays.
    notes : tuple of str
        Kept in the table.

    Raises
    ------
    UsageError
        No time, or arrays of different length.
    """
    units = units or {}
    where = origin.path if origin else "the arrays"
    arrays = {str(name): _array(values, f"{where}: {name}") for name, values in columns.items()}
    lengths = {name: len(values) for name, values in arrays.items()}
    if len(set(lengths.values())) > 1:
        text = ", ".join(f"{name} has {length}" for name, length in [*lengths.items()][:6])
        raise UsageError(f"{where}: columns of different length: {text} rows")
    names = time_columns(arrays, options, where)
    counts = RowCounts(rows=next(iter(lengths.values())))
    times = _times(arrays, names, units, options, Place(where), counts)
    marked = {fold(name) for name in (*states, *options.states)}
    fields = {
        name: _field(values, Place(where), name, units.get(name, ""), fold(name) in marked)
        for name, values in arrays.items()
        if name not in names
    }
    rows = np.flatnonzero(times.usable)
    if len(rows) < counts.rows:
        fields = {name: field.take(rows) for name, field in fields.items()}
    if origin is None:
        origin = Origin("", "arrays", sum(values.nbytes for values in arrays.values()), 0, _checksum(arrays), "", "")
    known = Origin(**{**origin.asdict(), "time": "+".join(names), "zone": times.zone})
    return in_order(times.times[rows], fields, known, counts, notes)


def _array(values: Any, where: str) -> Array:
    array = np.ma.asanyarray(values) if np.ma.isMaskedArray(values) else np.asarray(values)
    if array.ndim == 0:
        raise UsageError(f"{where} is a single value, not a column")
    if array.dtype.kind == "O" or array.dtype.kind == "T":
        if not all(isinstance(value, (str, bytes)) for value in array.flat):
            raise UsageError(f"{where} holds objects, not numbers or text", "such as array(..., dtype=float)")
        array = np.array([value if isinstance(value, bytes) else value.encode() for value in array.flat], "S")
    if array.dtype.kind not in "biufSUM" or (array.dtype.itemsize > 8 and array.dtype.kind in "iuf"):
        raise UsageError(f"{where} has the type {array.dtype}, which is no number, text or time")
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _encoded(values: Array) -> NDArray[np.bytes_]:
    """Return text as UTF-8 without blanks around."""
    plain = np.asarray(values.filled("") if isinstance(values, np.ma.MaskedArray) else values)
    return np.char.strip(np.char.encode(plain, "utf-8", "replace") if plain.dtype.kind == "U" else plain)


def _times(
    arrays: Mapping[str, Array],
    names: tuple[str, ...],
    units: Mapping[str, str],
    options: ReadOptions,
    place: Place,
    counts: RowCounts,
) -> RowTimes:
    parts = [arrays[name] for name in names]
    if any(part.ndim > 1 for part in parts):
        raise UsageError(f"{place.path}: the time {'+'.join(names)} has more than one value a row")
    masked = np.zeros(len(parts[0]), bool)
    for part in parts:
        masked |= np.ma.getmaskarray(part)
    plain = [np.asarray(part) for part in parts]
    column = "+".join(names)
    if len(plain) == 2 and plain[0].dtype.kind in "SU" and plain[1].dtype.kind in "SU":
        joined = np.char.strip(np.char.add(np.char.add(_encoded(parts[0]), b" "), _encoded(parts[1])))
        return times_of_cells(joined, "", options, place, column, counts)
    if len(plain) == 2:
        found = np.zeros(len(masked), np.int64)
        rows = np.flatnonzero(~masked)
        found[rows] = times_of_pair(plain[0][rows], plain[1][rows], options, place, names)
        counts.without_time += int(masked.sum())
        return RowTimes(found, ~masked, "UTC")
    (values,) = plain
    if values.dtype.kind in "SU":
        return times_of_cells(_encoded(parts[0]), units.get(column, ""), options, place, column, counts)
    if values.dtype.kind == "M":
        return times_of_datetimes(np.where(masked, np.datetime64("NaT"), values), options, place, column, counts)
    if values.dtype.kind == "b":
        raise UsageError(f"{place.path}: the column {column!r} holds no times")
    values = values if not masked.any() else np.where(masked, np.nan, values)
    found, usable = times_of_numbers(values, Scale(options, units.get(column, ""), place, column))
    counts.without_time += int(np.count_nonzero(~usable))
    return RowTimes(found, usable, "UTC")


def _field(values: Array, place: Place, name: str, units: str, state: bool) -> Field:
    mask = np.ma.getmaskarray(values)
    masked = mask.reshape(len(mask), -1).all(axis=1) if mask.size else np.zeros(len(mask), bool)
    present: NDArray[np.bool_] | None = np.logical_not(masked) if masked.any() else None
    if values.dtype.kind in "SU":
        if values.ndim > 1:
            raise UsageError(f"{place.path}: the column {name!r} has more than one text a row")
        text = np.char.decode(_encoded(values), "utf-8", "replace") if len(values) else np.zeros(0, "U1")
        return Field(text, present, None, units, True)
    if values.dtype.kind == "M":
        times = np.asarray(values, "datetime64[ns]")
        return Field(np.datetime_as_string(times), present, ~np.isnat(times), units, True)
    return Field(np.asarray(values), present, None, units, state or values.dtype.kind == "b")


def _checksum(arrays: Mapping[str, Array]) -> str:
    digest = hashlib.sha256()
    for name, values in arrays.items():
        digest.update(name.encode() + b"\0" + np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()
