"""Checks of the sets of reference data: each defect is found as what it is, and nothing is found where nothing is."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from psanacli.run import open_run
from psanacli.run.checks import check_run

#: What the checks find of each defect. The recorder of missing_first_chunk has also lost the Configure.
DEFECTS = {
    "truncated_header": ["truncated", "transition-order"],
    "truncated_payload": ["truncated", "transition-order"],
    "zero_extent": ["header", "transition-order"],
    "extent_too_small": ["truncated", "container", "transition-order"],
    "extent_too_large": ["truncated", "transition-order"],
    "child_larger_than_parent": ["container"],
    "unknown_type": ["type"],
    "unknown_version": ["type"],
    "bad_transition": ["header", "transition-order"],
    "garbage_tail": ["truncated"],
    "missing_end": ["transition-order"],
    "empty": ["empty-file"],
    "missing_first_chunk": ["missing-chunk", "no-configure", "transition-order"],
    "bogus_payload_in_damaged_container": ["damage"],
    "payload_too_short_for_its_counts": ["payload"],
    "deep_nesting": ["no-contributions"],
    "corrupt_compressed_payload": ["payload"],
    "child_zero_extent": ["container"],
    "duplicate_and_backwards": ["duplicate", "duplicate", "order"],
}
#: Offsets in README.json are of what is wrong; findings begin at the datagram or header around it.
NEAR = 100


def found(*paths: Path | str) -> list[tuple[str, int | None, int | None, str]]:
    with open_run(*paths) as run:
        return [(check.name, finding.offset, finding.event, str(finding)) for check, finding in check_run(run)]


def test_every_defect_is_found_as_what_it_is(shared: Path, tally: Counter[str]) -> None:
    damaged = shared / "lcls1" / "damaged"
    readme = json.loads((damaged / "README.json").read_text())
    described = readme["files"] + readme["extra_files"]
    assert {entry["name"] for entry in described} == set(DEFECTS)
    for entry in described:
        findings = found(damaged / entry["file"])
        assert [name for name, *_ in findings] == DEFECTS[entry["name"]], entry["name"]
        offsets = [offset for _, offset, _, _ in findings if offset is not None]
        if entry["name"] != "missing_end":  # there the finding is at the last datagram, the defect behind it
            assert min(abs(offset - entry["offset"]) for offset in offsets) <= NEAR, entry["name"]
        tally["checks: defects"] += 1


#: Trigger numbers of the irregularities planted in `multi`, and what finds them. The events of the run are not numbered
#: like its triggers, so places come from the truth. What is usual is not to be found.
USUAL = {"fiducial_wrap", "l3t_pass"}
MULTI = {
    "missing_in_daq": {"gap", "control-unmatched"},
    "dropped_contribution": {"dropped"},
    "out_of_order_damage": {"damage"},
    "out_of_synch_damage": {"damage"},
    "user_damage": {"damage"},
    "user_damage_ebeam": {"damage"},
    "incomplete_segment": {"damage"},
    "contains_incomplete": {"damage"},
    "uninitialized_damage": {"damage"},
    "fiducial_0x1ffff": {"bad-fiducial"},
    "control_fiducial_0x1ffff": {"bad-fiducial"},
    "split_in_stream": {"split"},
    "duplicated_datagram": {"duplicate"},
    "written_late_in_stream": {"order"},
    "split_bld_in_stream_5": {"split"},
    "l3t_fail_trimmed": {"trimmed"},
    "epics_only": {"epics-only"},
    "no_contributions": {"no-contributions"},
}
#: The nanoseconds of stream 81 are arbitrary, so its clock goes back within a second; event building orders a control
#: stream by its clock and loses four matches for that, here as in the original.
CLOCK_OF_81 = {"control-clock": 3, "control-unmatched": 4}


def test_what_was_planted_in_multi_is_found_and_nothing_else(shared: Path, tally: Counter[str]) -> None:
    multi = shared / "lcls1" / "multi"
    truth = json.loads((multi / "multi_truth.json").read_text())
    planted = truth["planted"]
    assert set(planted) == set(MULTI) | USUAL
    trigger_at = {}
    for event in truth["events"]:
        for place in event["streams"]:
            trigger_at[place["stream"], place["chunk"], place["off"]] = event["n"]
    results: set[tuple[str, int]] = set()
    of_81: Counter[str] = Counter()
    with open_run(multi / "xtc") as run:
        for check, finding in check_run(run):
            assert finding.path is not None and finding.offset is not None
            stream, chunk = (int(word[1:]) for word in finding.path.name.split(".")[0].split("-")[2:])
            if stream == 81:
                of_81[check.name] += 1
                continue
            starts = [off for s, c, off in trigger_at if (s, c) == (stream, chunk) and off <= finding.offset]
            trigger = trigger_at.get((stream, chunk, max(starts)), -1)
            results.add((check.name, trigger - 1 if check.name == "gap" else trigger))
    expected = set()
    for name, checks in MULTI.items():
        for number in planted[name]:
            here = {(check, number) for check in checks}
            assert here <= results, (name, number)
            expected |= here
            tally["checks: planted in multi"] += 1
    assert results == expected
    assert of_81 == CLOCK_OF_81


@pytest.mark.parametrize("name", ["simple", "area", "dark", "types1", "types2", "types4", "compressed1"])
def test_good_runs_have_nothing(shared: Path, tally: Counter[str], name: str) -> None:
    sets, run = name.rstrip("0123456789"), name[len(name.rstrip("0123456789")) :]
    directory = shared / "lcls1" / sets / "xtc"
    paths = sorted(directory.glob(f"*-r000{run}-*.xtc")) if run else [directory]
    findings = found(*paths)
    if sets == "compressed":  # a frame with user damage
        assert [(check, event) for check, _, event, _ in findings] == [("damage", 2)]
    else:
        assert findings == []
    tally["checks: good runs"] += 1


@pytest.mark.parametrize("run", [2, 3, 4])
def test_compressed_runs_say_that_they_are_run_1(shared: Path, run: int) -> None:
    findings = found(shared / "lcls1" / "compressed" / "xtc" / f"e305-r000{run}-s00-c00.xtc")
    assert [(check, event) for check, _, event, _ in findings] == [("run-number", None), ("damage", 2)]
