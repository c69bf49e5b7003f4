"""Calibration constants: the store, the rule by which a file applies, text files of arrays."""

from psanacli.calib.constants import Constants, read_text
from psanacli.calib.kinds import (
    COMMON_MODE,
    GEOMETRY,
    KINDS,
    OLD_TYPES,
    PIXEL_TYPES,
    TYPES,
    ConstantsType,
    DetectorKind,
    kind_of,
    type_of,
)
from psanacli.calib.ranges import Entry, Listing, RunRange
from psanacli.calib.store import Choice, Store
from psanacli.calib.text import TextArray, format_text, parse_text

__all__ = [
    "COMMON_MODE",
    "GEOMETRY",
    "KINDS",
    "OLD_TYPES",
    "PIXEL_TYPES",
    "TYPES",
    "Choice",
    "Constants",
    "ConstantsType",
    "DetectorKind",
    "Entry",
    "Listing",
    "RunRange",
    "Store",
    "TextArray",
    "format_text",
    "kind_of",
    "parse_text",
    "read_text",
    "type_of",
]
