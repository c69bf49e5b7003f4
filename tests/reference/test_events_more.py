"""Order of events as the test sets name it, what their writer meant, names, and the damaged files."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from psanacli.errors import DataError
from psanacli.run import Run, open_run

MERGED = [
    (name, experiment, int(run), mode)
    for name, experiment, runs in [
        ("simple", "xppsim15", [1]),
        ("multi", "cximul16", [7]),
        ("types", "amotyp14", [1, 2]),
        ("area", "cxiarea17", [17]),
        ("dark", "mecdark17", [1]),
        ("compressed", "xppcmp16", [1, 2, 3, 4]),
    ]
    for run in runs
    for mode in (("xtc",) if name == "compressed" else ("xtc", "smd"))
]


@pytest.mark.parametrize(("name", "experiment", "number", "mode"), MERGED)
def test_merged_events(shared: Path, tally: Counter[str], name: str, experiment: str, number: int, mode: str) -> None:
    recorded = json.loads((shared / "lcls1" / name / f"{name}_merged_events.json").read_text())["runs"][str(number)]
    entry = recorded["xtc"] if recorded.get(mode) == "the same events as xtc" else recorded[mode]
    source = f"exp={experiment}:run={number}:dir={shared}/lcls1/{name}/xtc{':smd' if mode == 'smd' else ''}"
    with open_run(source) as run:
        mine = [
            [event.id.seconds, event.id.nanoseconds, event.id.fiducials, streams_of(run, event.datagrams)]
            for event in run.events
        ]
        assert mine == entry["events"]
        assert entry["runs delivered"] == [run.events[0].id.run], "the number in BeginRun, not that of the file"
    tally["merged events"] += len(mine)


def streams_of(run: Run, rows: np.ndarray[Any, Any]) -> list[int]:
    return [int(stream) for stream in run.table.streams_of(rows)]


def test_what_the_writer_of_multi_meant(shared: Path, tally: Counter[str]) -> None:
    """Every datagram that was written is in the event that was meant, or left out for a reason that is named."""
    truth = json.loads((shared / "lcls1" / "multi" / "multi_truth.json").read_text())
    left_out = {"fiducial_0x1ffff", "control_fiducial_0x1ffff", "epics_only", "no_contributions", "l3t_fail_trimmed"}
    with open_run(f"exp=cximul16:run=7:dir={shared}/lcls1/multi/xtc") as run:
        place = {}
        for event in run.events:
            for row in event.datagrams.tolist():
                datagram = run.table.datagrams[row]
                file = run.table.files[int(datagram["file"])]
                place[file.stream, file.chunk, int(datagram["offset"])] = event
        for meant in truth["events"]:
            for written in meant["streams"]:
                event = place.pop((written["stream"], written["chunk"], written["off"]), None)
                if event is None:
                    assert left_out & set(meant["planted"]), meant
                    tally["multi: datagrams left out as planted"] += 1
                    continue
                assert event.id.fiducials == meant["fiducials"]
                assert event.step.number == meant["cycle"]
                if any(streams < 80 for streams in streams_of(run, event.datagrams)):
                    assert (event.id.seconds, event.id.nanoseconds) == (meant["seconds"], meant["nanoseconds"])
                tally["multi: datagrams in the event that was meant"] += 1
        assert len(place) <= 3, "the second parts of what was written twice"


@pytest.mark.parametrize("name", ["simple", "multi"])
def test_names(shared: Path, tally: Counter[str], name: str) -> None:
    recorded = json.loads((shared / "psana1" / "api" / "core_api.json").read_text())
    number = {"simple": 1, "multi": 7}[name]
    experiment = {"simple": "xppsim15", "multi": "cximul16"}[name]
    with open_run(f"exp={experiment}:run={number}:dir={shared}/lcls1/{name}/xtc") as run:
        names, sources = recorded["names"][name], recorded["sources"][name]
        assert run.epics.aliases == names["aliases"]
        assert sorted([*run.epics, *run.epics.aliases]) == names["names"]
        for text, alias in sources["alias_map_order"]:
            if alias:
                assert run.aliases[alias].text == text
                tally["aliases of sources"] += 1
        for full, alias, _ in names["detectors"]:
            if full in run.detectors:
                assert run.detectors[full].alias == alias
                if alias:
                    assert run.detector(alias).name == full
                tally["detectors by name and alias"] += 1
            else:
                assert full == "ControlData" or full.startswith("EpicsArch"), full
        known = {source.text for source in run.table.contents.sources.values()}
        assert {text for text in sources["sources"] if not text.startswith("ProcInfo")} <= known
        tally["sources"] += len(sources["sources"])
        if name == "simple":
            event = run.events[0]
            assert str(event.id) == recorded["objects"]["evt.get(EventId)"]["str"]
            first = recorded["objects"]["evt.keys()[0]"]["str"]
            key = event.keys()[0]
            alias = run.names.alias(key.source)
            mine = f"EventKey(type=psana.{key.xtc_type.name}, src='{key.source.text}', alias='{alias}')"
            assert mine == first


# Where ours differs from what the original delivers of a damaged file, and why.
DAMAGED = {
    "e306-r0003": "a datagram with an impossible extent ends the file; what is before it is not lost",
    "e306-r0004": "a datagram that is cut short: the original aborts, here its whole objects are given",
    "e306-r0009": "a transition that does not exist ends the file: what follows cannot be trusted",
    "e306-r0010": "garbage behind the last datagram does not take back the events before it",
    "e306-r0017": "a payload that cannot be decompressed is an error of that object, not of the run",
}


def test_damaged_files(shared: Path, tally: Counter[str]) -> None:
    recorded = json.loads((shared / "psana1" / "events" / "damaged.json").read_text())["files"]
    described = json.loads((shared / "lcls1" / "damaged" / "README.json").read_text())
    kinds = {entry["file"]: entry for entry in [*described["files"], *described["extra_files"]]}
    differing = set()
    for name, entry in recorded.items():
        with open_run(shared / "lcls1" / "damaged" / name) as run:
            mine = []
            for event in run.events:
                count = 0
                for key in event.keys():
                    try:
                        run.readers[key].get(event.index)
                        count += 1
                    except DataError as error:
                        assert name in str(error)
                event_id = event.id
                mine.append([event_id.seconds, event_id.nanoseconds, event_id.fiducials, event_id.run, count])
            theirs = [row[:5] for row in entry["events"]]
            if [row[:4] for row in mine] != [row[:4] for row in theirs]:
                differing.add(name[:10])
            whole = kinds[name]["whole_datagrams_before"]
            assert len(run.table.datagrams) >= whole, name
            if kinds[name]["kind"] == "corrupt" and "payload" not in kinds[name]["name"]:
                assert run.problems, name
                assert str(shared) in str(run.problems[0])
            tally["damaged: events"] += len(mine)
    assert differing == set(DAMAGED)
    for name in differing:
        tally[f"damaged, explained: {DAMAGED[name]}"] += 1
