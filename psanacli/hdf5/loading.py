"""Loading: the payloads that a block needs are found and read in one go, as batches of one layout each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError
from psanacli.hdf5.assembled import with_pieces
from psanacli.hdf5.pieces import Filled
from psanacli.hdf5.spare import Spare, layout_of
from psanacli.hdf5.tables import Block, Plan, Table
from psanacli.hdf5.values import Column
from psanacli.run import Objects, PayloadBlock, PayloadError, Run
from psanacli.xtc import Batch

Array = NDArray[Any]
Ints = NDArray[np.int64]


class Span(NamedTuple):
    """A range of rows of a table with their payloads, as batches of the same layout."""

    first: int
    stop: int
    batches: list[tuple[Ints, Any]]
    """Rows (from `first` on) and objects: a `Batch`, or a `WholeBatch` of objects that come in pieces."""
    events: Array
    """Positions of the events of all rows."""
    partial: bool = False
    """Whether what goes from file to file was not read."""

    def inside(self, first: int, stop: int) -> Iterator[tuple[Array, Batch]]:
        """Give the objects of some rows of the table, with their rows counted from `first`."""
        low, high = first - self.first, stop - self.first
        for rows, batch in self.batches:
            some = slice(*np.searchsorted(rows, (low, high)).tolist())
            yield rows[some] - low, batch if some == slice(0, len(rows)) else batch.take(some)


class Part(NamedTuple):
    """What a block needs of a table: which rows of each dataset it has to make, and the objects of all these."""

    table: Table
    owned: list[tuple[int, int]]
    first: int
    """Row of the first of the objects."""
    objects: Objects

    @property
    def columns(self) -> Iterator[tuple[Column, int, tuple[int, int]]]:
        """Column, dataset and rows of the datasets of the type."""
        return zip(self.table.columns, self.table.numbers, self.owned, strict=False)

    @property
    def extras(self) -> Iterator[tuple[str, int, tuple[int, int]]]:
        """Name, dataset and rows of the datasets that need no payload."""
        count = len(self.table.columns)
        return zip(self.table.extras, self.table.numbers[count:], self.owned[count:], strict=True)

    @property
    def wanted(self) -> Wanted:
        """The objects whose payloads the columns need."""
        needed = [(first, stop) for _, _, (first, stop) in self.columns if stop > first]
        first = min(first for first, _ in needed) - self.first if needed else 0
        stop = max(stop for _, stop in needed) - self.first if needed else 0
        rows = np.flatnonzero(self.objects.stored[first:stop])
        every = len(rows) == stop - first
        return Wanted(self, first, stop, rows, self.objects.select(slice(first, stop) if every else rows + first))


class Wanted(NamedTuple):
    """The objects of a table whose payloads are needed.

    Attributes
    ----------
    part : Part
    first, stop : int
        Range of its objects.
    rows : ndarray of int64
        Which of them are stored, from `first` on.
    objects : Objects
        These.
    """

    part: Part
    first: int
    stop: int
    rows: Ints
    objects: Objects

    @property
    def events(self) -> Ints:
        """Positions of the events of the range."""
        return np.asarray(self.part.objects.event[self.first : self.stop], np.int64)

    def take(self, chosen: NDArray[Any]) -> Wanted:
        """Return some of them, by index or mask."""
        return self._replace(rows=self.rows[chosen], objects=self.objects.select(chosen))

    def span(self, batches: list[tuple[Ints, Any]], partial: bool = False) -> Span:
        """Return the rows of the table with their payloads."""
        begin = self.part.first
        return Span(begin + self.first, begin + self.stop, batches, self.events, partial)


class Loader:
    """Reads the payloads of blocks; any number of threads may do so at the same time.

    Parameters
    ----------
    plan : Plan
    run : Run
    """

    def __init__(self, plan: Plan, run: Run) -> None:
        self.plan = plan
        self.run = run
        self._spare = Spare(plan, run)

    def part(self, table: Table, block: Block) -> Part:
        """Return the rows of a table that a block needs."""
        low, high = table.rows_before(block.number), table.rows_before(block.number + 1)
        owned = []
        for number in table.numbers:
            dataset = self.plan.datasets[number]
            # A chunk with a filter is never written twice, see `psanacli.hdf5.output`.
            size = 1 if dataset.form.pointers else dataset.chunk
            owned.append((-(-low // size) * size, min(-(-high // size) * size, dataset.rows)))
        some = [rows for rows in owned if rows[1] > rows[0]] or [(low, high)]
        first, stop = min(rows[0] for rows in some), max(rows[1] for rows in some)
        return Part(table, owned, first, self.plan.rows(self.run.table, table, first, stop))

    def read(self, parts: list[Part], filled: Filled, *, whole: bool) -> list[Span]:
        """Read the payloads of all tables, what lies side by side in one go.

        Parameters
        ----------
        parts
            Tables of the block.
        filled
            Told what cannot be read.
        whole
            Whether large arrays have to be there too, though they may go from file to file.
        """
        wanted = [part.wanted for part in parts]
        around = [None if whole else self._spare.read(each.part.table, each.objects) for each in wanted]
        rest = [each for each, batch in zip(wanted, around, strict=True) if batch is None]
        try:
            payloads = self.run.payloads.read_many([each.objects for each in rest])
        except PayloadError:
            rest = [self._readable(each, filled) for each in rest]
            payloads = self.run.payloads.read_many([each.objects for each in rest])
        others = (each.span(self._batches(each, payload, filled)) for each, payload in zip(rest, payloads, strict=True))
        return [
            next(others) if batch is None else each.span([(each.rows, batch)], partial=True)
            for each, batch in zip(wanted, around, strict=True)
        ]

    def _batches(self, wanted: Wanted, payload: PayloadBlock, filled: Filled) -> list[tuple[Ints, Any]]:
        """Return rows and objects of each layout."""
        configs = wanted.objects.config
        batches = []
        for config in configs[:1].tolist() if not configs.strides[0] else np.unique(configs).tolist():
            same = np.flatnonzero(configs == config) if configs.strides[0] else slice(None)
            rows, starts, sizes = wanted.rows[same], payload.starts[same], payload.sizes[same]
            layout = layout_of(self.run, wanted.part.table, wanted.objects, config)
            try:
                batch = layout.batch(payload.buffer, starts, sizes)
            except DataError:
                fits = layout.fits(payload.buffer, starts, sizes)
                self._blank(wanted, rows[~fits], filled)
                rows = rows[fits]
                batch = layout.batch(payload.buffer, starts[fits], sizes[fits])
            batches.append((rows, batch))
        if wanted.part.table.correction is None:
            return batches
        numbers = np.asarray(self.plan.chosen.at(wanted.events), np.int64)
        joined, lost = with_pieces(self.run, wanted.part.table.rows, wanted.events, numbers, batches)
        self._blank(wanted, lost, filled)
        return joined

    def _readable(self, wanted: Wanted, filled: Filled) -> Wanted:
        """Return the objects whose payloads are sound; the others stay blank."""
        sound = np.ones(len(wanted.rows), bool)
        for index in range(len(sound)):
            try:
                self.run.payloads.read(wanted.objects, slice(index, index + 1))
            except PayloadError:
                sound[index] = False
        if sound.all():
            return wanted
        self._blank(wanted, wanted.rows[~sound], filled)
        return wanted.take(sound)

    def _blank(self, wanted: Wanted, rows: Ints, filled: Filled) -> None:
        """Count objects that are damaged or do not fit into their payloads, and take them out of the mask."""
        if not len(rows):
            return
        table = wanted.part.table
        filled.broken[table.group] += len(rows)
        if "_mask" in table.extras:
            number = table.numbers[len(table.columns) + table.extras.index("_mask")]
            before = filled.blank.get(number, rows[:0])
            filled.blank[number] = np.concatenate((before, wanted.part.first + wanted.first + rows))
