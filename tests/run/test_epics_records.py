"""EPICS records may be many: they are looked at in stretches, and take no memory that grows with the run."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run.runs import ARCHIVER, EPICS_WORD, NODE, TIMING, timing, write_run

import psanacli
from psanacli.hdf5 import TranslateOptions, plan
from psanacli.xtc import Container, Contribution, RunWriter, epics_record

VARIABLES = 200
EVENTS = 1000


def content(directory: Path) -> list[tuple[Any, ...]]:
    """Return all that is known of the variables of a run, and the rows of a translation at all its events."""
    with psanacli.open_run(directory) as run:
        found: list[tuple[Any, ...]] = [
            (name, variable.alias, variable.group.tolist(), variable.values.tolist(), variable.units)
            for name, variable in run.epics.items()
        ]
        kinds = run.epics.kinds
        found.append((kinds.number.tolist(), kinds.number.dtype, kinds.table.tolist()))
        for mode in ("always", "updates", "calib-repeat"):
            made = plan(run, TranslateOptions(epics=mode))
            for table in made.tables:
                if "Epics" in table.group and "CalibCycle" in table.group:
                    rows = made.rows(run.table, table, 0, int(table.bounds[-1]))
                    found.append(
                        (mode, table.group, rows.event.tolist(), run.payloads.read(rows, np.arange(len(rows))).sizes)
                    )
    return [tuple(part.tolist() if isinstance(part, np.ndarray) else part for part in parts) for parts in found]


def test_stretches_make_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path, events=70)
    whole = content(tmp_path)
    assert len(whole) > 10
    monkeypatch.setattr("psanacli.run.epics_records.AT_ONCE", 7)
    monkeypatch.setattr("psanacli.run.epics_records.GROUPS_AT_ONCE", 5)
    assert content(tmp_path) == whole


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with 200 000 EPICS records, half an hour of 110 variables once a second."""
    directory = tmp_path_factory.mktemp("rich")
    numbers = range(VARIABLES)
    names = [Contribution(EPICS_WORD, ARCHIVER, epics_record(n, 0.0, name=f"XPP:{n}")) for n in numbers]
    with RunWriter(directory, "e301", 1) as run:
        run.configure([Container(NODE, names)])
        run.begin_step([])
        records = [Contribution(EPICS_WORD, ARCHIVER, epics_record(n, n / 2, seconds=1_400_000_000)) for n in numbers]
        for number in range(EVENTS):
            codes = Contribution("EvrData.DataV4", TIMING, timing(number))
            run.event([Container(NODE, [codes]), Container(NODE, records)])
    return directory


def test_many_records_take_little_memory(rich: Path) -> None:
    with psanacli.open_run(rich) as run:
        tracemalloc.start()
        try:
            made = plan(run, TranslateOptions())
            kept, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert len(run.epics.places) == VARIABLES * (EVENTS + 1)
        tables = [table for table in made.tables if "CalibCycle" in table.group and "Epics" in table.group]
        assert sum(int(table.bounds[-1]) for table in tables) == VARIABLES * EVENTS
        assert kept / len(run.epics.places) < 40, "bytes a record: what is in memory of 200 variables and their tables"
        assert most < 30_000_000
