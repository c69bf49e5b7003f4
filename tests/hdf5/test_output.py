"""The output file exists whole or not at all, whatever happens, and an interrupted translation can go on."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import h5py
import pytest
from hdf5.comparison import compare

from psanacli.commands.main import run
from psanacli.demo import Sample
from psanacli.errors import OutputError
from psanacli.hdf5.output import Output
from psanacli.hdf5.placing import Placer

MOST = 1 << 20
"""Bytes of metadata that ask for a checkpoint in a test: those of some dozen nodes of indices."""


def command(here: Path, sample: Sample, out: Path, *more: str) -> list[str]:
    return [sys.executable, str(here / "program.py"), str(sample.root), sample.datasource, str(out), *more]


def started(lines: int, words: list[str]) -> subprocess.Popen[str]:
    """Return a program that has printed some lines."""
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(lines):
        process.stdout.readline()
    return process


def kill_after(lines: int, words: list[str], pause: float = 0.0) -> None:
    """Kill a program when it has printed some lines, a moment later."""
    process = started(lines, words)
    time.sleep(pause)
    process.kill()
    process.communicate()


@pytest.fixture(scope="module")
def whole(here: Path, sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that nobody interrupted."""
    out = tmp_path_factory.mktemp("whole") / "out.h5"
    subprocess.run(command(here, sample, out), check=True, stdout=subprocess.DEVNULL)
    return out


def differences(a: Path, b: Path) -> list[object]:
    return list(compare(a, b, Counter(), "resumed"))


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_any_instant_and_resumed(
    here: Path, sample: Sample, whole: Path, tmp_path: Path, seed: int, tally: Counter[str]
) -> None:
    chance = random.Random(seed)
    out = tmp_path / "out.h5"
    for attempt in range(4):  # noqa: B007  (counts the kills)
        kill_after(chance.randrange(1, 6), command(here, sample, out, "--resume"), chance.random() * 0.03)
        if out.exists():
            break  # the kill came after the end
    else:
        subprocess.run(command(here, sample, out, "--resume"), check=True, stdout=subprocess.DEVNULL)
    assert attempt > 0
    assert not differences(whole, out)
    assert os.listdir(tmp_path) == ["out.h5"]
    tally["HDF5: kills survived"] += attempt


def test_resumed_from_a_checkpoint_not_from_the_start(here: Path, sample: Sample, tmp_path: Path) -> None:
    out = tmp_path / "out.h5"
    kill_after(6, command(here, sample, out))
    again = subprocess.run(command(here, sample, out, "--resume"), check=True, capture_output=True, text=True)
    assert int(again.stdout.split()[0]) >= 4


def test_other_options_start_anew(here: Path, sample: Sample, tmp_path: Path) -> None:
    out = tmp_path / "out.h5"
    kill_after(6, command(here, sample, out))
    words = command(here, sample, out, "--resume", "--epics", "always")
    assert subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()[0] == "0"


def test_interrupted_by_the_user(here: Path, sample: Sample, tmp_path: Path) -> None:
    out = tmp_path / "out.h5"
    process = started(5, command(here, sample, out))
    process.send_signal(signal.SIGINT)
    _, words = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "interrupted" in words
    assert not out.exists()
    assert out.with_name(".out.h5.part").exists()  # for --resume
    subprocess.run(command(here, sample, out, "--resume"), check=True, stdout=subprocess.DEVNULL)
    assert os.listdir(tmp_path) == ["out.h5"]


