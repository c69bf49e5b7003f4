"""Payloads of which only what is around the large arrays is read; the arrays go from file to file, also compressed.

Where the arrays are is known from one payload of the same size and configuration.  Whether that holds for another one
follows from what was read of it: numbers that decide on places of arrays stand around the arrays, so the first that
differs is a number that was read, and shows in the places that follow from it.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError
from psanacli.hdf5.tables import Plan, Table
from psanacli.hdf5.values import Column, Encoder
from psanacli.run import Objects, Run
from psanacli.xtc import Batch, Layout, bind

Ints = NDArray[np.int64]


def layout_of(run: Run, table: Table, objects: Objects, config: int) -> Layout:
    """Return the layout of the objects of a table with a configuration object, by its number in the timeline."""
    return bind(objects.key.xtc_type, table.config) if table.config else run.payloads.layout(objects, config)


class Spare:
    """Reads the payloads of tables whose large arrays go from file to file.

    Parameters
    ----------
    plan : Plan
    run : Run
    """

    def __init__(self, plan: Plan, run: Run) -> None:
        self.plan = plan
        self.run = run
        self._known: dict[Hashable, Ints | None] = {}

    def read(self, table: Table, places: Objects) -> Batch | None:
        """Return objects of a table without their large arrays; None if they have to be read whole."""
        if not len(places) or not self._columns(table)[0] or not places.plain:
            return None
        size, config = int(places.size[0]), int(places.config[0])
        if (places.size != size).any() or (places.config != config).any():
            return None
        layout = layout_of(self.run, table, places, config)
        place = places.key.xtc_type.name, places.key.source.identity, size, config, table.columns
        if place not in self._known:
            try:
                self._known[place] = self._spared(table, places, layout)
            except DataError:
                return None
        spared = self._known[place]
        if spared is None:
            return None
        block = self.run.payloads.read_around(places, spared)
        if not layout.fits(block.buffer, block.starts, block.sizes).all():
            return None
        batch = layout.batch(block.buffer, block.starts, block.sizes)
        found = self._large(table, batch)
        return batch if found is not None and (found == spared).all() else None

    def _columns(self, table: Table) -> tuple[list[Column], list[Column]]:
        """Return the columns that go from file to file, and the others."""
        large: list[Column] = []
        others: list[Column] = []
        for column, number in zip(table.columns, table.numbers, strict=False):
            passing = self.plan.passing(self.plan.datasets[number]) and table.as_stored(column)
            (large if passing else others).append(column)
        return large, others

    def _large(self, table: Table, batch: Batch) -> Ints | None:
        """Return place in its payload and size of each large array of each object, in their order, (n, k, 2)."""
        encoder = Encoder()
        found = []
        for column in self._columns(table)[0]:
            stretches = encoder.stretches(column, batch)
            if stretches is None:
                return None
            found.append(np.stack([stretches.places - batch.starts[:, None], stretches.sizes], axis=2))
        pieces = np.concatenate(found, axis=1)
        order = np.argsort(pieces[:, :, 0], axis=1, kind="stable")
        return np.take_along_axis(pieces, order[:, :, None], axis=1)

    def _spared(self, table: Table, places: Objects, layout: Layout) -> Ints | None:
        """Return the stretches that need not be read, from one payload; None if there are none, or they are needed."""
        block = self.run.payloads.read(places, np.zeros(1, np.int64))
        one = layout.batch(block.buffer, block.starts, block.sizes)
        found = self._large(table, one)
        if found is None:
            return None
        spared = found[0]
        ends = spared.sum(axis=1)
        if (spared[1:, 0] < ends[:-1]).any():
            return None
        other = block.buffer.copy()
        for start, size in spared.tolist():
            other[block.starts[0] + start :][:size] ^= 0xFF
        changed = layout.batch(other, block.starts, block.sizes)
        same = all(self._content(column, one) == self._content(column, changed) for column in self._columns(table)[1])
        return spared if same else None

    @staticmethod
    def _content(column: Column, batch: Batch) -> tuple[Any, ...]:
        encoder = Encoder()
        rows = encoder.rows(column, batch)
        return rows.tobytes(), encoder.heap.tobytes()
