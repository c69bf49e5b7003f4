"""Runs of the facility's own files, opened with and without an index: the same tables, codes and EPICS values."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import psanacli
from psanacli.errors import NotFoundError
from psanacli.run import Run, build_index, index_paths

TABLES = ("datagrams", "start", "contributions", "keys", "members", "groups", "events", "transitions", "steps")
SETS = ("simple", "multi", "types", "area", "area2", "compressed", "dark")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def compare(directory: Path, tally: Counter[str], subject: str) -> None:
    for source in (str(directory), f"dir={directory}:smd"):
        try:
            runs = psanacli.open_runs(source, index=False)
        except NotFoundError:
            continue  # no small data
        for plain in runs:
            path = index_paths(plain.files.files)[1]
            build_index(plain.files).save(path)
            with plain, Run(plain.files) as indexed:
                assert indexed.index.path == path
                assert indexed.index.whole
                tally[f"{subject}: rows of tables"] += compare_runs(plain, indexed)
                tally[f"{subject}: EPICS values"] += compare_epics(plain, indexed)


def compare_runs(plain: Run, indexed: Run) -> int:
    rows = 0
    for name in TABLES:
        a, b = getattr(plain.table, name), getattr(indexed.table, name)
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b, err_msg=name)
        rows += len(a)
    assert plain.counters == indexed.counters
    assert plain.problems == indexed.problems
    assert plain.codes.counts() == indexed.codes.counts()
    np.testing.assert_array_equal(plain.codes.starts, indexed.codes.starts)
    np.testing.assert_array_equal(plain.codes.values, indexed.codes.values)
    assert [repr(key) for key in plain.config] == [repr(key) for key in indexed.config]
    return rows


def compare_epics(plain: Run, indexed: Run) -> int:
    values = 0
    assert list(plain.epics) == list(indexed.epics)
    assert plain.epics.aliases == indexed.epics.aliases
    for name, variable in plain.epics.items():
        other = indexed.epics[name]
        np.testing.assert_array_equal(variable.group, other.group)
        one_by_one = [repr(other.at(int(group))) for group in other.group]
        np.testing.assert_array_equal(variable.times, other.times)
        assert repr(variable.values.tolist()) == repr(other.values.tolist())
        assert one_by_one == [repr(variable.at(int(group))) for group in variable.group]
        values += len(variable)
    return values


@pytest.mark.parametrize("name", SETS)
def test_sets(shared, tally, name):
    compare(shared / "lcls1" / name / "xtc", tally, "indexed sets")


def test_random(shared, tally):
    runs = sorted(path for path in (shared / "lcls1" / "random").iterdir() if path.is_dir())
    assert len(runs) == 80
    for path in runs:
        compare(path / "xtc" if (path / "xtc").is_dir() else path, tally, "indexed random runs")
