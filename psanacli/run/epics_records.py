"""The EPICS records of a run: where they are, what each of them is, and which belong together.

There may be as many as the run has events, and more: a hundred variables once a second are. So they are looked at in
stretches of bounded length, and what is kept of each lies in a file where it is long (`psanacli.large`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from psanacli.large import MANY, Rows, empty
from psanacli.run.config import STORING
from psanacli.run.objects import Arrivals, Ints, Key, Product
from psanacli.run.payloads import Payloads
from psanacli.run.runtable import RunTable
from psanacli.run.tables import Action
from psanacli.xtc import EPICS, XTC, ContributionFlag, Source, named

_READING = (
    Action.BEGIN_JOB, Action.CONFIGURE, Action.BEGIN_RUN, Action.BEGIN_STEP, Action.EVENT, Action.TRIMMED,
    Action.EPICS_ONLY, Action.SKIPPED, Action.UNMATCHED,
)  # fmt: skip
"""What is read; ends of runs and steps are not."""
AT_ONCE = 1 << 16
"""Records that are looked at in one go."""
GROUPS_AT_ONCE = 1 << 14
"""Groups whose records are looked for in one go; a group has one or two hundred now and then."""

EPICS_KIND = np.dtype([("pvId", "<i2"), ("dbrType", "<i2"), ("numElements", "<i2"), ("complete", "<i2")])
"""What a record is: the number of its variable, its layout, how many values, and whether it makes sense."""


@dataclass(frozen=True, eq=False)
class RecordKinds:
    """What the EPICS records of a run are; few are different, so each kind is kept once.

    Attributes
    ----------
    number : ndarray of unsigned integers
        Kind of each record.
    table : ndarray of `EPICS_KIND`
        In the order in which records have them.
    """

    number: NDArray[np.unsignedinteger[Any]]
    table: NDArray[Any]

    @classmethod
    def of(cls, heads: NDArray[Any]) -> Self:
        """Return the kinds of records with these fields."""
        kinds = np.zeros(len(heads), EPICS_KIND)
        for name in EPICS_KIND.names or ():
            kinds[name] = heads[name]
        _, first, number = np.unique(kinds.view(np.uint64), return_index=True, return_inverse=True)
        order = np.argsort(first)
        rank = np.empty(len(order), np.min_scalar_type(len(order)))
        rank[order] = np.arange(len(order))
        return cls(rank[number], kinds[first[order]])

    @classmethod
    def joined(cls, pieces: Iterable[Self]) -> Self:
        """Return the kinds of all records of several pieces, one after the other."""
        known: dict[bytes, int] = {}
        rows = Rows(np.uint32, large=MANY)
        for piece in pieces:
            place = [known.setdefault(kind.tobytes(), len(known)) for kind in piece.table]
            rows.add(np.array(place, np.uint32)[piece.number])
        found, table = rows.array(), np.array([*known], f"V{EPICS_KIND.itemsize}").view(EPICS_KIND)
        number = empty(len(found), np.min_scalar_type(len(table)), large=MANY)
        for first, stop in stretches(len(found)):
            number[first:stop] = found[first:stop]
        return cls(number, table)

    def __len__(self) -> int:
        return len(self.number)


def stretches(count: int, size: int | None = None) -> Iterator[tuple[int, int]]:
    """Give ranges of at most `size` rows that make up `count` rows; one, if there are none.  Default is `AT_ONCE`."""
    width = size or AT_ONCE
    for first in range(0, max(count, 1), width):
        yield first, min(first + width, count)


def find_records(payloads: Payloads) -> Arrivals:
    """Return where all records are; they may be as many as the events of a run, and more."""
    table, product = payloads.table, Product(named("Epics.EpicsPvHeader"))
    key = Key(product.xtc_type, Source(0xFFFFFFFF, 0xFFFFFFFF))
    contributions = table.contents.of_type(EPICS)
    kinds = {"datagram": table.members.dtype, "flags": np.dtype(np.uint32)}
    names = ("datagram", "offset", "size", "flags", "group", "contribution")
    columns = {name: Rows(kinds.get(name, np.int64), large=MANY) for name in names}
    for first, stop in stretches(len(table.groups), GROUPS_AT_ONCE):
        datagram, group, row = _records_of(table, contributions, first, stop)
        offset, size, _ = table.place(datagram, row, product)
        found = (datagram, offset, size, table.contributions["flags"][row], group, row)
        for name, values in zip(names, found, strict=True):
            columns[name].add(values.astype(columns[name].dtype, copy=False))
    arrays = {name: column.array() for name, column in columns.items()}
    none = np.broadcast_to(np.int64(-1), len(arrays["group"]))
    return Arrivals(key, config=none, product=product, **arrays)


def _records_of(table: RunTable, contributions: Ints, first: int, stop: int) -> tuple[NDArray[Any], Ints, Ints]:
    """Return datagram, group and contribution of the records in a range of groups, in the order in which they count."""
    member, group, row = table.occurrences(contributions, _READING, first, stop)
    storing = np.isin(table.groups["action"][group], STORING)
    within = member - table.groups["first"][group].astype(np.int64)
    control = table.streams_of(table.members[member]) >= table.rules.control_content
    # Control streams first, from the highest down, then the others.
    rank = np.where(control, -within, within + 1)
    order = np.lexsort((row, rank, group))
    order = order[(~storing | control | (within == 0))[order]]
    member, group, row = member[order], group[order].astype(np.int64), row[order]
    entered = table.contributions["flags"][row] & (ContributionFlag.NOT_ENTERED | ContributionFlag.PROXY) == 0
    # An empty payload is no record.
    kept = entered & (table.contributions["extent"][row] > XTC.itemsize)
    return table.members[member[kept]], group[kept], row[kept]


def by_variable(variable: NDArray[np.integer], count: int) -> tuple[Ints, Ints]:
    """Return the rows of each of `count` variables in their order, variable by variable, and where each begins."""
    each = np.zeros(count, np.int64)
    for first, stop in stretches(len(variable)):
        some = variable[first:stop]
        each += np.bincount(some[some >= 0], minlength=count)
    bounds = np.concatenate(([0], np.cumsum(each)))
    rows = empty(int(bounds[-1]), np.int64, large=MANY)
    place = bounds[:-1].copy()
    for first, stop in stretches(len(variable)):
        some = variable[first:stop]
        order = np.argsort(some, kind="stable")
        order = order[np.count_nonzero(some < 0) :]
        here = some[order]
        each = np.bincount(here, minlength=count)
        rows[place[here] + np.arange(len(here)) - (np.cumsum(each) - each)[here]] = order + first
        place += each
    return rows, bounds


__all__ = ["EPICS_KIND", "RecordKinds", "by_variable", "find_records", "stretches"]
