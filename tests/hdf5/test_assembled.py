"""A detector that is read out in pieces has one table of corrected images, and in aligned files one of raw images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from commands.cluster import psana

from psanacli.calib import Store, format_text
from psanacli.hdf5 import TranslateOptions, plan
from psanacli.run import Run, open_run
from tests.detector import pieces

WHOLE, SLIPPED = pieces.WHOLE.name, 4
EVENTS = 6
GOOD = [0, 1, 5]
RAW = f"Jungfrau::ElementV2/{WHOLE}"
MADE = f"ndarray_float32_3/{WHOLE}"
STEP = "Configure:0000/Run:0000/CalibCycle:0000"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in which a piece is late, one is damaged and one is of another frame, and constants."""
    directory = tmp_path_factory.mktemp("pieces")
    images = np.stack([pieces.raw(number) for number in range(EVENTS)])
    pieces.write(directory, events=EVENTS, images=images, slipped=[SLIPPED])
    rows = np.random.default_rng(1).integers(80, 400, (3, pieces.MODULES, pieces.ROWS, 1)) / np.float32(8)
    home = Store(directory / "calib").type_directory(WHOLE, "pedestals")
    home.mkdir(parents=True)
    (home / "0-end.data").write_bytes(format_text(np.broadcast_to(rows, (*rows.shape[:3], pieces.COLUMNS))))
    return directory


@pytest.fixture(scope="module")
def run(place: Path) -> Iterator[Run]:
    with open_run([*place.glob("*.xtc")], calib_dir=place / "calib") as run:
        yield run


def translated(place: Path, out: Path, *options: str) -> h5py.File:
    xtc = [*place.glob("*.xtc")]
    code, _, err = psana("translate", *xtc, "-o", out, "-q", "--calib-dir", place / "calib", *options)
    assert code == 4, err
    assert "do not fit into their payloads or together" in err
    return h5py.File(out)


def test_corrected_images_are_in_one_table(place: Path, run: Run, tmp_path: Path) -> None:
    with translated(place, tmp_path / "out.h5", "--calib", "jungfrau1m", "-j", "2") as file:
        step = file[STEP]
        assert list(step["ndarray_float32_3"]) == [WHOLE]
        assert len(step["Jungfrau::ElementV2"]) == 3
        table = step[MADE]
        assert table["_mask"][:].tolist() == [int(number in GOOD) for number in range(EVENTS)]
        assert table["_damage"]["DroppedContribution"].tolist() == [0, 0, 1, 0, 0, 0]
        assert table["_damage"]["OutOfSynch"].tolist() == [0, 0, 0, 1, 0, 0]
        detector = run.detector("jungfrau1m")
        for number in range(EVENTS):
            wanted = detector.calib(run.events[number])  # type: ignore[attr-defined]
            assert (wanted is not None) == (number in GOOD)
            np.testing.assert_array_equal(table["data"][number], 0 if wanted is None else wanted)
        assert file[f"Configure:0000/CalibStore/pedestals/{WHOLE}/data"].shape == (3, pieces.MODULES, 512, 1024)


def test_an_aligned_file_has_it_as_if_recorded_whole(place: Path, run: Run, tmp_path: Path) -> None:
    with translated(place, tmp_path / "out.h5", "--aligned", "--calib", "jungfrau1m") as file:
        assert list(file["Aligned/Jungfrau::ElementV2"]) == [WHOLE]
        table = file[f"Aligned/{RAW}"]
        assert table["frame"].dtype.subdtype == (np.dtype("<u2"), (pieces.MODULES, 512, 1024))
        assert np.flatnonzero(table["_mask"][:]).tolist() == GOOD
        for number in range(EVENTS):
            np.testing.assert_array_equal(table["frame"][number], pieces.raw(number) if number in GOOD else 0)
        assert table["data"]["frameNumber"][GOOD].tolist() == GOOD
        assert table["moduleInfo"][0]["moduleID"].tolist() == [0, 1, 2, 3]
        assert "_eventKeyStr" not in table.attrs or not table.attrs["_eventKeyStr"]
        corrected = file[f"Aligned/{MADE}"]
        image = run.detector("jungfrau1m").calib(run.events[5])  # type: ignore[attr-defined]
        np.testing.assert_array_equal(corrected["data"][5], image)
        assert np.isnan(corrected["data"][SLIPPED]).all()


def test_an_aligned_file_is_that_of_a_detector_recorded_whole(tmp_path: Path) -> None:
    for name, parts, apart in (("apart", [(0, 1), (1, 1), (2, 2)], True), ("whole", [(0, 4)], False)):
        (tmp_path / name).mkdir()
        (path,) = pieces.write(tmp_path / name, parts, events=2, faults=False, apart=apart)
        code, _, err = psana("translate", path, "-o", tmp_path / f"{name}.h5", "-q", "--aligned")
        assert code == 0, err
    with h5py.File(tmp_path / "apart.h5") as apart, h5py.File(tmp_path / "whole.h5") as whole:
        one, other = apart[f"Aligned/{RAW}"], whole[f"Aligned/{RAW}"]
        assert (list(one), dict(one.attrs).keys()) == (list(other), dict(other.attrs).keys())
        for name in one:
            assert one[name].dtype == other[name].dtype
            np.testing.assert_array_equal(one[name][()], other[name][()], err_msg=name)


def test_patterns_mean_pieces_and_whole(run: Run) -> None:
    cases: list[tuple[dict[str, Any], int]] = [
        ({"include": ("jungfrau1m",)}, 3),
        ({"include": ("jungfrau1m_2",)}, 1),
        ({"exclude": ("jungfrau1m_2",)}, 2),
        ({"exclude": ("jungfrau1m",)}, 0),
        ({"include": ("jungfrau1m",), "aligned": True}, 1),
        ({"include": ("jungfrau1m_2",), "aligned": True}, 1),
    ]
    for options, wanted in cases:
        made = plan(run, TranslateOptions(**options))
        assert sum(each.path.endswith("/frame") for each in made.datasets) == wanted, options
