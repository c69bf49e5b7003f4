"""Arrays in text: exact both ways, and any bytes at all are an array or one clear error."""

from __future__ import annotations

import locale
import math
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psanacli.calib import format_text, parse_text
from psanacli.errors import ConstantsError


def read(text: str | bytes, **options: object) -> np.ndarray:
    return parse_text(text.encode() if isinstance(text, str) else text, "x.data", **options).values


@pytest.mark.parametrize("dialect", ["python", "c++"])
@pytest.mark.parametrize("shape", [(7,), (25,), (10,), (4, 6), (1, 6), (2, 3, 4), (2, 3, 2, 5), (3, 1, 1), (1, 1, 5)])
@pytest.mark.parametrize("dtype", ["f4", "f8", "u2", "i4", "u1"])
def test_what_is_written_is_read(dialect: str, shape: tuple[int, ...], dtype: str) -> None:
    array = np.arange(math.prod(shape)).reshape(shape).astype(dtype)
    found = parse_text(format_text(array, dialect=dialect, comments=["one", "two\nlines"]), "x")
    said_double = dialect == "c++" and dtype == "f4"  # "float" means a double to the original in Python
    assert found.dtype == ("f8" if said_double else array.dtype)
    assert found.comments[:3] == ("one", "two", "lines")
    expected = array if array.ndim != 2 or shape[0] > 1 else array[0]  # one row in the original gives one dimension
    assert found.values.dtype == found.dtype
    assert np.array_equal(found.values, expected)
    assert found.foreign == (dialect == "c++" and dtype in ("u2", "i4", "u1"))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.floats(width=32), min_size=1, max_size=40))
def test_floats_are_given_back_bit_for_bit(values: list[float]) -> None:
    array = np.array([values, values], "f4")
    found = read(format_text(array))
    assert np.array_equal(found.reshape(array.shape), array, equal_nan=True)
    assert np.array_equal(np.signbit(found.reshape(array.shape)[~np.isnan(array)]), np.signbit(array[~np.isnan(array)]))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.floats(), min_size=1, max_size=40))
def test_doubles_are_given_back_bit_for_bit(values: list[float]) -> None:
    array = np.array([values, values], "f8")
    assert np.array_equal(read(format_text(array)).reshape(array.shape), array, equal_nan=True)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.from_regex(r"[+-]?([0-9]{1,30}(\.[0-9]{0,30})?|\.[0-9]{1,30})([eE][+-]?[0-9]{1,4})?", fullmatch=True),
        st.floats(allow_nan=False).map(repr),
        st.integers().map(str),
    )
)
def test_every_number_is_the_nearest_double(word: str) -> None:
    """As Python's own reading, which is exact."""
    word = "".join(c for c in word if c.isascii())
    found = read(f"{word} 1", dtype="f8")[0]
    assert struct.pack("<d", found) == struct.pack("<d", float(word))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=20))
def test_whole_numbers_keep_all_64_bits(values: list[int]) -> None:
    """The original reads them as doubles and loses the last bits of large ones."""
    text = " ".join(map(str, values))
    assert read(text, dtype="u8").tolist() == values
    assert read(format_text(np.array(values, "u8"))).tolist() == values


def test_spellings_of_whole_numbers() -> None:
    assert read("1.0 2. 3e2 40e-1 -0 1.50e1", dtype="u2").tolist() == [1, 2, 300, 4, 0, 15]
    assert read("-128 127", dtype="i1").tolist() == [-128, 127]
    assert read("1.00000000000000000000000 1", dtype="i8").tolist() == [1, 1]


