"""What the two kinds of files that the facility keeps beside each big file have in common: indexes and small data.

Both are made from one table of the big file.  They have the datagrams which the facility's makers see: all that can be
delimited, also behind one with a transition number that does not exist.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError, NotFoundError, UsageError
from psanacli.xtc.catalogue import type_ids
from psanacli.xtc.headers import DATAGRAM, DATAGRAM_HEADER, XTC_HEADER
from psanacli.xtc.smalldata import IN_PROGRESS, SMALL_SUFFIX, TYPE_SMALL_CONFIG, TYPE_SMALL_ORIGIN
from psanacli.xtc.walk import FileTable, Problem, ProblemKind, walk_file

Advance = Callable[[int], None]
"""Called now and then with the number of bytes of the big file that were dealt with since the last call."""

BLOCK = 1 << 14
"""Datagrams that are dealt with in one native call."""

_MOST_ODD = 1000
"""Transition numbers that do not exist; behind so many nothing is taken for a datagram any more."""


@dataclass(frozen=True)
class WrittenFile:
    """What came of a big file.

    Attributes
    ----------
    path : Path
        The file that was written.
    size : int
        Its size in bytes.
    events : int
        Events in it.
    left_out : int
        Events that are not in it: those of unknown fiducial in an index, those without contents in small data.
    proxies : int
        Objects that stay in the big file, with a proxy in the small data.
    contradictions : int
        Containers of which not all could be understood; what follows there is not in the file.
    problems : tuple of Problem
        What contradicts the format in the big file.
    more_problems : int
        Number of those that are not listed.
    """

    path: Path
    size: int
    events: int
    left_out: int
    proxies: int
    contradictions: int
    problems: tuple[Problem, ...]
    more_problems: int

    @property
    def complete(self) -> bool:
        """Whether the whole big file was understood."""
        return not self.contradictions and not any(problem.kind.ends_file for problem in self.problems)


@dataclass(frozen=True, eq=False)
class BigFile:
    """The datagrams of a big file, and what is wrong with it.

    Attributes
    ----------
    path : Path
        The file.
    datagrams : ndarray of `DATAGRAM`
        In file order; the field ``pattern`` means nothing here.
    problems : tuple of Problem
        What contradicts the format.
    more_problems : int
        Number of those that are not listed.
    """

    path: Path
    datagrams: NDArray[Any]
    problems: tuple[Problem, ...]
    more_problems: int

    @classmethod
    def of(cls, path: Path, table: FileTable | None) -> BigFile:
        """Return the datagrams of a file, of which `table` is known already or not.

        Raises
        ------
        NotFoundError, DataError
            As `walk_file`.
        UsageError
            It is a small-data file.
        ValueError
            The table is that of another file.
        """
        if table is None:
            table = walk_file(path)
        elif table.path != path or (len(table.datagrams) and table.datagrams["offset"][0]):
            raise ValueError(f"the table of {table.path} is not one of the whole of {path}")
        else:
            _check_size(path, table)
        _refuse_small_data(path, table)
        rows, problems, more = [table.datagrams], list(table.problems), table.more_problems
        for _ in range(_MOST_ODD):
            if not table.problems or table.problems[-1].kind is not ProblemKind.BAD_TRANSITION:
                break
            row = _odd_datagram(path, table.end, table.size)
            if row is None:
                break
            table = walk_file(path, start=int(row["offset"][0]) + XTC_HEADER + int(row["extent"][0]))
            rows += [row, table.datagrams]
            problems += table.problems
            more += table.more_problems
        return cls(path, np.concatenate(rows), tuple(problems), more)


def _check_size(path: Path, table: FileTable) -> None:
    """Look whether a file is still as long as its table says."""
    with open_big(path) as file:
        now = os.fstat(file.fileno()).st_size
    if now < table.end:
        raise DataError(f"{path}: {now} bytes, but there were {table.end} when it was walked")


def open_big(path: Path) -> FileIO:
    """Open a big file, to be read by its descriptor.

    Raises
    ------
    NotFoundError
        It is no longer there.
    DataError
        It cannot be opened.
    """
    try:
        return FileIO(path)
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be opened: {error.strerror}") from error


def _refuse_small_data(path: Path, table: FileTable) -> None:
    begin = table.patterns[int(table.datagrams["pattern"][0])][:1] if len(table.datagrams) else None
    first = int(table.keys["type"][begin["key"][0]]) & 0xFFFF if begin is not None and len(begin) else 0
    named = path.name.removesuffix(IN_PROGRESS).endswith(SMALL_SUFFIX)
    if named or first in (TYPE_SMALL_CONFIG, TYPE_SMALL_ORIGIN):
        hint = "indexes and small data are made of the big files, in the directory above it"
        raise UsageError(f"{path} is small data itself", hint)


def _odd_datagram(path: Path, offset: int, size: int) -> NDArray[Any] | None:
    """Return the row of a datagram whose transition number does not exist; None when it does not fit into the file."""
    with open_big(path) as file:
        words = np.frombuffer(os.pread(file.fileno(), DATAGRAM_HEADER, offset), "<u4")
    if len(words) < DATAGRAM_HEADER // 4 or words[9] < XTC_HEADER or offset + XTC_HEADER + int(words[9]) > size:
        return None
    row = np.zeros(1, DATAGRAM)
    names = ("nanoseconds", "seconds", "stamp_low", "stamp_high", "env", "damage")
    for name, word in zip(names, words, strict=False):
        row[name] = word
    row["offset"], row["extent"] = offset, words[9]
    return row


def type_limit() -> int:
    """Return the number below which type numbers exist."""
    return max(type_ids()) + 1


def unreadable(path: Path, offset: int, error: int) -> DataError:
    """Return the error for a datagram that was there when the file was walked."""
    reason = os.strerror(error) if error else "the file has become shorter"
    return DataError(f"{path}: the datagram at offset {offset} cannot be read: {reason}")


def blocks(count: int) -> Iterator[slice]:
    """Return the slices of `count` datagrams that are dealt with at once."""
    return (slice(first, min(first + BLOCK, count)) for first in range(0, count, BLOCK))