@pytest.mark.parametrize("limit", [3_000, 100_000, 400_000])
def test_no_room(sample: Sample, tmp_path: Path, limit: int) -> None:
    out = tmp_path / "out.h5"
    words = ["translate", sample.datasource, "--root", str(sample.root), "-o", str(out)]
    process = subprocess.run(
        [sys.executable, "-m", "psanacli", *words],
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert process.returncode == 5, process.stderr
    assert "cannot be written" in process.stderr and "File too large" in process.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_full_disk(sample: Sample, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no mounts here")
    try:
        words = ["translate", sample.datasource, "--root", str(sample.root), "-o", str(disk / "out.h5")]
        process = subprocess.run([sys.executable, "-m", "psanacli", *words], capture_output=True, text=True, timeout=60)
        assert process.returncode == 5, process.stderr
        assert "No space left" in process.stderr
        assert os.listdir(disk) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_existing_file_is_kept(sample: Sample, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.h5"
    out.write_text("precious")
    words = ["translate", sample.datasource, "--root", str(sample.root), "-o", str(out), "-q"]
    assert run(words) == 5
    assert "exists" in capsys.readouterr().err and out.read_text() == "precious"
    assert run([*words, "--overwrite"]) == 0
    with h5py.File(out) as file:
        assert file.attrs[":schema:version"] == 5


def test_many_chunks_ask_for_checkpoints(
    sample: Sample, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What HDF5 keeps of the file between checkpoints is bounded, however long the run is and the time between them."""
    monkeypatch.setattr("psanacli.hdf5.tables.BLOCK_BYTES", 1 << 14)
    monkeypatch.setattr("psanacli.hdf5.output.CHECKPOINT_SECONDS", 3600.0)
    monkeypatch.setattr("psanacli.hdf5.output.MOST_METADATA", MOST)
    kept, asked = [], Output.checkpoint_due.fget
    assert asked is not None

    def due(self: Output) -> bool:
        answer = asked(self)
        kept.append((answer, self._metadata() - self._needed))
        return bool(answer)

    monkeypatch.setattr(Output, "checkpoint_due", property(due))
    out = tmp_path / "out.h5"
    assert run(["translate", sample.datasource, "--root", str(sample.root), "-o", str(out), "-q"]) == 0
    asking = [index for index, (answer, _) in enumerate(kept) if answer]
    assert 1 < len(asking) < len(kept) - 2, "now and then"
    assert all(size <= MOST for answer, size in kept if not answer)
    assert not differences(whole, out)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_open_datasets_take_little(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: str
) -> None:
    """By itself HDF5 has a table of 64 kB and up to 8 MB of chunks for each dataset that is open."""
    if compression == "zstd":
        pytest.importorskip("hdf5plugin")
    monkeypatch.setattr(Placer, "MOST_OPEN", 10)
    monkeypatch.setattr(Placer, "MOST_CACHED", 1 << 20)
    release, caches = Placer.release, []

    def released(self: Placer) -> None:
        found = [dataset.get_access_plist().get_chunk_cache() for dataset in self.output.datasets.values()]
        caches.append([(slots, size) for slots, size, _ in found])
        release(self)

    monkeypatch.setattr(Placer, "release", released)
    out = str(tmp_path / "out.h5")
    words = ["translate", sample.datasource, "--root", str(sample.root), "-o", out, "-q", "--compression", compression]
    assert run(words) == 0
    assert len(caches) > 1 and any(size for each in caches for _, size in each)
    assert all(len(each) <= 10 and sum(size for _, size in each) <= 1 << 20 for each in caches)
    assert all(slots <= 1 for each in caches for slots, _ in each)


def test_two_at_once(tmp_path: Path) -> None:
    first = Output(tmp_path / "out.h5", {"of": "one"})
    with first:
        first.begin()
        first.create(lambda file: [])
        with Output(tmp_path / "out.h5", {"of": "another"}) as second:
            with pytest.raises(OutputError, match="another process"):
                second.begin()
        first.finish(0, {})
    assert (tmp_path / "out.h5").exists()


def test_no_such_directory(sample: Sample, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["translate", sample.datasource, "--root", str(sample.root), "-o", str(tmp_path / "none" / "out.h5")]
    assert run(words) == 2
    assert "no such directory" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("h5dump") is None, reason="no hdf5-tools here")
def test_other_readers(whole: Path) -> None:
    for words in (["h5ls", "-r"], ["h5dump", "-H"], ["h5dump", "-d", "/Configure:0000/Run:0000/CalibCycle:0000"]):
        if "-d" in words:
            with h5py.File(whole) as file:
                step = file["Configure:0000/Run:0000/CalibCycle:0000"]
                name = next(f"{step.name}/{kind}/{source}/time" for kind in step for source in step[kind])
            words = ["h5dump", "-d", name]
        done = subprocess.run([*words, str(whole)], capture_output=True, text=True)
        assert done.returncode == 0 and "unable" not in done.stdout + done.stderr
