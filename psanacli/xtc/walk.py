"""Walking: from the bytes of a file to its table of datagrams, or to the tree of one datagram.

`walk_file` reads the headers of a whole file natively, in one pass, and gives a `FileTable`.  What contradicts the
format becomes a `Problem`, never an exception: all whole datagrams before it are in the table.
"""

from __future__ import annotations

import enum
import os
import stat
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError, NotFoundError
from psanacli.large import Rows
from psanacli.xtc import _walk
from psanacli.xtc.headers import (
    CONTRIBUTION,
    DATAGRAM,
    DATAGRAM_HEADER,
    KEY,
    TYPE_XTC,
    XTC_HEADER,
    Buffer,
    DatagramFlag,
)

_DTYPES = (DATAGRAM, CONTRIBUTION, KEY)
_XTC = struct.Struct("<5I")
_WHOLE_FILE = 1 << 16


class ProblemKind(enum.Enum):
    """What contradicts the format.  The first five end the walk of a file, the others concern one datagram."""

    TRUNCATED_HEADER = 1 << 16
    TRUNCATED_DATAGRAM = 2 << 16
    BAD_EXTENT = 3 << 16
    BAD_TRANSITION = 4 << 16
    UNREADABLE = 5 << 16
    EMPTY_CHILD = DatagramFlag.EMPTY_CHILD.value
    SMALL_CHILD = DatagramFlag.SMALL_CHILD.value
    LARGE_CHILD = DatagramFlag.LARGE_CHILD.value
    LOOSE_BYTES = DatagramFlag.LOOSE_BYTES.value
    NOT_A_CONTAINER = DatagramFlag.NOT_A_CONTAINER.value
    BAD_PROXY = DatagramFlag.BAD_PROXY.value

    @property
    def ends_file(self) -> bool:
        """Whether nothing after it can be read."""
        return self.value >= _WHOLE_FILE


@dataclass(frozen=True)
class Problem:
    """One contradiction to the format.

    Attributes
    ----------
    offset : int
        Where in the file, in bytes: the header that is wrong, or of which something is wrong.
    kind : ProblemKind
        What is wrong.
    message : str
        The same in words, with what was found and what was expected; the name of the file is not in it.
    """

    offset: int
    kind: ProblemKind
    message: str

    def __str__(self) -> str:
        return f"at offset {self.offset}: {self.message}"


@dataclass(frozen=True, eq=False)
class Patterns:
    """What datagrams contain, once for each different content.

    Attributes
    ----------
    start : ndarray of int64, shape (number of patterns + 1,)
        Pattern ``p`` has the contributions ``start[p]:start[p + 1]``.
    contributions : ndarray of `CONTRIBUTION`
        In the order of the file, without containers (unless they were not entered).
    """

    start: NDArray[np.int64]
    contributions: NDArray[Any]

    def __len__(self) -> int:
        return len(self.start) - 1

    def __getitem__(self, pattern: int) -> NDArray[Any]:
        """Return the contributions of one pattern, a view."""
        if not 0 <= pattern < len(self):
            raise IndexError(f"no pattern {pattern} of {len(self)}")
        return self.contributions[self.start[pattern] : self.start[pattern + 1]]


@dataclass(frozen=True, eq=False)
class FileTable:
    """All that the headers of one file say.

    Attributes
    ----------
    path : Path or None
        The file; None for a buffer.
    datagrams : ndarray of `DATAGRAM`
        One row a datagram, in file order.
    patterns : Patterns
        What the datagrams contain; the field ``pattern`` of a row is an index into it.
    keys : ndarray of `KEY`
        Sources and types; the field ``key`` of a contribution is an index into it.
    end : int
        Offset after the last whole datagram.
    size : int
        Size of the file in bytes.
    problems : list of Problem
        What contradicts the format; at most about 100.
    more_problems : int
        Number of those that are not listed.
    """

    path: Path | None
    datagrams: NDArray[Any]
    patterns: Patterns
    keys: NDArray[Any]
    end: int
    size: int
    problems: list[Problem]
    more_problems: int = 0

    def grown(self) -> FileTable:
        """Return the table of the file as it is now: equal to that of a new walk, but only what is new is read.

        The file has to begin with what was walked: nothing before `end` is looked at.

        Raises
        ------
        NotFoundError, DataError
            As `walk_file`.
        """
        if self.path is None:
            raise ValueError("a buffer does not grow")
        # What ended the walk is met again, if it is still there.
        problems = [problem for problem in self.problems if not problem.kind.ends_file]
        known = self.keys, self.patterns.contributions, self.patterns.start, len(problems)
        rows = Rows(DATAGRAM)
        rows.add(self.datagrams)
        rest = _walk_path(self.path, self.end, None, known, rows)
        more = self.more_problems + rest.more_problems
        return replace(rest, problems=problems + rest.problems, more_problems=more)


def walk_file(path: str | os.PathLike[str], *, start: int = 0, stop: int | None = None) -> FileTable:
    """Read the headers of an XTC file.

    Parameters
    ----------
    path : path
        The file.
    start : int
        Offset of the first datagram; what is found there has to be one.
    stop : int, optional
        Only datagrams that begin before this offset are listed; default is the end of the file.

    Returns
    -------
    FileTable
        The table of datagrams, with problems where the file contradicts the format.

    Raises
    ------
    NotFoundError
        There is no such file.
    DataError
        It cannot be opened, or is not a regular file.
    """
    if start < 0 or (stop is not None and stop < start):
        raise ValueError(f"no piece of a file from {start} to {stop}")
    return _walk_path(Path(path), start, stop, None, Rows(DATAGRAM))


