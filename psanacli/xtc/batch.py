"""Columns of payloads of any layout in one buffer, with the native core."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError, NotFoundError
from psanacli.xtc._layout import gather, gather_ragged, move
from psanacli.xtc.catalogue import Field, Member, Method
from psanacli.xtc.columns import Array, Columns, ColumnValues, text_column
from psanacli.xtc.expressions import compile_columns, compile_value, parse
from psanacli.xtc.headers import Buffer

if TYPE_CHECKING:
    from psanacli.xtc.layout import Layout, Spot
    from psanacli.xtc.record import Record

Places = NDArray[np.int64]
_SMALL = 1 << 10  # bytes


class _Pieces:
    """Where an array is stored in each object: places (n,) in the buffer, and its dimensions (n, ndim)."""

    def __init__(self, places: Places, dims: Places, dtype: np.dtype[Any]) -> None:
        self.places = places
        self.dims = dims
        self.dtype = dtype


def _alike(dims: tuple[int, ...], count: int) -> Places:
    """Return the dimensions of `count` equal objects, (count, ndim), each of them the same memory."""
    return np.ndarray((count, len(dims)), np.int64, np.array(dims, np.int64), strides=(0, 8))


class Batch(Columns):
    """Many objects of one layout: payloads in one buffer.

    Parameters
    ----------
    layout : Layout
    buffer : bytes-like
    starts, sizes : integer arrays, shape (n,)
        Place and size in bytes of each payload in the buffer.

    Raises
    ------
    DataError
        An object does not fit into its payload.
    """

    def __init__(self, layout: Layout, buffer: Buffer, starts: Places, sizes: Places) -> None:
        self.layout = layout
        self.data: NDArray[np.uint8] = np.frombuffer(buffer, np.uint8)
        self.starts = np.ascontiguousarray(starts, np.int64)
        self.limits = self.starts + np.asarray(sizes, np.int64)
        self._places = self._dims = np.zeros((0, 0), np.int64)
        if layout.program is None:
            bad = (self.limits - self.starts < layout.needed) | (self.starts < 0) | (self.limits > len(self.data))
        else:
            found, self._places, self._dims = layout.program.locate(self.data, self.starts, self.limits)
            bad = found < 0
        if bad.any():
            row = int(np.argmax(bad))
            start, limit = int(self.starts[row]), int(self.limits[row])
            if not 0 <= start <= limit <= len(self.data):
                raise DataError(f"{layout.xtc_type.name}: payload {row} is outside of the buffer")
            layout.record(memoryview(self.data).toreadonly(), start, limit)

    @classmethod
    def _located(
        cls, layout: Layout, data: NDArray[np.uint8], limits: Places, starts: Places, places: Places, dims: Places
    ) -> Batch:
        """Return the batch of objects whose variable fields are known (see `Program.locate`)."""
        batch = cls.__new__(cls)
        batch.layout, batch.data, batch.starts, batch.limits = layout, data, starts, limits
        batch._places, batch._dims = places, dims
        return batch

    def take(self, rows: Places | slice) -> Batch:
        """Return the batch of some of the objects, in the order of `rows`."""
        known = self.layout.program is not None
        return self._located(
            self.layout,
            self.data,
            self.limits[rows],
            self.starts[rows],
            self._places[rows] if known else self._places,
            self._dims[rows] if known else self._dims,
        )

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, row: int) -> Record:
        return self.layout.record(memoryview(self.data).toreadonly(), int(self.starts[row]), int(self.limits[row]))

    def __iter__(self) -> Iterator[Record]:
        return (self[row] for row in range(len(self)))

    def column(self, path: str, out: Array | None = None) -> Array:
        """Return the values of an accessor as one array.

        Parameters
        ----------
        path : str
            The accessor.
        out : array, optional
            Where to put them: C-contiguous, of the right shape and dtype; arrays are copied there without detour.

        Returns
        -------
        array, shape (n, ...)
            Arrays of objects add an axis: ``quads.data`` is (n, quads, sections, 185, 388).

        Raises
        ------
        DataError
            The shape is not the same in all objects (see `ragged`).
        """
        member, index, rest = self._find(path)
        if rest is not None:
            return self._column_inside(member.name, rest, out)
        pieces = self._pieces(member, index)
        if pieces is None:
            values = self._member(member, index)
        else:
            shape = self._common(pieces.dims, path)
            if out is None:
                out = np.empty((len(self), *shape), pieces.dtype)
            elif out.shape != (len(self), *shape) or out.dtype != pieces.dtype or not out.flags.c_contiguous:
                raise ValueError(
                    f"{path}: the output has to be a C array of shape {(len(self), *shape)}, {pieces.dtype}"
                )
            gather(self.data, pieces.places, math.prod(shape) * pieces.dtype.itemsize, out.reshape(-1).view(np.uint8))
            values = text_column(out) if pieces.dtype.kind == "S" else out
        if out is not None and values is not out:
            out[...] = values
            return out
        return values

    def stored(self, path: str) -> tuple[Places, Places, np.dtype[Any]] | None:
        """Return where the array of an accessor stands in the buffer, object by object; None if it has to be made.

        Returns
        -------
        places : int64 array (n,)
        shapes : int64 array (n, ndim)
        dtype : numpy.dtype
        """
        member, index, rest = self._find(path)
        if rest is not None:
            spot = self.layout.spots.get(member.name)
            return None if spot is None or spot.ndim or spot.item is None else self.elements(member.name).stored(rest)
        pieces = self._pieces(member, index)
        if pieces is None or pieces.dtype.kind not in "iuf":
            return None
        return pieces.places, pieces.dims, pieces.dtype

    def place_of(self, path: str) -> tuple[int, tuple[int, ...], np.dtype[Any]] | None:
        """Return offset, shape and dtype of stored numbers that are at the same place in every object; else None."""
        layout, offset = self.layout, 0
        *outer, name = path.split(".")
        for within in outer:
            spot = layout.spots.get(within)
            if spot is None or spot.item is None or spot.offset is None or spot.ndim:
                return None
            layout, offset = spot.item, offset + spot.offset
        spot = layout.spots.get(name)
        if spot is None or spot.offset is None or spot.shape is None or spot.dtype is None or spot.item or spot.text:
            return None
        return offset + spot.offset, spot.shape, spot.dtype

    def move(self, moves: Places, out: Array) -> None:
        """Copy stretches of each object into the items of a structured array, in one native call.

        Parameters
        ----------
        moves : int64 array, shape (m, 3)
            Offset in the object, offset in the item, and size in bytes.
        out : structured array, shape (n,)
            C-contiguous.
        """
        move(self.data, self.starts, moves, out.dtype.itemsize, out.view(np.uint8).reshape(-1))

    def ragged(self, path: str) -> tuple[Places, Array]:
        """Return the values of an accessor whose length differs from object to object.

        Returns
        -------
        lengths : int64 array (n,)
            Number of rows of each object.
        values : array (sum of lengths, ...)
            The rows of all objects, one after the other.  Rows are elements along the first axis of the accessor's
            array (of ``quads.data``: sections), or, if the value is a single one, the values of an array of objects
            (``fifoEvents.eventCode``).

        Raises
        ------
        DataError
            The arrays differ in more than their first axis.
        """
        member, index, rest = self._find(path)
        if rest is not None:
            return self._ragged_inside(member.name, rest)
        pieces = self._pieces(member, index)
        if pieces is None or pieces.dims.shape[1] == 0:
            values = self.column(path)
            if values.ndim == 1:
                return np.ones(len(self), np.int64), values
            return np.full(len(self), values.shape[1], np.int64), values.reshape(-1, *values.shape[2:])
        lengths = pieces.dims[:, 0]
        tail = self._common(pieces.dims[lengths > 0, 1:], path)
        size = math.prod(tail) * pieces.dtype.itemsize
        values = np.empty((int(lengths.sum()), *tail), pieces.dtype)
        gather_ragged(self.data, pieces.places, lengths * size, values.reshape(-1).view(np.uint8))
        return lengths, text_column(values) if pieces.dtype.kind == "S" else values

    def shapes(self, path: str) -> Places:
        """Return the shape of an array accessor in each object, (n, ndim); not through arrays of objects."""
        member, index, rest = self._find(path)
        if rest is not None:
            return self._inside(member.name).shapes(rest)
        pieces = self._pieces(member, index)
        if pieces is not None:
            return pieces.dims
        shape = self.column(path).shape[1:]
        return np.tile(np.array(shape, np.int64), (len(self), 1))

    def counts(self, name: str) -> Places:
        """Return the number of elements of an array of objects, for each object, (n,)."""
        return np.ascontiguousarray(self._where(name)[1].prod(axis=1))

    def elements(self, name: str) -> Batch:
        """Return the elements of an array of objects (or the nested objects) of all objects, one after the other.

        They are found once.
        """
        if name not in self._known:
            self._known[name] = self._elements(name)
        return self._known[name]

    @cached_property
    def _known(self) -> dict[str, Batch]:
        """Elements that were found."""
        return {}

    def _elements(self, name: str) -> Batch:
        item = self._item(name)
        places, dims = self._where(name)
        counts = np.ascontiguousarray(dims.prod(axis=1))
        limits = np.repeat(self.limits, counts)
        if item.program is not None:
            return Batch._located(
                item,
                self.data,
                limits,
                *item.program.elements(self.data, np.ascontiguousarray(places), counts, self.limits),
            )
        first = np.repeat(places - item.needed * (np.cumsum(counts) - counts), counts)
        starts = first + item.needed * np.arange(len(first))
        return Batch(item, self.data, starts, limits - starts)

    def _item(self, name: str) -> Layout:
        spot = self.layout.spots.get(name)
        if spot is None or spot.item is None:
            raise NotFoundError(f"{self.layout.xtc_type.name}.{name} is not an object with accessors of its own")
        return spot.item

    def _where(self, name: str) -> tuple[Places, Places]:
        """Return the place of a stored field in each object, and its dimensions."""
        spot: Spot = self.layout.spots[name]
        if spot.offset is not None and spot.shape is not None:
            return self.starts + spot.offset, _alike(spot.shape, len(self))
        return np.ascontiguousarray(self._places[:, spot.step]), self._dims[:, spot.dims : spot.dims + spot.ndim]

    def _pieces(self, member: Member, index: int | None) -> _Pieces | None:
        if isinstance(member, Field):
            spot = self.layout.spots[member.name]
            if spot.dtype is not None and spot.dtype.itemsize:
                return _Pieces(*self._where(member.name), spot.dtype)
        elif (
            isinstance(member, Method) and "view(" in member.expression and (index is None) == (member.argument is None)
        ):
            return self._view(member, index)
        return None

    def _view(self, method: Method, index: int | None) -> _Pieces | None:
        """Return the pieces of a method that shows bytes of a field as an array (``view(...) if ... else empty``)."""
        node = parse(method.expression)
        test = None
        if isinstance(node, ast.IfExp):
            test, node = node.test, node.body
        match node:
            case ast.Call(
                func=ast.Name(id="view"), args=[ast.Name(id=name), ast.Constant(value=str(kind)), offset, *dims]
            ):
                dtype = np.dtype("<" + kind)
            case _:
                return None
        shown = np.ones(len(self), bool) if test is None else self._evaluate(test, method, index) != 0
        places, stored = self._where(name)
        begin = self._evaluate(offset, method, index)
        shape = np.stack([self._evaluate(dim, method, index) for dim in dims], axis=1)
        shape[~shown] = 0
        room = stored.prod(axis=1) * self.layout.spots[name].dtype.itemsize  # type: ignore[union-attr]
        needed = shape.astype(float).prod(axis=1) * dtype.itemsize + np.where(shown, begin, 0)
        bad = (needed > room) | (shape.min(axis=1) < 0) | (begin < 0)
        if bad.any():
            getattr(self[int(np.argmax(bad))], method.name)
            raise DataError(f"{self.layout.xtc_type.name}.{method.name} needs more bytes than are stored")
        return _Pieces(places + np.where(shown, begin, 0), shape, dtype)

    def _evaluate(self, node: ast.expr, method: Method, index: int | None) -> Array:
        arguments = () if method.argument is None else (method.argument,)
        function = compile_columns(ast.unparse(node), self.layout.xtc_type, *arguments)
        if function is None:
            single = compile_value(ast.unparse(node), self.layout.xtc_type, *arguments)
            values = np.array([single(record, *([] if index is None else [index])) for record in self])
        else:
            values = function(ColumnValues(self), *([] if index is None else [index]))
        return np.array(np.broadcast_to(values, (len(self),)), np.int64)

    def _common(self, dims: Places, path: str) -> tuple[int, ...]:
        """Return the dimensions that all objects share."""
        if not len(dims):
            return (0,) * int(dims.shape[1])
        if dims.strides[0] and (dims != dims[0]).any():
            row = int(np.argmax((dims != dims[0]).any(axis=1)))
            raise DataError(
                f"{self.layout.xtc_type.name}: the shape of {path} changes "
                f"from {tuple(dims[0].tolist())} to {tuple(dims[row].tolist())}"
            )
        return tuple(int(dim) for dim in dims[0])

    def _column_inside(self, name: str, rest: str, out: Array | None) -> Array:
        shape = self._common(self._where(name)[1], name)
        inner = None if out is None else out.reshape(-1, *out.shape[1 + len(shape) :])
        values = self.elements(name).column(rest, inner)
        return out if out is not None else values.reshape(len(self), *shape, *values.shape[1:])

    def _ragged_inside(self, name: str, rest: str) -> tuple[Places, Array]:
        lengths, values = self.elements(name).ragged(rest)
        ends = np.cumsum(self.counts(name))
        sums = np.concatenate(([0], np.cumsum(lengths)))
        return sums[ends] - sums[np.concatenate(([0], ends[:-1]))] if len(ends) else ends, values

    def _shape(self) -> tuple[int, ...]:
        return (len(self),)

    def _stored(self, name: str) -> Array:
        spot = self.layout.spots[name]
        if spot.dtype is None and spot.text:
            return self._one_by_one(lambda record: getattr(record, name).encode("latin-1"))
        if spot.dtype is None:
            raise NotFoundError(
                f"{self.layout.xtc_type.name}.{name} has objects of variable size; name one of their accessors"
            )
        if not spot.dtype.itemsize:
            return np.zeros((len(self), *(spot.shape or ())), spot.dtype)
        return self.column(name) if self._records is None else np.asarray(self._records[name])

    @cached_property
    def _records(self) -> Array | None:
        """All objects one behind the other, if they are small; their fields are then views."""
        layout = self.layout
        if layout.size is None or layout.size != layout.needed or layout.size > _SMALL or layout.dtype is None:
            return None
        records = np.empty(len(self), layout.dtype)
        gather(self.data, self.starts, layout.size, records.view(np.uint8))
        return records

    def _inside(self, name: str) -> Batch:
        self._item(name)
        if self.layout.spots[name].ndim:
            raise NotFoundError(f"{self.layout.xtc_type.name}.{name} is an array of objects")
        return self.elements(name)

    def _one_by_one(self, get: Callable[[Record], Any]) -> Array:
        return np.array([get(record) for record in self])
