"""The work of MPI ranks: rank 0 deals jobs and places results, the others work.

Every worker has a few *slots*. Rank 0 deals a job for a free slot; the worker announces the end of a job with a small
message (READY) and offers the large parts of the result (buffers that pickle leaves out, tag BODY + slot). Rank 0 takes
them when the result's turn has come, which frees the slot. So results wait where they were made, the memory of each
rank is bounded by its slots, and no rank ever waits for another in a collective call.

Nobody waits inside MPI either (see `team.Pause`), but for messages that are already on their way.
"""

from __future__ import annotations

import pickle
import queue
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from psanacli.parallel.crew import Crew
from psanacli.parallel.team import GRACE, PAUSE, Pause

if TYPE_CHECKING:
    from mpi4py import MPI

J = TypeVar("J")
R = TypeVar("R")

_TAG_JOB, _TAG_READY, _TAG_BODY = 2, 3, 4
#: Buffers below this size travel inside the READY message: a message of its own costs more than the copy.
_SMALL = 64 * 1024
#: Largest single message; MPI libraries before MPI-4 count in 32 bits.
_LARGEST = 1 << 30


class _Ready(NamedTuple):
    """A worker's word that the job in `slot` ended."""

    slot: int
    number: int
    pickled: bytes
    sizes: list[int]
    error: BaseException | None


def _slots(threads: int) -> int:
    """Slots of a worker: a job for each thread, one in the queue, one result on its way."""
    return threads + 2


def deal(comm: MPI.Intracomm, jobs: Iterable[J], place: Callable[[J, Any], object], threads: int) -> None:
    """Deal jobs and place results: the part of rank 0."""
    free = deque((rank, slot) for slot in range(_slots(threads)) for rank in range(1, comm.size))
    waiting = enumerate(jobs)
    dealt: dict[int, tuple[J, int]] = {}
    ready: dict[int, _Ready] = {}
    next_to_place = 0

    def deal_out() -> None:
        while free and (item := next(waiting, None)) is not None:
            number, job = item
            rank, slot = free.popleft()
            dealt[number] = job, rank
            comm.send((slot, number, job), rank, _TAG_JOB)

    deal_out()
    pause = Pause()
    while dealt:
        while (message := comm.improbe(tag=_TAG_READY)) is not None:
            word: _Ready = message.recv()
            if word.error is not None:
                raise word.error
            ready[word.number] = word
            pause = Pause()
        if next_to_place not in ready:
            pause()
            continue
        word = ready.pop(next_to_place)
        job, rank = dealt.pop(next_to_place)
        result = _receive(comm, word, rank)
        free.append((rank, word.slot))
        deal_out()
        place(job, result)
        del result
        next_to_place += 1
    for rank in range(1, comm.size):
        comm.send(None, rank, _TAG_JOB)


def work_for_root(comm: MPI.Intracomm, work: Callable[[J], Any], threads: int) -> None:
    """Work on the jobs that rank 0 deals: the part of the other ranks."""
    slot_of: dict[int, int] = {}
    sending: list[tuple[list[MPI.Request], object]] = []  # the requests, and what they send
    ended = False
    with Crew(work, threads) as crew:
        while not ended or slot_of or sending:
            while not ended and (message := comm.improbe(source=0, tag=_TAG_JOB)) is not None:
                item = message.recv()
                if item is None:
                    ended = True
                else:
                    slot, number, job = item
                    slot_of[number] = slot
                    crew.submit(number, job)
            sending = [(requests, kept) for requests, kept in sending if not all(r.Test() for r in requests)]
            try:
                done = crew.done.get(timeout=PAUSE)
            except queue.Empty:
                continue
            sending.append(_send(comm, slot_of.pop(done.number), done.number, done.result, done.error))
            if done.error is not None:
                _wait(sending[-1][0][0])
                raise done.error
            del done


def _send(
    comm: MPI.Intracomm, slot: int, number: int, result: object, error: BaseException | None
) -> tuple[list[MPI.Request], object]:
    """Begin to send the end of a job; return the requests and the objects they need until they are complete."""
    if error is not None:
        word = _Ready(slot, number, b"", [], _portable(error, comm.rank))
        return [comm.isend(word, 0, _TAG_READY)], word
    large: list[memoryview] = []

    def keep_inside(buffer: pickle.PickleBuffer) -> bool:
        view = buffer.raw()
        if view.nbytes >= _SMALL:
            large.append(view)
        return view.nbytes < _SMALL

    pickled = pickle.dumps(result, protocol=5, buffer_callback=keep_inside)
    word = _Ready(slot, number, pickled, [view.nbytes for view in large], None)
    requests = [comm.isend(word, 0, _TAG_READY)]
    requests += [comm.Isend(part, 0, _TAG_BODY + slot) for view in large for part in _parts(view)]
    return requests, (word, large)


def _wait(request: MPI.Request) -> None:
    pause = Pause()
    until = time.monotonic() + GRACE
    while not request.Test() and time.monotonic() < until:
        pause()


def _receive(comm: MPI.Intracomm, word: _Ready, rank: int) -> Any:
    buffers = [bytearray(size) for size in word.sizes]
    for buffer in buffers:
        for part in _parts(memoryview(buffer)):
            comm.Recv(part, rank, _TAG_BODY + word.slot)
    return pickle.loads(word.pickled, buffers=buffers)


def _parts(view: memoryview) -> list[memoryview]:
    return [view[start : start + _LARGEST] for start in range(0, view.nbytes, _LARGEST)]


def _portable(error: BaseException, rank: int) -> BaseException:
    """Return the error in a form that survives the way to rank 0, with its traceback as a note."""
    error.add_note(f"in rank {rank}: " + "".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever a class's own pickling does, its message must arrive
        told = RuntimeError(f"{type(error).__name__}: {error}")
        told.add_note(error.__notes__[-1])
        return told
    return error
