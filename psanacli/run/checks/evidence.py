"""What checks look at, and what they find."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from psanacli.run.run import Run
from psanacli.run.tables import Action, times_of
from psanacli.xtc import XTC, FileTable, Transition, fiducials, service, vector, walk_file

Ints = NDArray[np.int64]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be.

    Attributes
    ----------
    found, expected : str
        In words.
    path : Path or None
        The file, if it concerns one.
    offset : int or None
        Where in the file, in bytes.
    event : int or None
        Number of the event.
    time : numpy.datetime64[ns] or None
        Clock of the datagram.
    count : int
        How many datagrams one after the other, triggers, or contributions it stands for.
    """

    found: str
    expected: str = ""
    path: Path | None = None
    offset: int | None = None
    event: int | None = None
    time: np.datetime64 | None = None
    count: int = 1

    def __str__(self) -> str:
        place = "" if self.path is None else f"{self.path}: "
        if self.offset is not None:
            place = f"{self.path} at offset {self.offset}: "
        event = "" if self.event is None else f"event {self.event}: "
        expected = f"; expected {self.expected}" if self.expected else ""
        return f"{place}{event}{self.found}{expected}"


@dataclass(frozen=True)
class Check:
    """One kind of irregularity, and the function that finds it.

    Attributes
    ----------
    name : str
        What `--only` and `--skip` take.
    sentence : str
        What it finds.
    find : callable
        From the `Evidence` of a run to its findings, in the order of the files.
    reads : bool
        Whether it reads payloads; all others look at tables only.
    """

    name: str
    sentence: str
    find: Callable[[Evidence], Iterator[Finding]]
    reads: bool = False


class StreamRows(NamedTuple):
    """The rows of one stream, in the order of its files."""

    number: int
    control: bool
    first: int
    stop: int

    @property
    def rows(self) -> slice:
        """The rows of the datagram table."""
        return slice(self.first, self.stop)


