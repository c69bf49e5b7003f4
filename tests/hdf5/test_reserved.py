"""Uncompressed images are copied from file to file: the same values, whole or not at all, however it ends."""

from __future__ import annotations

import os
import resource
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
from psanacli.hdf5 import derived
from psanacli.run import Run
from psanacli.run.reading import OpenFiles
from psanacli.xtc.columns import Batch

EVENTS = 6


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """Six events with a CSPAD and a camera, in two of them not as in the others.

    In one the quadrants arrived in another order, in one the camera says it is half as wide and twice as high.
    """
    sample = write_sample(tmp_path_factory.mktemp("images"), events=EVENTS, streams=1, chosen=["cspad", "camera"])
    with psanacli.open_run(sample.datasource, roots=[sample.root]) as opened:
        files = [file.path for file in opened.table.files]
        places = {}
        for key in opened.table.object_keys():
            objects = opened.table.objects(key.xtc_type, key.source)
            where = opened.table.datagrams["file"][objects.datagram]
            places[key.xtc_type.name] = [
                (files[file], int(at), int(size))
                for file, at, size in zip(where, objects.offset, objects.size, strict=True)
            ]
    path, at, size = places["CsPad.DataV2"][2]
    with open(path, "r+b") as file:
        file.seek(at)
        quads = np.frombuffer(file.read(size), np.uint8).reshape(4, -1)
        file.seek(at)
        file.write(quads[[2, 0, 3, 1]].tobytes())
    path, at, _ = places["Camera.FrameV1"][4]
    with open(path, "r+b") as file:
        file.seek(at)
        width, height = np.frombuffer(file.read(8), "<u4")
        file.seek(at)
        file.write(np.array([width // 2, height * 2], "<u4").tobytes())
    return sample


def words(sample: Sample, out: Path, *more: str) -> list[str]:
    return ["translate", sample.datasource, "--root", str(sample.root), "-o", str(out), "-q", *more]


@pytest.fixture(scope="module")
def packed(images: Sample, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in the default compression, which goes another way."""
    out = tmp_path_factory.mktemp("packed") / "out.h5"
    assert run(words(images, out)) == 0
    return out


def differences(a: Path, b: Path) -> list[object]:
    return list(compare(a, b, Counter(), "reserved"))


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_the_same_values(
    images: Sample, packed: Path, tmp_path: Path, jobs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: Counter[str] = Counter()
    for name in ("read", "copy"):

        def counted(
            self: OpenFiles, files: Any, offsets: Any, length: Any, *rest: Any, name: str = name, real: Any = None
        ) -> None:
            sizes[name] += int(length.sum())
            real(self, files, offsets, length, *rest)

        real = getattr(OpenFiles, name)
        monkeypatch.setattr(OpenFiles, name, lambda *a, counted=counted, real=real: counted(*a, real=real))
    out = tmp_path / "out.h5"
    assert run(words(images, out, "--compression", "none", "-j", jobs)) == 0
    assert not differences(packed, out)
    # All quadrants are copied; one block of the camera, and a few samples, are read.
    assert sizes["copy"] > 0.7 * images.size
    with h5py.File(out) as file:
        names: list[str] = []
        file.visit(names.append)
        name = next(name for name in names if name.endswith("Cspad.0/data"))
        with psanacli.open_run(images.datasource, roots=[images.root]) as opened:
            expected = np.concatenate([quad.data for quad in opened.events[2].get("Cspad").quads])
        step, rows = names, np.concatenate([file[each][...] for each in names if each.endswith("Cspad.0/data")])
        assert step and (rows[2] == expected).all()
        assert file[name].chunks == (1,)


def test_the_same_values_with_a_row_for_every_event(images: Sample, tmp_path: Path) -> None:
    packed, out = tmp_path / "packed.h5", tmp_path / "out.h5"
    assert run(words(images, packed, "--aligned")) == 0
    assert run(words(images, out, "--aligned", "--compression", "none")) == 0
    assert not differences(packed, out)


def test_a_value_that_is_made_of_the_array(images: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not read cannot be wrong in the values that need it."""

    def sums(batch: Batch) -> np.ndarray:
        return batch.column("data").reshape(len(batch), -1).astype(np.int64).sum(axis=1).astype(np.uint32)

    monkeypatch.setitem(derived._COLUMNS, ("CsPad.ElementV2", "sectionMask"), sums)
    out = tmp_path / "out.h5"
    assert run(words(images, out, "--compression", "none")) == 0
    with h5py.File(out) as file:
        names: list[str] = []
        file.visit(names.append)
        for name in [each for each in names if each.endswith("Cspad.0/data")]:
            expected = file[name][...].reshape(-1, 4, 8 * 185 * 388).astype(np.int64).sum(axis=2).astype(np.uint32)
            assert (file[name.replace("/data", "/element")][...]["sectionMask"] == expected).all()


def test_killed_and_resumed(here: Path, images: Sample, packed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.h5"
    more = [str(images.root), images.datasource, str(out), "--compression", "none"]
    process = subprocess.Popen([sys.executable, str(here / "program.py"), *more], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(3):
        process.stdout.readline()
    process.kill()
    process.communicate()
    assert not out.exists()
    again = subprocess.run(
        [sys.executable, str(here / "program.py"), *more, "--resume"], check=True, capture_output=True, text=True
    )
    assert int(again.stdout.split()[0]) >= 1
    assert not differences(packed, out)
    assert os.listdir(tmp_path) == ["out.h5"]


def test_no_room_is_known_before_the_first_image(images: Sample, tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "psanacli", *words(images, tmp_path / "out.h5", "--compression", "none")],
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8 << 20, 8 << 20)),
    )
    assert process.returncode == 5, process.stderr
    assert "cannot be written" in process.stderr and "File too large" in process.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_disk_that_fills(
    images: Sample, tmp_path: Path, jobs: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(self: Run, *arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Run, "copy", full)
    assert run(words(images, tmp_path / "out.h5", "--compression", "none", "-j", jobs)) == 5
    assert "No space left" in capsys.readouterr().err
    assert os.listdir(tmp_path) == []
