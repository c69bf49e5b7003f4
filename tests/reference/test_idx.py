"""Index mode: events, contents and state as the original delivered them by index, in whatever order it jumped."""

from __future__ import annotations

import copy
import json
import random
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from psanacli.run import DELIVERED, Action, Event, Joining, Run
from psanacli.xtc import fiducials, service
from tests.reference import random_runs, recorded_sets
from tests.reference.random_runs import RUNS, compare, epics_at, identity, label, value_of
from tests.reference.recorded_sets import Comparison

SETS = [case for case in recorded_sets.SETS if case[0] in ("simple", "multi", "types-r1", "types-r2", "area", "dark")]
NO_FIDUCIAL = 0x1FFFF
FRAMEWORK_KEYS = 4
"""EventId, EventOffset, DgramList and DamageMap, which every event has there."""


CONTROL_INDEX = "in the index of stream 80 what follows a datagram without fiducial has the offset of that one"
CONTROL_ALONE = "a value from a control datagram without DAQ event counts from then on; there it is never read"
NOT_READ = "what follows an event without fiducial is not read there, nor the EPICS values that it has"
# Where ours differs from what was recorded by index for a test set.
EXPLAINED = {
    (
        "multi",
        "event 24 psana.Camera.FrameV1|DetInfo(XrayTransportDiagnostic.0:Opal1000.0)||xtdcam.data8",
    ): CONTROL_INDEX,
    ("multi", "CXI:SC1:MMS:01.RBV value"): NOT_READ,
    ("multi", "CXI:SC1:MMS:01.RBV stamp"): NOT_READ,
    ("multi", "XTD:CAM:EXPO value"): CONTROL_ALONE,
    ("multi", "XTD:CAM:EXPO stamp"): CONTROL_ALONE,
}


@pytest.mark.parametrize(("name", "_", "experiment", "number"), SETS)
def test_test_sets(shared: Path, tally: Counter[str], name: str, _: int, experiment: str, number: int) -> None:
    recorded = recorded_sets.recording(shared, name, "idx")
    entries = recorded_sets.states(recorded)
    random.Random(name).shuffle(entries)
    found = Comparison()
    with recorded_sets.opened(shared, None, name, experiment, number, "idx") as run:
        assert len(run.events) == recorded["nevents"]
        assert [len(step) for step in run.steps] == recorded["idx"][0]["per_step"]
        for state in entries:
            entry = state.entry
            if entry["fid"] == NO_FIDUCIAL:
                assert name == "multi"
                tally["idx, explained: an event without fiducial delivered in place of the one that follows"] += 1
                continue
            event = run.events.at(seconds=entry["sec"], nanoseconds=entry["nsec"], fiducials=entry["fid"])
            assert event.index == entry["n"]
            if name not in ("types-r1", "types-r2"):  # they have a ControlData of each version
                found.equal("scan", scan(event), [[item["name"], item["value"]] for item in entry["control"]])
            recorded_sets.compare_event(run, event, entry | {"control": event.id.control}, found, tally)
            recorded_sets.compare_epics(run, event, state.epics, found)
            recorded_sets.compare_config(run, event.group, state.config, found)
    tally[f"idx, {name}: values"] += found.count
    different = [path for path, _, _ in found.differences]
    assert set(different) == {path for (set_name, path) in EXPLAINED if set_name == name}, found.differences
    for path in different:
        tally[f"idx, explained: {EXPLAINED[name, path]}"] += 1


def scan(event: Event) -> list[list[Any]]:
    """Return names and values of the scan variables at an event."""
    (control,) = event.run.config.at(event).of("ControlData.Config")
    return [[item.name, item.value] for item in control.pvControls]


MERGED = [(name, experiment, number) for name, _, experiment, number in SETS]


@pytest.mark.parametrize(("name", "experiment", "number"), MERGED)
def test_merged_events(shared: Path, tally: Counter[str], name: str, experiment: str, number: int) -> None:
    base = name.partition("-")[0]
    runs = json.loads((shared / "lcls1" / base / f"{base}_merged_events.json").read_text())["runs"][str(number)]
    entry = runs["xtc"] if runs["idx"] == "the same events as xtc" else runs["idx"]
    with recorded_sets.opened(shared, None, name, experiment, number, "idx") as run:
        mine = [
            [one.seconds, one.nanoseconds, one.fiducials, run.table.streams_of(event.datagrams).tolist()]
            for event in run.events
            for one in [event.id]
        ]
        different = [(ours, theirs) for ours, theirs in zip(mine, entry["events"], strict=True) if ours != theirs]
        # What follows an event without fiducial in the index has the offset of that one.
        assert [theirs[2] for _, theirs in different] == ([NO_FIDUCIAL] if name == "multi" else [])
    tally["idx: merged events"] += len(mine) - len(different)


