"""Names of groups and the constants of the standard file (schema version 5)."""

from __future__ import annotations

import numpy as np

from psanacli.xtc import Level, Source

SCHEMA_VERSION = 5
CONFIGURE = "Configure:0000"
EPICS = "Epics::EpicsPv"
EPICS_SOURCE = "EpicsArch.0:NoDevice.0"
EPICS_SOURCE_WORDS = np.array([0x0900000001004973], np.uint64)
"""The attribute ``_xtcSrc`` of the EPICS group: a constant of the original, whatever the real source."""
PROVENANCE = "psanacli"
"""Group with the provenance, which readers of the standard layout do not know and pass over."""

TIME = np.dtype([(name, "<u4") for name in ("seconds", "nanoseconds", "ticks", "fiducials", "control", "vector")])
"""A row of a dataset ``time``."""
DAMAGE = np.dtype(
    [("bits", "<u4")]
    + [
        (name, "u1")
        for name in (
            "DroppedContribution",
            "OutOfOrder",
            "OutOfSynch",
            "UserDefined",
            "IncompleteContribution",
            "userBits",
        )
    ],
    align=True,
)
"""A row of a dataset ``_damage``: 10 bytes, padded to 12."""
DAMAGE_BITS = {
    "DroppedContribution": 1,
    "OutOfOrder": 12,
    "OutOfSynch": 13,
    "UserDefined": 14,
    "IncompleteContribution": 15,
}

_ANY = 0xFF
_NO_BLD = 0xFFFFFFFF


def run_group(number: int) -> str:
    """Return the path of a run, counted from 0 within the file."""
    return f"{CONFIGURE}/Run:{number:04d}"


def step_group(run: int, number: int) -> str:
    """Return the path of a step, counted from 0 within its run."""
    return f"{run_group(run)}/CalibCycle:{number:04d}"


def source_group(source: Source) -> str:
    """Return the name of the group of a source.

    Examples
    --------
    >>> source_group(Source.parse("XppEndstation.0:Opal1000.1"))
    'XppEndstation.0:Opal1000.1'
    """
    if source.is_none:
        return "noSrc"
    match source.level:
        case Level.Source:
            detector = "detector" if source.phy >> 24 == _ANY else source.detector
            det_id = "id" if source.det_id == _ANY else source.det_id
            device = "device" if source.phy >> 8 & 0xFF == _ANY else source.device
            dev_id = "id" if source.dev_id == _ANY else source.dev_id
            return f"{detector}.{det_id}:{device}.{dev_id}"
        case Level.Reporter:
            return "noSrc" if source.phy == _NO_BLD else source.bld
        case Level.Control:
            return "Control"
        case Level.Event:
            return "Event"
    return f"{source.process}@{source.ip}"


def variable_group(name: str) -> str:
    """Return the name of the group of an EPICS variable: its own, as far as HDF5 can have it."""
    return "/".join(part if part not in ("", ".", "..") else "_" for part in name.split("/"))


def source_words(source: Source) -> np.uint64:
    """Return the attribute ``_xtcSrc``: ``phy * 2**32 + log``."""
    return np.uint64(source.phy << 32 | source.log)


def damage_rows(words: np.ndarray) -> np.ndarray:
    """Return the rows of ``_damage`` for an array of damage words."""
    rows = np.zeros(len(words), DAMAGE)
    rows["bits"] = words & 0xFFFFFF
    rows["userBits"] = words >> 24
    for name, bit in DAMAGE_BITS.items():
        rows[name] = words >> bit & 1
    return rows


def time_rows(events: np.ndarray) -> np.ndarray:
    """Return the rows of ``time`` for rows of an event table."""
    rows = np.empty(len(events), TIME)
    for name in TIME.names or ():
        rows[name] = events[name]
    return rows
