"""Tables in HDF5: a group of one-dimensional datasets, a compound dataset, or what pandas writes.

A dataset of times can say its units (``units``: ``s``, ``ms``, ``seconds since 2015-07-06``) and its zone (``zone``,
``timezone`` or ``tz``) in attributes.  Nothing that is stored as a Python object is ever executed.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError, NotFoundError, PsanaError, UsageError, did_you_mean, fold
from psanacli.outside.arrays import from_arrays
from psanacli.outside.clock import ASK_ZONE
from psanacli.outside.table import Origin, OutsideTable
from psanacli.outside.times import ReadOptions, names_time, time_columns

if TYPE_CHECKING:
    import h5py

Array = NDArray[Any]

SUFFIXES = (".h5", ".hdf5", ".hdf", ".nc", ".nx", ".nxs", ".he5")
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_ZONES = ("zone", "timezone", "time_zone", "tz")
_MOST_BYTES = 1 << 33
_MOST_TABLES = 1000
_DAMAGED = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError, AttributeError)
"""What h5py raises for files that are damaged, by the place of the damage."""
_FORMS = "say time=COLUMN; a group of 1-D datasets, a compound dataset, and frames of pandas are understood"
_KINDS = {"datetime64": "ns", **{f"datetime64[{unit}]": unit for unit in ("ns", "us", "ms", "s")}}
"""Kinds of an index of pandas, and the unit of its whole numbers."""


@dataclass
class _Found:
    """The columns of a table, as they stand in the file."""

    path: str
    columns: dict[str, Array] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    states: set[str] = field(default_factory=set)
    zones: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def begins(head: bytes) -> bool:
    """Whether a file with these first bytes is HDF5 (a block of the user may come first)."""
    return any(head[at : at + 8] == _SIGNATURE for at in (0, 512, 1024, 2048))


def read(data: bytes, origin: Origin, options: ReadOptions) -> OutsideTable:
    """Read a table; parameters as of `csv_table.read`, `data` being empty.

    Raises
    ------
    NotFoundError
        There is no such group.
    UsageError
        There is no table, or more than one and none was named.
    DataError
        The file is damaged.
    """
    import h5py

    try:
        with h5py.File(origin.path, "r") as file:
            found = _table(file, origin.path, options)
            place = replace(origin, path=f"{origin.path}:{found.path}")
            names = time_columns(found.columns, options, place.path)
            zone = options.zone or next((found.zones[name] for name in names if found.zones.get(name)), "")
            if not zone and any(found.columns[name].dtype.kind == "M" for name in names):
                raise UsageError(f"{place.path}: the times of the frame have no zone", ASK_ZONE)
            chosen = replace(options, zone=zone)
            notes = tuple(found.notes)
            states = frozenset(found.states)
            table = from_arrays(found.columns, chosen, units=found.units, states=states, origin=place, notes=notes)
    except PsanaError:
        raise
    except _DAMAGED as error:
        text = " ".join(str(error).split())
        raise DataError(f"{origin.path}: damaged, or no HDF5 file that can be read: {text[:200]}") from error
    return table


# ---- which table ---------------------------------------------------------------------------------------------------


def _table(file: h5py.File, path: str, options: ReadOptions) -> _Found:
    import h5py

    if options.group:
        item = file.get(options.group)
        if item is None:
            names: list[str] = []
            file.visit(lambda name: names.append(name) if len(names) < _MOST_TABLES else None)
            hint = did_you_mean(options.group.strip("/"), names, f"there are {', '.join(names[:12])}")
            raise NotFoundError(f"{path}: there is no group or dataset {options.group!r}", hint)
        if not _is_table(item, options):
            raise UsageError(f"{path}:{item.name} is no table: columns of one length, one of them the time", _FORMS)
        return _columns(item)
    tables: list[Any] = []

    def visit(name: str, item: Any) -> None:
        inside = any(name == known.name.strip("/") or name.startswith(f"{known.name.strip('/')}/") for known in tables)
        if not inside and len(tables) < _MOST_TABLES and _is_table(item, options):
            tables.append(item)

    if _is_table(file, options):
        return _columns(file)
    file.visititems(visit)
    if not tables:
        raise UsageError(f"{path}: there is no table in it: columns of one length, one of them the time", _FORMS)
    if len(tables) > 1:
        listed = ", ".join(item.name for item in tables[:8])
        raise UsageError(f"{path}: there are several tables: {listed}", "name one: group=/NAME")
    assert isinstance(tables[0], (h5py.Group, h5py.Dataset))
    return _columns(tables[0])


def _is_table(item: Any, options: ReadOptions) -> bool:
    """Whether an item of a file has columns and among them the time."""
    import h5py

    if isinstance(item, h5py.Group):
        if "pandas_type" in item.attrs:
            return True
        names = [name for name, _ in _members(item)]
    elif isinstance(item, h5py.Dataset) and item.ndim == 1 and item.dtype.names:
        names = list(item.dtype.names)
    else:
        return False
    if len(names) < 2:
        return False
    wanted = options.time.split("+") if options.time else []
    if wanted:
        known = {fold(name) for name in names}
        return fold(options.time) in known or all(fold(word.strip()) in known for word in wanted)
    return any(map(names_time, names))


def _members(group: h5py.Group) -> list[tuple[str, h5py.Dataset]]:
    """Return the datasets of a group with at least one dimension and the commonest length."""
    import h5py

    found = []
    for name in group:
        if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
            continue  # what another file holds is not of this one
        item = group.get(name)
        if isinstance(item, h5py.Dataset) and item.shape:
            found.append((name, item))
    lengths = [item.shape[0] for _, item in found]
    if not lengths:
        return []
    times = [item.shape[0] for name, item in found if names_time(name)]
    usual = times[0] if times else max(set(lengths), key=lengths.count)
    return [(name, item) for name, item in found if item.shape[0] == usual]


# ---- columns -------------------------------------------------------------------------------------------------------


def _columns(item: Any) -> _Found:
    import h5py

    found = _Found(item.name)
    if isinstance(item, h5py.Dataset):
        _add_compound(found, item)
    elif _text(item.attrs.get("pandas_type")) == "frame_table":
        _add_frame_table(found, item)
    elif "pandas_type" in item.attrs:
        _add_frame(found, item)
    else:
        for name, dataset in _members(item):
            _add(found, name, dataset)
        left = [name for name in item if name not in found.columns and isinstance(item.get(name), h5py.Dataset)]
        if left:
            found.notes.append(f"{item.name}: left out, as their length is another: {', '.join(left[:8])}")
    return found


def _add(found: _Found, name: str, dataset: h5py.Dataset) -> None:
    """Add a dataset as a column; a time made of seconds and nanoseconds is two."""
    import h5py

    _need_small(dataset)
    clock = _clock_fields(dataset)
    if clock is not None:
        found.columns.update({part: dataset[part] for part in clock})
        return
    kind = dataset.dtype
    if kind.names or h5py.check_ref_dtype(kind) or (kind.kind == "O" and h5py.check_string_dtype(kind) is None):
        found.notes.append(f"{dataset.name}: left out, its type {kind} is no number or text")
        return
    if h5py.check_enum_dtype(kind) is not None:
        found.states.add(name)
    values = dataset[()]
    if kind.kind not in "biufSO" or (kind.kind in "fc" and kind.itemsize > 8):
        found.notes.append(f"{dataset.name}: left out, its type {kind} is no number or text")
        return
    found.columns[name] = values
    found.units[name] = _text(dataset.attrs.get("units")) or _text(dataset.attrs.get("unit"))
    found.zones[name] = next((text for key in _ZONES if (text := _text(dataset.attrs.get(key)))), "")


def _need_small(dataset: h5py.Dataset) -> None:
    size = dataset.size * dataset.dtype.itemsize
    if size > _MOST_BYTES:
        raise UsageError(f"{dataset.name} has {size / 1e9:.1f} GB: too much for a table to join")


def _clock_fields(dataset: Any) -> tuple[str, str] | None:
    """Return the members of a compound dataset that are seconds and nanoseconds, None if it has none."""
    if getattr(dataset, "ndim", 0) != 1 or not dataset.dtype.names:
        return None
    try:
        names = time_columns(dataset.dtype.names, ReadOptions(), "")
    except UsageError:
        return None
    return (names[0], names[1]) if len(names) == 2 and "date" not in map(fold, names) else None


def _add_compound(found: _Found, dataset: h5py.Dataset) -> None:
    import h5py

    _need_small(dataset)
    rows = dataset[()]
    for name in dataset.dtype.names:
        part = dataset.dtype[name]
        if h5py.check_enum_dtype(part.base) is not None:
            found.states.add(name)
        if part.base.names or part.base.kind not in "biufSO":
            found.notes.append(f"{dataset.name}: {name} left out, its type {part} is no number or text")
            continue
        found.columns[name] = rows[name]
        found.units[name] = _text(dataset.attrs.get(f"{name}_units")) or _text(dataset.attrs.get(f"{name}.units"))
        keys = [f"{name}_{key}" for key in _ZONES] + [f"{name}.{key}" for key in _ZONES] + [*_ZONES]
        found.zones[name] = next((text for key in keys if (text := _text(dataset.attrs.get(key)))), "")


def _add_index(found: _Found, values: Array, kind: str, zone: str, where: str) -> None:
    """Add the index of a frame of pandas, which is the time."""
    if kind in _KINDS:
        found.columns["index"] = values.astype(np.int64).view(f"datetime64[{_KINDS[kind]}]")
        # pandas stores the UTC of times with a zone, and the local clock of those without.
        found.zones["index"] = "UTC" if zone else ""
    else:
        found.columns["index"] = values


def _add_frame(found: _Found, group: h5py.Group) -> None:
    """Add the columns of a frame that pandas wrote in the form ``fixed``."""
    axis = group["axis1"]
    _add_index(found, axis[()], _text(axis.attrs.get("kind")), _text(axis.attrs.get("tz")), group.name)
    for number in range(int(group.attrs.get("nblocks", 0))):
        names = [_text(name) for name in group[f"block{number}_items"][()]]
        values = group[f"block{number}_values"]
        if values.ndim != 2 or values.dtype.kind not in "biufS":
            found.notes.append(f"{group.name}: left out, stored as Python objects: {', '.join(names[:8])}")
            continue
        block = values[()]
        _add_block(found, names, block, _text(values.attrs.get("value_type")))


def _add_frame_table(found: _Found, group: h5py.Group) -> None:
    """Add the columns of a frame that pandas wrote in the form ``table``."""
    table = group["table"]
    rows = table[()]
    kind = _text(table.attrs.get("index_kind"))
    zone = _text(table.attrs.get("index_tz")) or _text(group.attrs.get("tz"))
    _add_index(found, rows["index"], kind, zone, group.name)
    for member in rows.dtype.names[1:]:
        names = _pickled_texts(table.attrs.get(f"{member}_kind")) or [member]
        values = rows[member]
        _add_block(found, names, values.reshape(len(rows), -1), _text(table.attrs.get(f"{member}_dtype")))


def _add_block(found: _Found, names: list[str], block: Array, kind: str) -> None:
    if block.shape[1] != len(names):
        raise DataError(f"{found.path}: {block.shape[1]} columns of values, where there are {len(names)} names")
    for column, name in enumerate(names):
        values = block[:, column]
        found.columns[name] = values.view("datetime64[ns]") if kind.startswith("datetime64") else values


def _pickled_texts(stored: Any) -> list[str]:
    """Return the texts in an attribute that PyTables pickled, without executing anything of it."""
    if stored is None:
        return []
    data = stored.tobytes() if isinstance(stored, (np.void, np.ndarray)) else stored
    if isinstance(data, str):
        data = data.encode("latin-1", "replace")
    if not isinstance(data, bytes):
        return []
    try:
        steps = [(step.name, value) for step, value, _ in pickletools.genops(data)]
    except ValueError:
        return []
    return [str(value) for name, value in steps if isinstance(value, str) and ("UNICODE" in name or "STRING" in name)]


def _text(value: Any) -> str:
    """Return an attribute that is text, empty when it is none."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value) if isinstance(value, str) else ""
