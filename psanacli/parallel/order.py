"""`run_ordered`: jobs to workers, results in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from psanacli.parallel.team import Team

J = TypeVar("J")
R = TypeVar("R")


def run_ordered(
    jobs: Iterable[J],
    work: Callable[[J], R],
    place: Callable[[J, R], object],
    team: Team,
) -> None:
    """Call `place(job, work(job))` for all jobs in their order, with `work` spread over the team.

    Parameters
    ----------
    jobs : iterable
        Taken one by one when a worker is free, by the root only. Under MPI they are pickled.
    work : callable
        Runs in any worker, several at a time.
    place : callable
        Runs in the main thread of the root, one at a time, in the order of `jobs`.
    team : Team
        Who works.

    Raises
    ------
    Exception
        Whatever `jobs`, `work` or `place` raise first, wherever that was.
    """
    if team.job is not None:
        from psanacli.parallel import ranks

        if team.is_root:
            ranks.deal(team.job, jobs, place, team.threads)
        else:
            ranks.work_for_root(team.job, work, team.threads)
    elif team.threads == 1:
        for job in jobs:
            place(job, work(job))
    else:
        _with_threads(jobs, work, place, team.threads)


def _with_threads(jobs: Iterable[J], work: Callable[[J], R], place: Callable[[J, R], object], threads: int) -> None:
    from psanacli.parallel.crew import Crew  # not at the top: who asks for help need not wait for queues

    most = threads + 2  # dealt and not yet placed: a slow job does not stop the others at once
    waiting = enumerate(jobs)
    dealt: dict[int, J] = {}
    results: dict[int, R] = {}
    next_to_place = 0
    with Crew(work, threads) as crew:
        while True:
            while len(dealt) < most and (item := next(waiting, None)) is not None:
                dealt[item[0]] = item[1]
                crew.submit(*item)
            if not dealt:
                return
            number, result, error = crew.next_done()
            if error is not None:
                raise error
            results[number] = result  # type: ignore[assignment]  # without an error this is what `work` returned
            del result
            while next_to_place in results:
                place(dealt.pop(next_to_place), results.pop(next_to_place))
                next_to_place += 1
