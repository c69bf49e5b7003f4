"""Filling: gates from a sample, then one pass over all events by any number of workers, and the results.

A worker takes a share of the events of a gain mode, block by block, and gives back sums; as these are whole numbers,
the results are the same however the events are dealt out.  What is in memory are a few sums, some 36 bytes a pixel,
a block of images in each worker, and for a moment the sample.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from psanacli.calib import DarkFrames, DarkSums, Gates
from psanacli.dark.plan import DarkPlan, ModePlan, Part
from psanacli.dark.result import DarkResult, ModeResult, without_panels
from psanacli.errors import DataError
from psanacli.parallel import Team, run_ordered

Advance = Callable[[int, int], None]
"""Told the number of events and of their bytes that were summed up."""

_BLOCK = 1 << 25  # bytes of images that are read at a time
_LEAST_SHARE = 64
_SHARES = 4  # a worker, so that none waits long for the last


class Share(NamedTuple):
    """The events `first` to `stop` of the gain mode number `mode`."""

    mode: int
    first: int
    stop: int


def process(
    plan: DarkPlan,
    team: Team,
    *,
    advance: Advance = lambda events, size: None,
    block: int = _BLOCK,
) -> DarkResult | None:
    """Make constants of dark runs.

    Parameters
    ----------
    plan : DarkPlan
        The same in all ranks.
    team : Team
        Who works.
    advance : function
        Told the progress, in the root.
    block : int
        Bytes of images that are read at a time; the result does not depend on it.

    Returns
    -------
    DarkResult or None
        None in all ranks but the root.

    Raises
    ------
    DataError
        There are too few events.
    """
    began = time.monotonic()
    for mode in plan.modes:
        mode.method.fail_if_few(mode.events)
    gates = team.once(lambda: [_gates(plan, mode, block) for mode in plan.modes])
    lock = threading.Lock()
    alone = team.job is None

    def work(share: Share) -> tuple[int, object]:
        mode = plan.modes[share.mode]
        sums = DarkSums(gates[share.mode], mode.method.rules)
        broken = 0
        for stack, unread in _blocks(plan, mode.range(share.first, share.stop), block):
            sums.add(stack)
            broken += unread
            if alone:
                with lock:
                    advance(len(stack) + unread, stack.nbytes)
        return broken, sums.parts

    totals = [DarkSums(each, mode.method.rules) for each, mode in zip(gates, plan.modes, strict=True)]
    broken = [0] * len(plan.modes)
    finished: list[ModeResult] = []

    def place(share: Share, result: tuple[int, object]) -> None:
        unread, parts = result
        broken[share.mode] += unread
        totals[share.mode].merge(parts)  # type: ignore[arg-type]
        mode = plan.modes[share.mode]
        if not alone:
            advance(share.stop - share.first, (share.stop - share.first) * plan.frames[0].nbytes)
        if share.stop == mode.events:
            finished.append(_finish(plan, mode, totals[share.mode], gates[share.mode], broken[share.mode]))
            totals[share.mode] = DarkSums(Gates(np.zeros(0, np.uint16), np.zeros(0, np.uint16), 0), mode.method.rules)

    run_ordered(_shares(plan, team.workers), work, place, team)
    return DarkResult(plan, tuple(finished), time.monotonic() - began) if team.is_root else None


def _shares(plan: DarkPlan, workers: int) -> Iterator[Share]:
    """Cut the events into shares: one a mode for one worker, else a few for each worker."""
    for number, mode in enumerate(plan.modes):
        size = mode.events
        if workers > 1:
            size = max(-(-size // (_SHARES * workers)), _LEAST_SHARE)
        for first in range(0, mode.events, size):
            yield Share(number, first, min(first + size, mode.events))


def _gates(plan: DarkPlan, mode: ModePlan, block: int) -> Gates:
    sample = mode.some(mode.method.sample(mode.events))
    read = 0

    def stacks() -> Iterator[DarkFrames]:
        nonlocal read
        for stack, _ in _blocks(plan, sample, block):
            read += len(stack)
            if len(stack):
                yield stack
        if not read:
            raise DataError(f"{plan.source}: none of the images of the sample can be read")

    return mode.method.gates(stacks(), plan.shape)


def _blocks(plan: DarkPlan, parts: Iterable[Part], block: int) -> Iterator[tuple[DarkFrames, int]]:
    """Give the images of some events in blocks, and how many could not be read."""
    for part in parts:
        frames = plan.frames[part.run]
        size = max(1, block // max(frames.nbytes, 1))
        for first in range(0, len(part.rows), size):
            yield frames.read(part.rows[first : first + size])


def _finish(plan: DarkPlan, mode: ModePlan, sums: DarkSums, gates: Gates, broken: int) -> ModeResult:
    dark = mode.method.finish(sums, gates, plan.shape)
    absent = plan.frames[0].absent
    if plan.method == "robust" and absent.any():
        dark = without_panels(dark, absent)
    return ModeResult(mode.mode, dark, gates.sample, broken)
