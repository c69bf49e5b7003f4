"""The functions of the language: their names, what they take, and what they give.

The table is the documentation too: the manual lists it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from psanacli.errors import UsageError
from psanacli.run.expressions.values import A, Value, absent, aligned, condition, either, number


@dataclass(frozen=True)
class Function:
    """A function of values.

    Attributes
    ----------
    usage : str
        How it is written.
    meaning : str
        A sentence for the manual.
    least, most : int
        Numbers of arguments.
    apply : callable
        Takes the number of events and the values, gives a value.
    """

    usage: str
    meaning: str
    least: int
    most: int
    apply: Callable[[int, Sequence[Value]], Value]


@dataclass(frozen=True)
class Lookup:
    """A function of a name or number that stands in the expression: looked up once, a column then.

    Attributes
    ----------
    usage, meaning : str
        As of `Function`.
    method : str
        Method of `Columns` that looks it up.
    takes : str
        ``name`` (a name, or a text), ``text``, ``number``; ``name?`` when there may be none.
    """

    usage: str
    meaning: str
    method: str
    takes: str


MANY = 1_000


def _each(function: Callable[..., Any]) -> Callable[[int, Sequence[Value]], Value]:
    """Return a function of numbers, element by element."""

    def apply(count: int, values: Sequence[Value]) -> Value:
        numbers = aligned([number(value.values) for value in values])
        return Value(function(*numbers), either([value.mask for value in values]))

    return apply


def _of_elements(function: Callable[[Any], Any], empty: bool) -> Callable[[int, Sequence[Value]], Value]:
    """Return a function of all elements that a value has in an event; `empty`: whether it has a value of none."""

    def apply(count: int, values: Sequence[Value]) -> Value:
        (value,) = values
        if np.ndim(value.values) < 2:
            raise UsageError(
                "there is one value an event; this is for the elements of an array of each event",
                "min(a, b) and max(a, b) compare values of one event; nothing goes over the events of a run",
            )
        elements = value.values.reshape(count, -1)
        if not elements.shape[1] and not empty:
            return absent(count)
        return Value(function(elements), value.mask)

    return apply


def _truths(function: Callable[..., Any]) -> Callable[[Any], Any]:
    def apply(elements: Any) -> Any:
        if elements.dtype.kind != "b":
            raise UsageError(f"{A['number']} is no condition", "compare the elements: any(x > 5)")
        return function(elements, axis=1)

    return apply


def _sum(elements: Any) -> Any:
    kind = {"b": np.int64, "i": np.int64, "u": np.int64, "f": np.float64}.get(elements.dtype.kind)
    return elements.sum(axis=1, dtype=kind) if kind else number(elements)


def _checked(function: Callable[..., Any]) -> Callable[[Any], Any]:
    def apply(elements: Any) -> Any:
        number(elements[:0])
        return function(elements, axis=1)

    return apply


def _precise(function: Callable[..., Any]) -> Callable[[Any], Any]:
    """Return a function of elements that is calculated in double precision, event by event where that needs room."""

    def apply(elements: Any) -> Any:
        number(elements[:0])
        return np.array([function(row.astype(np.float64)) for row in elements], np.float64)

    return apply


def _extreme(elements: Callable[..., Any], both: Callable[..., Any]) -> Callable[[int, Sequence[Value]], Value]:
    """Return `min` or `max`: of the elements of one value, or of several values."""
    of_one = _of_elements(_checked(elements), empty=False)

    def apply(count: int, values: Sequence[Value]) -> Value:
        if len(values) == 1:
            return of_one(count, values)
        numbers = aligned([number(value.values) for value in values])
        found = numbers[0]
        for other in numbers[1:]:
            found = both(found, other)
        return Value(found, either([value.mask for value in values]))

    return apply


def _default(count: int, values: Sequence[Value]) -> Value:
    value, other = values
    if value.mask is None:
        return value
    if value.nowhere:
        return other
    if other.nowhere:
        return value
    _same_kind(value, other)
    one, replacement = aligned([value.values, other.values])
    mask = value.mask.reshape(-1, *[1] * (np.ndim(one) - 1))
    missing = None if other.mask is None else value.mask & other.mask
    return Value(np.where(mask, replacement, one), missing if missing is not None and missing.any() else None)


def _where(count: int, values: Sequence[Value]) -> Value:
    chosen = condition(values[0], count)
    if chosen.nowhere:
        return absent(count)
    first, second = values[1:]
    if first.nowhere and second.nowhere:
        return absent(count)
    if not (first.nowhere or second.nowhere):
        _same_kind(first, second)
    elif first.nowhere:
        first = Value(np.zeros_like(second.values), first.mask)
    else:
        second = Value(np.zeros_like(first.values), second.mask)
    which, one, other = aligned([chosen.values, first.values, second.values])
    if np.ndim(which) > 1:
        mask = either([chosen.mask, first.mask, second.mask])
    else:
        which_one = np.broadcast_to(which, count)
        sides = [np.zeros(count, bool) if side.mask is None else side.mask for side in (first, second)]
        mask = either([chosen.mask, np.where(which_one, *sides)])
    return Value(np.where(which, one, other), mask if mask is not None and mask.any() else None)


def _same_kind(one: Value, other: Value) -> None:
    kinds = {"number" if value.kind == "truth" else value.kind for value in (one, other)}
    if len(kinds) > 1:
        raise UsageError(f"the two values are {A[one.kind]} and {A[other.kind]}", "they have to be of one kind")


def _bits(count: int, values: Sequence[Value]) -> Value:
    numbers = [number(value.values) for value in values]
    if any(each.dtype.kind != "i" for each in numbers):
        raise UsageError("bits are those of whole numbers")
    one, other = aligned(numbers)
    return Value(one & other, either([value.mask for value in values]))


def _absent(count: int, values: Sequence[Value]) -> Value:
    mask = values[0].mask
    return Value(np.zeros(count, bool) if mask is None else mask)


def _present(count: int, values: Sequence[Value]) -> Value:
    mask = values[0].mask
    return Value(np.ones(count, bool) if mask is None else ~mask)


def _float(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that gives double precision, also of whole numbers."""
    return lambda *numbers: function(*(each.astype(np.float64) for each in numbers))


