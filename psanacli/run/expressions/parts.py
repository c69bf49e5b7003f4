"""What an expression is evaluated by: parts that give their values of any stretch of events, as columns do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from psanacli.errors import UsageError
from psanacli.run.expressions import values as of
from psanacli.run.expressions.columns import Source
from psanacli.run.expressions.tree import ExpressionError, Place
from psanacli.run.expressions.values import Value, absent

_KEPT = 4  # stretches of a column that occurs several times


@contextmanager
def pointing(place: Place) -> Iterator[None]:
    """Give errors the place that they are about, unless they have one."""
    try:
        yield
    except ExpressionError:
        raise
    except UsageError as error:
        raise ExpressionError(error.message, place, error.hint) from error


@dataclass(frozen=True, eq=False)
class Fixed:
    """A constant."""

    value: Any
    weight: int = 0

    def read(self, first: int, stop: int) -> Value:
        """Return the values of the events `first` to `stop`."""
        return Value(self.value)


class Kept:
    """A column that occurs several times: what was read last is kept."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._known: dict[tuple[int, int], Value] = {}

    @property
    def weight(self) -> int:
        """Bytes an event."""
        return self.source.weight

    def read(self, first: int, stop: int) -> Value:
        """Return the values of the events `first` to `stop`."""
        known = self._known.get((first, stop))
        if known is None:
            known = self.source.read(first, stop)
            if len(self._known) >= _KEPT:
                self._known.pop(next(iter(self._known)))
            self._known[first, stop] = known
        return known


@dataclass(frozen=True, eq=False)
class Applied:
    """Values calculated from others, event by event; absent in all events where one of them is."""

    place: Place
    function: Callable[[int, Sequence[Value]], Value]
    parts: tuple[Source, ...]
    strict: bool = True
    weight: int = 0

    def read(self, first: int, stop: int) -> Value:
        """Return the values of the events `first` to `stop`."""
        values = [part.read(first, stop) for part in self.parts]
        if self.strict and any(value.nowhere for value in values):
            return absent(stop - first)
        with pointing(self.place):
            return self.function(stop - first, values)


@dataclass(frozen=True, eq=False)
class Junction:
    """``and``, ``or``: what the first ones decide is not looked for in the others."""

    word: str
    parts: tuple[tuple[Place, Source], ...]
    weight: int = 0

    def read(self, first: int, stop: int) -> Value:
        """Return the values of the events `first` to `stop`."""
        found: Value | None = None
        for place, part in self.parts:
            if found is not None and found.mask is None and self._decided(found.values):
                return found
            with pointing(place):
                value = of.condition(part.read(first, stop), stop - first)
                found = value if found is None else of.decided(self.word, found, value)
        assert found is not None
        return found

    def _decided(self, values: Any) -> bool:
        return bool(np.all(values)) if self.word == "or" else not np.any(values)


@dataclass(frozen=True, eq=False)
class Shifted:
    """Values of the events that are `by` further on."""

    part: Source
    by: int
    count: int
    weight: int = 0

    def read(self, first: int, stop: int) -> Value:
        """Return the values of the events `first` to `stop`."""
        low, high = max(first + self.by, 0), min(stop + self.by, self.count)
        if low >= high:
            return absent(stop - first)
        value = self.part.read(low, high)
        before, after = low - (first + self.by), (stop + self.by) - high
        if not (before or after):
            return value
        if value.constant:
            value = Value(np.full(high - low, value.values), value.mask)
        pad = [(before, after), *[(0, 0)] * (value.values.ndim - 1)]
        mask = np.zeros(high - low, bool) if value.mask is None else value.mask
        return Value(np.pad(value.values, pad), np.pad(mask, pad[:1], constant_values=True))
