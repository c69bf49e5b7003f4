"""From objects to rows: the values of a dataset for many objects at once.

An `Encoder` takes a batch of payloads of one layout and gives, for each dataset of the type, one array with a row for
each object, in the memory image of the dataset's form.  The same is used for a single configuration object.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError
from psanacli.hdf5 import derived
from psanacli.hdf5.forms import SEQUENCE, Form, array_of, compound, form_of
from psanacli.hdf5.layout import DatasetLayout, Member, TypeLayout
from psanacli.xtc import Batch, Layout

Array = NDArray[Any]


@dataclass(frozen=True)
class Column:
    """One dataset of one type, as it is for objects of a certain shape.

    Attributes
    ----------
    layout : DatasetLayout
    shape : tuple of int
        Dimensions of the object's array.
    """

    layout: DatasetLayout
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        """Name of the dataset."""
        return self.layout.name

    @cached_property
    def base(self) -> Form:
        """Form of one element, without the dimensions of the object's array."""
        return base_of(self.layout)

    @property
    def empty(self) -> bool:
        """Whether the object has no element for it."""
        return 0 in self.shape

    @cached_property
    def form(self) -> Form:
        """The element type in the event form: an array type if the object has an array."""
        return array_of(self.base, self.shape)


@cache
def base_of(layout: DatasetLayout) -> Form:
    """Return the form of an element of a dataset."""
    return compound(layout.members, layout.packed, layout.tail) if layout.members else form_of(layout.form)


def columns_of(layout: TypeLayout, one: Batch, recipes: Recipes) -> list[Column]:
    """Return the columns of a type as one object has them; `recipes` as for an `Encoder`."""
    found, encoder = [], Encoder(recipes)
    for dataset in expanded(layout, one):
        if dataset.otherwise and not one.shapes(dataset.value).any():
            form, accessor = dataset.otherwise
            dataset = replace(dataset, form=form, value=accessor, otherwise=None)
        found.append(Column(dataset, encoder.shape(dataset, one)))
    return found


def joined(some: Iterable[Column], others: Iterable[Column]) -> tuple[Column, ...]:
    """Return columns that hold the objects of both: the larger shape, and the type that holds both."""
    found = {column.name: column for column in some}
    for column in others:
        known = found.setdefault(column.name, column)
        if known is not column:
            shape = tuple(max(sizes) for sizes in zip(known.shape, column.shape, strict=True))
            found[column.name] = Column(known.layout if known.layout.otherwise else column.layout, shape)
    return tuple(found.values())


def expanded(layout: TypeLayout, one: Batch) -> Sequence[DatasetLayout]:
    """Put in one dataset for each channel where a type has them (Generic1D)."""
    if not any(dataset.channels for dataset in layout.datasets):
        return layout.datasets
    record = one[0]
    found = []
    for channel in range(len(record.values_of("data_u8"))):
        filled = [
            (form, name)
            for form, name in (("u1", "u8"), ("u2", "u16"), ("u4", "u32"), ("f4", "f32"), ("f8", "f64"))
            if getattr(record, f"data_{name}")(channel) is not None
        ]
        if not filled:
            break
        form, name = filled[0]
        dataset = layout.datasets[0]
        found.append(
            replace(dataset, name=dataset.name % channel, form=form, value=f"data_{name}({channel})", channels=False)
        )
    return found


class Stretches(NamedTuple):
    """Where rows stand in a buffer just as the file wants them, each row in a few pieces.

    Attributes
    ----------
    places, sizes : int64 arrays, shape (n, k)
        In bytes.
    """

    places: NDArray[np.int64]
    sizes: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Recipe:
    """How compounds of a form are made of objects of a layout.

    Attributes
    ----------
    layout : Layout
    form : Form
    moves : int64 array, shape (m, 3)
        What is copied, as `Batch.move` wants it.
    made : list of (Member, Form)
        Members whose values have to be made.
    """

    layout: Layout
    form: Form
    moves: NDArray[np.int64]
    made: list[tuple[Member, Form]]

    @classmethod
    def of(cls, form: Form, batch: Batch) -> Recipe:
        """Return the recipe for objects of the layout of a batch."""
        moves: list[tuple[int, int, int]] = []
        made = []
        fields: Any = form.dtype.fields
        for member, inner in form.members:
            place = _stored(batch, member.accessor, inner)
            if place is None:
                made.append((member, inner))
                continue
            offset = fields[member.name][1]
            if moves and (moves[-1][0] + moves[-1][2], moves[-1][1] + moves[-1][2]) == (place, offset):
                moves[-1] = *moves[-1][:2], moves[-1][2] + inner.dtype.itemsize
            else:
                moves.append((place, offset, inner.dtype.itemsize))
        return cls(batch.layout, form, np.array(moves, np.int64).reshape(-1, 3), made)


Recipes = dict[tuple[int, int], Recipe]
"""By the identities of layout and form, which a recipe keeps alive."""


