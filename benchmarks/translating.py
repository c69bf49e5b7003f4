"""How fast runs are translated, next to `cp` and to what h5py does by itself.

``python benchmarks/translating.py`` prints each figure and its limit.  Inputs and outputs are in memory.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
from measure import (
    Memory,
    at_least,
    at_most,
    cspad_run,
    finish,
    in_memory,
    in_turn,
    lengthened,
    median,
    memory_of,
    small_run,
)

from psanacli.demo import Sample, write_sample

MB = 1e6
LENGTHS = (60_000, 420_000, 1_500_000)
"""Events of the runs whose translation is weighed; the last is a run of 3.8 GB, three hours at 120 events/s."""
LONGEST = 6_000_000
"""Events of a run of 14 hours with one small object in each."""


def peak_memory(directory: Path, output: Path, jobs: int) -> Memory:
    """Return the most memory that a process of its own needs to translate the run in a directory."""
    words = ["translate", str(directory), "-o", str(output), "--overwrite", "-q", "-j", str(jobs)]
    return memory_of(["-c", f"from psanacli.commands.main import run; assert run({words!r}) == 0"])


def weigh(directory: Path, output: Path, jobs: int, events: int) -> float:
    """Tell how much memory a translation takes; return what no file stands behind, in MB."""
    peak = peak_memory(directory, output, jobs)
    detail = f"{peak.all:.0f} with pages of mapped files"
    at_most(f"MB of memory, translate {events:,} events, {jobs} thread(s)", peak.anonymous, 300, detail)
    return peak.anonymous


def in_process(sample: Sample, output: Path, jobs: int, *options: str) -> None:
    """Run the same command in this process: without the start of Python and imports."""
    from psanacli.commands.main import run

    words = ["translate", sample.datasource, "--root", str(sample.root), "-o", str(output), "--overwrite", "-q"]
    assert run([*words, "-j", str(jobs), *options]) == 0


def h5py_gzip(frames: np.ndarray, output: Path) -> None:
    """Write the same frames as people do with h5py alone."""
    with h5py.File(output, "w") as file:
        chunks = (1, *frames.shape[1:])
        file.create_dataset("data", data=frames, chunks=chunks, compression="gzip", compression_opts=1, shuffle=True)


def main() -> None:
    with in_memory() as directory:
        out = directory / "out.h5"
        cspad = cspad_run(directory)
        pair = in_turn(
            lambda: in_process(cspad, out, 2, "--compression", "none"),
            lambda: [shutil.copyfile(path, directory / "copy") for path in cspad.paths],
        )
        rate = cspad.size / MB / pair.first
        at_most("translate CSPAD uncompressed / cp, 2 threads", pair.ratio, 1.5, f"{rate:,.0f} MB/s")
        (directory / "copy").unlink()
        with h5py.File(out) as file:
            frames = np.concatenate(list(_cspad_frames(file)))
        out.unlink()
        alone = directory / "alone.h5"
        for jobs, limit in ((1, 6.0), (2, 11.0)):
            pair = in_turn(lambda: h5py_gzip(frames, alone), lambda n=jobs: in_process(cspad, out, n), pairs=3)
            detail = f"{cspad.size / MB / pair.second:,.0f} MB/s, h5py {frames.nbytes / MB / pair.first:,.0f} MB/s"
            at_least(f"h5py gzip 1 + shuffle / translate CSPAD, {jobs} thread(s)", pair.ratio, limit, detail)
        shutil.rmtree(cspad.root)
        small = small_run(directory)
        for jobs in (1, 2):
            seconds = median(lambda n=jobs: in_process(small, out, n), 3)
            detail = f"{small.events / seconds:,.0f} events/s"
            at_least(f"MB/s, translate the small run, {jobs} thread(s)", small.size / MB / seconds, 200, detail)
        peaks: dict[tuple[int, int], float] = {}
        for events in LENGTHS:
            run = lengthened(small, events // small.events, f"run{events}")
            for jobs in (1, 2):
                peaks[events, jobs] = weigh(run, out, jobs, events)
            shutil.rmtree(run)
        shutil.rmtree(small.root)
        for jobs in (1, 2):
            low, high = LENGTHS[0], LENGTHS[-1]
            slope = (peaks[high, jobs] - peaks[low, jobs]) * 2**20 / (high - low)
            at_most(f"bytes of memory an event, {low:,} to {high:,}, {jobs} thread(s)", slope, 100)
        beams = write_sample(directory / "beams", events=60_000, streams=1, chosen=["ebeam"])
        weigh(lengthened(beams, LONGEST // beams.events, "long"), out, 2, LONGEST)
    finish()


def _cspad_frames(file: h5py.File) -> list[np.ndarray]:
    found: list[np.ndarray] = []
    file.visititems(lambda name, item: found.append(item[...]) if name.endswith("XppGon.0:Cspad.0/data") else None)
    return [frames for frames in found if frames.dtype == np.int16]


if __name__ == "__main__":
    main()
