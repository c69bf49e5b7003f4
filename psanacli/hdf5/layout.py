"""The HDF5 layout of every XTC type, read from ``layout.json`` when first needed.

In the file a type has its group name (``group``), the schema version of its datasets (``schema``), its name in type
filters (``alias``) and its ``datasets`` in order of creation.  A dataset has a ``name`` and either ``members`` (a
compound made of accessors of the object) or ``type`` (a form, see `psanacli.hdf5.forms`) with the ``rank`` of its
array.  What it holds is the accessor ``value`` (the name of the dataset, if not given), further

``each``
    of every object in the list that this accessor gives, stacked, or chained along the first axis with ``chain``;
``indexed``
    called with 0, 1, ... up to the size ``dims``;
``nonempty``
    the dataset exists only if its first array is not empty;
``or``
    type and accessor used instead if the array is absent;
``channels``
    one dataset for each channel (Generic1D).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, NamedTuple


class Member(NamedTuple):
    """A member of a compound: its name, its form, and the accessor it comes from."""

    name: str
    form: str
    accessor: str


@dataclass(frozen=True)
class DatasetLayout:
    """One dataset of a type; the fields are those of ``layout.json``.

    `packed` and `tail` make a compound that is no C structure (see `psanacli.hdf5.forms.compound`); EPICS has them.
    """

    name: str
    form: str = ""
    members: tuple[Member, ...] = ()
    value: str = ""
    each: str = ""
    rank: int = 0
    chain: bool = False
    indexed: bool = False
    nonempty: bool = False
    otherwise: tuple[str, str] | None = None
    channels: bool = False
    packed: bool = False
    tail: int = 0


@dataclass(frozen=True)
class TypeLayout:
    """The group name, schema version, filter alias and datasets of one XTC type."""

    name: str
    group: str
    schema: int
    alias: str
    datasets: tuple[DatasetLayout, ...]


def _members(raw: list[list[str]]) -> tuple[Member, ...]:
    return tuple(Member(entry[0], entry[1], entry[-1] if len(entry) > 2 else entry[0]) for entry in raw)


@cache
def _document() -> dict[str, Any]:
    text = resources.files("psanacli.hdf5").joinpath("layout.json").read_text()
    document: dict[str, Any] = json.loads(text)
    return document


def _dataset(raw: dict[str, Any]) -> DatasetLayout:
    other = raw.get("or")
    return DatasetLayout(
        name=raw["name"],
        form=raw.get("type", ""),
        members=_members(raw.get("members", [])),
        value="" if "members" in raw else raw.get("value", raw["name"]),
        each=raw.get("each", ""),
        rank=raw.get("rank", 0),
        chain=raw.get("chain", False),
        indexed=raw.get("indexed", False),
        nonempty=raw.get("nonempty", False),
        otherwise=(other[0], other[1]) if other else None,
        channels=raw.get("channels", False),
    )


@cache
def type_layout(name: str) -> TypeLayout | None:
    """Return the layout of the type ``Package.Type``, or None for a type that has no HDF5 form."""
    raw = _document()["types"].get(name)
    if raw is None:
        return None
    datasets = tuple(_dataset(dataset) for dataset in raw["datasets"])
    return TypeLayout(name, raw["group"], raw["schema"], raw.get("alias", ""), datasets)


@cache
def type_names() -> tuple[str, ...]:
    """Names of all types that have an HDF5 form."""
    return tuple(_document()["types"])


@cache
def compound_members(key: str) -> tuple[Member, ...]:
    """Members of the compound `key`."""
    return _members(_document()["compounds"][key])


@cache
def enumeration(key: str) -> tuple[str, dict[str, int]]:
    """Return base type and names of the enumeration `key`, in the order of the HDF5 type."""
    base, names = _document()["enums"][key]
    return base, names
