"""The language of selections on a run in which everything is known, and what it says of what it cannot understand."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
from run.runs import EVENTS, write_run

from psanacli.errors import NotFoundError, PsanaError, UsageError
from psanacli.run import Expression, ExpressionError, Run, Table, open_run
from psanacli.run.expressions import Whole


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    directory = tmp_path_factory.mktemp("expressions")
    write_run(directory)
    with open_run(directory) as run:
        yield run


ALL = [*range(EVENTS)]
#: Event 4 has no beam data, that of event 5 is damaged, event 7 has no camera frame; see `run.runs`.
SELECTED = {
    "True": ALL,
    "number < 3": [0, 1, 2],
    "3 < number <= 5": [4, 5],
    "0 <= number < 9 != number": [*range(9)],
    "code(140) and not code(162)": [1, 2, 4, 5, 7, 8, 10, 11],
    "code(162)": [0, 3, 6, 9],
    "code(77)": [],
    "step == 1": [4, 5, 6, 7],
    "step in [0, 2] and number % 2 == 1": [1, 3, 9, 11],
    "step not in (0, 2)": [4, 5, 6, 7],
    "number in [1, 2, 3, 4, 5, 6, 7, 8, 9.5, 10]": [1, 2, 3, 4, 5, 6, 7, 8, 10],
    "run == 1": ALL,
    # values of detectors; what is absent satisfies nothing, nor the contrary
    "EBeam.ebeamPhotonEnergy > 9506": [7, 8, 9, 10, 11],
    "EBeam.ebeamPhotonEnergy > 9.506e3": [7, 8, 9, 10, 11],
    "EBeam.ebeamPhotonEnergy != 9503": [0, 1, 2, 6, 7, 8, 9, 10, 11],
    "not EBeam.ebeamPhotonEnergy > 9503": [0, 1, 2, 3],
    "not (EBeam.ebeamPhotonEnergy > 9503)": [0, 1, 2, 3],
    "EBeam.ebeamPhotonEnergy not in [9500, 9501]": [2, 3, 6, 7, 8, 9, 10, 11],
    "EBeam.ebeamCharge > 1 or number == 4": [4, 6, 7, 8, 9, 10, 11],
    "EBeam.ebeamCharge > 1 or number != 4": [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11],
    "not (EBeam.ebeamCharge > 1 and number == 0)": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
    "not (EBeam.ebeamCharge > 1 and number == 4)": [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11],
    "ebeam.EBEAMCHARGE == 0.75": [3],
    "BldInfo.x == 1 or True": None,  # no detector is called so
    "det('BldInfo(EBeam)').ebeamCharge == 0.75": [3],
    "`EBeam/Bld.BldDataEBeamV7`.ebeamCharge == 0.75": [3],
    "`ipm3/Lusi.IpmFexV1`.sum == 7": [7],
    "det('XppSb2Ipm.1:Ipimb.0/IpmFex').sum == 7": [7],
    "ipm3.sum == 7": [7],
    "absent(EBeam.ebeamCharge)": [4, 5],
    "missing(EBeam.ebeamCharge + number)": [4, 5],
    "present(EBeam.ebeamCharge) and number > 3": [6, 7, 8, 9, 10, 11],
    "absent(EBeam)": [4, 5],
    "absent('EBeam')": [4, 5],
    "not present('Opal-1')": [7],
    "not present(`XppEndstation.0:Opal1000.1`)": [7],
    "present(opal_1.width) and number > 5": [6, 8, 9, 10, 11],
    "damaged('EBeam')": [5],
    "damaged(EBeam)": [5],
    "damaged(opal_1)": [],
    "damaged()": [5],
    "why(EBeam) == ''": [0, 1, 2, 3, 6, 7, 8, 9, 10, 11],
    "why(EBeam) == 'Bld.BldDataEBeamV7 is damaged: OutOfSynch'": [5],
    "default(EBeam.ebeamCharge, -1) < 0": [4, 5],
    "default(EBeam.ebeamCharge, number) == number": [0, 4, 5],
    "where(code(162), 1, EBeam.ebeamCharge) == 1": [0, 3, 6, 9],
    "absent(where(number < 5, 1, EBeam.ebeamCharge))": [5],
    # elements of arrays
    "ipm3.channel[0] == 5": [5],
    "ipm3.channel[-1] == 3": ALL,
    "sum(ipm3.channel) == 6": [0],
    "sum(ipm3.channel[1:3]) == 3": ALL,
    "max(ipm3.channel) > 10": [11],
    "min(ipm3.channel, 2)[0] == 1": [1],
    "any(ipm3.channel == 9)": [9],
    "all(ipm3.channel > 0)": [*range(1, EVENTS)],
    "count(ipm3.channel >= 2) == 3": [*range(2, EVENTS)],
    "mean(opal_1.data16) > 500": [5, 6, 8, 9, 10, 11],
    "opal_1.data16[0, 0] in [100, 300]": [1, 3],
    "median(opal_1.data16[0]) == 2.5": [0],
    "sum(opal_1.data16 - 100 * number) == 276": [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11],
    "std(opal_1.data16[1:3, ::2]) > 0": [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11],
    "any(opal_1.data16 == number) and number == 0": [0],
    # EPICS, scans
    "epics('sample_x') > 0.5": [3, 4, 5, 6, 7, 8, 9, 10, 11],
    "epics('XPP:USR:MMN:01.RBV') == -1": [0],
    "epics('xpp:array')[1] == 2": ALL,
    "scan('XPP:LAS:DELAY') >= 1": [4, 5, 6, 7, 8, 9, 10, 11],
    "scan('sample') == 'no 1'": [4, 5, 6, 7],
    "scan('sample') in ['no 1', 'no 2']": [4, 5, 6, 7, 8, 9, 10, 11],
    # times; event 4 is the first of the second step
    "time >= '2015-07-06 16:26:41'": [8, 9, 10, 11],
    "time < '2015-07-06 09:26:40.45-07:00'": [0, 1, 2, 3],
    "time == '2015-07-06T16:26:40.833333332Z'": [4],
    "time - '2015-07-06 16:26:40' > 1": [8, 9, 10, 11],
    "time + 0.5 > '2015-07-06T16:26:41.3'": [4, 5, 6, 7, 8, 9, 10, 11],
    "time - shift(time, -1) > 0.1": [4, 8],
    "seconds == 1436200000 and nanoseconds > 840_000_000": [5, 6, 7],
    "fiducials - shift(fiducials, 1) == -3": [*range(EVENTS - 1)],
    # other events
    "shift(number, -1) == 3": [4],
    "shift(number, 2) == 3": [1],
    "shift(number, 100) == 3": [],
    "shift(code(162), -1)": [1, 4, 7, 10],
    "shift(shift(number, -3), 2) == number - 1": [*range(1, EVENTS - 2)],
    "absent(shift(1 + number, -1))": [0],
    "absent(shift(EBeam.ebeamCharge, 1))": [3, 4, 11],
    # numbers
    "number ** 2 == 49": [7],
    "-number + 3 == 0": [3],
    "2 ** -1 == 0.5": ALL,
    "number // 4 == 2": [8, 9, 10, 11],
    "-number % 4 == 1": [3, 7, 11],
    "abs(number - 6) <= 1": [5, 6, 7],
    "max(number, 3) == 3": [0, 1, 2, 3],
    "min(number, 8, 2 * number) == 8": [8, 9, 10, 11],
    "sqrt(number) == 3": [9],
    "isnan(sqrt(number - 5))": [0, 1, 2, 3, 4],
    "isnan(number / 0)": [0],
    "number / 0 > 5": [*range(1, EVENTS)],
    "isinf(number // 0)": [*range(1, EVENTS)],
    "isnan(number % 0)": ALL,
    "isfinite(1 / (number - 3))": [0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11],
    "round(number / 2) == 2": [3, 4, 5],
    "floor(number / 2) == 2 and ceil(number / 2) == 3": [5],
    "hypot(number, 4) == 5 and atan2(0, number) == 0": [3],
    "bits(number, 0x6) == 2": [2, 3, 10, 11],
    "log10(10 * number) == 2 and exp(log(number)) > 9": [10],
    "sin(0) + cos(0) + tan(0) == 1": ALL,
    "code(140) + code(162) == 2": [0, 3, 6, 9],
    "code(162) == True": [0, 3, 6, 9],
    "fiducials * 100_000_000_000_000 > fiducials": ALL,
}


@pytest.mark.parametrize("text", SELECTED)
def test_which_events_an_expression_selects(run: Run, text: str) -> None:
    wanted = SELECTED[text]
    if wanted is None:
        with pytest.raises(NotFoundError):
            run.events.select(text)
    else:
        assert np.asarray(run.events.select(text).indices).tolist() == wanted


def test_selected_events_are_events_and_can_be_selected_again(run: Run) -> None:
    some = run.events.select("code(162)")
    assert [event.index for event in some] == [0, 3, 6, 9]
    assert [event.index for event in some.select("step == 0")] == [0, 3]
    assert [event.index for event in run.events[::-1].select("code(162)")] == [9, 6, 3, 0]
    assert [event.index for event in run.events[[5, 3, 3, 8]].select("number != 8")] == [5, 3, 3]
    assert len(run.events[:0].select("code(140)")) == 0
    # shift goes over the events of the run, not over the chosen ones
    assert [event.index for event in some.select("shift(number, 1) == 4")] == [3]


def test_values_of_an_expression_as_an_array(run: Run) -> None:
    energy = run.evaluate("EBeam.ebeamPhotonEnergy - 9500")
    assert np.ma.getmaskarray(energy).nonzero()[0].tolist() == [4, 5]
    assert energy.compressed().tolist() == [0, 1, 2, 3, 6, 7, 8, 9, 10, 11]
    assert run.evaluate("3").tolist() == [3] * EVENTS
    assert run.evaluate("opal_1.data16").shape == (EVENTS, 4, 6)
    assert run.evaluate("time").dtype == "datetime64[ns]"
    assert (run.evaluate("time").data == run.events.times).all()
    assert run.evaluate("scan('sample')").tolist()[4] == "no 1"
    assert run.evaluate("time - shift(time, -1)").mask.tolist() == [True] + [False] * (EVENTS - 1)
    with pytest.raises(UsageError, match="GB"):
        run.evaluate("opal_1.data16", max_bytes=100)


#: Expressions that are wrong, with words of the message, and the part that the carets point at.
WRONG = {
    "": ("empty", None),
    "number = 3": ("==", "="),
    "number == 3 &": ("and", "&"),
    "(number == 3": ("')'", None),
    "number ==": ("should follow", None),
    "number == 3)": ("operator or the end", ")"),
    "number in 3": ("list", "3"),
    "number in [1, 2": ("item of the list", None),
    "number in [1] == 3": ("follow a list", "number in [1]"),
    "'abc": ("not closed", "'abc"),
    "number == 3 $": ("operator", "$"),
    "2x == 3": ("neither a number nor a name", "2x"),
    "1e999 > 3": ("too large", "1e999"),
    "1.2.3 > 3": ("no number", "1.2.3"),
    "foo(3)": ("no function 'foo'", "foo(3)"),
    "abs(1, 2) > 3": ("write abs(x)", "abs(1, 2)"),
    "shift(number)": ("number of events", "shift(number)"),
    "shift(number, 0.5) > 1": ("whole number", "shift(number, 0.5)"),
    "shift(number, number) > 1": ("whole number", "shift(number, number)"),
    "code(EBeam)": ("whole number", "code(EBeam)"),
    "epics(sample_x) > 1": ("in quotes", "epics(sample_x)"),
    "epics('sampel_x') > 1": ("sample_x", "'sampel_x'"),
    "scan('XPP:LAS:DELY') > 1": ("XPP:LAS:DELAY", "'XPP:LAS:DELY'"),
    "EBaem.ebeamCharge > 1": ("EBeam", "EBaem.ebeamCharge"),
    "number > 1 and EBeam.ebeamCharg > 1": ("ebeamCharge", "EBeam.ebeamCharg"),
    "EBeam > 1": ("name one of its fields", "EBeam"),
    "opal_2.data16[0] > 1": ("opal_1", "opal_2.data16"),
    "nubmer > 1": ("number", "nubmer"),
    "present('Epix100a')": ("no detector 'Epix100a'", "'Epix100a'"),
    "damaged(opall_1)": ("opal_1", "opall_1"),
    "number": ("no condition", "number"),
    "number and step == 1": ("no condition", "number"),
    "step == 1 or 2": ("no condition", "2"),
    "not number": ("no condition", "number"),
    "opal_1.data16 > 3": ("any(...)", "opal_1.data16 > 3"),
    "sum(number) > 3": ("elements of an array", "sum(number)"),
    "any(ipm3.channel)": ("no condition", "any(ipm3.channel)"),
    "ipm3.channel[4] > 1": ("no element 4", "ipm3.channel[4]"),
    "number[0] > 1": ("one value an event", "number[0]"),
    "ipm3.channel + opal_1.data16 > 1": ("do not go together", "ipm3.channel + opal_1.data16"),
    "time > 3": ("cannot be compared", "time > 3"),
    "time * 2 > 3": ("means nothing", "time * 2"),
    "time > 'noon'": ("is no time", "time > 'noon'"),
    "time > '2015-02-30'": ("no day", "time > '2015-02-30'"),
    "scan('sample') < 'b'": ("no order", "scan('sample') < 'b'"),
    "scan('sample') + 1 > 3": ("cannot be calculated with", "scan('sample') + 1"),
    "number == 'a'": ("cannot be compared", "number == 'a'"),
    "bits(0.5, 1) > 0": ("whole numbers", "bits(0.5, 1)"),
    "where(code(140), 1, time) > 3": ("of one kind", "where(code(140), 1, time)"),
    "[1, 2]": ("value was expected", "["),
    "number.real > 1": ("no detector 'number'", "number.real"),
    "EBeam.__class__.__name__ == 'a'": ("no field", "EBeam.__class__.__name__"),
    "__import__('os').system('true')": ("operator or the end", "."),
    "eval('1')": ("no function", "eval('1')"),
    "lambda: 1": (":", ":"),
    "det() > 3": ("one name in quotes", "det()"),
    "(number)(3)": ("operator or the end", "("),
    "number if True else 3": ("operator or the end", "if"),
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_pointed_at(run: Run, text: str) -> None:
    words, part = WRONG[text]
    with pytest.raises(PsanaError) as caught:
        run.events.select(text)
    error = caught.value
    assert error.exit_code in (2, 3)
    assert words in str(error)
    shown, carets, *_ = error.hint.splitlines()
    assert shown == (text or "")
    assert set(carets) <= {" ", "^"} and "^" in carets
    if part is not None:
        start, stop = carets.index("^"), carets.rindex("^") + 1
        assert text[start:stop] == part


def test_names_that_are_missed_end_with_3_and_all_else_with_2(run: Run) -> None:
    with pytest.raises(NotFoundError) as missed:
        run.events.select("EBaem.x > 1")
    assert missed.value.exit_code == 3
    with pytest.raises(ExpressionError) as wrong:
        run.events.select("number = 1")
    assert wrong.value.exit_code == 2


def test_a_long_expression_shows_the_piece_that_is_wrong() -> None:
    text = " or ".join(f"number == {i}" for i in range(100)) + " or number = 5"
    with pytest.raises(ExpressionError) as caught:
        Expression.parse(text)
    shown, carets, _ = caught.value.hint.splitlines()
    assert len(shown) < 110 and shown[carets.index("^")] == "="


# --- tables, masks, and numbers at their limits ----------------------------------------------------------------------


def selected(text: str, **columns: object) -> list[int]:
    found = Expression.parse(text).bind(Table(columns)).select()  # type: ignore[arg-type]
    return found.tolist()


def test_absent_is_neither_true_nor_false() -> None:
    values = np.ma.array([1.0, 2.0, 3.0], mask=[False, True, False])
    truths = np.ma.array([True, True, False], mask=[False, True, False])
    assert selected("x > 0", x=values) == [0, 2]
    assert selected("not x > 0", x=values) == []
    assert selected("x != x", x=values) == []
    assert selected("t or True", t=truths) == [0, 1, 2]
    assert selected("not (t and False)", t=truths) == [0, 1, 2]
    assert selected("t or not t", t=truths) == [0, 2]
    assert selected("absent(t and x > 0)", t=truths, x=values) == [1]
    assert selected("absent(t and False)", t=truths) == []


def test_nan_compares_as_ieee_754_says() -> None:
    x = np.array([1.0, np.nan, np.inf])
    assert selected("x == x", x=x) == [0, 2]
    assert selected("x != x", x=x) == [1]
    assert selected("not x > 1", x=x) == [0, 1]
    assert selected("x > 1e300", x=x) == [2]
    assert selected("isnan(min(x, 5))", x=x) == [1]


def test_whole_numbers_do_not_wrap_around() -> None:
    small = np.array([0, 200, 255], np.uint8)
    assert selected("x - 1 < 0", x=small) == [0]
    assert selected("x + 100 == 355", x=small) == [2]
    assert selected("x * x > 60000", x=small) == [2]
    assert selected("-x == -200", x=small) == [1]
    assert selected("x == 300", x=small) == [] and selected("x > -1", x=small) == [0, 1, 2]
    assert selected("abs(x) == 128", x=np.array([-128, 5], np.int8)) == [0]
    large = np.array([1 << 62, 3, -(1 << 62)])
    assert selected("x * 4 > 1e19", x=large, y=large) == [0]
    assert selected("x + x + x > 1e19", x=large) == [0]
    assert selected("x - y > 1e19", x=large, y=large[::-1] * 1) == []
    unsigned = np.array([(1 << 64) - 1, 5], np.uint64)
    assert selected("x > 1e19", x=unsigned) == [0]
    assert selected("x - 6 < 0", x=unsigned) == [1]
    assert selected("x == -1", x=unsigned) == []
    assert selected("x ** 100 > 1e300", x=np.array([2000, 1])) == [0]
    signed = np.array([-128, -7, 7, 127], np.int8)
    assert selected("x % 3 == 2", x=signed) == [1] and selected("x % 3 == 1", x=signed) == [0, 2, 3]
    assert selected("x % 127 - 200 < -199", x=signed) == [3] and selected("x % 1000 == 872", x=signed) == [0]


def test_small_floating_point_numbers_compare_exactly() -> None:
    single = np.array([0.1, 0.5, 16777216.0], np.float32)
    assert selected("x > 0.1", x=single) == [0, 1, 2], "the single nearest to 0.1 is above it"
    assert selected("x == 0.1", x=single) == []
    assert selected("x == 0.5", x=single) == [1]
    assert selected("x == 16777217", x=single) == []
    assert selected("x < 1e300", x=single) == [0, 1, 2]
    assert selected("x + 1 == 16777217", x=single) == [2]


def test_an_array_of_another_length_from_event_to_event(run: Run) -> None:
    class Ragged(Table):
        def column(self, parts: tuple[str, ...]) -> object:  # type: ignore[override]
            return Some()

    class Some:
        weight = 8

        def read(self, first: int, stop: int) -> object:
            from psanacli.run.columns import ShapeError

            if len({number % 3 for number in range(first, stop)}) > 1:
                raise ShapeError("they differ")
            return Whole(np.ones((stop, first % 3))).read(first, stop)

    bound = Expression.parse("sum(x) == 2").bind(Ragged({"n": np.arange(20)}))
    assert bound.select().tolist() == [2, 5, 8, 11, 14, 17]


def test_blocks_do_not_show() -> None:
    n = 100_000
    table = Table({"x": np.arange(n), "y": np.ma.array(np.arange(n) % 7, mask=np.arange(n) % 11 == 0)})
    bound = Expression.parse("shift(x, -1) % 1000 == 0 and y > 2").bind(table)
    x = np.arange(n)
    wanted = np.flatnonzero(((x - 1) % 1000 == 0) & (x > 0) & (x % 7 > 2) & (x % 11 != 0))
    assert bound.select().tolist() == wanted.tolist()
    assert bound.select(5000, 70_000).tolist() == [i for i in wanted.tolist() if 5000 <= i < 70_000]
    some = np.array([99_001, 5, 2001, 2001, 70_001, 3])
    assert bound.among(some).tolist() == [i for i in some.tolist() if i in wanted]
    assert Expression.parse("2 * x").bind(table).at(some).tolist() == (2 * some).tolist()


# --- safety ----------------------------------------------------------------------------------------------------------

HARMFUL = [
    "(" * 10_000 + "1" + ")" * 10_000,
    "(" * 41 + "x > 1" + ")" * 41,
    "not " * 4_000 + "x > 1",
    "-" * 15_000 + "x > 1",
    "x" + " + x" * 4_000 + " > 1",
    "2 ** " * 3_000 + "2 > x",
    "x" * 19_000 + " > 1",
    "x > " + "9" * 15_000,
    "x > 0x" + "f" * 15_000,
    "x" + "[0]" * 6_000,
    "a" * 30_000,
    "x in [" + "1," * 9_000 + "]",
    "`" + "a" * 15_000 + "` > 1",
    "\0 > 1",
    "x > 1 \ud800",
    "x." * 9_000 + "x",
    "'" * 9_999,
    "x < " * 4_000 + "x",
    "x and " * 3_000 + "x",
]


@pytest.mark.parametrize("text", HARMFUL, ids=lambda text: f"{text[:12]!r}")
def test_harmful_texts_end_soon_with_a_clear_error(text: str) -> None:
    begin = time.process_time()
    try:
        Expression.parse(text).bind(Table({"x": np.arange(5)})).select()
    except PsanaError as error:
        assert len(str(error)) < 40_000
    assert time.process_time() - begin < 5


def test_huge_powers_are_calculated_in_double_precision() -> None:
    assert selected("x ** x ** x ** 9 ** 9 ** 9 > 1", x=np.array([9, 1])) == [0]
    assert selected("10 ** 400 > 1e308", x=np.array([9])) == [0]
