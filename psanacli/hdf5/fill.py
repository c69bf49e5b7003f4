"""Filling: blocks of events are read, gathered into columns and compressed by workers, and placed by one.

All sizes are known from the plan, and every chunk of every dataset belongs to the block that has its first row. So a
worker needs nothing but the number of its block: what comes out is the same for any number of workers, and a
translation that was interrupted goes on at any block.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from h5py import h5d, h5s
from numpy.typing import NDArray

from psanacli.hdf5.names import TIME, damage_rows
from psanacli.hdf5.output import Output
from psanacli.hdf5.tables import Block, Dataset, Plan, Table
from psanacli.hdf5.values import Column, Encoder, place_pointers
from psanacli.run import PayloadError, Run
from psanacli.xtc import bind
from psanacli.xtc.columns import Batch

Array = NDArray[Any]
Bytes = NDArray[np.uint8]


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
    """What a worker made of a block: the pieces in order, and what was wrong, by group."""

    pieces: list[Piece] = field(default_factory=list)
    changed: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)


class Span(NamedTuple):
    """A range of rows of a table with their payloads, as batches of the same layout."""

    first: int
    stop: int
    batches: list[tuple[Array, Batch]]
    """Rows (from `first` on) and objects."""


class Worker:
    """Makes the pieces of a block; any number may work at the same time.

    Parameters
    ----------
    plan : Plan
    run : Run
        Where the payloads are read.
    """

    def __init__(self, plan: Plan, run: Run) -> None:
        self.plan = plan
        self.run = run

    def __call__(self, block: Block) -> Filled:
        """Return the pieces of a block."""
        filled = Filled()
        tables = [self.plan.tables[number] for number in block.tables]
        ranges = [self._ranges(table, block) for table in tables]
        made: dict[Hashable, list[Piece]] = {}
        for table, owned in zip(tables, ranges, strict=True):
            count = len(table.columns)
            for name, number, (first, stop) in zip(table.extras, table.numbers[count:], owned[count:], strict=True):
                if stop > first:
                    filled.pieces += self._extra_pieces(table, name, number, first, stop, made)
        for table, owned, span in zip(tables, ranges, self._read(tables, ranges, filled), strict=True):
            encoder = Encoder()
            for column, number, (first, stop) in zip(table.columns, table.numbers, owned, strict=False):
                if stop > first:
                    rows = self._rows(table, column, span, first, stop, encoder)
                    filled.pieces += self._pieces(number, first, rows, encoder)
            if encoder.changed:
                filled.changed[table.group] += encoder.changed
        return filled

    def _ranges(self, table: Table, block: Block) -> list[tuple[int, int]]:
        """Return which rows of each dataset belong to a block: the chunks whose first row is in it."""
        low, high = np.searchsorted(table.objects.event, (block.first, block.stop)).tolist()
        found = []
        for number in table.numbers:
            dataset = self.plan.datasets[number]
            size = dataset.chunk if self.plan.direct(dataset) else 1
            found.append((-(-low // size) * size, min(-(-high // size) * size, dataset.rows)))
        return found

    def _read(self, tables: list[Table], ranges: list[list[tuple[int, int]]], filled: Filled) -> list[Span]:
        """Read the payloads of all tables, what lies side by side in one go."""
        bounds = [_payload_rows(table, owned) for table, owned in zip(tables, ranges, strict=True)]
        chosen = [
            first + np.flatnonzero(table.objects.stored[first:stop])
            for table, (first, stop) in zip(tables, bounds, strict=True)
        ]
        try:
            payloads = self.run.read_many([table.objects for table in tables], chosen)
        except PayloadError:
            chosen = [self._readable(table, rows, filled) for table, rows in zip(tables, chosen, strict=True)]
            payloads = self.run.read_many([table.objects for table in tables], chosen)
        spans = []
        for table, (first, stop), rows, payload in zip(tables, bounds, chosen, payloads, strict=True):
            batches = []
            configs = table.objects.config[rows]
            for config in np.unique(configs).tolist():
                same = np.flatnonzero(configs == config)
                layout = (
                    bind(table.objects.key.xtc_type, table.config)
                    if table.config
                    else self.run.layout(table.objects, config)
                )
                starts, sizes = payload.starts[same], payload.sizes[same]
                fits = layout.fits(payload.buffer, starts, sizes)
                if not fits.all():
                    self._blank(table, rows[same[~fits]], filled)
                    same, starts, sizes = same[fits], starts[fits], sizes[fits]
                batches.append((rows[same] - first, layout.batch(payload.buffer, starts, sizes)))
            spans.append(Span(first, stop, batches))
        return spans

    def _readable(self, table: Table, rows: Array, filled: Filled) -> Array:
        """Return the rows whose payloads are sound; the others stay blank."""
        sound = np.ones(len(rows), bool)
        for index in range(len(rows)):
            try:
                self.run.read(table.objects, rows[index : index + 1])
            except PayloadError:
                sound[index] = False
        if not sound.all():
            self._blank(table, rows[~sound], filled)
        return rows[sound]

    def _blank(self, table: Table, rows: Array, filled: Filled) -> None:
        """Count objects that are damaged or do not fit into their payloads, and take them out of the mask.

        The chunk of the mask belongs to this block or to an earlier one, so it is in its place by then.
        """
        filled.broken[table.group] += len(rows)
        number = table.numbers[len(table.columns) + table.extras.index("_mask")] if "_mask" in table.extras else -1
        if number >= 0:
            filled.pieces += [Piece(number, row, 1, np.zeros(1, np.uint8)) for row in rows.tolist()]

    def _rows(self, table: Table, column: Column, span: Span, first: int, stop: int, encoder: Encoder) -> Array:
        """Return the rows `first` to `stop` of a column; what has no object is blank."""
        low, high = first - span.first, stop - span.first
        parts = []
        for rows, batch in span.batches:
            inside = slice(*np.searchsorted(rows, (low, high)).tolist())
            part = batch if inside == slice(0, len(rows)) else _taken(batch, inside)
            values = encoder.rows(column, part)
            if len(part) == stop - first:
                return values
            parts.append((rows[inside] - low, values))
        result = np.zeros((stop - first, *column.shape), column.base.dtype)
        if table.nan:
            _fill_nan(result)
        for rows, values in parts:
            result[rows] = values
        return result

    def _extra_pieces(
        self, table: Table, name: str, number: int, first: int, stop: int, made: dict[Hashable, list[Piece]]
    ) -> list[Piece]:
        """Return the pieces of ``time`` and its like, which regular detectors share: made once a block."""
        same = self._content(table, name, number, first, stop)
        found = made.get(same) if same is not None else None
        if found is not None:
            shift = first - found[0].row
            return [piece._replace(dataset=number, row=piece.row + shift) for piece in found]
        pieces = list(self._pieces(number, first, self._extra(table, name, first, stop), Encoder()))
        if same is not None:
            made[same] = pieces
        return pieces

    def _content(self, table: Table, name: str, number: int, first: int, stop: int) -> Hashable:
        """Return what says all about the rows of a dataset without payload; None if they have to be looked at."""
        objects = table.objects
        begin = int(objects.event[first])
        if int(objects.event[stop - 1]) - begin != stop - first - 1:
            return None  # not in every event
        values = {"_damage": objects.damage, "_mask": objects.stored}.get(name)
        if values is None:
            return name, begin, stop - first, self.plan.datasets[number].chunk
        if values.strides[0]:
            return None
        return name, values[first].item(), stop - first, self.plan.datasets[number].chunk

    def _extra(self, table: Table, name: str, first: int, stop: int) -> Array:
        """Return rows of a dataset that the type does not have: ``time``, ``_damage``, ``_mask``."""
        objects = table.objects
        if name == "time":
            return stamps(self.plan.events, objects.event[first:stop])
        if name == "step":
            return np.ascontiguousarray(self.plan.events["step"][objects.event[first:stop]], "<i4")
        if name == "_damage":
            return damage_rows(objects.damage[first:stop])
        return objects.stored[first:stop].astype(np.uint8)

    def _pieces(self, number: int, first: int, rows: Array, encoder: Encoder) -> Iterator[Piece]:
        """Cut rows into pieces: chunks as they stand in the file, or rows for HDF5 to write."""
        dataset = self.plan.datasets[number]
        if not self.plan.direct(dataset):
            heap = encoder.heap if dataset.form.pointers else None
            yield Piece(number, first, len(rows), np.ascontiguousarray(rows), heap)
            return
        flat = np.ascontiguousarray(rows).reshape(len(rows), -1).view(np.uint8).reshape(len(rows), -1)
        for start in range(0, len(rows), dataset.chunk):
            chunk = flat[start : start + dataset.chunk]
            if len(chunk) < dataset.chunk:
                whole = np.zeros((dataset.chunk, flat.shape[1]), np.uint8)
                whole[: len(chunk)] = chunk
                chunk = whole
            yield Piece(number, first + start, 0, self.plan.compression.chunk(chunk.reshape(-1), dataset.item))


def stamps(events: Array, chosen: Array) -> Array:
    """Return the rows of ``time`` of some events."""
    rows = np.empty(len(chosen), TIME)
    picked = events[chosen]
    for name in TIME.names or ():
        rows[name] = picked[name]
    return rows


def _payload_rows(table: Table, owned: list[tuple[int, int]]) -> tuple[int, int]:
    """Return the rows whose payloads the columns need."""
    needed = [(first, stop) for first, stop in owned[: len(table.columns)] if stop > first]
    if not needed:
        return 0, 0
    return min(first for first, _ in needed), max(stop for _, stop in needed)


def _taken(batch: Batch, rows: slice) -> Batch:
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

    MOST_OPEN = 4000

    def __init__(self, plan: Plan, output: Output) -> None:
        self.plan = plan
        self.output = output
        self.changed: Counter[str] = Counter()
        self.broken: Counter[str] = Counter()

    def __call__(self, block: Block, filled: Filled) -> None:
        """Place what a worker made, and make a checkpoint now and then."""
        self.output.make_room(_room_of(filled.pieces))
        with self.output.told():
            for piece in filled.pieces:
                self._place(piece)
        self.changed.update(filled.changed)
        self.broken.update(filled.broken)
        if self.output.checkpoint_due:
            self.release()
            self.output.checkpoint(block.number + 1)

    def go_on(self, done: int) -> None:
        """Clear what an interrupted process left in chunks that HDF5 writes in place: rows of blocks that are not done.

        They refer to places in the file that the checkpoint knows nothing of.
        """
        first = self.plan.blocks[done].first if done < len(self.plan.blocks) else len(self.plan.events)
        with self.output.told():
            for table in self.plan.tables:
                row = int(np.searchsorted(table.objects.event, first))
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
        cached = (self.plan.datasets[number] for number in self.output.datasets)
        sizes = (each.chunk * each.form.dtype.itemsize for each in cached if not self.plan.direct(each))
        self.output.make_room(sum(sizes))
        with self.output.told():
            for dataset in self.output.datasets.values():
                dataset._close()
        self.output.datasets.clear()

    def _dataset(self, number: int) -> h5d.DatasetID:
        """Return an open dataset."""
        dataset = self.output.datasets.get(number)
        if dataset is None:
            if len(self.output.datasets) >= self.MOST_OPEN:
                self.release()
            dataset = h5d.open(self.output.file, os.fsencode(self.plan.datasets[number].path))
            self.output.datasets[number] = dataset
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
