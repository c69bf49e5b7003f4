"""``psana calib dark``: from a dark run to constants in the store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from click.testing import CliRunner
from commands.cluster import MPIEXEC, psana
from dark.dark_runs import (
    CAMERA,
    EVENTS,
    JUNGFRAU,
    MODULE,
    PNCCD,
    QUAD,
    QUAD_LABELS,
    write_camera,
    write_jungfrau,
    write_pnccd,
    write_quad,
)

from psanacli.calib import Store, from_numbers, read_array
from psanacli.commands.main import psana as command
from psanacli.errors import PsanaError
from psanacli.run import open_run

TYPES = ("pedestals", "pixel_rms", "pixel_status")


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_camera(tmp_path_factory.mktemp("camera")).paths[0])


class Ended(NamedTuple):
    exit_code: int
    stdout: str
    output: str


def call(*words: object) -> Ended:
    """Run the verb in this process; its end is that of the command."""
    result = CliRunner().invoke(command, ["calib", "dark", *map(str, words)])
    error = result.exception
    if isinstance(error, PsanaError):
        return Ended(error.exit_code, result.stdout, f"{result.output}{error}")
    assert error is None or isinstance(error, SystemExit), error
    return Ended(result.exit_code, result.stdout, result.output)


def test_a_look_tells_how_many_pixels_are_bad_and_why(camera: str) -> None:
    result = call(camera, "-d", CAMERA.name)
    assert result.exit_code == 4, result.output  # one image has another shape
    assert "147" in result.stdout and "3 (0.12 %)" in result.stdout
    assert "values too small in too many events" in result.stdout
    assert "1 of 150 events do not have" in result.output
    assert "1 event has XppEndstation.0:Opal1000.1 damaged" in result.output
    assert "1 images cannot be read" in result.output


def test_json_is_complete(camera: str) -> None:
    told = json.loads(call(camera, "-d", CAMERA.name, "--json").stdout)
    assert (told["format"], told["version"], told["bad"], told["unreadable"]) == ("psana calib dark", 1, 3, 1)
    assert told["events"] == {"chosen": EVENTS, "used": EVENTS - 2, "absent": 1, "damaged": 1}
    assert {each["name"]: each["pixels"] for each in told["modes"][0]["status"]}["TOO_SMALL"] == 1
    assert told["modes"][0]["limits"][0]["rms"][0] > 1


def test_constants_are_written_to_a_directory(camera: str, tmp_path: Path) -> None:
    result = call(camera, "-d", CAMERA.name, "-n", 60, "-o", tmp_path / "dark")
    assert result.exit_code == 0, result.output
    files = {path.name for path in (tmp_path / "dark").iterdir()}
    stem = "e301-r0005-XppEndstation.0-Opal1000.1"
    names = (*TYPES, "pixel_mask", "dark_max", "dark_min")
    assert files == {*(f"{stem}-{name}.data" for name in names), f"{stem}.png", f"{stem}.json"}
    pedestals = read_array(tmp_path / "dark" / f"{stem}-pedestals.data").array
    mask = read_array(tmp_path / "dark" / f"{stem}-pixel_mask.data").array
    assert pedestals.shape == mask.shape == (40, 60)
    assert np.count_nonzero(mask == 0) == 3
    again = call(camera, "-d", CAMERA.name, "-o", tmp_path / "dark")
    assert again.exit_code == 5 and "--overwrite" in again.output
    assert call(camera, "-d", CAMERA.name, "-n", 60, "-o", tmp_path / "dark", "--overwrite").exit_code == 0


def test_deployed_constants_are_what_is_read_back(camera: str, tmp_path: Path) -> None:
    words = (camera, "-d", CAMERA.name, "-n", 60, "--deploy", "--calib-dir", tmp_path)
    shown = call(*words, "--dry-run")
    assert shown.exit_code == 0 and "would deploy" in shown.output
    assert list(tmp_path.iterdir()) == []
    assert call(*words, "--comment", "night shift").exit_code == 0
    store = Store(tmp_path)
    found = {name: store.get(CAMERA.name, name, 700) for name in TYPES}
    assert {str(each.range) for each in found.values()} == {"5-end"}
    assert np.count_nonzero(found["pixel_status"].array) == 3
    history = (found["pedestals"].file or tmp_path).with_name("HISTORY").read_text()
    assert "comment:night shift" in history and "method robust" in history
    again = call(*words)
    assert again.exit_code == 0 and "there already with the same values" in again.output
    other = call(*words, "--method", "psana")
    assert other.exit_code == 6 and "would be replaced" in other.output
    assert np.array_equal(store.get(CAMERA.name, "pedestals", 5).array, found["pedestals"].array)
    assert call(*words, "--run", "7-9").exit_code == 0
    assert str(store.get(CAMERA.name, "pedestals", 8).range) == "7-9"


def test_where_nothing_can_be_written_is_told_before_the_work(camera: str, tmp_path: Path) -> None:
    old = tmp_path / "old.png"
    old.write_text("mine")
    for words in (("--png", old), ("-o", old), ("-o", old / "dark")):
        result = call(camera, "-d", CAMERA.name, *words)
        assert result.exit_code == 5 and result.stdout == "", result.output
    assert "is no directory" in result.output
    assert old.read_text() == "mine"
    assert call(camera, "-d", CAMERA.name, "--png", old, "--overwrite", "-n", 60).exit_code == 0
    assert old.read_bytes().startswith(b"\x89PNG")
    none = call(camera, "-d", CAMERA.name, "--skip", 1000)
    assert none.exit_code == 3 and "the first 1000 are left out" in none.output


def test_a_short_run_is_not_deployed_without_force(camera: str, tmp_path: Path) -> None:
    words = (camera, "-d", CAMERA.name, "-n", 8, "--deploy", "--calib-dir", tmp_path)
    refused = call(*words)
    assert refused.exit_code == 6 and "there are only 8 events" in refused.output
    assert list(tmp_path.iterdir()) == []
    assert call(*words, "--force").exit_code == 0
    few = call(camera, "-d", CAMERA.name, "-n", 2)
    assert few.exit_code == 4 and "needs at least 3" in few.output


def test_a_failure_takes_back_what_was_deployed(camera: str, tmp_path: Path) -> None:
    source = tmp_path / "Camera::CalibV1" / CAMERA.name
    source.mkdir(parents=True)
    (source / "pixel_status").write_text("no directory")
    result = call(camera, "-d", CAMERA.name, "-n", 60, "--deploy", "--calib-dir", tmp_path)
    assert result.exit_code == 5, result.output
    assert not [path for path in source.rglob("5-end.data")]


def test_three_runs_of_a_jungfrau_are_deployed_as_one(tmp_path: Path) -> None:
    paths = [str(write_jungfrau(tmp_path, mode, number).paths[0]) for mode, number in ((0, 2), (3, 3), (4, 4))]
    store = Store(tmp_path / "calib")
    missing = call(*paths[:2], "-d", JUNGFRAU.name, "--json")
    assert missing.exit_code == 6 and "no dark events in gain 2" in missing.output
    result = call(*paths, "-d", JUNGFRAU.name, "--deploy", "--calib-dir", store.directory, "--run", "2-end", "-j", 2)
    assert result.exit_code == 0, result.output
    for name in (*TYPES, "dark_min", "dark_max"):
        found = store.get(JUNGFRAU.name, name, 3)
        assert found.shape == (3, *MODULE) and str(found.range) == "2-end"
    pedestals = store.get(JUNGFRAU.name, "pedestals", 3).array
    assert [round(float(np.median(each)), -2) for each in pedestals] == pytest.approx([1000, 2100, 3100], abs=120)


def test_usage_errors(camera: str) -> None:
    assert call(camera).exit_code == 2
    for words in (("--run", "1-2"), ("--values", "5"), ("--values", "9,2"), ("--share", "2"), ("--method", "best")):
        assert call(camera, "-d", CAMERA.name, *words).exit_code == 2, words
    beam = call(camera, "-d", "EBeam")
    assert beam.exit_code == 2 and "EBeam has no images, and so no dark: its objects are Bld." in beam.output
    assert f"in this run {CAMERA.name} can have one" in beam.output
    assert f"Say -d NAME; there are {CAMERA.name}" in call(camera).output


@pytest.mark.skipif(not MPIEXEC.exists(), reason="no mpiexec")
def test_ranks_do_not_matter(camera: str) -> None:
    words = ["calib", "dark", camera, "-d", CAMERA.name, "--json", "--sample", "20", "-n", "140"]
    reports = [json.loads(psana(*words, ranks_=count)[1]) for count in (0, 3)]
    for report in reports:
        del report["seconds"]
    assert reports[0] == reports[1]
    assert reports[0]["modes"][0]["events"] == 139


def test_an_epix10ka_without_gains_gets_the_nominal_ones_and_keeps_any_that_it_has(tmp_path: Path) -> None:
    (path,) = write_quad(tmp_path, QUAD_LABELS, events=3).paths
    words = (path, "-d", QUAD.name, "--deploy", "--calib-dir", tmp_path / "calib", "--dry-run")
    assert "pixel_gain/8-end.data" in call(*words).output
    home = Store(tmp_path / "calib").type_directory(QUAD.name, "pixel_gain")
    home.mkdir(parents=True)
    (home / "0-end.data").write_text("1 2 3")
    shown = call(*words)
    assert "pixel_gain/8-end.data" not in shown.output
    assert "pixel_status/8-end.data" in shown.output
    assert f"pixel_gain: {home / '0-end.data'} applies, and is kept" in shown.output
    assert "pixel_gain/8-end.data" in call(*words, "--injection", tmp_path).output


def test_the_common_mode_of_a_pnccd_is_deployed_and_used(tmp_path: Path) -> None:
    (path,) = write_pnccd(tmp_path, 5.2).paths
    calib, dark = tmp_path / "calib", tmp_path / "dark"
    ended = call(path, "-d", PNCCD.name, "--deploy", "--force", "--calib-dir", calib, "-o", dark)
    assert ended.exit_code == 0, ended.output
    found = Store(calib).get(PNCCD.name, "common_mode", 11)
    assert (found.array[0], found.array[3]) == (3, 128)
    written = read_array(dark / "e301-r0011-AmoEndstation.0-pnCCD.0-common_mode.data").array
    assert np.array_equal(written, found.array)
    with open_run(path, calib_dir=calib) as run:
        common_mode = run.detector(PNCCD.name).common_mode  # type: ignore[attr-defined]
    assert common_mode == from_numbers(found.array.tolist(), "pnCCD")
