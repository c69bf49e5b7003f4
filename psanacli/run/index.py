"""The index of a run: all that its headers say and how its events are built, kept in a file.

An index is a copy of what opening the run would find out.  It is used file by file: a file of the run that is still the
one that was indexed (name, size, time, first bytes, header of the last datagram) need not be walked.  When all are, and
nothing but the default rules is asked for, the events need not be built either.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from psanacli import large
from psanacli.run import indexfile
from psanacli.run._build import expand
from psanacli.run.codes import EventCodes
from psanacli.run.epics import EPICS_KIND, RecordKinds
from psanacli.run.files import XtcFile
from psanacli.run.headers import FileProblems, RunHeaders
from psanacli.run.indexfile import IndexFault, IndexFile, checksum
from psanacli.run.tables import EVENT, GROUP, STEP, TRANSITION, Assembly
from psanacli.xtc import CONTRIBUTION, DATAGRAM, DATAGRAM_HEADER, KEY, Problem, ProblemKind

Ints = NDArray[np.int64]

_FIRST_BYTES = 4096
_UNSIGNED = (np.dtype("u1"), np.dtype("<u2"), np.dtype("<u4"), np.dtype("<u8"))
_EXPECTED: dict[str, tuple[np.dtype[Any], ...]] = {
    "datagrams": (DATAGRAM,),
    "start": (np.dtype("<i8"),),
    "contributions": (CONTRIBUTION,),
    "keys": (KEY,),
    "rows": (np.dtype("<i8"),),
    "patterns": (np.dtype("<i8"),),
    "members": (np.dtype("<i4"),),
    "group_first": (np.dtype("<i4"),),
    "group_action": (np.dtype("u1"),),
    "run_group": (np.dtype("<i8"),),
    "run_number": (np.dtype("<u4"),),
    "event_flags": (np.dtype("u1"),),
    "transitions": (TRANSITION,),
    "steps": (STEP,),
    "code_list": _UNSIGNED,
    "code_start": (np.dtype("<i8"),),
    "code_values": (np.dtype("<u4"),),
    "epics_kind": _UNSIGNED,
    "epics_kinds": (EPICS_KIND,),
}
"""The tables of an index file and the types that each may have."""


@dataclass(frozen=True)
class Identity:
    """What tells whether a file is still the one that was indexed.

    Attributes
    ----------
    name : str
        Without directory.
    stream, chunk : int
    size, modified : int
        Bytes, and time of the last change in ns since 1970.
    head : int
        CRC-32 of the first 4096 bytes, or of all where there are fewer.
    last, tail : int
        Offset of the last whole datagram, and CRC-32 of its header of 40 bytes; -1 and 0 when there is none.
    """

    name: str
    stream: int
    chunk: int
    size: int
    modified: int
    head: int
    last: int
    tail: int

    @classmethod
    def of(cls, file: XtcFile, size: int, modified: int, last: int) -> Self:
        """Return the identity of a file of which `size` bytes were walked; `last` is where its last datagram is."""
        head, tail = _sums(file.path, size, last)
        return cls(file.path.name, file.stream, file.chunk, size, modified, head, last, tail)

    def differs(self, path: Path) -> tuple[bool, str]:
        """Return whether a file begins with the one that was indexed, and why it is not the same; empty: it is."""
        try:
            status = os.stat(path)
            if status.st_size < self.size:
                return False, f"{self.name} is shorter than it was"
            if status.st_size == self.size and status.st_mtime_ns != self.modified:
                return False, f"{self.name} was changed since"
            if _sums(path, self.size, self.last) != (self.head, self.tail):
                return False, f"{self.name} is another file"
        except OSError as error:
            return False, f"{self.name} cannot be read: {error.strerror}"
        return True, f"{self.name} has grown" if status.st_size > self.size else ""


def _sums(path: Path, size: int, last: int) -> tuple[int, int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        head = os.pread(descriptor, min(_FIRST_BYTES, size), 0)
        tail = os.pread(descriptor, DATAGRAM_HEADER, last) if last >= 0 else b""
    finally:
        os.close(descriptor)
    return checksum(head), checksum(tail)


@dataclass(frozen=True, eq=False)
class RunIndex:
    """All that an index knows of a run.

    Attributes
    ----------
    number : int
        Run number of the file names.
    files : tuple of Identity
        In the order of the tables: by stream and chunk.
    headers : RunHeaders
    assembly : Assembly
        Groups and events by the default rules.
    codes : EventCodes
        Of these events.
    epics : RecordKinds
        Of the EPICS records, in the order in which they are read by the default rules.
    size, modified : int
        Of the index file: bytes, and when it was written, ns since 1970; 0 for one that was not.
    """

    number: int
    files: tuple[Identity, ...]
    headers: RunHeaders
    assembly: Assembly
    codes: EventCodes
    epics: RecordKinds
    size: int = 0
    modified: int = 0

    @classmethod
    def load(cls, path: Path, *, mapped: int = indexfile.MAPPED) -> Self:
        """Read an index from its file.

        Raises
        ------
        FileNotFoundError
            There is none.
        IndexFault
            It cannot be trusted; the message says why.
        """
        return cls._unpack(indexfile.read(path, mapped=mapped))

    def save(self, path: Path) -> int:
        """Write it to a file, in the place of an older one; return the size in bytes.

        Raises
        ------
        OutputError
            It cannot be written; nothing has changed then.
        """
        return indexfile.write(path, self._about(), self._arrays())

    def _about(self) -> dict[str, Any]:
        headers = self.headers
        files = [
            {
                **asdict(identity),
                "end": end,
                "problems": [[problem.offset, problem.kind.value, problem.message] for problem in problems.listed],
                "more_problems": problems.more,
            }
            for identity, end, problems in zip(self.files, headers.ends, headers.problems, strict=True)
        ]
        return {"run": self.number, "files": files, "counts": self.assembly.counts}

    def _arrays(self) -> dict[str, NDArray[Any]]:
        headers, assembly, codes = self.headers, self.assembly, self.codes
        run = assembly.groups["run"]
        changes = np.flatnonzero(np.concatenate(([True], run[1:] != run[:-1]))) if len(run) else np.zeros(0, np.int64)
        return {
            "datagrams": headers.datagrams,
            "start": headers.start,
            "contributions": headers.contributions,
            "keys": headers.keys,
            "rows": headers.rows,
            "patterns": headers.patterns,
            "members": assembly.members,
            "group_first": assembly.groups["first"],
            "group_action": assembly.groups["action"],
            "run_group": changes,
            "run_number": run[changes],
            "event_flags": assembly.events["flags"],
            "transitions": assembly.transitions,
            "steps": assembly.steps,
            "code_list": codes.number,
            "code_start": codes.list_start,
            "code_values": codes.list_values,
            "epics_kind": self.epics.number,
            "epics_kinds": self.epics.table,
        }

    @classmethod
    def _unpack(cls, file: IndexFile) -> Self:
        try:
            arrays = file.arrays
            for name, dtypes in _EXPECTED.items():
                if arrays[name].dtype not in dtypes:
                    raise IndexFault(f"its table {name} has the type {arrays[name].dtype}")
            about = file.about
            entries = about["files"]
            number = int(about["run"])
            counts = {str(name): int(count) for name, count in about["counts"].items()}
            own = ("end", "problems", "more_problems")
            files = tuple(Identity(**{key: entry[key] for key in entry if key not in own}) for entry in entries)
            problems = tuple(
                FileProblems(
                    tuple(Problem(offset, ProblemKind(kind), text) for offset, kind, text in entry["problems"]),
                    entry["more_problems"],
                )
                for entry in entries
            )
            headers = RunHeaders(
                datagrams=arrays["datagrams"],
                start=arrays["start"],
                contributions=arrays["contributions"],
                keys=arrays["keys"],
                rows=arrays["rows"],
                patterns=arrays["patterns"],
                sizes=tuple(identity.size for identity in files),
                ends=tuple(entry["end"] for entry in entries),
                problems=problems,
            )
            assembly = _assembly(arrays, headers, counts, number)
            codes = EventCodes(arrays["code_list"], arrays["code_start"], arrays["code_values"])
            epics = RecordKinds(arrays["epics_kind"], arrays["epics_kinds"])
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise IndexFault(f"its tables do not fit together: {error}") from error
        if len(codes) != len(assembly.events) or len(headers.rows) != len(files) + 1:
            raise IndexFault("its tables do not fit together")
        return cls(number, files, headers, assembly, codes, epics, file.size, file.modified)


def _assembly(arrays: dict[str, NDArray[Any]], headers: RunHeaders, counts: dict[str, int], number: int) -> Assembly:
    """Make the tables of groups and events, most of which are those of the first datagram of each."""
    first, flags, steps = arrays["group_first"], arrays["event_flags"], arrays["steps"]
    groups, events = large.empty(len(first), GROUP), large.empty(len(flags), EVENT)
    expand(
        headers.datagrams,
        arrays["members"],
        first,
        arrays["group_action"],
        arrays["run_group"],
        arrays["run_number"],
        flags,
        np.ascontiguousarray(steps["first"]),
        np.ascontiguousarray(steps["stop"]),
        number,
        groups,
        events,
    )
    return Assembly(arrays["members"], groups, events, counts, arrays["transitions"], steps)


__all__ = ["Identity", "IndexFault", "RunIndex"]
