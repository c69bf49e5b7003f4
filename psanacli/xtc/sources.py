"""Sources of data: their two words, their spellings, and the strings that select them.

A source is two words of the Xtc header.  Bits 24-31 of ``log`` are its level, bits 0-23 the id of the process that
wrote it.  What ``phy`` means depends on the level: a detector and its device (level Source), a kind of beam-line data
(level Reporter), the address of a computer (all others).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from psanacli.errors import UsageError, did_you_mean
from psanacli.xtc.headers import Level
from psanacli.xtc.names import (
    BLD_NAMES,
    DETECTOR_NAMES,
    DETECTOR_SPELLINGS,
    DEVICE_NAMES,
    DEVICE_SPELLINGS,
    SEGMENT_DEVICES,
)

INVALID_NAME = "-Invalid-"
"""Printed in place of the name of a number that has none."""
_ANY_ID = 255
_ANY_ADDRESS = 0xFFFFFFFF
_PREFIXED = re.compile(r"(DetInfo|BldInfo|ProcInfo)\s*\((.*)\)", re.DOTALL)
_NUMBER = re.compile(r"-?[0-9]{1,9}")


class Segment(NamedTuple):
    """A piece of a detector that is read out in pieces.

    `whole` is the source of the whole detector, `first` the index of the first module in the piece, `modules` their
    number, and `total` the number of modules of the whole.
    """

    whole: Source
    first: int
    modules: int
    total: int


@dataclass(frozen=True, slots=True)
class Source:
    """Who wrote an object.

    Parameters
    ----------
    log, phy : int
        The two words of the Xtc header.

    Examples
    --------
    >>> camera = Source.parse("XppEndstation.0:Opal1000.1")
    >>> camera.text, camera.daq_name, camera.device
    ('DetInfo(XppEndstation.0:Opal1000.1)', 'XppEndstation-0|Opal1000-1', 'Opal1000')
    >>> Source.parse("EBeam")
    Source('BldInfo(EBeam)')
    """

    log: int
    phy: int

    @classmethod
    def parse(cls, text: str, process: int = 0, level: Level = Level.Segment) -> Source:
        """Make the source that an exact source string names.

        Parameters
        ----------
        text : str
            Such as ``CxiDs1.0:Cspad.0``, ``EBeam``, ``ProcInfo(172.21.1.2)``.
        process : int
            Id of the process, 24 bits.
        level : Level
            The level, where the string names a computer.

        Raises
        ------
        UsageError
            The string cannot be parsed, or has wildcards.
        """
        match = SourceMatch.parse(text)
        if not match.exact:
            raise UsageError(f"{text!r} selects sources, but does not name one")
        if match.kind is not None:
            level = match.kind
        return cls(level << 24 | process & 0xFFFFFF, match.phy)

    @property
    def level(self) -> int:
        """The level, a `Level` where it has one."""
        number = self.log >> 24
        return _LEVELS[number] if number < len(_LEVELS) else number

    @property
    def level_name(self) -> str:
        """Name of the level."""
        level = self.level
        return level.name if isinstance(level, Level) else INVALID_NAME

    @property
    def process(self) -> int:
        """Id of the process that wrote it."""
        return self.log & 0xFFFFFF

    @property
    def is_none(self) -> bool:
        """Whether this is the value that stands for no source."""
        return self.log == self.phy == 0xFFFFFFFF

    @property
    def detector(self) -> str:
        """Name of the detector (level Source), such as ``CxiDs1``."""
        return _name(DETECTOR_NAMES, self.phy >> 24)

    @property
    def det_id(self) -> int:
        """Number that tells equal detectors apart (level Source)."""
        return self.phy >> 16 & 0xFF

    @property
    def device(self) -> str:
        """Name of the device (level Source), such as ``Cspad``."""
        return _name(DEVICE_NAMES, self.phy >> 8 & 0xFF)

    @property
    def dev_id(self) -> int:
        """Number that tells equal devices apart (level Source)."""
        return self.phy & 0xFF

    @property
    def bld(self) -> str:
        """Name of the beam-line data (level Reporter), such as ``EBeam``."""
        return _name(BLD_NAMES, self.phy)

    @property
    def ip(self) -> str:
        """Address of the computer (levels other than Source and Reporter), such as ``172.21.1.2``."""
        return ".".join(str(octet) for octet in self.phy.to_bytes(4, "big"))

    @property
    def name(self) -> str:
        """The bare name: ``CxiDs1.0:Cspad.0``, ``EBeam`` or ``172.21.1.2, pid=4711``; nothing for no source."""
        if self.is_none:
            return ""
        if self.level == Level.Source:
            return f"{self.detector}.{self.det_id}:{self.device}.{self.dev_id}"
        if self.level == Level.Reporter:
            return self.bld
        return f"{self.ip}, pid={self.process}"

    @property
    def text(self) -> str:
        """The name as in event keys: ``DetInfo(CxiDs1.0:Cspad.0)``; nothing for no source."""
        return f"{_PREFIX.get(self.level, 'ProcInfo')}({self.name})" if not self.is_none else ""

    @property
    def daq_name(self) -> str:
        """The spelling of the data acquisition: ``CxiDs1-0|Cspad-0``, ``EBeam``, else the name of the level."""
        if self.level == Level.Source:
            return f"{self.detector}-{self.det_id}|{self.device}-{self.dev_id}"
        return self.bld if self.level == Level.Reporter else self.level_name

    @property
    def identity(self) -> tuple[int, int]:
        """What tells sources apart: level and ``phy``.  The order is that of event keys."""
        return self.log >> 24, self.phy - (self.phy >> 31 << 32)

    @property
    def segment(self) -> Segment | None:
        """Which piece of a larger detector this is; None for all but segments of a Jungfrau."""
        piece = SEGMENT_DEVICES.get(self.phy >> 8 & 0xFF)
        if self.level != Level.Source or piece is None:
            return None
        device, modules = piece
        phy = self.phy & 0xFF000000 | (self.det_id >> 4) << 16 | device << 8 | self.dev_id >> 4
        return Segment(Source(self.log, phy), self.dev_id & 0xF, modules, self.det_id & 0xF)

    def same_as(self, other: Source) -> bool:
        """Return whether both are the same source; the process does not matter."""
        return self.identity == other.identity

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Source({self.text!r})"


_LEVELS = tuple(Level)
_PREFIX: dict[int, str] = {Level.Source: "DetInfo", Level.Reporter: "BldInfo"}
NO_SOURCE = Source(0xFFFFFFFF, 0xFFFFFFFF)
"""Stands for no source at all."""


@dataclass(frozen=True, slots=True)
class SourceMatch:
    """Selects sources: what a source string means.

    Attributes
    ----------
    anything : bool
        The empty string: any source, and also none.
    no_source : bool
        Only what has no source.
    kind : Level or None
        ``Source``, ``Reporter``, or None for the address of a computer.
    phy : int
        The word to compare with, where `mask` has bits.
    mask : int
        Bits of ``phy`` that have to agree; wildcards have none.

    Examples
    --------
    >>> SourceMatch.parse(":Opal1000").matches(Source.parse("XppEndstation.0:Opal1000.1"))
    True
    """

    anything: bool = False
    no_source: bool = False
    kind: Level | None = None
    phy: int = 0
    mask: int = 0

    @classmethod
    def parse(cls, text: str, aliases: Mapping[str, Source] | None = None) -> SourceMatch:
        """Understand a source string.

        Parameters
        ----------
        text : str
            The empty string (anything), an alias, ``DetInfo(...)``, ``BldInfo(...)``, ``ProcInfo(...)``, the name of
            beam-line data, or ``DETECTOR.ID:DEVICE.ID`` or ``DETECTOR-ID|DEVICE-ID``, in which each part may be
            missing or ``*``.  Case matters; blanks at the ends do not.
        aliases : mapping of str to Source, optional
            The names that a run gives to its sources; they are tried first.

        Raises
        ------
        UsageError
            The string means nothing.
        """
        found = cls.understood(text, aliases)
        if found is None:
            known = [*(aliases or ()), *BLD_NAMES, *DETECTOR_NAMES, *(f":{device}" for device in DEVICE_NAMES)]
            raise UsageError(
                f"source string cannot be parsed: {text!r}",
                did_you_mean(
                    text.strip(), known, "sources look like CxiDs1.0:Cspad.0, :Cspad, EBeam or an alias of the run"
                ),
            )
        return found

    @classmethod
    def understood(cls, text: str, aliases: Mapping[str, Source] | None = None) -> SourceMatch | None:
        """Understand a source string as `parse` does; None for what is none."""
        wanted = text.strip()
        if not wanted:
            return cls(anything=True)
        if aliases and wanted in aliases:
            return cls.of(aliases[wanted])
        prefixed = _PREFIXED.fullmatch(wanted)
        if prefixed is None:
            return _bld_match(wanted) or _detector_match(wanted)
        return _PREFIXED_MATCH[prefixed[1]](prefixed[2].strip())

    @classmethod
    def of(cls, source: Source) -> SourceMatch:
        """Select one source exactly."""
        if source.is_none:
            return cls(no_source=True)
        kind = source.level if source.level in _PREFIX else None
        return cls(kind=Level(kind) if kind is not None else None, phy=source.phy, mask=0xFFFFFFFF)

    @property
    def exact(self) -> bool:
        """Whether there is no wildcard."""
        return self.no_source or self.mask == 0xFFFFFFFF

    def matches(self, source: Source) -> bool:
        """Return whether `source` is selected."""
        if self.anything or source.is_none:
            return self.anything or self.no_source
        if self.no_source:
            return False
        level = source.level
        same_kind = level == self.kind if self.kind is not None else level not in _PREFIX
        return same_kind and (source.phy ^ self.phy) & self.mask == 0

    def within(self, other: SourceMatch) -> bool:
        """Return whether `other` selects everything that this selects."""
        if other.anything or self.anything or self.no_source or other.no_source:
            return other.anything or (self.no_source and other.no_source)
        return self.kind == other.kind and not other.mask & ~self.mask and (self.phy ^ other.phy) & other.mask == 0

    def __str__(self) -> str:
        if self.anything or self.no_source:
            return ""
        if self.kind == Level.Reporter:
            return f"BldInfo({_name(BLD_NAMES, self.phy) if self.mask else ''})"
        if self.kind is None:
            return f"ProcInfo({Source(0, self.phy if self.mask else _ANY_ADDRESS).ip}, pid=0)"
        source = Source(Level.Source << 24, self.phy)
        detector = source.detector if self.mask >> 24 else "*"
        device = source.device if self.mask & 0xFF00 else "*"
        det_id = source.det_id if self.mask & 0xFF0000 else "*"
        dev_id = source.dev_id if self.mask & 0xFF else "*"
        return f"DetInfo({detector}.{det_id}:{device}.{dev_id})"

    def __repr__(self) -> str:
        return f"SourceMatch({str(self)!r})"


def _name(names: tuple[str, ...], number: int) -> str:
    return names[number] if number < len(names) else INVALID_NAME


@cache
def _numbers() -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
    """Return the numbers of detectors, devices and beam-line data by all their spellings."""
    detectors = {name: number for number, name in enumerate(DETECTOR_NAMES)} | DETECTOR_SPELLINGS
    devices = {name: number for number, name in enumerate(DEVICE_NAMES)} | DEVICE_SPELLINGS
    return detectors, devices, {name: number for number, name in enumerate(BLD_NAMES)}


def _bld_match(text: str) -> SourceMatch | None:
    if not text:
        return SourceMatch(kind=Level.Reporter)
    number = _numbers()[2].get(text)
    return None if number is None else SourceMatch(kind=Level.Reporter, phy=number, mask=0xFFFFFFFF)


def _address_match(text: str) -> SourceMatch | None:
    if not text:
        return SourceMatch()
    octets = text.split(".")
    if len(octets) != 4 or not all(octet.isascii() and octet.isdigit() and len(octet) < 10 for octet in octets):
        return None
    numbers = [int(octet) for octet in octets]
    if max(numbers) > 255:
        return None
    phy = int.from_bytes(numbers, "big")
    return SourceMatch(phy=phy, mask=0 if phy == _ANY_ADDRESS else 0xFFFFFFFF)


def _detector_match(text: str) -> SourceMatch | None:
    return _spelled_match(text, ":", ".") or _spelled_match(text, "|", "-")


def _spelled_match(text: str, between: str, before_id: str) -> SourceMatch | None:
    """Understand a detector in one of the two styles, whose separators are given."""
    parts = text.split(between)
    if len(parts) > 2:
        return None
    detectors, devices, _ = _numbers()
    phy = mask = 0
    for part, known in zip([*parts, ""], (detectors, devices), strict=False):
        name, _, number = part.partition(before_id)
        phy, mask = phy << 16, mask << 16
        if name not in ("", "*"):
            if name not in known:
                return None
            phy, mask = phy | known[name] << 8, mask | 0xFF00
        if number not in ("", "*"):
            if not _NUMBER.fullmatch(number):
                return None
            low = int(number) & 0xFF
            if low != _ANY_ID:
                phy, mask = phy | low, mask | 0xFF
    return SourceMatch(kind=Level.Source, phy=phy, mask=mask)


_PREFIXED_MATCH = {"DetInfo": _detector_match, "BldInfo": _bld_match, "ProcInfo": _address_match}
