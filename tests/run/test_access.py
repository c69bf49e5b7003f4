"""Reaching events: by number, time, identity, offset, from their neighbours, and in several runs."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from psanacli.errors import NotFoundError, UsageError
from psanacli.run import EventsOfRuns, Run, open_run, open_runs
from psanacli.run.access import Finder
from tests.run.runs import EVENTS, write_run


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    write_run(tmp_path)
    with open_run(tmp_path) as run:
        yield run


def test_an_event_is_found_by_all_that_identifies_it(run: Run) -> None:
    for number in random.sample(range(EVENTS), EVENTS):
        event = run.events[number]
        one = event.id
        assert run.events.at(seconds=one.seconds, nanoseconds=one.nanoseconds, fiducials=one.fiducials) == event
        assert run.events.at(seconds=one.seconds, nanoseconds=one.nanoseconds) == event
        assert run.events.at(fiducials=one.fiducials) == event
        assert run.events.at(time=event.time) == event
        assert run.events.at(time=str(event.time)) == event
        assert run.events.at(seconds=one.seconds, fiducials=one.fiducials) == event


def test_what_is_not_there_is_said_with_the_nearest(run: Run) -> None:
    event = run.events[3]
    with pytest.raises(NotFoundError, match="the nearest is <Event 3 of"):
        run.events.at(time=event.time + np.timedelta64(1, "ns"))
    with pytest.raises(NotFoundError, match="the nearest is <Event 0 of"):
        run.events.at(time="1970-01-01")
    with pytest.raises(NotFoundError, match=f"the nearest is <Event {EVENTS - 1} of"):
        run.events.at(seconds=1 << 40)
    with pytest.raises(NotFoundError, match="no event with seconds -1"):
        run.events.at(seconds=-1)
    with pytest.raises(NotFoundError):
        run.events.at(seconds=event.id.seconds, nanoseconds=event.id.nanoseconds, fiducials=event.id.fiducials + 1)
    with pytest.raises(UsageError, match="which event"):
        run.events.at()
    with pytest.raises(UsageError, match="which event"):
        run.events.at(nanoseconds=5)
    with pytest.raises(UsageError, match="'noon' is no time"):
        run.events.at(time="noon")


def test_many_at_once(run: Run) -> None:
    order = np.array(random.sample(range(EVENTS), EVENTS))
    ids = run.events.ids[order]
    assert run.events.find(ids).tolist() == order.tolist()
    assert run.events.find([run.events[5].id, run.events[2].id]).tolist() == [5, 2]
    plain = np.stack([ids["seconds"], ids["nanoseconds"], ids["fiducials"]], 1)
    plain[0, 2] += 1
    plain[1, 1] = 0
    assert run.events.find(plain).tolist() == [-1, -1, *order[2:].tolist()]
    assert run.events.find([(-1, 0, 0), (1 << 40, 0, 0), (0, 0, 0)]).tolist() == [-1, -1, -1]
    assert run.events.find([]).tolist() == []
    with pytest.raises(UsageError, match="no event ids"):
        run.events.find([(1, 2)])
    with pytest.raises(UsageError, match="the fields are x"):
        run.events.find(np.zeros(1, [("x", "i4")]))


def test_some_events_know_only_themselves(run: Run) -> None:
    some = run.events[[7, 2, 5]]
    assert some.find(run.events.ids[[5, 2, 3]]).tolist() == [2, 1, -1]
    assert some.at(time=run.events[2].time).index == 2
    with pytest.raises(NotFoundError):
        some.at(time=run.events[3].time)
    place = run.events[3].offsets[0]
    assert run.events.at_offset(place.path, place.offset).index == 3
    with pytest.raises(NotFoundError, match=r"event 3 of the run, .* is not among these 3 events"):
        some.at_offset(place.path, place.offset)


def test_the_first_of_equal_events_counts() -> None:
    table = np.zeros(6, [("seconds", "u4"), ("nanoseconds", "u4"), ("fiducials", "u4")])
    table["seconds"] = [5, 4, 5, 4, 0xFFFFFFFF, 5]
    table["fiducials"] = [9, 3, 9, 1, 0x1FFFF, 8]
    finder = Finder(table)
    assert finder.find(table).tolist() == [0, 1, 0, 3, 4, 5]
    assert finder.first(5, 0, None) == 0
    assert finder.first(5, None, 8) == 5
    assert finder.first(4, None, None) == 1
    assert finder.first(None, None, 9) == 0
    assert Finder(table[:0]).find(table).tolist() == [-1] * 6
    assert Finder(table[:0]).first(5, 0, 9) == -1


def test_neighbours(run: Run) -> None:
    first, last = run.events[0], run.events[-1]
    assert first.previous is None
    assert last.next is None
    assert first.next == run.events[1]
    assert last.previous == run.events[EVENTS - 2]
    assert run.events[4].shift(3) == run.events[7]
    assert run.events[4].shift(-4) == first
    assert run.events[4].shift(0) == run.events[4]
    assert run.events[4].shift(-5) is None
    assert run.events[4].shift(EVENTS) is None


def test_steps_have_their_events(run: Run) -> None:
    step = run.steps[2]
    assert [event.index for event in step.events] == list(range(step.first, step.stop))
    assert step.events.find(step.events.ids).tolist() == list(range(len(step)))


def test_offsets_lead_to_the_datagrams(run: Run) -> None:
    for event in run.events:
        (place,) = event.offsets
        data = place.path.read_bytes()[place.offset : place.offset + place.size]
        assert int.from_bytes(data[4:8], "little") == event.id.seconds
        assert len(data) == 20 + int.from_bytes(data[36:40], "little")
        assert run.events.at_offset(place.path, place.offset) == event
        assert run.events.at_offset(place.path.name, place.offset) == event


def test_offsets_that_lead_nowhere(run: Run) -> None:
    place = run.events[0].offsets[0]
    with pytest.raises(NotFoundError, match=r"the datagram at offset 0 is Configure, no event"):
        run.events.at_offset(place.path, 0)
    with pytest.raises(NotFoundError, match=rf"no datagram begins at offset {place.offset + 4}.*\n.*{place.offset} a"):
        run.events.at_offset(place.path, place.offset + 4)
    with pytest.raises(NotFoundError, match="no datagram begins at offset -1"):
        run.events.at_offset(place.path, -1)
    with pytest.raises(NotFoundError, match=r"no datagram begins"):
        run.events.at_offset(place.path, 1 << 50)
    with pytest.raises(NotFoundError, match=r"the run has no file e301-r0001-s07-c00\.xtc"):
        run.events.at_offset("e301-r0001-s07-c00.xtc", place.offset)


def test_events_of_several_runs_keep_their_order(tmp_path: Path) -> None:
    write_run(tmp_path)
    for path in [*tmp_path.glob("*.xtc")]:
        # The second run is a copy, an hour later.
        data = bytearray(path.read_bytes())
        at = 0
        while at < len(data):
            later = int.from_bytes(data[at + 4 : at + 8], "little") + 3600
            data[at + 4 : at + 8] = later.to_bytes(4, "little")
            at += 20 + int.from_bytes(data[at + 36 : at + 40], "little")
        path.with_name(path.name.replace("-r0001-", "-r0002-")).write_bytes(data)
    one, two = open_runs(tmp_path)
    with one, two:
        wanted = [two.events[3], one.events[3], one.events[0], two.events[3], two.events[11]]
        ids = np.array([tuple(getattr(event.id, name) for name in FIELDS) for event in wanted], IDS)
        ids["run"] = [2, 1, 1, 2, 2]
        for found in (EventsOfRuns.of(wanted), EventsOfRuns.find([one, two], ids)):
            assert [*found] == wanted
            assert found[1] == wanted[1]
            assert [*found[1:3]] == wanted[1:3]
            assert not len(found.absent)
            parts = [(events[0].run.number, places.tolist(), [*events.indices]) for places, events in found.by_run()]
            assert sorted(parts) == [(1, [1, 2], [3, 0]), (2, [0, 3, 4], [3, 3, 11])]
        ids["run"][0] = 7
        ids["fiducials"][2] = 5
        found = EventsOfRuns.find([one, two], ids)
        assert found.absent.tolist() == [0, 2]
        assert [*found] == [wanted[1], wanted[3], wanted[4]]
        assert [*EventsOfRuns.find([one, two], [event.id for event in wanted[1:3]])] == wanted[1:3]
        assert len(EventsOfRuns.find([], ids)) == 0
        with pytest.raises(IndexError):
            found[3]


FIELDS = ("seconds", "nanoseconds", "fiducials", "run")
IDS = [(name, "<u4") for name in FIELDS]
