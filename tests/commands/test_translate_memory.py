"""The memory that `psana translate` takes does not grow with the run but for its tables."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from commands.cluster import environment

from psanacli.demo import Sample, write_sample

PEAK = """
import sys
from psanacli.commands.main import run
code = run(sys.argv[1:])
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["VmHWM"].split()[0]) * 1024)
sys.exit(code)
"""
"""Tells the peak of the program itself: that of `getrusage` may be the peak of the process that has started it."""


def peak(sample: Sample, out: Path, *more: str) -> int:
    """Translate a run; return the peak memory in bytes."""
    return peak_of([sample.datasource, "--root", str(sample.root)], out, *more)


def peak_of(run: list[str], out: Path, *more: str) -> int:
    """Translate a run that is given by words of a command line; return the peak memory in bytes."""
    words = ["translate", *run, "-o", str(out), "-q", *more]
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *words], env=environment(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    """A run of small events, long enough for blocks of full size, and one twice as long."""
    counts = (40_000, 80_000)
    return [write_sample(tmp_path_factory.mktemp("run"), events=count, chosen=["small"]) for count in counts]


@pytest.mark.parametrize("more", [[], ["-j", "2"], ["--compression", "none"]], ids=" ".join)
def test_twice_the_events(runs: list[Sample], tmp_path: Path, more: list[str]) -> None:
    few, many = (peak(run, tmp_path / f"{run.events}.h5", *more) for run in runs)
    added = runs[1].size - runs[0].size
    assert many - few < added / 2, "tables grow, and threads differ in how many blocks they have; data do not stay"
    assert many < 300_000_000


def test_four_times_the_images(tmp_path: Path, image_run: list[str]) -> None:
    """Images are in memory only while they are worked on: 18 more of 4.6 MB each take nothing."""

    few, many = (peak_of(image_run, tmp_path / f"{count}.h5", "-n", str(count)) for count in (6, 24))
    assert many < 300_000_000
    assert many - few < 60_000_000
