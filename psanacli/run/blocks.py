"""Fields of many events: in blocks of events, and all of them as a Dataset of xarray."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from psanacli.errors import UsageError
from psanacli.run.columns import Column
from psanacli.run.events import Events
from psanacli.run.joined import JoinedColumn
from psanacli.run.pieces import WholeColumn

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True, eq=False)
class Block:
    """Some events one after the other, with values of all of them.

    Attributes
    ----------
    events : Events
    columns : dict of str to masked array
        By the names that were asked for.
    """

    events: Events
    columns: dict[str, np.ma.MaskedArray[Any, Any]]

    def __getitem__(self, name: str) -> np.ma.MaskedArray[Any, Any]:
        """Return one column."""
        return self.columns[name]

    def __len__(self) -> int:
        return len(self.events)


def blocks_of(
    events: Events, columns: Mapping[str, Column | WholeColumn | JoinedColumn], max_bytes: int, chosen: slice | None
) -> Iterator[Block]:
    """Yield fields of events in blocks of about `max_bytes`.

    Raises
    ------
    UsageError
        The events that are chosen are not one after the other.
    """
    first, stop, step = (chosen or slice(None)).indices(len(events))
    if step != 1:
        raise UsageError("blocks are of events one after the other", "give a slice with step 1")
    count = 1
    while first < stop:
        last = min(first + count, stop)
        values = {name: column.read(first, last) for name, column in columns.items()}
        yield Block(events[first:last], values)
        used = sum(column.nbytes for column in values.values()) / (last - first)
        count = int(max(1, min(max_bytes / max(used, 8), 1 << 20)))
        first = last


def dataset_of(
    events: Events, columns: Iterable[tuple[str, np.ma.MaskedArray[Any, Any]]], attributes: Mapping[str, Any]
) -> xarray.Dataset:
    """Return fields of all events as a Dataset; see `Run.to_xarray`.

    Raises
    ------
    UsageError
        xarray is not installed.
    """
    try:
        import xarray
    except ImportError:
        raise UsageError("to_xarray needs xarray", "install it: pip install xarray") from None
    single: dict[str, np.ma.MaskedArray[Any, Any]] = {}
    for name, column in columns:
        fields = column.dtype.names
        single.update({f"{name}.{field}": column[field] for field in fields} if fields else {name: column})
    data = {}
    for name, column in single.items():
        full = column.data
        if full.dtype.kind == "U":
            full = column.filled("")
        elif np.any(column.mask):
            full = np.where(column.mask, np.nan, full if full.dtype.kind == "f" else full.astype(np.float64))
        dims = ["event", *(f"{name}.{axis}" for axis in range(1, full.ndim))]
        data[name] = (dims, full)
    table = events.table
    coords = {
        "time": ("event", events.times),
        "fiducials": ("event", table["fiducials"]),
        "step": ("event", table["step"]),
    }
    return xarray.Dataset(data, coords, attributes)
