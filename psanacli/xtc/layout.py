"""Layouts: a type with its configuration object put in, ready to decode one object or a batch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError, UsageError
from psanacli.xtc._layout import Program
from psanacli.xtc.catalogue import Field, XtcType, named
from psanacli.xtc.dimensions import Scope, Tree, postfix
from psanacli.xtc.expressions import parse
from psanacli.xtc.headers import Buffer
from psanacli.xtc.record import Record, Records, head_struct, record_class

if TYPE_CHECKING:
    from psanacli.xtc.batch import Batch

_LARGEST = 2**31 - 1


class Spot:
    """Where a field is, and how it is read.

    Attributes
    ----------
    offset : int or None
        From the start of the object; None: `step` says which place of the located ones it is.
    shape : tuple of int or None
        Dimensions of the array, without the length of text; None when they depend on the object.
    ndim : int
        Number of dimensions.
    dims : int
        Where the dimensions begin among the located ones.
    item : Layout or None
        Layout of the elements, when they are objects.
    dtype : numpy.dtype or None
        Of the elements; None for objects of variable size.
    """

    __slots__ = ("_dims", "_place", "dims", "dtype", "field", "item", "ndim", "offset", "shape", "step", "text")

    def __init__(self, field: Field, item: Layout | None, dtype: np.dtype[Any] | None, ndim: int) -> None:
        self.field = field
        self.item = item
        self.dtype = dtype
        self.ndim = ndim
        self.text = field.type == "char"
        self.offset: int | None = None
        self.shape: tuple[int, ...] | None = None
        self.step = self.dims = 0

    def read(self, record: Record) -> Any:
        """Return the value of the field of a record."""
        if self.offset is not None and self.shape is not None:
            start, shape = record._start_ + self.offset, self.shape
        else:
            steps = record._layout_.steps
            places = record._places_
            start = record._start_ + places[1 + self.step]
            shape = places[1 + steps + self.dims : 1 + steps + self.dims + self.ndim]
        if self.text:
            return _text(record._buffer_, start, shape, self.dtype)
        if self.item is not None:
            return self._objects(record, start, shape)
        array: NDArray[Any] = np.ndarray(shape, self.dtype, record._buffer_, start)
        return array if self.ndim else array.item()

    def _objects(self, record: Record, start: int, shape: tuple[int, ...]) -> Record | Records:
        item = self.item
        assert item is not None
        buffer, end = record._buffer_, record._end_
        if not self.ndim:
            return item.record(buffer, start, end)
        (count,) = shape
        if item.program is None:
            return Records(item, buffer, range(start, start + count * item.needed, item.needed or 1), end)
        where = (np.array([x], np.int64) for x in (start, count, end))
        return Records(item, buffer, item.program.elements(buffer, *where)[0].tolist(), end)


def _text(buffer: memoryview, start: int, shape: tuple[int, ...], dtype: np.dtype[Any] | None) -> Any:
    """Return text, or a list of texts, up to the first NUL, Latin-1; without dtype the last dimension is the length."""
    if dtype is None:
        return bytes(buffer[start : start + shape[-1]]).split(b"\0", 1)[0].decode("latin-1")
    size = dtype.itemsize
    texts = [
        bytes(buffer[place : place + size]).split(b"\0", 1)[0].decode("latin-1")
        for place in range(start, start + math.prod(shape) * size, size)
    ]
    return texts if shape or len(texts) != 1 else texts[0]


class Layout:
    """A type with its configuration object put in.

    Attributes
    ----------
    xtc_type : XtcType
    config : Record or None
        The configuration object.
    size : int or None
        Bytes of an object, None when it depends on its data.
    needed : int
        Least number of bytes of an object.
    spots : dict of str to Spot
        Place of each stored field.
    program : Program or None
        Native program that locates the variable fields; None when the size is fixed.
    """

    __slots__ = (
        "_code", "_dtype", "config", "needed", "program", "record_class", "size", "spots", "steps", "unpack",
        "xtc_type",
    )  # fmt: skip

    def __init__(self, xtc_type: XtcType, config: Record | None) -> None:
        self.xtc_type = xtc_type
        self.config = config
        self.spots: dict[str, Spot] = {}
        self._dtype: np.dtype[Any] | None = None
        self.record_class = record_class(xtc_type)
        self.unpack = head_struct(xtc_type).unpack_from
        scope = Scope(xtc_type, config)
        position = dimensions = 0
        code: list[tuple[Spot, list[Tree | None]]] = []
        for field in xtc_type.fields:
            spot, trees = self._spot(field, scope)
            if not code and field.offset is not None:
                position = field.offset
            if not code and spot.dtype is not None and all(isinstance(tree, int) for tree in trees):
                shape = tuple(int(tree) for tree in trees if isinstance(tree, int))
                if min(shape, default=0) < 0 or max(shape, default=0) > _LARGEST:
                    raise DataError(f"{xtc_type.name}: {field.name} cannot have the shape {shape}")
                spot.offset, spot.shape = position, shape
                position += math.prod(shape) * spot.dtype.itemsize
                if position > _LARGEST:
                    raise DataError(f"{xtc_type.name}: {field.name} would have the shape {shape}")
            else:
                spot.step, spot.dims = len(code), dimensions
                dimensions += len(trees)
                code.append((spot, trees))
            self.spots[field.name] = spot
        self._code = code
        self.steps = len(code)
        self.needed = position
        self.size: int | None = None
        self.program: Program | None = None
        if code:
            words: list[int] = []
            block = self._emit(words)
            self.program = Program(words, block)
        else:
            self.size = self.needed = xtc_type.size or -(-position // xtc_type.align) * xtc_type.align

    def _spot(self, field: Field, scope: Scope) -> tuple[Spot, list[Tree | None]]:
        trees: list[Tree | None] = [
            dim if isinstance(dim, int) else None if dim == "rest" else scope.fold(parse(dim)) for dim in field.shape
        ]
        if field.nested:
            item = bind(named(field.type), self.config)
            dtype = item.dtype if item.program is None else None
            return Spot(field, item, dtype, len(trees)), trees
        if field.type != "char":
            return Spot(field, None, np.dtype("<" + field.type), len(trees)), trees
        if isinstance(trees[-1], int):
            return Spot(field, None, np.dtype(f"S{trees.pop()}"), len(trees)), trees
        return Spot(field, None, None, len(trees)), trees

    def _emit(self, words: list[int]) -> int:
        """Append the blocks of this type and of those inside it to a native program; return the place of its own."""
        steps: list[int] = []
        for spot, trees in self._code:
            if spot.item is not None and spot.item.program is not None:
                steps += [1, spot.item._emit(words)]
            else:
                size = 1 if spot.dtype is None else spot.dtype.itemsize
                steps += [2 if None in trees else 0, size]
            steps.append(len(trees))
            for tree in trees:
                expression = [] if tree is None else postfix(tree)
                steps += [len(expression), *expression]
        block = len(words)
        words += [self.needed, self.xtc_type.align, len(self._code), *steps]
        return block

    @property
    def head(self) -> int | None:
        """Bytes at the beginning of an object that tell its size; None when all of it has to be looked at."""
        if any(spot.item is not None and spot.item.program is not None for spot, _ in self._code):
            return None
        return max([self.needed, *(_reach(tree) for _, trees in self._code for tree in trees)])

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """The numpy type of an object of fixed size: one field for each stored field, under its name; else None."""
        if self.size is None or self._dtype is not None:
            return self._dtype
        names, formats, offsets = [], [], []
        for name, spot in self.spots.items():
            if spot.dtype is not None and spot.dtype.itemsize:
                names.append(name)
                formats.append((spot.dtype, spot.shape) if spot.shape else spot.dtype)
                offsets.append(spot.offset)
        members: Any = {"names": names, "formats": formats, "offsets": offsets, "itemsize": self.size}
        self._dtype = np.dtype(members)
        return self._dtype

    def record(self, buffer: memoryview, start: int, end: int) -> Record:
        """Return the object that begins at `start` of a read-only buffer and does not reach beyond `end`.

        Raises
        ------
        DataError
            It does not fit.
        """
        if self.program is None:
            if end - start < self.needed:
                raise self.misfit((-1, -1, self.needed, end - start))
            places: tuple[int, ...] = ()
        else:
            places = self.program.place(buffer, start, end)
            if places[0] < 0:
                raise self.misfit(places)
        return self.record_class(self, buffer, start, end, places)

    def misfit(self, fault: tuple[int, ...]) -> DataError:
        """Return the error for an object that does not fit into its payload (see `Program.place`)."""
        _, step, needed, found = fault
        what = "" if step < 0 else f" up to {self._code[step][0].field.name}"
        if needed < 0:
            field = self._code[step][0].field
            return DataError(
                f"{self.xtc_type.name}: the size of {field.name}[{', '.join(map(str, field.shape))}] is impossible; "
                f"the payload has {found} bytes"
            )
        return DataError(f"{self.xtc_type.name}: needs {needed} bytes{what}, the payload has {found}")

    def batch(self, buffer: Buffer, starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> Batch:
        """Return many objects at once: payloads of `sizes` bytes at `starts` in one buffer.

        Raises
        ------
        DataError
            An object does not fit into its payload; `fits` finds them beforehand.
        """
        from psanacli.xtc.batch import Batch

        return Batch(self, buffer, starts, sizes)

    def one(self, payload: Buffer) -> Batch:
        """Return one object, its payload, in the form of a batch; see `batch`."""
        return self.batch(payload, np.zeros(1, np.int64), np.array([len(payload)]))

    def fits(self, buffer: Buffer, starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return for many payloads whether an object of this layout fits into it, shape (n,)."""
        starts = np.ascontiguousarray(starts, np.int64)
        sizes = np.ascontiguousarray(sizes, np.int64)
        data = np.frombuffer(buffer, np.uint8)
        if self.program is not None:
            return np.asarray(self.program.locate(data, starts, starts + sizes)[0] >= 0)
        return (sizes >= self.needed) & (starts >= 0) & (starts <= len(data) - sizes)

    def column(self, records: NDArray[Any], name: str) -> NDArray[Any]:
        """Return the values of an accessor for an array of objects of fixed size.

        Parameters
        ----------
        records : structured array of `dtype`, any shape
            The objects.
        name : str
            An accessor; ``a.b`` for one of a nested object.

        Returns
        -------
        array
            Shape of `records`, then that of the value; of the type in the catalogue.
        """
        from psanacli.xtc.columns import RecordColumns

        return RecordColumns(self, records).column(name)

    def __repr__(self) -> str:
        return f"<Layout {self.xtc_type.name} {'of variable size' if self.size is None else f'{self.size} bytes'}>"


