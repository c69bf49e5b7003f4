"""Where an expression takes its columns from.

`Columns` is what an expression is bound to; a run gives one, `Table` makes one of arrays.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from psanacli.errors import NotFoundError, UsageError, did_you_mean
from psanacli.run.expressions.values import Mask, Value


class Source(Protocol):
    """What gives the values of one column."""

    @property
    def weight(self) -> int:
        """Bytes an event, about; blocks of events are made accordingly."""

    def read(self, first: int, stop: int) -> Value:
        """Return the values of the events `first` to `stop`."""


@dataclass(frozen=True, eq=False)
class Whole:
    """A column that is in memory.

    Attributes
    ----------
    values : ndarray, shape (events, ...)
    mask : ndarray of bool, shape (events,), optional
        Where it is absent.
    """

    values: NDArray[Any]
    mask: Mask = None

    @classmethod
    def of(cls, array: ArrayLike) -> Whole:
        """Return the column of an array; a masked array is absent where an element is masked."""
        mask: Mask = None
        if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
            whole = np.ma.getmaskarray(array)
            mask = np.asarray(whole.reshape(len(whole), -1).any(axis=1))
        values = np.ma.getdata(array) if isinstance(array, np.ma.MaskedArray) else np.asarray(array)
        return cls(values.astype("datetime64[ns]") if values.dtype.kind == "M" else values, mask)

    @property
    def weight(self) -> int:
        """Nothing: it need not be read."""
        return 0

    def read(self, first: int, stop: int) -> Value:
        """Return views of the values."""
        mask = None if self.mask is None else self.mask[first:stop]
        return Value(self.values[first:stop], mask if mask is not None and mask.any() else None)


class JoinedTable(Protocol):
    """A table of values from elsewhere that has a row for each event of a run: ``NAME.field`` in expressions."""

    @property
    def columns(self) -> Mapping[str, np.ma.MaskedArray[Any, Any]]:
        """Values by field, masked where an event has none."""

    def find(self, field: str) -> str:
        """Return the name of a field from one of its spellings.

        Raises
        ------
        NotFoundError, UsageError
            There is none, or several; with the nearest.
        """


class Columns(ABC):
    """What an expression is bound to: so many events, and columns by name.

    A kind of table says how many events there are and which columns, and overrides what else it has.
    """

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of events."""

    @abstractmethod
    def column(self, parts: tuple[str, ...]) -> Source:
        """Return the column of a name, given by its parts between the dots.

        Raises
        ------
        NotFoundError
            There is none; with the nearest names.
        """

    def present(self, name: tuple[str, ...]) -> Source | None:
        """Return in which events there is a detector of this name; None when it is none, but may be a column."""
        return None

    def damaged(self, name: str | None) -> Source:
        """Return in which events there is damage to a detector, or to anything."""
        raise UsageError("only a run knows of damage")

    def code(self, number: int) -> Source:
        """Return in which events there is an event code."""
        raise UsageError("only a run has event codes")

    def epics(self, name: str) -> Source:
        """Return the values of an EPICS variable."""
        raise UsageError("only a run has EPICS variables")

    def scan(self, name: str) -> Source:
        """Return the values that were set for steps."""
        raise UsageError("only a run has steps")

    def why(self, name: str) -> Source:
        """Return why a detector is absent."""
        raise UsageError("only a run has detectors")

    def as_text(self, source: Source) -> Source | None:
        """Return the texts that stand for the numbers of a column, such as those of an enumeration; None: none do."""
        return None


class Table(Columns):
    """Arrays as columns.

    Parameters
    ----------
    arrays : mapping of str to array
        Arrays of one length; masked arrays are absent where they are masked.

    Examples
    --------
    >>> from psanacli.run.expressions import Expression
    >>> table = Table({"x": [1, 5, 7], "y": [2.0, 2.0, 9.0]})
    >>> Expression.parse("x > y").bind(table).select().tolist()
    [1]
    """

    def __init__(self, arrays: Mapping[str, ArrayLike]) -> None:
        self._sources: dict[str, Whole] = {}
        lengths = set()
        for name, array in arrays.items():
            self._sources[name] = Whole.of(array)
            lengths.add(len(self._sources[name].values))
        if len(lengths) > 1:
            raise UsageError(f"the columns have different lengths: {', '.join(map(str, sorted(lengths)))}")
        self._length = lengths.pop() if lengths else 0

    def __len__(self) -> int:
        return self._length

    def column(self, parts: tuple[str, ...]) -> Source:
        """Return the array of a name."""
        name = ".".join(parts)
        if name not in self._sources:
            known = [*self._sources]
            shown = f"there are {', '.join(known[:12])}" if known else "the table is empty"
            raise NotFoundError(f"no column {name!r}", did_you_mean(name, known, shown))
        return self._sources[name]
