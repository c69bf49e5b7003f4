"""Jobs over one worker and over threads."""

import os
import signal
import subprocess
import sys
import threading
import time
import weakref

import pytest

from psanacli.errors import DataError, UsageError
from psanacli.parallel import Team, run_ordered

THREADS = [1, 2, 3, 5]


def run(jobs, work, threads):
    placed = []
    run_ordered(jobs, work, lambda job, result: placed.append((job, result)), Team(threads))
    return placed


@pytest.mark.parametrize("threads", THREADS)
def test_results_are_placed_in_the_order_of_the_jobs(threads):
    def work(n):
        time.sleep(0.002 * (n % 4 == 0))  # so that later jobs end before earlier ones
        return n * n

    assert run(range(40), work, threads) == [(n, n * n) for n in range(40)]


@pytest.mark.parametrize("threads", THREADS)
def test_no_jobs_no_work(threads):
    assert run([], pytest.fail, threads) == []


@pytest.mark.parametrize("threads", THREADS)
def test_none_is_a_result_like_any_other(threads):
    assert run("ab", lambda job: None, threads) == [("a", None), ("b", None)]


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_jobs_run_at_the_same_time(threads):
    together = threading.Barrier(threads, timeout=10)
    assert len(run(range(threads * 2), lambda n: together.wait(), threads)) == threads * 2


@pytest.mark.parametrize("threads", THREADS)
def test_place_runs_in_the_main_thread(threads):
    places = set()
    run_ordered(range(8), lambda n: n, lambda n, result: places.add(threading.current_thread()), Team(threads))
    assert places == {threading.main_thread()}


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("jobs", [0, 8])
def test_all_is_prepared_once_before_anything_is_placed(threads, jobs):
    steps = []
    ready = threading.Event()

    def prepare():
        assert threads == 1 or not jobs or ready.wait(10), "workers begin meanwhile"
        steps.append(threading.current_thread())

    def work(n):
        ready.set()
        return n

    run_ordered(range(jobs), work, lambda n, result: steps.append(result), Team(threads), prepare)
    assert steps == [threading.main_thread(), *range(jobs)]


@pytest.mark.parametrize("threads", THREADS)
def test_nothing_is_placed_when_it_cannot_be_prepared(threads):
    with pytest.raises(ZeroDivisionError):
        run_ordered(range(8), lambda n: n, lambda n, result: pytest.fail("placed"), Team(threads), lambda: 1 // 0)


@pytest.mark.parametrize("threads", THREADS)
def test_the_number_of_results_that_wait_is_bounded(threads):
    class Result:
        pass

    alive: weakref.WeakSet[Result] = weakref.WeakSet()
    most = 0
    taken = 0
    lead = 0

    def jobs():
        nonlocal taken
        for n in range(60):
            taken += 1
            yield n

    def work(n):
        if n == 0:
            time.sleep(0.05)  # all others could be done by then
        result = Result()
        alive.add(result)
        return result

    def place(n, result):
        nonlocal most, lead
        most = max(most, len(alive))
        lead = max(lead, taken - n)

    run_ordered(jobs(), work, place, Team(threads))
    assert most <= 2 * threads
    assert lead <= 2 * threads + 1
    assert not alive


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("where", ["jobs", "work", "place"])
def test_the_first_exception_stops_all(threads, where):
    begun = []

    def fail(here, n):
        if here == where and n == 5:
            raise DataError(f"bad block {n}", "look there")

    def jobs():
        for n in range(1000):
            fail("jobs", n)
            yield n

    def work(n):
        begun.append(n)
        fail("work", n)

    with pytest.raises(DataError, match="bad block 5") as caught:
        run_ordered(jobs(), work, lambda n, result: fail("place", n), Team(threads))
    assert caught.value.hint == "look there"
    assert len(begun) <= 5 + 2 * threads + 1


def test_an_exception_does_not_wait_for_its_turn():
    release = threading.Event()

    def work(n):
        if n == 0:
            release.wait(10)
        elif n == 1:
            raise DataError("at once")

    begin = time.monotonic()
    with pytest.raises(DataError):
        run_ordered(range(3), work, lambda n, result: None, Team(2))
    release.set()
    assert time.monotonic() - begin < 5


def test_ctrl_c_is_prompt_even_if_a_job_takes_long():
    program = """
import time
from psanacli.parallel import Team, run_ordered
def work(n):
    print("working", flush=True)
    time.sleep(60)
run_ordered(range(4), work, print, Team(2))
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
    finally:
        process.kill()
    assert b"KeyboardInterrupt" in errors
    assert time.monotonic() - begin < 5


def test_team_from_options():
    assert Team.from_options().threads == 1
    assert Team.from_options(3).workers == 3
    assert Team.from_options(0).workers == len(os.sched_getaffinity(0))
    with pytest.raises(UsageError):
        Team.from_options(-1)


def test_a_team_alone_is_its_own_root():
    team = Team()
    assert (team.is_root, team.size, team.once(lambda: "plan")) == (True, 1, "plan")
