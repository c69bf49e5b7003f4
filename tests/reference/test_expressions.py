"""Expressions on the recorded runs: on columns they give what an evaluation event by event gives."""

from __future__ import annotations

import random
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from run import twin

from psanacli.run import Key, Run, open_run

RUNS = range(1, 81)
MOST = 12
"""Expressions of each run: the loop over events takes its time."""


@cache
def opened(shared: Path, number: int) -> Run:
    if number == 0:
        return open_run(shared / "lcls1" / "multi" / "xtc")
    return open_run(f"exp=cxirnd16:run={number}:dir={shared}/lcls1/random/r{number:04d}/xtc")


def expressions_of(run: Run) -> list[str]:
    """Return expressions over all that a run has: sources, scalar fields, codes, EPICS, scans."""
    found = [
        "step == 0 or number % 3 == 1",
        "shift(fiducials, 1) - fiducials == 3",
        "shift(seconds, -1) != seconds",
        "absent(shift(number, -1)) or absent(shift(number, 1))",
    ]
    conditions = [f"code({code})" for code in [*run.codes.counts()][:4]]
    for key in run.readers:
        name = f"det('{key.source.name}/{key.xtc_type.name}')"
        quoted = f"'{key.source.name}/{key.xtc_type.name}'"
        conditions += [f"present({quoted})", f"damaged('{key.source.name}')"]
        for field in scalars(run, key)[:2]:
            found += [
                f"{name}.{field} > {median(run, key, field)!r}",
                f"not ({name}.{field} <= {median(run, key, field)!r})",
                f"{name}.{field} != shift({name}.{field}, -1)",
                f"default({name}.{field}, -1) == -1",
            ]
    for name in [*run.epics][:3]:
        if run.epics[name].values.dtype.kind in "iuf" and run.epics[name].values.ndim == 1:
            found.append(f"epics('{name}') >= {run.epics[name].values[0].item()!r}")
    found += conditions
    found += [f"{one} and not {other}" for one, other in pairwise(conditions)]
    found += [f"shift({one}, -1) or {other}" for one, other in zip(conditions, conditions[2:], strict=False)]
    usable = [text for text in found if "nan" not in text and "inf" not in text]
    return random.Random(len(run.events)).sample(usable, min(len(usable), MOST))


def scalars(run: Run, key: Key) -> list[str]:
    event = int(run.readers[key].objects.event[0])
    record = run.readers[key].get(event)
    return [
        name
        for name in key.xtc_type.accessors
        if isinstance(getattr(record, name), (int, float, np.integer, np.floating))
    ]


def median(run: Run, key: Key, field: str) -> float:
    values = [getattr(record, field) for event in run.events if (record := run.readers[key].get(event.index))]
    return float(sorted(values)[len(values) // 2])


@pytest.mark.parametrize("number", [0, *RUNS])
def test_expressions_choose_the_same_events_as_a_loop(shared: Path, tally: Counter[str], number: int) -> None:
    run = opened(shared, number)
    for text in expressions_of(run):
        wanted = [event.index for event in run.events if twin.selects(text, event)]
        assert np.asarray(run.events.select(text).indices).tolist() == wanted, text
        tally["events for which an expression was decided, next to a loop"] += len(run.events)


def test_ids_lead_back_to_all_events_of_the_runs(shared: Path, tally: Counter[str]) -> None:
    from psanacli.run import EventList

    for number in [0, *RUNS]:
        run = opened(shared, number)
        listed = EventList.parse("\n".join(EventList.of(run.events).lines()))
        found = listed.resolve(run)
        same = run.events.ids[["seconds", "nanoseconds", "fiducials"]]
        assert (found >= 0).all() and (same[found] == same).all()
        tally["ids of events that lead back"] += len(found)
