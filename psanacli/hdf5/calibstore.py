"""The constants that images were corrected with, in ``Configure:0000/CalibStore``: the file needs no other.

``CalibStore/TYPE/SOURCE/data`` is the array as the store has it, and attributes of its group say where it came from;
``CalibStore/recipe/SOURCE`` tells the common mode, and has the mask that was applied.  Of images that are stored as the
original's module made them the groups have the names that it gave them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from psanacli.calib import COMMON_MODE, Constants, origin_of
from psanacli.detector import AreaDetector
from psanacli.hdf5.forms import Form, form_of
from psanacli.hdf5.names import CONFIGURE, source_group, source_words
from psanacli.hdf5.tables import Plan, Value
from psanacli.xtc import Source

if TYPE_CHECKING:
    from psanacli.hdf5.calibrated import Corrector

GROUP = f"{CONFIGURE}/CalibStore"
_MODULE = {
    "pedestals": ("PedestalsV1", "pedestals"),
    "pixel_status": ("PixelStatusV1", "status"),
    "pixel_gain": ("PixelGainV1", "pixel_gain"),
}
"""Types of the original: the class without the name of the detector, and the dataset."""
_LARGE = 1 << 14
"""Elements of an array that is worth to be compressed."""
_NUMBERS = 16
"""Of a common mode in the original, with blanks of 0."""


def add(plan: Plan, detector: AreaDetector, corrector: Corrector, source: Source) -> None:
    """Add the constants of a detector to a plan, and what is told of them to its provenance."""
    used = sorted(detector.constants.used, key=lambda found: found.type)
    told = {
        "source": detector.name,
        "common_mode": corrector.common_mode,
        "calibrated": corrector.calibrated,
        "constants": [origin_of(found) for found in used],
    }
    plan.provenance.setdefault("calib", []).append(told)
    for found in used:
        if corrector.correction.in_type:
            _add_of_module(plan, found, source)
        else:
            _add(plan, f"{GROUP}/{found.type}", source, found, _plain(found))
    if corrector.correction.in_type:
        return
    group = f"{GROUP}/recipe/{source_group(source)}"
    plan.group(group, _attributes(source))
    plan.group(group, (("common_mode", corrector.common_mode), ("calibrated", np.uint8(corrector.calibrated))))
    plan.group(group, (("bad", corrector.correction.bad or "status"),))
    mask = corrector.mask if corrector.calibrated else None
    if mask is not None:
        plan.values.append(_value(group, "mask", form_of("u1"), mask, packed=True))


def _plain(found: Constants) -> tuple[str, Form, NDArray[Any]]:
    array = found.array
    return "data", form_of(f"{array.dtype.kind}{array.dtype.itemsize}"), array


def _add_of_module(plan: Plan, found: Constants, source: Source) -> None:
    device = "CsPad2x2" if "Cspad2x2" in found.source else "CsPad"
    if found.type == COMMON_MODE:
        row = np.zeros((), np.dtype([("mode", "<u4"), ("data", "<f8", (_NUMBERS,))], align=True))
        numbers = found.array.reshape(-1)
        row["mode"], rest = int(numbers[0]), numbers[1 : _NUMBERS + 1]
        row["data"][: len(rest)] = rest
        stored = ("data", form_of("@psanacli.sub"), row)
        _add(plan, f"{GROUP}/pdscalibdata::CsPadCommonModeSubV1", source, found, stored)
    elif found.type in _MODULE:
        name, dataset = _MODULE[found.type]
        array = found.array if device == "CsPad2x2" else found.array.reshape(4, 8, 185, 388)
        kind = form_of(f"{array.dtype.kind}{array.dtype.itemsize}")
        _add(plan, f"{GROUP}/pdscalibdata::{device}{name}", source, found, (dataset, kind, array))


def _add(plan: Plan, type_group: str, source: Source, found: Constants, stored: tuple[str, Form, NDArray[Any]]) -> None:
    plan.group(type_group, (("_ndarray", np.uint8(0)),))
    group = f"{type_group}/{source_group(source)}"
    plan.group(group, _attributes(source))
    origin = origin_of(found)
    plan.group(group, (("file", os.path.abspath(origin["file"])), ("range", origin["range"])))
    plan.group(group, (("sha256", origin["sha256"]), ("run", np.uint32(found.run))))
    plan.values.append(_value(group, *stored, packed="::" not in type_group))


def _attributes(source: Source) -> tuple[tuple[str, Any], ...]:
    return ("_xtcSrc", source_words(source)), ("_eventKeyStr", ""), ("_groupKeyStr", "")


def _value(group: str, name: str, form: Form, array: NDArray[Any], packed: bool) -> Value:
    shape = array.shape if array.ndim else None
    stored = ((name, form, shape, np.ascontiguousarray(array)),)
    return Value(group, stored, np.zeros(8, np.uint8), packed and array.size >= _LARGE)
