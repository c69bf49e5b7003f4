"""Counting: what a plan has to know of the rows of a table before it is filled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from psanacli.hdf5.rows import Rows
from psanacli.run import Objects, RunTable, chained

Ints = NDArray[np.int64]
Range = tuple[int, int, int]
"""First position, stop, and bytes of payload of a block."""
Blocks = Sequence[Range]
T = TypeVar("T")
MOST_TRIED = 100
"""Objects that are tried, the largest first, to learn the shape of all."""
MOST_SIZES = 32
"""Objects of different sizes that are looked at, the largest first: their arrays may have different shapes."""
_AT_ONCE = 1 << 16
"""Events of one step whose rows are looked at in one go."""
_TOGETHER = 1 << 13
"""Events of several short steps whose rows are looked at in one go."""


class Tally:
    """The rows of one table in one step: how many in each block, and a few of them as samples.

    Parameters
    ----------
    rows : Rows
    first_block : int
        Number of the first block of the step.

    Attributes
    ----------
    events : int
        Events of the step.
    damaged : int
        Rows that are blank because of damage.
    samples : Objects or None
        The first row that is not absent, the first of each size, and the largest ones; None if all are absent.
    """

    def __init__(self, rows: Rows, first_block: int) -> None:
        self.rows = rows
        self.first_block = first_block
        self.events = self.damaged = 0
        self.samples: Objects | None = None
        self._counts: list[int] = []
        self._size = -1

    def count(self, objects: Objects, blocks: Sequence[Range]) -> None:
        """Count the rows of further blocks, which are among some objects."""
        if not blocks:
            return
        self.events += blocks[-1][1] - blocks[0][0]
        edges = np.array([*(first for first, _, _ in blocks), blocks[-1][1]], objects.event.dtype)
        places = np.searchsorted(objects.event, edges)
        self._counts += np.diff(places).tolist()
        self._sample(objects, int(places[0]), int(places[-1]))

    @property
    def bounds(self) -> Ints:
        """Rows before each block, and at the end."""
        return np.concatenate(([0], np.cumsum(self._counts, dtype=np.int64)))

    def _sample(self, objects: Objects, first: int, stop: int) -> None:
        """Look at some of the objects."""
        if first == stop:
            return
        uniform = _uniform(objects)
        if self._size >= 0 and uniform and objects.size[0] == self._size:
            return
        if uniform:
            samples = objects.select(np.arange(first, min(stop, first + MOST_TRIED)))
        else:
            some = slice(first, stop)
            stored, bad = objects.stored[some], ~objects.stored[some] & (objects.damage[some] != 0)
            self.damaged += int(np.count_nonzero(bad))
            samples = objects.select(first + _largest(objects.size[some], stored, np.flatnonzero(stored | bad)))
        if self.samples is not None:
            samples = chained([self.samples, samples])
            if len(samples) > 10 * MOST_TRIED:
                samples = samples.select(_largest(samples.size, samples.stored, np.arange(len(samples))))
        self.samples = samples if len(samples) else None
        self._size = int(objects.size[0]) if uniform and stop - first >= MOST_TRIED else -1


def _uniform(objects: Objects) -> bool:
    """Whether all rows are alike, and stored."""
    return not objects.size.strides[0] and not objects.stored.strides[0] and bool(objects.stored[0])


def _largest(size: Ints, stored: NDArray[np.bool_], present: Ints) -> Ints:
    """Return the rows that are worth to be looked at, ascending."""
    rows = np.flatnonzero(stored)
    sizes = -size[rows]
    _, distinct = np.unique(sizes, return_index=True)
    largest = np.argsort(sizes, kind="stable")[:MOST_TRIED]
    return np.unique(np.concatenate((present[:1], rows[distinct[:MOST_SIZES]], rows[largest])))


def short(steps: Sequence[tuple[int, Blocks]]) -> Iterator[Sequence[tuple[int, Blocks]]]:
    """Give consecutive steps that have not many events together, or one with many.

    Parameters
    ----------
    steps : sequence of (int, blocks)
        Number of the first block of each step, and its blocks, of which it has one at least.
    """
    return _cut(steps, _TOGETHER, lambda step: (step[1][0][0], step[1][-1][1]))


def tallied(rows: Rows, table: RunTable, steps: Sequence[tuple[int, Blocks]]) -> list[Tally]:
    """Count the rows of a table in steps that `short` gave, in one call if there are several."""
    tallies = [Tally(rows, first_block) for first_block, _ in steps]
    every = [(tally, block) for tally, (_, blocks) in zip(tallies, steps, strict=True) for block in blocks]
    for some in _cut(every, _AT_ONCE, lambda each: each[1][:2]):
        objects = rows.within(table, some[0][1][0], some[-1][1][1])
        for tally, mine in groupby(some, itemgetter(0)):
            tally.count(objects, [block for _, block in mine])
    return tallies


def _cut(items: Sequence[T], most: int, span: Callable[[T], tuple[int, int]]) -> Iterator[Sequence[T]]:
    """Give consecutive items that have `most` events together, or one with more."""
    at = 0
    while at < len(items):
        end, (first, _) = at + 1, span(items[at])
        while end < len(items) and span(items[end])[1] - first <= most:
            end += 1
        yield items[at:end]
        at = end
