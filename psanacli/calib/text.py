"""Text files of arrays, in the dialects of both writers of the facility, read and written.

Lines that begin with ``#`` are comments, all else is numbers with blanks between; a comment whose first word is
``DTYPE``, ``NDIM`` or ``DIM:<i>`` says how they are meant.  A text row is a row of the last dimension.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from psanacli.calib import _text
from psanacli.errors import ConstantsError, did_you_mean

Array = NDArray[Any]
Dialect = Literal["python", "c++"]
Cast = Literal["exact", "wrap"]

_NUMPY_NAMES = "float16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64 float double single int short"
_DTYPES: dict[str, np.dtype[Any]] = {
    **{name: np.dtype(name) for name in _NUMPY_NAMES.split()},
    **{f"{name}_t": np.dtype(name) for name in _NUMPY_NAMES.split() if "int" in name and name != "int"},
    **{
        spelled: np.dtype(code)
        for code in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")
        for spelled in (code, f"<{code}")
    },
    "unsigned": np.dtype("u4"),
    "uint": np.dtype("u8"),
    "ushort": np.dtype("u2"),
}
_PSANA1_READS = frozenset(name for name in _DTYPES if not name.endswith("_t") and name != "unsigned")
_CPP_NAMES = {"f4": "float", "f8": "double", "i2": "int16_t", "i4": "int32_t", "u1": "uint8_t", "u2": "uint16_t"}
_CPP_NAMES["u4"] = "uint32_t"
_MOST_DIMENSIONS = 8
_ROWS_AT_ONCE = 1 << 18  # numbers


@dataclass(frozen=True, eq=False)
class TextArray:
    """What a text file says.

    Attributes
    ----------
    values : ndarray
        In the shape that the file gives them.
    comments : tuple of str
        Its comments, without ``#``.
    dtype : numpy dtype
        What it says of itself (float32 when it says nothing).
    foreign : bool
        Whether its ``DTYPE`` is one that psana-1 in Python cannot read.
    """

    values: Array
    comments: tuple[str, ...]
    dtype: np.dtype[Any]
    foreign: bool = False


def parse_text(text: bytes, where: str, dtype: DTypeLike | None = None, cast: Cast = "exact") -> TextArray:
    """Read an array from text.

    Parameters
    ----------
    text : bytes
        The file.
    where : str
        Its name, for messages.
    dtype : dtype, optional
        Of the values; default is what the file says of itself.
    cast : {"exact", "wrap"}
        What to do with numbers that are not of a whole-numbered dtype: "exact" refuses them, "wrap" cuts fractions and
        wraps what is too large, as psana-1 does.

    Returns
    -------
    TextArray

    Raises
    ------
    ConstantsError
        The text is no array, with line and number in it.
    """
    stated, foreign, dims = _metadata_of(text, where)
    wanted = np.dtype(dtype) if dtype is not None else stated
    whole = wanted.kind in "iu" or stated.kind in "iu"
    if cast == "wrap" or not whole:
        kind = "f4" if wanted == np.float32 and not whole else "f8"
    else:
        kind = "u8" if wanted.kind == "u" or stated.kind == "u" else "i8"
    numbers, comments, found = _text.read_numbers(text, kind)
    _fail_if_wrong(found, text, where, wanted if wanted.kind == "u" or stated.kind == "f" else stated)
    values = _shaped(numbers, found, dims, where)
    del numbers
    for step in (stated, wanted) if stated.kind in "iu" else (wanted,):
        values = _cast(values, step, cast, where)
    return TextArray(values, tuple(line[1:].decode("latin-1").strip() for line in comments), stated, foreign)


def _metadata_of(text: bytes, where: str) -> tuple[np.dtype[Any], bool, list[int] | None]:
    """Return dtype and dimensions that the comments tell."""
    stated, ndim, dims, foreign = np.dtype("f4"), None, [], False
    for line in _comment_lines(text):
        words = line[1:].split()
        if not line[1:2].isspace() or len(words) < 2:
            continue
        key, value = words[0].decode("latin-1"), b" ".join(words[1:]).decode("latin-1")
        if key == "DTYPE":
            if value not in _DTYPES:
                hint = did_you_mean(value, _DTYPES)
                raise ConstantsError(f"{where}: DTYPE {value[:40]!r} is no type of numbers", hint)
            stated, foreign = _DTYPES[value], value not in _PSANA1_READS
        elif key == "NDIM" or key.startswith("DIM:"):
            if not (value.isascii() and value.isdigit() and len(value) <= 9):
                raise ConstantsError(f"{where}: {key} {value[:40]!r} is no number of elements")
            if key == "NDIM":
                ndim = int(value)
            else:
                dims.append(int(value))
    if ndim is None:
        return stated, foreign, None
    if ndim != len(dims) or ndim > _MOST_DIMENSIONS:
        raise ConstantsError(f"{where}: NDIM is {ndim}, but there are {len(dims)} lines DIM")
    return stated, foreign, dims


def _comment_lines(text: bytes) -> list[bytes]:
    """Return the comments before the first number: what they say holds for the whole file."""
    lines: list[bytes] = []
    place = 0
    while len(lines) < _text.MOST_COMMENTS and place < len(text):
        stop = text.find(b"\n", place)
        line = text[place : stop if stop >= 0 else len(text)]
        if line.startswith(b"#"):
            lines.append(line)
        elif line.strip():
            break
        place += len(line) + 1
    return lines


def _fail_if_wrong(found: dict[str, Any], text: bytes, where: str, dtype: np.dtype[Any]) -> None:
    if not found["reason"]:
        return
    at = found["offset"]
    word = (text[at : at + 40].split(maxsplit=1) or [b""])[0].decode("latin-1")
    place = f"{where}: line {found['line']}, number {found['place']}"
    messages = {
        "number": f"{place}: {word!r} is no number",
        "fraction": f"{place}: {word} is no whole number, but the values are {dtype}",
        "range": f"{place}: {word} does not fit into {dtype}",
        "comments": f"{where}: more than {_text.MOST_COMMENTS} lines of comments",
    }
    raise ConstantsError(messages[found["reason"]])


def _shaped(numbers: Array, found: dict[str, Any], dims: list[int] | None, where: str) -> Array:
    count = len(numbers)
    if dims is not None and len(dims) == 1 and dims[0] == count:
        return numbers  # ten to a line in one dialect, all in one line in the other
    if found["uneven_row"] >= 0:
        raise ConstantsError(
            f"{where}: line {found['uneven_row']} has {found['uneven_columns']} numbers, "
            f"the lines before have {found['columns']}"
        )
    if dims is not None and len(dims) > 2:
        size = 1
        for dim in dims:
            size *= dim
        if size != count:
            shape = ", ".join(map(str, dims))
            raise ConstantsError(f"{where}: the lines DIM say ({shape}), which is {size} numbers; there are {count}")
        return numbers.reshape(dims)
    rows, columns = found["rows"], found["columns"]
    return numbers if rows <= 1 or columns == 1 else numbers.reshape(rows, columns)


def _cast(values: Array, dtype: np.dtype[Any], cast: Cast, where: str) -> Array:
    if values.dtype == dtype:
        return values
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return values.astype(dtype)
    if cast == "wrap":
        with np.errstate(invalid="ignore"):
            return values.astype(np.int64).astype(dtype)
    limits = np.iinfo(dtype)
    bad = (values < limits.min) | (values > limits.max)
    if values.dtype.kind == "f":
        bad |= values != np.floor(values)
    if bad.any():
        raise ConstantsError(f"{where}: {values[bad].flat[0]} does not fit into {dtype}")
    return values.astype(dtype)


def format_text(
    values: Array,
    *,
    comments: Sequence[str] = (),
    fmt: str | None = None,
    metadata: bool = True,
    dialect: Dialect = "python",
    name: str = "",
) -> bytes:
    """Return an array as text.

    Parameters
    ----------
    values : ndarray
        Of one dimension or more.
    comments : sequence of str
        Lines for the beginning.
    fmt : str, optional
        Format of one number, such as ``%.1f``; default are as few digits as give every number back exactly.
    metadata : bool
        Whether to write ``DTYPE``, ``NDIM`` and ``DIM``, which more than two dimensions need.
    dialect : {"python", "c++"}
        As the facility's writers in Python or C++ do it; that in C++ keeps six digits.
    name : str
        Name of the file, which the dialect of Python tells.
    """
    values = np.atleast_1d(np.asarray(values))
    head = [f"# {line}" for comment in comments for line in comment.splitlines() or [""]]
    name = " ".join(name.splitlines())
    if dialect == "c++":
        return _format_cpp(values, head)
    now = datetime.now().strftime("%Y-%m-%dT%H:%M:%S")
    shape = str(values.shape).replace(" ", "")
    head += ["", f"# HOST        {socket.gethostname()}", f"# WORK_DIR    {_here()}", f"# FILE_NAME   {name}"]
    head += [f"# DATE_TIME   {now}", f"# UID         {user_name()}"]
    head += [f"# SHAPE       {shape}", f"# DATATYPE    {values.dtype}", ""]
    if metadata:
        head += [f"# DTYPE       {values.dtype}", f"# NDIM        {values.ndim}"]
        head += [f"# DIM:{axis}       {size}" for axis, size in enumerate(values.shape)] + [""]
    text = "\n".join(head) + "\n"
    if values.ndim == 1:
        return _encoded(text) + b" " + _rows(values[None], fmt)[:-1] + b" "
    return _encoded(text) + _rows(values.reshape(-1, values.shape[-1]), fmt)


def _encoded(text: str) -> bytes:
    """Return text as bytes; names of files may be any bytes."""
    return text.encode("utf-8", "surrogateescape")


def _rows(rows: Array, fmt: str | None) -> bytes:
    if not rows.size:
        return b""
    if fmt is not None:
        line = " ".join([fmt] * rows.shape[1]) + "\n"
        return "".join([line % tuple(row) for row in rows.tolist()]).encode()
    kind = {"f": "f8", "u": "u8"}.get(rows.dtype.kind, "i8")
    exact = rows if rows.dtype == np.float32 else rows.astype(kind)
    step = max(_ROWS_AT_ONCE // rows.shape[1], 1)
    return b"".join(_text.write_numbers(exact[first : first + step]) for first in range(0, len(rows), step))


def _format_cpp(values: Array, head: list[str]) -> bytes:
    code = values.dtype.str[1:]
    if code not in _CPP_NAMES:
        raise ConstantsError(f"the dialect of C++ has no type for {values.dtype}", "write it in the dialect of Python")
    spelled = _CPP_NAMES[code]
    now = datetime.now().strftime("%Y-%m-%d %H:%M:%S")
    head += ["", f"# DATE_TIME  {now}", f"# AUTHOR     {user_name()}", ""]
    head += [f"# Metadata for ndarray<{spelled},{values.ndim}>", f"# DTYPE    {spelled}", f"# NDIM     {values.ndim}"]
    head += [f"# DIM:{axis}    {size}" for axis, size in enumerate(values.shape)] + [""]
    length = 10 if values.ndim == 1 else values.shape[-1]
    fmt = "%10g " if values.dtype.kind == "f" else "%10d "
    flat = values.ravel().tolist()
    lines = ["".join([fmt % value for value in flat[k : k + length]]) for k in range(0, len(flat), max(length, 1))]
    return _encoded("\n".join([*head, *lines]) + "\n")


def _here() -> str:
    try:
        return " ".join(os.getcwd().splitlines())
    except OSError:  # a directory that is gone
        return ""


def user_name() -> str:
    """Return the name of the user; of one that the system does not know the number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
