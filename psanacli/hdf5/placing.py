"""Placing: what workers made goes into the file, block by block, in one thread."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import numpy as np
from h5py import h5d, h5p, h5s
from numpy.typing import NDArray

from psanacli.hdf5.output import Output
from psanacli.hdf5.pieces import Filled, Piece
from psanacli.hdf5.tables import Block, Dataset, Plan
from psanacli.hdf5.values import place_pointers

Array = NDArray[Any]


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
        self._accesses: dict[int, h5p.PropDAID] = {}
        """How datasets are opened, by bytes of their cache."""
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
            access = self._accesses.get(size)
            if access is None:
                access = self._accesses[size] = h5p.create(h5p.DATASET_ACCESS)
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


def _room_of(pieces: list[Piece]) -> int:
    """Return the bytes that pieces take in the file at most, with the nodes of the indices of chunks."""
    data: int = sum(len(piece.data) for piece in pieces if not piece.rows)
    data += sum(piece.data.nbytes for piece in pieces if piece.rows)
    data += sum(2 * len(piece.heap) for piece in pieces if piece.heap is not None)
    return data + (len(pieces) << 6) + (len({piece.dataset for piece in pieces}) << 13)
