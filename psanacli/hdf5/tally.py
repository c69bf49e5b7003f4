"""Counting: what a plan has to know of the rows of a table before it is filled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from psanacli.hdf5.rows import Rows
from psanacli.run import Objects, RunTable, chained

Ints = NDArray[np.int64]
Range = tuple[int, int, int]
"""First position, stop, and bytes of payload of a block."""
MOST_TRIED = 100
"""Objects that are tried, the largest first, to learn the shape of all."""
MOST_SIZES = 32
"""Objects of different sizes that are looked at, the largest first: their arrays may have different shapes."""
_AT_ONCE = 1 << 16


class Tally:
    """The rows of one table in one step: how many in each block, and a few of them as samples.

    Parameters
    ----------
    rows : Rows

    Attributes
    ----------
    first_block : int
        Number of the first block of the step.
    events : int
        Events of the step.
    damaged : int
        Rows that are blank because of damage.
    samples : Objects or None
        The first row that is not absent, the first of each size, and the largest ones; None if all are absent.
    """

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.begin(0)

    def begin(self, first_block: int) -> None:
        """Begin a step."""
        self.first_block = first_block
        self.events = self.damaged = 0
        self.samples: Objects | None = None
        self._counts: list[int] = []
        self._size = -1

    def count(self, table: RunTable, blocks: Sequence[Range]) -> None:
        """Count the rows of the blocks of the step, all in one call."""
        for some in _batches(blocks):
            objects = self.rows.within(table, some[0][0], some[-1][1])
            self.events += some[-1][1] - some[0][0]
            edges = np.array([*(first for first, _, _ in some), some[-1][1]], objects.event.dtype)
            self._counts += np.diff(np.searchsorted(objects.event, edges)).tolist()
            self._sample(objects)

    @property
    def bounds(self) -> Ints:
        """Rows before each block, and at the end."""
        return np.concatenate(([0], np.cumsum(self._counts, dtype=np.int64)))

    def _sample(self, objects: Objects) -> None:
        if not len(objects):
            return
        if self._size >= 0 and _uniform(objects) and objects.size[0] == self._size:
            return
        bad = ~objects.stored & (objects.damage != 0)
        self.damaged += int(np.count_nonzero(bad))
        samples = _largest(objects, np.flatnonzero(objects.stored | bad))
        if self.samples is not None:
            samples = chained([self.samples, samples])
            if len(samples) > 10 * MOST_TRIED:
                samples = _largest(samples, np.arange(len(samples)))
        self.samples = samples if len(samples) else None
        self._size = int(objects.size[0]) if _uniform(objects) and len(objects) >= MOST_TRIED else -1


def _uniform(objects: Objects) -> bool:
    """Whether all rows are alike, and stored."""
    return not objects.size.strides[0] and not objects.stored.strides[0] and bool(objects.stored[0])


def _largest(objects: Objects, present: Ints) -> Objects:
    """Return the rows that are worth to be looked at."""
    stored = np.flatnonzero(objects.stored)
    sizes = -objects.size[stored]
    _, distinct = np.unique(sizes, return_index=True)
    largest = np.argsort(sizes, kind="stable")[:MOST_TRIED]
    chosen = np.concatenate((present[:1], stored[distinct[:MOST_SIZES]], stored[largest]))
    return objects.select(np.unique(chosen))


def _batches(blocks: Sequence[Range]) -> Iterator[Sequence[Range]]:
    """Give consecutive blocks with a bounded number of events."""
    at = 0
    while at < len(blocks):
        end = at + 1
        while end < len(blocks) and blocks[end][1] - blocks[at][0] <= _AT_ONCE:
            end += 1
        yield blocks[at:end]
        at = end
