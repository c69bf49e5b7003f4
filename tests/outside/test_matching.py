"""Matching against a plain twin that looks at one event after the other."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from psanacli.errors import UsageError
from psanacli.outside import HOWS, Counts, match, parse_tolerance, taken, tolerance_text

EPOCH = 1_436_200_000_000_000_000


def plain(rows: list[int], values: list[float], event: int, how: str, tolerance: int | None) -> float | str:
    """Return the value of one event, or the reason why it has none."""
    limit = 1 << 63 if tolerance is None else tolerance
    best: float | None = None
    if how == "nearest":
        inside = [(abs(time - event), time, value) for time, value in zip(rows, values, strict=True)]
        inside = [each for each in inside if each[0] <= limit]
        best = min(inside)[2] if inside else None
    else:
        before = [(time, value) for time, value in zip(rows, values, strict=True) if event - limit <= time <= event]
        after = [(time, value) for time, value in zip(rows, values, strict=True) if event < time <= event + limit]
        if before and how == "previous":
            best = before[-1][1]
        elif before and before[-1][0] == event:
            best = before[-1][1]
        elif before and after:
            (t0, v0), (t1, v1) = before[-1], after[0]
            best = float(Fraction(v0) + (Fraction(v1) - Fraction(v0)) * Fraction(event - t0, t1 - t0))
    if best is not None:
        return best
    return "before" if rows and event < rows[0] else "after" if rows and event > rows[-1] else "outside"


times = st.integers(-200, 200).map(lambda step: EPOCH + step) | st.integers(EPOCH - 10**12, EPOCH + 10**12)


@given(
    st.lists(times, unique=True, max_size=12).map(sorted),
    st.lists(times, max_size=12),
    st.sampled_from(HOWS),
    st.none() | st.integers(0, 30) | st.integers(0, 10**12),
    st.data(),
)
def test_every_event_gets_what_the_plain_twin_says(
    rows: list[int], events: list[int], how: str, tolerance: int | None, data: st.DataObject
) -> None:
    values = data.draw(st.lists(st.integers(-1000, 1000), min_size=len(rows), max_size=len(rows)))
    found = match(np.array(rows, np.int64), np.array(events, np.int64), how, tolerance)
    columns, counts = taken(found, np.array(values, np.int64), None)
    wanted = [plain(rows, [float(value) for value in values], event, how, tolerance) for event in events]
    for value, absent, each in zip(columns.data, np.ma.getmaskarray(columns), wanted, strict=True):
        assert absent == isinstance(each, str)
        assert absent or value == pytest.approx(each, rel=1e-12, abs=1e-9)
    assert counts == Counts(
        len(events),
        sum(not isinstance(each, str) for each in wanted),
        wanted.count("outside"),
        wanted.count("before"),
        wanted.count("after"),
        0,
    )


def test_a_nanosecond_decides() -> None:
    rows = np.array([EPOCH, EPOCH + 10], np.int64)
    events = np.array([EPOCH + 4, EPOCH + 5, EPOCH + 6, EPOCH + 13, EPOCH + 14, EPOCH - 4], np.int64)
    found, counts = taken(match(rows, events, "nearest", 3), np.array([1, 2]), None)
    assert found.tolist() == [None, None, None, 2, None, None]
    assert (counts.outside, counts.before, counts.after, counts.joined) == (3, 1, 1, 1)
    found, _ = taken(match(rows, events, "nearest", 5), np.array([1, 2]), None)
    assert found.tolist() == [1, 1, 2, 2, 2, 1]  # of two that are equally near the earlier


def test_a_row_that_says_no_value_hides_no_other() -> None:
    rows = EPOCH + np.array([0, 10, 20], np.int64)
    events = EPOCH + np.array([1, 11, 19], np.int64)
    found, counts = taken(match(rows, events, "nearest", None), np.array([1.0, np.nan, 3.0]), None)
    assert found.tolist() == [1.0, None, 3.0] and counts.no_value == 1
    found, counts = taken(match(rows, events, "linear", None), np.array([1.0, 2.0, 3.0]), np.array([True, False, True]))
    assert found.tolist() == [None, None, None] and counts.no_value == 3


def test_waveforms_are_rows() -> None:
    rows = EPOCH + np.array([0, 10], np.int64)
    found, _ = taken(match(rows, EPOCH + np.array([5, 99]), "linear", 50), np.array([[0.0, 10.0], [1.0, 30.0]]), None)
    assert found.tolist() == [[0.5, 20.0], [None, None]]


def test_a_table_without_rows_leaves_all_events_without_values() -> None:
    for how in HOWS:
        found, counts = taken(match(np.zeros(0, np.int64), np.array([EPOCH]), how, None), np.zeros(0), None)
        assert found.tolist() == [None] and counts == Counts(1, 0, 1, 0, 0, 0)


@pytest.mark.parametrize(
    ("text", "tolerance"),
    [("1s", 10**9), (" 0.25 s", 250_000_000), ("20ms", 2 * 10**7), ("1.5us", 1500), ("0ns", 0), ("any", None)],
)
def test_tolerances(text: str, tolerance: int | None) -> None:
    assert parse_tolerance(text) == tolerance
    assert parse_tolerance(tolerance_text(tolerance)) == tolerance


@pytest.mark.parametrize(
    "text", ["", "1", "-1s", "1 h", "0.5ns", "s", "1e3s", "nan s", "none", "\N{FULLWIDTH DIGIT ONE}s"]
)
def test_what_is_no_tolerance(text: str) -> None:
    with pytest.raises(UsageError, match="tolerance"):
        parse_tolerance(text)
