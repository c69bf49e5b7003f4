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
    prepare: Callable[[], object] = lambda: None,
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
    prepare : callable
        Called once in the main thread of the root, before the first `place`, while others work on the first jobs.

    Raises
    ------
    Exception
        Whatever `jobs`, `work`, `place` or `prepare` raise first, wherever that was.
    """
    if team.job is not None:
        from psanacli.parallel import ranks

        if team.is_root:
            ranks.deal(team.job, jobs, place, team.threads, prepare)
        else:
            ranks.work_for_root(team.job, work, team.threads)
    elif team.threads == 1:
        prepare()
        for job in jobs:
            place(job, work(job))
    else:
        _with_threads(jobs, work, place, team.threads, prepare)


def _with_threads(
    jobs: Iterable[J],
    work: Callable[[J], R],
    place: Callable[[J, R], object],
    threads: int,
    prepare: Callable[[], object],
) -> None:
    from psanacli.parallel.crew import Crew  # not at the top: who asks for help need not wait for queues

    most = threads + 2  # dealt and not yet placed: a slow job does not stop the others at once
    waiting = enumerate(jobs)
    dealt: dict[int, J] = {}
    results: dict[int, R] = {}
    next_to_place = 0
    with Crew(work, threads) as crew:

        def deal() -> None:
            while len(dealt) < most and (item := next(waiting, None)) is not None:
                dealt[item[0]] = item[1]
                crew.submit(*item)

        deal()
        prepare()
        while dealt:
            number, result, error = crew.next_done()
            if error is not None:
                raise error
            results[number] = result  # type: ignore[assignment]  # without an error this is what `work` returned
            del result
            while next_to_place in results:
                place(dealt.pop(next_to_place), results.pop(next_to_place))
                next_to_place += 1
            deal()
