"""``--follow``: verbs on a run that is being written, as whole processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import h5py
import pytest
from commands.cluster import inside
from hdf5.comparison import compare
from run.replay import Replay
from run.runs import write_run


def psana(*words: object) -> subprocess.CompletedProcess[str]:
    code = "from psanacli.commands.main import main; main()"
    return subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, timeout=120)


@pytest.fixture
def whole(tmp_path: Path) -> list[Path]:
    return write_run(tmp_path / "whole", events=120)


def test_a_growing_run_is_translated_like_a_finished_one(whole, tmp_path):
    growing = tmp_path / "growing"
    growing.mkdir()
    Replay(whole, growing, pause=0.05).start()
    done = psana("translate", f"dir={growing}:run=1", "--follow", "--timeout", 20, "-o", tmp_path / "live.h5")
    assert done.returncode == 0, done.stderr
    assert inside("translate", whole[0].parent, "-o", tmp_path / "whole.h5")[0] == 0
    assert not list(compare(tmp_path / "whole.h5", tmp_path / "live.h5", Counter(), "followed"))


def test_live_in_the_data_source_is_the_same(whole, tmp_path):
    growing = tmp_path / "growing"
    growing.mkdir()
    Replay(whole, growing, pause=0.02).start()
    done = psana("info", f"dir={growing}:run=1:live", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["runs"][0]["events"] == 120


def test_a_killed_writer(whole, tmp_path):
    growing = tmp_path / "growing"
    growing.mkdir()
    replay = Replay(whole, growing, stop_after={0: 0.5, 1: 0.5})
    replay.start()
    replay.join()
    words = "translate", f"dir={growing}:run=1", "--follow", "--timeout", 1, "-o", tmp_path / "live.h5"
    done = psana(*words)
    assert done.returncode == 4
    assert "no EndRun in" in done.stderr and "nothing new for 1 s" in done.stderr
    with h5py.File(tmp_path / "live.h5") as file:  # what there was
        times = [item for item in _datasets(file) if item.endswith("Opal1000.1/time")]
        assert 40 < sum(len(file[name]) for name in times) < 90


def _datasets(file: h5py.File) -> list[str]:
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return names


def test_a_run_that_never_begins(tmp_path):
    done = psana("info", f"dir={tmp_path}:run=1", "--follow", "--timeout", 0.5)
    assert done.returncode == 3
    assert "waited" in done.stderr


def test_a_timeout_for_nothing(whole):
    code, _, errors = inside("info", whole[0].parent, "--timeout", 5)
    assert (code, "--timeout is for --follow" in errors) == (2, True)


def test_events_are_listed_as_they_come(whole, tmp_path):
    growing = tmp_path / "growing"
    growing.mkdir()
    Replay(whole, growing, pause=0.02).start()
    words = "--where", "code(162)", "--columns", "number,time,EBeam.ebeamPhotonEnergy"
    done = psana("eventid", "list", f"dir={growing}:run=1", "--follow", "--tsv", *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout == inside("eventid", "list", whole[0].parent, "--tsv", *words)[1]
    assert len(done.stdout.splitlines()) == 41


FOLLOWERS = {
    "index build": ["-o", "OUT"],
    "eventid select": ["--where", "code(162)", "-o", "OUT"],
    "extract": ["--where", "code(162)", "-o", "OUT"],
    "eventid save": ["--events", "::7"],
}
"""Verbs that wait for the end of the run, and then do what they do with a finished one."""


@pytest.mark.parametrize("verb", FOLLOWERS)
def test_a_growing_run_gives_what_a_finished_one_gives(whole, tmp_path, verb):
    growing = tmp_path / "growing"
    Replay(whole, growing, pause=0.01).start()
    for source, name in ((f"dir={growing}:run=1", "live"), (f"dir={whole[0].parent}:run=1", "finished")):
        options = [str(tmp_path / name) if word == "OUT" else word for word in FOLLOWERS[verb]]
        before = [tmp_path / name] if verb == "eventid save" else []
        words = [*verb.split(), *before, source, *options]
        if name == "live":
            done = psana(*words, "--follow", "--timeout", 20)
            assert done.returncode == 0, done.stderr
        else:
            code, _, errors = inside(*words)
            assert code == 0, errors
    live, finished = (_files(tmp_path / name) for name in ("live", "finished"))
    assert live and live.keys() == finished.keys()
    for name, data in finished.items():
        if name.endswith(".psana"):  # has the times of the files
            assert len(live[name]) == len(data)
        elif not name.endswith(".json"):  # says where the files were
            assert live[name] == data, name


def _files(place: Path) -> dict[str, bytes]:
    """Return what is in a file or a directory, without remarks."""
    if place.is_file():
        return {"": b"\n".join(line for line in place.read_bytes().splitlines() if not line.startswith(b"#"))}
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


@pytest.mark.parametrize("verb", ["index build", "extract"])
def test_of_an_abandoned_run_there_is_what_there_was(whole, tmp_path, verb):
    growing = tmp_path / "growing"
    growing.mkdir()
    for path in whole:
        (growing / f"{path.name}.inprogress").write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    done = psana(*verb.split(), f"dir={growing}:run=1", "-o", tmp_path / "out", "--follow", "--timeout", 0.5)
    assert done.returncode == 4
    assert "no EndRun in" in done.stderr
    assert (tmp_path / "out").exists()


def test_what_follow_excludes(whole):
    code, _, errors = inside("eventid", "list", whole[0].parent, "--follow", "--events", "0:3")
    assert (code, "--follow lists all events that come" in errors) == (2, True)


def test_streams_and_chunks_of_the_recorded_run(shared, tmp_path):
    """`multi`: six streams and two chunks grow while one process translates and another lists."""
    data = shared / "lcls1" / "multi" / "xtc"
    growing = tmp_path / "growing"
    growing.mkdir()
    (tmp_path / "experiment-db.dat").write_bytes((data.parent.parent / "experiment-db.dat").read_bytes())
    source = f"dir={growing}:run=7"
    words = "--columns", "number,seconds,nanoseconds,fiducials,step,codes,damage", "--tsv"
    code = "from psanacli.commands.main import main; main()"
    translate = [sys.executable, "-c", code, "translate", source, "--follow", "-o", str(tmp_path / "live.h5")]
    listing = [sys.executable, "-c", code, "eventid", "list", source, "--follow", *words]
    with (
        subprocess.Popen(translate, stderr=subprocess.PIPE, text=True) as first,
        subprocess.Popen(listing, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as second,
    ):
        Replay(sorted(data.glob("*.xtc")), growing, pause=0.05).start()
        listed, said = second.communicate(timeout=120)
        _, told = first.communicate(timeout=120)
    # What is wrong in the files of the run is told at the end, whether it was followed or not.
    offline = inside("translate", f"dir={data}:run=7", "-o", tmp_path / "whole.h5")[0]
    assert (first.returncode, second.returncode) == (offline, 0), told + said
    assert not list(compare(tmp_path / "whole.h5", tmp_path / "live.h5", Counter(), "followed"))
    assert listed == inside("eventid", "list", f"dir={data}:run=7", *words)[1]
    assert len(listed.splitlines()) > 60
