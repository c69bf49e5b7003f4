"""Filling: blocks of events are read, gathered into columns and compressed by workers, and placed by one.

All sizes are known from the plan, and every chunk of every dataset belongs to the block that has its first row. So a
worker needs nothing but the number of its block: what comes out is the same for any number of workers, and a
translation that was interrupted goes on at any block.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.hdf5.assembled import Makers
from psanacli.hdf5.loading import Loader, Part, Span
from psanacli.hdf5.names import damage_rows
from psanacli.hdf5.pieces import Filled, Piece
from psanacli.hdf5.reserved import Reserved
from psanacli.hdf5.tables import Block, Plan, Table
from psanacli.hdf5.values import Column, Encoder, Recipes, Stretches
from psanacli.run import Objects, Run
from psanacli.xtc import Batch

Array = NDArray[Any]

_STRETCH = 512
"""Bytes of a row from which on chunks are made straight from the payloads."""


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
        self._loader = Loader(plan, run)
        self._recipes: Recipes = {}

    def __call__(self, block: Block) -> Filled:
        """Return the pieces of a block."""
        filled = Filled()
        parts = [self._loader.part(self.plan.tables[number], block) for number in block.tables]
        made: dict[Hashable, list[Piece]] = {}
        for part in parts:
            for name, number, (first, stop) in part.extras:
                if stop > first:
                    filled.pieces += self._extra_pieces(part, name, number, first, stop, made)
        whole = self.plan.compression.name == "none" and (self.reserved is None or self.reserved.empty)
        for part, span in zip(parts, self._loader.read(parts, filled, whole=whole), strict=True):
            encoder = Encoder(self._recipes)
            for column, number, (first, stop) in part.columns:
                if stop > first:
                    filled.pieces += self._column(part, column, number, span, first, stop, encoder)
            if encoder.changed:
                filled.changed[part.table.group] += encoder.changed
        return filled

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
            with self.run.payloads.lent(part.objects, first + row - part.first) as (descriptor, begin):
                yield Piece(number, first + row, 0, packer.chunk_of(descriptor, begin + within, sizes))

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


def _fill_nan(rows: Array) -> None:
    """Set floating-point numbers to NaN, in members too."""
    if rows.dtype.names:
        for name in rows.dtype.names:
            _fill_nan(rows[name])
    elif rows.dtype.kind == "f":
        rows[...] = np.nan
