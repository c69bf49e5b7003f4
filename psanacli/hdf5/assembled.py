"""Detectors that are read out in pieces: one table of the whole, raw in aligned files, and of corrected images.

A raw whole has the group and the datasets that it would have had if it had been recorded as one: images and what is
told of modules in their places, all else of the piece with the first module.  It takes the place of its pieces in
aligned files, which have a table a detector; the standard form has the pieces as they were recorded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from psanacli.hdf5.calibrated import Corrected, Correction, Corrector, whole_of
from psanacli.hdf5.layout import TypeLayout, type_layout
from psanacli.hdf5.names import source_group
from psanacli.hdf5.rows import EveryEvent, Rows, whole_rows
from psanacli.hdf5.values import Column, Encoder
from psanacli.run import Key, Objects, PayloadBlock, PayloadError, Run, WholeReader
from psanacli.xtc import Batch, Layout, Record

if TYPE_CHECKING:
    from psanacli.hdf5.plan import Planner

Array = NDArray[Any]
Ints = NDArray[np.int64]
_PLACED = ("frame", "moduleInfo")
"""Datasets with an entry for each module."""


@dataclass(frozen=True)
class Assembly:
    """A detector whose pieces are put together, uncorrected: a value only, so that a plan can go to other ranks."""

    source: str


# ---- planning ------------------------------------------------------------------------------------------------------


class RawWholes:
    """The detectors in pieces that an aligned file has as one.

    Parameters
    ----------
    planner : Planner
    keys : sequence of (Key, TypeLayout)
        All that is selected.
    """

    def __init__(self, planner: Planner, keys: Sequence[tuple[Key, TypeLayout]]) -> None:
        self._planner = planner
        self.pieces: dict[Key, tuple[Key, ...]] = {}
        """The keys of the pieces by the key of each whole."""
        if not planner.options.aligned:
            return
        selected = {key for key, _ in keys}
        for name in planner.run.wholes:
            reader = planner.run.wholes.reader(name)
            pieces = tuple(reader.readers[0].key for reader in reader.pieces)
            if set(pieces) <= selected and len({key.xtc_type.name for key in pieces}) == 1:
                self.pieces[Key(pieces[0].xtc_type, reader.key.source)] = pieces

    @property
    def keys(self) -> list[Key]:
        """The keys of all pieces."""
        return [key for pieces in self.pieces.values() for key in pieces]

    def replaces(self, key: Key) -> bool:
        """Return whether a key is a piece of a whole."""
        return key in self.keys

    def rows(self) -> Iterator[tuple[Rows, TypeLayout, Corrected]]:
        """Give the rows of the tables of all of them."""
        for key, pieces in self.pieces.items():
            layout = type_layout(key.xtc_type.name)
            reader = self._planner.run.wholes.reader(key.source.name)
            assert layout is not None
            group = f"{layout.group}/{source_group(key.source)}"
            first = self._planner.columns(reader.pieces[0].readers[0].objects, layout, group, None)
            columns = tuple(
                replace(column, shape=(reader.modules, *column.shape[1:])) if column.name in _PLACED else column
                for column in first
            )
            rows = EveryEvent(whole_of(self._planner, key, pieces))
            yield rows, layout, Corrected(Assembly(key.source.name), layout, columns, None, "")


# ---- filling -------------------------------------------------------------------------------------------------------


class WholeBatch:
    """The objects of all pieces in the same events."""

    def __init__(self, pieces: Sequence[Batch]) -> None:
        self.pieces = tuple(pieces)

    def __len__(self) -> int:
        return len(self.pieces[0])

    def __getitem__(self, row: int) -> tuple[Record, ...]:
        """Return the objects of the pieces in one event, as the detector puts them together."""
        return tuple(piece[row] for piece in self.pieces)

    def take(self, rows: slice | Ints) -> WholeBatch:
        """Return some of the rows."""
        return WholeBatch([each.take(rows) for each in self.pieces])


def with_pieces(
    run: Run, rows: Rows, event: Ints, numbers: Ints, batches: list[tuple[Ints, Batch]]
) -> tuple[list[tuple[Ints, Any]], Ints]:
    """Read the other pieces of objects of which the first has been read.

    Parameters
    ----------
    run : Run
        Where they are read.
    rows : Rows
        Those of a table; of all others than detectors in pieces nothing is done.
    event, numbers : ndarray of int64
        Position and number in the run of each event of the batches.
    batches : list of (ndarray of int64, Batch)
        Places in `event`, and the first pieces.

    Returns
    -------
    batches : list of (ndarray of int64, WholeBatch)
    lost : ndarray of int64
        Places in `event` of those of which a piece is damaged, or of another frame.
    """
    whole = whole_rows(rows)
    lost = [np.zeros(0, np.int64)]
    if whole is None or not batches:
        return [*batches], lost[0]
    others = [piece.within(run.table, int(event[0]), int(event[-1]) + 1) for piece in whole.pieces[1:]]
    frames = run.wholes.reader(whole.key.source.name).frames
    found: list[tuple[Ints, Any]] = []
    for places, batch in batches:
        mine = [each.select(np.searchsorted(each.event, event[places])) for each in others]
        configs = np.stack([each.config for each in mine], axis=1)
        for config in np.unique(configs, axis=0):
            same = np.flatnonzero((configs == config).all(axis=1))
            layouts = [run.payloads.layout(each, int(number)) for each, number in zip(mine, config, strict=True)]
            good, blocks = _read(run, mine, layouts, same)
            parts = [
                layout.batch(block.buffer, block.starts, block.sizes)
                for layout, block in zip(layouts, blocks, strict=True)
            ]
            joined = WholeBatch([batch.take(good), *parts])
            counted = np.stack([piece.column("frameNumber") for piece in joined.pieces], axis=1)
            one = np.flatnonzero(frames.go_together(numbers[places[good]], counted))
            lost.append(np.setdiff1d(places[same], places[good[one]]))
            found.append((places[good[one]], joined if len(one) == len(good) else joined.take(one)))
    return found, np.sort(np.concatenate(lost))


def _read(
    run: Run, pieces: Sequence[Objects], layouts: Sequence[Layout], rows: Ints
) -> tuple[Ints, list[PayloadBlock]]:
    """Return which rows are sound in all pieces, and their payloads."""
    long = [each.size[rows] >= layout.needed for each, layout in zip(pieces, layouts, strict=True)]
    rows = rows[np.logical_and.reduce(long)]
    try:
        return rows, run.payloads.read_many([piece.select(rows) for piece in pieces])
    except PayloadError:
        rows = np.array([row for row in rows.tolist() if _readable(run, pieces, row)], np.int64)
        return rows, run.payloads.read_many([piece.select(rows) for piece in pieces])


def _readable(run: Run, pieces: Sequence[Objects], row: int) -> bool:
    try:
        for each in pieces:
            run.payloads.read(each, np.array([row]))
    except PayloadError:
        return False
    return True


class Assembler:
    """Makes the rows of a detector in pieces.

    Parameters
    ----------
    run : Run
    assembly : Assembly
    """

    def __init__(self, run: Run, assembly: Assembly) -> None:
        self._reader: WholeReader = run.wholes.reader(assembly.source)

    def rows(self, column: Column, batch: WholeBatch, events: Ints) -> Array:
        """Return the rows of a column for some events, see `Corrector.rows`."""
        encoder = Encoder()
        if column.name not in _PLACED:
            return encoder.rows(column, batch.pieces[0])
        result = np.zeros((len(batch), *column.shape), column.base.dtype)
        for piece, part in zip(self._reader.pieces, batch.pieces, strict=True):
            mine = replace(column, shape=(piece.modules, *column.shape[1:]))
            result[:, piece.first : piece.first + piece.modules] = encoder.rows(mine, part)
        return result


class Makers:
    """What makes rows that are not what payloads have, each made when it is first needed.

    Parameters
    ----------
    run : Run
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._known: dict[Correction | Assembly, Corrector | Assembler] = {}

    def rows_of(self, correction: Correction | Assembly) -> Callable[[Column, Any, Ints], Array | None]:
        """Return what makes the rows of a table."""
        with self._lock:
            if correction not in self._known:
                kind: Any = Assembler if isinstance(correction, Assembly) else Corrector
                self._known[correction] = kind(self._run, correction)
            return self._known[correction].rows
