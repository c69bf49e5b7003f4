"""Values of a block of events, and what operators do with them.

A value has a row an event and, where the value is absent in some events, a mask.  All rules of the language are here:

- Whole numbers are counted in 64 bits, everything else in double precision, whatever the size in the file; so nothing
  wraps around. Where whole numbers would not fit into 64 bits, double precision takes over.
- What has an absent operand is absent. ``and`` and ``or`` know better only where the other side decides alone.
- NaN compares as IEEE 754 says: equal to nothing, not even to itself.
- Comparisons are those of the exact values: a 32-bit 0.1 is not the double 0.1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import UsageError
from psanacli.run.times import parse_time

Array = NDArray[Any]
Mask = NDArray[np.bool_] | None

_MOST = 1 << 63
_NANOSECONDS = 1_000_000_000


class Value(NamedTuple):
    """Values of some events.

    Attributes
    ----------
    values : ndarray, shape (events,) or (events, ...), or a constant
        Numbers, truth values, times or texts; where masked they mean nothing.
    mask : ndarray of bool, shape (events,), or None
        Where the value is absent; None: nowhere.
    """

    values: Any
    mask: Mask = None

    @property
    def constant(self) -> bool:
        """Whether all events have the same."""
        return np.ndim(self.values) == 0

    @property
    def kind(self) -> str:
        """``truth``, ``number``, ``time`` or ``text``; ``record`` for what is neither."""
        return kind_of(self.values)

    @property
    def nowhere(self) -> bool:
        """Whether it is absent in all events."""
        return self.mask is not None and bool(self.mask.all())


_KINDS = {"b": "truth", "i": "number", "u": "number", "f": "number", "M": "time", "U": "text", "S": "text"}


def kind_of(values: Any) -> str:
    """Return the kind of an array or constant."""
    if isinstance(values, (np.ndarray, np.generic)):
        return _KINDS.get(values.dtype.kind, "record")
    if isinstance(values, bool):
        return "truth"
    return "text" if isinstance(values, str) else "number"


def absent(count: int) -> Value:
    """Return a value that no event has."""
    return Value(np.zeros(count), np.ones(count, bool))


def either(masks: Sequence[Mask]) -> Mask:
    """Return where one of several values is absent."""
    found: Mask = None
    for mask in masks:
        if mask is not None:
            found = mask if found is None else found | mask
    return found


def aligned(values: Sequence[Any]) -> list[Any]:
    """Return values of which a single one an event goes with all elements of the others.

    Raises
    ------
    UsageError
        Two have different numbers of elements.
    """
    deepest = max((np.ndim(value) for value in values), default=0)
    result = []
    shape: tuple[int, ...] = ()
    for value in values:
        if np.ndim(value) == 1 and deepest > 1:
            value = value.reshape(-1, *[1] * (deepest - 1))
        elif np.ndim(value) > 1:
            if shape and value.shape[1:] != shape:
                raise UsageError(
                    f"values with {_shape(shape)} and {_shape(value.shape[1:])} elements an event do not go together"
                )
            shape = value.shape[1:]
        result.append(value)
    return result


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


# --- numbers --------------------------------------------------------------------------------------------------------


def number(values: Any) -> Any:
    """Return numbers or truth values in 64 bits, to be calculated with.

    Raises
    ------
    UsageError
        They are texts, times or records.
    """
    kind = kind_of(values)
    if kind not in ("number", "truth"):
        raise UsageError(f"{A[kind]} cannot be calculated with", _HINTS.get(kind, ""))
    if not isinstance(values, (np.ndarray, np.generic)):
        return np.int64(values) if isinstance(values, (bool, int)) else np.float64(values)
    if values.dtype.kind == "f":
        return values.astype(np.float64, copy=False)
    if values.dtype == np.uint64 and values.size and int(values.max()) >= _MOST:
        return values.astype(np.float64)
    return values.astype(np.int64, copy=False)


A = {"truth": "a condition", "number": "a number", "time": "a time", "text": "a text", "record": "a record"}
_HINTS = {"record": "name one of its fields", "time": "seconds and nanoseconds are numbers"}


def _most(values: Any) -> int:
    if not np.size(values):
        return 0
    return max(abs(int(np.min(values))), abs(int(np.max(values))))


def _whole(values: Any) -> bool:
    return bool(values.dtype.kind == "i")


def _fits(operator: str, left: Any, right: Any) -> bool:
    """Whether the results of whole numbers are sure to be less than 2**63."""
    if operator in ("//", "%"):
        return bool(np.all(right))
    most = _most(left) * _most(right) if operator == "*" else _most(left) + _most(right)
    return most < _MOST


_ARITHMETIC: dict[str, Callable[..., Any]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.true_divide,
    "//": np.floor_divide,
    "%": np.remainder,
    "**": np.power,
}


def arithmetic(operator: str, left: Any, right: Any) -> Any:
    """Return ``left OPERATOR right`` of numbers, or of times where that means something."""
    if "time" in (kind_of(left), kind_of(right)):
        return _with_times(operator, left, right)
    if operator == "%" and _is_small_remainder(left, right):
        return np.remainder(left, left.dtype.type(right))
    left, right = aligned([number(left), number(right)])
    if operator in ("/", "**") or not (_whole(left) and _whole(right) and _fits(operator, left, right)):
        # Also a division of whole numbers by zero: inf or nan, as IEEE 754 has it.
        left, right = left.astype(np.float64, copy=False), right.astype(np.float64, copy=False)
    return _ARITHMETIC[operator](left, right)


def _is_small_remainder(left: Any, right: Any) -> bool:
    """Whether the rest of whole numbers fits into their own type, in which it is found much faster."""
    whole = isinstance(left, np.ndarray) and left.dtype.kind in "iu" and type(right) is int
    return whole and 0 < right <= np.iinfo(left.dtype).max


def _with_times(operator: str, left: Any, right: Any) -> Any:
    kinds = kind_of(left), kind_of(right)
    if operator == "-" and kinds in (("time", "time"), ("time", "text"), ("text", "time")):
        one, other = (_time(side).astype(np.int64) for side in (left, right))
        return (one - other) / _NANOSECONDS
    if operator in "+-" and kinds == ("time", "number"):
        return _moved(left, right, 1 if operator == "+" else -1)
    if operator == "+" and kinds == ("number", "time"):
        return _moved(right, left, 1)
    raise UsageError(
        f"{A[kinds[0]]} {operator} {A[kinds[1]]} means nothing",
        "a time minus a time is a number of seconds, a time plus or minus a number of seconds a time",
    )


def _time(values: Any) -> Any:
    return np.datetime64(parse_time(values), "ns") if isinstance(values, str) else values


def _moved(times: Any, seconds: Any, sign: int) -> Any:
    moment = times.astype(np.int64)
    seconds = number(seconds)
    reached = moment + sign * seconds.astype(np.float64) * _NANOSECONDS
    inside = np.abs(reached) < float(_MOST)
    delta = np.where(inside, np.rint(seconds.astype(np.float64) * _NANOSECONDS), 0).astype(np.int64)
    return np.where(inside, moment + sign * delta, np.iinfo(np.int64).min).astype("datetime64[ns]")


def negative(values: Any) -> Any:
    """Return minus the values."""
    values = number(values)
    return arithmetic("-", np.int64(0), values) if _whole(values) else -values


# --- comparisons ----------------------------------------------------------------------------------------------------

_COMPARISONS: dict[str, Callable[..., Any]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
}


def compared(operator: str, left: Any, right: Any) -> Any:
    """Return ``left OPERATOR right``, truth values."""
    kinds = kind_of(left), kind_of(right)
    if "time" in kinds and set(kinds) <= {"time", "text"}:
        left, right = _time(left), _time(right)
    elif kinds == ("text", "text"):
        if operator not in ("==", "!="):
            raise UsageError("texts have no order", "compare them with ==, != or in")
    elif not set(kinds) <= {"number", "truth"}:
        hint = (
            "times are compared with texts such as '2015-07-15 10:00'; seconds is a number" if "time" in kinds else ""
        )
        raise UsageError(f"{A[kinds[0]]} cannot be compared with {A[kinds[1]]}", hint)
    else:
        left, right = _exact(left, right), _exact(right, left)
    left, right = aligned([left, right])
    return _COMPARISONS[operator](left, right)


def _exact(values: Any, other: Any) -> Any:
    """Return numbers so that numpy compares them exactly with the others, and fast."""
    if isinstance(values, np.ndarray):
        if values.dtype.kind == "f" and values.itemsize < 8 and not _is_exact(other, values.dtype):
            return values.astype(np.float64)
        return values
    if isinstance(values, np.generic):
        return (
            values.item()
            if values.dtype.kind in "iu" and isinstance(other, np.ndarray) and other.dtype.kind in "iu"
            else values
        )
    # Python's numbers take the type of the array, which is exact for whole numbers, and fast.
    if isinstance(values, bool):
        return np.bool_(values)
    if isinstance(other, np.ndarray) and isinstance(values, int) and other.dtype.kind in "iu":
        return values
    if isinstance(other, np.ndarray) and other.dtype.kind == "f" and _is_exact(values, other.dtype):
        return float(values)
    return np.int64(values) if isinstance(values, int) else np.float64(values)


def _is_exact(value: Any, dtype: np.dtype[Any]) -> bool:
    """Whether a constant is a number of a floating point type."""
    if isinstance(value, np.ndarray):
        return bool(value.dtype == dtype)
    with np.errstate(over="ignore"):
        return bool(float(dtype.type(value)) == float(value) or value != value)


# --- conditions -----------------------------------------------------------------------------------------------------


def condition(value: Value, count: int) -> Value:
    """Return truth values.

    Raises
    ------
    UsageError
        They are something else.
    """
    if value.nowhere:
        return Value(np.zeros(count, bool), value.mask)
    if value.kind != "truth":
        raise UsageError(f"{A[value.kind]} is no condition", "compare it with something: x != 0, x in [1, 2]")
    return value


def inverted(value: Value) -> Value:
    """Return ``not value``; what is absent stays absent."""
    return Value(np.logical_not(value.values), value.mask)


def decided(word: str, left: Value, right: Value) -> Value:
    """Return ``left and right``, ``left or right``: absent unless one of the two decides alone."""
    one, other = aligned([left.values, right.values])
    values = np.logical_and(one, other) if word == "and" else np.logical_or(one, other)
    if left.mask is None and right.mask is None:
        return Value(values)
    masks = [left.mask, right.mask]
    if np.ndim(values) > 1:  # one event has many elements; it is absent as a whole
        return Value(values, either([left.mask, right.mask]))
    # Absent is what has an absent side, unless the other decides: False for `and`, True for `or`. What is masked may
    # have any value, but then the result is masked, or decided by the other side.
    mask = either(masks)
    for side, missing in zip((one, other), masks, strict=True):
        mask = mask & _undecided(word, side, missing)
    return Value(values, mask)


def _undecided(word: str, side: Any, mask: Mask) -> Any:
    undecided = side if word == "and" else np.logical_not(side)
    return undecided if mask is None else undecided | mask