def _reach(tree: Tree | None) -> int:
    """Return behind which byte nothing is stored that an expression needs."""
    if not isinstance(tree, tuple):
        return 0
    if tree[0] == "load":
        return int(tree[1]) + np.dtype(tree[2]).itemsize
    return max(_reach(operand) for operand in tree[1:] if not isinstance(operand, str))


def bind(xtc_type: XtcType, config: Record | None = None) -> Layout:
    """Return the layout of a type.

    Parameters
    ----------
    xtc_type : XtcType
        The type.
    config : Record, optional
        The configuration object of the same source, for types that need one (`XtcType.config_types`).  Types of fixed
        size can be bound without; then only the accessors that use it are missing.

    Raises
    ------
    NotFoundError
        The layout depends on a configuration object, and none is given.
    UsageError
        The configuration object is of a type that cannot decode this type.
    DataError
        The configuration object asks for impossible dimensions.
    """
    if not xtc_type.config_types:
        config = None
    elif config is not None and config.xtc_type.name not in xtc_type.config_types:
        raise UsageError(
            f"{xtc_type.name} is decoded with {' or '.join(xtc_type.config_types)}, not with {config.xtc_type.name}"
        )
    if config is None:
        known = xtc_type.compiled
    else:
        if config._bound_ is None:
            config._bound_ = {}
        known = config._bound_
    layout: Layout | None = known.get(xtc_type.name)
    if layout is None:
        try:
            layout = known[xtc_type.name] = Layout(xtc_type, config)
        except ZeroDivisionError:
            raise DataError(f"{xtc_type.name}: its configuration object has a zero where a divisor should be") from None
    return layout


