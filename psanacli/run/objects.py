"""Objects: where the objects of one type and source are, in every event of a run.

What is decided here, for all events at once: the damage policy, whether the type is known, which of several objects
with the same key counts (the first that is stored, in the order of the streams), and which configuration object
belongs to it.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from psanacli.run.tables import Rules
from psanacli.xtc import (
    EPICS,
    TYPE_ANY,
    TYPE_XTC,
    XTC,
    ContributionFlag,
    DamageBit,
    Source,
    XtcType,
    find,
    named,
)

Ints = NDArray[np.int64]

_EBEAM = 15
_ORDER = 1 << DamageBit.OutOfOrder
_USER = 1 << DamageBit.UserDefined
BOOKKEEPING = "SmlData.OrigDgramOffsetV1"
"""What small-data files have in each datagram of an event: where it is in the big file.  No object of the event."""


class Form(enum.Enum):
    """How the payload of an object comes from the one that is stored."""

    STORED = ""
    SORTED_QUADS = "the quadrants of a CSPAD in the order of their numbers"
    FULL_FRAME = "one image of the four links of a pnCCD"
    TURNED = "Timepix.DataV1 as DataV2"


class Product(NamedTuple):
    """What a type is read as: a type, its place in the payload (size 0: to the end), form and stored type."""

    xtc_type: XtcType
    offset: int = 0
    size: int = 0
    form: Form = Form.STORED
    stored: XtcType | None = None

    @property
    def part(self) -> bool:
        """Whether it is a part of the payload."""
        return bool(self.offset or self.size)

    @property
    def config_types(self) -> tuple[str, ...]:
        """The configuration types that can decode the object, in the order in which they are looked for."""
        source = self.stored if self.form is not Form.STORED and self.stored is not None else self.xtc_type
        return source.config_types if source.config_inside is None else ()


class Key(NamedTuple):
    """An object of a run: its type and source."""

    xtc_type: XtcType
    source: Source

    def __str__(self) -> str:
        return f"{self.source.text}/{self.xtc_type.name}"


@cache
def products_of(type_word: int) -> tuple[Product, ...]:
    """Return what an object with a type word is read as; nothing when the type is not known.

    Shared beam-line data are taken apart into their members (format description 10.6); pnCCD frames also give one
    image.
    """
    xtc_type = find(type_word & 0xFFFF, type_word >> 16)
    if xtc_type is None:
        return ()
    if xtc_type.name in ("Bld.BldDataIpimbV0", "Bld.BldDataIpimbV1", "Bld.BldDataPimV1", "Bld.BldDataUsdUsbV1"):
        parts = [(named(field.type), field.offset or 0) for field in xtc_type.fields]
        return tuple(Product(part, offset, part.size or 0, stored=xtc_type) for part, offset in parts)
    plain = Product(xtc_type, stored=xtc_type)
    if xtc_type.name == "PNCCD.FramesV1":
        return plain, Product(named("PNCCD.FullFrameV1"), form=Form.FULL_FRAME, stored=xtc_type)
    if xtc_type.name == "Timepix.DataV1":
        return (Product(named("Timepix.DataV2"), form=Form.TURNED, stored=xtc_type),)
    if xtc_type.name in ("CsPad.DataV1", "CsPad.DataV2"):
        return (plain._replace(form=Form.SORTED_QUADS),)
    return (plain,)


def may_store(damage: NDArray[np.uint32], type_words: NDArray[np.uint32], rules: Rules) -> NDArray[np.bool_]:
    """Return whether objects with a damage word are stored (format description 10.6, step 2)."""
    bits = damage & 0xFFFFFF
    allowed = _ORDER if rules.store_out_of_order else 0
    good = (bits & ~np.uint32(_USER | allowed)) == 0
    user = bits & _USER != 0
    user_allowed = (type_words & 0xFFFF == _EBEAM) & rules.store_user_ebeam
    return np.asarray(good & np.where(user, user_allowed, damage >> 24 == 0))


def compact(values: NDArray[Any]) -> NDArray[Any]:
    """Return the same values in less memory: one value, seen at every index, where all are equal.

    In a regular run that is so for the size, flags and damage of most detectors; there are as many of these arrays as
    detectors, and as long as the run.
    """
    if len(values) > 1 and values.strides[0] and (values == values[0]).all():
        return repeated(values[0], len(values))
    return values


def repeated(value: Any, count: int) -> NDArray[Any]:
    """Return an array that shows one value at every index."""
    values: NDArray[Any] = np.ndarray(count, value.dtype, value, 0, (0,))
    values.flags.writeable = False
    return values


def _some(values: NDArray[Any], rows: Any) -> NDArray[Any]:
    """Return some values; what was compact stays so."""
    if values.strides[0] or not isinstance(rows, np.ndarray) or rows.dtype == bool:
        some: NDArray[Any] = values[rows]
        return some
    return repeated(values[0], len(rows)) if len(rows) else values[:0]


@dataclass(frozen=True, eq=False)
class Places:
    """Where the payloads of one key are, row by row.  The arrays are read-only, and may have a stride of 0.

    Attributes
    ----------
    key : Key
    datagram : ndarray of int
        Row of the datagram table.
    offset, size : ndarray of int64
        Place of the stored payload in the file of the datagram, in bytes.  For a proxy the place of the proxy's own
        payload, and the size of the payload that it stands for.
    flags : ndarray of uint32
        `ContributionFlag` bits.
    config : ndarray of int64
        Row of the configuration timeline to decode it with; -1 when none is needed or there is none.
    product : Product
        How the object comes from the payload.
    """

    key: Key
    datagram: NDArray[np.integer]
    offset: Ints
    size: Ints
    flags: NDArray[np.uint32]
    config: Ints
    product: Product

    def __len__(self) -> int:
        return len(self.datagram)

    def select(self, rows: Any) -> Self:
        """Return some of the rows."""
        arrays: dict[str, Any] = {
            name: _some(value, rows) for name, value in vars(self).items() if isinstance(value, np.ndarray)
        }
        return replace(self, **arrays)

    @property
    def any_flags(self) -> int:
        """The flags that at least one of them has."""
        return int(np.bitwise_or.reduce(self.flags if self.flags.strides[0] else self.flags[:1]))

    @property
    def plain(self) -> bool:
        """Whether every payload lies in its file as it is: no proxy, not compressed, not converted."""
        return self.product.form is Form.STORED and not self.any_flags


@dataclass(frozen=True, eq=False)
class Objects(Places):
    """All objects of one type and source: a row an event that has a contribution of it, in the order of events.

    Attributes
    ----------
    event : ndarray of int
        Number of the event, ascending.
    damage : ndarray of uint32
        Damage word; of several contributions that of the last.
    stored : ndarray of bool
        Whether the event has the object: the damage policy, size and configuration allow it.
    """

    event: NDArray[np.integer]
    damage: NDArray[np.uint32]
    stored: NDArray[np.bool_]

    def row_of(self, event: int) -> int | None:
        """Return the row of an event, None when it has none."""
        row = int(np.searchsorted(self.event, event))
        return row if row < len(self) and int(self.event[row]) == event else None

    def __repr__(self) -> str:
        count = np.count_nonzero(self.stored)
        return f"<Objects {self.key}: in {count} events, damaged in {len(self) - count} more>"


def chained(parts: Sequence[Objects]) -> Objects:
    """Return the rows of several `Objects` of one key, one after the other."""
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name, value in vars(parts[0]).items()
        if isinstance(value, np.ndarray)
    }
    return replace(parts[0], **arrays)


@dataclass(frozen=True, eq=False)
class Arrivals(Places):
    """Objects in the order in which they are read.

    Attributes
    ----------
    group : ndarray of int64
        Number of the group, ascending.
    contribution : ndarray of int64
        Row of the contribution table.
    """

    group: Ints
    contribution: Ints


@dataclass(frozen=True, eq=False)
class History(Places):
    """All objects of one type and source that went to the configuration, in the order in which they did.

    Attributes
    ----------
    group : ndarray of int64
        Number of the group, ascending.
    position : ndarray of int64
        Where it is in the order of all contributions, ascending; objects of one transition are at its end.
    order : ndarray of int64
        Rank of its datagram in the order in which they are stored.
    contribution : ndarray of int64
        Row of the contribution table.
    first : int
        Number of the first row in the configuration timeline.
    """

    group: Ints
    position: Ints
    order: Ints
    contribution: Ints
    first: int = 0


class Contents:
    """What the patterns of a run contain, by key.

    Parameters
    ----------
    start, contributions, keys
        The pattern tables of the run.
    rules : Rules
    """

    def __init__(self, start: Ints, contributions: NDArray[Any], keys: NDArray[Any], rules: Rules) -> None:
        self.start = start
        self.contributions = contributions
        self.keys = keys
        type_words = keys["type"][contributions["key"]] if len(keys) else np.zeros(0, np.uint32)
        self.pattern = np.repeat(np.arange(len(start) - 1), np.diff(start))
        self.offset = contributions["offset"].astype(np.int64) + XTC.itemsize
        """Offset of each payload from the start of the datagram."""
        self.size = contributions["extent"].astype(np.int64) - XTC.itemsize
        """Size of each payload; of a proxy that of the object."""
        self.flags = np.ascontiguousarray(contributions["flags"])
        self.storable = may_store(contributions["damage"], type_words, rules) & (self.size > 0)
        self.storable &= self.flags & ContributionFlag.NOT_ENTERED == 0
        self._by_key = np.argsort(contributions["key"], kind="stable")
        self._first = np.searchsorted(contributions["key"], np.arange(len(keys) + 1), sorter=self._by_key)
        self.products: dict[tuple[str, tuple[int, int]], list[tuple[int, Product]]] = {}
        self.sources: dict[tuple[int, int], Source] = {}
        for number, (log, phy, word) in enumerate(keys.tolist()):
            source = Source(log, phy)
            self.sources.setdefault(source.identity, source)
            for product in products_of(word):
                place = product.xtc_type.name, source.identity
                self.products.setdefault(place, []).append((number, product))

    @property
    def only_epics(self) -> NDArray[np.uint8]:
        """For each pattern: whether there is nothing but containers and EPICS records."""
        types = self.keys["type"] & 0xFFFF if len(self.keys) else np.zeros(1, np.uint32)
        other = ~np.isin(types, (EPICS, TYPE_XTC))
        sums = np.concatenate(([0], np.cumsum(other[self.contributions["key"]])))
        return np.asarray(sums[self.start[1:]] == sums[self.start[:-1]]).astype(np.uint8)

    @property
    def dropped(self) -> Ints:
        """Rows of the contribution table that say that a contribution is missing, ascending."""
        types = self.keys["type"][self.contributions["key"]] if len(self.keys) else np.zeros(0, np.uint32)
        return np.flatnonzero(is_dropped(types, self.contributions["damage"]))

    def of_key(self, number: int) -> Ints:
        """Return the rows of the contribution table with a key, ascending."""
        return np.asarray(self._by_key[self._first[number] : self._first[number + 1]], np.int64)

    def of_type(self, type_id: int) -> Ints:
        """Return the rows of the contribution table with a type number, ascending."""
        numbers = np.flatnonzero(self.keys["type"] & 0xFFFF == type_id)
        parts = [self.of_key(int(number)) for number in numbers]
        return np.sort(np.concatenate(parts)) if parts else np.zeros(0, np.int64)

    def occurrences(self, rows: Ints, patterns: NDArray[Any]) -> tuple[Ints, Ints]:
        """Return where contributions occur in a list of datagrams.

        Parameters
        ----------
        rows : ndarray of int64
            Rows of the contribution table, ascending.
        patterns : ndarray of int
            Pattern of each datagram.

        Returns
        -------
        index, row : ndarray of int64
            Index into the list of datagrams, ascending, and row of the contribution table.
        """
        owners = self.pattern[rows]
        count = np.bincount(owners, minlength=len(self.start) - 1)
        first = np.cumsum(count) - count
        each = count[patterns]
        index = np.repeat(np.arange(len(patterns)), each)
        within = np.arange(len(index)) - np.repeat(np.cumsum(each) - each, each)
        return index, rows[first[patterns[index]] + within]


def is_config(xtc_type: XtcType) -> bool:
    """Whether objects of the type go to the configuration, also when they come in an event."""
    return xtc_type.kind == "config"


def is_dropped(type_words: NDArray[np.uint32], damage: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Return which contributions say that a contribution is missing."""
    return np.asarray((type_words & 0xFFFF == TYPE_ANY) & (damage >> DamageBit.DroppedContribution & 1 != 0))
