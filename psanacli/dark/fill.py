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

_BLOCK = 1 << 24  # bytes of images that are read at a time: memory that is used again
_LEAST_SHARE = 16
_SHARES = 4  # a worker, so that none waits long for the last


class Share(NamedTuple):
    """The events `first` to `stop` of a gain mode."""

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
        There are too few events, or a file of a run was replaced or written to meanwhile.
    """
    began = time.monotonic()
    for mode in plan.modes:
        mode.method.fail_if_few(mode.events)
    results = [_of_mode(plan, mode, team, advance, block) for mode in plan.modes]
    for frames in plan.frames if team.is_root else ():
        frames.run.check_unchanged()
    return DarkResult(plan, tuple(each for each in results if each), time.monotonic() - began) if team.is_root else None


def _of_mode(plan: DarkPlan, mode: ModePlan, team: Team, advance: Advance, block: int) -> ModeResult | None:
    """Make the result of one gain mode; None in all ranks but the root."""
    alone = team.job is None
    sample: list[tuple[DarkFrames, int]] = []

    def prepare() -> Gates:
        nonlocal sample
        numbers = mode.method.sample(mode.events)
        parts = mode.some(numbers)
        read = iter([_whole(plan, parts, len(numbers), block)]) if mode.method.at_once else _blocks(plan, parts, block)
        if alone and mode.method.at_once and len(numbers) == mode.events:
            read = iter(sample := list(read))  # which are all events: no need to read them again
        return mode.method.gates(_some(read, plan.source), plan.shape)

    gates = team.once(prepare)
    total, broken = DarkSums(gates, mode.method.rules), 0
    lock = threading.Lock()

    def work(share: Share) -> tuple[int, object]:
        sums, unreadable = DarkSums(gates, mode.method.rules), 0
        for stack, unread in _blocks(plan, mode.range(*share), block):
            sums.add(stack)
            unreadable += unread
            if alone:
                with lock:
                    advance(len(stack) + unread, stack.nbytes)
        return unreadable, sums.parts

    def place(share: Share, result: tuple[int, object]) -> None:
        nonlocal broken
        broken += result[0]
        total.merge(result[1])  # type: ignore[arg-type]
        if not alone:
            count = share.stop - share.first
            advance(count, count * plan.frames[0].nbytes)

    for stack, unread in sample:
        total.add(stack)
        broken += unread
        advance(len(stack) + unread, stack.nbytes)
    if not sample:
        run_ordered(_shares(mode, team.workers), work, place, team)
    if not team.is_root:
        return None
    sample.clear()
    dark = mode.method.finish(total, gates, plan.shape)
    absent = plan.frames[0].absent
    if plan.method == "robust" and absent.any():
        dark = without_panels(dark, absent)
    return ModeResult(mode.mode, dark, gates.sample, broken)


def _shares(mode: ModePlan, workers: int) -> Iterator[Share]:
    """Cut the events into shares: one for one worker, else a few for each worker."""
    size = mode.events
    if workers > 1:
        size = max(-(-size // (_SHARES * workers)), _LEAST_SHARE)
    for first in range(0, mode.events, size):
        yield Share(first, min(first + size, mode.events))


def _some(blocks: Iterator[tuple[DarkFrames, int]], source: str) -> Iterator[DarkFrames]:
    """Give the images of blocks; there has to be one."""
    read = 0
    for stack, _ in blocks:
        read += len(stack)
        if len(stack):
            yield stack
    if not read:
        raise DataError(f"{source}: none of the images of the sample can be read")


def _whole(plan: DarkPlan, parts: Iterable[Part], count: int, block: int) -> tuple[DarkFrames, int]:
    """Return the images of `count` events in one array, and how many could not be read."""
    stack = np.empty((count, plan.frames[0].pixels), np.uint16)
    filled = broken = 0
    for part in parts:
        frames = plan.frames[part.run]
        size = max(1, block // max(frames.nbytes, 1))
        for first in range(0, len(part.rows), size):
            some = part.rows[first : first + size]
            found, unread = frames.read(some, stack[filled : filled + len(some)])
            filled += len(found)
            broken += unread
    return stack[:filled], broken


def _blocks(plan: DarkPlan, parts: Iterable[Part], block: int) -> Iterator[tuple[DarkFrames, int]]:
    """Give the images of some events in blocks, and how many could not be read."""
    for part in parts:
        frames = plan.frames[part.run]
        size = max(1, block // max(frames.nbytes, 1))
        for first in range(0, len(part.rows), size):
            yield frames.read(part.rows[first : first + size])
