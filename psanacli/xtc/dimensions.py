"""Dimensions: expressions of the catalogue as programs for the native core.

`Scope.fold` puts in everything that is known (numbers, the configuration object); what remains depends on stored
integers only, and `postfix` makes it a program of a stack machine.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from psanacli.xtc.catalogue import Bits, Field, Method, XtcType, named
from psanacli.xtc.expressions import convert, missing_config, parse

if TYPE_CHECKING:
    from psanacli.xtc.record import Record

Tree = int | tuple[Any, ...]
"""A folded expression: a number, or ``(operation, operands...)``."""

_FOLDS: dict[str, Callable[[int, int], int]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "floor": operator.floordiv, "shl": operator.lshift,
    "shr": operator.rshift, "and": operator.and_, "or": operator.or_, "xor": operator.xor, "eq": operator.eq,
    "ne": operator.ne, "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge, "min": min,
    "both": lambda a, b: int(bool(a) and bool(b)), "either": lambda a, b: int(bool(a) or bool(b)),
}  # fmt: skip
_BINARY = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.FloorDiv: "floor", ast.LShift: "shl", ast.RShift: "shr",
    ast.BitAnd: "and", ast.BitOr: "or", ast.BitXor: "xor", ast.Eq: "eq", ast.NotEq: "ne", ast.Lt: "lt", ast.LtE: "le",
    ast.Gt: "gt", ast.GtE: "ge", ast.And: "both", ast.Or: "either",
}  # fmt: skip


class Scope:
    """Where the names of a dimension are looked up: the stored object, or a configuration object with known values."""

    def __init__(self, xtc_type: XtcType, config: Record | None, record: Record | None = None, **local: Tree) -> None:
        self.xtc_type = xtc_type
        self.config = config
        self.record = record
        self.local = local

    def fold(self, node: ast.expr) -> Tree:
        """Return the expression with all known values put in."""
        match node:
            case ast.Constant(value=int(value)):
                return value
            case ast.Name(id=name) if name in self.local:
                return self.local[name]
            case ast.Name(id=name):
                return self._member(name)
            case ast.Attribute():
                return self._attribute(node)
            case ast.BinOp(left=left, op=op, right=right) | ast.Compare(left=left, ops=[op], comparators=[right]):
                return _binary(_BINARY[type(op)], self.fold(left), self.fold(right))
            case ast.BoolOp(op=op, values=[first, *others]):
                tree = self.fold(first)
                for other in others:
                    tree = _binary(_BINARY[type(op)], tree, self.fold(other))
                return tree
            case ast.IfExp(test=test, body=body, orelse=orelse):
                condition = self.fold(test)
                if isinstance(condition, int):
                    return self.fold(body if condition else orelse)
                return ("select", condition, self.fold(body), self.fold(orelse))
            case ast.Call(func=ast.Name(id=name), args=[argument]):
                if name in self.xtc_type.members:
                    return self._method(name, self.fold(argument))
                tree = self.fold(argument)
                return tree.bit_count() if isinstance(tree, int) else (name, tree)
            case ast.Call(func=ast.Attribute(value=ast.Name(id="config"), attr=name), args=[argument]):
                config = self._needed()
                return Scope(config.xtc_type, None, config)._method(name, self.fold(argument))
        raise ValueError(f"{self.xtc_type.name}: {ast.unparse(node)} cannot be a dimension")

    def _needed(self) -> Record:
        if self.config is None:
            raise missing_config(self.xtc_type)
        return self.config

    def _member(self, name: str) -> Tree:
        if self.record is not None:
            return int(getattr(self.record, name))
        return _stored(self.xtc_type, name, 0, self)

    def _method(self, name: str, argument: Tree) -> Tree:
        method = self.xtc_type.members[name]
        if not isinstance(method, Method) or method.argument is None:
            raise ValueError(f"{self.xtc_type.name}.{name} has no argument")
        inner = Scope(self.xtc_type, self.config, self.record, **{method.argument: argument})
        return _wrapped(inner.fold(parse(method.expression)), method.type)

    def _attribute(self, node: ast.Attribute) -> Tree:
        chain = [node.attr]
        owner = node.value
        while isinstance(owner, ast.Attribute):
            chain.append(owner.attr)
            owner = owner.value
        chain.reverse()
        if isinstance(owner, ast.Name) and owner.id == "config":
            value: Any = self._needed()
            for name in chain:
                value = getattr(value, name)
            return int(value)
        if isinstance(owner, ast.Name) and self.record is None:
            xtc_type, offset = self.xtc_type, 0
            for name in (owner.id, *chain[:-1]):
                field = xtc_type.members[name]
                if not isinstance(field, Field) or field.offset is None or field.shape:
                    break
                xtc_type, offset = named(field.type), offset + field.offset
            else:
                return _stored(xtc_type, chain[-1], offset, Scope(xtc_type, self.config))
        raise ValueError(f"{self.xtc_type.name}: {ast.unparse(node)} cannot be a dimension")


def _stored(xtc_type: XtcType, name: str, offset: int, scope: Scope) -> Tree:
    match xtc_type.members.get(name):
        case Field(offset=int(place), shape=(), type=kind) if kind[0] in "iu":
            return ("load", offset + place, kind)
        case Bits(word=word, shift=shift, width=width):
            return ("and", ("shr", _stored(xtc_type, word, offset, scope), shift), (1 << width) - 1)
        case Method(argument=None, type=kind, expression=text) if offset == 0:
            return _wrapped(scope.fold(parse(text)), kind)
    raise ValueError(f"{xtc_type.name}.{name} cannot be part of a dimension")


def _binary(operation: str, a: Tree, b: Tree) -> Tree:
    if isinstance(a, int) and isinstance(b, int):
        return int(_FOLDS[operation](a, b))
    return (operation, a, b)


def _wrapped(tree: Tree, kind: str) -> Tree:
    if isinstance(tree, int):
        return int(convert(tree, kind))
    return tree if kind[1] == "8" else ("wrap", tree, kind)


OPERATIONS = {
    name: number
    for number, name in enumerate(
        (
            "const", "load", "add", "sub", "mul", "floor", "shl", "shr", "and", "or", "xor", "eq", "ne", "lt", "le",
            "gt", "ge", "min", "both", "either", "select", "popcount", "wrap",
        )
    )
}  # fmt: skip
"""Numbers of the operations in a native program (`cext/xtc/_layout.pyx`)."""
KINDS = {kind: number for number, kind in enumerate(("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"))}
"""Numbers of the integer types in a native program."""


def postfix(tree: Tree) -> list[int]:
    """Return a folded expression as a program of a stack machine."""
    if isinstance(tree, int):
        return [OPERATIONS["const"], tree]
    name, *operands = tree
    if name == "load":
        return [OPERATIONS[name], operands[0], KINDS[operands[1]]]
    if name == "wrap":
        return [*postfix(operands[0]), OPERATIONS[name], KINDS[operands[1]]]
    return [word for operand in operands for word in postfix(operand)] + [OPERATIONS[name]]
