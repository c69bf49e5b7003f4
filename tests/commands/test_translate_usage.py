"""Wrong usage as a new user meets it: what is said, where, and what to do next."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import h5py
import pytest
from commands.cluster import PSANA, Process, environment, finish, inside

RUN = "exp=xppdemo26:run=1 --root ROOT"
TRANSLATE = f"translate {RUN} -o out.h5"

#: Command line, exit code, and what the message has to contain: the thing, and what was expected or comes next.
CASES = [
    (f"trnaslate {RUN}", 2, "'trnaslate'", "did you mean translate"),
    ("translate", 2, "Missing argument", "translate --help"),
    (f"{TRANSLATE} --overwirte", 2, "--overwirte", "did you mean --overwrite"),
    ("translate exp=xppdem26:run=1 --root ROOT", 3, "xppdem26", "did you mean xppdemo26"),
    ("translate exp=xppdemo26:run=2 --root ROOT", 3, "no run 2", "runs there: 1"),
    ("translate exp=xppdemo26:run=1:foo=3 --root ROOT", 2, "'foo'", "the keys are exp, run"),
    ("translate exp=xppdemo26:runs=1 --root ROOT", 2, "'runs'", "did you mean run?"),
    ("translate exp=xppdemo26:run=5-3 --root ROOT", 2, "5-3 is reversed", "did you mean 3-5"),
    ("translate exp=xppdemo26:run=-1 --root ROOT", 2, "'-1' is no number", "write run=5"),
    ("translate exp=xppdemo26:run= --root ROOT", 2, "no run is named", "runs there: 1"),
    ("translate exp=xppdemo26 --root ROOT", 2, "no run is named", "runs there: 1"),
    ("translate exp=:run=1 --root ROOT", 2, "exp= has no value", "exp=NAME"),
    ("translate exp=xppdemo26:run=1 --root nowhere", 3, "xppdemo26 under nowhere", "name a root"),
    ("translate exp=xppdemo26:run=1", 3, "no experiment xppdemo26", "--root"),
    ("translate exp=xppdemo26:run=1:stream=7 --root ROOT", 3, "no stream 7", "streams there: 0-1"),
    ("translate exp=xppdemo26:run=1:dir=/nowhere --root ROOT", 3, "no directory /nowhere", ""),
    ("translate nothing.xtc", 3, "no file nothing.xtc", ""),
    ("translate ''", 2, "no experiment is named", "exp=NAME"),
    ("translate text.xtc", 4, "text.xtc at offset 0", "is it an XTC file?"),
    ("translate other.h5", 2, "other.h5 is no XTC file", "h5py"),
    ("translate empty", 3, "no run of any experiment in empty", "no data files"),
    (f"translate {RUN} -o nowhere/out.h5", 2, "nowhere: no such directory", ""),
    (f"translate {RUN} -o text.xtc/out.h5", 2, "text.xtc: no such directory", ""),
    (f"translate {RUN} -o /proc/out.h5", 5, "/proc/out.h5: cannot be written", ""),
    (f"translate {RUN} -o other.h5", 5, "other.h5 exists", "--overwrite"),
    (f"translate {RUN} -o '{{foo}}.h5'", 2, "{foo}.h5", "'{exp}-r{run:04d}.h5'"),
    (f"translate {RUN} -o '{{exp'", 2, "{exp", "only {exp} and {run}"),
    (f"translate {RUN} -o '{{exp.__class__}}.h5'", 2, "only {exp} and {run}", ""),
    (f"translate {RUN} -o '{{run:0999999999d}}.h5'", 2, "only {exp} and {run}", ""),
    ("translate both -o out.h5 --root ROOT", 2, "several runs go to several files", "{run:04d}"),
    (f"{TRANSLATE} --steps 99", 3, "no step 99", "the steps 0 to 3"),
    (f"{TRANSLATE} --steps 3-1", 2, "'3-1'", "0,2-4"),
    (f"{TRANSLATE} --steps 0-99999999999", 2, "more steps than a run can have", ""),
    (f"{TRANSLATE} --events 5:2", 2, "'5:2' is empty", ""),
    (f"{TRANSLATE} --events 500:600", 3, "no event 500", "120 events"),
    (f"{TRANSLATE} --events 0:10:-1", 2, "'0:10:-1'", "START:STOP"),
    (f"{TRANSLATE} -n -3", 2, "-3", "range"),
    (f"{TRANSLATE} -n 3 --events 0:5", 2, "exclude each other", ""),
    (f"{TRANSLATE} --include Cpad", 3, "nothing in the run matches 'Cpad'", "did you mean Cspad? (--missing-ok"),
    (f"{TRANSLATE} --exclude 'Zyla*'", 3, "'Zyla*'", "--missing-ok"),
    (f"{TRANSLATE} --compression foo", 2, "'foo' is no compression", "known: none, gzip"),
    (f"{TRANSLATE} --compression zsdt", 2, "'zsdt'", "did you mean zstd"),
    (f"{TRANSLATE} --compression gzip:10", 2, "'gzip:10'", "gzip:1 to gzip:9"),
    (f"{TRANSLATE} --epics never", 2, "'never'", "calib-repeat"),
    (f"{TRANSLATE} --split steps --aligned", 2, "an aligned file has no steps", ""),
    (f"{TRANSLATE} -j -1", 2, "-1", "range"),
    ("dump nothing.xtc", 3, "nothing.xtc: no such file", ""),
    ("dump empty", 2, "'empty' is a directory", ""),
    ("dump FILE --types Camra.FrameV1", 3, "Camra.FrameV1", "did you mean Camera.FrameV1"),
    ("info nothing", 2, "'nothing'", "or give a file or a directory"),
    (f"info {RUN} --png empty", 2, "'empty' is a directory", ""),
    (f"info {RUN} --png nowhere/x.png", 5, "nowhere/x.png cannot be written", ""),
    (f"info {RUN} --events 9:3", 2, "'9:3' is empty", ""),
    ("demo text.xtc", 2, "'text.xtc' is a file", ""),
    ("demo there --detector cspat", 2, "'cspat'", "did you mean cspad"),
]


@pytest.fixture
def place(here: Path, demo_run: list[str]) -> Path:
    """A directory with what a user may take for data."""
    (here / "text.xtc").write_text("no data")
    (here / "empty").mkdir()
    with h5py.File(here / "other.h5", "w"):
        pass
    both = here / "both"
    both.mkdir()
    for path in Path(demo_run[2]).rglob("*.xtc"):
        for name in (path.name, path.name.replace("-r0001-", "-r0002-")):
            (both / name).symlink_to(path)
    return here


@pytest.mark.parametrize(("line", "code", "what", "then"), CASES, ids=[case[0] for case in CASES])
def test_wrong_usage(place: Path, demo_run: list[str], line: str, code: int, what: str, then: str) -> None:
    file = str(next(Path(demo_run[2]).rglob("*.xtc")))
    words = [{"ROOT": demo_run[2], "FILE": file}.get(word, word) for word in shlex.split(line)]
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*")}
    found, _, errors = inside(*words)
    assert found == code, errors
    assert what in errors and then in errors
    assert len(re.findall(r"^(psana: error: |Error: )", errors, re.MULTILINE)) == 1
    assert "Traceback" not in errors and "bug" not in errors
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*")} == before, "nothing was made or changed"


def test_the_output_is_a_directory_of_that_name(place: Path, demo_run: list[str]) -> None:
    """A directory gets the file of the default name in it."""
    assert inside("translate", *demo_run, "-o", "empty")[0] == 0
    assert (place / "empty" / "xppdemo26-r0001.h5").is_file()
    (place / "empty" / "xppdemo26-r0001.h5").unlink()
    (place / "empty" / "xppdemo26-r0001.h5").mkdir()
    code, _, errors = inside("translate", *demo_run, "-o", "empty", "--overwrite")
    assert code == 5, errors
    assert "xppdemo26-r0001.h5" in errors and "irectory" in errors


def test_something_in_the_way_of_what_is_made(place: Path, demo_run: list[str]) -> None:
    """The hidden names beside the file are no directories."""
    for name in (".out.h5.part", ".out.h5.journal"):
        (place / name).mkdir()
        code, _, errors = inside("translate", *demo_run, "-o", "out.h5")
        assert code == 5, errors
        assert "out.h5: cannot be written: Is a directory" in errors
        (place / name).rmdir()


@pytest.mark.parametrize("name", ["zstd", "bitshuffle-lz4"])
def test_a_filter_that_is_not_installed(place: Path, demo_run: list[str], name: str) -> None:
    (place / "hdf5plugin.py").write_text("raise ImportError('simulated')")
    more = environment()
    more["PYTHONPATH"] = f"{place}:{more['PYTHONPATH']}"
    command = [*PSANA, "translate", *demo_run, "-o", "out.h5", "--compression", name]
    code, _, errors = finish(Process(command, env=more))
    assert code == 2, errors
    assert name in errors and "pip install 'psanacli[compress]'" in errors
    assert not (place / "out.h5").exists()


def test_several_runs_and_one_of_them_damaged(place: Path, demo_run: list[str]) -> None:
    """The sound one is translated, the damaged one as far as it goes, and the code says so."""
    for path in sorted((place / "both").glob("*-r0002-*")):
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(data[: len(data) // 2])
    code, _, errors = inside("translate", "both", "-o", "{exp}-{run}.h5", "--root", demo_run[2])
    assert code == 4, errors
    assert errors.count("psana: error: ") == 1 and "-r0002-" in errors
    assert {path.name for path in place.glob("*-*.h5")} == {"xppdemo26-1.h5", "xppdemo26-2.h5"}
