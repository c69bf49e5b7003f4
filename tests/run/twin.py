"""What an expression means, event by event: an independent twin of the evaluation on columns.

It reads the expression with Python's own parser, and asks each event for its records.  None is an absent value; numbers
are Python's, so nothing can overflow.
"""

from __future__ import annotations

import ast
import math
from typing import Any

import numpy as np

from psanacli.run import Event

_EXACT = 1 << 26  # products of such numbers are exact in double precision


class TooLarge(Exception):
    """Numbers for which Python is more exact than the language is."""


_OF_EVENTS = ("seconds", "nanoseconds", "fiducials", "ticks", "vector", "control", "step", "run")


def selects(text: str, event: Event) -> bool:
    """Return whether an expression chooses an event."""
    return value(ast.parse(text.strip(), mode="eval").body, event) is True


def values(text: str, events: Any) -> list[Any]:
    """Return the value for each event."""
    tree = ast.parse(text.strip(), mode="eval").body
    return [value(tree, event) for event in events]


def value(node: ast.expr, event: Event) -> Any:
    match node:
        case ast.Constant():
            return node.value
        case ast.Name() | ast.Attribute():
            return named(node, event)
        case ast.BoolOp():
            return logic(isinstance(node.op, ast.Or), [value(each, event) for each in node.values])
        case ast.UnaryOp(op=ast.Not()):
            found = value(node.operand, event)
            return None if found is None else not found
        case ast.UnaryOp():
            found = value(node.operand, event)
            return None if found is None else -plain(found) if isinstance(node.op, ast.USub) else plain(found)
        case ast.BinOp():
            left, right = value(node.left, event), value(node.right, event)
            return None if left is None or right is None else calculated(node.op, plain(left), plain(right))
        case ast.Compare():
            return compared(node, event)
        case ast.Subscript():
            found = value(node.value, event)
            return None if found is None else plain(found[index(node.slice)])
        case ast.Call():
            return called(node, event)
    raise AssertionError(ast.dump(node))


def plain(found: Any) -> Any:
    """Return Python's number of one of numpy; arrays in double precision or 64 bits."""
    if isinstance(found, np.ndarray):
        return found.astype(np.float64 if found.dtype.kind == "f" else np.int64)
    return found.item() if isinstance(found, np.generic) else int(found) if isinstance(found, bool) else found


def named(node: ast.expr, event: Event) -> Any:
    path: list[str] = []
    while isinstance(node, ast.Attribute):
        path.insert(0, node.attr)
        node = node.value
    if isinstance(node, ast.Call):
        argument = node.args[0]
        assert isinstance(argument, ast.Constant)
        source = str(argument.value)
    else:
        assert isinstance(node, ast.Name)
        source = node.id
    if not path:
        return event.index if source == "number" else int(event.row[source]) if source in _OF_EVENTS else None
    found: Any = event.get(source)
    for part in path:
        found = None if found is None else getattr(found, part)
    return found


def index(node: ast.expr) -> Any:
    if isinstance(node, ast.Slice):
        return slice(
            *(None if each is None else ast.literal_eval(each) for each in (node.lower, node.upper, node.step))
        )
    return tuple(map(index, node.elts)) if isinstance(node, ast.Tuple) else ast.literal_eval(node)


def logic(word: bool, found: list[Any]) -> bool | None:
    if any(each is word for each in found):
        return word
    return None if any(each is None for each in found) else not word


def calculated(operator: ast.operator, left: Any, right: Any) -> Any:
    name = type(operator).__name__
    if isinstance(left, np.ndarray) or isinstance(right, np.ndarray):
        with np.errstate(all="ignore"):
            return {"Add": np.add, "Sub": np.subtract, "Mult": np.multiply, "Div": np.true_divide}[name](left, right)
    if isinstance(left, int) and isinstance(right, int) and max(abs(left), abs(right)) > _EXACT:
        raise TooLarge
    try:
        match name:
            case "Add":
                return left + right
            case "Sub":
                return left - right
            case "Mult":
                return left * right
            case "Div":
                return left / right
            case "FloorDiv":
                return left // right
            case "Mod":
                return left % right
            case "Pow":
                found = float(left) ** float(right)
                return math.nan if isinstance(found, complex) else found
    except ZeroDivisionError:
        if name == "Mod":
            return math.nan
        if name == "Pow":
            return math.inf
        return math.nan if left == 0 or left != left else math.copysign(math.inf, left) * math.copysign(1, right)
    except OverflowError:
        return math.inf
    raise AssertionError(name)


