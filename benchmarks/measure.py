"""What the benchmarks share: the runs they use, medians, and lines that tell a ratio and its limit.

Machines differ and drift, so a figure is always a ratio of two things timed in turn in one process.
"""

from __future__ import annotations

import atexit
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.demo import Sample, write_sample
from psanacli.xtc import Transition, service, walk_file

FAILED: list[str] = []


@contextmanager
def in_memory() -> Iterator[Path]:
    """Give a directory in memory where there is one, so that the disk does not hide the program."""
    parent = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    directory = tempfile.mkdtemp(prefix="psanacli-bench-", dir=parent)
    atexit.register(shutil.rmtree, directory, True)
    try:
        yield Path(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def cspad_run(directory: Path, events: int = 60) -> Sample:
    """Write the run of large images: a full CSPAD in every event, 4.6 MB each."""
    return write_sample(directory / "cspad", events=events, streams=1, chosen=["cspad"])


def small_run(directory: Path, events: int = 60_000) -> Sample:
    """Write the run of small detectors: beam-line data, timing, diodes, a digitizer; 2.5 kB an event."""
    return write_sample(directory / f"small{events}", events=events, streams=1, chosen=["small"])


def lengthened(sample: Sample, times: int, name: str) -> Path:
    """Write a run of one stream whose events come again and again while the clock goes on; return its directory.

    That is much sooner done than writing as many events.
    """
    table = walk_file(sample.paths[0])
    rows = table.datagrams
    events = np.flatnonzero(service(rows) == Transition.L1Accept)
    first, last = int(events[0]), int(events[-1])
    begin, end = int(rows["offset"][first]), int(rows["offset"][last]) + int(rows["extent"][last]) + 20
    data = np.fromfile(sample.paths[0], np.uint8)
    span = int(rows["seconds"][last]) - int(rows["seconds"][first]) + 1
    directory = sample.root / name
    directory.mkdir()
    with open(directory / sample.paths[0].name, "wb") as file:
        data[:begin].tofile(file)
        for turn in range(times):
            part = later(data[begin:end], rows[first : last + 1], begin, turn * span)
            part.tofile(file)
        later(data[end:], rows[last + 1 :], end, (times - 1) * span).tofile(file)
    return directory


def later(data: NDArray[np.uint8], rows: NDArray[Any], begin: int, seconds: int) -> NDArray[np.uint8]:
    """Return datagrams with another clock; the first byte of `data` is at `begin` of the file."""
    data = data.copy()
    places = rows["offset"].astype(np.int64)[:, np.newaxis] - begin + np.arange(4, 8)
    data[places] = (rows["seconds"] + np.uint32(seconds)).astype("<u4").view(np.uint8).reshape(-1, 4)
    return data


@dataclass(frozen=True)
class Memory:
    """The most memory in MB that a process has taken."""

    anonymous: float
    """That no file stands behind: it has to be there."""
    all: float
    """With pages of files that are mapped, of which the system takes back what it needs."""


def memory_of(words: list[str]) -> Memory:
    """Run a Python program to its end, and look at its memory every 10 ms."""
    anonymous = most = 0
    with subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            found = dict(line.split(":", 1) for line in lines if "kB" in line)
            anonymous = max(anonymous, int(found.get("RssAnon", "0").split()[0]))
            most = max(most, int(found.get("VmHWM", "0").split()[0]))
            time.sleep(0.01)
    assert process.returncode == 0
    return Memory(anonymous / 1024, most / 1024)


@dataclass(frozen=True)
class Pair:
    """Two things timed in turn."""

    first: float
    second: float
    ratio: float
    """Median of the ratios, pair by pair: first / second."""


def in_turn(first: Callable[[], object], second: Callable[[], object], pairs: int = 7) -> Pair:
    """Time two functions A B A B ..., after one warm-up of each."""
    first(), second()
    times = [(_seconds(first), _seconds(second)) for _ in range(pairs)]
    return Pair(
        statistics.median(a for a, _ in times),
        statistics.median(b for _, b in times),
        statistics.median(a / b for a, b in times),
    )


def _seconds(function: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    begin = clock()
    function()
    return clock() - begin


def median(function: Callable[[], object], times: int = 5) -> float:
    """Return the median time of a function in s, after one warm-up."""
    function()
    return statistics.median(_seconds(function) for _ in range(times))


def fastest(*functions: Callable[[], object], rounds: int = 30) -> list[float]:
    """Return the least processor time of each function in s: what it takes in a loop of its own.

    Of the thread that calls, so it does not matter who else uses the processor, but for the memory that all share.
    """
    times = [
        [min(_seconds(function, time.thread_time) for _ in range(4)) for function in functions] for _ in range(rounds)
    ]
    return [min(column) for column in zip(*times, strict=True)]


def at_most(what: str, ratio: float, limit: float, detail: str = "") -> None:
    """Print a ratio that has to stay below its limit."""
    _line(what, ratio, f"<= {limit:g}", ratio <= limit, detail)


def at_least(what: str, figure: float, limit: float, detail: str = "") -> None:
    """Print a figure that has to reach its limit."""
    _line(what, figure, f">= {limit:g}", figure >= limit, detail)


def _line(what: str, figure: float, limit: str, kept: bool, detail: str) -> None:
    shown = f"{figure:.3g}" if figure < 1000 else f"{figure:,.0f}"
    if not kept:
        FAILED.append(what)
    print(f"{what:<58} {shown:>11}   {limit:<11} {'kept' if kept else 'NOT kept':<9} {detail}", flush=True)


def finish() -> None:
    """End with 1 when a limit was not kept."""
    if FAILED:
        print(f"not kept: {'; '.join(FAILED)}", file=sys.stderr)
    raise SystemExit(bool(FAILED))
