"""`run.join`: values from outside as columns of a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from run.runs import EVENTS, write_run

from psanacli import Run, open_run
from psanacli.errors import NotFoundError, UsageError
from psanacli.outside import read_table

MILLISECOND = np.timedelta64(1, "ms")


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with open_run(write_run(tmp_path)) as opened:
        yield opened


def test_a_file_becomes_columns(run: Run, tmp_path: Path) -> None:
    times = run.events.times
    # A row a millisecond before each event but 3; that of event 5 without a temperature.
    lines = [
        f"{time - MILLISECOND}Z,{'' if number == 5 else 20 + number},{'open' if number % 2 else 'shut'}"
        for number, time in enumerate(times)
        if number != 3
    ]
    path = tmp_path / "hutch.csv"
    path.write_text("\n".join(["time,temp [K],door", *lines[::-1]]))
    joined = run.join(path, name="hutch", how="previous", tolerance="5ms")
    assert run.joined == {"hutch": joined} and list(joined.columns) == ["temp", "door"]
    assert run.column("hutch.temp").tolist() == [None if n in (3, 5) else 20 + n for n in range(EVENTS)]
    assert run.column("HUTCH.Door").tolist() == [None if n == 3 else ("shut", "open")[n % 2] for n in range(EVENTS)]
    assert joined.counts["temp"].asdict() == {
        "events": 12, "joined": 10, "outside": 2, "before": 0, "after": 0, "no_value": 0
    }  # fmt: skip
    assert joined.units["temp"] == "K" and joined.origin.path == str(path)
    assert joined.remarks() == [
        "hutch: 2 of 12 events have no temp: no row within 5ms: 2",
        "hutch: 1 of 12 events have no door: no row within 5ms: 1",
    ]
    blocks = list(run.blocks("hutch.temp", "EBeam.ebeamCharge", max_bytes=64))
    assert len(blocks) > 1
    assert np.ma.concatenate([block["hutch.temp"] for block in blocks]).tolist() == run.column("hutch.temp").tolist()


def test_arrays_frames_and_tables(run: Run, tmp_path: Path) -> None:
    times = run.events.times
    numbers = np.arange(EVENTS)
    run.join(numbers, time=times, name="a", tolerance="0ns")
    assert run.column("a").tolist() == run.column("a.value").tolist() == numbers.tolist()
    run.join({"time": times[::-1] + MILLISECOND, "x": numbers[::-1]}, name="b", how="linear", tolerance="any")
    assert run.column("b.x").count() == EVENTS - 1 and run.joined["b"].counts["x"].before == 1
    local = (times - np.timedelta64(7, "h")).astype(str)
    run.join({"when": local, "x": numbers}, name="c", time="when", zone="America/Los_Angeles")
    assert run.column("c.x").tolist() == numbers.tolist()
    pandas = pytest.importorskip("pandas")
    run.join(pandas.DataFrame({"time": times, "x y": numbers * 0.5}), name="d")
    assert run.column("d.x_y").tolist() == (numbers * 0.5).tolist()
    rows = np.zeros(EVENTS, [("seconds", "u4"), ("nanoseconds", "u4"), ("x", "i2")])
    rows["seconds"], rows["nanoseconds"], rows["x"] = *run.events.ids[["seconds", "nanoseconds"]].tolist()[0], 7
    run.join(rows[:1], name="e", tolerance="0ns")
    assert run.column("e.x").tolist() == [7, *[None] * (EVENTS - 1)]
    path = tmp_path / "table.csv"
    path.write_text(f"time,x\n{times[2]}Z,1\n")
    run.join(read_table(path), name="f", tolerance="0ns")
    assert run.column("f.x").tolist() == [None, None, 1, *[None] * (EVENTS - 3)]


def test_states_are_not_interpolated(run: Run) -> None:
    times = run.events.times
    between = {"time": [times[0], times[3]], "mode": ["a", "b"], "gate": [False, True], "step": [1, 4], "x": [1, 4]}
    joined = run.join(between, name="t", how="linear", tolerance="any", states=("step",))
    first = run.column("t.x")[:4].astype(float)
    assert first[0] == 1 and 1 < first[1] < first[2] < 4 == first[3]
    assert run.column("t.step")[:4].tolist() == [1, 1, 1, 4]
    assert run.column("t.mode")[:4].tolist() == ["a", "a", "a", "b"]
    assert run.column("t.gate")[:4].tolist() == [False, False, False, True]
    assert joined.hows == {"mode": "previous", "gate": "previous", "step": "previous", "x": "linear"}
    assert "a state has no values in between" in " ".join(joined.remarks())


def test_names_that_are_taken_or_missing(run: Run) -> None:
    times = run.events.times
    for name in ("opal_1", "EBEAM", "Opal1000", "time", "codes", "a b", "2x", ""):
        with pytest.raises(UsageError):
            run.join(np.arange(EVENTS), time=times, name=name)
    run.join({"time": times, "temp": np.arange(EVENTS), "door": np.arange(EVENTS)}, name="hutch")
    with pytest.raises(NotFoundError) as failure:
        run.column("hutch.tmp")
    assert "hutch.temp" in failure.value.hint
    with pytest.raises(NotFoundError, match="name one"):
        run.column("hutch")
    with pytest.raises(UsageError, match="nearest"):
        run.join(np.arange(EVENTS), time=times, name="x", how="nearst")
    with pytest.raises(UsageError, match="no option 'zones'"):
        run.join(np.arange(EVENTS), time=times, name="x", zones="UTC")
    with pytest.raises(UsageError, match="different length"):
        run.join(np.arange(3), time=times, name="x")
    assert list(run.joined) == ["hutch"]


def test_xarray_takes_them_too(run: Run) -> None:
    pytest.importorskip("xarray")
    times = run.events.times
    run.join({"time": times[4:], "x": np.arange(8), "w": ["ab"] * 8}, name="t", tolerance="0ns")
    data = run.to_xarray(["t.x", "t.w", "EBeam.ebeamCharge"])
    assert np.isnan(data["t.x"].values[:4]).all() and data["t.x"].values[4:].tolist() == list(range(8))
    assert data["t.w"].values.tolist() == [""] * 4 + ["ab"] * 8
