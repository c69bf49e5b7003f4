"""Expressions: conversions, division, names; and the native stack machine against Python."""

import ast
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psanacli.errors import DataError, NotFoundError
from psanacli.xtc import bind, decode, named
from psanacli.xtc._layout import Program, gather, gather_ragged, move
from psanacli.xtc.dimensions import Scope, postfix
from psanacli.xtc.encode import encode
from psanacli.xtc.expressions import compile_columns, compile_value, convert, convert_array

INTEGERS = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8")
EVENT = decode(named("EvrData.FIFOEvent"), np.array([3, 2**32 - 1, 0], "<u4").tobytes())


@given(st.integers(-(2**70), 2**70), st.sampled_from(INTEGERS))
def test_integers_wrap_as_in_numpy(value, kind):
    expected = np.array(value % 2**64, np.uint64).astype("<" + kind)
    assert convert(value, kind) == int(expected)
    if -(2**63) <= value < 2**63:
        assert convert_array([value], kind).tolist() == [int(expected)]


def test_floats_are_rounded():
    assert convert(0.1, "f4") == float(np.float32(0.1)) != 0.1
    assert convert(1e300, "f4") == math.inf
    assert convert(0.1, "f8") == 0.1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("timestampHigh + timestampLow", 2**32 + 2),
        ("timestampHigh - timestampLow", 4 - 2**32),
        ("u32(timestampHigh - timestampLow)", 4),
        ("i32(timestampLow)", -1),
        ("timestampHigh / eventCode", math.inf),
        ("timestampHigh / 2", 1.5),
        ("eventCode / eventCode", math.nan),
        ("popcount(timestampLow)", 32),
        ("timestampHigh << 2 | 1 if timestampHigh > 2 and not eventCode else 0", 13),
        ("sum([k * timestampHigh for k in range(4)])", 18),
        ("min(timestampHigh, timestampLow)", 3),
        ("f32(timestampLow)", 2.0**32),
        ("timestampLow ^ 1 & 3", 2**32 - 2),
        ("any([timestampHigh == k for k in range(4)])", True),
    ],
)
def test_one_object_and_many(text, value):
    found = compile_value(text, EVENT.xtc_type)(EVENT)
    assert found == value or (math.isnan(found) and math.isnan(value))
    method = bind(EVENT.xtc_type)
    array = np.frombuffer(bytes(EVENT) * 3, method.dtype)
    function = compile_columns(text, EVENT.xtc_type)
    assert function is not None
    from psanacli.xtc.columns import ColumnValues, RecordColumns

    columns = np.broadcast_to(function(ColumnValues(RecordColumns(method, array))), 3)
    assert np.array_equal(columns.astype(float), [float(value)] * 3, equal_nan=True)


def test_only_what_the_catalogue_knows_can_be_named():
    for text in ("open('x')", "__import__('os')", "timestamp"):
        with pytest.raises(NameError):
            compile_value(text, EVENT.xtc_type)(EVENT)


def test_what_has_no_meaning_for_columns():
    assert compile_columns("view(data, 'u1', 0, 3)", named("Timepix.DataV1")) is None
    assert compile_columns("[e.eventCode for e in fifoEvents]", named("EvrData.DataV3")) is None


def test_a_configuration_that_is_missing():
    with pytest.raises(NotFoundError, match="needs a configuration object"):
        compile_value("config.width", named("Andor.FrameV1"))(EVENT_WITHOUT_CONFIG)


EVENT_WITHOUT_CONFIG = decode(named("OceanOptics.DataV3"), bytes(named("OceanOptics.DataV3").size))


# --- the native stack machine ---------------------------------------------------------------------------------------

FIELDS = {"timestampHigh": 0, "timestampLow": 4, "eventCode": 8}
leaves = st.one_of(st.integers(0, 300).map(str), st.sampled_from(sorted(FIELDS)))
expressions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "//", "&", "|", "^", ">>"]), inner).map(
            lambda t: f"({t[0]} {t[1]} {t[2]})"
        ),
        st.tuples(inner, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), inner, inner, inner).map(
            lambda t: f"({t[3]} if {t[0]} {t[1]} {t[2]} else {t[4]})"
        ),
        st.tuples(inner, inner).map(lambda t: f"({t[0]} if {t[0]} and {t[1]} or {t[1]} else 7)"),
    ),
    max_leaves=8,
)


