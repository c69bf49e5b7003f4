"""Times as people write them."""

from __future__ import annotations

import calendar
import re
from functools import lru_cache

from psanacli.errors import UsageError

_TIME = re.compile(
    r"\s*(?P<year>\d{4})-(?P<month>\d\d?)(?:-(?P<day>\d\d?))?"
    r"(?:[T ]\s*(?P<hour>\d\d?):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<fraction>\d{1,9}))?)?)?"
    r"\s*(?P<zone>Z|UTC|[+-]\d\d:?\d\d)?\s*",
    re.IGNORECASE | re.ASCII,
)
FORM = "YYYY-MM-DD HH:MM:SS, with a zone such as -07:00 unless it is UTC"
FIRST_YEAR, LAST_YEAR = 1970, 2261


@lru_cache(1024)
def parse_time(text: str) -> int:
    """Return the time of a text in ns since 1970, UTC.

    Parameters
    ----------
    text : str
        ``2015-07-15``, ``2015-07-15 10:00``, ``2015-07-15T10:00:00.123456789``, with ``Z`` or ``-07:00`` behind it;
        without a zone it is UTC.

    Raises
    ------
    UsageError
        It is no time, or one that nanoseconds in 64 bits cannot tell.
    """
    found = _TIME.fullmatch(text)
    if found is None:
        raise UsageError(f"{text!r} is no time", f"write {FORM}")
    year, month, day = int(found["year"]), int(found["month"]), int(found["day"] or 1)
    hour, minute, second = (int(found[part] or 0) for part in ("hour", "minute", "second"))
    if not (FIRST_YEAR <= year <= LAST_YEAR and 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]):
        raise UsageError(f"{text!r} is no day from {FIRST_YEAR} to {LAST_YEAR}", f"write {FORM}")
    if hour > 23 or minute > 59 or second > 59:
        raise UsageError(f"{text!r} is no time of a day", f"write {FORM}")
    offset = 0
    zone = (found["zone"] or "").upper()
    if zone and zone not in ("Z", "UTC"):
        hours, minutes = int(zone[1:3]), int(zone[-2:])
        if hours > 14 or minutes > 59:
            raise UsageError(f"{text!r}: {zone} is no time zone", f"write {FORM}")
        offset = (60 * hours + minutes) * (-60 if zone[0] == "-" else 60)
    seconds = calendar.timegm((year, month, day, hour, minute, second)) - offset
    return seconds * 1_000_000_000 + int((found["fraction"] or "0").ljust(9, "0"))
