"""Comparison of two HDF5 files: everything a reader can see, and the kind of each difference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from h5py import h5s, h5t

VOLATILE = {"UUID", "created", "jobName"}
"""Attributes that differ from run to run of the original, and the job name, which follows from the command line."""


class Difference(NamedTuple):
    """`what` is one of: group, dataset, link, attribute, type, shape, value."""

    what: str
    path: str
    detail: str = ""


def type_text(type_id: h5t.TypeID) -> Any:
    """Return all of an HDF5 type as plain values, as the manifests have it."""
    kind = type_id.get_class()
    size = type_id.get_size()
    if kind == h5t.INTEGER:
        return ["int", size, type_id.get_sign() == h5t.SGN_2, "<" if type_id.get_order() == h5t.ORDER_LE else ">"]
    if kind == h5t.FLOAT:
        return ["float", size]
    if kind == h5t.STRING:
        text = [type_id.get_cset(), type_id.get_strpad()]
        return ["vstr", *text] if type_id.is_variable_str() else ["str", size, *text]
    if kind == h5t.ENUM:
        names = [type_id.get_member_name(i) for i in range(type_id.get_nmembers())]
        values = [[name.decode(), int(type_id.get_member_value(i))] for i, name in enumerate(names)]
        return ["enum", type_text(type_id.get_super()), values]
    if kind == h5t.ARRAY:
        return ["array", list(type_id.get_array_dims()), type_text(type_id.get_super())]
    if kind == h5t.VLEN:
        return ["vlen", type_text(type_id.get_super())]
    members = [
        [type_id.get_member_name(i).decode(), type_id.get_member_offset(i), type_text(type_id.get_member_type(i))]
        for i in range(type_id.get_nmembers())
    ]
    return ["cmp", size, members]


def entries(file: h5py.File) -> tuple[dict[str, Any], dict[str, tuple[str, ...]]]:
    """Return groups and datasets by path, and links that are soft or external."""
    objects: dict[str, Any] = {}
    links: dict[str, tuple[str, ...]] = {}

    def walk(group: h5py.Group, base: str) -> None:
        for name in group:
            link = group.get(name, getlink=True)
            path = f"{base}/{name}"
            if isinstance(link, h5py.SoftLink):
                links[path] = ("soft", link.path)
            elif isinstance(link, h5py.ExternalLink):
                links[path] = ("external", link.filename, link.path)
            else:
                objects[path] = group[name]
                if isinstance(objects[path], h5py.Group):
                    walk(objects[path], path)

    walk(file["/"], "")
    return objects, links


def attributes(item: Any) -> dict[str, tuple[Any, Any, Any]]:
    """Return type, shape and value of the attributes."""
    found = {}
    for name in item.attrs:
        attribute = h5py.h5a.open(item.id, name.encode())
        value = item.attrs[name]
        plain = value.tolist() if hasattr(value, "tolist") else value
        found[name] = (type_text(attribute.get_type()), attribute.shape, plain)
    return found


def space_of(dataset: h5py.Dataset) -> Any:
    """Return the dataspace: None for a null one, else its dimensions and which of them are unlimited."""
    space = dataset.id.get_space()
    if space.get_simple_extent_type() == h5s.NULL:
        return None
    return space.get_simple_extent_dims(), tuple(size == h5s.UNLIMITED for size in space.get_simple_extent_dims(True))


def equal_values(a: Any, b: Any, tally: Counter[str], what: str) -> str:
    """Compare values member by member; return where they differ, nothing if they do not."""
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype.names:
        for name in a.dtype.names:
            if where := equal_values(a[name], b[name], tally, what):
                return f"{name}.{where}"
        return ""
    tally[what] += a.size
    if a.dtype == object:
        for index, (x, y) in enumerate(zip(a.ravel(), b.ravel(), strict=True)):
            if isinstance(x, np.ndarray) or isinstance(y, np.ndarray):
                if np.shape(x) != np.shape(y) or equal_values(x, y, tally, what):
                    return f"[{index}] {x!r} != {y!r}"
            elif x != y:
                return f"[{index}] {x!r} != {y!r}"
        return ""
    if a.tobytes() == b.tobytes():
        return ""
    same = (a == b) | ((a != a) & (b != b)) if a.dtype.kind == "f" else a == b
    if same.all():
        return ""
    index = np.unravel_index(int(np.argmin(same)), same.shape) if same.ndim else ()
    return f"{index} {a[index]!r} != {b[index]!r}"


def compare(expected: Path, found: Path, tally: Counter[str], what: str) -> Iterator[Difference]:
    """Give all differences between a recorded file and ours."""
    with h5py.File(expected) as first, h5py.File(found) as second:
        theirs, their_links = entries(first)
        ours, our_links = entries(second)
        for path in sorted(theirs.keys() | ours.keys() | their_links.keys() | our_links.keys()):
            if path.startswith("/psanacli"):
                continue
            a, b = theirs.get(path), ours.get(path)
            if a is None and b is None:
                if their_links.get(path) != our_links.get(path):
                    yield Difference("link", path, f"{their_links.get(path)} != {our_links.get(path)}")
                tally[f"{what}: links"] += 1
            elif a is None or b is None or isinstance(a, h5py.Group) != isinstance(b, h5py.Group):
                kind = "group" if isinstance(b if a is None else a, h5py.Group) else "dataset"
                yield Difference(kind, path, "only ours" if a is None else "only theirs")
            else:
                yield from _compare_item(path, a, b, tally, what)
        yield from _compare_attributes("/", first, second, tally, what)


def _compare_attributes(path: str, a: Any, b: Any, tally: Counter[str], what: str) -> Iterator[Difference]:
    theirs, ours = attributes(a), attributes(b)
    for name in sorted(theirs.keys() | ours.keys()):
        if path == "/" and name in VOLATILE:
            if theirs[name][:2] != ours[name][:2]:
                yield Difference("attribute", f"{path}@{name}", f"{theirs[name][:2]} != {ours[name][:2]}")
        elif theirs.get(name) != ours.get(name):
            yield Difference("attribute", f"{path}@{name}", f"{theirs.get(name)} != {ours.get(name)}")
        tally[f"{what}: attributes"] += 1


def _compare_item(path: str, a: Any, b: Any, tally: Counter[str], what: str) -> Iterator[Difference]:
    yield from _compare_attributes(path, a, b, tally, what)
    if isinstance(a, h5py.Group):
        tally[f"{what}: groups"] += 1
        return
    tally[f"{what}: datasets"] += 1
    type_a, type_b = type_text(a.id.get_type()), type_text(b.id.get_type())
    if type_a != type_b:
        yield Difference("type", path, f"{type_a} != {type_b}")
        return
    if space_of(a) != space_of(b):
        yield Difference("shape", path, f"{space_of(a)} != {space_of(b)}")
        return
    if (a.chunks is None) != (b.chunks is None):
        yield Difference("shape", path, f"chunks {a.chunks} != {b.chunks}")
    if space_of(a) is not None and (where := equal_values(a[()], b[()], tally, f"{what}: values")):
        yield Difference("value", path, where)
