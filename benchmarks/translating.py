"""How fast runs are translated, next to `cp` and to what h5py does by itself.

``python benchmarks/translating.py`` prints each figure and its limit.  Inputs and outputs are in memory.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
from measure import at_least, at_most, cspad_run, finish, in_memory, in_turn, median, small_run

from psanacli.demo import Sample

MB = 1e6
LENGTHS = (60_000, 400_000, 1_500_000)
"""Events of the runs whose translation is weighed; the last is a run of 3.8 GB, three hours at 120 events/s."""


def peak_memory(sample: Sample, output: Path, jobs: int) -> float:
    """Return the most memory in MB that a process of its own needs to translate a run."""
    words = ["translate", sample.datasource, "--root", str(sample.root), "-o", str(output), "--overwrite", "-q"]
    # The system's own account of a child also counts what its parent had when the child was begun.
    code = (
        f"from psanacli.commands.main import run; assert run({[*words, '-j', str(jobs)]!r}) == 0;"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return int(done.stdout) / 1024


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
            pair = in_turn(
                lambda: h5py_gzip(frames, alone), lambda n=jobs: in_process(cspad, out, n), pairs=3
            )
            detail = f"{cspad.size / MB / pair.second:,.0f} MB/s, h5py {frames.nbytes / MB / pair.first:,.0f} MB/s"
            at_least(f"h5py gzip 1 + shuffle / translate CSPAD, {jobs} thread(s)", pair.ratio, limit, detail)
        shutil.rmtree(cspad.root)
        small = small_run(directory)
        for jobs in (1, 2):
            seconds = median(lambda n=jobs: in_process(small, out, n), 3)
            detail = f"{small.events / seconds:,.0f} events/s"
            at_least(f"MB/s, translate the small run, {jobs} thread(s)", small.size / MB / seconds, 200, detail)
        shutil.rmtree(small.root)
        peaks: dict[tuple[int, int], float] = {}
        for events in LENGTHS:
            run = small_run(directory, events)
            for jobs in (1, 2):
                peak = peaks[events, jobs] = peak_memory(run, out, jobs)
                at_most(f"MB of memory, translate {events:,} events, {jobs} thread(s)", peak, 300)
            shutil.rmtree(run.root)
        for jobs in (1, 2):
            low, high = LENGTHS[0], LENGTHS[-1]
            slope = (peaks[high, jobs] - peaks[low, jobs]) * 2**20 / (high - low)
            at_most(f"bytes of memory an event, {low:,} to {high:,}, {jobs} thread(s)", slope, 140)
    finish()


def _cspad_frames(file: h5py.File) -> list[np.ndarray]:
    found: list[np.ndarray] = []
    file.visititems(lambda name, item: found.append(item[...]) if name.endswith("XppGon.0:Cspad.0/data") else None)
    return [frames for frames in found if frames.dtype == np.int16]


if __name__ == "__main__":
    main()
