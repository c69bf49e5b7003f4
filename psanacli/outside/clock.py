"""Clock times written as text: ISO 8601 and the usual styles of dates, a whole column at once.

The texts of a column have few shapes (`cells.shapes_of`).  Each shape is understood once, by a grammar of dates, times
and zones that says at which places the numbers stand; then the numbers of all texts of that shape are taken together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError, UsageError
from psanacli.outside.cells import Cells, Place, matrix, number_at, shapes_of
from psanacli.outside.zones import SECOND, Zone

Array = NDArray[Any]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

DATE_ORDERS = ("mdy", "dmy")
"""Orders of dates like 07/06/2015."""
_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
_MONTH = rf"(?P<mon>(?:{'|'.join(_MONTHS)})[a-z]*)"
_WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+)?"
_TIME = r"(?P<H>00?):(?P<M>00)(?::(?P<S>00)(?:[.,](?P<f>0+))?)?(?:\s*(?P<half>[ap])\.?m\.?)?"
_ZONE = r"(?:\s*(?P<sign>[+-])(?P<zh>00):?(?P<zm>00)?|\s*(?P<zone>[a-z]{1,5}))?"
_COMPACT = r"(?P<Y>0000)(?P<m>00)(?P<d>00)"
_DATES = (
    r"(?P<Y>0000)(?P<s>[-/.])(?P<m>00?)(?P=s)(?P<d>00?)",
    r"(?P<a>00?)(?P<s>[-/])(?P<b>00?)(?P=s)(?P<Y>0000)",
    r"(?P<d>00?)\.(?P<m>00?)\.(?P<Y>0000)",
    rf"{_WEEKDAY}(?P<d>00?)[-\s/]{_MONTH}\.?,?[-\s/](?P<Y>0000)",
    rf"{_WEEKDAY}{_MONTH}\.?\s+(?P<d>00?),?\s+(?P<Y>0000)",
)
_GRAMMAR = [
    *(re.compile(rf"{date}(?:(?:t|,?\s+|:|_){_TIME}{_ZONE})?", re.ASCII) for date in _DATES),
    re.compile(rf"{_WEEKDAY}{_MONTH}\s+(?P<d>00?)\s+{_TIME}{_ZONE}\s+(?P<Y>0000)", re.ASCII),
    re.compile(rf"{_COMPACT}[t_\s](?P<H>00)(?P<M>00)(?:(?P<S>00)(?:[.,](?P<f>0+))?)?{_ZONE}", re.ASCII),
    re.compile(rf"{_COMPACT}[t\s]{_TIME}{_ZONE}", re.ASCII),
]
_FIRST_YEAR, _LAST_YEAR = 1900, 2115
EXAMPLES = "2015-07-06T16:26:41.731Z, 2015-07-06 16:26:41, 07/06/2015 4:26:41 PM, 6 Jul 2015 16:26:41, or Unix time"
ASK_ZONE = (
    "say in which zone the clock was: zone=America/Los_Angeles, zone=UTC, zone=+02:00; "
    "or write the times with it: 2015-07-06T16:26:41Z"
)


@dataclass
class Clock:
    """Times of a column, as they are filled.

    Attributes
    ----------
    times : ndarray of int64
        ns since 1970: UTC where `zoned`, else of the local clock.
    zoned : ndarray of bool
        Whether the text says its zone.
    known : ndarray of bool
        Whether it is a time at all.
    named : dict of str to list of ndarray
        Abbreviations of zones (``pdt``), with the rows that have them.
    undecided : list of (Array, Array, Array, ...)
        Dates whose order of day and month is not known yet.
    """

    times: Ints
    zoned: Flags
    known: Flags
    named: dict[str, list[Ints]] = field(default_factory=dict)
    undecided: list[_Undecided] = field(default_factory=list)


class _Undecided(NamedTuple):
    rows: Ints
    year: Ints
    first: Ints
    second: Ints
    rest: Ints


def read_clock(cells: Cells, place: Place, zone: Zone | None, dates: str) -> Clock:
    """Return the times of texts.

    Parameters
    ----------
    cells : ndarray of bytes
        None is empty.
    place : Place
        Where they stand.
    zone : Zone or None
        Of texts with an abbreviation: the zone that has it.
    dates : str
        Order of day and month of dates like 07/06/2015, empty when it has to show itself.

    Raises
    ------
    UsageError
        The order of day and month could be either, or an abbreviation of a zone that is not stated.
    """
    count = len(cells)
    clock = Clock(np.zeros(count, np.int64), np.zeros(count, bool), np.zeros(count, bool))
    digits = matrix(cells)
    for shape, rows in shapes_of(cells):
        found = next((found for grammar in _GRAMMAR if (found := grammar.fullmatch(shape))), None)
        if found is not None:
            _read_shape(clock, found, rows, digits[rows])
    _decide_dates(clock, place, dates)
    for name, parts in clock.named.items():
        rows = np.concatenate(parts)
        rows = rows[clock.known[rows]]
        offset = 0 if name in ("z", "utc", "gmt", "ut") else None
        if offset is None and zone is not None and len(rows):
            offset = zone.named_offset(name, clock.times[rows])
        if offset is None and len(rows):
            what = f"{zone} has no such clock" if zone else f"which zone is {name.upper()}?"
            raise UsageError(f"{place.at(int(rows[0]))}: the time is in {name.upper()}: {what}", ASK_ZONE)
        clock.times[rows] -= (offset or 0) * SECOND
        clock.zoned[rows] = True
    return clock


def _read_shape(clock: Clock, found: re.Match[str], rows: Ints, digits: NDArray[np.uint8]) -> None:
    """Read all texts of one shape."""
    groups = found.groupdict()

    def number(name: str) -> Ints:
        return number_at(digits, *found.span(name)) if groups.get(name) else np.zeros(len(rows), np.int64)

    hour, minute, second = number("H"), number("M"), number("S")
    good = (hour < 24) & (minute < 60) & (second <= 60)
    if groups.get("half"):
        good &= (hour >= 1) & (hour <= 12)
        hour = hour % 12 + 12 * (groups["half"] == "p")
    rest = ((hour * 60 + minute) * 60 + second) * SECOND + _fraction(digits, found)
    if groups.get("sign"):
        ahead = number("zh") * 3600 + number("zm") * 60
        good &= (ahead <= 18 * 3600) & (number("zm") < 60)
        rest += ahead * SECOND * (1 if groups["sign"] == "-" else -1)
        clock.zoned[rows] = True
    if groups.get("zone"):
        clock.named.setdefault(groups["zone"], []).append(rows)
    year = number("Y")
    good &= (year >= _FIRST_YEAR) & (year <= _LAST_YEAR)
    if groups.get("a"):
        first, second = number("a"), number("b")
        clock.known[rows] = good
        clock.undecided.append(_Undecided(rows, year, first, second, rest))
        return
    month = np.full(len(rows), _MONTHS.index(groups["mon"][:3]) + 1) if groups.get("mon") else number("m")
    _place(clock, rows, good, year, month, number("d"), rest)


def _place(clock: Clock, rows: Ints, good: Flags, year: Ints, month: Ints, day: Ints, rest: Ints) -> None:
    good = good & (month >= 1) & (month <= 12) & (day >= 1)
    year, month = np.where(good, year, 2000), np.where(good, month, 1)
    months = ((year - 1970) * 12 + month - 1).view("datetime64[M]")
    lasts = (months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")
    good &= day <= lasts.astype(np.int64)
    days = months.astype("datetime64[D]").astype(np.int64) + np.where(good, day, 1) - 1
    clock.times[rows] = days * (86400 * SECOND) + rest
    clock.known[rows] = good


def _fraction(digits: NDArray[np.uint8], found: re.Match[str]) -> Ints:
    """Return the fraction of a second in ns, to the nearest."""
    if not found.groupdict().get("f"):
        return np.zeros(len(digits), np.int64)
    first, stop = found.span("f")
    return scaled(digits, first, stop, 9)


def scaled(digits: NDArray[np.uint8], first: int, stop: int, places: int) -> Ints:
    """Return the digits behind a point as a number of units of the decimal place `places`, to the nearest."""
    kept = min(stop, first + places)
    value: Ints = number_at(digits, first, kept) * 10 ** (places - (kept - first))
    if stop > kept:
        value += digits[:, kept] >= ord("5")
    return value


def _decide_dates(clock: Clock, place: Place, dates: str) -> None:
    """Put dates like 07/06/2015 in the order that was stated, or that one of them shows."""
    parts = clock.undecided
    if not parts:
        return
    if not dates:
        day_first = any((part.first > 12).any() for part in parts)
        month_first = any((part.second > 12).any() for part in parts)
        if day_first == month_first:
            row = min(int(part.rows[0]) for part in parts)
            what = "of both orders of day and month" if day_first else "whose day and month can be either"
            raise UsageError(f"{place.at(row)}: there are dates {what}", "say dates=mdy (07/06 is July 6) or dates=dmy")
        dates = "dmy" if day_first else "mdy"
    for rows, year, first, second, rest in parts:
        month, day = (first, second) if dates == "mdy" else (second, first)
        _place(clock, rows, clock.known[rows], year, month, day, rest)


def need_known(clock: Clock, filled: Flags, cells: Cells, place: Place, column: str) -> None:
    """Raise if a filled cell is not a time.

    Raises
    ------
    DataError
        Others are, so this one is damaged.
    UsageError
        None is.
    """
    strange = filled & ~clock.known
    if not strange.any():
        return
    row = int(np.argmax(strange))
    text = cells[row].decode("utf-8", "replace")[:40]
    if clock.known.any():
        raise DataError(
            f"{place.at(row)}: {text!r} in column {column!r} is no time as the others are", f"such as {EXAMPLES}"
        )
    raise UsageError(f"{place.at(row)}: {text!r} in column {column!r} is no time", f"such as {EXAMPLES}")
