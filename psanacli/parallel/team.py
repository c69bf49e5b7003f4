"""Who works: one worker, threads, or the ranks of an MPI job."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from psanacli.errors import UsageError
from psanacli.parallel.job import Job, Pause, Tag, join
from psanacli.parallel.launcher import launched

T = TypeVar("T")


class Team:
    """The workers of this process or MPI job; make it with `Team.from_options`.

    Attributes
    ----------
    threads : int
        Threads that work in this process; 1 means that the main thread works itself.
    job : Job or None
        The ranks, if a launcher started more than one.
    """

    def __init__(self, threads: int = 1, job: Job | None = None) -> None:
        self.threads = threads
        self.job = job

    @classmethod
    def from_options(cls, jobs: int = 1) -> Team:
        """Return the team for ``-j JOBS``.

        Parameters
        ----------
        jobs : int
            Threads of this process, or of every rank but 0; 0 means one for each core this process may use.

        Raises
        ------
        UsageError
            The ranks that the launcher started do not see each other.
        NotFoundError
            A launcher started the process, but there is no MPI library.
        """
        if jobs < 0:
            raise UsageError(f"{jobs} jobs: the number of threads is at least 1, or 0 for all cores")
        return cls(jobs or len(os.sched_getaffinity(0)), join())

    @property
    def size(self) -> int:
        """Number of ranks."""
        return self.job.size if self.job else 1

    @property
    def is_root(self) -> bool:
        """Whether this process places the results, and prints."""
        return not self.job or self.job.rank == 0

    @property
    def workers(self) -> int:
        """Number of jobs that are worked on at a time; rank 0 only deals and places when it is not alone."""
        return self.threads * max(1, self.size - 1)

    def once(self, compute: Callable[[], T]) -> T:
        """Return the value of `compute()`, which only the root calls; the other ranks get a copy.

        For what all need and one should find out: the plan of a run is made from one walk over its files.
        """
        if self.job is None:
            return compute()
        pause = Pause(self.job)
        comm = self.job.comm
        if self.job.rank:
            while (message := comm.improbe(source=0, tag=Tag.ONCE)) is None:
                pause()
            value: T = message.recv()
            return value
        value = compute()
        self.job.post([comm.isend(value, rank, Tag.ONCE) for rank in range(1, self.job.size)], None)
        while not self.job.all_arrived():
            pause()
        return value

    def all_here(self) -> None:
        """Wait in the root until every rank has come here; the others go on at once.

        For what each of them does after its last job, such as closing a file, and the root has to know of.
        """
        if self.job is None:
            return
        comm = self.job.comm
        if self.job.rank:
            self.job.post([comm.isend(None, 0, Tag.HERE)], None)
            return
        for rank in range(1, self.job.size):
            pause = Pause(self.job)
            while (message := comm.improbe(source=rank, tag=Tag.HERE)) is None:
                pause()
            message.recv()


@contextmanager
def one_voice() -> Iterator[None]:
    """Let only rank 0 print to stdout."""
    if not launched().rank:
        yield
        return
    stdout = sys.stdout
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        sys.stdout = nowhere
        try:
            yield
        finally:
            sys.stdout = stdout