class Encoder:
    """Encodes objects; the pointers of variable-length rows are places in its `heap` (see `place_pointers`).

    Parameters
    ----------
    recipes : dict, optional
        Recipes that are known, and shared with other encoders.

    Attributes
    ----------
    changed : int
        Rows whose array had another shape than its dataset, and was padded with zeros or cut.
    """

    def __init__(self, recipes: Recipes | None = None) -> None:
        self.changed = 0
        self._recipes: Recipes = {} if recipes is None else recipes
        self._heap: list[NDArray[np.uint8]] = [np.zeros(8, np.uint8)]
        self._size = 8

    def rows(self, column: Column, batch: Batch) -> Array:
        """Return the rows of a column, shape ``(n, *column.shape)``.

        Arrays with another shape than that of the column are padded with zeros, or cut.
        """
        try:
            values = self.dataset(column.layout, batch)
            if values.shape[1:] == column.shape:
                return values
        except DataError:
            if len(batch) == 1:
                raise
        rows = np.zeros((len(batch), *column.shape), column.base.dtype)
        for chosen in _same_shape(column.layout, batch):
            for some in [chosen] if column.layout.otherwise is None else chosen.reshape(-1, 1):
                values = self.dataset(column.layout, batch.take(some))
                self.changed += len(some) * (values.shape[1:] != column.shape)
                rows[some] = _resized(values, column.shape)
        return rows

    def stretches(self, column: Column, batch: Batch) -> Stretches | None:
        """Return where the rows of a column stand in the buffer of the batch; None if they have to be made.

        That is so for the arrays of most cameras and digitizers, which are most of the bytes of a run: they need not
        be copied into a column first.
        """
        found = self._stored_arrays(column.layout, batch)
        return found[1] if found is not None and found[0] == column.shape else None

    def shape(self, layout: DatasetLayout, batch: Batch) -> tuple[int, ...]:
        """Return the shape that the values of a dataset have in every object."""
        found = self._stored_arrays(layout, batch)
        return self.dataset(layout, batch).shape[1:] if found is None else found[0]

    def _stored_arrays(self, layout: DatasetLayout, batch: Batch) -> tuple[tuple[int, ...], Stretches] | None:
        """Return the shape of arrays that need only be copied, and where they are; None where they differ in shape."""
        base = base_of(layout)
        if layout.members or layout.otherwise or not layout.value or base.kind != "number" or not len(batch):
            return None
        inner = derived.elements(batch, layout.each) if layout.each else batch
        if len(inner) % len(batch) or not len(inner) or derived.is_special(inner, layout.value):
            return None
        found = inner.stored(layout.value)
        if found is None or found[2] != base.dtype:
            return None
        places, shapes, dtype = found
        each, free = len(inner) // len(batch), 1 if layout.each and layout.chain else 0
        if shapes.shape[1] < free or (shapes[:, free:] != shapes[0, free:]).any():
            return None
        shape = tuple(shapes[0, free:].tolist())
        if free:
            counts = shapes[:, 0].reshape(len(batch), each).sum(axis=1)
            if (counts != counts[0]).any():
                return None
            shape = (int(counts[0]), *shape)
        elif layout.each:
            shape = (each, *shape)
        sizes = shapes.prod(axis=1) * dtype.itemsize
        return shape, Stretches(places.reshape(len(batch), each), sizes.reshape(len(batch), each))

    def dataset(self, layout: DatasetLayout, batch: Batch) -> Array:
        """Return the values of a dataset for all objects, shape ``(n, ...)`` of the base form."""
        base = base_of(layout)
        if not layout.each:
            if layout.members:
                return self._compound(base, batch)
            values = self._value(base, batch, layout.value)
            if layout.otherwise and 0 in values.shape[1:]:
                form, accessor = layout.otherwise
                return self._value(form_of(form), batch, accessor).astype(base.dtype)
            return values
        inner = derived.elements(batch, layout.each)
        count = len(inner) // len(batch) if len(batch) else 0
        if layout.members or not layout.value:
            values = self._compound(base, inner)
        elif layout.chain:
            _, values = derived.ragged(inner, layout.value)
            return _split(values.astype(base.dtype, copy=False), len(batch), layout)
        else:
            values = self._value(base, inner, layout.value)
        if count * len(batch) != len(inner):
            raise DataError(f"{layout.name}: the number of {layout.each} changes")
        return values.reshape(len(batch), count, *values.shape[1:])

    def _compound(self, form: Form, batch: Batch) -> Array:
        if not len(batch):
            return np.zeros(0, form.dtype)
        recipe = self._recipes.get((id(batch.layout), id(form)))
        if recipe is None:
            recipe = self._recipes[id(batch.layout), id(form)] = Recipe.of(form, batch)
        rows = np.zeros(len(batch), form.dtype)
        for member, inner in recipe.made:
            rows[member.name] = self._member(member, inner, batch)
        if len(recipe.moves):
            batch.move(recipe.moves, rows)
        return rows

    def _member(self, member: Member, form: Form, batch: Batch) -> Array:
        values = self._value(form, batch, member.accessor)
        if form.kind != "array" or values.shape[1:] == form.shape:
            return values
        self.changed += len(batch)
        return _resized(values, form.shape)

    def _value(self, form: Form, batch: Batch, accessor: str) -> Array:
        """Return the values of an accessor; dimensions of an array form follow those of the objects."""
        if not len(batch):
            return np.zeros(0, form.dtype)
        while form.kind == "array" and form.base is not None:
            form = form.base
        while "." in accessor:
            outer, _, accessor = accessor.partition(".")
            batch = batch.elements(outer)
        if form.kind == "compound":
            inner = batch.elements(accessor)
            shape = derived.shape_inside(batch, accessor)
            return self._compound(form, inner).reshape(len(batch), *shape)
        if form.kind == "sequence":
            return self._sequence(form, batch, accessor)
        values = derived.column(batch, accessor)
        if form.kind == "string":
            return self._strings(values)
        return values.astype(form.dtype, copy=False)

    def _sequence(self, form: Form, batch: Batch, accessor: str) -> Array:
        assert form.base is not None
        if form.base.kind == "compound":
            lengths = batch.counts(accessor)
            values = self._compound(form.base, batch.elements(accessor))
        else:
            lengths, values = batch.ragged(accessor)
        values = np.ascontiguousarray(values, form.base.dtype)
        rows = np.zeros(len(batch), SEQUENCE)
        rows["length"] = lengths
        starts = self._keep(values) + (np.cumsum(lengths) - lengths) * form.base.dtype.itemsize
        rows["pointer"] = np.where(lengths > 0, starts, 0)
        return rows

    def _strings(self, values: Array) -> Array:
        """Return places of null-terminated copies of texts."""
        if values.dtype.kind != "S":
            values = np.array([str(text).encode("latin-1") for text in values.ravel()], "S").reshape(values.shape)
        size = values.dtype.itemsize + 1
        texts = np.zeros((values.size, size), np.uint8)
        if values.size:
            texts[:, :-1] = np.ascontiguousarray(values).reshape(-1).view(np.uint8).reshape(values.size, size - 1)
        return (self._keep(texts) + size * np.arange(values.size, dtype=np.uint64)).reshape(values.shape)

    def _keep(self, values: Array) -> int:
        """Put `values` into the heap, at a multiple of 8; return where."""
        start = self._size
        self._heap += [values.reshape(-1).view(np.uint8), np.zeros(-values.nbytes % 8, np.uint8)]
        self._size += values.nbytes + -values.nbytes % 8
        return start

    @property
    def heap(self) -> NDArray[np.uint8]:
        """What the pointers of all rows made so far refer to; a pointer is a place in it, 0 is none."""
        return np.concatenate(self._heap)


