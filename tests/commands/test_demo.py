"""`psana demo`: what a new user runs first."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import h5py
import pytest
from commands.cluster import inside


def psana(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "psanacli", *words], cwd=cwd, capture_output=True, text=True, timeout=120
    )


def test_what_it_proposes_works(tmp_path: Path) -> None:
    shown = psana("demo", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "XppGon.0:Cspad.0" in shown.stdout
    proposals = [line.strip() for line in shown.stdout.partition("Try next:")[2].splitlines()]
    commands = [shlex.split(line) for line in proposals if line.startswith("psana ")]
    assert [words[1] for words in commands] == ["info", "info", "dump", "translate"]
    for words in commands:
        done = psana(*words[1:], cwd=tmp_path)
        assert done.returncode == 0, (words, done.stderr)
    assert (tmp_path / "aligned.h5").exists()
    line = next(line for line in proposals if line.startswith("python -c"))
    done = subprocess.run([sys.executable, *shlex.split(line)[1:]], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "120 events in 4 steps" in done.stdout


def test_its_hdf5_file_holds_the_run(tmp_path: Path) -> None:
    assert psana("demo", "there", cwd=tmp_path).returncode == 0
    with h5py.File(tmp_path / "there/XPP/xppdemo26/hdf5/xppdemo26-r0001.h5") as file:
        run = file["Configure:0000/Run:0000"]
        steps = [name for name in run if name.startswith("CalibCycle")]
        assert len(steps) == 4
        energy = [run[f"{step}/Bld::BldDataEBeamV7/EBeam/data"]["fEbeamPhotonEnergy"] for step in steps]
        assert sum(map(len, energy)) == 120
        assert all(9000 < values.min() and values.max() < 10_000 for values in energy)


def test_nothing_is_replaced_unasked(here: Path) -> None:
    assert inside("demo", "--no-translate", "--streams", "3")[0] == 0
    code, _, errors = inside("demo", "--no-translate")
    assert (code, "--overwrite" in errors) == (5, True)
    assert inside("demo", "--no-translate", "--overwrite", "--streams", "1")[0] == 0
    files = sorted(path.name for path in (here / "psana-demo/XPP/xppdemo26/xtc").iterdir())
    assert files == ["xppdemo26-r0001-s00-c00.xtc"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--detector", "cspat"], 2, "did you mean cspad"),
        (["--events", "0"], 2, "range"),
        (["--streams", "80"], 2, "range"),
        (["file"], 2, "is a file"),
    ],
)
def test_wrong_words_are_answered(here: Path, words: list[str], code: int, message: str) -> None:
    (here / "file").touch()
    found, _, errors = inside("demo", *words)
    assert (found, message in errors) == (code, True), errors
    assert not list(here.glob("psana-demo/**/*.xtc"))


def test_a_dark_run_is_listed_and_what_to_do_with_it_works(here: Path) -> None:
    code, shown, errors = inside(*"demo --dark --no-translate -d camera -d timing --events 2".split())
    assert code == 0, errors
    assert "xppdemo26-r0002-s00-c00.xtc" in shown
    assert "and a dark run of 60" in shown
    proposals = [line.strip() for line in shown.partition("Try next:")[2].splitlines()]
    commands = [shlex.split(line)[1:] for line in proposals if line.startswith("psana ")]
    calibrating = [words for words in commands if "calib" in words or "--calib" in words]
    assert [words[0] for words in calibrating] == ["calib", "calib", "calib", "translate"]
    for words in calibrating:
        code, _, errors = inside(*words)
        assert code == 0, (words, errors)
    code, _, errors = inside("demo", "other", "--dark", "-d", "ebeam")
    assert (code, "no images" in errors) == (2, True)