def _walk_path(path: Path, start: int, stop: int | None, known: Any, rows: Rows) -> FileTable:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be opened: {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{path}: not a regular file")
        size = status.st_size
        stop = size if stop is None else min(stop, size)
        found = _walk.walk_descriptor(descriptor, min(start, size), stop, size, _DTYPES, rows, known)
    finally:
        os.close(descriptor)
    return _table(path, size, rows.array(), *found)


def walk_buffer(buffer: Buffer) -> FileTable:
    """Read the headers of the datagrams in a buffer of bytes; see `walk_file`."""
    view = memoryview(buffer).cast("B")
    rows = Rows(DATAGRAM)
    found = _walk.walk_memory(view, _DTYPES, rows)
    return _table(None, len(view), rows.array(), *found)


def _table(
    path: Path | None,
    size: int,
    datagrams: NDArray[Any],
    start: NDArray[np.int64],
    contributions: NDArray[Any],
    keys: NDArray[Any],
    end: int,
    troubles: NDArray[Any],
    trouble_count: int,
) -> FileTable:
    problems = [_problem(*(int(value) for value in trouble)) for trouble in troubles.tolist()]
    patterns = Patterns(start, contributions[: start[-1]])
    return FileTable(path, datagrams, patterns, keys, end, size, problems, trouble_count - len(problems))


def _problem(offset: int, datagram: int, found: int, limit: int, number: int) -> Problem:
    kind = ProblemKind(number)
    match kind:
        case ProblemKind.TRUNCATED_HEADER:
            text = f"the file ends {found} bytes into a datagram header of {limit} bytes"
        case ProblemKind.TRUNCATED_DATAGRAM:
            text = f"a datagram says it is {found} bytes long, but the file ends after {limit}"
        case ProblemKind.BAD_EXTENT:
            text = f"the extent of a datagram is {found}, less than its own header of {limit} bytes"
        case ProblemKind.BAD_TRANSITION:
            text = f"a datagram has the transition number {found}, but {limit} is the last: this is no datagram header"
        case ProblemKind.UNREADABLE:
            reason = os.strerror(found) if found else f"the file had {limit} bytes when it was opened"
            text = f"cannot be read: {reason}"
        case ProblemKind.NOT_A_CONTAINER:
            text = f"a datagram has the type word {found:#010x}, which is not a container"
        case ProblemKind.BAD_PROXY:
            text = f"a proxy of {found} bytes stands for nothing that can be; in the datagram at {datagram}"
        case ProblemKind.LOOSE_BYTES:
            text = f"{limit} bytes at the end of a container are no header; in the datagram at {datagram}"
        case ProblemKind.LARGE_CHILD:
            text = (
                f"extent {found} reaches beyond its parent, {limit} bytes are left there; in the datagram at {datagram}"
            )
        case _:
            text = f"extent {found} is less than a header of {XTC_HEADER} bytes; in the datagram at {datagram}"
    return Problem(offset, kind, text)


class Node(NamedTuple):
    """A container or contribution of one datagram.

    `depth` is 0 directly in the datagram; `offset` counts from the start of the buffer; `extent` includes the header.
    Where `fits` is false the header contradicts its parent, and nothing more of that parent is listed.
    """

    depth: int
    offset: int
    damage: int
    log: int
    phy: int
    type: int
    extent: int
    fits: bool = True


def walk_tree(buffer: Buffer, offset: int = 0) -> list[Node]:
    """List every container and contribution of one datagram, in file order.

    All containers are entered, also those with the damage IncompleteContribution.

    Parameters
    ----------
    buffer : bytes-like
        Holds the whole datagram.
    offset : int
        Where the datagram begins.

    Raises
    ------
    DataError
        The buffer is too short for the datagram, or its extent for a header.
    """
    view = memoryview(buffer).cast("B")
    if offset < 0 or len(view) - offset < DATAGRAM_HEADER:
        raise DataError(f"no datagram header at {offset} of {len(view)} bytes")
    extent = int.from_bytes(view[offset + 36 : offset + 40], "little")
    end = offset + XTC_HEADER + extent
    if extent < XTC_HEADER or end > len(view):
        raise DataError(f"a datagram at {offset} of {len(view)} bytes has the extent {extent}")
    nodes: list[Node] = []
    ends = [end]
    at = offset + DATAGRAM_HEADER
    while ends:
        rest = ends[-1] - at
        if rest < XTC_HEADER:
            at = ends.pop()
            continue
        damage, log, phy, kind, extent = _XTC.unpack_from(view, at)
        fits = XTC_HEADER <= extent <= rest
        nodes.append(Node(len(ends) - 1, at, damage, log, phy, kind, extent, fits))
        if not fits:
            at = ends.pop()
        elif kind & 0xFFFF == TYPE_XTC:
            ends.append(at + extent)
            at += XTC_HEADER
        else:
            at += extent
    return nodes
