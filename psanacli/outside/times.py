"""The times of rows: which column has them, what its numbers or texts mean, and their conversion to UTC.

Numbers are Unix times, as decimals taken exactly to the nanosecond.  Whether they are seconds, milliseconds,
microseconds or nanoseconds is taken from their size if that can only be one of these, for times since 2005 (numbers
that count from 1904 or 1990, as LabVIEW and EPICS do, are too far off to be mistaken); else it has to be said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError, NotFoundError, UsageError, did_you_mean, fold
from psanacli.outside.cells import Cells, Place, matrix, number_at, shapes_of
from psanacli.outside.clock import ASK_ZONE, DATE_ORDERS, need_known, read_clock, scaled
from psanacli.outside.matching import MOST, UNITS
from psanacli.outside.table import RowCounts
from psanacli.outside.zones import SECOND, UTC, Zone, parse_zone

Array = NDArray[Any]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

EPOCHS = {"unix": 0, "epics": 631152000, "labview": -2082844800}
"""Instants from which numbers may count, in seconds since 1970: 1990 and 1904 are those of EPICS and LabVIEW."""
_SURE = 1_104_537_600, 2_524_608_000  # 2005 to 2050: no number is a time of these years in two units
_NAMES = (
    "time", "timestamp", "datetime", "date_time", "date", "epoch", "unixtime", "unix_time", "utc", "ts", "t", "index",
)  # fmt: skip
"""Names of columns of times."""
_SECONDS = ("secs", "seconds", "sec", "secpastepoch", "epoch_s", "time_s")
_NANOSECONDS = ("nanos", "nanoseconds", "nsec", "nsecs", "nano", "ns")
_WORDS = {
    "s": "s", "sec": "s", "secs": "s", "second": "s", "seconds": "s", "ms": "ms", "msec": "ms", "millisecond": "ms",
    "milliseconds": "ms", "us": "us", "usec": "us", "µs": "us", "microsecond": "us", "microseconds": "us", "ns": "ns",
    "nsec": "ns", "nanosecond": "ns", "nanoseconds": "ns", "day": "day", "days": "day", "hour": "hour", "hours": "hour",
    "minute": "minute", "minutes": "minute",
}  # fmt: skip
_LONG = {"day": 86400 * SECOND, "hour": 3600 * SECOND, "minute": 60 * SECOND}


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How a table is read; everything that a file does not say itself.

    Attributes
    ----------
    time : str
        The time column; two columns as ``secs+nanos`` or ``date+time``. Empty: it is found by its name.
    zone : str
        Zone of times that do not say theirs.
    unit : str
        Of times that are numbers: ``s``, ``ms``, ``us``, ``ns``. Empty: by their size.
    epoch : str
        From when numbers count: ``unix``, ``epics``, ``labview``.
    dates : str
        Order of dates like 07/06/2015: ``mdy`` or ``dmy``.
    group : str
        Of HDF5: group or dataset of the table. Empty: the only one there is.
    states : tuple of str
        Columns whose numbers are states, between which there is nothing.
    """

    time: str = ""
    zone: str = ""
    unit: str = ""
    epoch: str = ""
    dates: str = ""
    group: str = ""
    states: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, value, known in (
            ("unit", self.unit, UNITS),
            ("epoch", self.epoch, EPOCHS),
            ("dates", self.dates, DATE_ORDERS),
        ):
            if value and value not in known:
                hint = did_you_mean(value, known, f"one of {', '.join(known)}")
                raise UsageError(f"there is no {name}={value}", hint)
        if self.zone:
            parse_zone(self.zone)


@dataclass(frozen=True, eq=False)
class RowTimes:
    """Times of rows.

    Attributes
    ----------
    times : ndarray of int64
        ns since 1970, UTC, of all rows.
    usable : ndarray of bool
        Rows that have one.
    zone : str
        As of `Origin`.
    """

    times: Ints
    usable: Flags
    zone: str


# ---- which column --------------------------------------------------------------------------------------------------


