"""What can be asked of a run."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from run.runs import EVENTS, frame, write_run

import psanacli
from psanacli.errors import DataError, NotFoundError, PsanaError, UsageError
from psanacli.run import EventFlag, Run, open_run, open_runs
from psanacli.xtc import Contribution, Damage, RunWriter, Source, node
from psanacli.xtc.encode import encode


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("run")
    write_run(directory)
    return directory


@pytest.fixture
def run(directory: Path) -> Iterator[Run]:
    with psanacli.open_run(directory) as run:
        yield run


def test_a_run_says_what_it_is(run: Run) -> None:
    assert run.number == 1
    assert [stream.number for stream in run.streams] == [0, 1]
    assert sum(stream.bytes for stream in run.streams) == sum(
        path.stat().st_size for path in Path(run.files.directory).iterdir()
    )
    assert run.start is not None and run.end is not None and run.start < run.events[0].time < run.end
    assert run.notes == ()
    assert f"{EVENTS} events in 3 steps" in repr(run)


def test_events_are_a_sequence(run: Run) -> None:
    assert len(run.events) == EVENTS
    assert run.events[-1].index == EVENTS - 1
    assert [event.index for event in run.events[2:8:3]] == [2, 5]
    assert [event.index for event in run.events[::-1]] == list(range(EVENTS))[::-1]
    assert run.events[::-1].table["vector"].tolist() == run.events.table["vector"].tolist()[::-1]
    assert len(run.events[[1, 5, 7]]) == 3
    assert run.events[np.arange(EVENTS) % 4 == 0][1] == run.events[4]
    with pytest.raises(IndexError):
        run.events[EVENTS]
    assert (np.diff(run.events.times) > np.timedelta64(0)).all()


def test_an_event_knows_its_identity(run: Run) -> None:
    event = run.events[3]
    assert event.id.time == event.time == run.events.times[3]
    assert run.events.ids[3].tolist() == (
        event.id.seconds, event.id.nanoseconds, event.id.fiducials, event.id.ticks, event.id.vector, event.id.control,
        event.id.run,
    )  # fmt: skip
    assert str(event.id).startswith("XtcEventId(run=1, time=2015-07-06 ")
    assert run.events.at(seconds=event.id.seconds, nanoseconds=event.id.nanoseconds) == event
    assert run.events.at(time=event.time) == event
    assert run.events.at(fiducials=event.id.fiducials) == event
    with pytest.raises(NotFoundError, match="nearest"):
        run.events.at(seconds=event.id.seconds, nanoseconds=1)
    with pytest.raises(UsageError):
        run.events.at()
    assert event.step.number == 0
    assert event.codes == (140, 162)
    assert run.table.events["flags"][3] == EventFlag.DAQ


@pytest.mark.parametrize("name", ["EBeam", "ebeam", "BldInfo(EBeam)", "EBeam/Bld.BldDataEBeamV7", "EBEAM/blddataebeam"])
def test_names_forgive(run: Run, name: str) -> None:
    record = run.events[2].get(name)
    assert record is not None and record.ebeamPhotonEnergy == 9502.0


def test_absence_is_none_and_has_a_reason(run: Run) -> None:
    assert run.events[4].get("EBeam") is None
    assert run.events[5].get("EBeam") is None
    assert run.events[7].get("opal_1") is None
    assert "not in this event" in run.events[4].why("EBeam")
    assert "damaged: OutOfSynch" in run.events[5].why("EBeam")
    assert "is there" in run.events[6].why("EBeam")
    assert "no detector 'EBaem'" in run.events[6].why("EBaem")
    assert [*run.events[5].damage.values()] == [Damage(1 << 13)]
    assert run.events[6].damage == {}


def test_a_name_that_no_event_has_is_an_error(run: Run) -> None:
    with pytest.raises(NotFoundError, match="opal_1"):
        run.events[0].get("opal_2")
    with pytest.raises(UsageError, match=r"ipm3/Lusi\.IpmFexV1"):
        run.events[0].get("ipm3")
    assert run.events[3].get("ipm3/IpmFex").sum == 3.0


def test_keys_come_by_source_and_type(run: Run) -> None:
    shown = [str(key) for key in run.events[7].keys()]
    assert shown == [
        "DetInfo(NoDetector.0:Evr.0)/EvrData.DataV4",
        "DetInfo(XppSb2Ipm.1:Ipimb.0)/Ipimb.DataV2",
        "DetInfo(XppSb2Ipm.1:Ipimb.0)/Lusi.IpmFexV1",
        "BldInfo(EBeam)/Bld.BldDataEBeamV7",
    ]


def test_detectors(run: Run) -> None:
    assert [*run.detectors] == ["NoDetector.0:Evr.0", "XppSb2Ipm.1:Ipimb.0", "XppEndstation.0:Opal1000.1", "EBeam"]
    camera = run.detectors["Opal1000"]
    assert (camera.name, camera.alias, camera.types) == ("XppEndstation.0:Opal1000.1", "opal_1", ("Camera.FrameV1",))
    assert (camera.array, camera.shape, camera.dtype) == ("data16", (4, 6), np.dtype("<u2"))
    image = camera.raw(run.events[2])
    assert image is not None and image[0, 0] == 200 and not image.flags.writeable
    assert camera.raw(run.events[7]) is None
    assert np.count_nonzero(camera.present) == EVENTS - 1
    assert "opal_1" in repr(run.detectors)
    with pytest.raises(NotFoundError, match="opal_1"):
        run.detector("opall_1")


def test_columns_of_the_whole_run(run: Run) -> None:
    energy = run.column("EBeam.ebeamPhotonEnergy")
    assert energy.mask.nonzero()[0].tolist() == [4, 5]
    assert energy.compressed().tolist() == [9500.0 + i for i in range(EVENTS) if i not in (4, 5)]
    assert run.column("ebeam.ebeamcharge")[3] == 0.75
    images = run.column("opal_1.data16")
    assert images.shape == (EVENTS, 4, 6) and images[3, 0, 0] == 300 and images.mask[7].all()
    assert run.column("ipm3/IpmFex.channel").shape == (EVENTS, 4)
    assert run.column("ipm3/IpmFex.sum").data.tolist() == [float(i) for i in range(EVENTS)]
    with pytest.raises(NotFoundError, match="ebeamPhotonEnergy"):
        run.column("EBeam.ebeamPhotonEnergie")
    with pytest.raises(UsageError, match="blocks"):
        run.column("opal_1.data16", max_bytes=100)


def test_a_detector_alone_gives_all_its_fields(run: Run) -> None:
    beam = run.column("EBeam")
    energy = run.column("EBeam.ebeamPhotonEnergy")
    assert (beam["ebeamPhotonEnergy"].mask == energy.mask).all()
    assert beam["ebeamPhotonEnergy"].compressed().tolist() == energy.compressed().tolist()
    assert beam["ebeamCharge"][3] == 0.75
    with pytest.raises(UsageError, match="several types"):
        run.column("ipm3")
    with pytest.raises(UsageError, match="no fixed size"):
        run.column("opal_1")
    pytest.importorskip("xarray")
    assert run.to_xarray(["EBeam"])["EBeam.ebeamCharge"].values[3] == 0.75


def test_blocks_are_columns_of_some_events(run: Run) -> None:
    blocks = [*run.blocks("EBeam.ebeamPhotonEnergy", "opal_1.data16", max_bytes=200)]
    assert sum(len(block) for block in blocks) == EVENTS and len(blocks) > 3
    joined = np.ma.concatenate([block["EBeam.ebeamPhotonEnergy"] for block in blocks])
    assert (joined == run.column("EBeam.ebeamPhotonEnergy")).all()
    first = next(run.blocks("opal_1.data16", events=slice(5, 9)))
    assert first.events[0].index == 5


def test_xarray(run: Run) -> None:
    pytest.importorskip("xarray")
    data = run.to_xarray(["EBeam.ebeamPhotonEnergy", "opal_1.data16"])
    assert data["EBeam.ebeamPhotonEnergy"].isnull().sum() == 2
    assert data["opal_1.data16"].dtype == np.float64 and data.sizes["event"] == EVENTS
    assert (data["time"].values == run.events.times).all()


def test_codes(run: Run) -> None:
    assert run.codes.counts() == {140: EVENTS, 162: 4}
    assert run.codes.present(162).nonzero()[0].tolist() == [0, 3, 6, 9]


def test_steps(run: Run) -> None:
    assert [len(step) for step in run.steps] == [4, 4, 4]
    assert [step.values for step in run.steps] == [{"XPP:LAS:DELAY": value} for value in (0.0, 1.0, 2.0)]
    assert run.steps[1].labels == {"sample": "no 1"}
    assert run.steps[-1].events[0].index == 8
    assert run.steps[1].start is not None and run.steps[1].start < run.steps[1].events[0].time
    assert "XPP:LAS:DELAY=2" in repr(run.steps)


def test_configuration(run: Run) -> None:
    assert run.config["opal_1"].xtc_type.name == "Opal1k.ConfigV1"
    assert run.config["ControlData.Config"].pvControls[0].value == 0.0
    assert run.config.at(run.events[9])["controldata.configv3"].pvControls[0].value == 2.0
    assert run.config.at(None).of("ControlData.Config")[0].pvControls[0].value == 2.0
    assert "ControlData.ConfigV4" not in run.config
    with pytest.raises(NotFoundError, match=r"Opal1k\.ConfigV1"):
        run.config["Opal1k.ConfigV2"]
    same = run.config.at(run.events[0])["opal_1"]
    assert same is run.config.at(run.events[11])["opal_1"], "one object until it changes"


def test_epics(run: Run) -> None:
    assert [*run.epics] == ["XPP:ARRAY", "XPP:USR:MMN:01.RBV"]
    position = run.epics["Sample-X"]
    assert position.name == "XPP:USR:MMN:01.RBV" and position.units == "mm"
    assert position.values.tolist() == [-1.0, *(number / 2 for number in range(1, EVENTS, 2))]
    assert np.isnat(position.times[0]) and position.times[1] > run.start
    assert position.at(run.events[0]).value == -1.0
    assert position.at(run.events[4]).value == 1.5
    assert run.events[5].epics["XPP:USR:MMN:01.RBV"].value == 2.5
    assert run.epics["XPP:ARRAY"].at(None).value.tolist() == [1, 2, 3]
    assert run.epics.aliases == {"sample_x": "XPP:USR:MMN:01.RBV"}
    with pytest.raises(NotFoundError, match="sample_x"):
        run.epics["sample_y"]


def test_objects_outlive_the_run(directory: Path) -> None:
    with open_run(directory) as run:
        record = run.events[2].get("opal_1")
        event = run.events[3]
    assert record.data16[0, 0] == 200
    assert pickle.loads(pickle.dumps(record)).data16[0, 0] == 200
    with pytest.raises(UsageError, match="closed"):
        event.get("EBeam")


def test_ways_to_open(directory: Path, tmp_path: Path) -> None:
    files = sorted(directory.glob("*.xtc"))
    assert len(open_run(*files).events) == len(open_run(files).events) == EVENTS
    assert len(open_run(files[0]).events) == EVENTS // 2
    assert [run.number for run in open_runs(directory)] == [1]
    assert len(open_run(directory, skip_events=3, max_events=4).events) == 4
    with pytest.raises(UsageError, match="l3_accept_only"):
        open_run(directory, l3_accept=True)
    write_run(tmp_path)
    with RunWriter(tmp_path, "e301", 2) as second:
        second.begin_step()
    with pytest.raises(UsageError, match="2 runs"):
        open_run(tmp_path)


def test_what_must_be_noticed(tmp_path: Path) -> None:
    """A trigger that hides everything, an empty file, a file that is cut."""
    source = Source.parse("EBeam")
    with RunWriter(tmp_path, "e301", 1, streams=2) as writer:
        writer.begin_step()
        for number in range(4):
            payload = encode("Bld.BldDataEBeamV7", {"ebeamCharge": number})
            writer.event([Contribution("Bld.BldDataEBeamV7", source, payload)], env=1 << 31)
    with open_run(tmp_path) as run:
        assert len(run.events) == 0 and run.counters.trimmed == 4
        assert "l3_accept_only=False" in run.notes[0]
    with open_run(tmp_path, l3_accept_only=False) as run:
        assert len(run.events) == 4
    (tmp_path / "e301-r0001-s05-c00.xtc").write_bytes(b"")
    cut = tmp_path / "e301-r0001-s01-c00.xtc"
    cut.write_bytes(cut.read_bytes()[:-7])
    with open_run(tmp_path, l3_accept_only=False) as run:
        assert run.counters.truncated_files == 1
        assert any("is empty" in note for note in run.notes)
        assert any(str(cut) in note and "offset" in note for note in run.notes)


def test_objects_that_need_a_configuration(tmp_path: Path) -> None:
    """A detector without configuration is not shown; from its configuration on it is."""
    camera, wall = Source.parse("CxiEndstation.0:Princeton.0"), node("172.21.42.9")
    config = encode("Princeton.ConfigV5", {"width": 3, "height": 2, "orgX": 0, "binX": 1, "binY": 1})
    data = encode("Princeton.FrameV1", {}) + np.arange(6, dtype="<u2").tobytes()
    with RunWriter(tmp_path, "e301", 1) as writer:
        writer.configure()
        writer.begin_step()
        writer.event([Contribution("Princeton.FrameV1", camera, data), Contribution("Camera.FrameV1", wall, frame(1))])
        writer.begin_step([Contribution("Princeton.ConfigV5", camera, config)])
        writer.event([Contribution("Princeton.FrameV1", camera, data)])
    with open_run(tmp_path) as run:
        assert run.events[0].get("Princeton") is None
        assert "no configuration (Princeton.ConfigV1" in run.events[0].why("Princeton")
        assert run.events[1].get("Princeton").data.tolist() == [[0, 1, 2], [3, 4, 5]]
        assert run.column("Princeton.data").shape == (2, 2, 3)


def test_many_threads_read_one_run(directory: Path) -> None:
    with open_run(directory) as run:

        def work(seed: int) -> list[float]:
            random = np.random.default_rng(seed)
            found = []
            for index in random.integers(0, EVENTS, 300).tolist():
                record = run.events[index].get("EBeam")
                image = run.events[index].get("opal_1")
                assert image is None or image.data16[0, 0] == 100 * index
                assert record is None or record.ebeamPhotonEnergy == 9500.0 + index
                found.append(float(run.events[index].epics["XPP:USR:MMN:01.RBV"].value))
            return found

        with ThreadPoolExecutor(8) as pool:
            assert [len(values) for values in pool.map(work, range(16))] == [300] * 16


def touch_everything(run: Run) -> None:
    """Ask for all that can be asked; only errors of the family may come."""
    repr(run), run.notes, run.counters, run.start, run.streams

    def attempt(*steps: object) -> None:
        for step in steps:
            try:
                step()  # type: ignore[operator]
            except PsanaError:
                pass

    attempt(lambda: repr(run.epics), lambda: repr(run.config), lambda: repr(run.steps), lambda: repr(run.detectors))
    attempt(lambda: run.codes.counts(), lambda: run.aliases, lambda: run.column("EBeam.ebeamPhotonEnergy"))
    attempt(lambda: run.column("opal_1.data16"), lambda: run.column("ipm3/IpmFex.channel"))
    for event in run.events:
        for key in event.keys():
            attempt(lambda key=key, event=event: run.readers[key].get(event.index).asdict())
        attempt(lambda event=event: event.epics, lambda event=event: event.damage, lambda event=event: event.dropped)
        attempt(
            lambda event=event: event.why("EBeam"),
            lambda event=event: repr(event),
            lambda event=event: event.step.values,
        )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_mutated_runs(tmp_path: Path, data: st.DataObject) -> None:
    """Any bytes give a run or an error with words, never a crash."""
    tmp_path = tmp_path / "mutated"
    originals = [path.read_bytes() for path in write_run(tmp_path, events=4)]
    for number, original in enumerate(originals):
        content = bytearray(original)
        for _ in range(data.draw(st.integers(0, 4))):
            place = data.draw(st.integers(0, len(content) - 1))
            content[place] = data.draw(st.integers(0, 255))
        if data.draw(st.booleans()):
            place = data.draw(st.integers(0, max(0, len(content) - 4))) & ~3
            content[place : place + 4] = data.draw(
                st.sampled_from([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000])
            ).to_bytes(4, "little")
        if data.draw(st.integers(0, 4)) == 0:
            content = content[: data.draw(st.integers(0, len(content)))]
        sorted(tmp_path.glob("*.xtc"))[number].write_bytes(content)
    with open_run(tmp_path) as run:
        touch_everything(run)


def test_a_file_that_shrinks_is_an_error_with_its_name(tmp_path: Path) -> None:
    paths = write_run(tmp_path)
    with open_run(tmp_path) as run:
        paths[0].write_bytes(paths[0].read_bytes()[:3000])
        with pytest.raises(DataError, match=r"e301-r0001-s00-c00\.xtc changed while it was read"):
            run.column("EBeam.ebeamPhotonEnergy")
