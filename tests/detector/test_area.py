"""Area detectors: images, constants and blocks of small runs in which everything is known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from psanacli.calib import Store, format_text
from psanacli.demo import Sample, write_sample
from psanacli.detector import AreaDetector
from psanacli.errors import ConstantsError, DataError, NotFoundError, UsageError
from psanacli.run import Detector, Run, open_run
from tests.run.runs import CAMERA, EVENTS, write_run

SHAPE = (4, 6)
NAME = "XppEndstation.0:Opal1000.1"
ABSENT = 7
WITH_IMAGE = [number for number in range(EVENTS) if number != ABSENT]
PEDESTALS = np.linspace(0, 5.75, 24, dtype=np.float32).reshape(SHAPE)
GAIN = np.full(SHAPE, 0.5, np.float32)
STATUS = np.zeros(SHAPE, np.uint16)
STATUS[1, 2], STATUS[3, 5] = 1, 8


def deploy(directory: Path, source: str, name: str = "0-end.data", **constants: np.ndarray[Any, Any]) -> Path:
    for constants_type, array in constants.items():
        home = Store(directory).type_directory(source, constants_type)
        home.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(format_text(array))
    return directory


def stored(number: int) -> np.ndarray[Any, Any]:
    return (np.arange(24) + 100 * number).astype(np.uint16).reshape(SHAPE)


def corrected(number: int) -> np.ndarray[Any, Any]:
    image: np.ndarray[Any, Any] = (stored(number) - PEDESTALS) * GAIN * (STATUS == 0)
    return image


def area(run: Run, name: str) -> AreaDetector:
    found = run.detector(name)
    assert isinstance(found, AreaDetector)
    return found


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_run(tmp_path_factory.mktemp("area"))


@pytest.fixture(scope="module")
def calib(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("constants")
    return deploy(directory, CAMERA.name, pedestals=PEDESTALS, pixel_gain=GAIN, pixel_status=STATUS)


@pytest.fixture(scope="module")
def run(paths: list[Path], calib: Path) -> Iterator[Run]:
    with open_run(paths, calib_dir=calib) as run:
        yield run


@pytest.fixture
def camera(run: Run) -> AreaDetector:
    return area(run, "opal_1")


def test_an_image_is_corrected_by_the_constants_of_the_run(run: Run, camera: AreaDetector) -> None:
    for number in WITH_IMAGE:
        image = camera.calib(run.events[number])
        assert image is not None
        assert (image.dtype, image.shape) == (np.float32, SHAPE)
        np.testing.assert_array_equal(image, corrected(number))
    assert camera.calib(run.events[ABSENT]) is None
    assert camera.photons(run.events[ABSENT]) is None


def test_parts_of_the_correction_are_left_out_or_replaced(run: Run, camera: AreaDetector) -> None:
    event = run.events[3]
    plain = stored(3) - PEDESTALS
    np.testing.assert_array_equal(camera.calib(event, gain=False, mask=False), plain)
    np.testing.assert_array_equal(camera.calib(event, gain=2 * GAIN, mask=False), plain)
    mine = camera.mask(status=False, edges=1)
    assert mine.tolist() == [[0] * 6, [0, 1, 1, 1, 1, 0], [0, 1, 1, 1, 1, 0], [0] * 6]
    np.testing.assert_array_equal(camera.calib(event, gain=False, mask=mine), plain * mine)
    out = np.full(SHAPE, np.nan, np.float32)
    assert camera.calib(event, out=out) is out
    np.testing.assert_array_equal(out, corrected(3))


def test_a_mask_by_an_expression(camera: AreaDetector) -> None:
    row = np.indices(SHAPE)[0]
    found = camera.mask("status(8) or row == 2 or pixel_gain * pedestals > 2.7")
    assert np.array_equal(found == 0, (STATUS == 8) | (row == 2) | (GAIN * PEDESTALS > 2.7))
    assert np.array_equal(camera.mask("status"), camera.mask())
    with pytest.raises(ConstantsError, match="no pixel_rms"):
        camera.mask("rms > 3")
    with pytest.raises(UsageError, match="by an expression, or by its parts"):
        camera.mask("status", edges=2)


def test_a_changed_mask_is_another_mask(run: Run, camera: AreaDetector) -> None:
    mine = np.ones(SHAPE, np.uint8)
    assert camera.calib(run.events[3], mask=mine)[0, 0] != 0  # type: ignore[index]
    mine[0, 0] = 0
    assert camera.calib(run.events[3], mask=mine)[0, 0] == 0  # type: ignore[index]


def test_constants_are_attributes(camera: AreaDetector) -> None:
    np.testing.assert_array_equal(camera.pedestals, PEDESTALS)
    np.testing.assert_array_equal(camera.gain, GAIN)
    np.testing.assert_array_equal(camera.status, STATUS)
    assert camera.rms is None
    assert camera.pixel_mask is None
    assert camera.common_mode.number == 0
    assert (camera.shape, camera.dtype) == (SHAPE, np.uint16)
    with pytest.raises(ValueError, match="read-only"):
        camera.pedestals[0, 0] = 1
    np.testing.assert_array_equal(camera.mask(), STATUS == 0)
    np.testing.assert_array_equal(camera.status_as_mask(1), STATUS != 1)
    assert "pixel_gain" in repr(camera.constants)


def test_arguments_that_do_not_fit_are_errors(run: Run, camera: AreaDetector) -> None:
    event = run.events[0]
    with pytest.raises(UsageError, match=r"mask= has the shape \(3, 3\), images have \(4, 6\)"):
        camera.calib(event, mask=np.ones((3, 3), np.uint8))
    with pytest.raises(UsageError, match=r"Opal1000\.1: gain="):
        camera.calib(event, gain=np.ones(5, np.float32))
    with pytest.raises(UsageError, match="mask has the shape"):
        camera.mask(user=np.ones(5))
    with pytest.raises(UsageError, match="pedestal"):
        camera.constants.get("pedestal")


def test_missing_pedestals_say_where_they_were_looked_for(paths: list[Path], tmp_path: Path) -> None:
    deploy(tmp_path, CAMERA.name, "5-9.data", pedestals=PEDESTALS)
    with open_run(paths, calib_dir=tmp_path) as run:
        camera = area(run, "opal_1")
        with pytest.raises(ConstantsError) as caught:
            camera.calib(run.events[0])
        assert caught.value.exit_code == 6
        for word in (NAME, "run 1", "pedestals", str(tmp_path), "5-9.data"):
            assert word in f"{caught.value.message} {caught.value.hint}"
        image = camera.calib(run.events[2], allow_uncalibrated=True)
        np.testing.assert_array_equal(image, stored(2).astype(np.float32))
        with pytest.raises(ConstantsError):  # what was allowed once is not allowed for ever
            camera.calib(run.events[2])


def test_without_a_calibration_directory_there_is_a_hint(paths: list[Path]) -> None:
    with open_run(paths) as run:
        camera = area(run, "opal_1")
        with pytest.raises(ConstantsError, match="no calibration directory") as caught:
            camera.calib(run.events[0])
        assert "--calib-dir" in caught.value.hint
        assert camera.gain is None
        assert camera.raw(run.events[0]) is not None


@pytest.mark.parametrize("allow", [False, True])
def test_constants_that_do_not_fit_are_never_left_out(paths: list[Path], tmp_path: Path, allow: bool) -> None:
    deploy(tmp_path, CAMERA.name, pedestals=np.zeros((5, 5)))
    with open_run(paths, calib_dir=tmp_path) as run:
        with pytest.raises(ConstantsError, match="25 values") as caught:
            area(run, "opal_1").calib(run.events[0], allow_uncalibrated=allow)
        assert NAME in caught.value.message
        assert "0-end.data" in caught.value.message


def test_blocks_hold_all_images_in_order(run: Run, camera: AreaDetector) -> None:
    for size in (1, 100, 300, 1 << 20):
        blocks = [*run.blocks(camera, max_bytes=size)]
        assert [event.index for block in blocks for event in block.events] == WITH_IMAGE
        np.testing.assert_array_equal(
            np.concatenate([block.images for block in blocks]), [corrected(number) for number in WITH_IMAGE]
        )
        assert all(len(block) == max(1, size // (24 * 4)) for block in blocks[:-1])


def test_blocks_of_raw_images_and_of_some_events(run: Run, camera: AreaDetector) -> None:
    (block,) = run.blocks(camera, calib=False, events=slice(5, 9))
    assert block.images.dtype == np.uint16
    assert [event.index for event in block.events] == [5, 6, 8]
    np.testing.assert_array_equal(block.images, [stored(number) for number in (5, 6, 8)])
    (block,) = run.blocks(camera, events=slice(None, None, 4), gain=False, mask=False)
    np.testing.assert_array_equal(block.images, [stored(number) - PEDESTALS for number in (0, 4, 8)])
    assert not [*run.blocks(camera, events=slice(ABSENT, ABSENT + 1))]


@pytest.mark.parametrize("ranks", [2, 3])
def test_each_rank_has_its_share_of_the_blocks(
    run: Run, camera: AreaDetector, monkeypatch: pytest.MonkeyPatch, ranks: int
) -> None:
    shares = []
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", str(ranks))
    for rank in range(ranks):
        monkeypatch.setenv("OMPI_COMM_WORLD_RANK", str(rank))
        shares.append([event.index for block in run.blocks(camera, max_bytes=200) for event in block.events])
    assert shares[1][:2] == WITH_IMAGE[2:4]
    assert sorted(number for share in shares for number in share) == WITH_IMAGE


def test_what_has_no_images_has_no_blocks_of_them(run: Run, camera: AreaDetector) -> None:
    beam = run.detector("EBeam")
    assert isinstance(beam, Detector)
    with pytest.raises(UsageError, match="EBeam has no images"):
        run.blocks(beam)
    with pytest.raises(UsageError, match="one detector"):
        run.blocks(camera, camera)
    with pytest.raises(UsageError, match="no option 'calib'"):
        run.blocks("EBeam.ebeamCharge", calib=True)  # type: ignore[call-overload]


def test_images_of_chosen_events(camera: AreaDetector) -> None:
    np.testing.assert_array_equal(camera.images([8, 2]), [corrected(8), corrected(2)])
    assert camera.images([]).shape == (0, *SHAPE)
    with pytest.raises(UsageError, match=f"event {ABSENT} has no image") as caught:
        camera.images([6, ABSENT])
    assert "event_numbers" in caught.value.hint
    assert camera.event_numbers.tolist() == WITH_IMAGE


def test_images_of_another_shape_are_no_block(camera: AreaDetector) -> None:
    with pytest.raises(DataError, match=r"\(4, 6\)"):
        camera.images([0], out=np.empty((1, 6, 4), np.float32))


def test_a_name_that_nothing_has(run: Run) -> None:
    with pytest.raises(NotFoundError) as caught:
        run.detector("XppEndstation.0:Opal1000.2")
    assert caught.value.exit_code == 3
    assert NAME in caught.value.hint
    with pytest.raises(UsageError, match="empty"):
        run.detector(" ")


# A CSPAD of which two sections are read out, in every ninth event.


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return write_sample(tmp_path_factory.mktemp("sample"), events=20)


def test_sections_of_a_cspad_are_in_their_place(sample: Sample) -> None:
    with open_run(sample.datasource, roots=[sample.root]) as run:
        cspad = area(run, "cspad")
        assert cspad.event_numbers.tolist() == [0, 9, 18]
        raw = cspad.raw(run.events[9])
        assert raw is not None
        assert (raw.shape, raw.dtype) == ((32, 185, 388), np.int16)
        assert np.flatnonzero(raw.any(axis=(1, 2))).tolist() == [1, 9]
        for section, quad in ((1, 0), (9, 1)):
            np.testing.assert_array_equal(raw[section], cspad.get(run.events[9]).quads[quad].data[0])
        assert cspad.raw(run.events[1]) is None


def test_constants_are_those_of_the_experiment(sample: Sample) -> None:
    """The directory ``calib`` beside ``xtc`` is where they are looked for."""
    directory = sample.paths[0].parent.parent / "calib"
    pedestals = np.zeros((32, 185, 388), np.float32)
    pedestals[1], pedestals[9] = 1100.5, 1300
    deploy(directory, "XppGon.0:Cspad.0", "1-1.data", pedestals=pedestals)
    with open_run(sample.datasource, roots=[sample.root]) as run:
        cspad = area(run, "cspad")
        raw = cspad.raw(run.events[0])
        image = cspad.calib(run.events[0], common_mode=False)
        np.testing.assert_array_equal(image, (raw - pedestals).astype(np.float32))
        (used,) = (found for found in cspad.constants.used if found.type == "pedestals")
        assert used.file == Store(directory).type_directory("XppGon.0:Cspad.0", "pedestals") / "1-1.data"
        with pytest.raises(UsageError, match="pnCCD"):
            cspad.calib(run.events[0], common_mode=[8, 1, 10])


@pytest.mark.parametrize("mode", [False, [1, 25, 25, 100], [2, 5000, 10, 128], [3, 5000, 10, 128], [5, 100]])
def test_quadrants_are_corrected_where_they_are(tmp_path_factory: pytest.TempPathFactory, mode: Any) -> None:
    """A full CSPAD is not put together before it is corrected, whatever pixels the common mode takes together."""
    directory = tmp_path_factory.getbasetemp() / "whole"
    if not directory.exists():
        whole = write_sample(directory, events=2, streams=1, chosen=["cspad"])
        with open_run(whole.datasource, roots=[directory]) as run:
            dark = area(run, "cspad").images([0, 1], calib=False).mean(axis=0)
        deploy(directory / "constants", "XppGon.0:Cspad.0", pedestals=dark, pixel_status=(dark > 1400).astype("u2"))
    with open_run("exp=xppdemo26:run=1", roots=[directory], calib_dir=directory / "constants") as run:
        cspad = area(run, "cspad")
        raw = cspad.raw(run.events[1])
        assert raw is not None
        assert cspad.pixels(run.events[1].get("cspad")).shape == (4, 8, 185, 388)
        recipe = cspad.recipe(common_mode=mode)
        assert recipe is not None
        together = recipe(np.ascontiguousarray(raw))
        np.testing.assert_array_equal(cspad.calib(run.events[1], common_mode=mode), together)
        np.testing.assert_array_equal(cspad.images([1], common_mode=mode)[0], together)
        np.testing.assert_array_equal(cspad.calib(run.events[1], common_mode=mode, allow_uncalibrated=True), together)
        assert bool((together == recipe(np.zeros_like(raw))).all()) is False
