"""What a run has and the catalogue of types does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from psanacli.xtc import EPICS, TYPE_ANY, TYPE_XTC, XTC, Source, find, type_name

if TYPE_CHECKING:
    from psanacli.run.runtable import RunTable


class UnknownType(NamedTuple):
    """Objects of one source whose type is not known: its number and version as a name, and the bytes of all."""

    source: Source
    name: str
    bytes: int


def unknown_types(table: RunTable) -> Iterator[UnknownType]:
    """Give the sources of a run that have objects of types that are not known."""
    used = table.used[0][table.contents.pattern]
    for number, (log, phy, word) in enumerate(table.keys.tolist()):
        type_id = word & 0xFFFF
        if type_id in (TYPE_ANY, TYPE_XTC, EPICS) or find(type_id, word >> 16) is not None:
            continue
        rows = table.contents.of_key(number)
        count = int(used[rows].sum())
        if count:
            size = int((used[rows] * table.contributions["extent"][rows].astype(np.int64)).sum())
            yield UnknownType(Source(log, phy), type_name(word), size - XTC.itemsize * count)
