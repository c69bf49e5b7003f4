"""What a plan consists of: tables of rows, their datasets, and the blocks of events by which they are filled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from psanacli.hdf5.compression import Compression
from psanacli.hdf5.forms import Form
from psanacli.hdf5.names import time_rows
from psanacli.hdf5.rows import Chosen, Rows
from psanacli.hdf5.values import Column
from psanacli.run import Objects, RunTable
from psanacli.xtc import Record

if TYPE_CHECKING:
    from psanacli.hdf5.assembled import Assembly
    from psanacli.hdf5.calibrated import Correction

Ints = NDArray[np.int64]
Attributes = Iterable[tuple[str, Any]]

BLOCK_BYTES = 24 << 20
"""Payloads in a block, about: small enough for a few blocks in memory, large enough that Python does not show."""
CHUNK_BYTES = 256 << 10
"""Chunks of small rows have about this size; a row of half of it or more is a chunk of its own."""
RESERVED_BYTES = 64 << 10
"""Rows of this size have their places in an uncompressed file before they are written."""
STAMP_ROWS = 1 << 14
"""Most rows in a chunk of ``time``, ``_damage`` and ``_mask``, which no payload is read for: it may span blocks."""
FEW_ROWS = 1 << 11
"""Most rows in a chunk of EPICS records, and of rows of variable length."""
MOST_EVENTS = 1 << 13
"""Most events in a block."""
LONG_RUN = 1 << 19
"""Events beyond which blocks are halved, and again with twice as many: the tables of the run take the memory."""


@dataclass(frozen=True)
class Dataset:
    """One dataset in event form: one-dimensional, chunked, as long as it will be.

    Attributes
    ----------
    path : str
    form : Form
        Type of a row.
    rows, chunk : int
        Number of rows, in all and in a chunk.
    item : int
        Bytes of an element for the shuffle filter: a pixel, not an image.
    """

    path: str
    form: Form
    rows: int
    chunk: int
    item: int

    @property
    def bytes(self) -> int:
        """Size without compression; of rows of variable length only their fixed part."""
        return self.rows * int(self.form.dtype.itemsize)


@dataclass(frozen=True, eq=False)
class Table:
    """The rows of one source group (or of one PV).

    Attributes
    ----------
    group : str
        Path of the group.
    rows : Rows
        Where its rows are; one that is not ``stored`` is blank.
    first_block : int
        Number of the first block that can have rows.
    bounds : ndarray of int64
        Rows before each block from that on; the last is the number of all rows.
    columns : tuple of Column
        The datasets of the type; none if all rows are blank.
    numbers : tuple of int
        Number in the plan of each dataset: of the columns, then of the extra ones.
    extras : tuple of str
        Names of datasets that need no payload: ``time``, ``_damage``, ``_mask``.
    nan : bool
        Blank rows of floating-point numbers are NaN instead of 0.
    config : Record or None
        Configuration object to decode all rows with, in place of those in the timeline.
    correction : Correction, Assembly or None
        Of images that are corrected before they are written, or put together of pieces.
    """

    group: str
    rows: Rows
    first_block: int
    bounds: Ints
    columns: tuple[Column, ...]
    numbers: tuple[int, ...]
    extras: tuple[str, ...] = ("time", "_damage", "_mask")
    nan: bool = False
    config: Record | None = None
    correction: Correction | Assembly | None = None

    def as_stored(self, column: Column) -> bool:
        """Whether rows of a column may be what payloads have: nothing is corrected, and blank rows are zeros."""
        return self.correction is None and not (self.nan and column.base.dtype.kind == "f")

    def rows_before(self, block: int) -> int:
        """Return the number of rows before a block."""
        return int(self.bounds[min(max(block - self.first_block, 0), len(self.bounds) - 1)])

    def blocks_of(self, first: int, stop: int) -> tuple[int, int]:
        """Return the range of blocks that have the rows `first` to `stop`, of which there is one at least."""
        low = int(np.searchsorted(self.bounds, first, side="right")) - 1
        high = int(np.searchsorted(self.bounds, stop))
        return self.first_block + low, self.first_block + high


@dataclass(frozen=True, eq=False)
class Block:
    """Consecutive events, the unit of work.

    Attributes
    ----------
    number : int
    first, stop : int
        Range of positions in the list of events of the plan.
    tables : tuple of int
        Numbers of the tables with rows in it.
    bytes : int
        Payloads in it.
    """

    number: int
    first: int
    stop: int
    tables: tuple[int, ...]
    bytes: int


@dataclass(frozen=True, eq=False)
class Value:
    """An object that is stored once: rows of its datasets, encoded; the original never compresses them."""

    group: str
    datasets: tuple[tuple[str, Form, tuple[int, ...] | None, NDArray[Any]], ...]
    """Name, form, dimensions (None for a scalar), and the memory image."""
    heap: NDArray[np.uint8]
    packed: bool = False
    """Compressed, an image a chunk: large arrays of which the original has none."""


@dataclass(eq=False)
class Plan:
    """Everything about an output file before its first byte is written.

    Attributes
    ----------
    attributes : dict
        Of the file.
    groups : dict of str to dict
        Attributes of groups by path; groups above them need not be there.
    values : list of Value
        What is stored once.
    tables : list of Table
    datasets : list of Dataset
        All in event form.
    links : list of (str, str)
        Soft links: path, and where it leads (relative).
    external : list of (str, str, str)
        External links: path, file, path in it.
    chosen : Chosen
        The events that are translated.
    configure : ndarray of TIME or None
        The time of the Configure transition, whose position is behind all events.
    blocks : list of Block
    notes : list of str
        What the user should know.
    damage : dict
        Number of damaged or missing contributions by group.
    """

    attributes: dict[str, Any]
    compression: Compression
    chosen: Chosen
    configure: NDArray[Any] | None = None
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    values: list[Value] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    datasets: list[Dataset] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)
    external: list[tuple[str, str, str]] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    damage: dict[str, int] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Number of events, Configure excepted."""
        return self.chosen.count

    def rows(self, run: RunTable, table: Table, first: int, stop: int) -> Objects:
        """Return some rows of a table, ``event`` being a position in the list of events."""
        low, high = table.blocks_of(first, stop)
        objects = table.rows.within(run, self.blocks[low].first, self.blocks[high - 1].stop)
        begin = table.rows_before(low)
        if (begin, len(objects)) == (first, stop - first):
            return objects
        return objects.select(slice(first - begin, stop - begin))

    def stamps(self, run: RunTable, positions: NDArray[np.integer]) -> NDArray[Any]:
        """Return the rows of ``time`` of events."""
        if self.configure is not None and len(positions) and positions[-1] >= self.count:
            return self.configure  # in a block of its own
        return time_rows(run.events[self.chosen.at(positions)])

    @property
    def bytes(self) -> int:
        """Size of all datasets in event form without compression."""
        return sum(dataset.bytes for dataset in self.datasets)

    def direct(self, dataset: Dataset) -> bool:
        """Whether workers make the chunks of a dataset as they stand in the file."""
        return self.compression.outside and not dataset.form.pointers

    def reserved(self, dataset: Dataset) -> bool:
        """Whether the rows of a dataset have their places from the beginning (see `psanacli.hdf5.reserved`)."""
        return self._large(dataset) and self.compression.name == "none"

    @property
    def reserves(self) -> bool:
        """Whether there are such datasets."""
        return any(self.reserved(dataset) for dataset in self.datasets)

    def straight(self, dataset: Dataset) -> bool:
        """Whether the rows of a dataset, each a chunk, may be compressed straight from the files of the run."""
        return self._large(dataset) and self.compression.planes(dataset.form.dtype.itemsize, dataset.item)

    def passing(self, dataset: Dataset) -> bool:
        """Whether the rows of a dataset go from file to file, and need not be read by anybody."""
        return self.reserved(dataset) or self.straight(dataset)

    def _large(self, dataset: Dataset) -> bool:
        large = dataset.chunk == 1 and dataset.form.dtype.itemsize >= RESERVED_BYTES
        return large and not dataset.form.pointers

    def overview(self) -> list[tuple[str, int, int, tuple[int, ...], int]]:
        """Return for each group with event data: datasets, rows, shape of the largest, bytes without compression."""
        found: dict[str, list[Dataset]] = {}
        for dataset in self.datasets:
            found.setdefault(dataset.path.rpartition("/")[0], []).append(dataset)
        lines = []
        for group, datasets in found.items():
            largest = max(datasets, key=lambda dataset: dataset.bytes)
            size = sum(dataset.bytes for dataset in datasets)
            lines.append((group, len(datasets), largest.rows, (largest.rows, *largest.form.shape), size))
        return lines

    def asdict(self) -> dict[str, Any]:
        """Return what would come out as plain values."""
        return {
            "events": self.count,
            "blocks": len(self.blocks),
            "bytes": self.bytes,
            "compression": str(self.compression),
            "datasets": [
                {
                    "path": each.path,
                    "rows": each.rows,
                    "shape": [each.rows, *each.form.shape],
                    "chunk": each.chunk,
                    "bytes": each.bytes,
                }
                for each in self.datasets
            ],
            "stored_once": [f"{value.group}/{name}" for value in self.values for name, *_ in value.datasets],
            "links": [path for path, _ in self.links],
            "calib": self.provenance.get("calib", []),
            "notes": self.notes,
        }

    def group(self, path: str, attributes: Attributes = ()) -> None:
        """Add a group, or attributes to it."""
        self.groups.setdefault(path, {}).update(attributes)

    def add(self, dataset: Dataset) -> int:
        """Add a dataset; return its number."""
        self.datasets.append(dataset)
        return len(self.datasets) - 1


