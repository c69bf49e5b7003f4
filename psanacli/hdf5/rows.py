"""Rows: what the tables of a file are made of, for any range of events, found when it is needed.

A plan knows how many rows every table has in every block.  Where their payloads are is found by the worker of the
block, from the tables of the run; so nothing here is as long as the run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from psanacli.hdf5.absent import Absences
from psanacli.hdf5.parts import part_of
from psanacli.run import Form, Key, Objects, Product, RunTable
from psanacli.xtc import RECORD_KINDS, DamageBit, Source

Ints = NDArray[np.int64]
_DROPPED = np.uint32(1 << DamageBit.DroppedContribution)
_NOTHING = RECORD_KINDS[28].xtc_type


@dataclass(frozen=True, eq=False)
class Chosen:
    """The events of a run that are translated; their *positions* are counted from 0.

    Attributes
    ----------
    count : int
    numbers : ndarray of int64 or None
        Their numbers, ascending; None for all events of the run.
    """

    count: int
    numbers: Ints | None = None

    def at(self, positions: NDArray[np.integer]) -> NDArray[np.integer]:
        """Return the numbers of the events at some positions."""
        return positions if self.numbers is None else self.numbers[positions]

    def span(self, first: int, stop: int) -> tuple[int, int]:
        """Return the range of events of the run that has those of the positions `first` to `stop`."""
        if self.numbers is None or first == stop:
            return first, stop
        return int(self.numbers[first]), int(self.numbers[stop - 1]) + 1

    def before(self, event: Any) -> Any:
        """Return how many of the chosen events stand before events of the run."""
        return np.minimum(event, self.count) if self.numbers is None else np.searchsorted(self.numbers, event)

    def place(self, objects: Objects) -> Objects:
        """Return the objects of chosen events, with positions in place of the numbers of events."""
        if self.numbers is None:
            return objects
        position = np.minimum(np.searchsorted(self.numbers, objects.event), self.count - 1)
        inside = np.flatnonzero(self.numbers[position] == objects.event)
        return replace(objects.select(inside), event=position[inside])


class Rows(Protocol):
    """The rows of one table."""

    def within(self, table: RunTable, first: int, stop: int) -> Objects:
        """Return the rows at the positions `first` to `stop` of events, ``event`` being a position."""


@dataclass(frozen=True, eq=False)
class Given:
    """Rows that are known: the few of Configure."""

    objects: Objects

    def within(self, table: RunTable, first: int, stop: int) -> Objects:
        """See `Rows`."""
        return self.objects.select(slice(*np.searchsorted(self.objects.event, (first, stop)).tolist()))


@dataclass(frozen=True, eq=False)
class Detected:
    """The objects of one type and source: a row for each event that has one, or says that it is damaged or missing.

    Attributes
    ----------
    key : Key
    part : str
        The part of the type that is meant, of one that is written as its parts; else empty.
    chosen : Chosen
    absences : Absences
    """

    key: Key
    part: str
    chosen: Chosen
    absences: Absences

    def within(self, table: RunTable, first: int, stop: int) -> Objects:
        """See `Rows`."""
        objects = self.absences.complete(table, self.key, self.found, *self.chosen.span(first, stop))
        present = objects.stored | (objects.damage != 0)
        return self.chosen.place(objects if present.all() else objects.select(np.flatnonzero(present)))

    def found(self, table: RunTable, first: int, stop: int) -> Objects:
        """Return the objects of a range of events of the run, as they are there."""
        objects = table.objects_in(self.key, first, stop)
        if self.part:
            objects = part_of(objects, self.part)
        if objects.product.form is Form.SORTED_QUADS:
            # Quadrants are put in order when they become columns, all at once.
            objects = replace(objects, product=objects.product._replace(form=Form.STORED))
        return objects


@dataclass(frozen=True, eq=False)
class EveryEvent:
    """A row for every event; those without an object in `inner` are not ``stored``.  Without `inner` none is."""

    inner: Rows | None = None

    def within(self, table: RunTable, first: int, stop: int) -> Objects:
        """See `Rows`."""
        if self.inner is None:
            return nothing(np.arange(first, stop))
        objects = self.inner.within(table, first, stop)
        arrays = spread(objects, objects.event - first, stop - first)
        return replace(objects, **{**arrays, "event": np.arange(first, stop)})


@dataclass(frozen=True, eq=False)
class WholeRows:
    """The events of a detector that is read out in pieces: a row for each that has any of them, or lacks one.

    Where and what is told of the first piece; a row is ``stored`` when all of them are.  A piece that is missing counts
    as dropped in the damage word.

    Attributes
    ----------
    key : Key
        Of the whole.
    pieces : tuple of Detected
        By their first module.
    """

    key: Key
    pieces: tuple[Detected, ...]

    def within(self, table: RunTable, first: int, stop: int) -> Objects:
        """See `Rows`."""
        found = [piece.within(table, first, stop) for piece in self.pieces]
        lead = replace(found[0], key=self.key)
        if all(np.array_equal(each.event, lead.event) and each.stored.all() for each in found):
            if not any(each.damage.any() for each in found):
                return lead
        event = reduce(np.union1d, [each.event for each in found])
        stored, damage = np.ones(len(event), bool), np.zeros(len(event), np.uint32)
        for each in found:
            places = np.searchsorted(event, each.event)
            there, words = np.zeros(len(event), bool), np.full(len(event), _DROPPED)
            there[places], words[places] = each.stored, each.damage
            stored &= there
            damage |= words
        arrays = spread(lead, np.searchsorted(event, lead.event), len(event))
        return replace(lead, **{**arrays, "event": event, "stored": stored, "damage": damage})


def whole_rows(rows: Rows) -> WholeRows | None:
    """Return the rows of a detector in pieces that some rows are made of; None for all others."""
    inner = rows.inner if isinstance(rows, EveryEvent) else rows
    return inner if isinstance(inner, WholeRows) else None


def spread(objects: Objects, places: NDArray[np.integer], count: int) -> dict[str, Any]:
    """Return the arrays of objects at some places of longer ones, with zeros between them."""
    arrays: dict[str, Any] = {}
    for name, values in vars(objects).items():
        if isinstance(values, np.ndarray):
            arrays[name] = np.zeros(count, values.dtype)
            arrays[name][places] = values
    return arrays


def nothing(event: Ints) -> Objects:
    """Return rows for events without objects."""
    count = len(event)
    none: dict[str, Any] = {name: np.zeros(count, np.int64) for name in ("datagram", "offset", "size", "config")}
    words: dict[str, Any] = {name: np.zeros(count, np.uint32) for name in ("flags", "damage")}
    stored = np.zeros(count, bool)
    product = Product(_NOTHING)
    return Objects(Key(_NOTHING, Source(0, 0)), product=product, event=event, stored=stored, **none, **words)
