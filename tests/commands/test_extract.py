"""The command `psana extract`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from psanacli.commands.main import run as psana
from psanacli.run import open_run
from psanacli.run.extract import PROVENANCE
from tests.run.runs import write_run

NAME = "xppsim15"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The directories of the facility, with a run, the table of experiments and constants."""
    root = tmp_path / "psdm"
    write_run(root / "XPP" / NAME / "xtc")
    calib = root / "XPP" / NAME / "calib" / "Opal1000::CalibV1" / "pedestals"
    calib.mkdir(parents=True)
    (calib / "0-end.data").write_text("1 2 3\n")
    (root / "experiment-db.dat").write_text(f"301 XPP {NAME}\n")
    return root


def test_an_extraction_is_a_root_of_its_own(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "home"
    source = f"exp={NAME}:run=1"
    assert psana(["extract", source, "--root", str(root), "--events", "2:9:3", "-o", str(out), "--calib"]) == 0
    assert "3 of 12 events" in capsys.readouterr().err
    assert (out / "XPP" / NAME / "calib" / "Opal1000::CalibV1" / "pedestals" / "0-end.data").read_text() == "1 2 3\n"
    assert (out / "data" / "ExpNameDb" / "experiment-db.dat").read_text() == f"301 XPP {NAME}\n"
    assert "psana extract" in json.loads((out / PROVENANCE).read_text())["command"]
    with open_run(source, roots=[root]) as full:
        for words in (source, f"{source}:smd", "exp=301:run=1"):
            with open_run(words, roots=[out]) as run:
                assert [event.id for event in run.events] == [full.events[number].id for number in (2, 5, 8)]
    assert len(list((out / "XPP" / NAME / "xtc" / "index").glob("*.xtc.idx"))) == 2


def test_a_plan_writes_nothing(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["extract", f"exp={NAME}:run=1", "--root", str(root), "-n", "4", "--dry-run"]
    assert psana([*words, "-o", str(tmp_path / "home")]) == 0
    out = capsys.readouterr().out
    assert "4 of 12 events" in out and "e301-r0001-s01-c00.xtc" in out
    assert psana([*words, "--json"]) == 0
    (plan,) = json.loads(capsys.readouterr().out)["runs"]
    assert plan["events"] == 4 and plan["bytes"] == sum(file["bytes"] for file in plan["files"]) < plan["bytes_of_run"]
    assert not (tmp_path / "home").exists()


def test_wrong_usage(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["extract", f"exp={NAME}:run=1", "--root", str(root)]
    assert psana(words) == 2
    assert psana([*words, "-n", "1", "--events", "3", "-o", "x"]) == 2
    assert psana([*words, "--calib-dir", "x", "-o", "x"]) == 2
    shutil.rmtree(root / "XPP" / NAME / "calib")
    assert psana([*words, "--calib", "-o", str(tmp_path / "out")]) == 3
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").write_text("")
    assert psana([*words, "-o", str(tmp_path / "out")]) == 2
    assert psana([*words, "-o", str(tmp_path / "out"), "--overwrite"]) == 2
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["file"]


def test_what_can_be_read_of_a_damaged_run_is_extracted(root: Path, tmp_path: Path) -> None:
    path = root / "XPP" / NAME / "xtc" / "e301-r0001-s00-c00.xtc"
    path.write_bytes(path.read_bytes()[:-50])
    assert psana(["extract", f"exp={NAME}:run=1", "--root", str(root), "-o", str(tmp_path / "out")]) == 4
    with open_run(f"exp={NAME}:run=1", roots=[tmp_path / "out"]) as run:
        assert len(run.events) == 12 and not run.problems


def same_tree(one: Path, two: Path) -> bool:
    files = [
        sorted((path.relative_to(top), path.read_bytes()) for path in top.rglob("*") if path.suffix in (".xtc", ".idx"))
        for top in (one, two)
    ]
    return bool(files[0]) and files[0] == files[1]


@pytest.mark.parametrize("launcher", [["-j", "3"], ["mpiexec", "-n", "3"]])
def test_any_number_of_workers_gives_the_same(root: Path, tmp_path: Path, launcher: list[str]) -> None:
    words = ["extract", f"exp={NAME}:run=1", "--root", str(root), "--events", "1:11:2"]
    assert psana([*words, "-o", str(tmp_path / "one")]) == 0
    if launcher[0] == "-j":
        assert psana([*words, *launcher, "-o", str(tmp_path / "many")]) == 0
    else:
        pytest.importorskip("mpi4py")
        if shutil.which("mpiexec") is None:
            pytest.skip("no mpiexec")
        command = [*launcher, sys.executable, "-m", "psanacli", *words, "-o", str(tmp_path / "many")]
        assert subprocess.run(command, capture_output=True, timeout=120).returncode == 0
    assert same_tree(tmp_path / "one", tmp_path / "many")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_who_is_ended_leaves_nothing_under_the_final_name(root: Path, tmp_path: Path, number: int, code: int) -> None:
    program = (
        "import sys, time; from psanacli.run.extract import writing; from psanacli.commands import main\n"
        "def slow(*words): print('begun', flush=True); time.sleep(60)\n"
        "writing._copy = slow\n"
        f"sys.argv[1:] = {['extract', f'exp={NAME}:run=1', '--root', str(root), '-o', str(tmp_path / 'home')]!r}\n"
        "main.main()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"begun\n"
    os.kill(process.pid, number)
    assert process.wait(60) == code
    process.communicate()
    left = [path.name for path in tmp_path.iterdir() if path.name != "psdm"]
    assert "home" not in left
    assert number == signal.SIGKILL or left == []
