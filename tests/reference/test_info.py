"""What `info` says of the test sets is what the facility's software delivers, and what was planted in them."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from psanacli.run import RunSummary, open_run, presence, summarise
from psanacli.run.missing import ABSENT, LOST

SETS = {
    "simple": "simple/xtc",
    "multi": "multi/xtc",
    "area": "area/xtc",
    "dark": "dark/xtc",
    "types-r1": "types/xtc:run=1",
    "types-r2": "types/xtc:run=2",
    "compressed-r1": "compressed/xtc:run=1",
    "compressed-r2": "compressed/xtc:run=2",
    "compressed-r3": "compressed/xtc:run=3",
    "compressed-r4": "compressed/xtc:run=4",
}


def recorded(shared: Path, name: str) -> dict[str, Any]:
    path = shared / "psana1" / "events" / f"{name}.json"
    text = path.read_bytes() if path.exists() else gzip.decompress(path.with_name(path.name + ".gz").read_bytes())
    return dict(json.loads(text))


def present(summary: RunSummary) -> dict[tuple[str, str], int]:
    return {
        (kind.type, detector.source): kind.present
        for detector in summary.detectors
        for kind in detector.types
        if not kind.config and kind.present
    }


#: The compressed runs have no small data.
MODES = [(name, mode) for mode in ("xtc", "smd") for name in SETS if mode == "xtc" or not name.startswith("compressed")]


@pytest.mark.parametrize(("name", "mode"), MODES)
def test_a_summary_says_what_the_original_delivers(shared: Path, name: str, mode: str, tally: Counter[str]) -> None:
    run = open_run(f"{shared / 'lcls1' / SETS[name]}:{mode}")
    summary = summarise(run)
    original = recorded(shared, name)
    env = original["env"]
    assert (summary.experiment, summary.instrument) == (env["experiment"], env["instrument"])
    assert (summary.number, summary.mode) == (env["expNum"], mode)
    assert run.steps[0].run_number == original["runs"][0]  # which in `compressed` is not that of the file names
    assert summary.events == original["nevents"] == len(original["events"])

    steps = [(step["first_event"], step["events"], step["time"]) for step in original["steps"]]
    ours = [(step.first, step.events, [*divmod(int(step.start.astype(np.int64)), 10**9)]) for step in summary.steps]
    assert ours == steps
    for step, other in zip(summary.steps, original["steps"], strict=True):
        # The original shows one object where a run has several versions of it (`types`).
        assert set(step.values.values()) >= {control["value"] for control in other["control"] or []}

    objects: Counter[tuple[str, str]] = Counter()
    for event in original["events"]:
        objects.update((kind.removeprefix("psana."), source) for kind, source, _, _ in event["keys"])
    # What a small-data file has for itself is no object of the event; SharedAcqADC brings its own configuration, which
    # the original does not use.
    theirs = {key: count for key, count in objects.items() if not key[0].startswith("SmlData")}
    assert {key: count for key, count in present(summary).items() if key[0] != "Bld.BldDataAcqADCV1"} == theirs
    aliases = {source: alias for event in original["events"] for _, source, _, alias in event["keys"] if alias}
    ours_by_source = {detector.source: detector.alias for detector in summary.detectors}
    assert {source: ours_by_source[source] for source in aliases} == aliases

    assert {variable.name for variable in summary.epics} >= set(original["epics_at_start"] or {})
    named = {alias: name for alias, name in original["epics_aliases"].items() if name}
    assert {variable.alias: variable.name for variable in summary.epics if variable.alias} == named

    codes: Counter[int] = Counter()
    for event in original["events"]:
        fifos = [
            values["fifoEvents"] for key, values in event["values"].items() if key.startswith("psana.EvrData.Data")
        ]
        codes.update({entry["eventCode"] for fifo in fifos for entry in fifo})
    assert summary.codes == codes

    states = presence(run).states
    assert int(((states != ABSENT) & (states != LOST)).sum()) == sum(present(summary).values())
    tally["facts of runs (info)"] += 3 * len(objects) + 5 * len(steps) + len(summary.epics) + 6


def test_what_was_planted_is_counted(shared: Path, tally: Counter[str]) -> None:
    summary = summarise(open_run(shared / "lcls1" / "multi" / "xtc"))
    truth = json.loads((shared / "lcls1" / "multi" / "multi_truth.json").read_text())
    planted = {name: len(numbers) for name, numbers in truth["planted"].items()}
    counters = summary.counters
    assert counters["dropped_contributions"] == planted["dropped_contribution"]
    assert counters["unmatched_control"] >= planted["missing_in_daq"]
    assert counters["split"] == planted["split_in_stream"]
    assert counters["repeated"] == planted["duplicated_datagram"]
    assert counters["trimmed"] == planted["l3t_fail_trimmed"]
    assert counters["epics_only"] == planted["epics_only"]
    assert counters["bad_fiducials"] == planted["fiducial_0x1ffff"] + planted["control_fiducial_0x1ffff"]
    assert summary.damage["OutOfOrder"] == planted["out_of_order_damage"]
    assert summary.damage["OutOfSynch"] == planted["out_of_synch_damage"]
    assert summary.damage["UserDefined"] == planted["user_damage"] + planted["user_damage_ebeam"]
    first = next(entry for entry in truth["transitions"] if entry["transition"] == "Configure")
    last = next(entry for entry in truth["transitions"] if entry["transition"] == "EndRun")
    times = [np.datetime64(entry["seconds"] * 10**9 + entry["nanoseconds"], "ns") for entry in (first, last)]
    assert [summary.start, summary.end] == times
    assert {stream.stream: stream.kind for stream in summary.streams} == dict.fromkeys((0, 1, 2, 5), "daq") | {
        80: "control",
        81: "control",
    }
    tally["planted irregularities (info)"] += 14
