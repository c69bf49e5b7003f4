"""Matching: which row of a table belongs to each event, in integer nanoseconds, all events at once.

``nearest``
    The row nearest in time; of two that are equally near the earlier.
``previous``
    The last row that is not later than the event.
``linear``
    The straight line between the rows before and after the event; a row at the very time of the event gives its value.

A row counts only within the tolerance, of ``linear`` both rows.  No value is carried on beyond that: an event without
such a row has no value, and is counted by the reason.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import UsageError, did_you_mean

Array = NDArray[Any]
Ints = NDArray[np.int64]

HOWS = ("nearest", "previous", "linear")
ANY = "any"
"""The tolerance that accepts any distance."""
UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
"""Units of time, in nanoseconds."""
DEFAULT_TOLERANCE = "1s"
MOST = 1 << 62
"""Times lie within this number of nanoseconds of 1970 (1823 to 2116), so that differences cannot overflow."""


def checked_how(how: str) -> str:
    """Return `how` if there is such a way to match.

    Raises
    ------
    UsageError
        With the nearest name.
    """
    if how not in HOWS:
        hint = did_you_mean(how, HOWS, f"one of {', '.join(HOWS)}")
        raise UsageError(f"values cannot be joined by {how!r}", hint)
    return how


def parse_tolerance(text: str) -> int | None:
    """Return a tolerance in ns, None for ``any``.

    Parameters
    ----------
    text : str
        A number with its unit, ``s``, ``ms``, ``us`` or ``ns``: ``"0.5s"``, ``"20 ms"``; or ``any``.

    Raises
    ------
    UsageError
        It is neither, or no whole number of nanoseconds.

    Examples
    --------
    >>> parse_tolerance("2.5ms"), parse_tolerance("any")
    (2500000, None)
    """
    if text.strip() == ANY:
        return None
    found = re.fullmatch(r"\s*(\d{1,18}(?:\.\d{0,18})?|\.\d{1,18})\s*(s|ms|us|ns)\s*", text, re.ASCII)
    if found is None:
        raise UsageError(f"{text!r} is no tolerance", "a number with its unit, such as 0.5s, 20ms, 3us or 0ns; or any")
    exact = Decimal(found[1]) * UNITS[found[2]]
    if exact != int(exact):
        raise UsageError(f"the tolerance {text!r} is no whole number of nanoseconds")
    return min(int(exact), 2 * MOST - 1)


def tolerance_text(tolerance: int | None) -> str:
    """Return a tolerance as it is written, in the largest unit without a fraction.

    >>> tolerance_text(2_500_000), tolerance_text(None)
    ('2500us', 'any')
    """
    if tolerance is None:
        return ANY
    unit = next(name for name, size in UNITS.items() if tolerance % size == 0)
    return f"{tolerance // UNITS[unit]}{unit}"


@dataclass(frozen=True)
class Counts:
    """What became of the events.

    Attributes
    ----------
    events, joined : int
        All, and those that have a value.
    outside : int
        The nearest row that could be used is further away than the tolerance.
    before, after : int
        The event is earlier than the first row, or later than the last, and too far away (``previous`` has nothing
        before the first row, ``linear`` nothing after the last).
    no_value : int
        The row that belongs to the event says that there is no value: NaN, null, an invalid reading.
    """

    events: int
    joined: int
    outside: int
    before: int
    after: int
    no_value: int

    @property
    def absent(self) -> int:
        """Events without a value."""
        return self.events - self.joined

    def asdict(self) -> dict[str, int]:
        """Return the numbers by name."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Match:
    """The rows that belong to events.

    Attributes
    ----------
    row : ndarray of int64
        Row of each event; of ``linear`` the row before. Of no meaning where `found` is not.
    found : ndarray of bool
        Whether the event has one.
    weight : ndarray of float64 or None
        Of ``linear``: 0 at `row`, up to 1 at the next row.
    outside, before, after : int
        As of `Counts`.
    """

    row: Ints
    found: NDArray[np.bool_]
    weight: NDArray[np.float64] | None
    outside: int
    before: int
    after: int


