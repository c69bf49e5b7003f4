"""`psana translate` ended from outside: Ctrl-C, SIGTERM, SIGKILL, a rank that dies; and how it goes on afterwards."""

from __future__ import annotations

import os
import random
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from commands.cluster import OFTEN, PSANA, Process, contents, finish, hidden, inside, ranks

SLOW = ["--compression", "gzip:9"]
MANNERS = {"serial": (0, 1), "-j 2": (0, 2), "ranks": (3, 1)}


def begin(here: Path, run: list[str], manner: str, *more: str) -> Process:
    count, threads = MANNERS[manner]
    process = Process([*ranks(count), *PSANA, "translate", *run, "-o", here / "out.h5", "-j", threads, *more], cwd=here)
    process.begun(max(1, count))
    return process


@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize(("sign", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_at_any_instant(here: Path, image_run: list[str], manner: str, sign: int, code: int) -> None:
    chance = random.Random(f"{manner} {code}")
    for _ in range(4):
        process = begin(here, image_run, manner, *SLOW)
        time.sleep(chance.random())
        sent = time.monotonic()
        process.send_signal(sign)
        found, _, errors = finish(process)
        assert (found, errors.count("psana: error: ")) == (code, 1), errors
        assert "Traceback (most" not in errors.replace("Exception ignored in", "").partition("psana: error")[2]
        assert time.monotonic() - sent < 10  # two seconds, and what a busy machine adds
        assert process.none_left()
        assert list(here.iterdir()) == [], "neither the file nor anything hidden"


@pytest.fixture(scope="module")
def whole(long_run: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What is in the file that nobody interrupted."""
    out = tmp_path_factory.mktemp("whole") / "out.h5"
    code, _, errors = inside("translate", *long_run, "-o", out)
    assert code == 0, errors
    return contents(out)


@pytest.mark.parametrize("seed", range(4))
def test_killed_and_resumed(here: Path, long_run: list[str], whole: dict[str, Any], seed: int) -> None:
    """SIGKILL when some blocks are in the file, and now and then within a checkpoint."""
    chance = random.Random(seed)
    out = here / "out.h5"
    command = [*OFTEN, "translate", *long_run, "-o", out, "--resume", "-j", 1 + seed % 2]
    for _ in range(3):
        process = Process(command, cwd=here)
        _wait_for(process, here / ".out.h5.part")
        time.sleep(chance.uniform(0, 0.8))
        process.kill()
        finish(process)
        if out.exists():
            break  # it was done before
        assert hidden(here) <= {".out.h5.part", ".out.h5.journal"}
    if not out.exists():
        code, _, errors = finish(Process(command, cwd=here))
        assert code == 0, errors
    assert contents(out) == whole
    assert hidden(here) == set()


def test_a_killed_job_is_resumed_by_another_number_of_workers(
    here: Path, long_run: list[str], whole: dict[str, Any]
) -> None:
    out = here / "out.h5"
    words = ["translate", *long_run, "-o", out]
    process = Process([*ranks(3), *OFTEN, *words], cwd=here)
    _wait_for_blocks(process, here, 2)
    process.kill_all()
    finish(process)
    assert not out.exists()
    code, _, errors = inside(*words, "--resume", "-j", 2)
    assert code == 0, errors
    assert re.search(r"went on behind block \d+ of \d+", errors)
    assert contents(out) == whole


def _wait_for(process: Process, path: Path) -> None:
    while process.poll() is None and not path.exists():
        time.sleep(0.005)


def _wait_for_blocks(process: Process, directory: Path, count: int) -> None:
    """Wait until the journal of ``out.h5`` says that some blocks are safe."""
    journal = directory / ".out.h5.journal"
    while process.poll() is None and not (journal.exists() and f'"done": {count}' in journal.read_text()):
        time.sleep(0.005)
    assert process.poll() is None, finish(process)


def _killed(here: Path, run: list[str], *more: str) -> None:
    """Leave a translation with two blocks in it."""
    process = Process([*OFTEN, "translate", *run, "-o", here / "out.h5", *more], cwd=here)
    _wait_for_blocks(process, here, 2)
    process.kill()
    finish(process)
    assert hidden(here) == {".out.h5.part", ".out.h5.journal"}


def test_resume_with_nothing_there(here: Path, demo_run: list[str]) -> None:
    code, _, errors = inside("translate", *demo_run, "-o", "out.h5", "--resume")
    assert code == 0, errors
    assert "began anew: no interrupted translation is there" in errors
    assert (here / "out.h5").exists()


def test_resume_with_other_options_or_files_starts_over(here: Path, long_run: list[str]) -> None:
    """What was made of something else is never gone on with."""
    _killed(here, long_run)
    code, _, errors = inside("translate", *long_run, "-o", "out.h5", "--resume", "--exclude", "EBeam")
    assert code == 0, errors
    assert "began anew: what is there was made with other options" in errors
    found = contents(here / "out.h5")
    assert not any("EBeam" in place for place in found)
    (here / "out.h5").unlink()
    _killed(here, long_run)
    files = sorted(Path(long_run[2]).rglob("*.xtc"))
    os.utime(files[0])
    code, _, errors = inside("translate", *long_run, "-o", "out.h5", "--resume")
    assert code == 0, errors
    assert f"from another state of {files[0]}" in errors
    code, _, errors = inside("translate", *long_run, "-o", "again.h5")
    assert contents(here / "out.h5") == contents(here / "again.h5")


def test_files_that_are_complete_are_kept(here: Path, demo_run: list[str]) -> None:
    """Of a split only what is missing is made; with other options a complete file is no answer, and stays as it is."""
    words = ["translate", *demo_run, "-o", "out.h5", "--split", "steps"]
    code, _, errors = inside(*words)
    assert code == 0, errors
    files = sorted(here.glob("out*.h5"))
    assert len(files) > 2
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}
    whole = contents(files[1])
    files[1].unlink()
    code, _, errors = inside(*words, "--resume")
    assert code == 0, errors
    assert errors.count("was complete, and is kept") == len(files) - 1
    assert contents(files[1]) == whole
    assert all((path.stat().st_ino, path.stat().st_mtime_ns) == before[path] for path in files if path != files[1])
    code, _, errors = inside(*words, "--resume", "--exclude", "EBeam", "--compression", "none")
    assert code == 5
    assert f"{files[1].name} exists, and was made with other options" in errors
    assert '(compression: "gzip:1", now "none"; exclude: [], now ["EBeam"])' in errors and "--overwrite" in errors
    assert all((path.stat().st_ino, path.stat().st_mtime_ns) == before[path] for path in files if path != files[1])
    source = sorted(Path(demo_run[2]).rglob("*.xtc"))[-1]
    kept = source.stat()
    os.utime(source, (1, 1))
    code, _, errors = inside(*words, "--resume")
    os.utime(source, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    assert (code, f"was made from another state of {source}" in errors) == (5, True)
    files[0].write_bytes(b"no HDF5 at all")
    code, _, errors = inside(*words, "--resume")
    assert (code, "out.h5 exists, and was made by something else" in errors) == (5, True)
    code, _, errors = inside(*words, "--resume", "--overwrite")
    assert code == 0, errors
    assert errors.count("was complete, and is kept") == len(files) - 1


def test_without_resume_it_starts_over(here: Path, long_run: list[str]) -> None:
    _killed(here, long_run)
    code, _, errors = inside("translate", *long_run, "-o", "out.h5", "--events", "0:10")
    assert code == 0, errors
    assert hidden(here) == set()


def test_two_that_write_the_same_file(here: Path, image_run: list[str]) -> None:
    """The second says so, and does no harm to the first."""
    first = Process([*PSANA, "translate", *image_run, "-o", here / "out.h5", "--compression", "gzip:4"], cwd=here)
    _wait_for(first, here / ".out.h5.part")
    code, _, errors = inside("translate", *image_run, "-o", here / "out.h5", "--overwrite")
    assert code == 5
    assert "another process is writing it" in errors
    assert finish(first)[0] == 0
    assert len(contents(here / "out.h5")) > 100
    assert hidden(here) == set()


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_a_killed_rank_ends_all(here: Path, image_run: list[str], victim: int) -> None:
    process = begin(here, image_run, "ranks", *SLOW)
    _wait_for(process, here / ".out.h5.part")
    time.sleep(0.3)
    by_rank = {_rank(number): number for number in process.ranks()}
    sent = time.monotonic()
    os.kill(by_rank[victim], signal.SIGKILL)
    code, _, _ = finish(process)
    assert code != 0
    assert time.monotonic() - sent < 10
    assert process.none_left()
    assert not (here / "out.h5").exists()


def _rank(number: int) -> int:
    words = Path(f"/proc/{number}/environ").read_bytes().split(b"\0")
    return next(int(word.partition(b"=")[2]) for word in words if word.startswith(b"PMI_RANK="))


@pytest.mark.parametrize("where", ["fill.Worker.__call__", "placing.Placer.__call__"])
def test_a_raising_rank_ends_all_with_one_message(here: Path, demo_run: list[str], where: str) -> None:
    """A bug in a worker, and one where the results are placed."""
    program = (
        "from psanacli.hdf5 import fill, placing\n"
        f"def fail(*words): raise KeyError('planted')\n{where} = fail\n"
        "from psanacli.commands.main import main; main()"
    )
    process = Process([*ranks(3), sys.executable, "-c", program, "translate", *demo_run, "-o", "out.h5"], cwd=here)
    code, _, errors = finish(process)
    assert code == 1
    assert errors.count("psana: error: ") == 1 and "planted" in errors
    assert process.none_left()
    assert list(here.iterdir()) == []
