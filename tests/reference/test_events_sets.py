"""The test sets: every value of every object of every event, as the original showed it."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import pytest

from tests.reference.recorded_sets import (
    SETS,
    Comparison,
    compare_config,
    compare_epics,
    compare_event,
    opened,
    recording,
)

CASES = [
    (name, experiment, number, mode)
    for name, _, experiment, number in SETS
    for mode in ("xtc", "smd")
    if mode == "xtc" or not (name == "types-r3" or name.startswith("compressed"))
]


@pytest.fixture(scope="module")
def unpacked(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run 3 of the types, which is stored packed."""
    directory = tmp_path_factory.mktemp("types")
    for packed in sorted((shared / "lcls1" / "types" / "xtc").glob("*.xtc.gz")):
        (directory / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
    return directory


@pytest.mark.parametrize(("name", "experiment", "number", "mode"), CASES)
def test_events(
    shared: Path, unpacked: Path, tally: Counter[str], name: str, experiment: str, number: int, mode: str
) -> None:
    recorded = recording(shared, name, mode)
    with opened(shared, unpacked, name, experiment, number, mode) as run:
        assert len(run.events) == recorded["nevents"]
        found = Comparison()
        config = recorded["config_at_start"]
        epics = recorded["epics_at_start"]
        # An alias of a variable that never comes has no name there, and is no alias for us.
        known = {alias: variable for alias, variable in recorded["epics_aliases"].items() if variable}
        found.equal("aliases of EPICS", run.epics.aliases, known)
        compare_config(run, -1, config, found)
        for event, entry in zip(run.events, recorded["events"], strict=True):
            compare_event(run, event, entry, found, tally)
            epics |= entry.get("epics", {})
            compare_epics(run, event, epics, found)
            config |= entry.get("config", {})
            if "config" in entry or event.index == 0:
                compare_config(run, event.group, config, found)
    tally[f"{name} {mode}: values"] += found.count
    tally[f"{name} {mode}: array elements"] += found.elements
    assert found.differences == []