def compared(node: ast.Compare, event: Event) -> bool | None:
    operands = [node.left, *node.comparators]
    found: list[bool | None] = []
    for operator, left, right in zip(node.ops, operands, operands[1:], strict=False):
        one = value(left, event)
        if isinstance(operator, (ast.In, ast.NotIn)):
            assert isinstance(right, (ast.List, ast.Tuple))
            items = [equal(one, value(each, event)) for each in right.elts]
            among = logic(True, items) if items else None if one is None else False
            found.append(among if isinstance(operator, ast.In) or among is None else not among)
            continue
        other = value(right, event)
        if one is None or other is None:
            found.append(None)
            continue
        one, other = plain(one), plain(other)
        match operator:
            case ast.Lt():
                found.append(one < other)
            case ast.LtE():
                found.append(one <= other)
            case ast.Gt():
                found.append(one > other)
            case ast.GtE():
                found.append(one >= other)
            case ast.Eq():
                found.append(one == other)
            case ast.NotEq():
                found.append(one != other)
    return found[0] if len(found) == 1 else logic(False, found)


def equal(one: Any, other: Any) -> bool | None:
    return None if one is None or other is None else plain(one) == plain(other)


def called(node: ast.Call, event: Event) -> Any:
    assert isinstance(node.func, ast.Name)
    name = node.func.id
    if name in ("present", "absent", "missing"):
        there = present(node.args[0], event)
        return there if name == "present" else not there
    if name == "damaged":
        return damaged(word(node.args[0]), event)
    if name == "shift":
        other = event.shift(ast.literal_eval(node.args[1]))
        return None if other is None else value(node.args[0], other)
    if name == "code":
        known = any(key.xtc_type.name.startswith("EvrData.Data") for key in event.keys())
        return ast.literal_eval(node.args[0]) in event.codes if known else None
    if name == "epics":
        found = event.run.epics[word(node.args[0])].at(event)
        return None if found is None else found.value
    if name == "scan":
        return event.step.values.get(word(node.args[0]))
    if name == "default":
        found = value(node.args[0], event)
        return value(node.args[1], event) if found is None else found
    if name == "where":
        chosen = value(node.args[0], event)
        return None if chosen is None else value(node.args[1 if chosen else 2], event)
    arguments = [value(each, event) for each in node.args]
    if any(each is None for each in arguments):
        return None
    return function(name, [plain(each) for each in arguments])


def function(name: str, arguments: list[Any]) -> Any:
    first = arguments[0]
    if isinstance(first, np.ndarray) and len(arguments) == 1:
        of_elements = {"sum": np.sum, "min": np.min, "max": np.max, "mean": np.mean}
        return of_elements[name](first).item()
    if name in ("min", "max"):
        if any(each != each for each in arguments):
            return math.nan
        return min(arguments) if name == "min" else max(arguments)
    if name == "sqrt":
        return math.nan if first < 0 else math.sqrt(first)
    if name == "isnan":
        return first != first
    if name == "bits":
        return first & arguments[1]
    return {"abs": abs, "floor": math.floor, "round": round}[name](first)


def word(node: ast.expr) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else ast.unparse(node)


def present(node: ast.expr, event: Event) -> bool:
    if isinstance(node, ast.Constant) or (isinstance(node, ast.Name) and node.id not in (*_OF_EVENTS, "number")):
        wanted = event.run.names.find(word(node))
        return any(key.source.same_as(wanted.source) and key.xtc_type.name in wanted.types for key in event.keys())
    return value(node, event) is not None


def damaged(name: str, event: Event) -> bool:
    source = event.run.names.find(name).source
    words = [damage for key, damage in event.damage.items() if key.source.same_as(source) and damage]
    return bool(words) or any(dropped.same_as(source) for dropped, _ in event.dropped)


__all__ = ["TooLarge", "selects", "value", "values"]
