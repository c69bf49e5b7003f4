"""Calibration constants: the store, the rule by which a file applies, text files of arrays."""

from psanacli.calib.arrays import export, origin_of, read_array
from psanacli.calib.check import Finding, SeenDetector, check
from psanacli.calib.compare import Difference, compare
from psanacli.calib.constants import Constants, read_text
from psanacli.calib.deploy import Deployment, NewConstants, deploy, plan_deployment, revert
from psanacli.calib.identity import identity
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
from psanacli.calib.ranges import Entry, Listing, RunRange, spelled
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
    "Deployment",
    "DetectorKind",
    "Difference",
    "Entry",
    "Finding",
    "Listing",
    "NewConstants",
    "RunRange",
    "SeenDetector",
    "Store",
    "TextArray",
    "check",
    "compare",
    "deploy",
    "export",
    "format_text",
    "identity",
    "kind_of",
    "origin_of",
    "parse_text",
    "plan_deployment",
    "read_array",
    "read_text",
    "revert",
    "spelled",
    "type_of",
]
