"""Uncompressed images are copied from file to file: the same values, whole or not at all, however it ends."""

from __future__ import annotations

import errno
import os
import resource
import shutil
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
from psanacli.hdf5 import derived, output, tables
from psanacli.hdf5.reserved import Reserved, places_of
from psanacli.run._read import copy_pieces
from psanacli.run.payloads import Payloads
from psanacli.run.reading import OpenFiles
from psanacli.xtc import XTC, Batch

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
    """The same in a compression that needs the images in memory."""
    out = tmp_path_factory.mktemp("packed") / "out.h5"
    assert run(words(images, out, "--compression", "gzip:2")) == 0
    return out


def differences(a: Path, b: Path) -> list[object]:
    return list(compare(a, b, Counter(), "reserved"))


@pytest.mark.parametrize(("jobs", "compression"), [("1", "none"), ("2", "none"), ("2", "gzip")])
def test_the_same_values(
    images: Sample, packed: Path, tmp_path: Path, jobs: str, compression: str, monkeypatch: pytest.MonkeyPatch
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
    lent = OpenFiles.lent

    def counted_lent(self: OpenFiles, file: int) -> Any:
        sizes["lent"] += 1
        return lent(self, file)

    monkeypatch.setattr(OpenFiles, "lent", counted_lent)
    out = tmp_path / "out.h5"
    assert run(words(images, out, "--compression", compression, "-j", jobs)) == 0
    assert not differences(packed, out)
    # All quadrants go from file to file; one block of the camera, and a few samples, are read.
    assert sizes["copy"] > 0.7 * images.size if compression == "none" else not sizes["copy"]
    assert sizes["lent"] >= EVENTS if compression == "gzip" else not sizes["lent"]
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
    def full(self: Payloads, *arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Payloads, "copy", full)
    assert run(words(images, tmp_path / "out.h5", "--compression", "none", "-j", jobs)) == 5
    assert "No space left" in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


def test_a_block_without_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk of a small dataset reaches into the next block, whose image is sound."""
    sample = write_sample(tmp_path, events=64, streams=1, chosen=["camera"])
    with psanacli.open_run(sample.datasource, roots=[sample.root]) as opened:
        (key,) = [key for key in opened.table.object_keys() if key.xtc_type.name == "Camera.FrameV1"]
        objects = opened.table.objects(key.xtc_type, key.source)
        path, size = opened.table.files[0].path, int(objects.size[0])
    with open(path, "r+b") as file:
        for event, at in enumerate(objects.offset.tolist()):
            file.seek(at - XTC.itemsize)
            head = np.frombuffer(file.read(XTC.itemsize), XTC).copy()
            if event < 3:
                head["damage"] = 2  # dropped
            elif event < 8:
                head["phy"] ^= 0x100  # of another camera
            file.seek(at - XTC.itemsize)
            file.write(head.tobytes())
    monkeypatch.setattr(tables, "BLOCK_BYTES", 8 * size + 1)
    packed, out = tmp_path / "packed.h5", tmp_path / "out.h5"
    assert run(words(sample, packed)) == 0
    assert run(words(sample, out, "--compression", "none")) == 0
    assert not differences(packed, out)


def test_room_is_not_taken_where_others_write(
    images: Sample, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the C library takes room by writing zeros, one would hit an image that is copied just then."""
    shared: list[int] = []
    plenty = iter([True])
    taken: list[tuple[int, int]] = []
    real = os.posix_fallocate

    def noted(descriptor: int, start: int, size: int) -> None:
        if shared and start:  # at 0 it is that of a file of its own
            taken.append((start, size))
        real(descriptor, start, size)

    def share(self: output.Output, real: Any = output.Output.share) -> None:
        real(self)
        assert self.file is not None
        shared.append(self.file.get_filesize())

    monkeypatch.setattr(os, "posix_fallocate", noted)
    monkeypatch.setattr(output.Output, "_plenty", lambda self, size: next(plenty, False))
    monkeypatch.setattr(output.Output, "share", share)
    out = tmp_path / "out.h5"
    assert run(words(images, out, "--compression", "none")) == 0
    assert taken and all(start >= shared[0] for start, _ in taken)
    assert not differences(packed, out)


def test_a_disk_that_tells_late(
    images: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file system over the network says only at the end that it had no room."""
    real = os.fsync
    written: list[int] = []

    def opened(self: Reserved, *arguments: Any, real: Any = Reserved.__init__) -> None:
        real(self, *arguments)
        written.append(self._descriptor)

    def late(descriptor: int) -> None:
        if descriptor in written:
            raise OSError(122, "Disk quota exceeded")
        real(descriptor)

    monkeypatch.setattr(Reserved, "__init__", opened)
    monkeypatch.setattr(os, "fsync", late)
    assert run(words(images, tmp_path / "out.h5", "--compression", "none")) == 5
    message = capsys.readouterr().err
    assert "out.h5: cannot be written" in message and "quota" in message
    assert os.listdir(tmp_path) == []


def test_all_places_in_one_pass(tmp_path: Path) -> None:
    """To ask for the place of each row by itself takes hours for a million of them."""
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_chunk((1,))
    creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        space = h5py.h5s.create_simple((100,), (h5py.h5s.UNLIMITED,))
        dataset = h5py.h5d.create(file.id, b"a", h5py.h5t.NATIVE_DOUBLE, space, creation)
        single = [dataset.get_chunk_info_by_coord((row,)).byte_offset for row in range(100)]

        class Passes:
            """All that is needed of a dataset, by one pass only."""

            chunk_iter = dataset.chunk_iter

        assert places_of(Passes(), 100).tolist() == single
        with pytest.raises(RuntimeError, match="row 100 has no place"):
            places_of(Passes(), 101)


@pytest.mark.parametrize(("compression", "way"), [("none", "copy"), ("gzip", "lent")])
def test_a_source_that_shrinks(
    images: Sample,
    tmp_path: Path,
    compression: str,
    way: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What the kernel does not find to copy is an error, no row of zeros."""
    real = getattr(Payloads, way)
    copied: list[os.stat_result] = []
    shutil.copytree(images.root, tmp_path / "data")
    (path,) = (tmp_path / "data").rglob("*.xtc")

    def shrunk(self: Payloads, *arguments: Any) -> Any:
        if not copied:
            copied.append(os.stat(path))
            os.truncate(path, copied[0].st_size - 5_000_000)
        return real(self, *arguments)

    monkeypatch.setattr(Payloads, way, shrunk)
    (tmp_path / "out").mkdir()
    arguments = ["translate", images.datasource, "--root", str(tmp_path / "data"), "--compression", compression, "-q"]
    assert run([*arguments, "-o", str(tmp_path / "out/out.h5")]) == 4
    assert copied and "the file ends before" in capsys.readouterr().err
    assert os.listdir(tmp_path / "out") == []


@pytest.mark.parametrize("kind", ["beside", "memory"])
def test_pieces_arrive_between_any_files(tmp_path: Path, kind: str) -> None:
    """The kernel copies some itself, others go through memory; what is not there, or has no room, is told."""
    content = np.random.default_rng(3).integers(0, 256, 700_000, np.uint8)
    (tmp_path / "source").write_bytes(content.tobytes())
    source = os.open(tmp_path / "source", os.O_RDONLY)
    flags = os.O_RDWR | os.O_CREAT
    target = os.open(tmp_path / "target", flags) if kind == "beside" else os.memfd_create("target")
    offsets, sizes = np.array([1, 200_000, 7, 600_000]), np.array([150_000, 333_333, 0, 100_000])
    places = np.array([(5 << 30) + 3, 11, 0, 400_000])  # beyond what 32 bits can say
    descriptors = np.full(4, source, np.int32)
    try:
        assert copy_pieces(descriptors, offsets, sizes, target, places) == (-1, 0, False)
        for offset, size, place in zip(offsets.tolist(), sizes.tolist(), places.tolist(), strict=True):
            assert os.pread(target, size, place) == content[offset : offset + size].tobytes()
        assert copy_pieces(descriptors, offsets, sizes + 1, target, places) == (3, 0, False)
        full = os.open("/dev/full", os.O_WRONLY)
        assert copy_pieces(descriptors, offsets, sizes, full, places) == (0, errno.ENOSPC, True)
        os.close(full)
        assert copy_pieces(descriptors, offsets, sizes, source, places) == (0, errno.EBADF, True)
    finally:
        os.close(source)
        os.close(target)
