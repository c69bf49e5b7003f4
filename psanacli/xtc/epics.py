"""EPICS records: payloads whose layout follows from the number in their head.

A payload begins with ``i2 pvId, i2 dbrType, i2 numElements``.  CTRL records (28-34) come in Configure and carry the
name, TIME records (14-20) carry status, time stamp and values.  Values are not aligned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError
from psanacli.xtc.catalogue import XtcType, named
from psanacli.xtc.headers import Buffer
from psanacli.xtc.layout import decode
from psanacli.xtc.record import Record

EPICS_EPOCH = 631152000
"""Unix time of 1990-01-01 00:00 UTC, from which EPICS counts."""
SEVERITIES = ("NO_ALARM", "MINOR", "MAJOR", "INVALID")
"""Names of the alarm severities."""
ALARMS = (
    "NO_ALARM", "READ", "WRITE", "HIHI", "HIGH", "LOLO", "LOW", "STATE", "COS", "COMM", "TIMEOUT", "HWLIMIT", "CALC",
    "SCAN", "LINK", "SOFT", "BAD_SUB", "UDF", "DISABLE", "SIMM", "READ_ACCESS", "WRITE_ACCESS",
)  # fmt: skip
"""Names of the alarm statuses."""

FIRST_TIME, FIRST_CTRL = 14, 28


@dataclass(frozen=True, slots=True)
class RecordKind:
    """One of the 14 layouts of EPICS records (offsets in bytes from the start of the payload)."""

    dbr_type: int
    name: str
    dbr: int
    values: int
    item: np.dtype[np.generic]
    """numpy type of a value (text: S40)."""

    @property
    def is_ctrl(self) -> bool:
        """Whether it has name, units and limits (and no time)."""
        return self.dbr_type >= FIRST_CTRL

    @property
    def xtc_type(self) -> XtcType:
        """The type of the catalogue."""
        return named(f"Epics.EpicsPv{self.name}")


_SUFFIXES = (
    ("String", "S40", 70, 74, 20), ("Short", "<i2", 70, 98, 22), ("Float", "<f4", 72, 120, 20),
    ("Enum", "<u2", 70, 492, 22), ("Char", "u1", 70, 91, 23),
    ("Long", "<i4", 72, 116, 20), ("Double", "<f8", 72, 152, 24),
)  # fmt: skip
RECORD_KINDS = {
    kind.dbr_type: kind
    for number, (suffix, item, dbr, ctrl_values, time_values) in enumerate(_SUFFIXES)
    for kind in (
        RecordKind(FIRST_TIME + number, f"Time{suffix}", 8, time_values, np.dtype(item)),
        RecordKind(FIRST_CTRL + number, f"Ctrl{suffix}", dbr, ctrl_values, np.dtype(item)),
    )
}
"""The layouts by ``dbrType``."""

EPICS_HEAD = np.dtype(
    [
        ("pvId", "<i2"), ("dbrType", "<i2"), ("numElements", "<i2"), ("status", "<u2"), ("severity", "<u2"),
        ("seconds", "<u4"), ("nanoseconds", "<u4"), ("values", "<u8"), ("complete", "?"),
    ]
)  # fmt: skip
"""A row of `epics_heads`: `seconds` since the Unix epoch (0 in CTRL records), `values` the offset of the first value
in the buffer, `complete` whether kind and size of the payload make sense (else all but the first three fields are
0)."""


def epics_type(payload: Buffer) -> XtcType:
    """Return the type of an EPICS record.

    Raises
    ------
    DataError
        The payload is empty or too short, or of a kind that is never stored.
    """
    view = memoryview(payload)
    if len(view) < 6:
        raise DataError(f"an EPICS record needs 6 bytes, the payload has {len(view)}")
    number = int.from_bytes(view[2:4], "little", signed=True)
    if number not in RECORD_KINDS:
        raise DataError(f"an EPICS record cannot have the kind {number} (dbrType); expected 14-20 or 28-34")
    return RECORD_KINDS[number].xtc_type


def decode_epics(payload: Buffer) -> Record:
    """Return the EPICS record in a payload.

    Its accessors are ``pvId``, ``dbrType``, ``numElements``, ``status``, ``severity``, ``data`` (all values: a numpy
    view, of text a list), ``value(i)``, ``dbr`` (units, limits, enum strings), ``pvName`` (CTRL records), ``stamp``
    (TIME records; counts from 1990, see `EPICS_EPOCH`).

    Raises
    ------
    DataError
        The payload is too short, or of a kind that is never stored.
    """
    return decode(epics_type(payload), payload)


def epics_heads(buffer: Buffer, starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.void]:
    """Read the heads of many EPICS records at once.

    Parameters
    ----------
    buffer : bytes-like
        Holds the payloads.
    starts, sizes : integer arrays, shape (n,)
        Place and size in bytes of each payload in the buffer.

    Returns
    -------
    structured array of `EPICS_HEAD`, shape (n,)

    Raises
    ------
    DataError
        A payload is not inside the buffer.
    """
    data = np.frombuffer(buffer, np.uint8)
    starts = np.asarray(starts, np.int64)
    sizes = np.asarray(sizes, np.int64)
    if ((starts < 0) | (sizes < 0) | (starts > len(data) - sizes)).any():
        raise DataError("an EPICS payload is outside of its buffer")
    heads = np.zeros(len(starts), EPICS_HEAD)

    def read(rows: NDArray[np.intp], offset: int, dtype: str) -> NDArray[Any]:
        places = (starts[rows] + offset)[:, None] + np.arange(np.dtype(dtype).itemsize)
        return np.asarray(data[places].view(dtype)[:, 0])

    rows = np.flatnonzero(sizes >= 6)
    for offset, name in enumerate(("pvId", "dbrType", "numElements")):
        heads[name][rows] = read(rows, 2 * offset, "<i2")
    count = heads["numElements"].astype(np.int64)
    for number in np.unique(heads["dbrType"]).tolist():
        kind = RECORD_KINDS.get(number)
        if kind is None:
            continue
        room = sizes - kind.values
        rows = np.flatnonzero((heads["dbrType"] == number) & (count >= 0) & (room >= count * kind.item.itemsize))
        heads["complete"][rows] = True
        heads["values"][rows] = starts[rows] + kind.values
        heads["status"][rows] = read(rows, kind.dbr, "<u2")
        heads["severity"][rows] = read(rows, kind.dbr + 2, "<u2")
        if not kind.is_ctrl:
            heads["seconds"][rows] = read(rows, kind.dbr + 4, "<u4").astype(np.int64) + EPICS_EPOCH
            heads["nanoseconds"][rows] = read(rows, kind.dbr + 8, "<u4")
    return heads
