"""Columns: the values of an accessor for many objects at once.

`RecordColumns` works on a structured array of objects of fixed size, `psanacli.xtc.batch.Batch` on payloads of any
layout in one buffer.  Names of accessors may lead into nested objects (``quads.data``, ``fifoEvents.eventCode``); an
accessor with an index is one column for all its indices, or for one of them (``data_u16(2)``).
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError, NotFoundError, did_you_mean
from psanacli.xtc.catalogue import NUMBERS, Bits, Field, Member, Method
from psanacli.xtc.expressions import compile_columns, convert_array, missing_config

if TYPE_CHECKING:
    from psanacli.xtc.layout import Layout
    from psanacli.xtc.record import Record

Array = NDArray[Any]
_PATH = re.compile(r"(\w+)(?:\((\d+)\))?(?:\.(.+))?")


def text_column(array: Array) -> Array:
    """Return texts cut at their first NUL (numpy itself only drops trailing ones)."""
    if array.dtype.itemsize == 0:
        return array
    letters = np.array(array, order="C").reshape(-1).view(np.uint8).reshape(-1, array.dtype.itemsize)
    letters[np.logical_or.accumulate(letters == 0, axis=1)] = 0
    return letters.reshape(-1).view(array.dtype).reshape(array.shape)


def _widened(array: Array) -> Array:
    if array.dtype.kind == "f":
        return array.astype(np.float64)
    return array if array.dtype == np.uint64 else array.astype(np.int64)


class ColumnValues:
    """Scope of an expression for columns: its attributes are whole columns, in 64 bits.

    With `axis` single values have a last axis of length 1, for the values of an index.
    """

    def __init__(self, columns: Columns, axis: bool = False) -> None:
        self._columns = columns
        self._axis = axis

    def __getattr__(self, name: str) -> Any:
        if name == "_config_":
            config = self._columns.layout.config
            if config is None:
                raise missing_config(self._columns.layout.xtc_type)
            return config
        member = self._columns.layout.xtc_type.members[name]
        if isinstance(member, Field) and member.nested:
            return ColumnValues(self._columns._inside(name), self._axis)
        values = _widened(self._columns._member(member, None))
        return values[..., None] if self._axis and values.ndim == len(self._columns._shape()) else values


class Columns(ABC):
    """The values of many objects of one layout."""

    layout: Layout

    @abstractmethod
    def _stored(self, name: str) -> Array:
        """Return a stored field (numbers, text, or structured) of all objects."""

    @abstractmethod
    def _inside(self, name: str) -> Columns:
        """Return the columns of a nested object (not an array)."""

    @abstractmethod
    def _one_by_one(self, get: Callable[[Record], Any]) -> Array:
        """Return what `get` gives for each object."""

    def _find(self, path: str) -> tuple[Member, int | None, str | None]:
        match = _PATH.fullmatch(path)
        name = match.group(1) if match else path
        members = self.layout.xtc_type.members
        if match is None or name not in members:
            raise NotFoundError(
                f"{self.layout.xtc_type.name} has no {name}", did_you_mean(name, self.layout.xtc_type.accessors)
            )
        index = match.group(2)
        return members[name], None if index is None else int(index), match.group(3)

    def _member(self, member: Member, index: int | None) -> Array:
        match member:
            case Field():
                values = self._stored(member.name)
                return text_column(values) if member.type == "char" else values
            case Bits():
                word = self._stored(member.word)
                return convert_array(
                    word >> member.shift & np.uint64((1 << member.width) - 1).astype(word.dtype), member.type
                )
            case Method():
                return self._method(member, index)

    def _method(self, method: Method, index: int | None) -> Array:
        xtc_type = self.layout.xtc_type
        key = f"columns of {method.name}"
        if key not in xtc_type.compiled:
            arguments = () if method.argument is None else (method.argument,)
            xtc_type.compiled[key] = compile_columns(method.expression, xtc_type, *arguments)
        function = xtc_type.compiled[key]
        shape = self._shape()
        every = method.argument is not None and index is None
        if function is None or (every and not (method.count or "").isdigit()):
            if index is None:
                array = self._one_by_one(lambda record: record.values_of(method.name))
            else:
                array = self._one_by_one(lambda record: getattr(record, method.name)(index))
            return convert_array(array, method.type) if method.type in NUMBERS else array
        if every:
            shape = (*shape, int(method.count or ""))
            values = function(ColumnValues(self, axis=True), np.arange(shape[-1]))
        else:
            values = function(ColumnValues(self)) if index is None else function(ColumnValues(self), index)
        if method.rank:
            values = np.stack([np.broadcast_to(value, shape) for value in values], axis=-1)
            shape = values.shape
        return convert_array(np.broadcast_to(values, shape), method.type)

    @abstractmethod
    def _shape(self) -> tuple[int, ...]:
        """Shape of the array of objects."""


class RecordColumns(Columns):
    """Columns of a structured array of objects of fixed size (any shape)."""

    def __init__(self, layout: Layout, records: Array) -> None:
        if layout.size is None or records.dtype.itemsize != layout.size:
            raise DataError(f"{layout.xtc_type.name}: not an array of objects of {layout.size} bytes")
        self.layout = layout
        self.records = records

    def column(self, path: str) -> Array:
        """Return the values of an accessor; the first axes are those of the array of objects."""
        member, index, rest = self._find(path)
        if rest is not None:
            return self._inside(member.name).column(rest)
        return self._member(member, index)

    def _shape(self) -> tuple[int, ...]:
        return self.records.shape

    def _stored(self, name: str) -> Array:
        spot = self.layout.spots[name]
        if spot.dtype is not None and not spot.dtype.itemsize:
            return np.zeros((*self.records.shape, *(spot.shape or ())), spot.dtype)
        return np.asarray(self.records[name])

    def _inside(self, name: str) -> RecordColumns:
        item = self.layout.spots[name].item
        if item is None:
            raise NotFoundError(f"{self.layout.xtc_type.name}.{name} is not an object with accessors of its own")
        return RecordColumns(item, self._stored(name))

    def _one_by_one(self, get: Callable[[Record], Any]) -> Array:
        size = self.layout.needed
        data = memoryview(np.ascontiguousarray(self.records).reshape(-1).tobytes())
        values = [get(self.layout.record(data, i * size, (i + 1) * size)) for i in range(self.records.size)]
        array = np.array(values)
        return array.reshape(self.records.shape + array.shape[1:])