def time_columns(names: Iterable[str], options: ReadOptions, where: str) -> tuple[str, ...]:
    """Return the column with the times, or the two columns: date and time, seconds and nanoseconds.

    Raises
    ------
    NotFoundError
        The column that was named is not there.
    UsageError
        None was named and none, or more than one, has a name of a time.
    """
    known = {fold(name): name for name in names}
    if options.time:
        found = []
        for word in [options.time] if fold(options.time) in known else options.time.split("+"):
            if fold(word.strip()) not in known:
                hint = did_you_mean(word, known.values(), f"there are {', '.join([*known.values()][:12])}")
                raise NotFoundError(f"{where}: there is no column {word!r} for the time", hint)
            found.append(known[fold(word.strip())])
        if len(found) > 2 or len(set(found)) < len(found):
            raise UsageError(f"{where}: time={options.time} names more than two columns", "such as time=secs+nanos")
        return tuple(found)
    seconds = [known[name] for name in _SECONDS if name in known]
    nanoseconds = [known[name] for name in _NANOSECONDS if name in known]
    if len(seconds) == 1 and len(nanoseconds) == 1:
        return seconds[0], nanoseconds[0]
    candidates = [known[name] for name in _NAMES if name in known]
    if len(candidates) == 2 and [fold(name) for name in candidates] == ["time", "date"]:
        return candidates[1], candidates[0]
    candidates = candidates or seconds
    if len(candidates) == 1:
        return (candidates[0],)
    listed = ", ".join([*known.values()][:12])
    what = f"{' and '.join(candidates)} could be the time" if candidates else "no column has the name of a time"
    raise UsageError(f"{where}: {what}", f"name it: time=COLUMN; there are {listed}")


def names_time(name: str) -> bool:
    """Whether a column of this name can be found as the time, or as a part of it."""
    return fold(_UNITS.sub("", name).strip()) in (*_NAMES, *_SECONDS)


# ---- numbers -------------------------------------------------------------------------------------------------------


def word_unit(text: str) -> str:
    """Return the unit that a word means, ``s`` of ``Seconds``; empty when it is none."""
    return _WORDS.get(text.strip().casefold(), "")


def parse_units(text: str) -> tuple[str, str]:
    """Return unit and origin of a text like ``ms`` or ``seconds since 2015-07-06``; empty what it does not say."""
    unit, since, origin = (part.strip() for part in re.sub(r"\s+", " ", text.strip()).partition(" since "))
    return word_unit(unit), origin if since else ""


class Scale:
    """From numbers to ns since 1970.

    Parameters
    ----------
    options : ReadOptions
    units : str
        What the table says itself of the numbers.
    place : Place
    column : str
    """

    def __init__(self, options: ReadOptions, units: str, place: Place, column: str) -> None:
        self.place = place
        self.column = column
        self.stated, since = parse_units(units)
        self.stated = options.unit or self.stated
        self.origin = EPOCHS[options.epoch or "unix"] * SECOND
        self.sure = not (options.unit or options.epoch or since)
        zone = parse_zone(options.zone) if options.zone else UTC
        if since:
            start = np.array([since.encode()])
            clock = read_clock(start, place, None, "")
            need_known(clock, np.ones(1, bool), start, place, column)
            self.origin = int(clock.times[0])
            if not clock.zoned[0] and options.zone:
                self.origin = int(zone.to_utc(clock.times).times[0])
        elif not zone.is_utc:
            raise UsageError(
                f"{place.path}: the times in column {column!r} are numbers, which count in UTC, not in {zone}",
                "leave zone= out, or write zone=UTC",
            )

    def unit(self, values: NDArray[np.float64], rows: Array) -> int:
        """Return the unit of numbers in ns.

        Parameters
        ----------
        values : ndarray of float64
            The numbers, about; not empty.
        rows : ndarray
            Their rows.

        Raises
        ------
        UsageError
            It could be several, or the numbers count from another instant.
        DataError
            Single numbers do not fit to the others.
        """
        if self.stated and not self.sure:
            return UNITS.get(self.stated) or _LONG[self.stated]
        low, high = (float(second * SECOND - self.origin) for second in _SURE)
        middle = float(np.median(values))
        for name in [self.stated] if self.stated else list(UNITS):
            factor = UNITS.get(name) or _LONG[name]
            if low <= middle * factor < high:
                strange = ~((values * factor >= low) & (values * factor < high))
                if strange.any():
                    row = int(np.argmax(strange))
                    raise DataError(
                        f"{self.place.at(int(rows[row]))}: {values[row]:.17g} in column {self.column!r} is no time of "
                        f"2005 to 2050 in {name} as the others are",
                        "leave out the row, or say unit= and the numbers are taken as they are",
                    )
                return factor
        raise UsageError(
            f"{self.place.path}: numbers like {middle:.17g} in column {self.column!r} are no times of 2005 to 2050",
            "say what they are: unit=s, ms, us or ns, and epoch=unix, epics (since 1990) or labview (since 1904)",
        )

    def checked(self, times: Ints, approximate: NDArray[np.float64], rows: Array) -> Ints:
        """Return times since 1970, from those since the origin.

        Raises
        ------
        DataError
            They are out of range.
        """
        beyond = ~(np.abs(approximate + float(self.origin)) < float(MOST) - 1e9) | (np.abs(approximate) >= 2.0**62.9)
        if beyond.any():
            row = int(np.argmax(beyond))
            raise DataError(f"{self.place.at(int(rows[row]))}: the time in column {self.column!r} is out of range")
        return times + self.origin


