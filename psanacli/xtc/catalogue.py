"""The catalogue of everything that can be inside an XTC container: the types, as declarations.

A package (``types/<Package>.json``) is read when one of its types is first needed.  In these files a type has ``id``
(type number and version), ``kind``, ``base``, ``config`` (the configuration types that can decode it, in the order in
which they are looked for), ``config_inside`` (the member that is its configuration), ``size`` in bytes (null: it
depends on data), ``align``, constants and enumerations, and

- ``fields``, in order of storage: ``OFFSET NAME: TYPE[DIM, ...]/ENUM``.  The offset is ``-`` where it depends on what
  stands before; a dimension is a number, an expression, or ``rest`` (as many as fit); a ``char`` array is text.  After
  a word of bit fields they follow as ``.SHIFT:WIDTH NAME: TYPE/ENUM``.
- ``methods``, values that follow from the fields: ``NAME(ARG: TYPE < COUNT): TYPE[:, :]/ENUM = EXPRESSION``; the
  argument runs from 0 to COUNT-1.

Names that begin with ``_`` are internal.  Types and enumerations of the same package are named without it.  All
numbers are little endian.  The rules of expressions are in `psanacli.xtc.expressions`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

from psanacli.errors import NotFoundError, did_you_mean

EPICS = 13
"""Type number of EPICS records, which have no entry of their own (see `psanacli.xtc.epics`)."""
COMPRESSED = 0x8000
"""Bit of the version that marks a compressed payload."""

_TYPES = Path(__file__).with_name("types")
_FIELD = re.compile(r"(\d+|-) (\w+): ([\w.]+)(?:\[(.*)\])?(?:/([\w.]+))?")
_BITS = re.compile(r"\.(\d+):(\d+) (\w+): (\w+)(?:/([\w.]+))?")
_METHOD = re.compile(r"(\w+)(?:\((\w+): (\w+) < (.+?)\))?: ([\w.]+)(?:\[([:, ]+)\])?(?:/([\w.]+))? = (.+)")
NUMBERS = frozenset(("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"))
"""The number types of the catalogue; each is also a numpy type code (little endian)."""


@dataclass(frozen=True, slots=True)
class Field:
    """A stored value: a number, text, a nested object, or an array of one of these."""

    name: str
    type: str
    """Type of an element: one of `NUMBERS`, ``char``, or the full name of a type."""
    shape: tuple[int | str, ...]
    offset: int | None
    enum: str | None

    @property
    def nested(self) -> bool:
        """Whether the elements are objects of another type."""
        return "." in self.type


@dataclass(frozen=True, slots=True)
class Bits:
    """A bit field: ``(word >> shift) & (2**width - 1)``, as `type`."""

    name: str
    word: str
    shift: int
    width: int
    type: str
    enum: str | None


@dataclass(frozen=True, slots=True)
class Method:
    """A value that follows from others; with `argument` it is a function of an index."""

    name: str
    type: str
    rank: int
    argument: str | None
    argument_type: str | None
    count: str | None
    """Expression for the number of values the argument can have."""
    enum: str | None
    expression: str


Member = Field | Bits | Method


@dataclass(frozen=True, slots=True)
class Enumeration:
    """Names of the values of an enumeration, in order of definition; a stored value may be none of them."""

    name: str
    base: str
    members: dict[str, int]

    def name_of(self, value: int) -> str | None:
        """Return the first name of `value`, or None."""
        return next((name for name, number in self.members.items() if number == value), None)


class XtcType:
    """A type of the catalogue.

    Attributes
    ----------
    name : str
        ``Package.Type``.
    type_id, version : int or None
        Number and version in the type word of a container; None for helpers.
    kind : str
        ``config``, ``event`` or ``helper`` (occurs inside others only).
    base : XtcType or None
        Its fields come first, its members are inherited.
    config_types : tuple of str
        Configuration types that can decode it, in the order in which they are looked for; empty when none is needed.
    config_inside : str or None
        Accessor of the configuration object that the object carries itself.
    size : int or None
        Bytes, None when it depends on data.
    align : int
        The size is rounded up to a multiple of it.
    value : bool
        A plain record with nothing variable.
    fields : tuple of Field
        In order of storage, those of the base first.
    members : dict of str to Field, Bits or Method
        All accessors, internal ones (``_name``) too, those of the base first.
    constants : dict of str to int
    enums : dict of str to Enumeration
    """

    __slots__ = (
        "align", "base", "compiled", "config_inside", "config_types", "constants", "enums", "fields", "kind", "members",
        "name", "size", "type_id", "value", "version",
    )  # fmt: skip

    def __init__(self, name: str, entry: dict[str, Any]) -> None:
        package = name.partition(".")[0]

        def full(short: str | None) -> str | None:
            known = short is None or ("." in short and short.partition(".")[0] in packages())
            return short if known else f"{package}.{short}"

        def full_type(short: str) -> str:
            return short if short in NUMBERS or short in ("char", "string") else cast(str, full(short))

        self.name = name
        self.type_id, self.version = cast("tuple[int | None, int | None]", tuple(entry.get("id", (None, None))))
        self.kind: str = entry["kind"]
        self.base = named(cast(str, full(entry["base"]))) if "base" in entry else None
        self.config_types: tuple[str, ...] = tuple(entry.get("config", ()))
        self.config_inside: str | None = entry.get("config_inside")
        self.size: int | None = entry["size"]
        self.align: int = entry["align"]
        self.value: bool = entry.get("value", False)
        self.constants: dict[str, int] = entry.get("constants", {})
        self.enums = {
            key: Enumeration(f"{name}.{key}", enum["base"], enum["members"])
            for key, enum in entry.get("enums", {}).items()
        }
        self.members: dict[str, Member] = dict(self.base.members) if self.base else {}
        fields: list[Field] = list(self.base.fields) if self.base else []
        word = ""
        for text in entry["fields"]:
            if match := _FIELD.fullmatch(text):
                offset, word, kind, dims, enum = match.groups()
                shape = tuple(int(dim) if dim.isdigit() else dim for dim in dims.split(", ")) if dims else ()
                field = Field(word, full_type(kind), shape, None if offset == "-" else int(offset), full(enum))
                fields.append(field)
                self.members[word] = field
            else:
                shift, width, key, kind, enum = cast("re.Match[str]", _BITS.fullmatch(text)).groups()
                self.members[key] = Bits(key, word, int(shift), int(width), kind, full(enum))
        for text in entry.get("methods", ()):
            match = cast("re.Match[str]", _METHOD.fullmatch(text))
            key, argument, argument_type, count, kind, rank, enum, expression = match.groups()
            self.members[key] = Method(
                key,
                full_type(kind),
                rank.count(":") if rank else 0,
                argument,
                argument_type,
                count,
                full(enum),
                expression,
            )
        self.fields: tuple[Field, ...] = tuple(fields)
        self.compiled: dict[str, Any] = {}
        """What other modules made of this type: record class, layouts."""

    @property
    def type_word(self) -> int | None:
        """The type word of a container of this type, None for helpers."""
        return None if self.type_id is None or self.version is None else self.version << 16 | self.type_id

    @property
    def accessors(self) -> tuple[str, ...]:
        """Names of all public members."""
        return tuple(name for name in self.members if not name.startswith("_"))

    def enum_of(self, name: str) -> Enumeration | None:
        """Return the enumeration to which the values of the accessor `name` belong, or None."""
        enum = self.members[name].enum
        return None if enum is None else enumeration(enum)

    def __repr__(self) -> str:
        return f"<XtcType {self.name}>"

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return named, (self.name,)


def _load(name: str) -> Any:
    return json.loads((_TYPES / f"{name}.json").read_bytes())


@cache
def _index() -> dict[str, Any]:
    return cast("dict[str, Any]", _load("index"))


@cache
def packages() -> dict[str, list[str]]:
    """Return the packages with the names of their types."""
    return cast("dict[str, list[str]]", _index()["packages"])


@cache
def _package(name: str) -> dict[str, Any]:
    return cast("dict[str, Any]", _load(name))


@cache
def named(name: str) -> XtcType:
    """Return the type called `name`, for example ``Camera.FrameV1``.

    Raises
    ------
    NotFoundError
        There is no such type.
    """
    package, _, short = name.partition(".")
    if short not in packages().get(package, ()):
        raise NotFoundError(f"there is no type {name}", did_you_mean(name, type_names()))
    return XtcType(name, _package(package)["types"][short])


@cache
def enumeration(name: str) -> Enumeration:
    """Return the enumeration with the full name `name` (of a type, or of a package)."""
    package, _, rest = name.partition(".")
    owner, _, short = rest.rpartition(".")
    if owner:
        return named(f"{package}.{owner}").enums[short]
    entry = _package(package)["enums"][short]
    return Enumeration(name, entry["base"], entry["members"])


def type_names() -> Iterator[str]:
    """Iterate over the full names of all types."""
    return (f"{package}.{short}" for package, types in packages().items() for short in types)


@cache
def type_ids() -> dict[int, str]:
    """Return the names of all type numbers (``{2: "Frame", ...}``)."""
    return {int(number): entry["name"] for number, entry in _index()["type_ids"].items()}


@cache
def _configurations() -> frozenset[int]:
    return frozenset(int(number) for number, entry in _index()["type_ids"].items() if entry.get("config"))


def is_configuration(type_id: int) -> bool:
    """Whether the format counts the type number among the configurations."""
    return type_id in _configurations()


@cache
def find(type_id: int, version: int) -> XtcType | None:
    """Return the type with a type number and version (compressed or not), None when the catalogue has none."""
    entry = _index()["type_ids"].get(str(type_id), {})
    name = entry.get("types", {}).get(str(version & ~COMPRESSED))
    return named(name) if name else None


def type_name(type_word: int) -> str:
    """Return the text of a type word, ``Frame_v1``; the compressed bit does not show."""
    name = type_ids().get(type_word & 0xFFFF, f"Unknown-{type_word & 0xFFFF}")
    return f"{name}_v{type_word >> 16 & ~COMPRESSED}"
