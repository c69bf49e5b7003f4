"""What `psana translate` makes of a small run: options, filters, plans, aligned files, workers."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
from hdf5.comparison import compare

from psanacli.commands.main import run
from psanacli.demo import Sample, write_sample
from psanacli.run import open_run


def words(sample: Sample, out: Path | None, *more: str) -> list[str]:
    return [
        "translate", sample.datasource, "--root", str(sample.root), *(["-o", str(out)] if out else []), "-q", *more
    ]  # fmt: skip


def made(sample: Sample, out: Path, *more: str) -> Path:
    assert run(words(sample, out, *more)) == 0
    return out


def step(file: h5py.File, number: int) -> h5py.Group:
    return file[f"Configure:0000/Run:0000/CalibCycle:{number:04d}"]


def images(file: h5py.File) -> list[h5py.Dataset]:
    found: list[h5py.Dataset] = []
    file.visititems(lambda name, item: found.append(item) if name.endswith(("/image", "Cspad.0/data")) else None)
    return found


@pytest.mark.parametrize("compression", ["none", "gzip", "gzip:6", "bitshuffle-lz4", "zstd", "zstd:9"])
def test_compression(sample: Sample, tmp_path: Path, compression: str) -> None:
    if compression.startswith(("bitshuffle", "zstd")):
        pytest.importorskip("hdf5plugin")
    plain = made(sample, tmp_path / "plain.h5", "--compression", "none")
    packed = made(sample, tmp_path / "packed.h5", "--compression", compression)
    assert list(compare(plain, packed, Counter(), "filters")) == []
    if compression != "none":
        assert packed.stat().st_size < 0.9 * plain.stat().st_size


def test_images_are_one_chunk_a_frame_and_shuffled_by_pixels(tmp_path: Path) -> None:
    sample = write_sample(tmp_path, events=3, streams=1, chosen=["cspad"])
    with h5py.File(made(sample, tmp_path / "out.h5")) as file:
        (data,) = [item for item in images(file) if item.dtype.base == np.int16][:1]
        assert data.chunks == (1,)
        filters = data.id.get_create_plist()
        assert filters.get_filter(0)[2][0] == 2  # the shuffle filter knows the size of a pixel, not of a frame
        with open_run(sample.datasource, roots=[sample.root]) as opened:
            frames = [np.stack([quad.data for quad in event.get("cspad").quads]) for event in opened.events]
        found = np.concatenate([item[...] for item in images(file) if item.dtype.base == np.int16])
        assert np.array_equal(found.reshape(-1), np.stack(frames).reshape(-1))


def test_include_and_exclude(sample: Sample, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File(made(sample, tmp_path / "a.h5", "--include", "ebeam*", "--epics", "no")) as file:
        assert {source for kind in step(file, 0) for source in step(file, 0)[kind]} == {"EBeam"}
    with h5py.File(made(sample, tmp_path / "b.h5", "--exclude", "Bld.*", "--epics", "no")) as file:
        assert step(file, 0) and not any(kind.startswith("Bld::") for kind in step(file, 0))
    assert run(words(sample, tmp_path / "c.h5", "--exclude", "Opal9000")) == 3
    assert "Opal9000" in capsys.readouterr().err and not (tmp_path / "c.h5").exists()
    made(sample, tmp_path / "d.h5", "--exclude", "Opal9000", "--missing-ok")


def test_events_and_steps(sample: Sample, tmp_path: Path) -> None:
    def rows(path: Path) -> list[int]:
        with h5py.File(path) as file:
            run_group = file["Configure:0000/Run:0000"]
            filled = [run_group[name] for name in run_group if len(run_group[name])]
            return [len(group["Bld::BldDataEBeamV7/EBeam/time"]) for group in filled]

    assert rows(made(sample, tmp_path / "a.h5", "--epics", "no")) == [10, 10, 10, 10]
    assert rows(made(sample, tmp_path / "b.h5", "--epics", "no", "-n", "15")) == [10, 5]
    assert rows(made(sample, tmp_path / "c.h5", "--epics", "no", "--events", "5:25:5")) == [1, 2, 1]
    with h5py.File(made(sample, tmp_path / "d.h5", "--steps", "1,3")) as file:
        assert sorted(file["Configure:0000/Run:0000"]) == ["CalibCycle:0001", "CalibCycle:0003"]
    assert run(words(sample, tmp_path / "e.h5", "--steps", "9")) == 3


def test_epics_modes(sample: Sample, tmp_path: Path) -> None:
    def rows(mode: str) -> list[int]:
        with h5py.File(made(sample, tmp_path / f"{mode}.h5", "--epics", mode)) as file:
            base = "Epics::EpicsPv/EpicsArch.0:NoDevice.0"
            name = next(name for name in file[f"Configure:0000/{base}"])
            return [len(step(file, k)[f"{base}/{name}/data"]) if base in step(file, k) else 0 for k in range(4)]

    assert rows("always") == [10, 10, 10, 10]
    updates, repeated = rows("updates"), rows("calib-repeat")
    assert all(a <= b <= a + 1 for a, b in zip(updates, repeated, strict=True)) and min(repeated) >= 1


def test_aligned(sample: Sample, tmp_path: Path) -> None:
    with h5py.File(made(sample, tmp_path / "out.h5", "--aligned")) as file:
        table = file["Aligned"]
        lengths: set[int] = set()
        table.visititems(lambda name, item: lengths.add(len(item)) if isinstance(item, h5py.Dataset) else None)
        assert lengths == {40}
        assert table["step"][...].tolist() == [k // 10 for k in range(40)]
        with open_run(sample.datasource, roots=[sample.root]) as opened:
            column = opened.column("EBeam.ebeamPhotonEnergy")
        found = table["Bld::BldDataEBeamV7/EBeam"]
        assert np.array_equal(found["_mask"][...] == 1, ~np.ma.getmaskarray(column))
        assert np.array_equal(found["data"]["fEbeamPhotonEnergy"], column.filled(np.nan), equal_nan=True)


def test_dry_run_is_the_plan(sample: Sample, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words(sample, tmp_path / "out.h5", "--dry-run", "--json")) == 0
    plan = json.loads(capsys.readouterr().out)
    assert not (tmp_path / "out.h5").exists()
    with h5py.File(made(sample, tmp_path / "out.h5")) as file:
        for entry in plan["datasets"]:
            assert len(file[entry["path"]]) == entry["rows"]
            assert list(file[entry["path"]].shape) + list(file[entry["path"]].dtype.shape) == entry["shape"]


def test_several_runs_go_to_several_files(sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(sample, tmp_path)
    made(sample, tmp_path / "{exp}-run{run:03d}.h5")
    monkeypatch.chdir(tmp_path)
    assert run([*words(sample, None), "--overwrite"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["xppdemo26-r0001.h5", "xppdemo26-run001.h5"]
    assert run(words(sample, tmp_path / "{experiment}.h5")) == 2


def test_provenance(sample: Sample, tmp_path: Path) -> None:
    with h5py.File(made(sample, tmp_path / "out.h5", "--exclude", "Bld.*")) as file:
        told = dict(file["psanacli"].attrs)
        assert json.loads(told["options"])["exclude"] == ["Bld.*"]
        sources = json.loads(told["sources"])
        assert [(Path(each["path"]), each["bytes"]) for each in sources] == [
            (path, path.stat().st_size) for path in sample.paths
        ]
        assert file.attrs["jobName"] and told["command"].startswith("psana translate exp=xppdemo26:run=1 ")


def test_a_payload_that_is_cut_is_blank_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample = write_sample(tmp_path, events=12, streams=1, chosen=["camera"])
    with open_run(sample.datasource, roots=[sample.root]) as opened:
        key = next(key for key in opened.table.object_keys() if key.xtc_type.name == "Camera.FrameV1")
        place = int(opened.table.objects(*key).offset[5])
    with open(sample.paths[0], "r+b") as file:
        file.seek(place)
        file.write((1 << 20).to_bytes(4, "little"))  # the width of one frame, far too large
    out = tmp_path / "out.h5"
    assert run(words(sample, out)) == 4
    assert "1 objects are damaged" in capsys.readouterr().err
    with h5py.File(out) as file:
        groups = [group for k in range(4) for group in step(file, k)["Camera::FrameV1"].values()]
        assert np.concatenate([group["_mask"][...] for group in groups]).tolist() == [1] * 5 + [0] + [1] * 6


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
def test_ranks_do_not_matter(sample: Sample, tmp_path: Path, ranks: int, tally: Counter[str]) -> None:
    launcher = Path(sysconfig.get_path("scripts")) / "mpiexec"
    if not launcher.exists():
        pytest.skip("no mpiexec here")
    one = made(sample, tmp_path / "one.h5")
    many = tmp_path / "many.h5"
    done = subprocess.run(
        [launcher, "-n", str(ranks), sys.executable, "-m", "psanacli", *words(sample, many)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert list(compare(one, many, tally, "HDF5, by ranks")) == []
