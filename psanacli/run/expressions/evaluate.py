"""Expressions bound to columns, and evaluated by blocks of events.

An `Expression` is bound once: every name is looked up, so that a wrong one is told before anything is read.  What is
bound is a tree of parts like the sources of columns: each gives its values of any stretch of events, so that ``shift``
only asks for another stretch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import UsageError
from psanacli.run.columns import MAX_BYTES, ShapeError
from psanacli.run.expressions import values as of
from psanacli.run.expressions.bind import Binder
from psanacli.run.expressions.columns import Columns, Source
from psanacli.run.expressions.parts import pointing
from psanacli.run.expressions.syntax import parse
from psanacli.run.expressions.tree import ExpressionError, Node, Place
from psanacli.run.expressions.values import Value

_BLOCK_BYTES = 1 << 26
_BLOCK_EVENTS = 1 << 18
"""Events of a block: what is calculated stays in the cache."""
_WHOLE_EVENTS = 1 << 24
"""The same for columns in memory that are only compared, of which blocks would make nothing faster."""
_GAP = 1 << 16  # bytes that are rather read than left out


@dataclass(frozen=True)
class Expression:
    """An expression in the language of selections.

    Attributes
    ----------
    text : str
    tree : Node

    Examples
    --------
    >>> Expression.parse("code(140) and EBeam.ebeamPhotonEnergy > 9490").text
    'code(140) and EBeam.ebeamPhotonEnergy > 9490'
    """

    text: str
    tree: Node

    @classmethod
    def parse(cls, text: str) -> Expression:
        """Return the expression of a text.

        Raises
        ------
        ExpressionError
            It is wrong; the hint shows where.
        """
        return cls(text, parse(text))

    def bind(self, columns: Columns) -> Bound:
        """Look up all its names.

        Raises
        ------
        NotFoundError, UsageError
            A name does not exist or cannot be used so; the hint shows where it stands.
        """
        binder = Binder(self.text, columns)
        part = binder.bind(self.tree)
        weight = sum(source.weight for source in binder.sources.values())
        return Bound(self, columns, part, weight, binder.calculates)


class Bound:
    """An expression of which all names are known.

    Attributes
    ----------
    expression : Expression
    columns : Columns
    """

    def __init__(self, expression: Expression, columns: Columns, part: Source, weight: int, calculates: bool) -> None:
        self.expression = expression
        self.columns = columns
        self._part = part
        self._weight = weight
        self._span = max(1, min(_BLOCK_BYTES // weight, _BLOCK_EVENTS)) if weight else _BLOCK_EVENTS
        if not weight and not calculates:
            self._span = _WHOLE_EVENTS

    def read(self, first: int, stop: int) -> Value:
        """Return the values of the events `first` to `stop`, in one go."""
        with np.errstate(all="ignore"):
            value = self._part.read(first, stop)
        if value.constant:
            values = np.full(stop - first, value.values)
            return Value(values, value.mask)
        return value

    def blocks(self, first: int = 0, stop: int | None = None) -> Iterator[tuple[int, int, Value]]:
        """Give the values block by block: first event, last event + 1, and values.

        Where an array has another number of elements from event to event, the blocks are smaller.
        """
        end = len(self.columns) if stop is None else stop
        while first < end:
            yield from self._halved(first, min(first + self._span, end))
            first += self._span

    def _halved(self, first: int, stop: int) -> Iterator[tuple[int, int, Value]]:
        try:
            value = self.read(first, stop)
        except ShapeError:
            if stop - first == 1:
                raise
            middle = (first + stop) // 2
            yield from self._halved(first, middle)
            yield from self._halved(middle, stop)
            return
        yield first, stop, value

    def select(
        self, first: int = 0, stop: int | None = None, advance: Callable[[int], None] | None = None
    ) -> NDArray[np.int64]:
        """Return the numbers of the events for which a condition holds, ascending.

        Parameters
        ----------
        first, stop : int
            Range of events; default is all.
        advance : function, optional
            Called with the number of events of each block.

        Raises
        ------
        UsageError
            It is no condition, or one of the elements of an array.
        """
        parts = []
        for begin, end, value in self.blocks(first, stop):
            parts.append(self._chosen(value, end - begin))
            if advance is not None:
                advance(end - begin)
        found = np.flatnonzero(parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, bool), *parts]))
        if first:
            found += first
        return found

    def among(self, numbers: NDArray[np.int64], advance: Callable[[int], None] | None = None) -> NDArray[np.int64]:
        """Return those of some events for which a condition holds, in the same order; repeated ones stay."""
        found = [self.select(first, stop, advance) for first, stop in self._stretches(numbers)]
        return numbers[np.isin(numbers, np.concatenate([np.zeros(0, np.int64), *found]), kind="sort")]

    def at(self, numbers: NDArray[np.int64], *, max_bytes: int = MAX_BYTES) -> np.ma.MaskedArray[Any, Any]:
        """Return the values of some events, in the order of their numbers as given; see `evaluate`."""
        if not len(numbers):
            return self.evaluate(0, 0)
        stretches = self._stretches(numbers)
        parts = [self._parts(first, stop, max_bytes) for first, stop in stretches]
        found = _joined(
            [each for values, _ in parts for each in values], [each for _, masks in parts for each in masks], self.text
        )
        firsts = np.array([first for first, _ in stretches])
        lengths = np.array([stop - first for first, stop in stretches])
        stretch = np.searchsorted(firsts, numbers, side="right") - 1
        chosen: np.ma.MaskedArray[Any, Any] = found[(np.cumsum(lengths) - lengths - firsts)[stretch] + numbers]
        return chosen

    def _stretches(self, numbers: NDArray[np.int64]) -> list[tuple[int, int]]:
        """Return stretches of events that cover some; what lies between is read too where that costs little."""
        if not len(numbers):
            return []
        wanted = np.unique(numbers)
        gaps = np.flatnonzero(np.diff(wanted) > max(1, _GAP // max(self._weight, 1)))
        return [*zip(wanted[[0, *(gaps + 1)]].tolist(), (wanted[[*gaps, -1]] + 1).tolist(), strict=True)]

    def _chosen(self, value: Value, count: int) -> Any:
        place = Place(self.expression.text, self.expression.tree.span)
        with pointing(place):
            value = of.condition(value, count)
        if np.ndim(value.values) > 1:
            shape = " x ".join(map(str, value.values.shape[1:]))
            raise ExpressionError(f"there are {shape} values an event", place, "say any(...) or all(...)")
        return value.values if value.mask is None else value.values & ~value.mask

    def evaluate(
        self, first: int = 0, stop: int | None = None, *, max_bytes: int = MAX_BYTES
    ) -> np.ma.MaskedArray[Any, Any]:
        """Return the values as one array, masked where they are absent.

        Raises
        ------
        UsageError
            The array would have more than `max_bytes` bytes.
        DataError
            The number of elements is not the same in all events.
        """
        return _joined(*self._parts(first, stop, max_bytes), self.text)

    def _parts(self, first: int, stop: int | None, max_bytes: int) -> tuple[list[Any], list[NDArray[np.bool_]]]:
        """Return values and masks of all blocks; None for values that no event has."""
        masks, parts = [], []
        size = 0
        for begin, end, value in self.blocks(first, stop):
            masks.append(np.zeros(end - begin, bool) if value.mask is None else value.mask)
            parts.append(None if value.nowhere else value.values)
            size += 0 if value.nowhere else value.values.nbytes
            if size > max_bytes:
                raise UsageError(
                    f"{self.text} takes more than {max_bytes / 1e9:.1f} GB",
                    "reduce arrays by sum(...) or max(...), or allow it with max_bytes=",
                )
        return parts, masks

    @property
    def text(self) -> str:
        """The expression."""
        return self.expression.text

    def __repr__(self) -> str:
        return f"<Bound {self.expression.text!r} to {len(self.columns)} events>"


def _joined(parts: list[Any], masks: list[NDArray[np.bool_]], text: str) -> np.ma.MaskedArray[Any, Any]:
    there = [part for part in parts if part is not None]
    shapes = {part.shape[1:] for part in there}
    if len(shapes) > 1:
        raise ShapeError(f"{text}: the number of elements is not the same in all events", "reduce them: sum(...)")
    shape = shapes.pop() if shapes else ()
    mask = np.concatenate([np.zeros(0, bool), *masks])
    dtype = np.result_type(*{part.dtype for part in there}) if there else np.dtype(np.float64)
    values = np.zeros((len(mask), *shape), dtype)
    at = 0
    for part, rows in zip(parts, masks, strict=True):
        if part is not None:
            values[at : at + len(rows)] = part
        at += len(rows)
    full = np.broadcast_to(mask.reshape(-1, *[1] * len(shape)), values.shape)
    return np.ma.MaskedArray(values, full)
