"""Uncompressed images under MPI ranks: workers write to the file, no pixel travels, however it ends."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands.cluster import Process, contents, finish, ranks
from hdf5.comparison import compare

import psanacli
from psanacli.commands.main import run
from psanacli.demo import Sample, write_sample
from psanacli.hdf5 import tables
from psanacli.xtc import XTC

EVENTS = 12
BLOCK_BYTES = 1 << 22
PROGRAM = """
import atexit, os, sys, time
from psanacli.hdf5 import output, reserved, tables
from psanacli.parallel import launched, ranks
from psanacli.run.payloads import Payloads
from psanacli.commands.main import main

manner, rank = sys.argv.pop(1), launched().rank
tables.BLOCK_BYTES = %BYTES
travelled, receive, copy, fsync = 0, ranks._receive, reserved.Reserved.copy, os.fsync

def counted(comm, word, sender):
    global travelled
    travelled += len(word.pickled) + sum(word.sizes)
    return receive(comm, word, sender)

def killed(self, *words):
    copy(self, *words)
    os.kill(os.getpid(), 9)

def full(self, *words):
    raise OSError(28, "No space left on device")

def late(descriptor):
    if not os.readlink(f"/proc/self/fd/{descriptor}").endswith(".part"):
        return fsync(descriptor)
    time.sleep(0.2)
    raise OSError(122, "Disk quota exceeded")

ranks._receive = counted
if manner == "elsewhere" and rank == 1:
    reserved._machine = lambda: "another"
if manner == "elsewhere" and rank == 2:
    reserved._open = lambda part: os.open(os.devnull, os.O_WRONLY)
if manner == "checkpoints":
    output.CHECKPOINT_SECONDS = 0
    reserved.Reserved.copy = killed if rank == 2 else copy
if manner == "full" and rank:
    Payloads.copy = full
if manner == "late" and rank == 1:
    os.fsync = late
if not rank:
    atexit.register(lambda: print("travelled", travelled))
main()
""".replace("%BYTES", str(BLOCK_BYTES))
"""A translation by blocks of two images, of which some ranks do something else."""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """A camera that is damaged once, twice not there, and says once that it is half as wide and twice as high."""
    sample = write_sample(tmp_path_factory.mktemp("images"), events=EVENTS, streams=1, chosen=["camera"])
    with psanacli.open_run(sample.datasource, roots=[sample.root]) as opened:
        (key,) = [key for key in opened.table.object_keys() if key.xtc_type.name == "Camera.FrameV1"]
        begins = opened.table.objects(key.xtc_type, key.source).offset
        (path,) = [file.path for file in opened.table.files]
    with open(path, "r+b") as file:
        for event in (3, 6, 7):
            file.seek(begins[event] - XTC.itemsize)
            head = np.frombuffer(file.read(XTC.itemsize), XTC).copy()
            if event == 3:
                head["damage"] = 2  # dropped
            else:
                head["phy"] ^= 0x100  # of another camera
            file.seek(begins[event] - XTC.itemsize)
            file.write(head.tobytes())
        file.seek(begins[10])
        width, height = np.frombuffer(file.read(8), "<u4")
        file.seek(begins[10])
        file.write(np.array([width // 2, height * 2], "<u4").tobytes())
    return sample


def words(sample: Sample, out: Path, *more: str) -> list[str]:
    return ["translate", sample.datasource, "--root", str(sample.root), "-o", str(out), "-q", *more]


@pytest.fixture(scope="module")
def alone(images: Sample, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one process makes of it, with the same values as in a compression that needs the images in memory."""
    plain, packed = (tmp_path_factory.mktemp("alone") / name for name in ("plain.h5", "packed.h5"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "BLOCK_BYTES", BLOCK_BYTES)
        assert run(words(images, plain, "--compression", "none")) == 0
        assert run(words(images, packed, "--compression", "gzip:2")) == 0
    assert not list(compare(packed, plain, Counter(), "reserved"))
    return contents(plain)


def translated(manner: str, count: int, sample: Sample, out: Path, *more: str) -> tuple[int, str, str]:
    command = words(sample, out, "--compression", "none", *more)
    return finish(Process([*ranks(count), sys.executable, "-c", PROGRAM, manner, *command], cwd=out.parent))


@pytest.mark.parametrize(("count", "manner"), [(1, "here"), (2, "here"), (3, "here"), (3, "elsewhere")])
def test_the_same_content(images: Sample, alone: dict[str, Any], tmp_path: Path, count: int, manner: str) -> None:
    """A rank on another machine, and one that sees another file of that name, send their rows."""
    out = tmp_path / "out.h5"
    code, told, errors = translated(manner, count, images, out)
    assert code == 0, errors
    assert contents(out) == alone
    assert os.listdir(tmp_path) == ["out.h5"]
    travelled = int(told.split()[-1])
    assert travelled < images.size / 5 if manner == "here" else travelled > images.size / 5


def test_a_killed_rank_leaves_nothing_but_what_goes_on(images: Sample, alone: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "out.h5"
    code, _, _ = translated("checkpoints", 3, images, out)
    assert code != 0
    assert set(os.listdir(tmp_path)) <= {".out.h5.part", ".out.h5.journal"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "BLOCK_BYTES", BLOCK_BYTES)
        assert run(words(images, out, "--compression", "none", "--resume")) == 0
    assert contents(out) == alone
    assert os.listdir(tmp_path) == ["out.h5"]


@pytest.mark.parametrize(("manner", "reason"), [("full", "No space left"), ("late", "quota exceeded")])
def test_a_disk_that_a_rank_finds_full(images: Sample, tmp_path: Path, manner: str, reason: str) -> None:
    """At once, or when it closes the file after its last image: rank 0 has not given the file its name by then."""
    code, _, errors = translated(manner, 2, images, tmp_path / "out.h5")
    assert code == 5, errors
    assert "out.h5: cannot be written" in errors and reason in errors
    assert os.listdir(tmp_path) == []