@pytest.mark.parametrize(("name", "experiment", "number"), [("simple", "xppsim15", 1), ("multi", "cximul16", 7)])
def test_recorded_jumps(shared: Path, tally: Counter[str], name: str, experiment: str, number: int) -> None:
    """Jumps to and fro.  An EPICS value that did not change with a jump may be that of an earlier jump there.

    Of each EPICS source the original reads the last datagram only, and control streams only with their own events.
    """
    (recorded,) = json.loads((shared / "psana1" / "api" / "core_api.json").read_text())["idx"][name]["result"]
    before: dict[str, Any] = {}
    with recorded_sets.opened(shared, None, name, experiment, number, "idx") as run:
        times = [[int(row[field]) for field in ("seconds", "nanoseconds", "fiducials")] for row in run.events.ids]
        assert times == recorded["times"]
        assert len(run.steps) == recorded["nsteps"]
        assert [len(step) for step in run.steps] == recorded["steps"]
        tally["idx: times and steps"] += 3 * len(times) + len(run.steps)
        for jump in recorded["jumps"]:
            event = run.events[jump["i"]]
            one = event.id
            if jump["id"][2] == NO_FIDUCIAL:
                tally["idx, explained: an event without fiducial delivered in place of the one that follows"] += 1
                before = jump["epics"]
                continue
            assert [one.seconds, one.nanoseconds, one.fiducials, one.vector] == jump["id"]
            assert run.table.streams_of(event.datagrams).tolist() == jump["streams"]
            assert len(event.keys()) + FRAMEWORK_KEYS == jump["nkeys"]
            assert scan(event) == jump["control"]
            tally["idx: jumps"] += 7
            for variable, theirs in jump["epics"].items():
                value = run.epics[variable].at(event)
                assert value is not None
                mine = value.value.ravel()[0].item() if isinstance(value.value, np.ndarray) else value.value
                if isinstance(mine, float) and not np.isfinite(mine):
                    mine = str(mine)
                if mine != theirs and (name, jump["i"], variable) == ("multi", 24, "XTD:CAM:EXPO"):
                    tally[f"idx, explained: {CONTROL_INDEX}"] += 1
                elif mine != theirs:
                    assert before.get(variable, theirs) == theirs, (jump, variable, mine, theirs)
                    tally["idx, explained: an EPICS value left from an earlier jump"] += 1
                else:
                    tally["idx: EPICS values of jumps"] += 1
            before = jump["epics"]


def jumps(log: list[dict[str, Any]]) -> list[tuple[dict[str, Any], random_runs.Play, set[str]]]:
    """Return what was delivered by index: the entry, what was in force, and what of it came with this jump."""
    play = random_runs.Play()
    fresh: set[str] = set()
    found = []
    for entry in copy.deepcopy(log):
        play.step(entry)
        fresh |= {key for kind in ("config", "epics", "aliases") for key in entry.get(kind, {})}
        if entry["c"] in ("beginJob", "event"):
            found.append((entry, play.copy(), fresh))
            fresh = set()
    return found


def by_index(shared: Path, number: int) -> list[dict[str, Any]]:
    recorded = random_runs.recordings(shared)[number]
    found: list[dict[str, Any]] = recorded.get("idx-allow-corrupt-epics", recorded["idx"])["log"]
    return found


# The original ends with an abort or a memory fault when these are opened by index, or at the first jump.
DEAD = {4, 10, 14, 15, 23, 29, 32, 36, 46, 47, 49, 54, 55, 57, 59, 63, 65, 66, 77}
SKIPPED_CONTROL = "a control stream whose chunk 0 has no events is left out there, with its Configure"
SECOND_CONFIGURE = "a Configure within the run is not seen there"
NO_FIDUCIAL_BEFORE = "what follows a datagram without fiducial in an index has the offset of that one"
REPLAYED = "a BeginCalibCycle that is read again brings back the EPICS values it has"
# What came with a jump, or with the beginning, and is not as ours: by run, and the part that is compared.
DIFFERENT = {
    **{(number, "config"): SKIPPED_CONTROL for number in (8, 16, 19, 22, 40, 44, 50, 71, 80)},
    **{(number, "epics"): SKIPPED_CONTROL for number in (8, 16, 19, 22, 40, 44, 50, 71, 80)},
    **{(number, "aliases"): SKIPPED_CONTROL for number in (16, 19, 22, 40, 44, 50, 71, 80)},
    **{(number, "keys"): NO_FIDUCIAL_BEFORE for number in (20, 31, 43, 61, 69)},
    **{(number, "epics"): NO_FIDUCIAL_BEFORE for number in (31, 69)},
    (61, "damage"): NO_FIDUCIAL_BEFORE,
    (64, "event"): NO_FIDUCIAL_BEFORE,
    **{(number, "config"): SECOND_CONFIGURE for number in (21, 34)},
    **{(number, "epics"): REPLAYED for number in (7, 11, 34, 37, 79)},
}


