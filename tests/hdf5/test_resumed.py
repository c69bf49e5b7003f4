"""What a checkpoint made safe stays so, whatever is written behind it, until the next one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hdf5.comparison import compare

import psanacli
from psanacli.commands.main import run
from psanacli.demo import Sample, write_sample
from psanacli.hdf5.output import Output
from psanacli.xtc import DamageBit

KILLED = """
import os, signal, sys
from psanacli.commands.main import run
from psanacli.hdf5 import output, tables

tables.BLOCK_BYTES = 1 << 17
asked, made, second = 0, 0, int(sys.argv.pop(1))
checkpoint = output.Output.checkpoint

def due(self):
    global asked
    asked += 1
    return asked in (3, second)

def at(self, *words):
    global made
    made += 1
    if made == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    checkpoint(self, *words)

output.Output.checkpoint_due = property(due)
output.Output.checkpoint = at
sys.exit(run(sys.argv[1:]))
"""
"""A translation by blocks of 128 kB, with a checkpoint behind the third, and killed when the second would begin."""


EVENTS, LATE = 120, 30
FIRST = "EvrData.DataV4"
"""What is often missing: its mask is the larger one, so the other fits into the place that it leaves when it grows."""


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """A run with payloads that say they are longer than they are, of two detectors, one of which is often missing."""
    sample = write_sample(tmp_path_factory.mktemp("damaged"), events=EVENTS, streams=1)
    chance = np.random.default_rng(9)
    with psanacli.open_run(sample.datasource, roots=[sample.root]) as opened:
        (path,) = [file.path for file in opened.table.files]
        with open(path, "r+b") as file:
            for key in opened.table.object_keys():
                objects = opened.table.objects(key.xtc_type, key.source)
                if key.xtc_type.name in ("EvrData.DataV4", "Camera.FrameV1"):
                    told = chance.random(len(objects)) < (0.5 if key.xtc_type.name == FIRST else 0)
                    for at in objects.offset[told].tolist():
                        file.seek(at - 20)
                        file.write(np.uint32(1 << DamageBit.DroppedContribution).tobytes())
                    wrong = ~told & (objects.event >= LATE) & (chance.random(len(objects)) < 0.4)
                    for at in objects.offset[wrong].tolist():
                        file.seek(at)  # the number of codes, of columns
                        file.write(b"\xff\xff\xff\x00")
    return sample


def words(sample: Sample, out: Path, *more: str) -> list[str]:
    return ["translate", sample.datasource, "--root", str(sample.root), "-o", str(out), "-q", *more]


def killed(sample: Sample, out: Path, second: int, *more: str) -> None:
    command = [sys.executable, "-c", KILLED, str(second), *words(sample, out, *more)]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    assert not out.exists()


def masks(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[...]} if name.endswith("/_mask") else {}))
    return found


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_killed_before_a_checkpoint(
    damaged: Sample, tmp_path: Path, compression: str, monkeypatch: pytest.MonkeyPatch, tally: Counter[str]
) -> None:
    """Masks and times of all events are one chunk, to which every block has something to add."""
    more = ["--aligned", "--compression", compression]
    whole, out = tmp_path / "whole.h5", tmp_path / "out.h5"
    assert run(words(damaged, whole, *more)) == 4
    killed(damaged, out, 60, *more)
    before, after = masks(tmp_path / ".out.h5.part"), masks(whole)
    taken = {name: np.flatnonzero(before[name] != after[name]) for name in after}
    assert all((before[name][rows] == 1).all() and (rows >= LATE).all() for name, rows in taken.items())
    assert sum(len(rows) > 10 for rows in taken.values()) == 2, "the checkpoint has the masks as they were then"
    monkeypatch.setattr("psanacli.hdf5.tables.BLOCK_BYTES", 1 << 17)
    assert run(words(damaged, out, *more, "--resume")) == 4
    assert not list(compare(whole, out, Counter(), "resumed"))
    tally["HDF5: kills survived"] += 1


def test_damage_found_before_the_kill_is_told_after_it(
    damaged: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("psanacli.hdf5.tables.BLOCK_BYTES", 1 << 17)
    counts = []
    for name, more in (("whole.h5", []), ("out.h5", ["--resume"])):
        if more:
            # Killed in the end, by which everything is in the file.
            program = KILLED.replace("made == 2", "False").replace("asked in (3, second)", "asked == second")
            program = program.replace("sys.exit", "os.replace = lambda *names: os.kill(os.getpid(), 9)\nsys.exit")
            command = [sys.executable, "-c", program, "60", *words(damaged, tmp_path / name)]
            assert subprocess.run(command).returncode == -signal.SIGKILL
            entries = [json.loads(line) for line in (tmp_path / ".out.h5.journal").read_text().splitlines()]
            assert entries[-1]["done"] == entries[0]["identity"]["blocks"], "the end is a checkpoint too"
        assert run([*words(damaged, tmp_path / name, *more), "--json"]) == 4
        counts.append(json.loads(capsys.readouterr().out)["broken"])
    assert counts[0] == counts[1] and sum(counts[0].values()) > 40


def test_what_cannot_take_its_name_is_kept(tmp_path: Path) -> None:
    """Somebody else made a file of that name meanwhile: theirs stays, and ours is gone on with later."""
    path = tmp_path / "out.h5"
    with pytest.raises(psanacli.errors.OutputError, match="stays in") as told, Output(path, {"of": "one"}) as output:
        output.begin()
        output.create(lambda file: [])
        path.write_text("precious")
        output.finish(3, {})
    assert path.read_text() == "precious"
    assert str(output.part) in str(told.value) and output.part.exists()
    path.unlink()
    with Output(path, {"of": "one"}, resume=True) as again:
        assert again.begin() == 3
        again.finish(3, {})
    assert os.listdir(tmp_path) == ["out.h5"]
