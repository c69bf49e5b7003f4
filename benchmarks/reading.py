"""How fast runs are read: the event table, columns, a Python loop over events, and jumps to single images.

``python benchmarks/reading.py`` prints each figure and its limit.  Files are in the cache of the system.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

from measure import at_least, at_most, cspad_run, finish, in_memory, in_turn, median, small_run

import psanacli
from psanacli.demo import Sample


def read_all(sample: Sample) -> None:
    for path in sample.paths:
        Path(path).read_bytes()


def read_through(sample: Sample) -> None:
    """Read all bytes into one small buffer: the least that any program does that looks at all of them."""
    buffer = bytearray(1 << 18)
    for path in sample.paths:
        with open(path, "rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def open_table(sample: Sample) -> None:
    with psanacli.open_run(sample.datasource, roots=[sample.root]) as run:
        assert len(run.events) == sample.events


def jump(sample: Sample, jumps: int = 1000) -> None:
    """Get images of events in random order, in turn with plain reads of as many bytes at places of the same file."""
    order = random.Random(1).choices(range(sample.events), k=jumps)
    spent = [0, 0]
    with psanacli.open_run(sample.datasource, roots=[sample.root]) as run, open(sample.paths[0], "rb") as file:
        (key,) = (key for key in run.readers if key.xtc_type.name == "CsPad.DataV2")
        objects = run.table.objects(key.xtc_type, key.source)
        assert len(objects) == sample.events
        places = [*zip(objects.offset.tolist(), objects.size.tolist(), strict=True)]
        for ours, plain in zip(order, order[1:] + order[:1], strict=True):  # never the bytes just read
            begin = time.process_time_ns()
            record = run.events[ours].get("cspad")
            between = time.process_time_ns()
            offset, size = places[plain]
            data = os.pread(file.fileno(), size, offset)
            end = time.process_time_ns()
            assert record is not None and len(data) == size
            spent[0] += between - begin
            spent[1] += end - between
    detail = f"{spent[0] / jumps / 1e6:.2f} ms of processor time an event, pread {spent[1] / jumps / 1e6:.2f}"
    at_least(f"rate of {jumps} jumps to CSPAD events / plain pread", spent[1] / spent[0], 0.8, detail)


def main() -> None:
    with in_memory() as directory:
        for name, sample, limit in (("CSPAD", cspad_run(directory), 0.1), ("small", small_run(directory), 1.5)):
            pair = in_turn(lambda s=sample: open_table(s), lambda s=sample: read_all(s))
            through = in_turn(lambda s=sample: open_table(s), lambda s=sample: read_through(s))
            detail = f"{pair.first * 1e3:.1f} ms for {sample.size / 1e6:.0f} MB; {through.ratio:.2f} of reading through"
            at_most(f"event table of the {name} run / reading its bytes", pair.ratio, limit, detail)
            if name == "CSPAD":
                jump(sample)
        with psanacli.open_run(sample.datasource, roots=[sample.root]) as run:
            fields = list(next(iter(run.events)).get("EBeam").asdict())

            def columns() -> None:
                run.column("EBeam")

            def one_column() -> None:
                run.column("EBeam.ebeamPhotonEnergy")

            def loop() -> None:
                for event in run.events:
                    record = event.get("EBeam")
                    if record is not None:
                        for field in fields:
                            getattr(record, field)

            one = sample.events / median(one_column)
            every = sample.events / median(columns)
            what = f"events/s, all {len(fields)} fields of EBeam"
            at_least(f"{what} by run.column", every, 1e6, f"one field: {one:,.0f}")
            at_least(f"{what} in a Python loop", sample.events / median(loop, 3), 1e5)
    finish()


if __name__ == "__main__":
    main()
