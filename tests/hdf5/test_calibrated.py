"""`psana translate --calib`: corrected images beside the raw ones, and the constants that made them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from commands.cluster import psana
from hdf5.comparison import compare

from psanacli.calib import Histogram, NewConstants, RunRange, Store, deploy, plan_deployment
from psanacli.commands.main import run
from psanacli.demo import Sample, write_sample
from psanacli.errors import ConstantsError
from psanacli.hdf5 import TranslateOptions, output, plan, translate
from psanacli.hdf5.placing import Placer
from psanacli.parallel import Team
from psanacli.run import Run, open_run

CAMERA, CSPAD = "XppEndstation.0:Opal1000.1", "XppGon.0:Cspad.0"
STEPS = "Configure:0000/Run:0000"
STORED = "Configure:0000/CalibStore"


def put(directory: Path, source: str, kind: str, array: Any, runs: str = "0-end") -> None:
    store = Store(directory)
    deploy(store, plan_deployment(store, source, kind, RunRange.parse(runs), NewConstants(array, "test")), force=True)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """16 events in 4 steps: the CSPAD is in every third."""
    return write_sample(tmp_path_factory.mktemp("sample"), events=16)


@pytest.fixture(scope="module")
def calib_dir(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Constants of the camera and the CSPAD of the sample, with some bad pixels."""
    directory = tmp_path_factory.mktemp("store") / "calib"
    generator = np.random.default_rng(7)
    with open_run(sample.datasource, roots=[sample.root]) as opened:
        shape = opened.detector(CAMERA).shape
    for source, size, level in ((CAMERA, shape, 30), (CSPAD, (32, 185, 388), 1000)):
        put(directory, source, "pedestals", generator.normal(level, 3, size).astype(np.float32))
        put(directory, source, "pixel_status", (generator.random(size) < 0.01).astype(np.uint16))
    put(directory, CSPAD, "pixel_gain", generator.uniform(0.9, 1.1, (32, 185, 388)).astype(np.float32))
    return directory


@pytest.fixture(scope="module")
def opened(sample: Sample, calib_dir: Path) -> Any:
    with open_run(sample.datasource, roots=[sample.root], calib_dir=calib_dir) as opened:
        yield opened


def words(sample: Sample, calib_dir: Path, out: Path, *more: str) -> list[str]:
    place = [sample.datasource, "--root", str(sample.root), "--calib-dir", str(calib_dir)]
    return ["translate", *place, "-o", str(out), "-q", "--epics", "no", "--include", "EBeam", "--missing-ok", *more]


def made(sample: Sample, calib_dir: Path, out: Path, *more: str) -> Path:
    assert run(words(sample, calib_dir, out, *more)) == 0
    return out


