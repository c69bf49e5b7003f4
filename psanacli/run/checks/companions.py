"""Checks of what lies beside the data: the facility's indexes and small data, and the index of the run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import PsanaError
from psanacli.run.checks.evidence import Evidence, Finding, Ints, transition_name
from psanacli.run.indexes import find_index, match
from psanacli.run.reading import OpenFiles
from psanacli.xtc import (
    NO_FIDUCIAL,
    PROXY,
    XTC,
    ContributionFlag,
    DatagramFlag,
    FileTable,
    IndexFile,
    Transition,
    index_file_of,
    service,
    small_file_of,
)

_HEADER = ("seconds", "nanoseconds", "stamp_low", "stamp_high", "env", "damage")
_PROXIES = 1 << 16
"""Proxies that are read at once."""


def _big_files(evidence: Evidence) -> Iterator[tuple[int, Path]]:
    """Give the big files of the run; of a run that was opened by small data there are none."""
    for number, file in enumerate(evidence.table.files):
        if not file.small and file.path.name.endswith(".xtc"):
            yield number, file.path


def facility_index(evidence: Evidence) -> Iterator[Finding]:
    """Index files (``.xtc.idx``) that do not agree with the data."""
    for number, path in _big_files(evidence):
        place = index_file_of(path)
        if not place.exists():
            continue
        try:
            index = IndexFile.read(place)
        except PsanaError as error:
            yield Finding(error.message.partition(": ")[2], "an index file", place)
            continue
        yield from _compare_index(evidence, index, number, place)


def _compare_index(evidence: Evidence, index: IndexFile, number: int, place: Path) -> Iterator[Finding]:
    datagrams, rows = evidence.datagrams, evidence.rows_of_file(number)
    offsets = datagrams["offset"].astype(np.int64)
    accepts = rows[evidence.accepts[rows]]
    known = accepts[evidence.fiducials[accepts] != NO_FIDUCIAL]
    known = known[np.argsort(evidence.clock[known], kind="stable")]
    begins = rows[evidence.service[rows] == Transition.BeginCalibCycle]
    events, steps = index.events, index.steps
    if _cut(evidence, number):  # other tools go on behind what nobody can read
        end = int(offsets[rows[-1]]) + 1 if len(rows) else 0
        events, steps = events[events["offset"] < end], steps[steps["offset"] < end]
    if len(known) != len(events):
        yield Finding(f"{len(events)} events", f"{len(known)}, as in the data", place)
        return
    wrong = events["fiducials"] != evidence.fiducials[known]
    for name in ("seconds", "nanoseconds", "damage"):
        wrong = wrong | (events[name] != datagrams[name][known])
    wrong |= (events["offset"] != offsets[known]) & ~_behind_unknown(evidence, rows, known, events["offset"])
    for entry in np.flatnonzero(wrong)[:1].tolist():
        row, there = int(known[entry]), events[entry]
        found = f"entry {entry} is offset {int(there['offset'])}, {_clock_text(there)}"
        expected = f"offset {int(offsets[row])}, {_clock_text(datagrams[row])}"
        yield Finding(found, expected, place, event=_event(evidence, row), count=int(np.count_nonzero(wrong)))
    same = len(begins) == len(steps) and all(
        (steps[name] == datagrams[name][begins]).all() for name in ("seconds", "nanoseconds")
    )
    if not same:
        yield Finding(f"{len(steps)} steps", f"the {len(begins)} of the data", place)


def _clock_text(row: np.void) -> str:
    return f"{int(row['seconds'])}.{int(row['nanoseconds']):09} s"


def _cut(evidence: Evidence, number: int) -> bool:
    """Whether a file ends before its end, which is another finding."""
    path = evidence.table.files[number].path
    return any(problem.path == path and problem.kind.ends_file for problem in evidence.table.problems)


def _behind_unknown(evidence: Evidence, rows: Ints, known: Ints, found: Ints) -> NDArray[np.bool_]:
    """Which entries have the offset of an event of unknown fiducial before theirs, as the facility's tool writes."""
    if not len(rows):
        return np.zeros(len(known), bool)
    offsets = evidence.datagrams["offset"][rows].astype(np.int64)
    at = np.clip(np.searchsorted(offsets, found), 0, len(rows) - 1)
    there = rows[at]
    listed = np.zeros(len(rows) + 1, np.int64)
    unknown = evidence.accepts[rows] & (evidence.fiducials[rows] == NO_FIDUCIAL)
    listed[1:] = np.cumsum(evidence.accepts[rows] & ~unknown)
    mine = np.searchsorted(rows, known)
    return np.asarray((offsets[at] == found) & unknown[at] & (there < known) & (listed[mine] == listed[at]))


def _event(evidence: Evidence, row: int) -> int | None:
    event = int(evidence.event_of_row[row])
    return event if event >= 0 else None


def small_data(evidence: Evidence) -> Iterator[Finding]:
    """Small data that do not have the datagrams of the big files."""
    for number, path in _big_files(evidence):
        place = small_file_of(path)
        if not place.exists():
            continue
        small = evidence.table_of(place)
        for problem in small.problems:
            if problem.kind.ends_file and not _cut(evidence, number):
                yield Finding(problem.message, "", place, problem.offset)
        yield from _compare_small(evidence, small, number, place)