@pytest.mark.parametrize("number", RUNS)
def test_random_runs(shared: Path, tally: Counter[str], number: int) -> None:
    log = by_index(shared, number)
    times = [entry["times"] for entry in log if entry["c"] == "times"]
    explained = {what: reason for (run_number, what), reason in DIFFERENT.items() if run_number == number}
    used: set[str] = set()
    unexplained = []
    with random_runs.opened(shared, number, "idx") as run:
        assert run.rules.joining is Joining.TIMES
        if times:
            mine = [[int(row[name]) for name in ("seconds", "nanoseconds", "fiducials")] for row in run.events.ids]
            assert mine == times[0]
            tally["idx, random runs: times"] += 3 * len(mine)
        assert (not any(entry["c"] == "event" for entry in log)) == (number in DEAD)
        for entry, state, fresh in jumps(log):
            group = int(np.flatnonzero(run.table.groups["action"] == Action.BEGIN_JOB)[0])
            differences: list[Any] = []
            if entry["c"] == "event":
                (found,) = run.events.find([tuple(entry["id"][:3])])
                if found < 0:
                    assert entry["id"][2] == NO_FIDUCIAL
                    differences = [("event", "no fiducial")]
                else:
                    event = run.events[int(found)]
                    group = event.group
                    assert identity(run, group)[:6] == entry["id"][:6]
                    assert event.id.run == entry["id"][6]
                    files = [run.table.files[i] for i in run.table.datagrams["file"][event.datagrams]]
                    assert [[file.stream, file.chunk] for file in files] == entry["dg"]
                    tally["idx, random runs: EventId and datagrams"] += 7 + len(files)
                    differences += random_runs.compare_event(run, event, entry, tally)
            if differences != [("event", "no fiducial")]:
                differences += state_differs(run, group, entry, state, fresh, tally)
            for difference in differences:
                what = difference[0].split()[-1]
                used.add(what)
                if what in explained:
                    tally[f"idx, explained: {explained[what]}"] += 1
                else:
                    unexplained.append((entry["id"][:3], *difference))
    assert unexplained == []
    assert used == set(explained), "an explanation that is not needed"


def state_differs(
    run: Run, group: int, entry: dict[str, Any], state: random_runs.Play, fresh: set[str], tally: Counter[str]
) -> list[Any]:
    """Compare configuration, EPICS and aliases with what the original had.

    What came with a jump has to be ours.  What did not may be older there: its state is that of all jumps before, while
    ours is what was last at or before the event (shown by `test_state_is_that_of_a_plain_replay`).
    """
    config = run.config.at(group)
    ours = {
        "config": {label(run, key): value_of(config[key]) for key in config},
        "epics": epics_at(run, group),
        "aliases": run.epics.aliases_at(group),
    }
    found = []
    for kind, mine in ours.items():
        theirs = getattr(state, kind)
        same = compare(f"idx {kind}", mine, theirs, tally)
        for difference in same:
            if entry["c"] == "event" and difference[1] not in fresh:
                tally[f"idx, explained: {kind} left from an earlier jump, or not read yet"] += 1
            else:
                found.append(difference)
    return found


EARLY = "events before the first BeginCalibCycle are in no step there, and in the first one here"
NO_STEPS = "the first stream has no BeginCalibCycle, so there are no steps there; here those of the next one count"
SLIPPED = "after a BeginCalibCycle without events, or a repeated one, the next event is a step of its own there"
STEPS = {
    **dict.fromkeys((17, 38, 41, 67, 71), EARLY),
    **dict.fromkeys((29, 32, 55, 63, 66), NO_STEPS),
    **dict.fromkeys((9, 21, 31, 39, 43, 48, 69, 75), SLIPPED),
}
"""Steps that are not as `run.times(step)` gave them."""