def images(path: Path, source: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the corrected images of a file and their masks, of all steps."""
    found, masks = [], []
    with h5py.File(path) as file:
        for step in file[STEPS].values():
            for name in step:
                if name.startswith("ndarray_float32_") and source in step[name]:
                    found.append(step[name][source]["data"][()])
                    masks.append(step[name][source]["_mask"][()])
    return np.concatenate(found), np.concatenate(masks)


def expected(opened: Run, source: str, **options: Any) -> np.ndarray:
    detector = opened.detector(source)
    found = [detector.calib(event, **options) for event in opened.events]  # type: ignore[attr-defined]
    return np.stack([image for image in found if image is not None])


@pytest.fixture(scope="module")
def beside(sample: Sample, calib_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("beside") / "out.h5"
    return made(sample, calib_dir, out, "--include", "Cspad", "--calib", f"{CAMERA},XppGon*")


@pytest.mark.parametrize("source", [CAMERA, CSPAD])
def test_images_are_those_of_the_detector(beside: Path, opened: Run, source: str) -> None:
    found, mask = images(beside, source)
    assert found.dtype == np.float32
    assert np.array_equal(found[mask == 1], expected(opened, source))
    assert not found[mask == 0].any()
    assert np.ptp(found) > 0


def test_raw_images_stay_where_they_were_wanted(beside: Path) -> None:
    with h5py.File(beside) as file:
        step = file[f"{STEPS}/CalibCycle:0000"]
        assert CSPAD in step["CsPad::ElementV2"]
        assert CSPAD in step["ndarray_float32_3"] and CAMERA in step["ndarray_float32_2"]
        assert "Camera::FrameV1" not in step
        assert dict(step["ndarray_float32_3"].attrs)["_ndarrayDim"] == 3
        assert step["ndarray_float32_3"][CSPAD].attrs["_eventKeyStr"] == "calibrated"


def test_the_file_has_its_constants(beside: Path, calib_dir: Path, opened: Run) -> None:
    detector = opened.detector(CSPAD)
    with h5py.File(beside) as file:
        for kind in ("pedestals", "pixel_status", "pixel_gain"):
            group = file[f"{STORED}/{kind}/{CSPAD}"]
            path = Path(group.attrs["file"])
            assert path == calib_dir / "CsPad::CalibV1" / CSPAD / kind / "0-end.data"
            assert group.attrs["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
            assert (group.attrs["range"], group.attrs["run"]) == ("0-end", 1)
            assert np.array_equal(group["data"][()], detector.constants.need(kind).array)  # type: ignore[attr-defined]
        recipe = file[f"{STORED}/recipe/{CSPAD}"]
        assert recipe.attrs["common_mode"].startswith("histogram:") and recipe.attrs["calibrated"]
        assert np.array_equal(recipe["mask"][()], detector.mask())  # type: ignore[attr-defined]
        (about,) = [each for each in json.loads(file["psanacli"].attrs["calib"]) if each["source"] == CSPAD]
        assert {each["type"] for each in about["constants"]} >= {"pedestals", "pixel_status", "pixel_gain"}


def test_instead_of_the_raw_ones(sample: Sample, calib_dir: Path, opened: Run, tmp_path: Path) -> None:
    out = made(
        sample, calib_dir, tmp_path / "a.h5", "--include", "*", "--calib", CAMERA, "--calib-form", "instead"
    )  # fmt: skip
    with h5py.File(out) as file:
        step = file[f"{STEPS}/CalibCycle:0000"]
        assert "Camera::FrameV1" not in step and "CsPad::ElementV2" in step
        assert "Opal1k::ConfigV1" in file["Configure:0000"]
    assert np.array_equal(images(out, CAMERA)[0], expected(opened, CAMERA))


def test_the_common_mode_can_be_chosen(sample: Sample, calib_dir: Path, opened: Run, tmp_path: Path) -> None:
    plain = made(sample, calib_dir, tmp_path / "a.h5", "--calib", CSPAD, "--common-mode", "none")
    found, mask = images(plain, CSPAD)
    assert np.array_equal(found[mask == 1], expected(opened, CSPAD, common_mode=False))
    with h5py.File(plain) as file:
        assert file[f"{STORED}/recipe/{CSPAD}"].attrs["common_mode"] == "none"


def test_what_is_bad_can_be_chosen(sample: Sample, calib_dir: Path, opened: Run, tmp_path: Path) -> None:
    out = made(sample, calib_dir, tmp_path / "a.h5", "--calib", CAMERA, "--bad", "status or edges(3) or row == 20")
    camera: Any = opened.detector(CAMERA)
    mask = camera.mask(edges=3).copy()
    mask[20] = 0
    assert np.array_equal(images(out, CAMERA)[0], expected(opened, CAMERA, mask=mask))
    with h5py.File(out) as file:
        recipe = file[f"{STORED}/recipe/{CAMERA}"]
        assert np.array_equal(recipe["mask"][()], mask)
        assert recipe.attrs["bad"] == "status or edges(3) or row == 20"


def test_in_the_type_of_the_raw_images(sample: Sample, calib_dir: Path, opened: Run, tmp_path: Path) -> None:
    """Without a file of the common mode there is none; the rest is one formula."""
    out = made(sample, calib_dir, tmp_path / "a.h5", "--calib", CSPAD, "--calib-form", "in-type", "-n", "10")
    camera: Any = opened.detector(CSPAD)
    with h5py.File(out) as file:
        group = file[f"{STEPS}/CalibCycle:0000/CsPad::ElementV2/{CSPAD}"]
        event = opened.events[int(camera.event_numbers[0])]
        quads = sorted(event.get(CSPAD).quads, key=lambda quad: quad.quad)
        chosen = [8 * quad.quad + s for quad in quads for s in range(8) if quad.sectionMask >> s & 1]
        exact = (camera.raw(event).astype(np.float64) - camera.pedestals) * camera.gain
        rounded = np.where(exact < 0, np.ceil(exact - 0.5), np.floor(exact + 0.5)).astype(np.int16)
        assert np.array_equal(group["data"][0], rounded[chosen])
        assert (group["common_mode"][0] == -10000).all()
        assert group.attrs["_eventKeyStr"] == "calibrated"
        stored = file[f"{STORED}/pdscalibdata::CsPadPedestalsV1/{CSPAD}/pedestals"]
        assert stored.shape == (4, 8, 185, 388)


def test_common_mode_in_the_type_of_the_raw_images(sample: Sample, calib_dir: Path, tmp_path: Path) -> None:
    """Each section by itself gives what the whole image does; a common mode that is too large is not believed."""
    calib = tmp_path / "calib"
    shutil.copytree(calib_dir, calib)
    put(calib, CSPAD, "common_mode", np.array([1, 4.0, 25, 100]))
    with open_run(sample.datasource, roots=[sample.root]) as opened:
        camera: Any = opened.detector(CSPAD)
        event = opened.events[int(camera.event_numbers[0])]
        raw, quads = camera.raw(event), event.get(CSPAD).quads
        there = [8 * quad.quad + section for quad in quads for section in range(8) if quad.sectionMask >> section & 1]
        level = np.zeros((32, 1, 1))
        level[there[0]], level[there[1]] = 2.3, 8.6
        noise = np.random.default_rng(3).normal(0, 2, raw.shape)
        put(calib, CSPAD, "pedestals", (raw - level + noise).astype(np.float32))
    out = made(sample, calib, tmp_path / "a.h5", "--calib", CSPAD, "--calib-form", "in-type", "-n", "4")
    with open_run(sample.datasource, roots=[sample.root], calib_dir=calib) as opened:
        camera = opened.detector(CSPAD)
        before = raw.astype(np.float64) - camera.pedestals
        image, good = before.copy(), (camera.status == 0).astype(np.uint8)
        steps = Histogram(1000.0, 25, 100, unbonded=False).steps("Cspad", image.shape)
        assert steps is not None
        shift = steps.apply(image.reshape(-1), good.reshape(-1))
        believed = (shift != 0) & (shift <= 4.0)
        assert believed[there].tolist() == [True, False]
        exact = np.where(believed[:, np.newaxis, np.newaxis], image, before) * camera.gain
        rounded = np.where(exact < 0, np.ceil(exact - 0.5), np.floor(exact + 0.5)).astype(np.int16)
    with h5py.File(out) as file:
        group = file[f"{STEPS}/CalibCycle:0000/CsPad::ElementV2/{CSPAD}"]
        assert np.array_equal(group["data"][0], rounded[there])
        assert np.array_equal(group["common_mode"][0], np.where(believed, shift, -10000).astype(np.float32)[there])


def test_aligned(sample: Sample, calib_dir: Path, opened: Run, tmp_path: Path) -> None:
    out = made(sample, calib_dir, tmp_path / "a.h5", "--calib", CSPAD, "--aligned")
    present = opened.detector(CSPAD).present  # type: ignore[attr-defined]
    with h5py.File(out) as file:
        group = file[f"Aligned/ndarray_float32_3/{CSPAD}"]
        mask = group["_mask"][()] == 1
        data = group["data"][()]
    assert np.array_equal(mask, present) and not present.all()
    assert np.array_equal(data[mask], expected(opened, CSPAD))
    assert np.isnan(data[~mask]).all()


def test_split_by_steps(sample: Sample, calib_dir: Path, opened: Run, tmp_path: Path) -> None:
    out = made(sample, calib_dir, tmp_path / "a.h5", "--calib", CAMERA, "--split", "steps")
    assert np.array_equal(images(out, CAMERA)[0], expected(opened, CAMERA))  # through the links of the master
    for part in tmp_path.glob("*.h5"):
        with h5py.File(part) as file:
            assert f"{STORED}/pedestals/{CAMERA}/data" in file


@pytest.mark.parametrize("manner", ["-j 3", "2 ranks"])
def test_workers_do_not_matter(sample: Sample, calib_dir: Path, beside: Path, tmp_path: Path, manner: str) -> None:
    out = tmp_path / "out.h5"
    line = words(sample, calib_dir, out, "--include", "Cspad", "--calib", f"{CAMERA},XppGon*")
    code, _, errors = psana(*line, *(["-j", "3"] if manner == "-j 3" else []), ranks_=0 if manner == "-j 3" else 2)
    assert code == 0, errors
    assert list(compare(beside, out, Counter(), "workers")) == []


def test_an_interrupted_translation_goes_on(
    sample: Sample, calib_dir: Path, beside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "CHECKPOINT_SECONDS", 0)
    out = tmp_path / "out.h5"
    options = TranslateOptions(
        include=("EBeam", "Cspad"), epics="no", missing_ok=True, calib=(CAMERA, "XppGon*")
    )  # fmt: skip
    with open_run(sample.datasource, roots=[sample.root], calib_dir=calib_dir) as opened:
        made = plan(opened, options)
        placed = Placer.__call__

        def stop(self: Placer, block: Any, filled: Any) -> None:
            if block.number == 2:
                raise RuntimeError("cut")
            placed(self, block, filled)

        monkeypatch.setattr(Placer, "__call__", stop)
        with pytest.raises(Exception, match="cut"):
            translate(opened, made, out, Team())
        monkeypatch.setattr(Placer, "__call__", placed)
        summary = translate(opened, plan(opened, options), out, Team(), resume=True)
    assert summary is not None and "2" in summary.resumed
    assert list(compare(beside, out, Counter(), "resumed")) == []


def test_other_constants_are_another_translation(sample: Sample, tmp_path: Path) -> None:
    """A finished file is kept only if its constants are those of now; a worker refuses other ones than the plan's."""
    with open_run(sample.datasource, roots=[sample.root]) as opened:
        shape = opened.detector(CAMERA).shape
    options = TranslateOptions(include=("EBeam",), epics="no", calib=(CAMERA,))
    for level in (1.0, 2.0):
        put(tmp_path / "calib", CAMERA, "pedestals", np.full(shape, level, np.float32))
        with open_run(sample.datasource, roots=[sample.root], calib_dir=tmp_path / "calib") as opened:
            made = plan(opened, options)
            summary = translate(opened, made, tmp_path / "out.h5", Team(), resume=True, overwrite=True)
            assert summary is not None and "complete" not in summary.resumed
            again = translate(opened, plan(opened, options), tmp_path / "out.h5", Team(), resume=True)
            assert again is not None and "complete" in again.resumed
    put(tmp_path / "calib", CAMERA, "pedestals", np.full(shape, 3, np.float32))
    with (
        open_run(sample.datasource, roots=[sample.root], calib_dir=tmp_path / "calib") as opened,
        pytest.raises(ConstantsError, match="changed"),
    ):
        translate(opened, made, tmp_path / "other.h5", Team())


def test_missing_constants(sample: Sample, tmp_path: Path, opened: Run, capsys: pytest.CaptureFixture[str]) -> None:
    line = words(sample, tmp_path / "none", tmp_path / "a.h5", "--calib", CAMERA)
    assert run(line) == 6
    told = capsys.readouterr().err
    assert CAMERA in told and "pedestals" in told and str(tmp_path / "none") in told
    assert not (tmp_path / "a.h5").exists()
    assert run([word for word in [*line, "--allow-uncalibrated"] if word != "-q"]) == 0
    assert "stay uncorrected" in capsys.readouterr().err
    found, _ = images(tmp_path / "a.h5", CAMERA)
    camera: Any = opened.detector(CAMERA)
    raw = [camera.raw(event) for event in opened.events]
    assert np.array_equal(found, np.stack([image for image in raw if image is not None]).astype(np.float32))


def test_the_plan_tells_the_constants(
    sample: Sample, calib_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = words(sample, calib_dir, tmp_path / "a.h5", "--calib", CSPAD, "--dry-run")
    assert run([*line, "--json"]) == 0
    (about,) = json.loads(capsys.readouterr().out)["calib"]
    assert (about["source"], about["calibrated"]) == (CSPAD, True)
    assert {each["type"] for each in about["constants"]} == {"pedestals", "pixel_gain", "pixel_status"}
    assert run([word for word in line if word != "-q"]) == 0
    assert "pedestals 0-end.data" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("more", "code", "told"),
    [
        (["--calib", "Opal9000"], 3, "Opal9000"),
        (["--calib", "EBeam"], 3, "EBeam"),
        (["--calib", CAMERA, "--calib-form", "in-type"], 2, "only images of CSPADs"),
        (["--calib", CAMERA, "--common-mode", "histogramm"], 2, "histogram"),
        (["--calib", CAMERA, "--bad", "statos"], 2, "did you mean status"),
        (["--calib", CAMERA, "--bad", "pixel_gain < 1"], 6, "pixel_gain"),
        (["--calib-form", "instead"], 2, "--calib"),
    ],
)
def test_mistakes(
    sample: Sample,
    calib_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    code: int,
    told: str,
) -> None:
    line = [word for word in words(sample, calib_dir, tmp_path / "a.h5", *more) if word != "--missing-ok"]
    assert run(line) == code
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