def decode(xtc_type: XtcType, buffer: Buffer, config: Record | None = None) -> Record:
    """Return the object in a payload, as a view.

    Parameters
    ----------
    xtc_type : XtcType
        The type.
    buffer : bytes-like
        The payload; it may be longer than the object.
    config : Record, optional
        The configuration object, for types that need one.

    Raises
    ------
    DataError
        The payload is too short for what it says.
    NotFoundError
        The type needs a configuration object.
    """
    view = memoryview(buffer)
    if not view.readonly:
        view = view.toreadonly()
    if view.format != "B" or view.ndim != 1:
        view = view.cast("B")
    if xtc_type.config_inside is not None:
        config = config_inside(xtc_type, view)
    return bind(xtc_type, config).record(view, 0, len(view))


def config_inside(xtc_type: XtcType, payload: Buffer) -> Record | None:
    """Return the configuration object that an object carries itself (``Bld.BldDataAcqADCV1``), None for other types."""
    if xtc_type.config_inside is None:
        return None
    field = xtc_type.members[xtc_type.config_inside]
    assert isinstance(field, Field) and field.offset is not None
    return decode(named(field.type), memoryview(payload)[field.offset :])


def config_for(xtc_type: XtcType, configs: dict[str, Record]) -> Record | None:
    """Return the first of the configuration objects of a source (by type name) that decodes the type, or None."""
    return next((configs[name] for name in xtc_type.config_types if name in configs), None)
