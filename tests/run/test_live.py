"""Runs that are being written: what is given out is what a finished run has, and how following ends."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from run.replay import Replay
from run.runs import write_run

from psanacli import follow_run, open_run
from psanacli.errors import DataError, NotFoundError, UsageError
from psanacli.run import LiveRun, parse_datasource
from psanacli.run.listed import Listed

QUICK = {"timeout": 60.0, "poll": 0.005, "patience": 30.0, "grace": 0.1}


@pytest.fixture
def whole(tmp_path: Path) -> list[Path]:
    """A finished run with two streams and 120 events."""
    return write_run(tmp_path / "whole", events=120)


def live_run(directory: Path, words: str = "", **options) -> LiveRun:
    return LiveRun(parse_datasource([f"dir={directory}:run=1{words}"]), **{**QUICK, **options})


def values(event) -> tuple:
    """Return everything that an event is known by."""
    camera = event.get("opal_1")
    beam = event.get("EBeam")
    return (
        event.id,
        event.codes,
        int(event.row["step"]),
        None if camera is None else camera.data16.tobytes(),
        None if beam is None else beam.ebeamPhotonEnergy,
        event.epics["XPP:USR:MMN:01.RBV"].value,
    )


def offline(whole: list[Path]) -> list[tuple]:
    with open_run(str(whole[0].parent)) as run:
        return [values(event) for event in run.events]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("in_progress", [True, False])
def test_events_are_those_of_the_finished_run(whole, tmp_path, seed, in_progress):
    directory = tmp_path / "growing"
    directory.mkdir()
    replay = Replay(whole, directory, seed=seed, in_progress=in_progress)
    replay.start()
    found = []
    with live_run(directory) as live:
        sizes = [len(batch) for batch in live.batches() if not found.extend(values(event) for event in batch)]
        assert live.ended and live.revised == 0 and live.delivered == 120
    replay.join()
    assert found == offline(whole)
    assert sum(size > 0 for size in sizes) > 1  # not all at the end


def test_events_that_were_kept_can_be_read_later(whole, tmp_path):
    directory = tmp_path / "growing"
    directory.mkdir()
    Replay(whole, directory).start()
    with live_run(directory) as live:
        kept = list(live)
        assert [values(event) for event in kept] == offline(whole)


def test_a_late_stream_joins(whole, tmp_path):
    directory = tmp_path / "growing"
    directory.mkdir()
    Replay(whole, directory, late={1: 3}).start()
    with live_run(directory) as live:
        assert [values(event) for event in live] == offline(whole)
        assert live.revised == 0


def test_a_silent_stream_does_not_hold_the_others_for_ever(whole, tmp_path):
    directory = tmp_path / "growing"
    directory.mkdir()
    Replay(whole, directory, stop_after={1: 0.5}).start()
    count = 0
    with live_run(directory, timeout=1.5, patience=0.3) as live:
        with pytest.raises(DataError, match=r"(?s)nothing new for 1.5 s.*no EndRun in .*s01-c00") as caught:
            for _ in live:
                count += 1
        assert caught.value.exit_code == 4
        assert not live.ended
    assert 60 < count < 120


def test_a_killed_writer(whole, tmp_path):
    directory = tmp_path / "growing"
    directory.mkdir()
    Replay(whole, directory, stop_after={0: 0.5, 1: 0.5}).start()
    found = []
    with live_run(directory, timeout=1.0) as live, pytest.raises(DataError, match="may have been killed"):
        for event in live:
            found.append(values(event))
    assert 40 < len(found) < 90
    assert found == offline(whole)[: len(found)]


def test_a_run_that_does_not_begin(tmp_path):
    (tmp_path / "empty").mkdir()
    begin = time.monotonic()
    with live_run(tmp_path / "empty", timeout=0.3) as live, pytest.raises(NotFoundError, match="waited"):
        next(iter(live))
    assert time.monotonic() - begin >= 0.3


def test_a_run_that_begins_later(whole, tmp_path):
    directory = tmp_path / "not" / "there" / "yet"
    timer = threading.Timer(0.3, Replay(whole, directory).start)
    timer.start()
    with live_run(directory) as live:
        assert len(list(live)) == 120


def test_a_finished_run_is_over_at_once(whole):
    with live_run(whole[0].parent, ":live") as live:
        assert [values(event) for event in live] == offline(whole)


def test_a_file_that_breaks(whole, tmp_path):
    directory = tmp_path / "growing"
    directory.mkdir()
    for path in whole:
        data = bytearray(path.read_bytes())
        (directory / (path.name + ".inprogress")).write_bytes(data[: len(data) // 2] + b"\0" * 4000)
    with live_run(directory, timeout=0.5) as live, pytest.raises(DataError, match=r"(?s)no EndRun.*at offset"):
        list(live)


def test_live_in_a_data_source(whole, tmp_path):
    directory = tmp_path / "growing"
    directory.mkdir()
    for path in whole:
        (directory / (path.name + ".inprogress")).write_bytes(path.read_bytes())
    with pytest.raises(NotFoundError, match="still being written"):
        open_run(f"dir={directory}:run=1")
    with open_run(f"dir={directory}:run=1:live") as run:  # what there is now
        assert len(run.events) == 120
    with pytest.raises(UsageError, match="live and idx exclude"):
        parse_datasource([f"dir={directory}:live:idx"])
    with pytest.raises(UsageError, match="takes no value"):
        parse_datasource([f"dir={directory}:live=1"])
    with pytest.raises(UsageError, match="timeout"):
        follow_run(f"dir={directory}", timeout=0)


def test_how_far_behind(whole, tmp_path):
    directory = tmp_path / "growing"
    directory.mkdir()
    Replay(whole, directory).start()
    with live_run(directory) as live:
        behind = [batch.behind for batch in live.batches()]
    assert 0 < max(behind) < 2  # the run has 120 events at 120 Hz, then some transitions
    assert behind[-1] < 0.1


@pytest.mark.parametrize("mode", ["", ":smd"])
def test_the_recorded_run_with_two_chunks_and_control_streams(shared, tmp_path, tally, mode):
    """`multi`: everything that can be irregular, in streams that grow side by side."""
    data = shared / "lcls1" / "multi" / "xtc"
    directory = tmp_path / "xtc"
    directory.mkdir()
    big = sorted(data.glob("*.xtc"))
    source = f"dir={directory}:run=7{mode}"
    small = sorted((data / "smalldata").glob("*.xtc")) if mode else []
    replays = [Replay(big, directory, seed=5)]
    if mode:
        replays.append(Replay(small, directory / "smalldata", seed=6))
    for replay in replays:
        replay.start()
    found = []
    with LiveRun(parse_datasource([source]), **QUICK) as live:
        for batch in live.batches():
            for event in batch:
                found.append((event.id, [str(key) for key in event.keys()], event.epics, event.damage))
        assert live.revised == 0
    with open_run(f"dir={data}:run=7{mode}") as run:
        expected = [(event.id, [str(key) for key in event.keys()], event.epics, event.damage) for event in run.events]
    assert [each[0] for each in found] == [each[0] for each in expected]
    for one, other in zip(found, expected, strict=True):
        assert one[1] == other[1] and one[3] == other[3]
        np.testing.assert_equal(one[2], other[2])
    tally["values of events that were followed live"] += sum(len(keys) + len(epics) for _, keys, epics, _ in found)


def test_directories_are_listed_again_only_when_they_may_have_changed(tmp_path):
    def listed() -> Listed:
        os.utime(tmp_path, (1, 1))  # changed long ago
        return Listed.of([tmp_path], time.monotonic())

    assert not listed().may_differ()
    for change in (
        lambda: (tmp_path / "new").touch(),
        lambda: (tmp_path / "new").rename(tmp_path / "renamed"),
        lambda: (tmp_path / "renamed").unlink(),
    ):
        before = listed()
        change()
        assert before.may_differ()
    assert Listed.of([tmp_path], time.monotonic()).may_differ()  # it has changed just now: perhaps it does again
    assert Listed.of([tmp_path / "absent"], time.monotonic() - 10).may_differ()  # after a while in any case
    assert Listed().may_differ()
