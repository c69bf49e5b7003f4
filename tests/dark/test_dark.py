"""Dark runs: which events are used, and that nothing depends on how they are dealt out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from dark.dark_runs import (
    CAMERA,
    DEAD,
    EVENTS,
    HOT,
    JUNGFRAU,
    MODULE,
    NOISY,
    PNCCD,
    QUAD,
    QUAD_LABELS,
    RMS,
    SHAPE,
    Written,
    noise,
    write_camera,
    write_jungfrau,
    write_pnccd,
    write_quad,
)

from psanacli.calib import DarkOptions, Psana, PsanaEpix10ka, Robust, StatusBit, format_text
from psanacli.calib.dark import Dark
from psanacli.dark import NOMINAL_GAINS, DarkResult, picture, plan_dark, process, with_low_gain
from psanacli.dark.further import common_mode_of_dark
from psanacli.dark.modes import GainMode
from psanacli.dark.result import ModeResult, without_panels
from psanacli.errors import ConstantsError, DataError, NotFoundError, UsageError
from psanacli.parallel import Team
from psanacli.run import Run, open_run


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return write_camera(tmp_path_factory.mktemp("camera"))


@pytest.fixture(scope="module")
def camera(written: Written) -> Iterator[Run]:
    with open_run(written.paths) as run:
        yield run


@pytest.fixture(scope="module")
def jungfrau(tmp_path_factory: pytest.TempPathFactory) -> list[Written]:
    folder = tmp_path_factory.mktemp("jungfrau")
    return [write_jungfrau(folder, mode, number) for mode, number in ((0, 2), (3, 3), (4, 4))]


def done(runs: list[Run], source: str, team: Team | None = None, block: int = 1 << 25, **options: object) -> DarkResult:
    result = process(plan_dark(runs, source, **options), team or Team(), block=block)  # type: ignore[arg-type]
    assert result is not None
    return result


def same(one: DarkResult, other: DarkResult) -> bool:
    return all(np.array_equal(value, other.constants[name]) for name, value in one.constants.items())


def test_what_was_planted_is_found_and_every_event_is_accounted_for(camera: Run, written: Written) -> None:
    result = done([camera], CAMERA.name)
    dark = result.modes[0].dark
    assert {tuple(place) for place in np.argwhere(dark.status).tolist()} == {HOT, DEAD, NOISY}
    assert dark.status[DEAD] == StatusBit.TOO_SMALL | StatusBit.RMS_LOW | StatusBit.PEDESTAL_LOW
    plan = result.plan
    assert (plan.chosen, plan.absent, plan.damaged, result.broken) == (EVENTS, 1, 1, 1)
    assert dark.events == len(written.frames) == EVENTS - 3
    assert abs(np.median(dark.rms) / RMS - 1) < 0.02
    assert np.array_equal(dark.largest, written.frames.max(axis=0))
    assert np.array_equal(dark.least, written.frames.min(axis=0))


@pytest.mark.parametrize("method", ["robust", "psana"])
def test_blocks_and_threads_do_not_matter(camera: Run, written: Written, method: str) -> None:
    expected = done([camera], CAMERA.name, method=method)
    frame = 2 * SHAPE[0] * SHAPE[1]
    for threads, block in ((1, frame), (1, 7 * frame), (2, 3 * frame), (3, 1), (3, 1 << 25)):
        assert same(done([camera], CAMERA.name, Team(threads), block, method=method), expected)
    if method == "psana":  # whose sample are the first events
        dark = Psana(DarkOptions()).of(written.frames)
        assert np.array_equal(dark.status, expected.modes[0].dark.status)
        assert np.array_equal(dark.pedestals, expected.modes[0].dark.pedestals)


def test_a_run_no_longer_than_the_sample_is_read_once_and_gives_the_same(camera: Run) -> None:
    options = DarkOptions(sample=200)
    once = done([camera], CAMERA.name, options=options)
    assert same(done([camera], CAMERA.name, Team(2), 1, options=options), once)
    assert once.modes[0].dark.events == EVENTS - 3


def test_events_are_chosen_skipped_and_counted(camera: Run) -> None:
    plan = plan_dark([camera], CAMERA.name, chosen=[slice(0, 50)], skip=10, number=20)
    assert (plan.chosen, plan.absent, plan.damaged, plan.events) == (50, 1, 1, 20)
    rows = plan.modes[0].parts[0].rows
    assert plan.frames[0].objects.event[rows].tolist() == list(range(12, 32))  # 7 is absent, 9 is damaged
    with pytest.raises(NotFoundError, match=r"none of 1 events can be used: 1 do not have"):
        plan_dark([camera], CAMERA.name, chosen=[np.array([7])])


def test_a_short_run_is_explained_and_not_full_of_bad_pixels(camera: Run) -> None:
    for method in ("robust", "psana"):
        result = done([camera], CAMERA.name, method=method, number=6)
        assert result.bad <= 6
        assert any("only 6 events" in note for note in result.plan.notes)
        assert any("6 events" in note for note in result.modes[0].dark.notes)
        assert result.objections() == ["there are only 6 events"]
    with pytest.raises(DataError, match=r"^2 events have the detector"):
        done([camera], CAMERA.name, number=2)


def test_panels_that_are_not_read_out_are_not_counted() -> None:
    shape, absent = (3, 4, 5), np.array([False, True, False])
    full = {name: np.full(shape, value, "f8") for name, value in (("pedestals", 1000.0), ("rms", 3.0))}
    counts = {name: np.full(shape, 1000, "u2") for name in ("least", "largest")}
    dark = Dark(**full, **counts, status=np.zeros(shape, "u2"), averaged=np.zeros(shape, "u4"), events=9, limits=())
    told = ModeResult(GainMode(0, ""), without_panels(dark, absent), 9, 0).asdict()
    assert (told["pedestals"]["min"], told["rms"]["median"]) == (1000, 3)
    nothing = ModeResult(GainMode(0, ""), without_panels(dark, np.ones(3, bool)), 9, 0).asdict()
    assert nothing["pedestals"] is None


def test_the_picture_shows_all_modes(camera: Run) -> None:
    data = picture(done([camera], CAMERA.name))
    assert data.startswith(b"\x89PNG") and len(data) > 2000


def test_three_runs_give_the_gains_of_a_jungfrau(jungfrau: list[Written]) -> None:
    runs = [open_run(each.paths) for each in jungfrau]
    result = done(runs, JUNGFRAU.name, Team(2))
    assert [(each.mode.index, each.mode.name, each.dark.events) for each in result.modes] == [
        (0, "Normal", 40),
        (1, "ForcedGain1", 40),
        (2, "ForcedGain2", 40),
    ]
    assert result.constants["pedestals"].shape == (3, *MODULE)
    for gain, (each, written) in enumerate(zip(result.modes, jungfrau, strict=True)):
        values = (written.frames & 0x3FFF).astype(float)
        values[5, 0, 2, 3] = np.nan  # in another range: left out, and told
        assert each.dark.status[0, 2, 3] == StatusBit.GAIN_RANGE
        assert np.allclose(each.dark.pedestals, np.nanmean(values, axis=0))
        assert np.allclose(each.dark.rms, np.nanstd(values, axis=0, ddof=1))
        assert np.array_equal(result.constants["pixel_status"][gain], each.dark.status)
    psana = done(runs, JUNGFRAU.name, method="psana")
    assert [each.dark.status[0, 2, 3] & 64 for each in psana.modes] == [64, 64, 64]


def test_a_missing_gain_is_an_error_unless_it_may_be_missing(jungfrau: list[Written]) -> None:
    runs = [open_run(each.paths) for each in jungfrau[:2]]
    with pytest.raises(ConstantsError, match="no dark events in gain 2"):
        plan_dark(runs, JUNGFRAU.name)
    constants = done(runs, JUNGFRAU.name, missing_ok=True).constants
    assert not constants["pedestals"][2].any() and (constants["pixel_rms"][2] == 1).all()
    assert (constants["dark_max"][2] == 16383).all() and constants["dark_max"][1].max() < 16383


def test_the_same_gain_by_two_modes_is_refused(jungfrau: list[Written], tmp_path: Path) -> None:
    other = write_jungfrau(tmp_path, 0, 9)
    from psanacli.dark import modes

    runs = [open_run(each.paths) for each in (*jungfrau, other)]
    assert plan_dark(runs, JUNGFRAU.name).modes[0].events == 80  # the same mode twice is one dark
    high = modes.GainMode(0, "HighGain0")
    plans = plan_dark(runs, JUNGFRAU.name).modes
    from psanacli.dark.plan import ModePlan, _fail_if_twice

    with pytest.raises(UsageError, match="Normal and in HighGain0"):
        _fail_if_twice([plans[0], ModePlan(high, plans[0].parts, plans[0].method)], JUNGFRAU.name)


def test_five_steps_give_the_ranges_of_an_epix10ka(tmp_path: Path) -> None:
    written = write_quad(tmp_path, QUAD_LABELS)
    with open_run(written.paths) as run:
        result = done([run], QUAD.name)
        psana = done([run], QUAD.name, method="psana")
    assert [each.mode.name for each in result.modes] == ["FH", "FM", "FL", "AHL-H", "AML-M"]
    constants = result.constants
    assert constants["pedestals"].shape == (7, 4, 352, 384)
    for step, frames in enumerate(written.frames):
        error = np.abs(constants["pedestals"][step] - frames.mean(axis=0))
        assert np.count_nonzero(error > 0.002) < 1e-3 * error.size  # one of five values may be far from the others
        expected = PsanaEpix10ka(DarkOptions()).of(frames[:-1])  # the original does not use the last event
        assert np.array_equal(psana.modes[step].dark.pedestals, expected.pedestals)
        assert np.array_equal(psana.modes[step].dark.status, expected.status)
    for low in (5, 6):
        assert np.array_equal(constants["pedestals"][low], constants["pedestals"][2])
        assert not psana.constants["pedestals"][low].any()
    assert (constants["pixel_rms"][5:] == 1).all() and not constants["pixel_status"][5:].any()
    assert result.bad < 20


def test_low_gain_pedestals_are_derived_from_charge_injection(tmp_path: Path) -> None:
    with open_run(write_quad(tmp_path, QUAD_LABELS, events=3).paths) as run:
        result = done([run], QUAD.name)
        panel = "-".join(["0000000000"] * 7)  # that of all panels here
        shape = (352, 384)
        high = result.constants["pedestals"][3]
        values = {
            ("offset", "AHL-H"): 2100.0,
            ("offset", "AHL-L"): 2500.0,
            ("gain", "AHL-H"): 20.0,
            ("gain", "AHL-L"): 0.5,
        }
        for stamp, change in (("20140101000000", 99.0), ("20150101000000", 0.0), ("20990101000000", 77.0)):
            for (kind, mode), value in values.items():
                folder = tmp_path / "repo" / panel / kind
                folder.mkdir(parents=True, exist_ok=True)
                array = np.full(shape, value + change)
                if (kind, mode, stamp) == ("gain", "AHL-H", "20150101000000"):
                    array[0, 0] = 0
                name = f"epix10ka_0001_{stamp}_xpptut15_r0260_{kind}_{mode}.dat"
                (folder / name).write_bytes(format_text(array, metadata=False))
        (tmp_path / "repo" / panel / "gain" / "README.txt").write_text("no constants")
        derived = with_low_gain(result, tmp_path / "repo")
        expected = 2500 - (2100 - high.astype(float)) * (0.5 / 20)
        expected[:, 0, 0] = 0
        assert np.abs(derived.constants["pedestals"][5] - expected).max() < 0.002
        assert np.array_equal(derived.constants["pedestals"][6], result.constants["pedestals"][6])
        assert [note.split(":")[1] for note in derived.notes] == [" no constants of charge injection for AML-L"] * 4
        gains = derived.constants["pixel_gain"]
        assert np.array_equal(gains[:3], result.constants["pixel_gain"][:3])  # nominal, as nobody measured them
        assert gains[3, 2, 0, 0] == 0
        assert np.allclose(gains[3].reshape(4, -1)[:, 1:], 16.4)
        assert np.allclose(gains[5], 0.164)
        measured = [each["measured"] for each in derived.asdict()["gains"]]
        assert measured == [[], [], [], [0, 1, 2, 3], [], [0, 1, 2, 3], []]
        phase = tmp_path / "repo" / panel / "epix10ka_0001_20150101000000_xpptut15_r0260_offsetph_AML.dat"
        phase.write_bytes(format_text(np.full(shape, 12.5), metadata=False))
        derived = with_low_gain(result, tmp_path / "repo")
        assert np.allclose(derived.constants["pedestals"][6], result.constants["pedestals"][2] + 12.5)
        assert derived.notes == ()
        phase.write_bytes(format_text(np.zeros((3, 4)), metadata=False))
        with pytest.raises(ConstantsError, match=r"\(3, 4\) numbers, a panel has \(352, 384\)"):
            with_low_gain(result, tmp_path / "repo")
        with pytest.raises(NotFoundError, match="is no directory"):
            with_low_gain(result, tmp_path / "nothing")


def test_gains_of_charge_injection_have_the_nominal_median(tmp_path: Path) -> None:
    with open_run(write_quad(tmp_path, QUAD_LABELS, events=3).paths) as run:
        result = done([run], QUAD.name)
        assert [result.constants["pixel_gain"][k, 3, 9, 9] for k in range(7)] == [np.float32(g) for g in NOMINAL_GAINS]
        folder = tmp_path / "repo" / "-".join(["0000000000"] * 7)
        folder.mkdir(parents=True)
        measured = np.linspace(1, 3, 352 * 384).reshape(352, 384)
        file = folder / "epix10ka_0001_20150101000000_xpptut15_r0260_gain_FM.dat"
        file.write_bytes(format_text(measured, metadata=False))
        gains = with_low_gain(result, tmp_path / "repo").constants["pixel_gain"]
        assert np.allclose(gains[1], np.broadcast_to(measured * 5.466 / 2, (4, 352, 384)), rtol=1e-5)
        assert np.median(gains[1, 0]) == pytest.approx(5.466)
        file.write_bytes(format_text(np.zeros((352, 384)), metadata=False))
        with pytest.raises(ConstantsError, match="the median of the gains is 0"):
            with_low_gain(result, tmp_path / "repo")


def test_a_pnccd_gets_the_common_mode_that_its_noise_asks_for(tmp_path: Path) -> None:
    with open_run(write_pnccd(tmp_path, 5.2).paths) as run:
        result = done([run], PNCCD.name)
    dark = result.modes[0].dark
    limit = np.ceil(4 * dark.rms[dark.status == 0].mean())
    assert 18 <= limit <= 22
    assert result.constants["common_mode"].tolist() == [3, limit, limit, 128]
    assert result.asdict()["common_mode"] == [3, limit, limit, 128]
    assert common_mode_of_dark(dark.rms, dark.status > 1000) is None


def test_labels_of_an_epix10ka_have_to_agree_with_its_configuration(tmp_path: Path) -> None:
    swapped = (*QUAD_LABELS[:3], QUAD_LABELS[4], QUAD_LABELS[3])
    with open_run(write_quad(tmp_path, swapped, 1, events=1).paths) as run:
        with pytest.raises(DataError, match=r"step 3: .* says 'dark Auto Medium to Low' \(AML-M\), .* AHL-H"):
            plan_dark([run], QUAD.name)
    with open_run(write_quad(tmp_path, ("bright", *QUAD_LABELS[1:]), 2, events=1).paths) as run:
        with pytest.raises(DataError, match=r"'bright' of .* is none of dark Fixed High Gain"):
            plan_dark([run], QUAD.name)
    with open_run(write_quad(tmp_path, [""] * 5, 3, events=1).paths) as run:
        plan = plan_dark([run], QUAD.name)
        assert [each.mode.name for each in plan.modes] == ["FH", "FM", "FL", "AHL-H", "AML-M"]
        assert any("no label; the configuration says FH" in note for note in plan.notes)


def test_what_a_gate_cuts_off_is_put_right() -> None:
    frames = noise(5, 4000, (1, 32), 1000, 10)
    for sigmas in (1.5, 2, 6):
        dark = Robust(DarkOptions(gate_sigmas=sigmas)).of(frames)
        assert abs(np.sqrt(np.square(dark.rms).mean()) / 10.004 - 1) < 0.02
        assert np.abs(dark.pedestals - frames.mean(axis=0)).max() < 0.6


def test_outliers_move_neither_pedestal_nor_rms() -> None:
    frames = noise(6, 400, (8, 16), 1000, 4)
    clean = Robust(DarkOptions()).of(frames)
    hit = frames.copy()
    hit[::50] += 3000  # events with light
    dark = Robust(DarkOptions()).of(hit)
    assert np.abs(dark.pedestals - clean.pedestals).max() < 1
    assert np.abs(dark.rms / clean.rms - 1).max() < 0.05
    assert not dark.status.any()
    hit[::7, 3, 3] += 500
    assert Robust(DarkOptions()).of(hit).status[3, 3] == StatusBit.UNSTABLE


def test_options_that_make_no_sense_are_refused() -> None:
    for options in ({"values": (5, 5)}, {"quantiles": (0.5, 1.5)}, {"share": 2}, {"sample": 0}, {"gate_sigmas": 0}):
        with pytest.raises(UsageError):
            DarkOptions(**options)  # type: ignore[arg-type]
