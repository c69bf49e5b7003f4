"""The MPI job around this process: how its ranks join, and how all of them end together.

A rank that fails tells rank 0 (FAIL). Rank 0 says what is wrong, tells all others to stop (STOP) and waits for their
farewell (BYE); then every rank ends by itself with the same exit code. This detour is for the code: when one rank
aborts the job, launchers kill the others, and some then report the signal in place of the code. Whoever does not
answer in time is ended by MPI_Abort.

So that nobody sleeps through a STOP, every wait is a `Pause`. It also replaces MPI's own waiting, which burns a core
and is deaf to Ctrl-C.
"""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from types import TracebackType
from typing import TYPE_CHECKING, Any

from psanacli.errors import EXIT_BUG, EXIT_INTERRUPTED, NotFoundError, UsageError
from psanacli.parallel.launcher import launched

if TYPE_CHECKING:
    from mpi4py import MPI

#: Seconds within which the other ranks answer when one fails, before MPI_Abort ends the job.
GRACE = 1.5

_joined: Job | None = None
_alone = False


class Tag(IntEnum):
    """What a message is about."""

    STOP = 1
    FAIL = 2
    BYE = 3
    ONCE = 4
    JOB = 5
    READY = 6
    HERE = 7
    BODY = 8  # and above: a tag for each slot


class Stopped(SystemExit):
    """Rank 0 ends the job, and this rank has said its farewell."""


class Job:
    """The ranks of an MPI job, seen from one of them; made by `join`.

    Attributes
    ----------
    comm : MPI.Intracomm
        Ours alone, so that our messages never meet those of the program around us.
    rank, size : int
        Number of this rank, and of all.
    ended : int or None
        In a worker: the exit code that rank 0 told, after the farewell.
    """

    def __init__(self, comm: MPI.Intracomm) -> None:
        self.comm = comm
        self.rank: int = comm.rank
        self.size: int = comm.size
        self.ended: int | None = None
        self._outbox: list[tuple[list[MPI.Request], object]] = []

    def post(self, requests: list[MPI.Request], parts: object) -> None:
        """Keep `parts`, which `requests` send, until they have arrived: the receiver may read them from our memory."""
        self._outbox.append((requests, parts))

    def all_arrived(self) -> bool:
        """Whether all that was posted has arrived."""
        # Not a generator: every request is tested, for it moves on only then.
        self._outbox = [item for item in self._outbox if not all([request.Test() for request in item[0]])]
        return not self._outbox

    def watch(self) -> None:
        """Look whether another rank wants the job to end; raises as `Pause` says."""
        if self.rank:
            if (message := self.comm.improbe(source=0, tag=Tag.STOP)) is not None:
                self.ended = message.recv()
                _say_bye(self)
                raise Stopped(self.ended)
        elif (message := self.comm.improbe(tag=Tag.FAIL)) is not None:
            error: BaseException = message.recv()
            raise error


class Pause:
    """A short sleep, a little longer each time, with an eye on the other ranks.

    Raises
    ------
    Stopped
        In a worker: rank 0 ends the job.
    BaseException
        In rank 0: what a worker failed with.
    """

    #: Longest sleep in seconds.
    LONGEST = 0.001

    def __init__(self, job: Job) -> None:
        self.job = job
        self.seconds = 2e-5

    def __call__(self) -> None:
        """Sleep, then look."""
        time.sleep(self.seconds)
        self.seconds = min(2 * self.seconds, self.LONGEST)
        self.job.watch()


def stay_alone() -> None:
    """Work without the other ranks from now on: they take no part, and MPI would wait for them for ever."""
    global _alone
    _alone = True


def join() -> Job | None:
    """Join the other ranks; return None when this process is alone.

    From here on an uncaught exception in one rank ends all.
    """
    global _joined
    expected = launched().size
    if _alone or expected == 1 or _joined is not None:
        return _joined
    with _signals_wait():
        _joined = _join(expected)
    sys.excepthook = _excepthook(sys.excepthook)
    return _joined


def _join(expected: int) -> Job:
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
    return Job(MPI.COMM_WORLD.Dup())


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Put off Ctrl-C and SIGTERM until all ranks have joined.

    A rank that ended before would leave the others in MPI's initialisation, deaf and for ever.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda number, frame: came.append(number)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
        for first in came[:1]:
            signal.raise_signal(first)