def chunk_rows(row_bytes: int, rows: int, span: int) -> int:
    """Return the rows of a chunk: a power of two, so that chunks end where blocks do, or all rows.

    Parameters
    ----------
    row_bytes, rows : int
        Size of a row, and their number.
    span : int
        Most rows that a chunk may have.
    """
    wanted = max(1, min(CHUNK_BYTES // max(row_bytes, 1), span))
    return max(1, min(1 << wanted.bit_length() - 1, rows))


def cut_blocks(
    steps: Sequence[tuple[int, int]],
    size: Callable[[int, int], int],
    sizes: Callable[[int, int], Ints],
    halvings: int = 0,
) -> list[list[tuple[int, int, int]]]:
    """Cut steps into blocks of about `BLOCK_BYTES`: powers of two of events, counted from the begin of their step.

    Parameters
    ----------
    steps : sequence of (int, int)
        First event and stop of each step.
    size : callable
        Gives the bytes of payload of a step.
    sizes : callable
        Gives those of each event of a range.
    halvings : int
        See `halvings`.

    Returns
    -------
    list of list of (int, int, int)
        For each step the first event, stop and bytes of its blocks.
    """
    found: list[list[tuple[int, int, int]]] = []

    def cut(first: int, stop: int, width: int, sums: Ints, base: int) -> None:
        for at in range(first, stop, width):
            end = min(at + width, stop)
            inside = int(sums[end - base] - sums[at - base])
            if inside > 2 * (BLOCK_BYTES >> halvings) and width > 1:
                cut(at, end, width // 2, sums, base)
            else:
                found[-1].append((at, end, inside))

    for first, stop in steps:
        found.append([])
        width = block_events(stop - first, size(first, stop), halvings)
        for at in range(first, stop, width):
            end = min(at + width, stop)
            cut(at, end, width, np.concatenate(([0], np.cumsum(sizes(at, end)))), at)
    return found


def halvings(events: int) -> int:
    """Return how often blocks are halved in a run of so many events: not, or once or twice in long ones."""
    return min(2, max(0, (events - 1) // LONG_RUN).bit_length())


def block_events(events: int, size: int, halvings: int = 0) -> int:
    """Return the number of events in a block of a step: a power of two."""
    wanted = max(1, min(MOST_EVENTS, BLOCK_BYTES * max(events, 1) // max(size, 1)) >> halvings)
    return 1 << wanted.bit_length() - 1
