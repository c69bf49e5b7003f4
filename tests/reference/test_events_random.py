"""The random runs: everything that can go wrong in event building, as the original delivered it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from psanacli.run import Action
from tests.reference.random_runs import (
    RUNS,
    Play,
    compare,
    compare_config,
    compare_event,
    delivered,
    epics_at,
    identity,
    log_of,
    opened,
    recordings,
)

MODES = ("xtc", "smd", "opt")

#: These runs were not recorded with other options.
WITHOUT_OPTIONS = {37, 40, 51, 58, 59, 66, 80}
RECORDED = [(number, mode) for number in RUNS for mode in MODES if mode != "opt" or number not in WITHOUT_OPTIONS]


@pytest.mark.parametrize(("number", "mode"), RECORDED)
def test_order_ids_and_datagrams(shared: Path, tally: Counter[str], number: int, mode: str) -> None:
    log = log_of(shared, number, mode)
    with opened(shared, number, mode) as run:
        mine = [*delivered(run)]
        assert [what for what, _, _ in mine] == [entry["c"] for entry in log]
        for (what, given, group), entry in zip(mine, log, strict=True):
            if given:
                assert identity(run, group) == entry["id"], (what, entry)
                tally["random runs: EventId"] += 7
            if given and what != "beginJob":
                rows = run.table.datagrams["file"][run.table.rows_of(group)]
                assert [[run.table.files[i].stream, run.table.files[i].chunk] for i in rows] == entry["dg"]
                tally["random runs: datagrams of a group"] += len(rows)


@pytest.mark.parametrize(("number", "mode"), RECORDED)
def test_contents(shared: Path, tally: Counter[str], number: int, mode: str) -> None:
    log = log_of(shared, number, mode)
    differences = []
    with opened(shared, number, mode) as run:
        play = Play()
        for (what, given, group), entry in zip(delivered(run), log, strict=True):
            play.step(entry)
            if not given:
                continue
            differences += compare_config(run, group, what, entry, play, tally)
            differences += compare(f"{what} epics", epics_at(run, group), play.epics, tally)
            differences += compare(f"{what} aliases", run.epics.aliases_at(group), play.aliases, tally)
            if what == "event":
                event = run.events[int(run.table.groups["event"][group])]
                differences += compare_event(run, event, entry, tally)
    assert differences == []


@pytest.mark.parametrize("number", RUNS)
def test_nesting_of_runs_and_steps(shared: Path, tally: Counter[str], number: int) -> None:
    """Runs, steps with their control values and numbers of events, as loops over them gave."""
    log = [entry for entry in recordings(shared)[number]["api"]["log"] if isinstance(entry, list)]
    with opened(shared, number, "xtc") as run:
        assert [run.experiment.name, run.instrument, run.experiment.number] == log[0][1:]
        parts = [int(part) for part in np.flatnonzero(run.table.transitions["kind"] == Action.BEGIN_RUN)]
        mine: list[Any] = []
        for part, row in enumerate(parts):
            transition = run.table.transitions[row]
            mine.append(["run", int(transition["run"]) or run.number if transition["given"] else None])
            for step in run.steps:
                if step.part == part:
                    mine.append(["step", [*map(list, step.values.items()), *map(list, step.labels.items())], len(step)])
        theirs = [entry[:3] for entry in log[1:]]
        assert len(mine) == len(theirs)
        for ours, recorded in zip(mine, theirs, strict=True):
            if ours[0] == "run" and ours[1] is None:
                continue  # a run without BeginRun has no number there
            if ours[0] == "step" and "labels" not in recorded:
                ours[1] = ours[1][: len(recorded[1])]
            assert ours == recorded
            tally["random runs: runs and steps"] += len(recorded)