@pytest.mark.parametrize("number", RUNS)
def test_steps(shared: Path, tally: Counter[str], number: int) -> None:
    recorded = random_runs.recordings(shared)[number]["idxsteps"]
    theirs = [entry[2] for entry in recorded["log"] if isinstance(entry, list) and entry[0] == "step"]
    with random_runs.opened(shared, number, "idx") as run:
        mine = [
            [[event.id.seconds, event.id.nanoseconds, event.id.fiducials] for event in step.events]
            for step in run.steps
            if len(step)
        ]
        assert sum(map(len, mine)) == len(run.events)
    if "ended" in recorded:
        tally["idx: runs whose steps ended the original"] += 1
        return
    assert (mine != theirs) == (number in STEPS), [[len(step) for step in steps] for steps in (mine, theirs)]
    if number in STEPS:
        ours, recorded_events = [*chain(*mine)], [*chain(*theirs)]
        match STEPS[number]:
            case reason if reason == SLIPPED:
                assert ours == recorded_events
            case reason if reason == EARLY:
                assert len(mine) == len(theirs)
                assert ours[-len(recorded_events) :] == recorded_events
            case _:
                assert theirs == []
        tally[f"idx, explained: {STEPS[number]}"] += 1
    tally["idx, random runs: events in their steps"] += sum(map(len, mine)) * (mine == theirs)


@pytest.mark.parametrize("number", RUNS)
def test_events_are_what_has_equal_time_and_fiducial(shared: Path, tally: Counter[str], number: int) -> None:
    """Also of the runs on which the original ends: the same rule once more, plainly."""
    with random_runs.opened(shared, number, "idx") as run:
        table = run.table
        stream = table.streams_of(np.arange(len(table.datagrams))).tolist()
        wanted: dict[tuple[int, ...], list[int]] = {}
        accepts = np.flatnonzero((service(table.datagrams) == 12) & (fiducials(table.datagrams) != NO_FIDUCIAL))
        for row in accepts.tolist():
            if stream[row] < 80:
                head = table.datagrams[row : row + 1]
                key = int(head["seconds"][0]), int(head["nanoseconds"][0]), int(fiducials(head)[0])
                wanted.setdefault(key, []).append(row)
        left = [row for row in accepts.tolist() if stream[row] >= 80]
        mine = {}
        for event in run.events:
            rows = event.datagrams.tolist()
            mine[event.id.seconds, event.id.nanoseconds, event.id.fiducials] = [row for row in rows if stream[row] < 80]
            for row in rows:
                if stream[row] >= 80:
                    left.remove(row)
                    assert fiducials(table.datagrams[row : row + 1])[0] == event.id.fiducials
                    assert abs(int(table.datagrams["seconds"][row]) - event.id.seconds) <= 5
        assert [*mine] == sorted(wanted)
        assert mine == wanted
        tally["idx: datagrams of events, plainly"] += len(accepts)
        for row in left:  # no event is near
            head = table.datagrams[row : row + 1]
            seconds, fiducial = int(head["seconds"][0]), int(fiducials(head)[0])
            assert not [key for key in wanted if key[2] == fiducial and abs(key[0] - seconds) <= 5]
        assert run.counters.unmatched_control == len(left)


@pytest.mark.parametrize("number", RUNS)
def test_state_is_that_of_a_plain_replay(shared: Path, tally: Counter[str], number: int) -> None:
    """EPICS values at every event: what one has who reads everything up to it, in order of time."""
    with random_runs.opened(shared, number, "idx") as run:
        places, heads = run.epics.places, run.epics.heads
        keys = run.table.keys[run.table.contributions["key"][places.contribution]]
        deliveries = run.table.following(places.group, DELIVERED)
        latest: dict[tuple[int, int, int], tuple[int, int]] = {}
        row = 0
        for event in run.events:
            while row < len(places) and places.group[row] <= event.group:
                key = int(keys["log"][row]), int(keys["phy"][row]), int(heads["pvId"][row])
                delivery = int(deliveries[row])
                stamp = (int(heads["seconds"][row]), int(heads["nanoseconds"][row]))
                known = latest.get(key)
                if heads["dbrType"][row] < 28:
                    older = known is not None and known[1] == delivery and stamp < _stamp(heads, known[0])
                    if not older:
                        latest[key] = row, delivery
                elif known is None:
                    latest[key] = row, -1
                row += 1
            mine = sorted(
                (_stamp(heads, int(variable._rows[place - 1])), str(variable.at(event)))
                for variable in run.epics.values()
                if (place := int(np.searchsorted(variable.group, event.group, side="right")))
            )
            assert [stamp for stamp, _ in mine] == sorted(_stamp(heads, known) for known, _ in latest.values())
            tally["idx: EPICS values at events, plainly"] += len(mine)
        for event in run.events:
            for key in event.keys():
                run.readers[key].get(event.index)  # none of the 80 ends it
                tally["idx, random runs: objects read"] += 1


def _stamp(heads: Any, row: int) -> tuple[int, int]:
    return (int(heads["seconds"][row]), int(heads["nanoseconds"][row])) if heads["dbrType"][row] < 28 else (0, 0)
