"""The JSON form of decoded objects: plain dicts, lists, numbers and text."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.xtc.catalogue import type_ids
from psanacli.xtc.record import Record, Records
from psanacli.xtc.sources import INVALID_NAME, Source

_LISTED = 16
_CHUNK = 1 << 16


def plain_record(record: Record) -> dict[str, Any]:
    """Return all public accessors of a record, ready for JSON.

    Numbers are as they are, NaN and infinities ``"nan"``, ``"inf"``, ``"-inf"``, enumerations numbers.  An array of
    numbers is ``{shape, dtype, sum, crc32, values}``: the sum is exact (of floats correctly rounded), crc32 that of
    the little-endian bytes in C order, the values are listed up to 16.  An array that does not apply is None.  Sources
    are ``{log, phy, src}``, times ``{seconds, nanoseconds}``, type words ``{value, name, version}``.
    """
    name = record.xtc_type.name
    if name in ("Pds.Src", "Pds.DetInfo"):
        return {"log": record.log, "phy": record.phy, "src": Source(record.log, record.phy).daq_name}
    if name == "Pds.TypeId":
        return {"value": record.value, "name": plain_type(record.value), "version": record.value >> 16}
    return {key: plain_value(shown_values(record, key)) for key in record.xtc_type.accessors}


def plain_type(type_word: int) -> str:
    """Return the name of the type number in a type word."""
    return type_ids().get(type_word & 0xFFFF, INVALID_NAME)


def shown_values(record: Record, name: str) -> Any:
    """Return the value of an accessor as it is shown: ``present(code)`` as the list of codes for which it says yes."""
    values = record.values_of(name)
    if name == "present" and record.xtc_type.name.startswith("EvrData."):
        return [code for code, there in enumerate(values) if there]
    return values


def plain_value(value: Any) -> Any:
    """Return a value of an accessor, ready for JSON (see `plain_record`)."""
    if isinstance(value, np.ndarray):
        return plain_array(value)
    if isinstance(value, Record):
        return plain_record(value)
    if isinstance(value, (Records, list)):
        return [plain_value(item) for item in value]
    if isinstance(value, float):
        return plain_float(value)
    return value


def plain_float(value: float) -> float | str:
    """Return a float, or the text of what JSON cannot say."""
    if math.isfinite(value):
        return value
    return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"


def plain_array(array: NDArray[Any]) -> dict[str, Any]:
    """Return the summary of an array of numbers (see `plain_record`)."""
    array = np.ascontiguousarray(array)
    summary: dict[str, Any] = {
        "shape": list(array.shape),
        "dtype": array.dtype.name,
        "sum": _sum(array),
        "crc32": zlib.crc32(array.reshape(-1).view(np.uint8)) if array.size else 0,
    }
    if array.size <= _LISTED:
        summary["values"] = [plain_float(x) if isinstance(x, float) else x for x in array.reshape(-1).tolist()]
    return summary


def _sum(array: NDArray[Any]) -> int | float | str:
    if array.dtype.kind != "f":
        if array.dtype.itemsize < 8:
            return int(array.sum(dtype=np.int64))
        return int(sum(_numbers(array)))
    if not np.isfinite(array).all():
        with np.errstate(invalid="ignore", over="ignore"):
            return plain_float(float(array[~np.isfinite(array)].sum(dtype=np.float64)))
    try:
        return math.fsum(_numbers(array))
    except OverflowError:
        with np.errstate(over="ignore"):
            return plain_float(float(array.sum(dtype=np.longdouble)))


def _numbers(array: NDArray[Any]) -> Iterator[Any]:
    flat = array.reshape(-1)
    for start in range(0, len(flat), _CHUNK):
        yield from flat[start : start + _CHUNK].tolist()
