"""Cells of text: a column of a table as bytes, and what its cells mean.

A column is one numpy array of fixed-size bytes, so that all cells are looked at together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError
from psanacli.outside.table import Field

Array = NDArray[Any]
Cells = NDArray[np.bytes_]
Flags = NDArray[np.bool_]

NO_VALUE = (b"nan", b"na", b"n/a", b"null", b"none", b"-", b"--", b"#n/a", b"inv", b"invalid")
"""Cells that say that there is no value, in any case."""
_INFINITE = (b"inf", b"infinity", b"+inf", b"+infinity", b"-inf", b"-infinity", b"+nan", b"-nan")
_SWITCH = {b"true": True, b"false": False}
_NUMERIC = np.zeros(256, bool)
_NUMERIC[list(b"0123456789+-.eE")] = True
_REAL = np.zeros(256, bool)
_REAL[list(b".eE")] = True
_NUMBERS_AT_LEAST = 0.9
"""Of a column of numbers at least this share of cells are numbers; the others are damaged then, else all are text."""
_MOST_SHAPES = 200
_EXACT = 1 << 53
"""Whole numbers below are exact as floating-point numbers."""
_NUMBER = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?").fullmatch


@dataclass(frozen=True)
class Place:
    """Where rows stand, for messages.

    Attributes
    ----------
    path : str
        The file, with the name of a dataset in it.
    lines : ndarray of int64 or None
        Number of the line of each row, from 1; None where there are no lines, and rows are counted from 0.
    """

    path: str
    lines: Array | None = None

    def at(self, row: int) -> str:
        """Return the place of a row."""
        return f"{self.path}, row {row}" if self.lines is None else f"{self.path}, line {int(self.lines[row])}"

    def take(self, rows: Array) -> Place:
        """Return the places of some rows."""
        return Place(self.path, np.asarray(rows) if self.lines is None else self.lines[rows])


def matrix(cells: Cells) -> NDArray[np.uint8]:
    """Return the bytes of cells, a row each, filled up with zeros."""
    width = max(cells.dtype.itemsize, 1)
    return np.ascontiguousarray(cells).view(np.uint8).reshape(len(cells), width)


def shapes_of(cells: Cells) -> Iterator[tuple[str, Array]]:
    """Give the different shapes of cells, with the rows that have each.

    The shape of a text is the text in lower case with every digit a ``0``: cells of one shape can be read by one rule
    all at once.  There are few in a column that people or programs wrote.
    """
    shape = np.arange(256, dtype=np.uint8)
    shape[ord("0") : ord("9") + 1] = ord("0")
    shape[ord("A") : ord("Z") + 1] = np.arange(ord("a"), ord("z") + 1)
    shaped = shape[matrix(cells)]
    whole = np.ascontiguousarray(shaped).view(f"S{shaped.shape[1]}").reshape(-1)
    left = np.arange(len(cells))
    for _ in range(_MOST_SHAPES):
        if not len(left):
            return
        first = whole[left[0]]
        same = whole[left] == first
        yield first.decode("utf-8", "replace"), left[same]
        left = left[~same]
    kinds, which = np.unique(whole[left], return_inverse=True)
    order = np.argsort(which, kind="stable")
    for kind, rows in zip(kinds, np.split(left[order], np.cumsum(np.bincount(which))[:-1]), strict=True):
        yield kind.decode("utf-8", "replace"), rows


def number_at(digits: NDArray[np.uint8], first: int, stop: int) -> NDArray[np.int64]:
    """Return the whole number that stands at `first` to `stop` in every row; at most 18 digits."""
    value = np.zeros(len(digits), np.int64)
    for column in range(first, stop):
        value = value * 10 + (digits[:, column].astype(np.int64) - ord("0"))
    return value


def field_of(cells: Cells, place: Place, name: str, units: str = "", state: bool = False) -> Field:
    """Return the values of a column of text cells: whole numbers, numbers, switches (true, false) or text.

    Parameters
    ----------
    cells : ndarray of bytes
        UTF-8, without blanks around.
    place : Place
        Where they stand.
    name, units : str
        Of the column.
    state : bool
        Its numbers are states.

    Raises
    ------
    DataError
        Some cells of a column of numbers are something else.
    """
    filled = cells != b""
    present = None if filled.all() else filled
    rows = np.flatnonzero(filled)
    inside = cells if present is None else cells[rows]
    words, numeric, parsed = _kinds(inside)
    missing = np.isin(words, NO_VALUE)
    numbers = numeric | np.isin(words, _INFINITE)
    others = ~(numbers | missing)
    valid: Flags | None = None
    if missing.any():
        valid = np.ones(len(cells), bool)
        valid[rows[missing]] = False
    if not others.any():
        values = _numbers(inside, numbers, numeric, parsed)
    elif numbers.sum() >= _NUMBERS_AT_LEAST * (len(inside) - missing.sum()) and not state:
        row = int(rows[np.argmax(others)])
        text = cells[row].decode("utf-8", "replace")
        comma = re.fullmatch(r"[+-]?\d+,\d+", text)
        hint = "write a decimal point" if comma else "leave out the row, or empty the cell"
        raise DataError(f"{place.at(row)}: {text[:40]!r} in column {name!r} is no number as the others are", hint)
    elif np.isin(words[others], list(_SWITCH)).all() and not numbers.any():
        values, state = words == b"true", True
    else:
        values, state, valid = _text(inside), True, None
    return Field(_spread(values, rows, len(cells)), present, valid, units, state)


def _kinds(cells: Cells) -> tuple[Cells, Flags, NDArray[np.float64]]:
    """Return cells in lower case (empty where that cannot matter), which are numbers in digits, and these numbers."""
    content = matrix(cells)
    numeric = (_NUMERIC[content] | (content == 0)).all(axis=1)
    likely = cells if numeric.all() else cells[numeric]
    try:
        parsed = likely.astype(np.float64)
    except ValueError:  # dates, "-", "1e"
        numeric[numeric] = [_NUMBER(cell) is not None for cell in likely.tolist()]
        parsed = cells[numeric].astype(np.float64)
    longest = max(map(len, (*NO_VALUE, *_INFINITE)))
    words = np.zeros(len(cells), f"S{longest + 1}")
    rest = np.flatnonzero(~numeric)
    words[rest] = np.char.lower(cells[rest])
    return words, numeric, parsed


def _numbers(cells: Cells, numbers: Flags, numeric: Flags, parsed: NDArray[np.float64]) -> Array:
    """Return whole numbers as int64 or uint64 where they are exact so, else float64; 0 or NaN where there is none."""
    if numeric[numbers].all() and not _REAL[matrix(cells[numeric])].any():
        if not len(parsed) or np.abs(parsed).max() < _EXACT:
            exact = np.zeros(len(cells), np.int64)
            exact[numeric] = parsed.astype(np.int64)
            return exact
        for kind in (np.int64, np.uint64):
            whole = np.zeros(len(cells), kind)
            try:
                whole[numeric] = cells[numeric].astype(kind)
            except (OverflowError, ValueError):
                continue
            return whole
    values = np.full(len(cells), np.nan)
    values[numeric] = parsed
    others = numbers & ~numeric
    values[others] = cells[others].astype(np.float64)
    return values


def _text(cells: Cells) -> Array:
    return np.char.decode(cells, "utf-8", "replace") if len(cells) else np.zeros(0, "U1")


def _spread(values: Array, rows: Array, count: int) -> Array:
    """Return values in their rows among `count`."""
    if len(rows) == count:
        return values
    full = np.zeros(count, values.dtype)
    full[rows] = values
    return full
