"""The headers of all files of a run as one table: rows of all datagrams, patterns and keys numbered for the run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli import large
from psanacli.xtc import CONTRIBUTION, DATAGRAM, KEY, FileTable, Patterns, Problem, walk_file

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class FileProblems:
    """What in one file contradicts the format: a list of at most about 100, and the number of those not listed."""

    listed: tuple[Problem, ...] = ()
    more: int = 0


@dataclass(frozen=True, eq=False)
class RunHeaders:
    """All that the headers of some files say, file after file.

    Attributes
    ----------
    datagrams : ndarray of `DATAGRAM`
        ``file`` is the number of the file, ``pattern`` an index into the patterns of all files.
    start : ndarray of int64
        Pattern ``p`` has the contributions ``start[p]:start[p + 1]``.
    contributions, keys : ndarray of `CONTRIBUTION`, `KEY`
        Of all files together; a key that several files have is there once.
    rows, patterns : ndarray of int64, shape (files + 1,)
        File ``i`` has the datagrams ``rows[i]:rows[i + 1]`` and the patterns ``patterns[i]:patterns[i + 1]``.
    sizes, ends : tuple of int
        Bytes of each file, and the offset after its last whole datagram.
    problems : tuple of FileProblems
        File by file.
    """

    datagrams: NDArray[Any]
    start: Ints
    contributions: NDArray[Any]
    keys: NDArray[Any]
    rows: Ints
    patterns: Ints
    sizes: tuple[int, ...]
    ends: tuple[int, ...]
    problems: tuple[FileProblems, ...]

    @classmethod
    def of(cls, tables: Sequence[FileTable]) -> RunHeaders:
        """Join the tables of files."""
        datagrams = _joined([table.datagrams for table in tables])
        numbers: dict[tuple[int, int, int], int] = {}
        starts: list[Ints] = [np.zeros(1, np.int64)]
        parts: list[NDArray[Any]] = []
        rows, patterns = [0], [0]
        contributions = 0
        for file, table in enumerate(tables):
            part = datagrams[rows[-1] : rows[-1] + len(table.datagrams)]
            if file:
                part["file"] = file
                part["pattern"] += np.uint32(patterns[-1])
            rows.append(rows[-1] + len(part))
            patterns.append(patterns[-1] + len(table.patterns))
            starts.append(table.patterns.start[1:] + contributions)
            contributions += len(table.patterns.contributions)
            known = [numbers.setdefault(key, len(numbers)) for key in table.keys.tolist()]
            copy = table.patterns.contributions.copy()
            if known:
                copy["key"] = np.array(known, np.uint32)[copy["key"]]
            parts.append(copy)
        return cls(
            datagrams,
            np.concatenate(starts),
            np.concatenate(parts) if parts else np.zeros(0, CONTRIBUTION),
            np.array(list(numbers), KEY),
            np.array(rows, np.int64),
            np.array(patterns, np.int64),
            tuple(table.size for table in tables),
            tuple(table.end for table in tables),
            tuple(FileProblems(tuple(table.problems), table.more_problems) for table in tables),
        )

    def __len__(self) -> int:
        return len(self.sizes)

    def table(self, file: int, path: Path) -> FileTable:
        """Return the table of one file as a walk gives it; `path` is where it is."""
        # As bytes: a copy of a structured array leaves what is between its fields to chance.
        rows = self.datagrams[self.rows[file] : self.rows[file + 1]]
        datagrams = large.empty(len(rows), DATAGRAM)
        datagrams.view(np.uint8)[:] = rows.view(np.uint8)
        first, last = int(self.patterns[file]), int(self.patterns[file + 1])
        datagrams["file"] = 0
        datagrams["pattern"] -= np.uint32(first)
        start = self.start[first : last + 1]
        contributions = self.contributions[start[0] : start[-1]].copy()
        # A walk numbers keys as it meets them.
        used, place, number = np.unique(contributions["key"], return_index=True, return_inverse=True)
        order = np.argsort(place)
        rank = np.empty(len(order), np.uint32)
        rank[order] = np.arange(len(order))
        contributions["key"] = rank[number]
        problems = self.problems[file]
        return FileTable(
            path,
            datagrams,
            Patterns(start - start[0], contributions),
            self.keys[used[order]],
            self.ends[file],
            self.sizes[file],
            list(problems.listed),
            problems.more,
        )


def walk_files(paths: Sequence[Path]) -> list[FileTable]:
    """Walk files in parallel; the native walk works without the interpreter."""
    if len(paths) < 2:
        return [walk_file(path) for path in paths]
    with ThreadPoolExecutor(min(len(paths), os.cpu_count() or 1)) as pool:
        return list(pool.map(walk_file, paths))


def _joined(tables: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Join datagram tables as the bytes they are, which is much faster than field by field."""
    if len(tables) == 1:
        return tables[0]
    joined = large.empty(sum(map(len, tables)), DATAGRAM)
    row = 0
    for table in tables:
        joined[row : row + len(table)].view(np.uint8)[:] = np.ascontiguousarray(table).view(np.uint8)
        row += len(table)
    return joined


__all__ = ["FileProblems", "RunHeaders", "walk_files"]