FUNCTIONS: dict[str, Function] = {
    "abs": Function("abs(x)", "The magnitude.", 1, 1, _each(np.abs)),
    "sqrt": Function("sqrt(x)", "The square root; NaN of a negative number.", 1, 1, _each(np.sqrt)),
    "exp": Function("exp(x)", "The exponential function.", 1, 1, _each(np.exp)),
    "log": Function("log(x)", "The natural logarithm.", 1, 1, _each(np.log)),
    "log10": Function("log10(x)", "The logarithm to the base 10.", 1, 1, _each(np.log10)),
    "sin": Function("sin(x)", "The sine of an angle in radians.", 1, 1, _each(np.sin)),
    "cos": Function("cos(x)", "The cosine of an angle in radians.", 1, 1, _each(np.cos)),
    "tan": Function("tan(x)", "The tangent of an angle in radians.", 1, 1, _each(np.tan)),
    "atan2": Function("atan2(y, x)", "The angle of the point (x, y), in radians.", 2, 2, _each(np.arctan2)),
    "hypot": Function("hypot(x, y)", "The length of the vector (x, y).", 2, 2, _each(np.hypot)),
    "floor": Function("floor(x)", "The next whole number below.", 1, 1, _each(_float(np.floor))),
    "ceil": Function("ceil(x)", "The next whole number above.", 1, 1, _each(_float(np.ceil))),
    "round": Function("round(x)", "The nearest whole number, of two the even one.", 1, 1, _each(_float(np.rint))),
    "isnan": Function("isnan(x)", "Whether it is not a number.", 1, 1, _each(_float(np.isnan))),
    "isinf": Function("isinf(x)", "Whether it is infinite.", 1, 1, _each(_float(np.isinf))),
    "isfinite": Function("isfinite(x)", "Whether it is neither NaN nor infinite.", 1, 1, _each(_float(np.isfinite))),
    "bits": Function("bits(x, mask)", "Those bits of a whole number that mask has too.", 2, 2, _bits),
    "min": Function(
        "min(x), min(a, b, ...)",
        "The least element of an array, or the least of several values; NaN if one is NaN.",
        1,
        MANY,
        _extreme(np.min, np.minimum),
    ),
    "max": Function("max(x), max(a, b, ...)", "The same for the greatest.", 1, MANY, _extreme(np.max, np.maximum)),
    "sum": Function("sum(x)", "The sum of the elements of an array.", 1, 1, _of_elements(_sum, empty=True)),
    "mean": Function("mean(x)", "The mean of the elements.", 1, 1, _of_elements(_precise(np.mean), empty=False)),
    "std": Function(
        "std(x)", "The standard deviation of the elements.", 1, 1, _of_elements(_precise(np.std), empty=False)
    ),
    "median": Function(
        "median(x)", "The median of the elements.", 1, 1, _of_elements(_precise(np.median), empty=False)
    ),
    "any": Function(
        "any(CONDITION)", "Whether it holds for some element.", 1, 1, _of_elements(_truths(np.any), empty=True)
    ),
    "all": Function(
        "all(CONDITION)", "Whether it holds for all elements.", 1, 1, _of_elements(_truths(np.all), empty=True)
    ),
    "count": Function(
        "count(CONDITION)",
        "For how many elements it holds.",
        1,
        1,
        _of_elements(_truths(np.count_nonzero), empty=True),
    ),
    "default": Function("default(x, y)", "x, or y in events in which x is absent.", 2, 2, _default),
    "where": Function("where(CONDITION, x, y)", "x where it holds, else y.", 3, 3, _where),
    "absent": Function("absent(x)", "Whether the value is absent; also of a detector.", 1, 1, _absent),
    "missing": Function("missing(x)", "The same as absent.", 1, 1, _absent),
    "present": Function(
        "present(x)", "Whether the value is there; of a detector: whether the event has an object.", 1, 1, _present
    ),
}

LOOKUPS: dict[str, Lookup] = {
    "code": Lookup(
        "code(N)", "Whether the event has an event code; absent in events without timing data.", "code", "number"
    ),
    "damaged": Lookup(
        "damaged(DETECTOR)",
        "Whether the event has a damaged object of it, or one that was dropped; damaged() is damage of anything.",
        "damaged",
        "name?",
    ),
    "epics": Lookup(
        "epics('PV')", "The value of an EPICS variable that is in force, by name or alias.", "epics", "text"
    ),
    "scan": Lookup(
        "scan('NAME')", "The value, or the label, that the data acquisition set for the step.", "scan", "text"
    ),
    "why": Lookup("why(DETECTOR)", "Why it is absent, in words; an empty text where it is there.", "why", "name"),
}

SHIFT_USAGE = "shift(x, N)"
SHIFT_MEANING = (
    "x of the event that is N further on in the run; -1 is the event before, and 1 the next one; absent where there is "
    "no such event."
)