@pytest.mark.parametrize(
    ("text", "dtype", "message"),
    [
        ("1 2\n3 -1\n", "u2", r"x\.data: line 2, number 2: -1 does not fit into uint16"),
        ("1 2\n3 70000\n", "u2", r"x\.data: 70000 does not fit into uint16"),
        ("1 2.5\n", "u2", r"x\.data: line 1, number 2: 2\.5 is no whole number, but the values are uint16"),
        ("nan 2\n", "u2", r"line 1, number 1: nan is no whole number"),
        ("1 18446744073709551616\n", "u8", r"number 2: 18446744073709551616 does not fit into uint64"),
        ("1.00000000000000000000001 1", "i8", "is no whole number"),
        ("1 0x10\n", "f4", r"line 1, number 2: '0x10' is no number"),
        ("1 1_000\n", "f4", "'1_000' is no number"),
        ("1 2e\n", "f4", "'2e' is no number"),
        ("1 -\n", "f4", "'-' is no number"),
        ("1 .\n", "f4", r"'\.' is no number"),
        ("1 2\0\n", "f4", "is no number"),
        ("1 nano\n", "f4", "'nano' is no number"),
        ("1 2\n3\n", "f4", r"line 2 has 1 numbers, the lines before have 2"),
        ("# DTYPE foo\n1\n", None, "DTYPE 'foo' is no type of numbers"),
        ("# DTYPE flaot\n1\n", None, "did you mean float"),
        ("# NDIM two\n1\n", None, "NDIM 'two' is no number of elements"),
        ("# NDIM 1\n1\n", None, "NDIM is 1, but there are 0 lines DIM"),
        ("# NDIM 3\n# DIM:0 99999999\n# DIM:1 99999999\n# DIM:2 99999999\n1\n", None, "there are 1"),
        ("#\n" * 5000, None, "more than 4096 lines of comments"),
    ],
)
def test_errors_name_line_and_number(text: str, dtype: str | None, message: str) -> None:
    with pytest.raises(ConstantsError, match=message):
        read(text, dtype=dtype)


def test_wrapping_is_there_by_name() -> None:
    text = "# DTYPE uint16\n1.7 -2\n3 70000\n"
    assert read(text, cast="wrap").tolist() == [[1, 65534], [3, 4464]]
    with pytest.raises(ConstantsError):
        read(text)


COMMA = r"""
import locale, sys
import numpy as np
from psanacli.calib import format_text, parse_text

locale.setlocale(locale.LC_NUMERIC, sys.argv[1])
assert locale.localeconv()["decimal_point"] == ","
for text in ("1.2345678901234567890123", "2.5", "1.7976931348623157e308", "4.9e-324", "123456789.123456789e-40"):
    assert parse_text(text.encode(), "x.data", "f8").values.tolist() == [float(text)]
written = format_text(np.array([[1e-30, 1 / 3]]))
assert written.endswith(b"\n1.0000000000000001e-30 0.33333333333333331\n")
"""


def test_the_locale_plays_no_part(tmp_path: Path) -> None:
    """In a locale with a decimal comma, made here as the C library keeps them, so that none has to be installed."""
    items = (b",\0", b".\0", b"\x03\0", struct.pack("=I", ord(",")), struct.pack("=I", ord(".")), b"UTF-8\0")
    offsets, body = [], b""
    for item in items:
        offsets.append(8 + 4 * len(items) + len(body))
        body += item.ljust(-len(item) // 4 * -4, b"\0")
    header = struct.pack(f"=II{len(items)}I", 0x20031115 ^ locale.LC_NUMERIC, len(items), *offsets)
    (tmp_path / "comma").mkdir()
    (tmp_path / "comma" / "LC_NUMERIC").write_bytes(header + body)
    words = [sys.executable, "-c", COMMA, "comma"]
    subprocess.run(words, env={**os.environ, "LOCPATH": str(tmp_path), "LC_ALL": "C"}, check=True, timeout=120)


@settings(max_examples=500, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=300),
        st.text("0123456789.eE+-# \t\r\n\0nafiNDIMTYPE:x", max_size=300).map(str.encode),
        st.lists(
            st.sampled_from([b"# DTYPE ", b"int32", b"# NDIM 3", b"# DIM:0 2", b"1 2", b"\n", b"\r", b"9e99", b"#"])
        ).map(b"".join),
    ),
    st.sampled_from([None, "f4", "f8", "u1", "u2", "u8"]),
    st.sampled_from(["exact", "wrap"]),
)
def test_any_bytes_are_an_array_or_one_clear_error(data: bytes, dtype: str | None, cast: str) -> None:
    try:
        found = parse_text(data, "x.data", dtype, cast)
    except ConstantsError as error:
        assert error.message.startswith("x.data: ")
        assert error.exit_code == 6
    else:
        assert found.values.size <= len(data)
        if dtype is not None:
            assert found.values.dtype == np.dtype(dtype)


def test_reading_agrees_with_numpy() -> None:
    pick = np.random.default_rng(3)
    for fmt in ("%.1f", "%8.2f", "%g", "%.9e", "%d"):
        array = pick.normal(1000, 300, (50, 40))
        text = "\n".join(" ".join(fmt % value for value in row) for row in array.tolist())
        wanted = np.loadtxt(text.splitlines(), dtype="f8").astype("f4")
        assert np.array_equal(read(text), wanted)
