"""Jobs over MPI ranks, as a launcher starts them: order, equal results, and every way to fail."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("program.py")
#: Of the mpich wheel, which belongs to the extra `test`.
MPIEXEC = Path(sys.executable).with_name("mpiexec")
ROOT = PROGRAM.parent.parent.parent
#: Seconds; a failure ends a job within two, the rest is start and a busy machine.
LIMIT = 30
RANKS = [1, 2, 3, 5]


def start(ranks, *words):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.Popen(
        [MPIEXEC, "-n", str(ranks), sys.executable, PROGRAM, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def run(ranks, *words):
    """Run the program under mpiexec; return exit code, stdout and stderr."""
    process = start(ranks, *words)
    try:
        out, errors = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        process.terminate()
        process.wait(10)
        pytest.fail(f"{words} with {ranks} ranks still runs after {LIMIT} s")
    return process.returncode, out, errors


@pytest.fixture(scope="module")
def alone():
    return subprocess.run([sys.executable, PROGRAM, "fine"], capture_output=True, text=True, check=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}).stdout  # fmt: skip


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("threads", ["1", "2"])
def test_results_do_not_depend_on_the_workers(ranks, threads, alone):
    assert alone.startswith("60 [(0, 0), (1, ")
    assert run(ranks, "fine", threads) == (0, alone, "")


@pytest.mark.parametrize("ranks", [2, 3, 5])
@pytest.mark.parametrize(
    ("scenario", "code", "message"),
    [
        ("worker raises", 4, "error: damaged block 11\n  leave it out"),
        ("all workers raise", 4, "error: everything is damaged"),
        ("worker has a bug", 1, "KeyError: 'missing'"),
        ("root raises", 5, "error: No space left on device"),
        ("root fails in plan", 1, "ZeroDivisionError"),
        ("all ranks miss", 3, "error: there is no run 7\n  runs are 1 to 6"),
        ("one rank misses", 3, "error: no such directory on this node"),
    ],
)
def test_a_failure_ends_all_with_one_message_and_its_code(ranks, scenario, code, message):
    found, out, errors = run(ranks, scenario)
    assert (found, out) == (code, "")
    assert message in errors
    assert errors.count("psana: error:") == 1


@pytest.mark.parametrize("ranks", [2, 3, 5])
def test_rank_0_may_end_with_an_error_when_all_is_done(ranks):
    assert run(ranks, "root ends with an error") == (4, "", "psana: error: some data are damaged\n")
    assert run(ranks, "root ends with a code") == (4, "", "")


def test_a_bug_in_a_worker_shows_where():
    _, _, errors = run(3, "worker has a bug")
    assert "in rank " in errors
    assert "program.py" in errors


@pytest.mark.parametrize("scenario", ["worker is killed", "root is killed"])
@pytest.mark.parametrize("ranks", [2, 3, 5])
def test_a_killed_rank_ends_all(ranks, scenario):
    code, out, errors = run(ranks, scenario)
    assert code == signal.SIGKILL
    assert "Killed" in out + errors  # what mpiexec says
    assert "60 [" not in out


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_ctrl_c_ends_all(ranks):
    process = start(ranks, "hang", "2")
    try:
        assert process.stderr is not None
        while "hanging" not in process.stderr.readline():
            pass
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=LIMIT)
    finally:
        process.kill()
    assert process.returncode == 130
    assert errors.count("psana: error: interrupted") == 1
    assert time.monotonic() - begin < 10


def test_wrong_usage_is_said_once():
    code, out, errors = run(3, "try", "fine", "many")
    assert (code, out) == (2, "")
    assert errors.count("Error: ") == 1


def test_a_verb_that_is_not_parallel_runs_in_rank_0_alone(alone):
    code, out, _ = run(3, "alone", "all ranks miss")
    assert (code, out) == (3, "")
    assert run(3, "alone", "fine") == (0, alone, "")


def test_help_is_printed_once():
    code, out, errors = run(3, "try", "--help")
    assert (code, errors) == (0, "")
    assert out.count("Usage:") == 1


def test_ranks_that_do_not_see_each_other():
    """The launcher of one MPI with the library of another starts N programs that think they are alone."""
    environment = {**os.environ, "OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "4", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, PROGRAM, "fine"], env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert "started 4 processes, but MPI sees 1" in done.stderr
    assert "mpiexec that belongs" in done.stderr


def test_a_launcher_without_an_mpi_library(tmp_path):
    (tmp_path / "mpi4py").mkdir()
    (tmp_path / "mpi4py" / "__init__.py").touch()
    (tmp_path / "mpi4py" / "MPI.py").write_text("raise RuntimeError('cannot load MPI library')")
    environment = {**os.environ, "PMI_RANK": "0", "PMI_SIZE": "2", "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run([sys.executable, PROGRAM, "fine"], env=environment, capture_output=True, text=True)
    assert done.returncode == 3
    assert "cannot load MPI library" in done.stderr
    assert "psanacli[mpi]" in done.stderr


def test_mpi_is_not_loaded_without_a_launcher():
    program = "import sys; from psanacli.parallel import Team; Team.from_options(2); sys.exit('mpi4py' in sys.modules)"
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("PMI", "OMPI", "MV2", "SLURM"))}
    assert subprocess.run([sys.executable, "-c", program], env={**bare, "PYTHONPATH": str(ROOT)}).returncode == 0


def test_an_uncaught_exception_in_a_program_of_others_ends_all(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from psanacli.parallel import Team, run_ordered\n"
        "team = Team.from_options()\n"
        "run_ordered(range(9), lambda n: 1 // (n - 4), lambda n, result: None, team)\n"
    )
    done = subprocess.run(
        [MPIEXEC, "-n", "3", sys.executable, script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
