"""How fast runs are indexed and opened with an index, and how large indexes are.

``python benchmarks/indexing.py [EVENTS]`` prints each figure and its limit.  Files are in the cache of the system.  The
last part repeats the events of a run until there are EVENTS (50 million unless given; about 65 bytes each in memory
files, and as much on disk).
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from measure import at_most, cspad_run, finish, in_memory, in_turn, median, small_run

import psanacli
from psanacli.demo import Sample
from psanacli.run import Assembly, EventCodes, RunHeaders, RunIndex, build_index, index_paths, save_index

SMALL = 100_000


def read_all(sample: Sample) -> None:
    for path in sample.paths:
        Path(path).read_bytes()


def index(sample: Sample) -> Path:
    with psanacli.open_run(sample.datasource, roots=[sample.root], index=False) as run:
        return save_index(build_index(run.files, overwrite=True), run.files.files)[0]


def open_one(sample: Sample, *, use: bool = True) -> None:
    with psanacli.open_run(sample.datasource, roots=[sample.root], index=use) as run:
        assert run.index.whole == use
        assert len(run.events) == sample.events
        assert run.events[sample.events // 2].id.fiducials >= 0


def longer(known: RunIndex, times: int) -> RunIndex:
    """Return the index of a run of one stream whose events come again and again; the clock goes on."""
    rows = known.headers.datagrams
    events = np.flatnonzero(rows["stamp_low"] >> 24 & 0xF == 12)
    first, stop = int(events[0]), int(events[-1]) + 1
    count = stop - first
    datagrams = np.empty(len(rows) + count * (times - 1), rows.dtype)
    parts = [rows[:first], *[rows[first:stop]] * times, rows[stop:]]
    at = 0
    for part in parts:
        datagrams[at : at + len(part)].view(np.uint8)[:] = part.view(np.uint8)
        at += len(part)
    length = datagrams["extent"].astype(np.int64) + 20
    datagrams["offset"] = np.cumsum(length) - length
    datagrams["seconds"] = datagrams["seconds"][0] + np.arange(len(datagrams)) // 120
    size = int(length.sum())
    headers = replace(
        known.headers, datagrams=datagrams, rows=np.array([0, len(datagrams)]), sizes=(size,), ends=(size,)
    )
    return RunIndex(
        known.number,
        (replace(known.files[0], size=size),),
        headers,
        assembly_of(headers, known),
        EventCodes(np.tile(known.codes.number[:count], times), known.codes.list_start, known.codes.list_values),
        known.epics,
    )


def assembly_of(headers: RunHeaders, known: RunIndex) -> Assembly:
    """Join one stream: every datagram that is given out is a group."""
    from psanacli.run import Rules, build_groups

    only = np.zeros(len(headers.start) - 1, np.uint8)
    starts = np.array([0, len(headers.datagrams)])
    return Assembly.of(build_groups(headers.datagrams, starts, np.zeros(1, np.uint32), only, Rules(), known.number))


def anonymous() -> int:
    """Return the bytes of memory of this process that no file stands behind."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def simulate(known: RunIndex, directory: Path, events: int) -> None:
    each = len(known.assembly.events)
    for goal in (events // 100, events // 10, events):
        path = directory / "long.psana"
        made = longer(known, max(goal // each, 1))
        size, count = made.save(path), len(made.assembly.events)
        del made
        before = anonymous()
        begin = time.perf_counter()
        loaded = RunIndex.load(path)
        row = loaded.assembly.events[count // 2]
        seconds = time.perf_counter() - begin
        assert int(row["group"]) > 0
        memory = (anonymous() - before) / 1e6
        what = f"bytes an event of {count / 1e6:.1f} million"
        at_most(
            what, size / count, 64, f"{size / 1e6:.0f} MB, opened in {seconds * 1e3:.0f} ms, {memory:.0f} MB in memory"
        )
        path.unlink()


def main() -> None:
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000_000
    with in_memory() as directory:
        os.environ["XDG_CACHE_HOME"] = str(directory / "cache")
        cspad, small = cspad_run(directory), small_run(directory, SMALL)
        for name, sample, limit in (("CSPAD", cspad, 0.1), ("small", small, 2)):
            pair = in_turn(lambda s=sample: index(s), lambda s=sample: read_all(s))
            detail = f"{pair.first * 1e3:.0f} ms for {sample.size / 1e6:.0f} MB"
            at_most(f"index of the {name} run / reading its bytes", pair.ratio, limit, detail)
        path = index(small)
        at_most("bytes an event of the small run", path.stat().st_size / SMALL, 64)
        pair = in_turn(lambda: open_one(small), lambda: open_one(small, use=False))
        detail = f"{pair.first * 1e3:.1f} ms"
        at_most(f"opening {SMALL:,} events with an index / without", pair.ratio, 0.5, detail)
        at_most(f"seconds to open {SMALL:,} events", median(lambda: open_one(small)), 0.1)
        with psanacli.open_run(small.datasource, roots=[small.root]) as run:
            known = RunIndex.load(index_paths(run.files.files)[0])
        simulate(known, directory, events)
    finish()


if __name__ == "__main__":
    main()