class Evidence:
    """The tables of a run, in the form in which checks want them; what several need is computed once.

    Attributes
    ----------
    run : Run
    table : RunTable
    datagrams : ndarray of `DATAGRAM`
        All datagrams, stream by stream, as they stand in the files.
    most_bytes : int or None
        Payloads of one kind that are more than this are not read whole.
    notes : list of str
        What has not been looked at for that reason.
    """

    def __init__(self, run: Run, most_bytes: int | None = None) -> None:
        self.run = run
        self.most_bytes = most_bytes
        self.notes: list[str] = []
        self.table = run.table
        self.datagrams = run.table.datagrams
        self._tables: dict[Path, FileTable] = {}
        self._known: dict[Callable[[Evidence], Any], Any] = {}

    def once(self, compute: Callable[[Evidence], T]) -> T:
        """Return `compute(self)`, computed when first asked for."""
        if compute not in self._known:
            self._known[compute] = compute(self)
        value: T = self._known[compute]
        return value

    def table_of(self, path: Path) -> FileTable:
        """Return the table of another file, such as one of small data, walked when first asked for."""
        if path not in self._tables:
            self._tables[path] = walk_file(path)
        return self._tables[path]

    def rows_of_file(self, number: int) -> Ints:
        """Return the rows of one file of the run, in its order."""
        return np.flatnonzero(self.datagrams["file"] == number)

    @cached_property
    def service(self) -> NDArray[np.uint32]:
        """Transition number of each row."""
        return service(self.datagrams)

    @cached_property
    def accepts(self) -> NDArray[np.bool_]:
        """Which rows are events."""
        accepts: NDArray[np.bool_] = self.service == Transition.L1Accept
        return accepts

    @cached_property
    def clock(self) -> Ints:
        """Clock of each row in ns."""
        return times_of(self.datagrams).astype(np.int64)

    @cached_property
    def fiducials(self) -> Ints:
        """Fiducials of each row."""
        return fiducials(self.datagrams).astype(np.int64)

    @cached_property
    def vector(self) -> Ints:
        """Vector of each row."""
        return vector(self.datagrams).astype(np.int64)

    @cached_property
    def stream_of_row(self) -> Ints:
        """Number of the stream of each row."""
        return np.repeat(self.table.streams, np.diff(self.table.first_rows))

    @cached_property
    def group_of_member(self) -> Ints:
        """Number of the group of each member."""
        return np.repeat(np.arange(len(self.table.groups)), self.table.groups["count"])

    @cached_property
    def control(self) -> NDArray[np.bool_]:
        """Which rows are of control streams."""
        control: NDArray[np.bool_] = self.stream_of_row >= self.table.rules.first_control_stream
        return control

    @cached_property
    def streams(self) -> tuple[StreamRows, ...]:
        """The streams that have datagrams."""
        numbers = self.stream_of_row
        found = []
        for number in self.table.streams.tolist():
            first, stop = np.searchsorted(numbers, [number, number + 1]).tolist()
            if stop > first:
                found.append(StreamRows(number, number >= self.table.rules.first_control_stream, first, stop))
        return tuple(found)

    @cached_property
    def group_of_row(self) -> Ints:
        """Number of the group of each row, -1 for what event building left out."""
        groups = np.full(len(self.datagrams), -1, np.int64)
        groups[self.table.members] = self.group_of_member
        return groups

    @cached_property
    def event_of_row(self) -> Ints:
        """Number of the event of each row, -1 when it belongs to none."""
        groups = self.table.groups
        numbers = np.where(groups["action"] == Action.EVENT, groups["event"], -1) if len(groups) else np.zeros(0, int)
        numbers = np.concatenate((numbers, [-1]))  # the last for group -1
        return np.asarray(numbers[self.group_of_row], np.int64)

    @cached_property
    def event_members(self) -> tuple[Ints, Ints]:
        """Rows of all datagrams of events and their groups, in the order of the events."""
        groups = self.group_of_member
        chosen = (self.table.groups["action"] == Action.EVENT)[groups]
        return self.table.members[chosen], groups[chosen]

    @cached_property
    def daq_member(self) -> Ints:
        """For each group the first of its rows that is of a DAQ stream, -1 when there is none."""
        first = np.full(len(self.table.groups), -1, np.int64)
        members = self.table.members
        chosen = np.flatnonzero(~self.control[members])[::-1]
        first[self.group_of_member[chosen]] = members[chosen]
        return first

    def bytes_of(self, row: int) -> memoryview:
        """Read a whole datagram."""
        datagram = self.datagrams[row : row + 1]
        sizes = datagram["extent"].astype(np.int64) + XTC.itemsize
        return self.run.payloads.files.read_block(datagram["file"], datagram["offset"].astype(np.int64), sizes)[0]

    def at(self, row: int, found: str, expected: str = "", *, inside: int = 0, count: int = 1) -> Finding:
        """Return what was found in the datagram of a row, `inside` bytes behind its start."""
        datagram = self.datagrams[row]
        event = int(self.event_of_row[row])
        return Finding(
            found,
            expected,
            self.table.files[int(datagram["file"])].path,
            int(datagram["offset"]) + inside,
            event if event >= 0 else None,
            np.datetime64(int(self.clock[row]), "ns"),
            count,
        )

    def name_of(self, row: int) -> str:
        """Return what the datagram of a row is: ``L1Accept``, ``Enable``."""
        return transition_name(int(self.service[row]))


def transition_name(number: int) -> str:
    """Return the name of a transition."""
    return Transition(number).name if number < len(Transition) else f"transition {number}"


def spelled(nanoseconds: int) -> str:
    """Return a difference of time for people.

    >>> spelled(1000), spelled(-50_000_000), spelled(2_500_000_000)
    ('1000 ns', '-50 ms', '2.5 s')
    """
    size = abs(nanoseconds)
    if size >= 1_000_000_000:
        return f"{nanoseconds / 1e9:.6g} s"
    return f"{nanoseconds / 1e6:.6g} ms" if size >= 1_000_000 else f"{nanoseconds} ns"
