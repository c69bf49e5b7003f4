"""The work of MPI ranks: rank 0 deals jobs and places results, the others work.

Every worker has a few *slots*. Rank 0 deals a job for a free slot; the worker announces the end of a job with a small
message (READY) and offers the large parts of the result (buffers that pickle leaves out, BODY + slot). Rank 0 takes
them when the result's turn has come, which frees the slot. So results wait where they were made, the memory of each
rank is bounded by its slots, and no rank ever waits for another in a collective call.
"""

from __future__ import annotations

import pickle
import queue
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from psanacli.parallel.crew import Crew
from psanacli.parallel.job import Job, Pause, Tag

if TYPE_CHECKING:
    from mpi4py import MPI

J = TypeVar("J")
R = TypeVar("R")

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


def _slots(threads: int) -> int:
    """Slots of a worker: a job for each thread, one in the queue, one result on its way."""
    return threads + 2


def deal(
    mpi: Job,
    jobs: Iterable[J],
    place: Callable[[J, Any], object],
    threads: int,
    prepare: Callable[[], object],
) -> None:
    """Deal jobs and place results: the part of rank 0."""
    comm = mpi.comm
    free = deque((rank, slot) for slot in range(_slots(threads)) for rank in range(1, mpi.size))
    waiting = enumerate(jobs)
    dealt: dict[int, tuple[J, int]] = {}
    ready: dict[int, _Ready] = {}
    next_to_place = 0

    def deal_out() -> None:
        while free and (item := next(waiting, None)) is not None:
            number, job = item
            rank, slot = free.popleft()
            dealt[number] = job, rank
            mpi.post([comm.isend((slot, number, job), rank, Tag.JOB)], None)

    deal_out()
    prepare()
    pause = Pause(mpi)
    while dealt:
        mpi.all_arrived()
        mpi.watch()
        while (message := comm.improbe(tag=Tag.READY)) is not None:
            word: _Ready = message.recv()
            ready[word.number] = word
            pause = Pause(mpi)
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
    for rank in range(1, mpi.size):
        mpi.post([comm.isend(None, rank, Tag.JOB)], None)
    while not mpi.all_arrived():
        pause()


def work_for_root(mpi: Job, work: Callable[[J], Any], threads: int) -> None:
    """Work on the jobs that rank 0 deals: the part of the other ranks."""
    comm = mpi.comm
    slot_of: dict[int, int] = {}
    ended = False
    with Crew(work, threads) as crew:
        while not mpi.all_arrived() or slot_of or not ended:
            mpi.watch()
            while not ended and (message := comm.improbe(source=0, tag=Tag.JOB)) is not None:
                item = message.recv()
                if item is None:
                    ended = True
                else:
                    slot, number, job = item
                    slot_of[number] = slot
                    crew.submit(number, job)
            try:
                done = crew.done.get(timeout=Pause.LONGEST)
            except queue.Empty:
                continue
            if done.error is not None:
                raise done.error
            _send(mpi, slot_of.pop(done.number), done.number, done.result)
            del done


def _send(mpi: Job, slot: int, number: int, result: object) -> None:
    """Begin to send a result."""
    large: list[memoryview] = []

    def keep_inside(buffer: pickle.PickleBuffer) -> bool:
        view = buffer.raw()
        if view.nbytes >= _SMALL:
            large.append(view)
        return view.nbytes < _SMALL

    pickled = pickle.dumps(result, protocol=5, buffer_callback=keep_inside)
    word = _Ready(slot, number, pickled, [view.nbytes for view in large])
    requests = [mpi.comm.isend(word, 0, Tag.READY)]
    requests += [mpi.comm.Isend(part, 0, Tag.BODY + slot) for view in large for part in _parts(view)]
    mpi.post(requests, large)


def _receive(comm: MPI.Intracomm, word: _Ready, rank: int) -> Any:
    buffers = [bytearray(size) for size in word.sizes]
    for buffer in buffers:
        for part in _parts(memoryview(buffer)):
            comm.Recv(part, rank, Tag.BODY + word.slot)
    return pickle.loads(word.pickled, buffers=buffers)


def _parts(view: memoryview) -> list[memoryview]:
    return [view[start : start + _LARGEST] for start in range(0, view.nbytes, _LARGEST)]
