"""Pieces: what workers make of a block, and what is placed in the file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

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
