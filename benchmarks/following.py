"""Whether a run can be followed as fast as it is written: 120 events a second of 4.6 MB each, in three streams.

``python benchmarks/following.py`` prints what the writer manages alone, what it manages beside a reader that lists
events and beside one that reads every image, how far behind these are, and what they cost: a reader that only lists may
read headers only.  At last the run is translated.
"""

from __future__ import annotations

import json
import mmap
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from measure import at_least, at_most, finish, in_memory

from psanacli.demo import Sample, write_sample
from psanacli.hdf5 import Compression, TranslateOptions, outputs, translate
from psanacli.parallel import Team
from psanacli.run import Event, LiveRun, open_run, parse_datasource
from psanacli.xtc import Transition, service, walk_file

RATE = 120
EVENTS = 360
STREAMS = 3


def write_paced(paths: list[Path], directory: Path, rate: float) -> None:
    """Copy files datagram by datagram into growing ones, the events of all streams at a rate."""
    tables = [walk_file(path) for path in paths]
    rows = sorted(
        (int(row["seconds"]), int(row["nanoseconds"]), stream, int(row["offset"]), int(row["extent"]) + 20, int(kind))
        for stream, table in enumerate(tables)
        for row, kind in zip(table.datagrams, service(table.datagrams), strict=True)
    )
    sources = []
    for path in paths:
        with open(path, "rb") as file:
            sources.append(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
    names = [directory / f"{path.name}.inprogress" for path in paths]
    targets = [os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) for name in names]
    begin, spent = time.perf_counter(), time.process_time()
    written = 0
    for _, _, stream, offset, size, kind in rows:
        if kind == Transition.L1Accept:
            wait = begin + written / rate - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            written += 1
        while size:
            done = os.write(targets[stream], sources[stream][offset : offset + size])
            offset, size = offset + done, size - done
    took, spent = time.perf_counter() - begin, time.process_time() - spent
    for name in names:
        os.rename(name, name.with_suffix(""))
    print(json.dumps({"rate": written / took, "each": spent / written, "ended": time.time()}))


def bytes_read() -> int:
    """Return how many bytes this process has read, from wherever."""
    return int(Path("/proc/self/io").read_text().split()[1])


@dataclass
class Followed:
    """What came of a reader beside a writer."""

    events: int
    behind: float
    after: float
    """Seconds from the end of the run to the last event."""
    spent: float
    """Processor time of the reader in s."""
    read: int
    rate: float
    """Events a second that the writer managed."""
    writer: float
    """Processor time of the writer in s an event."""


def writer_of(sample: Sample, growing: Path, rate: float) -> subprocess.Popen[str]:
    growing.mkdir()
    words = [sys.executable, __file__, str(growing), str(rate), *map(str, sample.paths)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def follow(sample: Sample, growing: Path, look: Callable[[Event], object] | None) -> Followed:
    """Follow a run while it is written."""
    with writer_of(sample, growing, RATE) as writer:
        behind = count = 0
        spent, read = time.process_time(), bytes_read()
        last = time.time()
        with LiveRun(parse_datasource([f"dir={growing}"]), timeout=20) as live:
            for batch in live.batches():
                behind = max(behind, batch.behind)
                for event in batch if look is not None else ():
                    look(event)
                count += len(batch)
                last = time.time() if len(batch) else last
        spent, read = time.process_time() - spent, bytes_read() - read
        assert writer.stdout is not None
        told = json.loads(writer.stdout.read())
    assert count == sample.events
    shutil.rmtree(growing)
    return Followed(count, behind, last - told["ended"], spent, read, told["rate"], told["each"])


def pixels(event: Event) -> int:
    record = event.get("cspad")
    return record.quads[0].data.size if record is not None else 0


def report(what: str, found: Followed, most: float) -> None:
    each = found.spent / found.events * 1e3
    detail = f"{found.writer * 1e3:.1f} ms of processor time an event of the writer"
    at_least(f"events/s written beside a reader that {what}", found.rate, 0.98 * RATE, detail)
    at_most("  ms of processor time of the reader an event", each, most, f"{found.read / found.events:,.0f} bytes read")
    at_most("  s behind the newest data, at most", found.behind, 2.0, "reading is told to lag from 5 s on")
    # A run is over when nothing came for two seconds after its EndRun.
    at_most("  s from the end of the run to the last event", found.after, 4.0)


def main() -> None:
    with in_memory() as directory:
        sample = write_sample(directory / "whole", events=EVENTS, streams=STREAMS, chosen=["cspad"])
        size = f"{sample.size / EVENTS / 1e6:.1f} MB each"
        with writer_of(sample, directory / "growing", 1e6) as writer:
            assert writer.stdout is not None
            told = json.loads(writer.stdout.read())
        shutil.rmtree(directory / "growing")
        at_least("events/s of a writer alone, as fast as it can", told["rate"], 2 * RATE, size)
        listed = follow(sample, directory / "growing", None)
        report("lists events", listed, 0.5)
        at_most("  bytes read an event that is only listed", listed.read / listed.events, 10_000)
        report("reads images", follow(sample, directory / "growing", pixels), 4.0)
        with open_run(sample.datasource, roots=[sample.root]) as run:
            options = TranslateOptions(compression=Compression.parse("none"))
            begin = time.perf_counter()
            team = Team.from_options(1)
            for out, plan in outputs(run, options, directory / "out.h5", team):
                translate(run, plan, out, team)
            rate = sample.events / (time.perf_counter() - begin)
            at_least("events/s translated without compression, one thread", rate, RATE, size)
    finish()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        write_paced([Path(word) for word in sys.argv[3:]], Path(sys.argv[1]), float(sys.argv[2]))
    else:
        main()