def match(rows: Ints, events: Ints, how: str, tolerance: int | None) -> Match:
    """Find the row of each event.

    Parameters
    ----------
    rows : ndarray of int64
        Times of the rows in ns, strictly increasing.
    events : ndarray of int64
        Times of the events in ns, in any order.
    how : str
        One of `HOWS`.
    tolerance : int or None
        In ns; None for any.
    """
    if not len(rows):
        nothing = np.zeros(len(events), np.int64)
        return Match(nothing, np.zeros(len(events), bool), None, len(events), 0, 0)
    limit = np.int64(min(2 * MOST - 1 if tolerance is None else tolerance, 2 * MOST - 1))
    last = len(rows) - 1
    # The last row that is not later than the event, -1 if all are.
    below = _last_not_later(rows, events)
    row = np.maximum(below, 0)
    weight = None
    if how == "previous":
        found = (below >= 0) & (events - rows[row] <= limit)
    elif how == "nearest":
        above = np.minimum(below + 1, last)
        from_above = np.abs(rows[above] - events)
        from_below = np.abs(events - rows[row])
        later = from_above < from_below
        row = np.where(later, above, row)
        found = np.minimum(from_above, from_below) <= limit
    else:
        above = np.minimum(below + 1, last)
        since, until = events - rows[row], rows[above] - events
        exact = since == 0
        found = exact | ((below >= 0) & (below < last) & (since <= limit) & (until <= limit))
        weight = np.where(exact | ~found, 0.0, since / np.maximum(since + until, 1))
    missed = ~found
    before = int(np.count_nonzero(missed & (events < rows[0])))
    after = int(np.count_nonzero(missed & (events > rows[-1])))
    return Match(row, found, weight, int(np.count_nonzero(missed)) - before - after, before, after)


def _last_not_later(rows: Ints, events: Ints) -> Ints:
    """Return for each event the last row that is not later; a search in the order of time is the faster."""
    if (events[1:] >= events[:-1]).all():
        return np.searchsorted(rows, events, side="right") - 1
    order = np.argsort(events)
    found = np.empty(len(events), np.int64)
    found[order] = np.searchsorted(rows, events[order], side="right") - 1
    return found


def taken(found: Match, values: Array, valid: NDArray[np.bool_] | None) -> tuple[np.ma.MaskedArray[Any, Any], Counts]:
    """Return the value of each event, masked where it has none, and the counts.

    Parameters
    ----------
    found : Match
        Of the rows that `values` are of.
    values : ndarray, shape (rows, ...)
        Of one column.
    valid : ndarray of bool or None
        Rows that hold a value; None for all.  A floating-point NaN is none either (in an array its elements may be).
    """
    events = len(found.row)
    if not len(values):
        blank = np.zeros((events, *values.shape[1:]), values.dtype)
        return np.ma.MaskedArray(blank, np.ones(blank.shape, bool)), _counts(found, 0)
    result = values[found.row]
    held = found.found if valid is None else found.found & valid[found.row]
    if found.weight is not None:
        between = np.flatnonzero(found.weight > 0)
        result = result.astype(np.float64)
        if len(between):
            weight = found.weight[between].reshape(-1, *[1] * (result.ndim - 1))
            low, high = result[between], values[found.row[between] + 1].astype(np.float64)
            with np.errstate(invalid="ignore", over="ignore"):
                result[between] = low + weight * (high - low)
            if valid is not None:
                held = held.copy()
                held[between] &= valid[found.row[between] + 1]
    if result.dtype.kind == "f" and result.ndim == 1:
        held = held & ~np.isnan(result)
    mask = ~held
    result[mask] = np.zeros((), result.dtype)
    full = np.broadcast_to(mask.reshape(-1, *[1] * (result.ndim - 1)), result.shape)
    return np.ma.MaskedArray(result, full), _counts(found, int(np.count_nonzero(held)))


def _counts(found: Match, joined: int) -> Counts:
    missed = found.outside + found.before + found.after
    events = len(found.row)
    return Counts(events, joined, found.outside, found.before, found.after, events - missed - joined)
