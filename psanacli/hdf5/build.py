"""Building: groups, attributes, links, objects stored once, and all datasets in their final length, not yet filled."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
from h5py import h5a, h5d, h5f, h5g, h5p, h5s, h5t
from numpy.typing import NDArray

from psanacli.hdf5.compression import Compression
from psanacli.hdf5.forms import form_of
from psanacli.hdf5.names import PROVENANCE
from psanacli.hdf5.tables import Dataset, Plan, Value
from psanacli.hdf5.values import place_pointers


def build(plan: Plan, file: h5f.FileID) -> list[tuple[bytes, int]]:
    """Make the structure of an output file.

    Returns
    -------
    list of (bytes, int)
        Datasets whose shuffle filter needs another element size than HDF5 gives it, and that size.
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
    for dataset in plan.datasets:
        _create(tree, dataset, plan.compression, plan.reserved(dataset))
        if plan.compression.name != "none" and not dataset.form.pointers:
            if dataset.item != dataset.form.dtype.itemsize:
                corrected.append((os.fsencode(dataset.path), dataset.item))
    for path, target in plan.links:
        parent, _, name = path.rpartition("/")
        tree.open(parent).links.create_soft(os.fsencode(name), os.fsencode(target))
    for path, other, target in plan.external:
        parent, _, name = path.rpartition("/")
        tree.open(parent).links.create_external(os.fsencode(name), os.fsencode(other), os.fsencode(target))
    return corrected


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
                parent, _, name = path.rpartition("/")
                known = h5g.create(self.open(parent), os.fsencode(name))
                self._made.add(path)
            if len(self._open) >= self.MOST_OPEN:
                self._open.clear()
            self._open[path] = known
        return known


def _attribute(owner: Any, name: str, value: Any) -> None:
    """Write an attribute: text as a variable C string, numpy values in their own type."""
    if isinstance(value, str):
        form = form_of("str")
        text = np.frombuffer(value.encode("utf-8", "surrogateescape") + b"\0", np.uint8).copy()
        attribute = h5a.create(owner, name.encode(), form.type_id, h5s.create(h5s.SCALAR))
        attribute.write(np.array(text.ctypes.data, np.uint64), form.type_id)
        return
    array = np.asarray(value)
    space = h5s.create_simple(array.shape) if array.ndim else h5s.create(h5s.SCALAR)
    h5a.create(owner, name.encode(), h5t.py_create(array.dtype), space).write(array)


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


def _create(tree: _Tree, dataset: Dataset, compression: Compression, reserved: bool) -> None:
    """Make a dataset in event form in its final length; one with reserved places gets it with them.

    What has a variable length has no filters: HDF5 would write such a chunk to another place each time it grows, and a
    killed process would leave a file in which that place has been used again.
    """
    creation = h5p.create(h5p.DATASET_CREATE)
    creation.set_chunk((dataset.chunk,))
    if not dataset.form.pointers:
        compression.apply(creation)
    if reserved:
        creation.set_alloc_time(h5d.ALLOC_TIME_EARLY)
        creation.set_fill_time(h5d.FILL_TIME_NEVER)
    parent, _, name = dataset.path.rpartition("/")
    space = h5s.create_simple((0 if reserved else dataset.rows,), (h5s.UNLIMITED,))
    h5d.create(tree.open(parent), os.fsencode(name), dataset.form.type_id, space, creation)
