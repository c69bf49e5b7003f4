"""Element types: how a value lies in memory, and how HDF5 describes that.

A *form* is written in the short language of ``layout.json``: ``u1`` ... ``f8``, ``S<n>`` (fixed C string), ``str``
(variable C string), ``enum:<key>``, ``@<key>`` (compound), ``t[a,b]`` (HDF5 array type) and ``vlen<t>``.  The memory
image of a form is that of a C struct on x86-64, which is also what the file holds, so that a column can be written
without any conversion; variable strings are one pointer, variable sequences a length and a pointer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from h5py import h5t

from psanacli.hdf5.layout import Member, compound_members, enumeration

SEQUENCE = np.dtype([("length", "<u8"), ("pointer", "<u8")], align=True)
POINTER = np.dtype("<u8")

_NUMBERS = {
    "u1": h5t.STD_U8LE, "u2": h5t.STD_U16LE, "u4": h5t.STD_U32LE, "u8": h5t.STD_U64LE,
    "i1": h5t.STD_I8LE, "i2": h5t.STD_I16LE, "i4": h5t.STD_I32LE, "i8": h5t.STD_I64LE,
    "f4": h5t.IEEE_F32LE, "f8": h5t.IEEE_F64LE,
}  # fmt: skip

_OWN = {
    "@psanacli.time": [
        (name, "u4", name) for name in ("seconds", "nanoseconds", "ticks", "fiducials", "control", "vector")
    ],
    "@psanacli.damage": [
        ("bits", "u4", ""), ("DroppedContribution", "u1", ""), ("OutOfOrder", "u1", ""), ("OutOfSynch", "u1", ""),
        ("UserDefined", "u1", ""), ("IncompleteContribution", "u1", ""), ("userBits", "u1", ""),
    ],
    "@psanacli.sub": [("mode", "u4", ""), ("data", "f8[16]", "")],
    "@psanacli.stamp": [("secPastEpoch", "i4", "sec"), ("nsec", "i4", "nsec")],
}  # fmt: skip
"""Compounds that are of no XTC type: event ids, damage, common modes, time stamps of EPICS."""


@dataclass(frozen=True)
class Form:
    """One element type.

    Attributes
    ----------
    type_id : h5py.h5t.TypeID
        The HDF5 type, used both in memory and in the file.
    dtype : numpy.dtype
        The memory image; pointers are ``u8``.
    kind : str
        ``number``, ``text`` (fixed), ``string`` (variable), ``compound``, ``array`` or ``sequence``.
    base : Form or None
        Element of an array or a sequence.
    shape : tuple of int
        Of an array.
    members : tuple of (Member, Form)
        Of a compound.
    """

    type_id: h5t.TypeID
    dtype: np.dtype[Any]
    kind: str
    base: Form | None = None
    shape: tuple[int, ...] = ()
    members: tuple[tuple[Member, Form], ...] = ()

    @cached_property
    def pointers(self) -> bool:
        """Whether the memory image refers to other memory."""
        if self.kind in ("string", "sequence"):
            return True
        inner = [form for _, form in self.members] if self.base is None else [self.base]
        return any(form.pointers for form in inner)


def array_of(base: Form, shape: Sequence[int]) -> Form:
    """Return the HDF5 array type of `base`; `base` itself when `shape` is empty.

    Raises
    ------
    ValueError
        When a dimension is zero: HDF5 has no such type.
    """
    if not shape:
        return base
    if 0 in shape:
        raise ValueError(f"an HDF5 array type has no zero dimension: {tuple(shape)}")
    type_id = h5t.array_create(base.type_id, tuple(shape))
    return Form(type_id, np.dtype((base.dtype, tuple(shape))), "array", base, tuple(shape))


def sequence_of(base: Form) -> Form:
    """Return the variable-length sequence of `base`."""
    return Form(h5t.vlen_create(base.type_id), SEQUENCE, "sequence", base)


@cache
def compound(members: tuple[Member, ...], packed: bool = False, tail: int = 0) -> Form:
    """Return the compound of `members`, at the offsets of a C struct.

    Parameters
    ----------
    members : tuple of Member
        In the order of the file.
    packed : bool
        Without the gaps of a C struct.
    tail : int
        Bytes by which the size is more than that of a C struct; a negative number for less.
    """
    forms = [form_of(member.form) for member in members]
    fields = [(member.name, form.dtype) for member, form in zip(members, forms, strict=True)]
    dtype = np.dtype(fields, align=not packed)
    if tail:
        dtype = _resized(dtype, dtype.itemsize + tail)
    assert dtype.fields is not None
    type_id = h5t.create(h5t.COMPOUND, dtype.itemsize)
    for member, form in zip(members, forms, strict=True):
        type_id.insert(member.name.encode(), dtype.fields[member.name][1], form.type_id)
    return Form(type_id, dtype, "compound", members=tuple(zip(members, forms, strict=True)))


@cache
def form_of(text: str) -> Form:
    """Return the form written as `text`."""
    if text in _NUMBERS:
        return Form(_NUMBERS[text], np.dtype("<" + text), "number")
    if text == "str":
        return Form(_string(h5t.VARIABLE), POINTER, "string")
    if match := re.fullmatch(r"S(\d+)", text):
        return Form(_string(int(match[1])), np.dtype(text), "text")
    if match := re.fullmatch(r"(.+)\[([\d,]+)\]", text):
        return array_of(form_of(match[1]), [int(size) for size in match[2].split(",")])
    if match := re.fullmatch(r"vlen<(.+)>", text):
        return sequence_of(form_of(match[1]))
    if text.startswith("enum:"):
        base, names = enumeration(text[5:])
        enum = h5t.enum_create(_NUMBERS[base])
        for name, value in names.items():
            enum.enum_insert(name.encode(), value)
        return Form(enum, np.dtype("<" + base), "number")
    if text in _OWN:
        return compound(tuple(Member(name, form, accessor) for name, form, accessor in _OWN[text]))
    if text.startswith("@"):
        return compound(compound_members(text[1:]))
    raise ValueError(f"not a form: {text!r}")


def _resized(dtype: np.dtype[Any], size: int) -> np.dtype[Any]:
    fields = [(name, *field[:2]) for name, field in (dtype.fields or {}).items()]
    names, formats, offsets = zip(*fields, strict=True)
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": size})


def _string(size: int) -> h5t.TypeID:
    """Return the C string type: ASCII, null-terminated."""
    type_id = h5t.C_S1.copy()
    type_id.set_size(size)
    return type_id
