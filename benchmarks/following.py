"""Whether a run can be followed as fast as it is written: 120 events a second of 4.6 MB each, in three streams.

``python benchmarks/following.py`` prints how far behind the reader is, and what the writer manages beside it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from measure import at_least, at_most, finish, in_memory

from psanacli.demo import write_sample
from psanacli.run import LiveRun, parse_datasource
from psanacli.xtc import Transition, service, walk_file

RATE = 120
EVENTS = 600
STREAMS = 3


def write_paced(paths: list[Path], directory: Path) -> None:
    """Copy files datagram by datagram into growing ones, the events of all streams at the rate of the machine."""
    tables = [walk_file(path) for path in paths]
    rows = sorted(
        (int(row["seconds"]), int(row["nanoseconds"]), stream, int(row["offset"]), int(row["extent"]) + 20, int(kind))
        for stream, table in enumerate(tables)
        for row, kind in zip(table.datagrams, service(table.datagrams), strict=True)
    )
    sources = [os.open(path, os.O_RDONLY) for path in paths]
    names = [directory / f"{path.name}.inprogress" for path in paths]
    targets = [os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) for name in names]
    begin = time.perf_counter()
    written = 0
    for _, _, stream, offset, size, kind in rows:
        if kind == Transition.L1Accept:
            wait = begin + written / RATE - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            written += 1
        while size:
            done = os.sendfile(targets[stream], sources[stream], offset, size)
            offset, size = offset + done, size - done
    took = time.perf_counter() - begin
    for name in names:
        os.rename(name, name.with_suffix(""))
    print(f"{written / took:.1f} {time.time():.6f}")


def main() -> None:
    with in_memory() as directory:
        sample = write_sample(directory / "whole", events=EVENTS, streams=STREAMS, chosen=["cspad"])
        growing = directory / "growing"
        growing.mkdir()
        words = [sys.executable, __file__, str(growing), *map(str, sample.paths)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as writer:
            behind = []
            count = pixels = 0
            with LiveRun(parse_datasource([f"dir={growing}"]), timeout=20) as live:
                for batch in live.batches():
                    behind.append(batch.behind)
                    for event in batch:
                        record = event.get("cspad")
                        pixels += record.quads[0].data.size if record is not None else 0
                        count += 1
                    last = time.time()
            assert writer.stdout is not None
            rate, ended = map(float, writer.stdout.read().split())
        assert count == sample.events and pixels
        at_least("events/s written beside the reader", rate, 0.98 * RATE, f"{sample.size / EVENTS / 1e6:.1f} MB each")
        at_most("s behind the newest data, at most", max(behind), 2.0, "reading is told to lag from 5 s on")
        # A run is over when nothing came for two seconds after its EndRun.
        at_most("s from the end of the run to the last event", last - ended, 4.0)
    finish()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        write_paced([Path(word) for word in sys.argv[2:]], Path(sys.argv[1]))
    else:
        main()
