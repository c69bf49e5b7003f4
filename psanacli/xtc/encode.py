"""The way back: values to payload bytes, by the same catalogue that decodes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from psanacli.errors import UsageError, did_you_mean
from psanacli.xtc.catalogue import Bits, Field, XtcType, named

Values = Mapping[str, Any]


def encode(xtc_type: XtcType | str, values: Values) -> bytes:
    """Return the payload of an object of type `xtc_type` with the given field values.

    Parameters
    ----------
    xtc_type : XtcType or str
        The type, or its full name.
    values : mapping of str to object
        Value by name of a stored field or bit field: a number, text, an array, a mapping (nested object) or a sequence
        of mappings (array of objects).  What is left out is zero; an array of variable length is then empty.

    Returns
    -------
    bytes
        Rounded up to the alignment of the type.  Counts are not derived: `values` says ``nchannels`` and the channels.

    Raises
    ------
    UsageError
        A name is not a stored field of the type, or a value does not fit its field.

    Examples
    --------
    >>> len(encode("Camera.FrameV1", {"width": 3, "height": 2, "depth": 8, "_int_pixel_data": range(6)}))
    24
    """
    if isinstance(xtc_type, str):
        xtc_type = named(xtc_type)
    fields = {field.name: field for field in xtc_type.fields}
    words: dict[str, int] = {}
    for name, value in values.items():
        member = xtc_type.members.get(name) or fields.get(name)
        if isinstance(member, Bits):
            if not 0 <= int(value) < 1 << member.width:
                raise UsageError(f"{xtc_type.name}.{name}: {value} does not fit {member.width} bits")
            words[member.word] = words.get(member.word, 0) | int(value) << member.shift
        elif name not in fields:
            stored = [*fields, *(key for key, known in xtc_type.members.items() if isinstance(known, Bits))]
            raise UsageError(f"{xtc_type.name} stores nothing called {name!r}", did_you_mean(name, stored))
    parts: list[bytes] = []
    size = 0
    for field in xtc_type.fields:
        if field.offset is not None and field.offset > size:
            parts.append(bytes(field.offset - size))
            size = field.offset
        value = values.get(field.name)
        if field.name in words:
            value = words[field.name] | int(value or 0)
        part = _field(xtc_type, field, value)
        parts.append(part)
        size += len(part)
    end = -(-max(size, xtc_type.size or 0) // xtc_type.align) * xtc_type.align
    return b"".join([*parts, bytes(end - size)])


def _field(owner: XtcType, field: Field, value: Any) -> bytes:
    fixed = [dim for dim in field.shape if isinstance(dim, int)]
    count = int(np.prod(fixed)) if len(fixed) == len(field.shape) else None
    if field.nested:
        return _nested(owner, field, count, value)
    if field.type == "char":
        return _text(owner, field, fixed, count, value)
    dtype = np.dtype("<" + field.type)
    try:
        array = np.zeros(0 if count is None else count, dtype) if value is None else _numbers(value, dtype)
    except (OverflowError, TypeError, ValueError) as error:
        raise UsageError(f"{owner.name}.{field.name}: {value!r} is no {field.type}") from error
    if count is not None and array.size != count:
        raise UsageError(f"{owner.name}.{field.name}: {array.size} values given, {count} expected")
    return array.tobytes()


def _numbers(value: Any, dtype: np.dtype[Any]) -> np.ndarray[Any, np.dtype[Any]]:
    array = np.asarray(value)
    if array.size and array.dtype.kind in "iub" and dtype.kind in "iu":
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        if int(array.min()) < low or int(array.max()) > high:
            raise OverflowError
    return array.astype(dtype)


def _nested(owner: XtcType, field: Field, count: int | None, value: Any) -> bytes:
    inner = named(field.type)
    items: Sequence[Values]
    if not field.shape:
        items = [value or {}]
    elif value is None:
        items = [{}] * (count or 0)
    else:
        items = list(value)
    if count is not None and len(items) != count:
        raise UsageError(f"{owner.name}.{field.name}: {len(items)} objects given, {count} expected")
    return b"".join(encode(inner, item) for item in items)


def _text(owner: XtcType, field: Field, fixed: list[int], count: int | None, value: Any) -> bytes:
    if value is None:
        return bytes(count or 0)
    if isinstance(value, bytes):
        texts, length = [value], len(value) if count is None else count
    elif isinstance(value, str):
        texts, length = [value.encode("latin-1")], len(value) if count is None else count
    else:
        length = fixed[-1] if fixed else 0
        texts = [item if isinstance(item, bytes) else item.encode("latin-1") for item in value]
    if any(len(text) > length for text in texts):
        raise UsageError(f"{owner.name}.{field.name}: a text is longer than its {length} bytes")
    data = b"".join(text.ljust(length, b"\0") for text in texts)
    if count is not None and len(data) != count:
        raise UsageError(f"{owner.name}.{field.name}: {len(data)} bytes of text given, {count} expected")
    return data
