"""The memory that `psana translate` takes does not grow with the run but for its tables."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from commands.cluster import environment

from psanacli.demo import write_sample

PEAK = """
import resource, sys
from psanacli.commands.main import run
code = run(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
sys.exit(code)
"""
#: Bytes of tables that an event of this run may take: rows of datagrams, events, groups, and the places of 6 objects.
PER_EVENT = 1000


def peak(directory: Path, events: int, *more: str) -> int:
    """Translate a run of so many small events; return the peak memory in bytes."""
    sample = write_sample(directory / str(events), events=events, chosen=["small"])
    words = ["translate", sample.datasource, "--root", str(sample.root), "-o", str(directory / "out.h5"), "--overwrite"]
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *words, "-q", *more], env=environment(), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


@pytest.mark.parametrize("more", [[], ["-j", "2"], ["--compression", "none"]], ids=" ".join)
def test_four_times_the_events(tmp_path: Path, more: list[str]) -> None:
    few, many = peak(tmp_path, 12_000, *more), peak(tmp_path, 48_000, *more)
    assert many - few < 36_000 * PER_EVENT
    assert many < 300_000_000


def test_four_times_the_images(tmp_path: Path, image_run: list[str]) -> None:
    """Images are in memory only while they are worked on: 18 more of 4.6 MB each take nothing."""

    def of(count: int) -> int:
        words = ["translate", *image_run, "-o", str(tmp_path / f"{count}.h5"), "-n", str(count), "-q"]
        done = subprocess.run([sys.executable, "-c", PEAK, *words], env=environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return int(done.stdout.split()[-1])

    few, many = of(6), of(24)
    assert many < 300_000_000
    assert many - few < 60_000_000
