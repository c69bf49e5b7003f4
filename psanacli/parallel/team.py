"""Who works: one worker, threads, or the ranks of an MPI job; and how all of them end together."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from psanacli.errors import EXIT_BUG, EXIT_INTERRUPTED, NotFoundError, UsageError
from psanacli.parallel.launcher import launched

if TYPE_CHECKING:
    from mpi4py import MPI

T = TypeVar("T")

#: Seconds that a failing rank waits for rank 0 to say what is wrong and to end the job, before it does so itself.
GRACE = 1.0
#: Longest pause between two looks for a message, in seconds.
PAUSE = 0.001

_TAG_ONCE = 1
_joined: MPI.Intracomm | None = None


class Team:
    """The workers of this process or MPI job; make it with `Team.from_options`.

    Attributes
    ----------
    threads : int
        Threads that work in this process; 1 means that the main thread works itself.
    comm : MPI.Intracomm or None
        The ranks, if a launcher started more than one.
    """

    def __init__(self, threads: int = 1, comm: MPI.Intracomm | None = None) -> None:
        self.threads = threads
        self.comm = comm

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
        return self.comm.size if self.comm else 1

    @property
    def is_root(self) -> bool:
        """Whether this process places the results, and prints."""
        return not self.comm or self.comm.rank == 0

    @property
    def workers(self) -> int:
        """Number of jobs that are worked on at a time; rank 0 only deals and places when it is not alone."""
        return self.threads * max(1, self.size - 1)

    def once(self, compute: Callable[[], T]) -> T:
        """Return the value of `compute()`, which only the root calls; the other ranks get a copy.

        For what all need and one should find out: the plan of a run is made from one walk over its files.
        """
        if self.comm is None:
            return compute()
        if self.comm.rank:
            pause = Pause()
            while (message := self.comm.improbe(source=0, tag=_TAG_ONCE)) is None:
                pause()
            value: T = message.recv()
            return value
        value = compute()
        for request in [self.comm.isend(value, rank, _TAG_ONCE) for rank in range(1, self.comm.size)]:
            pause = Pause()
            while not request.test()[0]:
                pause()
        return value


class Pause:
    """Sleep, a little longer each time. MPI's own waiting burns a core, and is deaf to Ctrl-C."""

    def __init__(self) -> None:
        self.seconds = 2e-5

    def __call__(self) -> None:
        """Sleep."""
        time.sleep(self.seconds)
        self.seconds = min(2 * self.seconds, PAUSE)


def join() -> MPI.Intracomm | None:
    """Join the other ranks; return None when this process is alone.

    From here on an uncaught exception in one rank ends all.
    """
    global _joined
    expected = launched().size
    if expected == 1 or _joined is not None:
        return _joined
    # MPICH would print a line of its own beside our message.
    os.environ.setdefault("MPIR_CVAR_SUPPRESS_ABORT_MESSAGE", "1")
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise NotFoundError(
            f"a launcher started {expected} processes, but mpi4py finds no MPI library: {error}",
            "load the MPI module of this machine, or: pip install 'psanacli[mpi]' and start with its mpiexec",
        ) from error
    if expected != MPI.COMM_WORLD.size:
        library = MPI.Get_library_version().split("\n")[0].strip("\0 ")
        raise UsageError(
            f"a launcher started {expected} processes, but MPI sees {MPI.COMM_WORLD.size}: mpi4py loaded {library}",
            "start with the mpiexec that belongs to this library",
        )
    _joined = MPI.COMM_WORLD.Dup()  # messages of ours never meet those of the program around us
    sys.excepthook = _excepthook(sys.excepthook)
    return _joined


def end_all(code: int) -> None:
    """End all ranks now, with exit code `code`; return if this process is alone."""
    if _joined is not None:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        _joined.Abort(code)


def leave_word_to_root() -> None:
    """In a rank that failed: wait a moment, as rank 0 knows, says so, and ends the job. Return if it did not."""
    if _joined is not None and _joined.rank:
        time.sleep(GRACE)


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


def _excepthook(before: Callable[..., Any]) -> Callable[..., Any]:
    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        leave_word_to_root()
        before(kind, error, trace)
        end_all(EXIT_INTERRUPTED if issubclass(kind, KeyboardInterrupt) else getattr(error, "exit_code", EXIT_BUG))

    return hook
