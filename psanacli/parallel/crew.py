"""Threads that work on jobs; the native code, zlib and reading they call release the GIL."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Generic, NamedTuple, TypeVar

J = TypeVar("J")
R = TypeVar("R")

#: Seconds that the end of a failed run waits for the jobs that are being worked on; less than `job.GRACE`.
PATIENCE = 0.3
#: Seconds after which whoever has the GIL lets others have it (Python's own: 5 ms). Workers want it for moments between
#: native calls of a few ms, and would wait longer for it than they need it.
SWITCH = 1e-4


class Done(NamedTuple, Generic[R]):
    """The end of job `number`: a result or an exception."""

    number: int
    result: R | None
    error: BaseException | None


class Crew(Generic[J, R]):
    """A few threads with one queue of jobs and one of results.

    The threads are daemons: when a run fails or the user presses Ctrl-C, the process does not wait for a job that
    takes long.
    """

    def __init__(self, work: Callable[[J], R], threads: int) -> None:
        self.done: SimpleQueue[Done[R]] = SimpleQueue()
        self._work = work
        self._jobs: SimpleQueue[tuple[int, J] | None] = SimpleQueue()
        self._given_up = False
        self._threads = [threading.Thread(target=self._run, name=f"worker {i}", daemon=True) for i in range(threads)]
        for thread in self._threads:
            thread.start()

    def submit(self, number: int, job: J) -> None:
        """Put a job into the queue."""
        self._jobs.put((number, job))

    def next_done(self) -> Done[R]:
        """Wait for the next job that ends."""
        while True:
            try:
                # Not for ever: a Ctrl-C in the instant before a wait begins would go unnoticed until its end.
                return self.done.get(timeout=0.2)
            except Empty:
                continue

    def __enter__(self) -> Crew[J, R]:
        self._interval = sys.getswitchinterval()
        sys.setswitchinterval(min(SWITCH, self._interval))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sys.setswitchinterval(self._interval)
        self._given_up = kind is not None
        for _ in self._threads:
            self._jobs.put(None)
        until = time.monotonic() + PATIENCE
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()) if self._given_up else None)

    def _run(self) -> None:
        while (item := self._jobs.get()) is not None and not self._given_up:
            number, job = item
            try:
                done = Done(number, self._work(job), None)
            except BaseException as error:  # not answered here, but raised again by whoever takes it from `done`
                done = Done(number, None, error)
            self.done.put(done)
            del done, item, job  # or the thread would keep a block alive while it waits for the next
