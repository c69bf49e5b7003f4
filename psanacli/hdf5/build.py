"""Building: groups, attributes, links, objects stored once, and all datasets in their final length, not yet filled."""

from __future__ import annotations

import json
import os
from functools import cache
from typing import Any

import numpy as np
from h5py import h5a, h5d, h5f, h5g, h5o, h5p, h5s, h5t
from numpy.typing import NDArray

from psanacli.hdf5.forms import form_of
from psanacli.hdf5.names import PROVENANCE
from psanacli.hdf5.tables import Dataset, Plan, Value
from psanacli.hdf5.values import place_pointers


def build(plan: Plan, file: h5f.FileID) -> list[tuple[int, int]]:
    """Make the structure of an output file.

    Returns
    -------
    list of (int, int)
        Addresses of the object headers of datasets whose shuffle filter needs another element size than HDF5 gives it,
        and that size.
    """
    for name, value in plan.attributes.items():
        _attribute(file, name, value)
    _provenance(file, plan.provenance)
    tree = _Tree(file)
    for path, attributes in plan.groups.items():
        identifier = tree.open(path)
        for name, value in attributes.items():
            _attribute(identifier, name, value)
    for value in plan.values:
        _store(tree, value)
    corrected = []
    properties = _Properties(plan)
    for dataset in plan.datasets:
        made = _create(tree, dataset, properties)
        if plan.compression.name != "none" and not dataset.form.pointers:
            if dataset.item != dataset.form.dtype.itemsize:
                corrected.append((h5o.get_info(made).addr, dataset.item))
    for path, target in plan.links:
        parent, link = _split(path)
        tree.open(parent).links.create_soft(link, os.fsencode(target))
    for path, other, target in plan.external:
        parent, link = _split(path)
        tree.open(parent).links.create_external(link, os.fsencode(other), os.fsencode(target))
    return corrected


def _split(path: str) -> tuple[str, bytes]:
    """Return the group of a path, and the name in it."""
    parent, _, name = path.rpartition("/")
    return parent, os.fsencode(name)


class _Tree:
    """Groups by path, made when first asked for; a few stay open, as each takes memory."""

    MOST_OPEN = 100

    def __init__(self, file: h5f.FileID) -> None:
        self._file = file
        self._made: set[str] = {""}
        self._open: dict[str, h5g.GroupID] = {}

    def open(self, path: str) -> h5g.GroupID:
        """Return a group; it is made, and those above it, if it is not there."""
        known = self._open.get(path)
        if known is None:
            if path in self._made:
                known = h5g.open(self._file, os.fsencode(path) or b"/")
            else:
                parent, name = _split(path)
                known = h5g.create(self.open(parent), name)
                self._made.add(path)
            if len(self._open) >= self.MOST_OPEN:
                self._open.clear()
            self._open[path] = known
        return known


_SCALAR = h5s.create(h5s.SCALAR)


@cache
def _type_of(dtype: np.dtype[Any]) -> h5t.TypeID:
    return h5t.py_create(dtype)


def _attribute(owner: Any, name: str, value: Any) -> None:
    """Write an attribute: text as a variable C string, numpy values in their own type."""
    if isinstance(value, str):
        form = form_of("str")
        text = np.frombuffer(value.encode("utf-8", "surrogateescape") + b"\0", np.uint8)
        pointer = np.array(text.ctypes.data, np.uint64)
        h5a.create(owner, name.encode(), form.type_id, _SCALAR).write(pointer, form.type_id)
        return
    array = np.asarray(value)
    space = h5s.create_simple(array.shape) if array.ndim else _SCALAR
    kind = _type_of(array.dtype)
    h5a.create(owner, name.encode(), kind, space).write(array, kind)


def _provenance(file: h5f.FileID, provenance: dict[str, Any]) -> None:
    """Write who made the file, from what and how: a group that readers of the standard layout do not know."""
    if not provenance:
        return
    group = h5g.create(file, PROVENANCE.encode())
    for name, value in provenance.items():
        _attribute(group, name, value if isinstance(value, str) else json.dumps(value, sort_keys=True))


def _store(tree: _Tree, value: Value) -> None:
    """Write an object that is stored once."""
    for name, form, shape, image in value.datasets:
        if shape is None:
            space = h5s.create(h5s.SCALAR)
        elif 0 in shape:
            space = h5s.create(h5s.NULL)
        else:
            space = h5s.create_simple(shape)
        creation = _packing(shape) if value.packed and shape else None
        dataset = h5d.create(tree.open(value.group), os.fsencode(name), form.type_id, space, creation)
        if shape is None or 0 not in shape:
            rows = np.array(image, copy=True, order="C")
            place_pointers(form, rows.reshape(-1), value.heap)
            dataset.write(h5s.ALL, h5s.ALL, _bytes(rows), form.type_id)
        dataset._close()  # by itself it would close later, where nobody hears of an error


def _packing(shape: tuple[int, ...]) -> h5p.PropDCID:
    """Return how a large array is compressed: by what every HDF5 can read."""
    creation = h5p.create(h5p.DATASET_CREATE)
    creation.set_chunk((*(1 for _ in shape[:-2]), *shape[-2:]))
    creation.set_shuffle()
    creation.set_deflate(1)
    return creation


def _bytes(rows: NDArray[Any]) -> NDArray[np.uint8]:
    return rows.reshape(-1).view(np.uint8)


class _Properties:
    """Spaces and creation properties of datasets in event form; most are shared by many."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._spaces: dict[int, h5s.SpaceID] = {}
        self._creations: dict[tuple[int, bool, bool], h5p.PropDCID] = {}

    def space(self, rows: int) -> h5s.SpaceID:
        """Return the space of a dataset with so many rows that may grow."""
        found = self._spaces.get(rows)
        if found is None:
            found = self._spaces[rows] = h5s.create_simple((rows,), (h5s.UNLIMITED,))
        return found

    def creation(self, chunk: int, filtered: bool, reserved: bool) -> h5p.PropDCID:
        """Return how a dataset with chunks of so many rows is made."""
        found = self._creations.get((chunk, filtered, reserved))
        if found is None:
            found = self._creations[chunk, filtered, reserved] = h5p.create(h5p.DATASET_CREATE)
            found.set_chunk((chunk,))
            if filtered:
                self.plan.compression.apply(found)
            if reserved:
                found.set_alloc_time(h5d.ALLOC_TIME_EARLY)
                found.set_fill_time(h5d.FILL_TIME_NEVER)
        return found


def _create(tree: _Tree, dataset: Dataset, properties: _Properties) -> h5d.DatasetID:
    """Make a dataset in event form in its final length; one with reserved places gets it with them.

    What has a variable length has no filters: HDF5 would write such a chunk to another place each time it grows, and a
    killed process would leave a file in which that place has been used again.
    """
    plan = properties.plan
    creation = properties.creation(dataset.chunk, not dataset.form.pointers, plan.reserved(dataset))
    space = properties.space(0 if plan.reserved(dataset) else dataset.rows)
    parent, name = _split(dataset.path)
    return h5d.create(tree.open(parent), name, dataset.form.type_id, space, creation)
