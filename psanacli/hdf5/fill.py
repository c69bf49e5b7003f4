"""Filling: blocks of events are read, gathered into columns and compressed by workers, and placed by one.

All sizes are known from the plan, and every chunk of every dataset belongs to the block that has its first row. So a
worker needs nothing but the number of its block: what comes out is the same for any number of workers, and a
translation that was interrupted goes on at any block.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from h5py import h5d, h5p, h5s
from numpy.typing import NDArray

from psanacli.errors import DataError
from psanacli.hdf5.assembled import Makers, WholeBatch, with_pieces
from psanacli.hdf5.names import damage_rows
from psanacli.hdf5.output import Output
from psanacli.hdf5.reserved import Reserved
from psanacli.hdf5.spare import Spare, layout_of
from psanacli.hdf5.tables import Block, Dataset, Plan, Table
from psanacli.hdf5.values import Column, Encoder, Recipes, Stretches, place_pointers
from psanacli.run import Objects, PayloadError, Run
from psanacli.xtc import Batch

Array = NDArray[Any]
Bytes = NDArray[np.uint8]

_STRETCH = 512
"""Bytes of a row from which on chunks are made straight from the payloads."""


class Piece(NamedTuple):
    """Something to be placed in a dataset.

    `rows` is 0 for a whole chunk as it stands in the file; else `data` are so many rows in memory, with the heap to
    which their pointers refer.
    """

    dataset: int
    row: int
    rows: int
    data: Any
    heap: Bytes | None = None


@dataclass
class Filled:
    """What a worker made of a block: the pieces in order, and what was wrong, by group.

    Attributes
    ----------
    pieces : list of Piece
    blank : dict of int to ndarray of int64
        Rows of a ``_mask``, by its number in the plan, that turned out to have no object.
    changed, broken : Counter
    """

    pieces: list[Piece] = field(default_factory=list)
    blank: dict[int, Array] = field(default_factory=dict)
    changed: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)


class Span(NamedTuple):
    """A range of rows of a table with their payloads, as batches of the same layout."""

    first: int
    stop: int
    batches: list[tuple[Array, Batch]]
    """Rows (from `first` on) and objects."""
    events: Array
    """Positions of the events of all rows."""
    partial: bool = False
    """Whether what goes from file to file was not read."""

    def inside(self, first: int, stop: int) -> Iterator[tuple[Array, Batch]]:
        """Give the objects of some rows of the table, with their rows counted from `first`."""
        low, high = first - self.first, stop - self.first
        for rows, batch in self.batches:
            some = slice(*np.searchsorted(rows, (low, high)).tolist())
            yield rows[some] - low, batch if some == slice(0, len(rows)) else _taken(batch, some)


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
    def payload_rows(self) -> tuple[int, int]:
        """The range of objects whose payloads the columns need."""
        needed = [(first, stop) for _, _, (first, stop) in self.columns if stop > first]
        if not needed:
            return 0, 0
        return min(first for first, _ in needed) - self.first, max(stop for _, stop in needed) - self.first


class Worker:
    """Makes the pieces of a block; any number may work at the same time.

    Parameters
    ----------
    plan : Plan
    run : Run
        Where the payloads are read.

    Attributes
    ----------
    reserved : Reserved or None
        Places in the output to which rows are copied.
    """

    def __init__(self, plan: Plan, run: Run) -> None:
        self.plan = plan
        self.run = run
        self._makers = Makers(run)
        self.reserved: Reserved | None = None
        self._spare = Spare(plan, run)
        self._recipes: Recipes = {}

    def __call__(self, block: Block) -> Filled:
        """Return the pieces of a block."""
        filled = Filled()
        parts = [self._part(self.plan.tables[number], block) for number in block.tables]
        made: dict[Hashable, list[Piece]] = {}
        for part in parts:
            for name, number, (first, stop) in part.extras:
                if stop > first:
                    filled.pieces += self._extra_pieces(part, name, number, first, stop, made)
        for part, span in zip(parts, self._read(parts, filled), strict=True):
            encoder = Encoder(self._recipes)
            for column, number, (first, stop) in part.columns:
                if stop > first:
                    filled.pieces += self._column(part, column, number, span, first, stop, encoder)
            if encoder.changed:
                filled.changed[part.table.group] += encoder.changed
        return filled

    def _part(self, table: Table, block: Block) -> Part:
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

    def _column(
        self, part: Part, column: Column, number: int, span: Span, first: int, stop: int, encoder: Encoder
    ) -> Iterable[Piece]:
        """Return the pieces of the rows `first` to `stop` of a column, or copy them to their reserved places."""
        dataset = self.plan.datasets[number]
        plain = self.plan.direct(dataset) and part.table.as_stored(column)
        if plain and dataset.form.dtype.itemsize >= _STRETCH:
            found = [
                (rows, batch, encoder.stretches(column, batch))
                for rows, batch in span.inside(first, stop)
                if len(batch)
            ]
            if not found and span.partial and self.plan.reserved(dataset):
                return ()  # all rows are blank; what was read is for other columns, whose chunks reach further
            whole = [(rows, batch, stretches) for rows, batch, stretches in found if stretches is not None]
            if len(whole) == len(found) and len({each.places.shape[1] for _, _, each in whole}) == 1:
                if self.reserved is not None and number in self.reserved and part.objects.plain:
                    for rows, batch, (places, sizes) in whole:
                        objects = part.objects.select(rows + first - part.first)
                        within = places - batch.starts[:, None]
                        self.reserved.copy(self.run, objects, within, sizes, number, rows + first)
                    return ()
                if span.partial and self.plan.straight(dataset):
                    return self._passed(part, number, first, stop, whole)
                return self._stretched(number, first, stop, whole)
            assert not (found and span.partial and self.plan.passing(dataset)), "what was not read is needed"
        return self._pieces(number, first, self._rows(part.table, column, span, first, stop, encoder), encoder)

    def _stretched(
        self, number: int, first: int, stop: int, found: list[tuple[Array, Batch, Stretches]]
    ) -> Iterator[Piece]:
        """Make chunks of rows straight from the payloads; rows without an object, or behind the last, are zeros."""
        dataset, data = self.plan.datasets[number], found[0][1].data
        count = -(-(stop - first) // dataset.chunk) * dataset.chunk
        places = np.full((count, found[0][2].places.shape[1]), -1, np.int64)
        sizes = np.zeros_like(places)
        sizes[:, 0] = dataset.form.dtype.itemsize
        for rows, _, stretches in found:
            places[rows], sizes[rows] = stretches
        packer = self.plan.compression.packer(dataset.item)
        for start in range(0, stop - first, dataset.chunk):
            chunk = slice(start, start + dataset.chunk)
            packed = packer.chunk_of(data, places[chunk].reshape(-1), sizes[chunk].reshape(-1))
            yield Piece(number, first + start, 0, packed)

    def _passed(
        self, part: Part, number: int, first: int, stop: int, found: list[tuple[Array, Batch, Stretches]]
    ) -> Iterator[Piece]:
        """Make chunks of one row each straight from the files of the run; rows without an object are zeros."""
        dataset = self.plan.datasets[number]
        packer = self.plan.compression.packer(dataset.item)
        blank = np.full(1, -1, np.int64), np.array([dataset.form.dtype.itemsize])
        places = {
            int(row): (place, size)
            for rows, batch, stretches in found
            for row, place, size in zip(rows, stretches.places - batch.starts[:, None], stretches.sizes, strict=True)
        }
        for row in range(stop - first):
            if row not in places:
                yield Piece(number, first + row, 0, packer.chunk_of(np.empty(0, np.uint8), *blank))
                continue
            within, sizes = places[row]
            with self.run.lent(part.objects, first + row - part.first) as (descriptor, begin):
                yield Piece(number, first + row, 0, packer.chunk_of(descriptor, begin + within, sizes))

    def _read(self, parts: list[Part], filled: Filled) -> list[Span]:
        """Read the payloads of all tables, what lies side by side in one go."""
        bounds = [part.payload_rows for part in parts]
        chosen = [
            first + np.flatnonzero(part.objects.stored[first:stop])
            for part, (first, stop) in zip(parts, bounds, strict=True)
        ]
        partial: dict[int, Span] = {}
        if self.plan.compression.name != "none" or (self.reserved is not None and not self.reserved.empty):
            for index, (part, (first, stop), rows) in enumerate(zip(parts, bounds, chosen, strict=True)):
                batch = self._spare.read(part.table, part.objects, rows)
                if batch is not None:
                    events = part.objects.event[first:stop]
                    partial[index] = Span(part.first + first, part.first + stop, [(rows - first, batch)], events, True)
                    chosen[index] = rows[:0]
        try:
            payloads = self.run.read_many([part.objects for part in parts], chosen)
        except PayloadError:
            chosen = [self._readable(part, rows, filled) for part, rows in zip(parts, chosen, strict=True)]
            payloads = self.run.read_many([part.objects for part in parts], chosen)
        spans = []
        for index, (part, (first, stop), rows, payload) in enumerate(zip(parts, bounds, chosen, payloads, strict=True)):
            if index in partial:
                spans.append(partial[index])
                continue
            table, objects = part.table, part.objects
            batches = []
            configs = objects.config[rows]
            for config in np.unique(configs).tolist():
                same = np.flatnonzero(configs == config)
                layout = layout_of(self.run, table, objects, config)
                starts, sizes = payload.starts[same], payload.sizes[same]
                try:
                    batch = layout.batch(payload.buffer, starts, sizes)
                except DataError:
                    fits = layout.fits(payload.buffer, starts, sizes)
                    self._blank(part, rows[same[~fits]], filled)
                    same = same[fits]
                    batch = layout.batch(payload.buffer, starts[fits], sizes[fits])
                batches.append((rows[same] - first, batch))
            if table.correction is not None:
                positions = np.asarray(objects.event[first:stop], np.int64)
                numbers = np.asarray(self.plan.chosen.at(positions), np.int64)
                batches, lost = with_pieces(self.run, table.rows, positions, numbers, batches)
                self._blank(part, first + lost, filled)
            spans.append(Span(part.first + first, part.first + stop, batches, objects.event[first:stop]))
        return spans

    def _readable(self, part: Part, rows: Array, filled: Filled) -> Array:
        """Return the rows whose payloads are sound; the others stay blank."""
        sound = np.ones(len(rows), bool)
        for index in range(len(rows)):
            try:
                self.run.read(part.objects, rows[index : index + 1])
            except PayloadError:
                sound[index] = False
        if not sound.all():
            self._blank(part, rows[~sound], filled)
        return rows[sound]

    def _blank(self, part: Part, rows: Array, filled: Filled) -> None:
        """Count objects that are damaged or do not fit into their payloads, and take them out of the mask."""
        if not len(rows):
            return
        table = part.table
        filled.broken[table.group] += len(rows)
        if "_mask" in table.extras:
            number = table.numbers[len(table.columns) + table.extras.index("_mask")]
            before = filled.blank.get(number, rows[:0])
            filled.blank[number] = np.concatenate((before, part.first + rows))

    def _rows(self, table: Table, column: Column, span: Span, first: int, stop: int, encoder: Encoder) -> Array:
        """Return the rows `first` to `stop` of a column; what has no object is blank."""
        parts = []
        for rows, batch in span.inside(first, stop):
            values = None
            if table.correction:
                numbers = np.asarray(self.plan.chosen.at(span.events[rows + first - span.first]), np.int64)
                values = self._makers.rows_of(table.correction)(column, batch, numbers)
            if values is None:
                values = encoder.rows(column, batch)
            if len(batch) == stop - first:
                return values
            parts.append((rows, values))
        result = np.zeros((stop - first, *column.shape), column.base.dtype)
        if table.nan:
            _fill_nan(result)
        for rows, values in parts:
            result[rows] = values
        return result

    def _extra_pieces(
        self, part: Part, name: str, number: int, first: int, stop: int, made: dict[Hashable, list[Piece]]
    ) -> list[Piece]:
        """Return the pieces of ``time`` and its like, which regular detectors share: made once a block."""
        rows = slice(first - part.first, stop - part.first)
        same = self._content(part.objects, rows, name)
        key = (same, stop - first, self.plan.datasets[number].chunk)
        found = made.get(key) if same is not None else None
        if found is not None:
            shift = first - found[0].row
            return [piece._replace(dataset=number, row=piece.row + shift) for piece in found]
        pieces = list(self._pieces(number, first, self._extra(part.objects, rows, name), Encoder()))
        if same is not None:
            made[key] = pieces
        return pieces

    def _content(self, objects: Objects, rows: slice, name: str) -> Hashable:
        """Return what says all about the rows of a dataset without payload; None if they have to be looked at."""
        values = {"_damage": objects.damage, "_mask": objects.stored}.get(name)
        if values is not None:
            return (name, values[rows.start].item()) if not values.strides[0] else None
        begin = int(objects.event[rows.start])
        inside = int(objects.event[rows.stop - 1]) - begin + 1
        return (name, begin) if inside == rows.stop - rows.start else None  # in every event

    def _extra(self, objects: Objects, rows: slice, name: str) -> Array:
        """Return rows of a dataset that the type does not have: ``time``, ``_damage``, ``_mask``."""
        if name == "time":
            return self.plan.stamps(self.run.table, objects.event[rows])
        if name == "step":
            return np.ascontiguousarray(self.run.table.events["step"][self.plan.chosen.at(objects.event[rows])], "<i4")
        if name == "_damage":
            return damage_rows(objects.damage[rows])
        return objects.stored[rows].astype(np.uint8)

    def _pieces(self, number: int, first: int, rows: Array, encoder: Encoder) -> Iterator[Piece]:
        """Cut rows into pieces: chunks as they stand in the file, or rows for HDF5 to write."""
        dataset = self.plan.datasets[number]
        if not self.plan.direct(dataset):
            heap = encoder.heap if dataset.form.pointers else None
            yield Piece(number, first, len(rows), np.ascontiguousarray(rows), heap)
            return
        packer = self.plan.compression.packer(dataset.item)
        flat = np.ascontiguousarray(rows).reshape(len(rows), -1).view(np.uint8).reshape(len(rows), -1)
        for start in range(0, len(rows), dataset.chunk):
            chunk = flat[start : start + dataset.chunk]
            if len(chunk) < dataset.chunk:
                whole = np.zeros((dataset.chunk, flat.shape[1]), np.uint8)
                whole[: len(chunk)] = chunk
                chunk = whole
            yield Piece(number, first + start, 0, packer.chunk(chunk.reshape(-1)))


def _taken(batch: Any, rows: slice) -> Any:
    if isinstance(batch, WholeBatch):
        return batch.taken(rows)
    return Batch(batch.layout, batch.data, batch.starts[rows], (batch.limits - batch.starts)[rows])


def _fill_nan(rows: Array) -> None:
    """Set floating-point numbers to NaN, in members too."""
    if rows.dtype.names:
        for name in rows.dtype.names:
            _fill_nan(rows[name])
    elif rows.dtype.kind == "f":
        rows[...] = np.nan


def _room_of(pieces: list[Piece]) -> int:
    """Return the bytes that pieces take in the file at most, with the nodes of the indices of chunks."""
    data: int = sum(len(piece.data) for piece in pieces if not piece.rows)
    data += sum(piece.data.nbytes for piece in pieces if piece.rows)
    data += sum(2 * len(piece.heap) for piece in pieces if piece.heap is not None)
    return data + (len(pieces) << 6) + (len({piece.dataset for piece in pieces}) << 13)


class Placer:
    """Puts pieces into their places, in one thread.

    Parameters
    ----------
    plan : Plan
    output : Output
        Begun.
    """

    MOST_OPEN = 1000
    """Open datasets, each of which takes some kB of memory."""
    MOST_CACHED = 32 << 20
    """Bytes of chunks in their caches."""

    def __init__(self, plan: Plan, output: Output) -> None:
        self.plan = plan
        self.output = output
        self._cached = 0
        self.changed: Counter[str] = Counter()
        self.broken: Counter[str] = Counter()
        self._blank: dict[int, list[Array]] = {}

    def __call__(self, block: Block, filled: Filled) -> None:
        """Place what a worker made, and make a checkpoint now and then."""
        self.output.make_room(_room_of(filled.pieces) + self._cached)
        with self.output.told():
            for piece in filled.pieces:
                self._place(piece)
        self.changed.update(filled.changed)
        self.broken.update(filled.broken)
        for number, rows in filled.blank.items():
            self._blank.setdefault(number, []).append(rows)
        if self.output.checkpoint_due:
            self.release()
            self.output.checkpoint(block.number + 1, self._found(), self._put_blanks)

    def end(self) -> None:
        """Give the file its final name, with what is still to be written."""
        self.release()
        self.output.finish(len(self.plan.blocks), self._found(), self._put_blanks)

    def _found(self) -> dict[str, dict[str, int]]:
        """Return what was wrong in all blocks up to here, as a journal keeps it."""
        return {"changed": dict(self.changed), "broken": dict(self.broken)}

    def _put_blanks(self) -> None:
        """Take objects that turned out to be damaged out of their masks.

        The chunk of the mask may belong to an earlier block, and HDF5 writes it to another place when it has another
        size than before. So this is done only within a checkpoint.
        """
        for number, found in self._blank.items():
            rows = np.concatenate(found)
            first, count = int(rows.min()), int(np.ptp(rows)) + 1
            dataset = self._dataset(number)
            space, memory = dataset.get_space(), h5s.create_simple((count,))
            space.select_hyperslab((first,), (count,))
            mask = np.empty(count, np.uint8)
            dataset.read(memory, space, mask)
            mask[rows - first] = 0
            dataset.write(memory, space, mask)
        self._blank.clear()
        self._close()

    def go_on(self, done: int) -> None:
        """Take over what the blocks that are done gave, and clear what an interrupted process left behind them.

        That is in chunks that HDF5 writes in place: rows of blocks that are not done, which refer to places in the file
        that the checkpoint knows nothing of.
        """
        self.changed.update(self.output.found.get("changed", {}))
        self.broken.update(self.output.found.get("broken", {}))
        with self.output.told():
            for table in self.plan.tables:
                row = table.rows_before(done)
                for number in table.numbers:
                    plan = self.plan.datasets[number]
                    if plan.form.pointers and row % plan.chunk and row < plan.rows:
                        self._clear(self._dataset(number), plan, row)

    def _clear(self, dataset: h5d.DatasetID, plan: Dataset, row: int) -> None:
        """Set the rows of a chunk from `row` on to nothing."""
        start = row - row % plan.chunk
        if not any(dataset.get_chunk_info(i).chunk_offset[0] == start for i in range(dataset.get_num_chunks())):
            return
        _, content = dataset.read_direct_chunk((start,))
        kept = (row - start) * plan.form.dtype.itemsize
        dataset.write_direct_chunk((start,), content[:kept] + bytes(len(content) - kept))

    def release(self) -> None:
        """Close all datasets; what they have in memory is written, which may fail."""
        masks = (2 * self.plan.datasets[number].rows for number in self._blank)
        self.output.make_room(self._cached + sum(masks))
        with self.output.told():
            self._close()

    def _close(self) -> None:
        for dataset in self.output.datasets.values():
            dataset._close()
        self.output.datasets.clear()
        self._cached = 0

    def _dataset(self, number: int) -> h5d.DatasetID:
        """Return an open dataset, with a cache for a chunk that is made of several pieces."""
        dataset = self.output.datasets.get(number)
        if dataset is None:
            plan = self.plan.datasets[number]
            pieced = plan.chunk > 1 and not self.plan.direct(plan)
            size = plan.chunk * plan.form.dtype.itemsize if pieced else 0
            if len(self.output.datasets) >= self.MOST_OPEN or self._cached + size > self.MOST_CACHED:
                self.release()
            access = h5p.create(h5p.DATASET_ACCESS)
            access.set_chunk_cache(1, size, 1.0)
            dataset = self.output.datasets[number] = h5d.open(self.output.file, os.fsencode(plan.path), access)
            self._cached += size
        return dataset

    def _place(self, piece: Piece) -> None:
        dataset = self._dataset(piece.dataset)
        if not piece.rows:
            dataset.write_direct_chunk((piece.row,), piece.data)
            return
        plan = self.plan.datasets[piece.dataset]
        rows = piece.data
        if piece.heap is not None:
            rows = rows.copy()
            place_pointers(plan.form, rows, piece.heap)
        space = h5s.create_simple((plan.rows,))
        space.select_hyperslab((piece.row,), (piece.rows,))
        memory = h5s.create_simple((piece.rows,))
        dataset.write(memory, space, rows.reshape(-1).view(np.uint8), plan.form.type_id)