def leave() -> None:
    """Leave MPI, for a process that ends without the interpreter's own end."""
    if _joined is not None:
        from mpi4py import MPI

        MPI.Finalize()


def end_well(code: int) -> int:
    """End together with all other ranks, after each has done its part.

    Parameters
    ----------
    code : int
        What this rank would end with.

    Returns
    -------
    int
        The exit code of all: that of rank 0.
    """
    job = _joined
    if job is None:
        return code
    if job.rank == 0:
        _stop_others(job, code, math.inf)
        return code
    while (told := _await_stop(job)) is None:
        pass  # rank 0 is still at work, as with the last bytes of a file
    return told


def end_all(error: BaseException, answer: Callable[[], int]) -> int:
    """Answer an error that nobody caught, and end all ranks.

    Parameters
    ----------
    error : BaseException
        What this rank failed with.
    answer : callable
        Says what went wrong and returns the exit code. It is called in rank 0; in another rank only when rank 0 does
        not react.

    Returns
    -------
    int
        The exit code with which this process must end now.
    """
    if _joined is None and not isinstance(error, Exception):
        join()  # interrupted before the others were met: they wait
    if _joined is None:  # alone, or every rank failed to join and rank 0 says so
        if not launched().rank:
            return answer()
        return EXIT_INTERRUPTED if isinstance(error, KeyboardInterrupt) else getattr(error, "exit_code", EXIT_BUG)
    job = _joined
    if job.ended is not None:
        return job.ended
    if job.rank:
        job.post([job.comm.isend(_portable(error, job.rank), 0, Tag.FAIL)], None)
        code = _await_stop(job)
        if code is not None:
            return code
        code = answer()
    else:
        code = answer()
        if _stop_others(job, code, GRACE):
            return code
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    job.comm.Abort(code)
    return code


def _await_stop(job: Job) -> int | None:
    """Wait in a worker for rank 0 to end the job; return the exit code, or None if it does not."""
    pause = Pause(job)
    until = time.monotonic() + GRACE
    try:
        while time.monotonic() < until:
            pause()
    except Stopped as stopped:
        return int(stopped.code or 0)
    return None


def _stop_others(job: Job, code: int, seconds: float) -> bool:
    """Tell the workers to stop; return whether all of them said their farewell in time."""
    for rank in range(1, job.size):
        job.post([job.comm.isend(code, rank, Tag.STOP)], None)
    until = time.monotonic() + seconds
    missing = job.size - 1
    while missing and time.monotonic() < until:
        farewells = _drain(job.comm)
        missing -= farewells
        if not farewells:
            time.sleep(Pause.LONGEST)
    return not missing and job.all_arrived()


def _say_bye(job: Job) -> None:
    _drain(job.comm)
    job.post([job.comm.isend(None, 0, Tag.BYE)], None)
    until = time.monotonic() + GRACE
    while not job.all_arrived() and time.monotonic() < until:
        time.sleep(Pause.LONGEST)


def _drain(comm: MPI.Intracomm) -> int:
    """Receive and drop all messages that are there, or no rank could leave MPI; return how many were a BYE.

    Messages of one rank arrive in their order, so nothing of it is left behind its BYE.
    """
    from mpi4py import MPI

    farewells = 0
    status = MPI.Status()
    while (message := comm.Improbe(status=status)) is not None:
        message.Recv(bytearray(status.Get_count(MPI.BYTE)))
        farewells += status.Get_tag() == Tag.BYE
    return farewells


def _portable(error: BaseException, rank: int) -> BaseException:
    """Return the error in a form that survives the way to rank 0, with its traceback as a note."""
    import pickle
    import traceback

    error.add_note(f"in rank {rank}: " + "".join(traceback.format_exception(error, limit=-3)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever a class's own pickling does, its message must arrive
        told = RuntimeError(f"{type(error).__name__}: {error}")
        told.add_note(error.__notes__[-1])
        return told
    return error


def _excepthook(before: Callable[..., Any]) -> Callable[..., Any]:
    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        def answer() -> int:
            before(kind, error, trace)
            return EXIT_BUG

        end_all(error, answer)

    return hook
