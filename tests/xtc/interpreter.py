"""A plain interpreter of the catalogue: slow, obvious, and independent of how psanacli evaluates it."""

from __future__ import annotations

import ast
import math
import struct

import numpy as np

from psanacli.xtc import Record, Records, named
from psanacli.xtc.catalogue import Bits, Field, Method

CODES = {"u1": "B", "i1": "b", "u2": "H", "i2": "h", "u4": "I", "i4": "i", "u8": "Q", "i8": "q", "f4": "f", "f8": "d"}


class Corrupt(Exception):
    """The bytes contradict themselves."""


class Object:
    """One object in a payload: the place of every field, found one after the other."""

    def __init__(self, xtc_type, data, start=0, config=None):
        self.type, self.data, self.start, self.config = xtc_type, data, start, config
        self.fields = {}
        position = start
        for field in xtc_type.fields:
            if field.offset is not None:
                position = start + field.offset
            value, position = self._field(field, position)
            self.fields[field.name] = value
            if field.name == xtc_type.config_inside:
                self.config = value
        size = position - start
        if xtc_type.size is not None:
            size = xtc_type.size
            if start + size > len(data):
                raise Corrupt
        self.size = -(-size // xtc_type.align) * xtc_type.align

    def _field(self, field, position):
        shape = []
        for dim in field.shape:
            if dim == "rest":
                shape.append((len(self.data) - position) // named(field.type).size)
            else:
                shape.append(dim if isinstance(dim, int) else self.evaluate(ast.parse(dim, mode="eval").body, {}))
        if any(not 0 <= dim < 2**31 for dim in shape):
            raise Corrupt
        count = math.prod(shape)
        if field.nested:
            values = []
            for _ in range(count):
                if position > len(self.data):
                    raise Corrupt
                values.append(Object(named(field.type), self.data, position, self.config))
                position += values[-1].size
            return (values if field.shape else values[0]), position
        size = 1 if field.type == "char" else int(field.type[1])
        end = position + count * size
        if end > len(self.data):
            raise Corrupt
        raw = self.data[position:end]
        if field.type == "char":
            if len(shape) > 1:
                return [text(raw[i : i + shape[-1]]) for i in range(0, len(raw), shape[-1])], end
            return text(raw), end
        numbers = list(struct.unpack(f"<{count}{CODES[field.type]}", raw))
        if not shape:
            return numbers[0], end
        array = Stored(nest(numbers, shape))
        array.raw = raw
        return array, end

    def get(self, name):
        member = self.type.members[name]
        if isinstance(member, Field):
            return self.fields[name]
        if isinstance(member, Bits):
            return wrap(self.get(member.word) >> member.shift & (1 << member.width) - 1, member.type)
        assert isinstance(member, Method)
        if member.argument is not None:
            return lambda index: self._method(member, {member.argument: index})
        return self._method(member, {})

    def _method(self, method, local):
        return deep(self.evaluate(ast.parse(method.expression, mode="eval").body, local), method.type)

    def all_values(self, name):
        """Return the value of an accessor, for all indices if it has one."""
        member = self.type.members[name]
        value = self.get(name)
        if isinstance(member, Method) and member.argument is not None:
            count = self.evaluate(ast.parse(member.count, mode="eval").body, {})
            return [value(i) for i in range(count)]
        return value

    def evaluate(self, node, local):
        def ev(x):
            return self.evaluate(x, local)

        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id="empty"):
                return None
            case ast.Name(id=name):
                if name in local:
                    return local[name]
                return self.config if name == "config" else self.get(name)
            case ast.Attribute(value=owner, attr=name):
                return ev(owner).get(name)
            case ast.Subscript(value=value, slice=ast.Slice(lower=None, upper=upper)):
                return ev(value)[: ev(upper)]
            case ast.Subscript(value=value, slice=index):
                return ev(value)[ev(index)]
            case ast.BinOp(left=left, op=op, right=right):
                return binary(op, ev(left), ev(right))
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                a, b = ev(left), ev(right)
                match op:
                    case ast.Eq():
                        return a == b
                    case ast.NotEq():
                        return a != b
                    case ast.Lt():
                        return a < b
                    case ast.LtE():
                        return a <= b
                    case ast.Gt():
                        return a > b
                    case _:
                        return a >= b
            case ast.BoolOp(op=ast.And(), values=values):
                return all(ev(value) for value in values)
            case ast.BoolOp(values=values):
                return any(ev(value) for value in values)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return not ev(operand)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -ev(operand)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return ev(body) if ev(test) else ev(orelse)
            case ast.ListComp(elt=elt, generators=[generator]):
                return [self.evaluate(elt, {**local, generator.target.id: x}) for x in ev(generator.iter)]
            case ast.Call(func=ast.Name(id=name), args=args) if name in FUNCTIONS and name not in self.type.members:
                return FUNCTIONS[name](*map(ev, args))
            case ast.Call(func=func, args=[arg]):
                return ev(func)(ev(arg))
        raise AssertionError(ast.dump(node))


def binary(op, a, b):
    match op:
        case ast.Add():
            return a + b
        case ast.Sub():
            return a - b
        case ast.Mult():
            return a * b
        case ast.FloorDiv():
            if b == 0:
                raise Corrupt
            return a // b
        case ast.Div():
            with np.errstate(all="ignore"):
                return float(np.float64(a) / np.float64(b))
        case ast.LShift():
            return a << b
        case ast.RShift():
            return a >> b
        case ast.BitAnd():
            return a & b
        case ast.BitOr():
            return a | b
        case ast.BitXor():
            return a ^ b
    raise AssertionError(op)


class Stored(list):
    """A stored array of numbers, with its bytes."""

    raw = b""


def view(array, kind, offset, *shape):
    count = math.prod(shape)
    if offset + count * int(kind[1]) > len(array.raw) or min(shape) < 0:
        raise Corrupt
    return nest(list(struct.unpack_from(f"<{count}{CODES[kind]}", array.raw, offset)), list(shape))


def polyval(c, x):
    result = 0.0
    for k in reversed(c):
        result = k + x * result
    return result


def running(values):
    sums, total = [], 0.0
    for value in values:
        total += value
        sums.append(total)
    return sums


FUNCTIONS = {
    "popcount": lambda x: bin(x).count("1"), "sum": sum, "any": any, "min": min, "range": range, "cumsum": running,
    "polyval": polyval, "view": view, "f32": lambda x: wrap(x, "f4"), "f64": float,
    **{f"{k}{8 * n}": (lambda x, t=f"{k}{n}": wrap(x, t)) for k in "ui" for n in (1, 2, 4, 8)},
}  # fmt: skip


def wrap(value, kind):
    if kind == "f8":
        return float(value)
    if kind == "f4":
        return float(np.array([value], np.float64).astype(np.float32)[0])
    bits = 8 * int(kind[1])
    value = int(value) % (1 << bits)
    return value - (1 << bits) if kind[0] == "i" and value >= 1 << bits - 1 else value


def deep(value, kind):
    if isinstance(value, list):
        return [deep(x, kind) for x in value]
    return wrap(value, kind) if isinstance(value, (int, float)) and kind[1:].isdigit() else value


def text(raw):
    return raw.split(b"\0", 1)[0].decode("latin-1")


def nest(numbers, shape):
    for length in reversed(shape[1:]):
        numbers = [numbers[i : i + length] for i in range(0, len(numbers), length)] if length else []
    return numbers if 0 not in shape else []


def plain(value):
    """Return values of both kinds in one form, for comparison."""
    if isinstance(value, Object):
        return {name: plain(value.all_values(name)) for name in value.type.accessors}
    if isinstance(value, Record):
        return {name: plain(value.values_of(name)) for name in value.xtc_type.accessors}
    if isinstance(value, np.ndarray):
        return plain(value.tolist()) if value.size else []
    if isinstance(value, (list, Records)):
        return [plain(x) for x in value]
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    return value
