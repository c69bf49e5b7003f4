"""Records: objects as views into the bytes that were read, with the accessors of the catalogue as attributes."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, overload

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError, UsageError, did_you_mean
from psanacli.xtc._layout import BitField, Number, View
from psanacli.xtc.catalogue import Bits, Field, Method, XtcType
from psanacli.xtc.expressions import compile_value, convert, convert_array, missing_config

if TYPE_CHECKING:
    from psanacli.xtc.layout import Layout

_CODES = {"u1": "B", "i1": "b", "u2": "H", "i2": "h", "u4": "I", "i4": "i", "u8": "Q", "i8": "q", "f4": "f", "f8": "d"}
_LONGEST_REPR = 1000
_MANY = 256


class Record(View):
    """One object: a view into the bytes it was decoded from.

    Each accessor of the catalogue is an attribute: numbers are Python numbers, text is `str`, arrays are read-only
    numpy views (None where the array does not apply, as ``data8`` of a 16-bit frame), nested objects are records,
    arrays of objects `Records`.  Accessors with an index are methods.  A record keeps its bytes, not its file or
    event.
    """

    __slots__ = ()

    xtc_type: ClassVar[XtcType]

    @property
    def _config_(self) -> Record:
        config: Record | None = self._layout_.config
        if config is None:
            raise missing_config(self.xtc_type)
        return config

    def asdict(self) -> dict[str, Any]:
        """Return all public accessors with plain values.

        Nested objects become dicts, arrays of objects lists; arrays of numbers stay numpy views; accessors with an
        index become lists over all indices.
        """
        return {name: _plain(self.values_of(name)) for name in self.xtc_type.accessors}

    def values_of(self, name: str) -> Any:
        """Return the value of an accessor; of one with an index its values for all indices: a list or a long array."""
        value = getattr(self, name)
        member = self.xtc_type.members[name]
        if not isinstance(member, Method) or member.count is None:
            return value
        count = _count(self, member)
        if member.count.isdigit() and count > _MANY and not member.rank and "[" in member.expression:
            start = np.array([self._start_])
            return self._layout_.batch(self._buffer_, start, self._end_ - start).column(name)[0]
        return [value(i) for i in range(count)]

    def __bytes__(self) -> bytes:
        return bytes(self._buffer_[self._start_ : min(self._start_ + self._size_, self._end_)])

    @property
    def _size_(self) -> int:
        return self._places_[0] if self._places_ else self._layout_.needed

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise AttributeError(
            f"{self.xtc_type.name} has no {name}; {did_you_mean(name, self.xtc_type.accessors, 'see dir() of it')}"
        )

    def __dir__(self) -> list[str]:
        return [*self.xtc_type.accessors, "asdict", "values_of", "xtc_type"]

    def __reduce__(self) -> tuple[object, tuple[Any, ...]]:
        from psanacli.xtc.layout import decode

        return decode, (self.xtc_type, bytes(self), self._layout_.config)

    def __repr__(self) -> str:
        parts = []
        length = 0
        for name in self.xtc_type.accessors:
            try:
                text = f"{name}={_short(self.values_of(name), self.xtc_type, name)}"
            except (DataError, LookupError) as error:
                text = f"{name}=<{error}>"
            length += len(text) + 2
            if length > _LONGEST_REPR:
                parts.append("...")
                break
            parts.append(text)
        return f"{self.xtc_type.name}({', '.join(parts)})"


class Records(Sequence[Record]):
    """An array of objects: a sequence of records; `column` gives the values of one accessor of all of them."""

    __slots__ = ("_buffer", "_end", "_layout", "_starts")

    def __init__(self, layout: Layout, buffer: memoryview, starts: Sequence[int], end: int) -> None:
        self._layout = layout
        self._buffer = buffer
        self._starts = starts
        self._end = end

    @property
    def xtc_type(self) -> XtcType:
        """The type of the elements."""
        return self._layout.xtc_type

    def column(self, name: str) -> NDArray[Any]:
        """Return the values of an accessor of all elements, shape (len, ...)."""
        starts = np.array(self._starts, np.int64)
        return self._layout.batch(self._buffer, starts, self._end - starts).column(name)

    def asdict(self) -> list[dict[str, Any]]:
        """Return the elements as a list of dicts, as `Record.asdict`."""
        return [record.asdict() for record in self]

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Records: ...
    def __getitem__(self, index: int | slice) -> Record | Records:
        if isinstance(index, slice):
            return Records(self._layout, self._buffer, self._starts[index], self._end)
        return self._layout.record(self._buffer, self._starts[index], self._end)

    def __iter__(self) -> Iterator[Record]:
        return (self._layout.record(self._buffer, start, self._end) for start in self._starts)

    def __repr__(self) -> str:
        return f"<{len(self)} x {self.xtc_type.name}>"


def _plain(value: Any) -> Any:
    if isinstance(value, (Record, Records)):
        return value.asdict()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _short(value: Any, xtc_type: XtcType, name: str) -> str:
    if isinstance(value, np.ndarray):
        return repr(value.tolist()) if value.size <= 8 else f"<{value.dtype} array {value.shape}>"
    if isinstance(value, int) and (enum := xtc_type.enum_of(name)) and (label := enum.name_of(value)):
        return f"{value} ({label})"
    return repr(value)


def _count(record: Record, method: Method) -> int:
    key = f"count of {method.name}"
    function = record.xtc_type.compiled.get(key)
    if function is None:
        function = record.xtc_type.compiled[key] = compile_value(method.count or "", record.xtc_type)
    return int(function(record))


def record_class(xtc_type: XtcType) -> type[Record]:
    """Return the class of the records of a type (made when first needed)."""
    known: type[Record] | None = xtc_type.compiled.get("record")
    if known is None:
        known = xtc_type.compiled["record"] = _make_class(xtc_type)
    return known


def _heads(xtc_type: XtcType) -> list[tuple[int, str, str]]:
    """Return offset, name and type of the numbers at fixed places."""
    return sorted(
        (field.offset, field.name, field.type)
        for field in xtc_type.fields
        if field.offset is not None and not field.shape and not field.nested
    )


def head_struct(xtc_type: XtcType) -> struct.Struct:
    """Return what unpacks the numbers at fixed places of a type."""
    form, position = ["<"], 0
    for offset, _, kind in _heads(xtc_type):
        form.append(f"{offset - position}x{_CODES[kind]}")
        position = offset + int(kind[1])
    return struct.Struct("".join(form))


def _make_class(xtc_type: XtcType) -> type[Record]:
    index = {name: number for number, (_, name, _) in enumerate(_heads(xtc_type))}
    package, _, short = xtc_type.name.partition(".")
    space: dict[str, Any] = {
        "__slots__": (),
        "__doc__": f"A record of type {xtc_type.name}.",
        "__qualname__": short,
        "__module__": f"psanacli.xtc.{package}",
        "xtc_type": xtc_type,
    }
    for name, member in xtc_type.members.items():
        match member:
            case Field() if name in index:
                space[name] = Number(index[name])
            case Field():
                space[name] = _stored(name)
            case Bits():
                space[name] = _bits(index[member.word], member)
            case Method(argument=None):
                space[name] = _derived(xtc_type, member)
            case Method():
                space[name] = _indexed(xtc_type, member)
    return type(short, (Record,), space)


def _stored(name: str) -> property:
    return property(lambda self: self._layout_.spots[name].read(self))


def _bits(index: int, bits: Bits) -> BitField | property:
    shift, mask, kind = bits.shift, (1 << bits.width) - 1, bits.type
    if kind[0] == "i" and bits.width >= 8 * int(kind[1]):
        return property(lambda self: convert(self._head_[index] >> shift & mask, kind))
    return BitField(index, shift, mask)


def _finish(value: Any, method: Method) -> Any:
    if method.rank:
        return None if value is None else convert_array(value, method.type)
    return convert(value, method.type) if method.type[1:].isdigit() else value


def _derived(xtc_type: XtcType, method: Method) -> property:
    function: Callable[..., Any] | None = None

    def get(self: Record) -> Any:
        nonlocal function
        if function is None:
            function = compile_value(method.expression, xtc_type)
        try:
            return _finish(function(self), method)
        except ZeroDivisionError:
            raise DataError(f"{xtc_type.name}.{method.name}: division by zero") from None

    return property(get)


def _indexed(xtc_type: XtcType, method: Method) -> Callable[..., Any]:
    function: Callable[..., Any] | None = None

    def call(self: Record, index: int) -> Any:
        nonlocal function
        if function is None:
            function = compile_value(method.expression, xtc_type, method.argument or "")
        index = int(index)
        if not 0 <= index < (count := _count(self, method)):
            raise UsageError(f"{xtc_type.name}.{method.name}({index}): {method.argument} runs from 0 to {count - 1}")
        try:
            return _finish(function(self, index), method)
        except ZeroDivisionError:
            raise DataError(f"{xtc_type.name}.{method.name}({index}): division by zero") from None

    call.__name__ = method.name
    call.__doc__ = f"``{method.expression}``"
    return call