@given(expressions, st.tuples(*[st.integers(0, 2**32 - 1) | st.integers(0, 40)] * 3))
@settings(max_examples=400, deadline=None)
def test_dimensions_are_what_python_says(text, words):
    """The machine counts in 64 bits; where it cannot it says so, and never gives another number."""
    data = np.array(words, "<u4").tobytes()
    try:
        expected = eval(text, {}, dict(zip(FIELDS, words, strict=True)))
        tree = Scope(EVENT.xtc_type, None).fold(ast.parse(text, mode="eval").body)
    except (ZeroDivisionError, ValueError):
        return
    code = postfix(tree)
    # one block: it begins after 12 bytes, alignment 1, one step of items of 0 bytes with one dimension
    program = Program([12, 1, 1, 0, 0, 1, len(code), *code], 0)
    found = program.place(data, 0, 12)
    if found[0] < 0:
        assert found[2] == -1
        assert not 0 <= expected < 2**31 or intermediate_is_not_simple(text, words)
    else:
        assert found == (12, 12, int(expected))


def intermediate_is_not_simple(text, words):
    """Whether some part of the expression is negative or large where the machine refuses, or divides by zero."""
    scope = dict(zip(FIELDS, words, strict=True))
    for node in ast.walk(ast.parse(text, mode="eval")):
        if isinstance(node, ast.BinOp):
            try:
                parts = [eval(ast.unparse(part), {}, scope) for part in (node, node.left, node.right)]
            except (ZeroDivisionError, ValueError, OverflowError):
                return True
            if min(parts) < 0 or max(parts) >= 2**63:
                return True
    return False


def test_pieces_are_gathered_within_bounds_only():
    data = np.arange(20, dtype=np.uint8)
    out = np.zeros(6, np.uint8)
    gather(data, np.array([1, 10], np.int64), 3, out)
    assert out.tolist() == [1, 2, 3, 10, 11, 12]
    gather_ragged(data, np.array([5, 0, 19], np.int64), np.array([2, 0, 1], np.int64), out[:3])
    assert out[:3].tolist() == [5, 6, 19]
    for places in ([-1, 0], [0, 18]):
        with pytest.raises(ValueError, match="outside of the buffer"):
            gather(data, np.array(places, np.int64), 3, out)
    with pytest.raises(ValueError, match="another size"):
        gather(data, np.array([0], np.int64), 3, out)
    with pytest.raises(ValueError, match="outside of the buffer"):
        gather_ragged(data, np.array([19], np.int64), np.array([2], np.int64), out[:2])
    with pytest.raises(ValueError, match="another size"):
        gather_ragged(data, np.array([1], np.int64), np.array([2], np.int64), out[:3])


def test_dimensions_that_only_a_configuration_knows():
    config = decode(named("Andor.ConfigV1"), encode("Andor.ConfigV1", {"width": 9, "height": 5, "binX": 2, "binY": 2}))
    layout = bind(named("Andor.FrameV1"), config)
    assert layout.size == layout.dtype.itemsize == 44
    assert layout.dtype["data"].shape == (3, 5)
    assert bind(named("Andor.FrameV1"), config) is layout
    absurd = decode(
        named("Andor.ConfigV1"), encode("Andor.ConfigV1", {"width": 2**31, "height": 2**31, "binX": 1, "binY": 1})
    )
    with pytest.raises(DataError, match="cannot have the shape"):
        bind(named("Andor.FrameV1"), absurd)


def test_stretches_of_objects_are_moved_within_bounds_only():
    data = bytes(range(40))
    out = np.full((3, 12), 255, np.uint8)
    starts, moves = np.array([0, 17, 29], np.int64), np.array([[0, 0, 4], [3, 4, 8]], np.int64)
    move(data, starts, moves, 12, out.reshape(-1))
    assert [row.tolist() for row in out] == [[*range(s, s + 4), *range(s + 3, s + 11)] for s in starts.tolist()]
    gap = np.full(12, 255, np.uint8)
    move(data, starts[:1], np.array([[1, 5, 2]], np.int64), 12, gap)
    assert gap.tolist() == [255] * 5 + [1, 2] + [255] * 5
    for wrong in ([[0, 5, 8]], [[-1, 0, 2]], [[0, -1, 2]], [[0, 0, -1]], [[39, 0, 2]], [[1 << 62, 0, 8]]):
        with pytest.raises(ValueError):
            move(data, starts, np.array(wrong, np.int64), 12, out.reshape(-1))
    for place in (-1, 30, 1 << 62):
        with pytest.raises(ValueError):
            move(data, np.array([place], np.int64), moves, 12, out[0])
    with pytest.raises(ValueError):
        move(data, starts, moves, 12, out.reshape(-1)[:-1])
