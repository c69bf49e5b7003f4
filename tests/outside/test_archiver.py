"""The JSON of EPICS archiver appliances."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psanacli.errors import DataError, PsanaError, UsageError
from psanacli.outside import OutsideTable, ReadOptions, read_table

T0 = 1_436_200_000


def variable(name: str, samples: list[tuple[int, int, Any]], **meta: str) -> dict[str, Any]:
    data = [{"secs": T0 + s, "nanos": n, "val": value, "severity": 0, "status": 0} for s, n, value in samples]
    return {"meta": {"name": name, **meta}, "data": data}


def table(directory: Path, content: Any, **options: Any) -> OutsideTable:
    path = directory / "pv.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_table(path, ReadOptions(**options))


def values(found: OutsideTable, name: str) -> list[Any]:
    field = found.columns[name]
    held = np.ones(len(found), bool)
    for flags in (field.present, field.valid):
        held &= True if flags is None else flags
    return [value if ok else None for value, ok in zip(field.values.tolist(), held.tolist(), strict=True)]


def test_several_variables_have_samples_of_their_own(tmp_path: Path) -> None:
    found = table(
        tmp_path,
        [
            variable("CXI:TEMP", [(0, 1, 20.5), (2, 5, 21.0)], EGU="degC", PREC="3"),
            variable("CXI:SHUTTER", [(1, 0, 0), (2, 5, 1), (3, 0, 0)]),
            variable("CXI:NAME", [(2, 5, "Ångström")]),
        ],
    )
    assert (found.times.astype(np.int64) - T0 * 10**9).tolist() == [1, 10**9, 2 * 10**9 + 5, 3 * 10**9]
    assert values(found, "CXI:TEMP") == [20.5, None, 21.0, None] and found.columns["CXI:TEMP"].units == "degC"
    assert values(found, "CXI:SHUTTER") == [None, 0, 1, 0]
    assert values(found, "CXI:NAME") == [None, None, "Ångström", None]
    # Whole numbers without a precision are an enumeration: nothing is in between.
    assert [found.columns[name].state for name in found.columns] == [False, True, True]
    assert (found.origin.format, found.origin.zone, found.counts.rows, found.counts.duplicates) == (
        "archiver",
        "UTC",
        6,
        0,
    )


def test_waveforms(tmp_path: Path) -> None:
    found = table(tmp_path, [variable("W", [(0, 0, [1, 2]), (1, 0, [3, 4])])])
    assert found.columns["W"].values.tolist() == [[1, 2], [3, 4]] and found.columns["W"].values.dtype == np.int64
    found = table(tmp_path, [variable("W", [(0, 0, [1.5]), (1, 0, [3, 4])])])
    np.testing.assert_array_equal(found.columns["W"].values, [[1.5, np.nan], [3, 4]])


def test_what_holds_no_value(tmp_path: Path) -> None:
    samples = variable("V", [(0, 0, 1.0), (1, 0, None), (2, 0, 3.0)], PREC="1")
    samples["data"][2]["severity"] = 3
    found = table(tmp_path, [samples])
    assert values(found, "V") == [1.0, None, None] and found.counts.invalid == 1
    text = '[{"meta": {"name": "V"}, "data": [{"secs": 1436200000, "nanos": 0, "val": NaN}]}]'
    assert np.isnan(table(tmp_path, text).columns["V"].values).all()
    assert values(table(tmp_path, [variable("V", [(0, 0, "1.5"), (1, 0, "-Infinity")])]), "V") == [1.5, -np.inf]


def test_order_and_duplicates(tmp_path: Path) -> None:
    found = table(tmp_path, [variable("V", [(2, 0, 2.0), (0, 0, 0.0), (2, 0, 3.0)])])
    assert values(found, "V") == [0.0, 3.0] and found.counts.duplicates == 1


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        ("[{", DataError, "pv.json, line 1: no JSON"),
        ('[\n\n{"meta": }]', DataError, "pv.json, line 3: no JSON"),
        ("[" * 100_000, DataError, "no JSON"),
        ("[]", UsageError, "a list of no variables"),
        ("[1]", UsageError, "[0] is no variable of an archiver"),
        ('{"a": 1}', UsageError, "is no variable of an archiver"),
        ([{"meta": {"name": "V"}, "data": [{"secs": T0, "nanos": 0}]}], DataError, "V, row 0: the sample has no 'val'"),
        ([{"meta": {"name": "V"}, "data": [{"secs": "x", "val": 1}]}], DataError, "V, row 0: the sample has no whole"),
        ([{"meta": {"name": "V"}, "data": [3]}], DataError, "V, row 0"),
        ([variable("V", [(0, 0, 1.0), (1, 10**9, 2.0)])], DataError, "V, row 1"),
        ([variable("V", [(0, 0, 1.0), (-T0, 0, 2.0), (1, 0, 2.0)])], DataError, "V, row 1: 0 in column 'secs'"),
        ([variable("V", [(0, 0, 1.0), (1, 0, {"a": 1})])], DataError, "V, row 1"),
        ([variable("V", [(0, 0, [1]), (1, 0, ["x"])])], DataError, "V, row 1"),
        ([variable("V", []), variable("V", [])], UsageError, "twice"),
    ],
)
def test_malformed(tmp_path: Path, content: Any, kind: type[PsanaError], message: str) -> None:
    with pytest.raises(kind) as failure:
        table(tmp_path, content)
    assert message in str(failure.value) and "pv.json" in str(failure.value)


def test_options_without_a_meaning(tmp_path: Path) -> None:
    content = [variable("V", [(0, 0, 1.0)])]
    assert len(table(tmp_path, content, zone="UTC")) == 1
    for options in ({"zone": "Europe/Berlin"}, {"time": "secs"}, {"unit": "s"}, {"group": "/x"}):
        with pytest.raises(UsageError):
            table(tmp_path, content, **options)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["secs", "nanos", "val"]), inner),
    max_leaves=6,
)
_SAMPLE = st.fixed_dictionaries(
    {"secs": st.integers(T0, T0 + 3) | _JSON, "nanos": st.integers(0, 9) | _JSON, "val": _JSON},
    optional={"severity": st.integers(0, 4) | _JSON},
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "meta": st.fixed_dictionaries({"name": st.text(max_size=3) | _JSON}),
                "data": st.lists(_SAMPLE | _JSON, max_size=5) | _JSON,
            }
        ),
        max_size=3,
    )
)
def test_any_json_is_a_table_or_a_clear_error(tmp_path_factory: pytest.TempPathFactory, content: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(content))
    try:
        found = read_table(path)
    except PsanaError as error:
        assert "any.json" in str(error)
    else:
        assert (np.diff(found.times.astype(np.int64)) > 0).all()
        assert all(len(field.values) == len(found) for field in found.columns.values())
