"""The JSON of EPICS archiver appliances: samples of process variables.

``[{"meta": {"name": ..., "EGU": ..., "PREC": ...}, "data": [{"secs": ..., "nanos": ..., "val": ..., "severity": ...,
"status": ...}, ...]}, ...]``, as the appliance's retrieval gives it.  ``secs`` counts from 1970, UTC.  Each variable is
a column, with samples of its own.  A sample of severity 3 (INVALID) or more holds no value, as its record says that it
could not be had.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError, UsageError, fold
from psanacli.outside.cells import Place
from psanacli.outside.table import Field, Origin, OutsideTable, RowCounts, in_order
from psanacli.outside.times import ReadOptions, times_of_pair
from psanacli.outside.zones import parse_zone

Array = NDArray[Any]

SUFFIXES = (".json",)
_INVALID = 3
_MOST_VALUES = 1 << 28


def begins(head: bytes) -> bool:
    """Whether a file with these first bytes is JSON."""
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"[", b"{")


def read(data: bytes, origin: Origin, options: ReadOptions) -> OutsideTable:
    """Read the samples of all variables; parameters as of `csv_table.read`.

    Raises
    ------
    UsageError
        It is JSON of another kind, or an option has no meaning here.
    DataError
        It is no JSON, or a sample is damaged.
    """
    if options.time or options.unit or options.epoch or options.dates:
        hint = "leave time=, unit=, epoch=, dates= out"
        raise UsageError(f"{origin.path}: the times of an archiver are secs and nanos", hint)
    if options.zone and not parse_zone(options.zone).is_utc:
        raise UsageError(f"{origin.path}: the times of an archiver are UTC, not {options.zone}", "leave zone= out")
    counts = RowCounts()
    states = {fold(name) for name in options.states}
    columns: dict[str, tuple[Array, Field]] = {}
    for number, part in enumerate(_parts(data, origin.path)):
        name, units, precise, samples = _variable(part, f"{origin.path}: [{number}]")
        if name in columns:
            raise UsageError(f"{origin.path}: the variable {name!r} is there twice", "join the lists of its samples")
        times, field = _samples(samples, Place(f"{origin.path}: {name}"), units, precise, fold(name) in states, counts)
        columns[name] = times, field
    counts.rows = sum(len(times) for times, _ in columns.values())
    times, fields = _one_axis(columns)
    known = Origin(**{**origin.asdict(), "time": "secs+nanos", "zone": "UTC"})
    before = counts.duplicates
    table = in_order(times, fields, known, counts)
    # Samples of several variables at one time are no duplicates.
    counts.duplicates = before if len(columns) > 1 else counts.duplicates
    return table


def _parts(data: bytes, path: str) -> list[Any]:
    try:
        found = json.loads(data)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}: no JSON: {error.msg}", f"at character {error.colno}") from None
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        raise DataError(f"{path}: no JSON: {error}") from None
    parts = found if isinstance(found, list) else [found]
    if not parts:
        raise UsageError(f"{path}: a list of no variables", "the archiver had nothing in the time that was asked for")
    return parts


def _variable(part: Any, where: str) -> tuple[str, str, bool, list[Any]]:
    """Return name, units, whether it has a precision (is no enumeration), and samples of a variable."""
    meta = part.get("meta") if isinstance(part, dict) else None
    samples = part.get("data") if isinstance(part, dict) else None
    if not isinstance(meta, dict) or not isinstance(samples, list) or not isinstance(meta.get("name"), str):
        raise UsageError(
            f"{where} is no variable of an archiver appliance",
            'expected [{"meta": {"name": ...}, "data": [{"secs": ..., "nanos": ..., "val": ...}, ...]}, ...]',
        )
    units = meta.get("EGU")
    return _clean(meta["name"]), _clean(units) if isinstance(units, str) else "", "PREC" in meta, samples


def _clean(text: str) -> str:
    """Return text without halves of characters, which JSON can have and no file can."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _samples(
    samples: list[Any], place: Place, units: str, precise: bool, state: bool, counts: RowCounts
) -> tuple[Array, Field]:
    """Return times and values of the samples of a variable."""
    seconds = _whole_numbers(samples, "secs", place)
    nanoseconds = _whole_numbers(samples, "nanos", place, 0)
    severity = _whole_numbers(samples, "severity", place, 0)
    if not len(samples):
        return seconds, Field(np.zeros(0), None, None, units, state)
    values = [sample.get("val", _missing) for sample in samples]
    if _missing in values:
        raise DataError(f"{place.at(values.index(_missing))}: the sample has no 'val'")
    times = times_of_pair(seconds, nanoseconds, ReadOptions(), place, ("secs", "nanos"))
    valid = severity < _INVALID
    counts.invalid += int(np.count_nonzero(~valid))
    column, held, whole = _values(values, place)
    # Enumerations are archived as whole numbers without a precision.
    state = state or column.dtype.kind in "Ub" or (whole and not precise)
    valid &= held
    return times, Field(column, None, None if valid.all() else valid, units, state)


