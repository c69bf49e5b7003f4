"""The fixed words of the format: transitions, levels, damage, and the tables that a walk gives.

A datagram has a header of 40 bytes (clock, stamp, env, then the outermost Xtc header); every Xtc has one of 20 bytes
(damage, source log and phy, type word, extent).  All words are little-endian unsigned 32-bit integers.
"""

from __future__ import annotations

import enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

DATAGRAM_HEADER = 40
XTC_HEADER = 20
MAX_FIDUCIALS = 131040
"""Fiducials run from 0 to this number (excluded), and wrap; equal to 2**17 - 32."""
NO_FIDUCIAL = 0x1FFFF
"""The fiducial of an event whose fiducial is unknown, and of all transitions."""
COMPRESSED_BIT = 0x80000000
"""Bit of the type word that says that the payload is compressed."""

TYPE_ANY = 0
TYPE_XTC = 1
TYPE_EPICS = 13
TYPE_PROXY = 91
XTC_TYPE_WORD = 0x00010001
"""Type word of containers and of the outermost Xtc of a datagram."""


class Transition(enum.IntEnum):
    """What a datagram is: an event (``L1Accept``) or a change of state of the data acquisition."""

    Unknown = 0
    Reset = 1
    Map = 2
    Unmap = 3
    Configure = 4
    Unconfigure = 5
    BeginRun = 6
    EndRun = 7
    BeginCalibCycle = 8
    EndCalibCycle = 9
    Enable = 10
    Disable = 11
    L1Accept = 12


class Level(enum.IntEnum):
    """Which kind of thing a source is; bits 24-31 of its log word."""

    Control = 0
    Source = 1
    Segment = 2
    Event = 3
    Recorder = 4
    Observer = 5
    Reporter = 6


class DamageBit(enum.IntEnum):
    """Numbers of the bits of a damage word that have a meaning."""

    DroppedContribution = 1
    Uninitialized = 11
    OutOfOrder = 12
    OutOfSynch = 13
    UserDefined = 14
    IncompleteContribution = 15
    ContainsIncomplete = 16


class Damage(int):
    """A damage word: an integer that knows the names of its bits.

    Examples
    --------
    >>> damage = Damage(0x05001002)
    >>> damage.names, damage.user_bits
    (('DroppedContribution', 'OutOfOrder'), 5)
    """

    @property
    def bits(self) -> int:
        """The flags: bits 0-23."""
        return self & 0xFFFFFF

    @property
    def user_bits(self) -> int:
        """The number written by the front end, valid when ``UserDefined`` is set: bits 24-31."""
        return self >> 24 & 0xFF

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the bits that are set, in order; a bit without a meaning is ``bit N``."""
        known = {bit.value: bit.name for bit in DamageBit}
        return tuple(known.get(bit, f"bit {bit}") for bit in range(24) if self >> bit & 1)

    def has(self, bit: DamageBit) -> bool:
        """Return whether `bit` is set."""
        return bool(self >> bit & 1)

    def __repr__(self) -> str:
        user = f", user bits {self.user_bits}" if self.user_bits else ""
        return f"Damage({int(self):#x}: {', '.join(self.names) or 'none'}{user})"


class DatagramFlag(enum.IntFlag):
    """What a walk noticed in one datagram; the bits are those of the field ``flags`` of `DATAGRAM`.

    All but ``NOT_ENTERED`` contradict the format, and also appear among the problems of the file.
    """

    EMPTY_CHILD = 1
    """A child has extent 0; the rest of its parent is not looked at."""
    SMALL_CHILD = 2
    """A child has an extent smaller than its header."""
    LARGE_CHILD = 4
    """A child reaches beyond its parent."""
    LOOSE_BYTES = 8
    """Too few bytes for a header remain at the end of a container."""
    NOT_A_CONTAINER = 16
    """The outermost type is not Xtc; nothing inside is listed."""
    BAD_PROXY = 32
    """A proxy of the small data is too short, or what it stands for cannot be."""
    NOT_ENTERED = 64
    """The datagram itself has the damage IncompleteContribution; nothing inside is listed."""


class ContributionFlag(enum.IntFlag):
    """What a contribution is; the bits are those of the field ``flags`` of `CONTRIBUTION`."""

    PROXY = 1
    """Stands in a small-data file for an object of the big file; key and extent are those of the object."""
    COMPRESSED = 2
    """The payload is compressed."""
    NOT_ENTERED = 4
    """A container with the damage IncompleteContribution: what it has inside is not listed."""
    BAD_PROXY = 8
    """A proxy that cannot be followed; the key is that of the proxy itself."""


DATAGRAM = np.dtype(
    {
        "names": [
            "offset",
            "extent",
            "seconds",
            "nanoseconds",
            "stamp_low",
            "stamp_high",
            "env",
            "damage",
            "pattern",
            "file",
            "flags",
        ],
        "formats": ["<u8", *["<u4"] * 8, "<u2", "<u2"],
        "offsets": [0, 8, 12, 16, 20, 24, 28, 32, 36, 40, 42],
        "itemsize": 48,
    }
)
"""A row of the datagram table (see ``docs/architecture.md``)."""

CONTRIBUTION = np.dtype([(name, "<u4") for name in ("offset", "extent", "key", "damage", "flags")])
"""A row of the contribution table of the patterns."""

KEY = np.dtype([(name, "<u4") for name in ("log", "phy", "type")])
"""A row of the key table: source and type word, with the compressed bit clear."""

Rows = NDArray[Any]
Buffer = bytes | bytearray | memoryview | NDArray[np.uint8]
"""What can be read from: contiguous bytes."""


def _low(datagrams: Rows) -> NDArray[np.uint32]:
    words: NDArray[np.uint32] = datagrams["stamp_low"]
    return words


def _high(datagrams: Rows) -> NDArray[np.uint32]:
    words: NDArray[np.uint32] = datagrams["stamp_high"]
    return words


def service(datagrams: Rows) -> NDArray[np.uint32]:
    """Return the transition number of each row of a datagram table, uint32."""
    return _low(datagrams) >> np.uint32(24) & np.uint32(0xF)


def control(datagrams: Rows) -> NDArray[np.uint32]:
    """Return the control byte of each row (transition number, sequence type, extended flag), uint32."""
    return _low(datagrams) >> np.uint32(24)


def ticks(datagrams: Rows) -> NDArray[np.uint32]:
    """Return the ticks (119 MHz counter within the fiducial) of each row, uint32."""
    return _low(datagrams) & np.uint32(0xFFFFFF)


def fiducials(datagrams: Rows) -> NDArray[np.uint32]:
    """Return the fiducials (360 Hz pulse counter) of each row, uint32."""
    return _high(datagrams) & np.uint32(0x1FFFF)


def vector(datagrams: Rows) -> NDArray[np.uint32]:
    """Return the vector (15-bit count of events since configure) of each row, uint32."""
    return _high(datagrams) >> np.uint32(17)
