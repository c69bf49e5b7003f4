"""What the benchmarks share: the runs they use, medians, and lines that tell a ratio and its limit.

Machines differ and drift, so a figure is always a ratio of two things timed in turn in one process.
"""

from __future__ import annotations

import atexit
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from psanacli.demo import Sample, write_sample

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


def _seconds(function: Callable[[], object]) -> float:
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def median(function: Callable[[], object], times: int = 5) -> float:
    """Return the median time of a function in s, after one warm-up."""
    function()
    return statistics.median(_seconds(function) for _ in range(times))


def fastest(*functions: Callable[[], object], rounds: int = 60) -> list[float]:
    """Return the shortest time of each function in s, all called in turn: what they take when nobody disturbs them."""
    times = [[_seconds(function) for function in functions] for _ in range(rounds)]
    return [min(column) for column in zip(*times[1:], strict=True)]


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