def place_pointers(form: Form, rows: Array, heap: NDArray[np.uint8]) -> None:
    """Turn the places in `heap` to which rows of `form` refer into addresses, in place."""
    if not form.pointers:
        return
    base = np.uint64(heap.ctypes.data)
    if form.kind == "string":
        rows[...] = np.where(rows > 0, rows + base, 0)
    elif form.kind == "array" and form.base is not None:
        place_pointers(form.base, rows, heap)
    elif form.kind == "sequence" and form.base is not None:
        if form.base.pointers:
            for length, start in zip(rows["length"].flat, rows["pointer"].flat, strict=True):
                inside = heap[int(start) : int(start) + int(length) * form.base.dtype.itemsize]
                place_pointers(form.base, inside.view(form.base.dtype), heap)
        rows["pointer"] = np.where(rows["length"] > 0, rows["pointer"] + base, 0)
    else:
        for member, inner in form.members:
            place_pointers(inner, rows[member.name], heap)


def _stored(batch: Batch, accessor: str, form: Form) -> int | None:
    """Return where every object has a value as the file wants it, which then need only be copied; None for others."""
    if derived.is_special(batch, accessor):
        return None
    place = batch.place_of(accessor)
    if place is None:
        return None
    offset, shape, dtype = place
    base = form.base if form.kind == "array" and form.base is not None else form
    same = base.kind == "number" and base.dtype == dtype and form.shape == shape
    return offset if same else None


def _resized(values: Array, shape: tuple[int, ...]) -> Array:
    """Return the values of all objects in arrays of another shape, cut or padded with zeros."""
    rows = np.zeros((len(values), *shape), values.dtype)
    common = (slice(None), *(slice(0, min(a, b)) for a, b in zip(values.shape[1:], shape, strict=True)))
    rows[common] = values[common]
    return rows


def _split(values: Array, count: int, layout: DatasetLayout) -> Array:
    """Deal the rows of all objects, one after the other, to the objects."""
    each = len(values) // count if count else 0
    if each * count != len(values):
        raise DataError(f"{layout.name}: the number of rows changes")
    return values.reshape(count, each, *values.shape[1:])


def _same_shape(layout: DatasetLayout, batch: Batch) -> list[NDArray[np.int64]]:
    """Return groups of rows whose arrays have the same shape."""
    if layout.each or layout.members:
        return [np.array([row]) for row in range(len(batch))]
    shapes = batch.shapes(layout.value)
    _, group = np.unique(shapes, axis=0, return_inverse=True)
    group = group.reshape(-1)
    return [np.flatnonzero(group == number) for number in range(int(group.max()) + 1)] if math.prod(group.shape) else []
