"""A CSPAD of which only a part is read out."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run.runs import NODE

from psanacli.calib import Store, format_text
from psanacli.detector import Cspad
from psanacli.errors import DataError
from psanacli.run import Run, open_run
from psanacli.xtc import Container, Contribution, Engine, RunWriter, Source
from psanacli.xtc.encode import encode

SOURCE = Source.parse("CxiDs1.0:Cspad.0")
ROI = (0, 0b00101001, 0, 0b10000000)
"""Sections that are read out, by quadrant."""


def quad(number: int, level: int) -> bytes:
    head = np.zeros(8, "u4")
    head[1] = number << 24
    sections = np.flatnonzero(ROI[number] >> np.arange(8) & 1)
    data = np.full((len(sections), 185, 388), level, "i2") + sections[:, None, None].astype("i2")
    return head.tobytes() + data.tobytes() + bytes(4)


@pytest.fixture(scope="module")
def partial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Two quadrants of a CSPAD, the last one first in the file; ASIC 1 of section 5 is in low gain in quadrant 1."""
    top = tmp_path_factory.mktemp("cspad")
    high = np.full((185, 194), 0xFFFF, "u2")
    maps = [high, high & ~np.uint16(1 << 11), high, high]
    values = {
        "asicMask": 0xF,
        "quadMask": 0b1010,
        "roiMasks": sum(mask << 8 * number for number, mask in enumerate(ROI)),
        "quads": [{"gm": {"gainMap": gain_map}} for gain_map in maps],
    }
    with RunWriter(top / "xtc", "e301", 1) as writer:
        writer.configure([Container(NODE, [Contribution("CsPad.ConfigV5", SOURCE, encode("CsPad.ConfigV5", values))])])
        writer.begin_step([])
        writer.event([Container(NODE, [Contribution("CsPad.DataV2", SOURCE, quad(3, 300) + quad(1, 100))])])
    constants = Store(top / "calib").type_directory(SOURCE.name, "pedestals")
    constants.mkdir(parents=True)
    (constants / "0-end.data").write_bytes(format_text(np.full((32, 185, 388), 10, "f4"), fmt="%d"))
    with open_run(top / "xtc", calib_dir=top / "calib") as run:
        yield run


EVENTS = 6
TURNED, COMPRESSED = 3, 4
"""Events whose quadrants are in another order in the file, and whose payload is compressed."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSPAD that is read out whole, with two ASICs in low gain, and its constants."""
    top, random = tmp_path_factory.mktemp("whole"), np.random.default_rng(3)
    gain_map = np.full((185, 194), 0xFFFC, "u2")
    quads = [{"gm": {"gainMap": gain_map}}] * 4
    values = {"asicMask": 0xF, "quadMask": 0xF, "roiMasks": 0xFFFFFFFF, "quads": quads}
    head = np.zeros(8, "u4")
    with RunWriter(top / "xtc", "e301", 1) as writer:
        writer.configure([Container(NODE, [Contribution("CsPad.ConfigV5", SOURCE, encode("CsPad.ConfigV5", values))])])
        writer.begin_step([])
        for number in range(EVENTS):
            pixels = random.normal(1003, 5, (4, 8, 185, 388)).astype("i2")
            parts = []
            for quadrant in (2, 0, 3, 1) if number == TURNED else range(4):
                head[1] = quadrant << 24
                parts.append(head.tobytes() + pixels[quadrant].tobytes() + bytes(4))
            data = Contribution("CsPad.DataV2", SOURCE, b"".join(parts))
            writer.event([Container(NODE, [data.compressed(Engine.HIST16) if number == COMPRESSED else data])])
    constants = {
        "pedestals": np.full((32, 185, 388), 1000, "f4"),
        "pixel_status": np.eye(388)[None, :185].repeat(32, 0),
    }
    for name, array in constants.items():
        place = Store(top / "calib").type_directory(SOURCE.name, name)
        place.mkdir(parents=True)
        (place / "0-end.data").write_bytes(format_text(array, fmt="%d"))
    return top


