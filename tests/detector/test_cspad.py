"""A CSPAD of which only a part is read out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from run.runs import NODE

from psanacli.calib import Store, format_text
from psanacli.detector import Cspad
from psanacli.run import Run, open_run
from psanacli.xtc import Container, Contribution, RunWriter, Source
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
