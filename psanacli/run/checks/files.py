"""Checks of the files: what is missing, what ends early, what contradicts the format."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from psanacli.run.checks.evidence import Evidence, Finding
from psanacli.run.files import as_ranges, missing_chunks
from psanacli.run.runtable import FileProblem
from psanacli.xtc import DatagramFlag, ProblemKind

_CUT = (ProblemKind.TRUNCATED_HEADER, ProblemKind.TRUNCATED_DATAGRAM)
_HEADERS = (ProblemKind.BAD_EXTENT, ProblemKind.BAD_TRANSITION, ProblemKind.UNREADABLE)


def empty(evidence: Evidence) -> Iterator[Finding]:
    """Files without a byte."""
    for file, size in zip(evidence.table.files, evidence.table.sizes, strict=True):
        if not size:
            yield Finding("the file is empty", "datagrams", file.path, 0)


def chunks(evidence: Evidence) -> Iterator[Finding]:
    """Chunks of a stream that are not there."""
    gaps: dict[int, list[int]] = {}
    for stream, chunk in missing_chunks(evidence.table.files):
        gaps.setdefault(stream, []).append(chunk)
    for stream, missing in gaps.items():
        first = next(file for file in evidence.table.files if file.stream == stream)
        several = len(missing) > 1
        what = f"chunk{'s' * several} {as_ranges(missing)} of stream {stream} {'are' if several else 'is'} not there"
        there = as_ranges(file.chunk for file in evidence.table.files if file.stream == stream)
        yield Finding(what, f"all chunks from 0; there are {there}", first.path, count=len(missing))


def truncated(evidence: Evidence) -> Iterator[Finding]:
    """Files that end before their last datagram does."""
    return _problems(evidence, _CUT)


def headers(evidence: Evidence) -> Iterator[Finding]:
    """Datagram headers that cannot be, behind which nothing of the file can be read."""
    return _problems(evidence, _HEADERS)


def containers(evidence: Evidence) -> Iterator[Finding]:
    """Containers and contributions that contradict the datagram around them."""
    datagrams = evidence.datagrams
    flagged = np.flatnonzero(datagrams["flags"] & ~np.uint16(DatagramFlag.NOT_ENTERED))
    told: dict[int, list[FileProblem]] = {}
    for number, file in enumerate(evidence.table.files):
        rows = flagged[datagrams["file"][flagged] == number]
        begins = datagrams["offset"][rows].astype(np.int64)
        for problem in evidence.table.problems:
            if problem.path == file.path and not problem.kind.ends_file and len(rows):
                at = int(np.searchsorted(begins, problem.offset, side="right")) - 1
                told.setdefault(int(rows[max(at, 0)]), []).append(problem)
    for row in flagged.tolist():
        begin = int(datagrams["offset"][row])
        for problem in told.get(row, []):
            yield evidence.at(row, problem.message, "headers that fit", inside=problem.offset - begin)
        if row not in told:  # of each file only the first hundred or so are told one by one
            flags = DatagramFlag(int(datagrams["flags"][row])) & ~DatagramFlag.NOT_ENTERED
            names = ", ".join(flag.name.lower().replace("_", " ") for flag in flags if flag.name)
            yield evidence.at(row, f"what is inside contradicts the format: {names}", "headers that fit")


def _problems(evidence: Evidence, kinds: tuple[ProblemKind, ...]) -> Iterator[Finding]:
    for problem in evidence.table.problems:
        if problem.kind in kinds:
            yield Finding(problem.message, "", problem.path, problem.offset)