@pytest.mark.parametrize("mode", [None, False, [5, 100]])
def test_pixels_are_taken_from_the_file_as_from_memory(whole: Path, mode: Any) -> None:
    with open_run(whole / "xtc", calib_dir=whole / "calib") as run:
        detector = run.detector("Cspad")
        assert isinstance(detector, Cspad)
        recipe = detector.recipe(common_mode=mode)
        assert recipe is not None
        images = [detector.calib(event, common_mode=mode) for event in run.events]
        assert [number for number in range(EVENTS) if detector.in_file(number) is not None] == [0, 1, 2, 5]
        together = detector.images(range(EVENTS), common_mode=mode)
        for event, image, other in zip(run.events, images, together, strict=True):
            raw = detector.raw(event)
            assert raw is not None and image is not None
            np.testing.assert_array_equal(image, recipe(raw))
            np.testing.assert_array_equal(other, image)
        assert detector.in_file(EVENTS - 1) is None, "what has been read is not read again"


def test_a_file_that_was_cut_is_the_same_error_whoever_reads(whole: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(whole / "xtc", tmp_path / "xtc")) / "e301-r0001-s00-c00.xtc"
    with open_run(tmp_path / "xtc", calib_dir=whole / "calib") as run:
        detector = run.detector("Cspad")
        assert isinstance(detector, Cspad)
        detector.calib(run.events[0])
        reader = run.readers[detector.image_keys[0]]
        offset, size = int(reader.objects.offset[EVENTS - 1]), int(reader.objects.size[EVENTS - 1])
        for left in (size - 1, size - 5, size // 2, 40, 5, 0):
            os.truncate(path, offset + left)
            says = re.escape(f"{path}: {size} bytes at offset {offset} cannot be read: the file ends before")
            for read in (detector.raw, detector.calib):
                with pytest.raises(DataError, match=says):
                    read(run.events[EVENTS - 1])
            with pytest.raises(DataError, match=says):
                detector.images([1, EVENTS - 1])
        np.testing.assert_array_equal(detector.images([1])[0], detector.calib(run.events[1]))


def test_a_partial_cspad_has_its_sections_in_their_places(partial: Run) -> None:
    detector = partial.detector("Cspad")
    assert isinstance(detector, Cspad)
    raw = detector.raw(partial.events[0])
    assert raw is not None and raw.shape == (32, 185, 388)
    levels = {number: int(level) for number, level in enumerate(raw[:, 100, 200]) if level}
    assert levels == {8: 100, 11: 103, 13: 105, 31: 307}


def test_low_gain_of_a_cspad_counts_more(partial: Run) -> None:
    detector, event = partial.detector("Cspad"), partial.events[0]
    assert isinstance(detector, Cspad)
    low = detector.low_gain(event)
    assert low is not None
    assert np.count_nonzero(low) == 185 * 194 and low[13, :, 194:].all()
    image = detector.calib(event, common_mode=False)
    assert image is not None
    assert image[13, 0, [0, 193, 194]] == pytest.approx([95, 95, 95 * 6.85])
    assert image[0, 0, 0] == -10
    flat = detector.calib(event, common_mode=False, gain_map=False)
    assert flat is not None and flat[13, 0, 194] == 95


def test_an_image_that_is_kept_stays_as_it_is(partial: Run) -> None:
    detector, event = partial.detector("Cspad"), partial.events[0]
    assert isinstance(detector, Cspad)
    kept = [detector.calib(event, common_mode=False), detector.raw(event)]
    copies = [image.copy() for image in kept if image is not None]
    part = detector.calib(event, common_mode=False)[13, 0, 0:1]  # type: ignore[index]
    for _ in range(3):
        detector.calib(event)
        detector.raw(event)
    assert all(np.array_equal(image, copy) for image, copy in zip(kept, copies, strict=True))  # type: ignore[arg-type]
    assert part == 95
