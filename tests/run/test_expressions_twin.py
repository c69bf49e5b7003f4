"""Random expressions give the same on columns as event by event, and random text never crashes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from run import twin
from run.runs import write_run

from psanacli.errors import PsanaError
from psanacli.run import Expression, Run, RunColumns, open_run

SETTINGS = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    directory = tmp_path_factory.mktemp("twin")
    write_run(directory, events=24)
    with open_run(directory) as run:
        yield run


NUMBERS = st.sampled_from(
    [
        *("number", "step", "fiducials", "nanoseconds", "EBeam.ebeamPhotonEnergy", "EBeam.ebeamCharge"),
        *("det('ipm3/IpmFex').sum", "det('ipm3/IpmFex').channel[0]", "sum(opal_1.data16)", "opal_1.data16[-1, 2]"),
        *("max(opal_1.data16[1:3, ::2])", "epics('sample_x')", "scan('XPP:LAS:DELAY')"),
        *("0", "1", "3", "7", "0.5", "1e3", "9503.0"),
    ]
)
CONDITIONS = st.sampled_from(
    [
        "code(140)", "code(162)", "code(9)", "present(EBeam)", "absent('opal_1')", "damaged(EBeam)", "True",
        "EBeam.ebeamPhotonEnergy > 9505", "number % 3 == 1", "absent(EBeam.ebeamCharge)", "step in [0, 2]",
    ]
)  # fmt: skip
SHIFTS = st.sampled_from(["-1", "1", "2", "-5", "0", "30"])
COMPARED = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
CALCULATED = st.sampled_from(["+", "-", "*", "/", "//", "%"])


@st.composite
def values(draw: st.DrawFn, depth: int = 3) -> str:
    """Draw an expression that is a number."""

    def inner() -> str:
        return draw(values(depth - 1))

    match draw(st.integers(0, 7)) if depth else 0:
        case 1 | 2:
            return f"({inner()} {draw(CALCULATED)} {inner()})"
        case 3:
            return f"-{inner()}"
        case 4:
            return f"{draw(st.sampled_from(['abs', 'sqrt']))}({inner()})"
        case 5:
            return f"{draw(st.sampled_from(['min', 'max', 'default']))}({inner()}, {inner()})"
        case 6:
            return f"shift({inner()}, {draw(SHIFTS)})"
        case 7:
            return f"where({draw(conditions(depth - 1))}, {inner()}, {inner()})"
    return draw(NUMBERS)


@st.composite
def conditions(draw: st.DrawFn, depth: int = 3) -> str:
    """Draw an expression that is true or false."""

    def inner() -> str:
        return draw(conditions(depth - 1))

    def number() -> str:
        return draw(values(depth - 1))

    match draw(st.integers(0, 9)) if depth else 0:
        case 1 | 2:
            return f"{number()} {draw(COMPARED)} {number()}"
        case 3:
            return f"{number()} {draw(COMPARED)} {number()} {draw(COMPARED)} {number()}"
        case 4:
            items = ", ".join(draw(st.lists(NUMBERS, max_size=3)))
            return f"{number()} {draw(st.sampled_from(['in', 'not in']))} [{items}]"
        case 5:
            return f"{draw(st.sampled_from(['isnan', 'absent', 'present']))}({number()} + 0)"
        case 6:
            return f"not ({inner()})"
        case 7 | 8:
            return f"({inner()}) {draw(st.sampled_from(['and', 'or']))} ({inner()})"
        case 9:
            return f"shift({inner()}, {draw(SHIFTS)})"
    return draw(CONDITIONS)


@SETTINGS
@given(text=conditions())
def test_random_conditions_choose_the_same_events(run: Run, text: str) -> None:
    try:
        wanted = [event.index for event in run.events if twin.selects(text, event)]
    except twin.TooLarge:
        assume(False)
    assert np.asarray(run.events.select(text).indices).tolist() == wanted


@SETTINGS
@given(text=values())
def test_random_values_are_the_same(run: Run, text: str) -> None:
    try:
        wanted = twin.values(text, run.events)
    except twin.TooLarge:
        assume(False)
    found = run.evaluate(text)
    for ours, absent, theirs in zip(found.data.tolist(), np.ma.getmaskarray(found).tolist(), wanted, strict=True):
        assert absent == (theirs is None)
        assert absent or ours == pytest.approx(float(theirs), rel=1e-14, abs=1e-300, nan_ok=True)


@SETTINGS
@given(text=conditions(), first=st.integers(0, 24), count=st.integers(0, 24), span=st.integers(1, 30))
def test_stretches_of_a_run_do_not_matter(run: Run, text: str, first: int, count: int, span: int) -> None:
    bound = Expression.parse(text).bind(RunColumns(run))
    whole = bound.select()
    bound._span = span
    stop = min(first + count, len(run.events))
    assert bound.select(first, stop).tolist() == [number for number in whole.tolist() if first <= number < stop]


WORDS = st.sampled_from(
    [
        *"number time EBeam EBeam. .ebeamCharge opal_1.data16 ( ) [ ] , . + - * / // % ** == != < >= in not".split(),
        *"1 0.5 1e3 0x 'a' ' \" ` `EBeam` det( det('EBeam') shift( code( 140 epics( scan( sum( min( where(".split(),
        *"and or default( present( absent( any( _ __class__ __import__ lambda : = & | ~ ! ; # \\ é 字 ٣ True".split(),
        *("\n", "\t", "\0", "99999999999999999999", "'2015-07-06'"),
    ]
)
TEXTS = st.lists(WORDS, max_size=12).map(" ".join) | st.lists(WORDS, max_size=12).map("".join) | st.text(max_size=30)


@settings(deadline=None, max_examples=400)
@given(text=TEXTS)
def test_random_text_never_crashes(run: Run, text: str) -> None:
    try:
        run.evaluate(text)
        run.events.select(text)
    except PsanaError as error:
        assert error.exit_code in (2, 3)
