"""Expressions of the catalogue: a small part of Python, evaluated in the scope of one object.

Three readings of the same text:

- `compile_value`: for one object, in Python integers of any size and double precision;
- `compile_columns`: for arrays of objects at once (64-bit integers that wrap), where the expression allows it;
- `psanacli.xtc.dimensions`: for the shapes of arrays, as programs for the native core.

A name is an argument or a loop variable, else ``config`` (the configuration object), else a member of the object, else
a function.  ``/`` divides in floating point (by zero: inf or nan), ``//`` in integers; ``empty`` is "no array", None
here.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from psanacli.errors import DataError, NotFoundError
from psanacli.xtc.catalogue import XtcType


@cache
def parse(text: str) -> ast.expr:
    """Return the syntax tree of an expression."""
    return ast.parse(text, mode="eval").body


# ---- conversions -----------------------------------------------------------------------------------------------------


def convert(value: Any, kind: str) -> Any:
    """Return a number as the type `kind` holds it: integers wrap, ``f4`` rounds."""
    if kind[0] == "f":
        return float(value) if kind == "f8" else _single(value)
    bits = 8 * int(kind[1])
    value = int(value) & (1 << bits) - 1
    return value - (1 << bits) if kind[0] == "i" and value >> bits - 1 else value


def _single(value: float) -> float:
    with np.errstate(over="ignore"):
        return float(np.float32(value))


def convert_array(values: Any, kind: str) -> np.ndarray[Any, Any]:
    """Return `values` as an array of type `kind`, integers wrapped."""
    array = np.asarray(values)
    if kind[0] != "f" and array.dtype.kind == "f":
        array = array.astype(np.int64)
    with np.errstate(over="ignore"):
        return array.astype("<" + kind, copy=False)


# ---- one object ------------------------------------------------------------------------------------------------------


def _divide(a: float, b: float) -> float:
    if b:
        return a / b
    return math.nan if a == 0 or a != a else math.copysign(math.inf, a) * math.copysign(1.0, b)


def _item(array: Any, index: Any) -> Any:
    if isinstance(index, int) and not -len(array) <= index < len(array):
        raise DataError(f"index {index} is outside of the {len(array)} stored")
    value = array[index]
    return value.item() if isinstance(value, np.generic) else value


def _view(array: np.ndarray[Any, Any], kind: str, offset: int, *shape: int) -> np.ndarray[Any, Any]:
    dtype = np.dtype("<" + kind)
    needed = offset + math.prod(shape) * dtype.itemsize
    if min((offset, *shape)) < 0 or needed > array.nbytes:
        raise DataError(f"an array of shape {shape} needs {needed} bytes, {array.nbytes} are stored")
    return (
        np.ndarray(shape, dtype, array.reshape(-1).view(np.uint8)[offset:])
        if needed > offset
        else np.zeros(shape, dtype)
    )


def _polyval(coefficients: Any, x: Any) -> Any:
    result: Any = 0.0
    for coefficient in reversed(list(coefficients)):
        result = float(coefficient) + x * result
    return result


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "popcount": int.bit_count,
    "sum": sum,
    "any": any,
    "min": min,
    "range": range,
    "cumsum": np.cumsum,
    "polyval": _polyval,
    "view": _view,
    "f32": _single,
    "f64": float,
    **{f"{kind}{bits}": (lambda x, k=f"{kind}{bits // 8}": convert(x, k)) for kind in "iu" for bits in (8, 16, 32, 64)},
}


class _Resolver(ast.NodeTransformer):
    """Turns names into attributes of the object ``r``; refuses what is not part of the language."""

    def __init__(self, xtc_type: XtcType, local: set[str]) -> None:
        self.xtc_type = xtc_type
        self.local = local

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in self.local:
            return node
        if node.id == "config":
            return _attribute("r", "_config_")
        if node.id in self.xtc_type.members:
            return _attribute("r", node.id)
        if node.id == "empty":
            return ast.Constant(None)
        return ast.Name("_" + node.id, ast.Load())

    def visit_ListComp(self, node: ast.ListComp) -> ast.expr:
        names = {generator.target.id for generator in node.generators if isinstance(generator.target, ast.Name)}
        self.local |= names
        node = ast.ListComp(
            self.visit(node.elt),
            [ast.comprehension(g.target, self.visit(g.iter), [], 0) for g in node.generators],
        )
        self.local -= names
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        left, right = self.visit(node.left), self.visit(node.right)
        return _call("_divide", left, right) if isinstance(node.op, ast.Div) else ast.BinOp(left, node.op, right)

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        if isinstance(node.slice, ast.Slice):
            return ast.Subscript(self.visit(node.value), self.visit(node.slice), ast.Load())
        return _call("_item", self.visit(node.value), self.visit(node.slice))


def _attribute(owner: str, name: str) -> ast.expr:
    return ast.Attribute(ast.Name(owner, ast.Load()), name, ast.Load())


def _call(function: str, *arguments: ast.expr) -> ast.expr:
    return ast.Call(ast.Name(function, ast.Load()), list(arguments), [])


def _function(body: ast.expr, arguments: tuple[str, ...], scope: dict[str, Any]) -> Callable[..., Any]:
    parameters = ast.arguments([], [ast.arg(name) for name in ("r", *arguments)], None, [], [], None, [])
    tree = ast.fix_missing_locations(ast.Expression(ast.Lambda(parameters, body)))
    function: Callable[..., Any] = eval(compile(tree, "<catalogue>", "eval"), {"__builtins__": {}, **scope})
    return function


_VALUE_SCOPE = {"_divide": _divide, "_item": _item, **{"_" + name: call for name, call in _FUNCTIONS.items()}}


def compile_value(text: str, xtc_type: XtcType, *arguments: str) -> Callable[..., Any]:
    """Return a function of a record (and the arguments) with the value of the expression."""
    body = _Resolver(xtc_type, set(arguments)).visit(ast.parse(text, mode="eval").body)
    return _function(body, arguments, _VALUE_SCOPE)


# ---- many objects ----------------------------------------------------------------------------------------------------


def _same_sign(a: Any, b: Any) -> tuple[Any, Any]:
    """Bring two operands to one integer type: with one unsigned 64-bit array both become that."""
    kinds = {np.asarray(x).dtype for x in (a, b) if isinstance(x, np.ndarray)}
    if (
        np.dtype(np.uint64) in kinds
        and not any(isinstance(x, float) for x in (a, b))
        and not any(k.kind == "f" for k in kinds)
    ):
        return tuple(
            x.astype(np.uint64) if isinstance(x, np.ndarray) else np.uint64(int(x) & 0xFFFFFFFFFFFFFFFF) for x in (a, b)
        )  # type: ignore[return-value]
    return a, b


def _wide(operation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda a, b: operation(*_same_sign(a, b))


def _array_floor(a: Any, b: Any) -> Any:
    if not np.all(b):
        raise DataError("division by zero")
    return operator.floordiv(*_same_sign(a, b))


def _array_divide(a: Any, b: Any) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.true_divide(a, b)


def _array_popcount(x: Any) -> Any:
    x = np.asarray(x).astype(np.uint64)
    count = np.zeros(x.shape, np.int64)
    for shift in range(0, 64, 16):
        count += _BIT_COUNTS[(x >> np.uint64(shift) & np.uint64(0xFFFF)).astype(np.intp)]
    return count


def _each(method: Callable[[int], Any], index: Any) -> Any:
    """Return what a method of the configuration object gives for each index (once for each different one)."""
    if not isinstance(index, np.ndarray):
        return method(index)
    different, which = np.unique(index, return_inverse=True)
    return np.array([method(int(value)) for value in different])[which].reshape(index.shape)


_BIT_COUNTS = np.array([n.bit_count() for n in range(256)], np.int64)
_BIT_COUNTS = (_BIT_COUNTS[:, None] + _BIT_COUNTS).reshape(-1)


def _array_convert(kind: str) -> Callable[[Any], Any]:
    wide = {"i": np.int64, "u": np.int64, "f": np.float64}[kind[0]] if kind != "u8" else np.uint64
    return lambda x: convert_array(x, kind).astype(wide)


def _reduce(operation: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def reduced(*values: Any) -> Any:
        result = values[0]
        for value in values[1:]:
            result = operation(result, value)
        return result

    return reduced


_OPERATORS: dict[type, str] = {
    ast.Add: "_add", ast.Sub: "_sub", ast.Mult: "_mul", ast.Div: "_divide", ast.FloorDiv: "_floor", ast.LShift: "_shl",
    ast.RShift: "_shr", ast.BitAnd: "_and", ast.BitOr: "_or", ast.BitXor: "_xor",
}  # fmt: skip
_COLUMN_SCOPE: dict[str, Any] = {
    "_add": _wide(operator.add),
    "_sub": _wide(operator.sub),
    "_mul": _wide(operator.mul),
    "_divide": _array_divide,
    "_floor": _array_floor,
    "_shl": _wide(operator.lshift),
    "_shr": _wide(operator.rshift),
    "_and": _wide(operator.and_),
    "_or": _wide(operator.or_),
    "_xor": _wide(operator.xor),
    "_both": _reduce(np.logical_and),
    "_either": _reduce(np.logical_or),
    "_not": np.logical_not,
    "_where": np.where,
    "_min": _reduce(np.minimum),
    "_sum": sum,
    "_any": lambda values: values.any(axis=-1) if isinstance(values, np.ndarray) else _reduce(np.logical_or)(*values),
    "_range": range,
    "_popcount": _array_popcount,
    "_item": _item,
    "_each": _each,
    "_polyval": _polyval,
    "_pick": lambda array, index: array[..., index],
    "_f32": _array_convert("f4"),
    "_f64": _array_convert("f8"),
    **{f"_{kind}{bits}": _array_convert(f"{kind}{bits // 8}") for kind in "iu" for bits in (8, 16, 32, 64)},
}


class _NotForArrays(Exception):
    """The expression has something that has no meaning for whole columns."""


class _ColumnResolver(_Resolver):
    """As `_Resolver`, with operations on arrays whose first axes are the objects."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id == "empty" or (
            node.id not in self.local
            and node.id not in self.xtc_type.members
            and node.id != "config"
            and "_" + node.id not in _COLUMN_SCOPE
        ):
            raise _NotForArrays
        return super().visit_Name(node)

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        if isinstance(node.value, str):
            raise _NotForArrays
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        return _call(_OPERATORS[type(node.op)], self.visit(node.left), self.visit(node.right))

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        name = "_both" if isinstance(node.op, ast.And) else "_either"
        return _call(name, *(self.visit(value) for value in node.values))

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        operand = self.visit(node.operand)
        return _call("_not", operand) if isinstance(node.op, ast.Not) else ast.UnaryOp(node.op, operand)

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        return _call("_where", self.visit(node.test), self.visit(node.body), self.visit(node.orelse))

    def visit_ListComp(self, node: ast.ListComp) -> ast.expr:
        generator = node.generators[0]
        if not (isinstance(generator.iter, ast.Call) and isinstance(generator.iter.args[0], ast.Constant)):
            raise _NotForArrays
        return super().visit_ListComp(node)

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        if _of_config(node.value):
            return _call("_item", self.visit(node.value), self.visit(node.slice))
        if isinstance(node.slice, ast.Slice) or not isinstance(node.value, ast.Name):
            raise _NotForArrays
        return _call("_pick", self.visit(node.value), self.visit(node.slice))

    def visit_Call(self, node: ast.Call) -> ast.expr:
        if _of_config(node.func):
            return _call("_each", self.visit(node.func), *(self.visit(argument) for argument in node.args))
        if not isinstance(node.func, ast.Name) or node.func.id in self.xtc_type.members:
            raise _NotForArrays
        return ast.Call(self.visit(node.func), [self.visit(argument) for argument in node.args], [])


def _of_config(node: ast.expr) -> bool:
    """Whether the value belongs to the configuration object, and is thus the same for all objects."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name) and node.id == "config"


def compile_columns(text: str, xtc_type: XtcType, *arguments: str) -> Callable[..., Any] | None:
    """Return a function of `Columns` (and the arguments), or None if the expression is for single objects only."""
    try:
        body = _ColumnResolver(xtc_type, set(arguments)).visit(ast.parse(text, mode="eval").body)
    except _NotForArrays:
        return None
    return _function(body, arguments, _COLUMN_SCOPE)


def missing_config(xtc_type: XtcType) -> NotFoundError:
    """Return the error for a type that cannot be decoded without its configuration object."""
    kinds = " or ".join(xtc_type.config_types)
    return NotFoundError(f"{xtc_type.name} needs a configuration object of its source ({kinds}), and there is none")