def times_of_numbers(values: Array, scale: Scale) -> tuple[Ints, Flags]:
    """Return the times of numbers, and which are times; NaN is none.

    Floating-point numbers are taken as exactly what they are, to the nearest nanosecond.
    """
    usable = np.isfinite(values) if values.dtype.kind == "f" else np.ones(len(values), bool)
    times = np.zeros(len(values), np.int64)
    rows = np.flatnonzero(usable)
    if not len(rows):
        return times, usable
    numbers = values[rows]
    about = numbers.astype(np.float64)
    factor = scale.unit(about, rows)
    approximate = about * factor
    scale.checked(np.zeros(0, np.int64), approximate, rows)
    if values.dtype.kind == "f":
        whole = np.floor(about)
        found = whole.astype(np.int64) * factor + np.rint((about - whole) * factor).astype(np.int64)
    else:
        found = numbers.astype(np.int64) * factor
    times[rows] = scale.checked(found, approximate, rows)
    return times, usable


def _times_of_decimals(cells: Cells, rows: Ints, scale: Scale) -> Ints:
    """Return the times of numbers in digits, exactly."""
    texts = cells[rows]
    digits = matrix(texts)
    whole = np.zeros(len(rows), np.int64)
    about = np.zeros(len(rows))
    plain, strange = [], []
    for shape, some in shapes_of(texts):
        point = shape.find(".") if "." in shape else len(shape)
        if point <= 18 and re.fullmatch(r"0+(\.0*)?", shape):
            whole[some] = number_at(digits[some], 0, point)
            about[some] = whole[some]
            plain.append((some, point, len(shape)))
        else:
            about[some] = texts[some].astype(np.float64)
            strange.append(some)
    finite = np.isfinite(about)
    if not finite.all():
        row = int(rows[np.argmin(finite)])
        raise DataError(f"{scale.place.at(row)}: the time in column {scale.column!r} is out of range")
    factor = scale.unit(about, rows)
    scale.checked(np.zeros(0, np.int64), about * factor, rows)
    times = whole * factor
    places = {10**size: size for size in range(10)}.get(factor)
    for some, point, stop in plain:
        if stop == point or stop == point + 1:
            continue
        if places is None:  # hours and days
            strange.append(some)
        else:
            times[some] += scaled(digits[some], point + 1, stop, places)
    for some in strange:
        times[some] = [_exact(text, factor) for text in texts[some].tolist()]
    return scale.checked(times, about * factor, rows)


def _exact(text: bytes, factor: int) -> int:
    number = Decimal(text.decode())
    return int((number * factor).to_integral_value(ROUND_HALF_UP)) if number.adjusted() > -30 else 0


# ---- columns -------------------------------------------------------------------------------------------------------

_UNITS = re.compile(r"[\[(][^\[\]()]*[\])]")
_NO_TIME = (b"", b"nan", b"nat", b"null", b"none", b"na", b"n/a")
_DECIMAL = re.compile(r"[+-]?(?:0+\.?0*|\.0+)(?:e[+-]?0+)?")


