"""The text of `psana dump`: datagrams and objects as lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from psanacli.xtc import Damage, DatagramContents, Item, Record, Records, shown_values

_WIDEST = 100
_DEEPEST = 20


def datagram_line(datagram: DatagramContents) -> str:
    """Return the line of a datagram: what, when, where."""
    row = datagram.row
    name = f"event {datagram.event}" if datagram.event is not None else datagram.transition
    time = np.datetime64(int(row["seconds"]), "s")
    words = [
        f"\n{name}  {time}.{int(row['nanoseconds']):09}Z",
        f"fiducials {int(row['stamp_high']) & 0x1FFFF}",
        f"env {int(row['env']):#x}",
        f"at {datagram.offset}",
        f"{datagram.root.extent + 20} bytes",
    ]
    return "  ".join([*words, *_damage(datagram.root.damage)])


def _damage(damage: int) -> list[str]:
    return [f"damage {damage:#x} ({', '.join(Damage(damage).names) or 'user bits'})"] if damage else []


def item_lines(item: Item, headers: bool) -> Iterator[str]:
    """Return the lines of a container or contribution; without its object if only `headers` are wanted."""
    node = item.node
    indent = "  " * (min(node.depth, _DEEPEST) + 1)
    if not node.fits:
        yield f"{indent}a child that does not fit: extent {node.extent}  at {node.offset}"
        return
    words = [f"{indent}{item.source.name or item.source.level_name}"]
    if item.is_container:
        words.append("container")
    else:
        words.append(item.xtc_type.name if item.xtc_type else item.type_text)
    words += [f"at {node.offset}", f"{node.extent} bytes"]
    if item.uncompressed:
        words.append(f"compressed from {item.uncompressed[0]}")
    yield "  ".join([*words, *_damage(node.damage)])
    if item.record is not None and not headers:
        yield from _record_lines(item.record, indent + "    ")


def _record_lines(record: Record, indent: str) -> Iterator[str]:
    for name in record.xtc_type.accessors:
        value = shown_values(record, name)
        if isinstance(value, Record):
            yield f"{indent}{name}"
            yield from _record_lines(value, indent + "  ")
        elif isinstance(value, Records):
            yield f"{indent}{name}: {len(value)}"
            for number, element in enumerate(value):
                yield f"{indent}  [{number}]"
                yield from _record_lines(element, indent + "    ")
        else:
            yield f"{indent}{name} = {_text(value, record, name)}"


def _text(value: Any, record: Record, name: str) -> str:
    if value is None:
        return "does not apply"
    if isinstance(value, np.ndarray):
        numbers = np.array2string(value, threshold=12, edgeitems=3, separator=", ", max_line_width=10**6)
        text = numbers.replace("\n", "")
        return f"{value.dtype}{list(value.shape)} {text if len(text) <= _WIDEST else text[:_WIDEST] + '...'}"
    if isinstance(value, int) and (enum := record.xtc_type.enum_of(name)) and (label := enum.name_of(value)):
        return f"{value} ({label})"
    text = repr(value)
    return text if len(text) <= 2 * _WIDEST else text[: 2 * _WIDEST] + "..."
