"""A Jungfrau that is read out in pieces is one detector, and its pieces are detectors too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands.cluster import psana

from psanacli.calib import Store, format_text
from psanacli.dark import plan_dark, process
from psanacli.detector import AreaDetector, JungfrauPiece, SegmentedJungfrau
from psanacli.errors import DataError, NotFoundError, UsageError
from psanacli.parallel import Team
from psanacli.run import Run, open_run, summarise, wholes
from psanacli.run.pieces import _distances, _usual
from tests.detector import pieces
from tests.run.runs import write_run

WHOLE = pieces.WHOLE.name
SHAPE = (pieces.MODULES, pieces.ROWS, pieces.COLUMNS)
RANGES = (3, *SHAPE)
GOOD = [0, 1, 4]


def made_of(seed: int, low: float, high: float) -> np.ndarray[Any, Any]:
    """Return constants that are told apart in every module, range and row, in few digits."""
    rows = np.random.default_rng(seed).integers(int(8 * low), int(8 * high), (*RANGES[:3], 1))
    return np.broadcast_to(rows / np.float32(8), RANGES).astype(np.float32)


@pytest.fixture(scope="module")
def calib(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("calib")
    status = np.zeros(RANGES, np.uint16)
    status[0, 3, 7], status[1, 0, :, 9], status[2, 2, 100, 200] = 1, 4, 8
    constants = {"pedestals": made_of(1, 10, 40), "pixel_gain": made_of(2, 1, 3), "pixel_status": status}
    for name, array in constants.items():
        home = Store(directory).type_directory(WHOLE, name)
        home.mkdir(parents=True)
        (home / "0-end.data").write_bytes(format_text(array))
    return directory


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, calib: Path) -> Iterator[Run]:
    with open_run(pieces.write(tmp_path_factory.mktemp("pieces")), calib_dir=calib) as run:
        yield run


@pytest.fixture
def detector(run: Run) -> SegmentedJungfrau:
    found = run.detector("jungfrau1m")
    assert isinstance(found, SegmentedJungfrau)
    return found


@pytest.mark.parametrize("name", ["jungfrau1m", "Jungfrau1M", WHOLE, "Jungfrau", "DetInfo(CxiEndstation.0:Jungfrau.0)"])
def test_the_whole_has_the_names_of_a_detector(run: Run, name: str) -> None:
    found = run.detector(name)
    assert isinstance(found, SegmentedJungfrau)
    assert (found.name, found.alias, found.shape, found.dtype) == (WHOLE, "jungfrau1m", SHAPE, np.uint16)


def test_modules_stand_in_their_places(run: Run, detector: SegmentedJungfrau) -> None:
    for number in GOOD:
        np.testing.assert_array_equal(detector.raw(run.events[number]), pieces.raw(number))
    element = detector.get(run.events[1])
    assert (element.frameNumber, [info.moduleID for info in element.moduleInfo]) == (1, [0, 1, 2, 3])
    assert element.asdict()["frame"].shape == SHAPE


def test_an_event_without_all_pieces_has_no_image_and_is_told(run: Run, detector: SegmentedJungfrau) -> None:
    for number in (pieces.LATE, pieces.DAMAGED):
        assert detector.raw(run.events[number]) is None
        assert detector.calib(run.events[number]) is None
    assert detector.event_numbers.tolist() == GOOD
    assert detector.incomplete.tolist() == [pieces.LATE, pieces.DAMAGED]
    assert np.flatnonzero(detector.present).tolist() == GOOD
    assert "of 3 pieces; all in 3 events, not all pieces in 2" in repr(detector)
    last = run.detector("jungfrau1m_2")
    assert last.raw(run.events[pieces.LATE]) is not None


def test_events_and_columns_know_the_whole(run: Run) -> None:
    element = run.events[1].get("jungfrau1m")
    np.testing.assert_array_equal(element.frame, pieces.raw(1))
    assert run.events[pieces.LATE].get("jungfrau1m") is None
    assert run.events[1].why("jungfrau1m") == "jungfrau1m: Jungfrau.ElementV2 in 3 pieces is there"
    late, damaged = (run.events[number].why("jungfrau1m") for number in (pieces.LATE, pieces.DAMAGED))
    assert "JungfrauSegment.1: Jungfrau.ElementV2 is not in this event" in late
    assert "JungfrauSegment.0: Jungfrau.ElementV2 is damaged: OutOfSynch" in damaged
    frames = run.column("jungfrau1m.frame")
    assert (frames.shape, frames.dtype) == ((pieces.EVENTS, *SHAPE), np.uint16)
    for number in range(pieces.EVENTS):
        assert frames.mask[number].all() == (number not in GOOD)
        np.testing.assert_array_equal(frames.data[number], pieces.raw(number) if number in GOOD else 0)
    assert run.column("jungfrau1m/Element.frameNumber").tolist() == [0, 1, None, None, 4]
    assert run.column("jungfrau1m.moduleInfo.moduleID").tolist()[4] == [0, 1, 2, 3]
    assert run.to_xarray(["jungfrau1m.ticks"])["jungfrau1m.ticks"].shape == (pieces.EVENTS,)
    assert [block["jungfrau1m.frame"].shape for block in run.blocks("jungfrau1m.frame", max_bytes=1 << 24)]
    with pytest.raises(UsageError, match="would take"):
        run.column("jungfrau1m.frame", max_bytes=1 << 23)
    with pytest.raises(NotFoundError, match="has no field 'frames'"):
        run.column("jungfrau1m.frames")


def test_expressions_know_the_whole(run: Run) -> None:
    assert run.evaluate("present(jungfrau1m)").tolist() == [True, True, False, False, True]
    assert run.evaluate("damaged(jungfrau1m)").tolist() == [False, False, False, True, False]
    assert run.evaluate("max(jungfrau1m.frame) > 52000").tolist() == [True, True, None, None, True]
    reasons = run.evaluate("why(jungfrau1m)").tolist()
    assert [bool(reason) for reason in reasons] == [False, False, True, True, False]
    assert "JungfrauSegment.1: Jungfrau.ElementV2 is not in this event" in reasons[pieces.LATE]


def test_pieces_of_different_frames_are_no_image(tmp_path: Path, calib: Path) -> None:
    with open_run(pieces.write(tmp_path, faults=False, slipped=[3]), calib_dir=calib) as run:
        detector = run.detector("jungfrau1m")
        assert isinstance(detector, SegmentedJungfrau)
        assert detector.raw(run.events[3]) is None
        assert run.events[3].get("jungfrau1m") is None
        reason = run.events[3].why("jungfrau1m")
        assert "different frames: frame numbers 3 of CxiEndstation.4:JungfrauSegment.0, 103 of" in reason
        assert (detector.event_numbers.tolist(), detector.apart.tolist()) == ([0, 1, 2, 4], [3])
        assert run.column("jungfrau1m.frameNumber").tolist() == [0, 1, 2, None, 4]
        assert run.evaluate("why(jungfrau1m)").tolist()[3] == reason.partition(": ")[2]
        assert len(next(iter(run.blocks(detector, max_bytes=1 << 26)))) == 4
        plan = plan_dark([run], WHOLE, missing_ok=True)
        assert plan.events == 4
        assert any("different frames in 1 event; left out" in note for note in plan.notes)


def test_counters_that_have_nothing_in_common_are_not_compared() -> None:
    numbers = np.array([[0, 7], [1, 40], [2, 3], [3, 90]])
    assert [_usual(each) for each in _distances(numbers).T] == [0, -1]
    near_the_end = np.array([[5, 2**32 - 1], [6, 0], [7, 1]])
    assert _distances(near_the_end)[:, 1].tolist() == [2**32 - 6] * 3


def test_it_is_corrected_as_one_that_was_recorded_whole(
    run: Run, detector: SegmentedJungfrau, calib: Path, tmp_path: Path
) -> None:
    paths = pieces.write(tmp_path, [(0, pieces.MODULES)], apart=False, faults=False)
    with open_run(paths, calib_dir=calib) as other:
        whole = other.detector("jungfrau1m")
        assert isinstance(whole, AreaDetector)
        assert not isinstance(whole, SegmentedJungfrau)
        for number in GOOD:
            wanted = whole.calib(other.events[number])
            assert wanted is not None
            assert np.count_nonzero(wanted) > 1_000_000
            np.testing.assert_array_equal(detector.calib(run.events[number]), wanted)
        for name in ("pedestals", "gain", "status"):
            np.testing.assert_array_equal(getattr(detector, name), getattr(whole, name))
        np.testing.assert_array_equal(detector.mask("status or edges(3)"), whole.mask("status or edges(3)"))
        wanted_ranges = whole.gain_ranges(other.events[4])
        np.testing.assert_array_equal(detector.gain_ranges(run.events[4]), wanted_ranges)
    blocks = list(run.blocks(detector, max_bytes=1 << 24))
    assert [event.index for block in blocks for event in block.events] == GOOD


def test_a_piece_has_the_constants_of_its_modules(run: Run, detector: SegmentedJungfrau) -> None:
    whole = detector.calib(run.events[0])
    assert whole is not None
    for piece in detector.pieces:
        assert isinstance(piece, JungfrauPiece)
        part = slice(piece.first, piece.first + piece.modules)
        assert piece.constants.source == WHOLE
        np.testing.assert_array_equal(piece.pedestals, detector.pedestals[:, part])
        np.testing.assert_array_equal(piece.mask(), detector.mask()[part])
        np.testing.assert_array_equal(piece.calib(run.events[0]), whole[part])


def test_modules_that_no_piece_has_are_0_and_bad(calib: Path, tmp_path: Path) -> None:
    with open_run(pieces.write(tmp_path, [(0, 1), (2, 2)], faults=False, events=1), calib_dir=calib) as run:
        detector = run.detector("jungfrau1m")
        assert isinstance(detector, SegmentedJungfrau)
        assert (detector.absent, detector.shape) == ((1,), SHAPE)
        assert "modules 1 are in none" in repr(detector)
        image, raw = detector.calib(run.events[0], mask=False), detector.raw(run.events[0])
        assert image is not None
        assert raw is not None
        assert not image[1].any()
        assert not raw[1].any()
        assert image[0].any()
        assert not detector.mask()[1].any()
        assert detector.mask(status=False)[[0, 2, 3]].all()


@pytest.mark.parametrize(
    ("parts", "total", "message"),
    [
        ([(0, 1), (0, 2)], 4, r"module 0 of CxiEndstation\.0:Jungfrau\.0 is in .*Segment\.0 and in .*SegmentM2\.0"),
        ([(0, 1), (3, 2)], 4, "has module 4 of .* which has 4 modules"),
    ],
)
def test_pieces_that_contradict_each_other(
    parts: list[tuple[int, int]], total: int, message: str, tmp_path: Path
) -> None:
    images = np.zeros((1, 5, pieces.ROWS, pieces.COLUMNS), np.uint16)
    with open_run(pieces.write(tmp_path, parts, total=total, events=1, images=images)) as run:
        with pytest.raises(DataError, match=message):
            run.detector("jungfrau1m")
        assert run.detector("jungfrau1m_0").types == ("Jungfrau.ElementV2",)
        assert any(found.name == WHOLE for found in summarise(run).detectors)


def test_sixteen_modules_are_told_by_a_zero() -> None:
    segment = pieces.piece(12, 4, 16).segment
    assert segment is not None
    assert segment.total == 0
    found = wholes([pieces.piece(4 * k, 4, 16) for k in range(4)])
    assert found[WHOLE].modules == 16


def test_no_piece_no_whole(tmp_path: Path) -> None:
    with open_run(write_run(tmp_path)) as run, pytest.raises(NotFoundError):
        run.detector(WHOLE)


def test_the_summary_lists_it_with_its_complete_events(run: Run) -> None:
    (found,) = (each for each in summarise(run).detectors if each.name == WHOLE)
    (kind,) = found.types
    assert (found.alias, kind.shape, kind.present) == ("jungfrau1m", SHAPE, len(GOOD))
    assert kind.type == "Jungfrau.ElementV2 in 3 pieces"
    assert WHOLE in list(run.detectors)


def test_a_dark_run_of_pieces_is_that_of_the_whole(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    frames = random.integers(100, 110, (6, *SHAPE), np.uint16)
    apart = pieces.write(tmp_path, events=6, images=frames)
    (tmp_path / "whole").mkdir()
    whole = pieces.write(tmp_path / "whole", [(0, 4)], events=6, images=frames, faults=False, apart=False)
    with open_run(apart) as run, open_run(whole) as other:
        plan = plan_dark([run], WHOLE, missing_ok=True)
        assert (plan.events, plan.damaged, plan.absent) == (4, 2, 0)
        assert any("JungfrauSegment.1 is missing in 1 event that" in note for note in plan.notes)
        made = process(plan, Team(), block=1 << 23)
        chosen = np.array([n for n in range(6) if n not in (pieces.LATE, pieces.DAMAGED)])
        wanted = process(plan_dark([other], WHOLE, missing_ok=True, chosen=[chosen]), Team())
        assert made is not None
        assert wanted is not None
        for name, array in wanted.constants.items():
            np.testing.assert_array_equal(made.constants[name], array, err_msg=name)


def test_pieces_in_different_gains_are_no_dark_run(tmp_path: Path) -> None:
    with open_run(pieces.write(tmp_path, events=1, modes=(0, 0, 3), faults=False)) as run:
        with pytest.raises(DataError, match=r"different gain modes: .*Segment\.0 in Normal.*M2\.2 in ForcedGain1"):
            plan_dark([run], WHOLE, missing_ok=True)


def test_verbs_take_the_whole(tmp_path: Path, calib: Path) -> None:
    (path,) = pieces.write(tmp_path, events=1, faults=False)
    common = ["--calib-dir", calib]
    code, out, err = psana("calib", "which", path, "-d", "jungfrau1m_2", "--type", "pedestals", "--json", *common)
    assert (code, json.loads(out)["detector"]) == (0, WHOLE), err
    code, _, err = psana("calib", "which", path, "-d", "jungfrau9", "--type", "pedestals", *common)
    assert code == 3
    assert "jungfrau1m" in err