_missing = object()


def _whole_numbers(samples: list[Any], name: str, place: Place, otherwise: int | None = None) -> Array:
    try:
        if otherwise is None:
            values = [sample[name] for sample in samples]
        else:
            values = [sample.get(name, otherwise) for sample in samples]
        found = np.array(values, np.int64) if values else np.zeros(0, np.int64)
        if found.ndim == 1 and set(map(type, values)) <= {int}:
            return found
    except (TypeError, KeyError, AttributeError, ValueError, OverflowError):
        pass
    for row, sample in enumerate(samples):
        value = sample.get(name, otherwise) if isinstance(sample, dict) else None
        if type(value) is not int or not -(1 << 63) <= value < 1 << 63:
            raise DataError(f"{place.at(row)}: the sample has no whole number {name!r}")
    raise AssertionError("every sample is whole")


def _values(values: list[Any], place: Place) -> tuple[Array, NDArray[np.bool_], bool]:
    """Return values as an array, which of them are values, and whether they are whole numbers."""
    kinds = set(map(type, values))
    held = np.ones(len(values), bool)
    if type(None) in kinds:
        held = np.array([value is not None for value in values])
        kinds.discard(type(None))
    if kinds <= {int, float, bool}:
        whole = kinds <= {int, bool} and bool(kinds)
        plain = [0 if value is None else value for value in values] if not held.all() else values
        return _numbers(plain, bool if kinds == {bool} else int if whole else float), held, whole
    if kinds <= {str, int, float, bool}:
        texts = ["" if value is None else _clean(value) if isinstance(value, str) else str(value) for value in values]
        numbers = _numbers_in(texts) if kinds == {str} else None
        return (numbers, held, False) if numbers is not None else (np.array(texts), held, False)
    if kinds == {list}:
        return _waveforms([value or [] for value in values], place), held, False
    row = next(row for row, value in enumerate(values) if isinstance(value, (dict, list)))
    raise DataError(f"{place.at(row)}: the value is no number, text or list as the others are")


def _numbers(values: list[Any], kind: type) -> Array:
    if kind is bool:
        return np.array(values, bool)
    if kind is int and all(-(1 << 63) <= value < 1 << 63 for value in (min(values), max(values))):
        return np.array(values, np.int64)
    try:
        return np.array(values, np.float64)
    except OverflowError:  # a whole number of hundreds of digits
        return np.array([_float(value) for value in values])


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _numbers_in(texts: list[str]) -> Array | None:
    """Return the numbers that all texts are (NaN and infinities are written as text), None if they are not."""
    words = {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf"}
    try:
        return np.array([float(words.get(text, text)) for text in texts])
    except ValueError:
        return None


def _waveforms(values: list[list[Any]], place: Place) -> Array:
    """Return lists as rows of one length, filled up with NaN where they differ."""
    longest = max(map(len, values))
    if longest * len(values) > _MOST_VALUES:
        raise DataError(f"{place.path}: {len(values)} waveforms of up to {longest} values are too much for one table")
    kinds = {type(item) for value in values for item in value}
    if not kinds <= {int, float, bool}:
        row = next(row for row, value in enumerate(values) if not {type(item) for item in value} <= {int, float, bool})
        raise DataError(f"{place.at(row)}: the waveform holds something else than numbers")
    if all(len(value) == longest for value in values):
        flat = [item for value in values for item in value]
        kind = int if kinds and kinds <= {int, bool} else float
        return _numbers(flat, kind).reshape(len(values), longest) if flat else np.zeros((len(values), 0))
    rows = np.full((len(values), longest), np.nan)
    for waveform, value in zip(rows, values, strict=True):
        waveform[: len(value)] = _numbers(value or [0], float)[: len(value)]
    return rows


def _one_axis(columns: dict[str, tuple[Array, Field]]) -> tuple[Array, dict[str, Field]]:
    """Return all variables with rows at the times of any of them; a variable is present where it has a sample."""
    if len(columns) == 1:
        return next((times, {name: field}) for name, (times, field) in columns.items())
    times = np.concatenate([times for times, _ in columns.values()])
    axis, row = np.unique(times, return_inverse=True)
    fields = {}
    at = 0
    for name, (own, field) in columns.items():
        rows = row.reshape(-1)[at : at + len(own)]
        at += len(own)
        # Of several samples at one time the last is kept, as numpy assigns them in order.
        sample = np.full(len(axis), -1)
        sample[rows] = np.arange(len(own))
        present = sample >= 0
        if not len(own):
            fields[name] = replace(field, values=np.zeros(len(axis)), present=present)
            continue
        fields[name] = replace(field.take(np.maximum(sample, 0)), present=present)
    return axis, fields
