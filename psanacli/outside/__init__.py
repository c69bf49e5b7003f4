"""Values from outside the data acquisition: tables of an archiver, a logbook, a recorder of one's own; joined by time.

The room knows nothing of runs: `read_table` gives an `OutsideTable`, `match` and `taken` its values at some times.

>>> table = read_table("lakeshore.csv", ReadOptions(zone="America/Los_Angeles"))          # doctest: +SKIP
>>> rows = match(table.times.astype(np.int64), times, "nearest", parse_tolerance("1s"))   # doctest: +SKIP
"""

from psanacli.outside.arrays import from_arrays
from psanacli.outside.formats import FORMATS, read_table
from psanacli.outside.matching import (
    DEFAULT_TOLERANCE,
    HOWS,
    Counts,
    Match,
    checked_how,
    match,
    parse_tolerance,
    taken,
    tolerance_text,
)
from psanacli.outside.request import KEYS, NAME, Request, parse_request
from psanacli.outside.table import Field, Origin, OutsideTable, RowCounts
from psanacli.outside.times import EPOCHS, ReadOptions
from psanacli.outside.zones import Zone, parse_zone

__all__ = [
    "DEFAULT_TOLERANCE",
    "EPOCHS",
    "FORMATS",
    "HOWS",
    "KEYS",
    "NAME",
    "Counts",
    "Field",
    "Match",
    "Origin",
    "OutsideTable",
    "ReadOptions",
    "Request",
    "RowCounts",
    "Zone",
    "checked_how",
    "from_arrays",
    "match",
    "parse_request",
    "parse_tolerance",
    "parse_zone",
    "read_table",
    "taken",
    "tolerance_text",
]
