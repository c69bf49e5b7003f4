"""Calibration: constants, their store, and what they do to images: common mode, gains, masks, photons."""

from psanacli.calib import history, masks
from psanacli.calib.arrays import export, format_of, origin_of, read_array
from psanacli.calib.check import ERROR, NOTE, WARNING, Finding, SeenDetector, check
from psanacli.calib.common_mode import (
    COMMON_MODES,
    CommonMode,
    Histogram,
    default_common_mode,
    from_numbers,
    parse_common_mode,
)
from psanacli.calib.compare import Difference, compare
from psanacli.calib.constants import Constants, read_text
from psanacli.calib.dark import MEANINGS as DARK_BITS
from psanacli.calib.dark import VALUE_BITS, Dark, DarkOptions, DarkSums, Gates, Limits, StatusBit
from psanacli.calib.dark import Frames as DarkFrames
from psanacli.calib.dark_methods import Method as DarkMethod
from psanacli.calib.dark_methods import Psana, PsanaEpix10ka, Robust
from psanacli.calib.deploy import Deployment, NewConstants, deploy, deploy_together, plan_deployment, revert
from psanacli.calib.identity import identity
from psanacli.calib.in_file import PixelsInFile, Raw
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
from psanacli.calib.mask_expression import MASK_TERMS, Masked, mask_of
from psanacli.calib.mask_picture import mask_png
from psanacli.calib.photons import photons
from psanacli.calib.ranged_recipe import EPIX10KA_HIGH, JUNGFRAU_HIGH, RangedRecipe, Ranges, epix10ka_ranges
from psanacli.calib.ranges import Entry, Listing, RunRange, spelled
from psanacli.calib.recipe import Recipe
from psanacli.calib.sheet import tiled
from psanacli.calib.store import Choice, Store
from psanacli.calib.text import TextArray, format_text, parse_text

__all__ = [
    "COMMON_MODE",
    "COMMON_MODES",
    "DARK_BITS",
    "EPIX10KA_HIGH",
    "ERROR",
    "GEOMETRY",
    "JUNGFRAU_HIGH",
    "KINDS",
    "MASK_TERMS",
    "NOTE",
    "OLD_TYPES",
    "PIXEL_TYPES",
    "TYPES",
    "VALUE_BITS",
    "WARNING",
    "Choice",
    "CommonMode",
    "Constants",
    "ConstantsType",
    "Dark",
    "DarkFrames",
    "DarkMethod",
    "DarkOptions",
    "DarkSums",
    "Deployment",
    "DetectorKind",
    "Difference",
    "Entry",
    "Finding",
    "Gates",
    "Histogram",
    "Limits",
    "Listing",
    "Masked",
    "NewConstants",
    "PixelsInFile",
    "Psana",
    "PsanaEpix10ka",
    "RangedRecipe",
    "Ranges",
    "Raw",
    "Recipe",
    "Robust",
    "RunRange",
    "SeenDetector",
    "StatusBit",
    "Store",
    "TextArray",
    "check",
    "compare",
    "default_common_mode",
    "deploy",
    "deploy_together",
    "epix10ka_ranges",
    "export",
    "format_of",
    "format_text",
    "from_numbers",
    "history",
    "identity",
    "kind_of",
    "mask_of",
    "mask_png",
    "masks",
    "origin_of",
    "parse_common_mode",
    "parse_text",
    "photons",
    "plan_deployment",
    "read_array",
    "read_text",
    "revert",
    "spelled",
    "tiled",
    "type_of",
]