def times_of_cells(
    cells: Cells, units: str, options: ReadOptions, place: Place, column: str, counts: RowCounts
) -> RowTimes:
    """Return the times of a column of text: numbers, or clock times.

    Parameters
    ----------
    cells : ndarray of bytes
        A cell that is empty or says NaN is no time.
    units : str
        Of the column, if the table says some.
    options, place
        As of a reader.
    column : str
        Its name.
    counts : RowCounts
        Is filled.
    """
    filled = ~np.isin(np.char.lower(cells.astype("S8", copy=False)), _NO_TIME)
    rows = np.flatnonzero(filled)
    counts.without_time += len(cells) - len(rows)
    times = np.zeros(len(cells), np.int64)
    if not len(rows):
        return RowTimes(times, filled, options.zone or "UTC")
    first = cells[rows[0]].lower().translate(_TO_ZERO).decode("utf-8", "replace")
    if _DECIMAL.fullmatch(first):
        try:
            times[rows] = _times_of_decimals(cells, rows, Scale(options, units, place, column))
        except ValueError as error:
            if isinstance(error, (DataError, UsageError)):
                raise
            row = next(row for row in rows.tolist() if not _is_number(cells[row]))
            text = cells[row].decode("utf-8", "replace")[:40]
            raise DataError(
                f"{place.at(row)}: {text!r} in column {column!r} is no number as the others are",
                "leave out the row, or empty the cell",
            ) from None
        return RowTimes(times, filled, "UTC")
    if options.unit or options.epoch:
        raise UsageError(f"{place.path}: the times in column {column!r} are no numbers", "leave unit= and epoch= out")
    zone = parse_zone(options.zone) if options.zone else None
    clock = read_clock(cells[rows], place.take(rows), zone, options.dates)
    need_known(clock, np.ones(len(rows), bool), cells[rows], place.take(rows), column)
    return _in_utc(clock.times, clock.zoned, rows, len(cells), zone, place, column, counts)


_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")


def _is_number(cell: bytes) -> bool:
    return bool(re.fullmatch(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", cell))


def _in_utc(
    local: Ints, zoned: Flags, rows: Ints, count: int, zone: Zone | None, place: Place, column: str, counts: RowCounts
) -> RowTimes:
    """Convert what is of a local clock, and put it into the rows."""
    naive = np.flatnonzero(~zoned)
    usable = np.zeros(count, bool)
    usable[rows] = True
    times = np.zeros(count, np.int64)
    if len(naive):
        if zone is None:
            raise UsageError(f"{place.at(int(rows[naive[0]]))}: the times in column {column!r} have no zone", ASK_ZONE)
        converted = zone.to_utc(local[naive])
        local = local.copy()
        local[naive] = converted.times
        counts.twofold += int(converted.twofold.sum())
        counts.impossible += int(converted.impossible.sum())
        usable[rows[naive[converted.twofold | converted.impossible]]] = False
    times[rows] = local
    return RowTimes(times, usable, str(zone) if zone and len(naive) else "UTC")


def times_of_datetimes(values: Array, options: ReadOptions, place: Place, column: str, counts: RowCounts) -> RowTimes:
    """Return the times of numpy datetimes: UTC, as numpy means them, unless another zone is stated."""
    rows = np.flatnonzero(~np.isnat(values))
    counts.without_time += len(values) - len(rows)
    coarse = values[rows].astype("datetime64[s]").astype(np.int64)
    if len(rows) and not (np.abs(coarse) < MOST // SECOND - 1).all():
        raise DataError(f"{place.path}: times in column {column!r} are out of range")
    local = values[rows].astype("datetime64[ns]").astype(np.int64)
    zone = parse_zone(options.zone) if options.zone else UTC
    return _in_utc(local, np.zeros(len(rows), bool), rows, len(values), zone, place, column, counts)


def times_of_pair(
    seconds: Array, nanoseconds: Array, options: ReadOptions, place: Place, names: tuple[str, ...]
) -> Ints:
    """Return the times of whole seconds and nanoseconds.

    Raises
    ------
    UsageError, DataError
        As of `Scale.unit`; a number of nanoseconds is none.
    """
    if seconds.dtype.kind not in "iu" or nanoseconds.dtype.kind not in "iu":
        raise UsageError(f"{place.path}: {' and '.join(names)} are not whole numbers", "name one column: time=COLUMN")
    if options.unit not in ("", "s"):
        raise UsageError(f"{place.path}: {names[0]} counts seconds, not {options.unit}", "leave unit= out")
    strange = (nanoseconds < 0) | (nanoseconds >= SECOND)
    if strange.any():
        row = int(np.argmax(strange))
        raise DataError(f"{place.at(row)}: {nanoseconds[row]} in column {names[1]!r} is not less than a second")
    scale = Scale(options, "s", place, names[0])
    times, _ = times_of_numbers(seconds, scale)
    return times + nanoseconds.astype(np.int64)
