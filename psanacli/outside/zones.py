"""Time zones: local times of a column to UTC, all rows at once.

When clocks are set back, an hour of local times comes twice.  Which of both a row is of, the order of rows tells: in a
file that is in order the local time falls once within that hour.  When clocks are set forward, an hour never is.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import UsageError, did_you_mean

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

SECOND = 10**9
_DAY = 86400
_UTC = ("utc", "z", "gmt", "ut")


class Converted(NamedTuple):
    """Times in UTC, and the rows whose local time was twice (and the order does not tell) or never."""

    times: Ints
    twofold: Flags
    impossible: Flags


@dataclass(frozen=True)
class Zone:
    """A time zone.

    Attributes
    ----------
    name : str
        As of the tz database, or ``UTC``, or ``+02:00``.
    offset : int or None
        Seconds ahead of UTC; None when it changes.
    """

    name: str
    offset: int | None

    @property
    def is_utc(self) -> bool:
        """Whether its times are UTC."""
        return self.offset == 0

    def to_utc(self, local: Ints) -> Converted:
        """Return local times in UTC.

        Parameters
        ----------
        local : ndarray of int64
            Nanoseconds of the local clock since 1970, in the order of the file.
        """
        nowhere = np.zeros(len(local), bool)
        if self.offset is not None or not len(local):
            return Converted(local - (self.offset or 0) * SECOND, nowhere, nowhere)
        starts, offsets = _changes(self.name, *_years(local))
        # The last stretch of constant offset that has begun by this local time.
        begins = starts[1:] + offsets[1:] * SECOND
        stretch = np.searchsorted(begins, local, side="right")
        late = local - offsets[stretch] * SECOND
        ends = np.append(starts[1:], np.iinfo(np.int64).max)
        impossible = late >= ends[stretch]
        early = local - offsets[np.maximum(stretch - 1, 0)] * SECOND
        twofold = (stretch > 0) & (early < starts[stretch]) & ~impossible
        times, unknown = _by_order(local, early, late, twofold, stretch)
        return Converted(times, unknown, impossible)

    def named_offset(self, abbreviation: str, local: Ints) -> int | None:
        """Return the offset in seconds that the zone calls by this abbreviation (``PDT``) about these times."""
        if abbreviation.casefold() in _UTC:
            return 0
        if self.offset is not None or not len(local):
            return None
        zone = _info(self.name)
        first, last = _years(local)
        for year in range(first, last + 1):
            for month in range(1, 13):
                moment = datetime.datetime(year, month, 1, 12, tzinfo=zone)
                if (moment.tzname() or "").casefold() == abbreviation.casefold():
                    return _seconds(moment)
        return None

    def __str__(self) -> str:
        return self.name


UTC = Zone("UTC", 0)


def parse_zone(text: str) -> Zone:
    """Return a zone by its name.

    Parameters
    ----------
    text : str
        ``UTC``, a name of the tz database (``America/Los_Angeles``), or hours ahead of UTC (``+02:00``, ``-0700``).

    Raises
    ------
    UsageError
        There is none, with the nearest names.
    """
    text = text.strip()
    if text.casefold() in _UTC:
        return UTC
    if found := re.fullmatch(r"(?:UTC)?([+-])(\d\d?)(?::?([0-5]\d))?", text, re.ASCII | re.IGNORECASE):
        seconds = int(found[2]) * 3600 + int(found[3] or 0) * 60
        if seconds <= 18 * 3600:
            name = f"{found[1]}{seconds // 3600:02}:{seconds // 60 % 60:02}"
            return Zone(name, -seconds if found[1] == "-" else seconds)
    elif text and _known(text):
        return Zone(text, None)
    hint = "write zone=UTC, zone=America/Los_Angeles, or zone=+02:00"
    if "/" in text or text.isalpha():
        import zoneinfo

        hint = did_you_mean(text, zoneinfo.available_timezones(), hint)
    raise UsageError(f"there is no time zone {text!r}", hint)


def _known(name: str) -> bool:
    import zoneinfo

    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        if not zoneinfo.available_timezones():
            raise UsageError(
                "this machine has no time zones", "install them: pip install tzdata; or write zone=-07:00"
            ) from None
        return False
    return True


@cache
def _info(name: str) -> datetime.tzinfo:
    import zoneinfo

    return zoneinfo.ZoneInfo(name)


def _years(local: Ints) -> tuple[int, int]:
    """Return the years that some times are in."""
    first, last = np.array([local.min(), local.max()]).view("datetime64[ns]").astype("datetime64[Y]").astype(int)
    return int(first) + 1970, int(last) + 1970


def _seconds(moment: datetime.datetime) -> int:
    offset = moment.utcoffset()
    return 0 if offset is None else round(offset.total_seconds())


@cache
def _changes(name: str, first: int, last: int) -> tuple[Ints, Ints]:
    """Return the stretches of constant offset of a zone, from some days before a year to some days after another.

    Returns
    -------
    starts : ndarray of int64
        Where each begins, ns UTC; of the first no more than that it is early enough.
    offsets : ndarray of int64
        Seconds ahead of UTC.
    """
    zone = _info(name)

    def offset(second: int) -> int:
        return _seconds(datetime.datetime.fromtimestamp(second, datetime.UTC).astimezone(zone))

    begin = int((np.datetime64(f"{first}-01-01", "s") - np.timedelta64(3, "D")).astype(int))
    end = int((np.datetime64(f"{last + 1}-01-01", "s") + np.timedelta64(3, "D")).astype(int))
    starts, offsets = [begin], [offset(begin)]
    for low in range(begin, end, _DAY):
        high = low + _DAY
        now = offset(high)
        if now == offsets[-1]:
            continue
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if offset(middle) == offsets[-1] else (low, middle)
        starts.append(high)
        offsets.append(now)
    return np.array(starts, np.int64) * SECOND, np.array(offsets, np.int64)


def _by_order(local: Ints, early: Ints, late: Ints, twofold: Flags, stretch: Ints) -> tuple[Ints, Flags]:
    """Choose between two times of a row by the order of all rows; return the times, and where that was not possible.

    Rows may go forward or back in time.  Within the rows of one such hour the local time has to fall (rise, when they
    go back) once: those before are of its first pass.  If it does not, or the rows are not in order, nothing tells.
    """
    times = late.copy()
    if not twofold.any():
        return times, twofold
    certain = late[~twofold]
    backwards = len(certain) > 1 and bool((certain[1:] <= certain[:-1]).all()) and certain[0] > certain[-1]
    way = slice(None, None, -1) if backwards else slice(None)
    order = np.arange(len(local))[way]
    unknown = twofold.copy()
    rows = order[twofold[order]]
    for number in np.unique(stretch[rows]).tolist():
        hour = rows[stretch[rows] == number]
        falls = np.flatnonzero(np.diff(local[hour]) < 0) + 1
        if len(falls) != 1:
            continue
        times[hour[: falls[0]]] = early[hour[: falls[0]]]
        unknown[hour] = False
    kept = times[order][~unknown[order]]
    if len(kept) > 1 and not bool((kept[1:] >= kept[:-1]).all()):
        return late, twofold
    return times, unknown