def _compare_small(evidence: Evidence, small: FileTable, number: int, place: Path) -> Iterator[Finding]:
    rows = evidence.rows_of_file(number)
    datagrams = evidence.datagrams[rows]
    # Events without anything in them are left out, those that are not entered by older tools.
    empty = evidence.accepts[rows] & (datagrams["extent"] <= XTC.itemsize)
    shut = evidence.accepts[rows] & (datagrams["flags"] & DatagramFlag.NOT_ENTERED != 0)
    if _first_difference(evidence.datagrams[rows[~(empty | shut)]], small.datagrams) is None:
        return
    kept = rows[~empty]
    different = _first_difference(evidence.datagrams[kept], small.datagrams)
    if different is None:
        return
    if different >= len(small.datagrams):
        row = int(kept[different])
        missing = len(kept) - different
        what = f"ends before the {evidence.name_of(row)} at offset {int(evidence.datagrams['offset'][row])} of the data"
        yield Finding(what, f"{missing} more datagrams", place, small.end, _event(evidence, row), count=missing)
        return
    there = small.datagrams[different : different + 1]
    kind = transition_name(int(service(there)[0]))
    offset = int(there["offset"][0])
    if different >= len(kept):
        if _cut(evidence, number):
            return
        yield Finding(f"a {kind} that is not in the data", "the end", place, offset)
        return
    row = int(kept[different])
    clock = np.datetime64(int(there["seconds"][0]) * 10**9 + int(there["nanoseconds"][0]), "ns")
    what = f"the {evidence.name_of(row)} at offset {int(evidence.datagrams['offset'][row])} of the data"
    yield Finding(f"a {kind} of {clock}", what, place, offset, _event(evidence, row))


def _first_difference(big: NDArray[Any], small: NDArray[Any]) -> int | None:
    count = min(len(big), len(small))
    wrong = np.zeros(count, bool)
    for name in _HEADER:
        wrong |= big[name][:count] != small[name][:count]
    if wrong.any():
        return int(np.argmax(wrong))
    return None if len(big) == len(small) else count


def proxies(evidence: Evidence) -> Iterator[Finding]:
    """Proxies of the small data that stand for something else than the big files have."""
    for _, path in _big_files(evidence):
        place = small_file_of(path)
        if place.exists():
            yield from _compare_proxies(evidence.table_of(place), place, path)


def _compare_proxies(small: FileTable, place: Path, path: Path) -> Iterator[Finding]:
    contributions = small.patterns.contributions
    starts = small.patterns.start
    proxy = (contributions["flags"] & ContributionFlag.PROXY) != 0
    counts = np.diff(starts)
    owners = np.repeat(np.arange(len(counts)), counts)
    each = np.bincount(owners[proxy], minlength=len(counts))
    first = np.cumsum(each) - each
    inside = contributions["offset"][proxy].astype(np.int64)
    patterns = small.datagrams["pattern"]
    rows = np.repeat(np.arange(len(patterns)), each[patterns])
    within = np.arange(len(rows)) - np.repeat(np.cumsum(each[patterns]) - each[patterns], each[patterns])
    places = small.datagrams["offset"].astype(np.int64)[rows] + inside[first[patterns[rows]] + within]
    with OpenFiles([place, path]) as files:
        size = path.stat().st_size
        for begin in range(0, len(places), _PROXIES):
            some = places[begin : begin + _PROXIES]
            found = _read(files, 0, some, PROXY)
            offset, extent = found["offset"].astype(np.int64), found["extent"].astype(np.int64)
            outside = (offset < 0) | (extent < XTC.itemsize) | (offset + extent > size)
            there = np.zeros(len(some), XTC)
            there[~outside] = _read(files, 1, offset[~outside], XTC)
            wrong = outside | (there["type"] != found["type"]) | (there["extent"] != found["extent"])
            for name in ("log", "phy", "damage"):
                wrong |= there[name] != found["xtc"][name]
            for number in np.flatnonzero(wrong).tolist():
                what = f"a proxy for {int(extent[number])} bytes at offset {int(offset[number])}"
                expected = "what is there" if not outside[number] else f"something inside of {path.name} ({size} bytes)"
                yield Finding(what, expected, place, int(some[number]))


def _read(files: OpenFiles, number: int, offsets: Ints, dtype: np.dtype[Any]) -> NDArray[Any]:
    out = np.zeros(len(offsets), dtype)
    count = np.full(len(offsets), dtype.itemsize, np.int64)
    starts = np.arange(len(offsets), dtype=np.int64) * dtype.itemsize
    files.read(np.full(len(offsets), number), offsets, count, starts, out.view(np.uint8))
    return out


def run_index(evidence: Evidence) -> Iterator[Finding]:
    """An index of the run (``psana index build``) that does not agree with the data."""
    files = evidence.table.files
    index, place, faults = find_index(files)
    for fault in faults:
        path, _, why = fault.partition(" was not used: ")
        yield Finding(why, "an index that can be used", Path(path))
    if index is None:
        return
    for number, (row, why) in enumerate(match(index, files)):
        if why or row is None:
            yield Finding(why, "the files of the run as they are", place)
            continue
        known = index.headers.table(row, files[number].path)
        rows = evidence.datagrams[evidence.rows_of_file(number)]
        wrong = len(known.datagrams) != len(rows) or any(
            (known.datagrams[name] != rows[name]).any() for name in (*_HEADER, "offset", "extent", "flags")
        )
        if wrong:
            what = f"other datagrams of {files[number].path.name} than there are"
            yield Finding(what, f"{len(rows)} datagrams as in the file", place)
