"""Events reached in random order are the ones that sequential reading gave, with everything that was in force there."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from psanacli.run import Event, Run, open_run
from tests.reference import random_runs, recorded_sets
from tests.reference.random_runs import RUNS, compare, epics_at
from tests.reference.recorded_sets import Comparison, State

SETS = [case for case in recorded_sets.SETS if case[0] in ("simple", "multi", "types-r1", "types-r2", "area", "dark")]
FRAMEWORK_KEYS = 4
"""EventId, EventOffset, DgramList and DamageMap, which every event has there."""


def reach(run: Run, number: int, how: int) -> Event:
    """Reach an event in one of the ways there are; `number` is only used to know which."""
    wanted = run.events[number]
    one = wanted.id
    match how % 6:
        case 0:
            return run.events[number - len(run.events)]
        case 1:
            found = run.events.at(seconds=one.seconds, nanoseconds=one.nanoseconds, fiducials=one.fiducials)
            return _twin(found, wanted)
        case 2:
            return run.steps[wanted.step.number].events[number - wanted.step.first]
        case 3:
            place = wanted.offsets[-1]
            return run.events.at_offset(place.path, place.offset)
        case 4:
            (found_number,) = run.events.find([one])
            return _twin(run.events[int(found_number)], wanted)
        case _:
            start = run.events[(number * 7) % len(run.events)]
            found = start.shift(number - start.index)
            assert found is not None
            return found


def _twin(found: Event, wanted: Event) -> Event:
    """Go on from the first event with an identity to the one that is meant: parts of split events have the same."""
    assert found.id.time == wanted.id.time
    assert found.id.fiducials == wanted.id.fiducials
    assert found.index <= wanted.index
    while found != wanted:
        later = found.next
        assert later is not None
        found = later
    return found


@pytest.mark.parametrize("mode", ["xtc", "smd"])
@pytest.mark.parametrize(("name", "_", "experiment", "number"), SETS)
def test_test_sets(
    shared: Path, tally: Counter[str], name: str, _: int, experiment: str, number: int, mode: str
) -> None:
    recorded = recorded_sets.states(recorded_sets.recording(shared, name, mode))
    order = [*range(len(recorded))] * (2 if len(recorded) < 100 else 1)
    random.Random(name + mode).shuffle(order)
    found = Comparison()
    with recorded_sets.opened(shared, None, name, experiment, number, mode) as run:
        assert len(run.events) == len(recorded)
        for how, index in enumerate(order):
            check(run, reach(run, index, how), recorded[index], found, tally)
    tally[f"random access, {name} {mode}: values"] += found.count
    assert found.differences == []


def check(run: Run, event: Event, state: State, found: Comparison, tally: Counter[str]) -> None:
    recorded_sets.compare_event(run, event, state.entry, found, tally)
    recorded_sets.compare_epics(run, event, state.epics, found)
    recorded_sets.compare_config(run, event.group, state.config, found)


@pytest.mark.parametrize("mode", ["xtc", "smd"])
@pytest.mark.parametrize("number", RUNS)
def test_random_runs(shared: Path, tally: Counter[str], number: int, mode: str) -> None:
    """All events of the 80 runs, with configuration, EPICS values and aliases, also across the change of a chunk."""
    play = random_runs.Play()
    recorded = []
    for entry in random_runs.log_of(shared, number, mode):
        play.step(entry)
        if entry["c"] == "event":
            recorded.append((entry, play.copy()))
    order = [*range(len(recorded))]
    random.Random(number).shuffle(order)
    differences: list[Any] = []
    chunks = set()
    with random_runs.opened(shared, number, mode) as run:
        assert len(run.events) == len(recorded)
        for how, index in enumerate(order):
            entry, state = recorded[index]
            event = reach(run, index, how)
            assert random_runs.identity(run, event.group) == entry["id"]
            differences += random_runs.compare_event(run, event, entry, tally)
            differences += random_runs.compare_config(run, event.group, "event", entry, state, tally)
            differences += compare("event epics", epics_at(run, event.group), state.epics, tally)
            differences += compare("event aliases", run.epics.aliases_at(event.group), state.aliases, tally)
            chunks |= {(place.path.name, place.size > 0) for place in event.offsets}
    tally["random access, random runs: events"] += len(recorded)
    assert all(known for _, known in chunks)
    assert differences == []


@pytest.mark.parametrize("mode", ["xtc", "smd"])
@pytest.mark.parametrize(("name", "experiment", "number"), [("simple", "xppsim15", 1), ("multi", "cximul16", 7)])
def test_offsets(shared: Path, tally: Counter[str], name: str, experiment: str, number: int, mode: str) -> None:
    """Offsets in the big files are those that the original told from small data, and lead back to the event."""
    recorded = json.loads((shared / "psana1" / "api" / "core_api.json").read_text())["offset_jumps"][name]
    with recorded_sets.opened(shared, None, name, experiment, number, mode) as run:
        for event, (names, offsets, _, identity) in zip(run.events, recorded["events"], strict=True):
            assert [place.path.name for place in event.offsets] == names
            assert [place.offset for place in event.offsets] == offsets
            assert [event.id.seconds, event.id.nanoseconds, event.id.fiducials] == identity
            for place in event.offsets:
                head = place.path.read_bytes()[place.offset : place.offset + place.size]
                assert len(head) == 20 + int.from_bytes(head[36:40], "little")
            tally["offsets of small data"] += 2 * len(names) + 3
        for (names, offsets, _, _), (*identity, count) in zip(
            reversed(recorded["events"]), recorded["reverse jumps"], strict=True
        ):
            found = {run.events.at_offset(*place) for place in zip(names, offsets, strict=True)}
            (event,) = found
            assert [event.id.seconds, event.id.nanoseconds, event.id.fiducials] == identity
            assert len(event.keys()) + FRAMEWORK_KEYS == count
            tally["jumps by offset"] += 4


def test_runs_that_were_opened_twice_have_the_same_events(shared: Path, tally: Counter[str]) -> None:
    """An identity found in one mode finds the event in the others; from ``rax`` the events are those of ``xtc``."""
    source = f"exp=cximul16:run=7:dir={shared}/lcls1/multi/xtc"
    with open_run(source) as big, open_run(f"{source}:smd") as small, open_run(f"{source}:rax") as jumping:
        assert (small.events.find(big.events.ids) == big.events.find(big.events.ids)).all()
        assert (jumping.events.ids == big.events.ids).all()
        tally["identities found in other modes"] += 2 * len(big.events)
