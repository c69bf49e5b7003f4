"""Columns: the values of one field of one detector in all events of a run, as one array."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError, NotFoundError, UsageError, did_you_mean, fold
from psanacli.run.objects import Objects
from psanacli.run.payloads import Payloads
from psanacli.run.readers import Reader
from psanacli.xtc import Batch, Layout, XtcType, named

MAX_BYTES = 1 << 31
"""A column that would be larger is an error, unless asked for."""
_BLOCK = 1 << 25  # bytes of payloads that are read at once

Array = NDArray[Any]


class ShapeError(DataError):
    """The shape of a value is not the same in all events that were asked for."""


class _Direct(NamedTuple):
    """A value at a fixed place in payloads of `needed` bytes at least."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    needed: int


def spelled(xtc_type: XtcType, path: str) -> str | None:
    """Return the path of a field as the catalogue spells it, None when the type has no such field.

    Case and ``-`` for ``_`` do not matter; parts are joined by dots, ``data(2)`` is one value of an
    accessor that has an index.
    """
    head, _, rest = path.partition(".")
    bare, bracket, index = head.partition("(")
    found = next((name for name in xtc_type.accessors if name == bare), None)
    if found is None:
        found = next((name for name in xtc_type.accessors if fold(name) == fold(bare)), None)
    if found is None:
        return None
    if not rest:
        return found + bracket + index
    inner = xtc_type.members[found].type
    below = spelled(named(inner), rest) if "." in inner else None
    return None if below is None else f"{found}{bracket}{index}.{below}"


class Column:
    """The values of a field: which objects have it, and how they are read.

    Parameters
    ----------
    payloads : Payloads
    readers : list of Reader
        Objects of one source, whose types may have the field.
    path : str
        The field; empty for all stored fields, of objects of fixed size.
    """

    def __init__(self, payloads: Payloads, readers: list[Reader], path: str) -> None:
        self._payloads = payloads
        self.parts: list[tuple[Objects, str]] = []
        for reader in readers:
            name = spelled(reader.key.xtc_type, path) if path else path
            if name is not None:
                self.parts.append((reader.objects, name))
        if not path:
            _need_one_record_type([reader.key.xtc_type for reader in readers])
        if not self.parts:
            types = [reader.key.xtc_type for reader in readers]
            known = [name for xtc_type in types for name in xtc_type.accessors]
            hint = did_you_mean(path, known, f"there are {', '.join(known[:12])}")
            raise NotFoundError(f"{', '.join(xtc_type.name for xtc_type in types)} has no field {path!r}", hint)

    def read(self, first: int, stop: int, max_bytes: int = MAX_BYTES) -> np.ma.MaskedArray[Any, Any]:
        """Return the values of the events `first` to `stop`, masked where an event has none.

        An object whose payload is too short for what it says counts as absent.

        Raises
        ------
        ShapeError
            The shape is not the same in all events.
        UsageError
            The array would have more than `max_bytes` bytes.
        """
        result: Array | None = None
        mask = np.ones(stop - first, bool)
        for objects, path in self.parts:
            low, high = np.searchsorted(objects.event, (first, stop)).tolist()
            place = self._place(objects, path, low, high)
            if place is not None and result is None:
                result = reserve(stop - first, place.shape, place.dtype, max_bytes, path)
                rows = self._gather(objects, place, low, high, first, result)
                mask[objects.event[rows] - first] = False
                continue
            for rows, values in self._pieces(objects, path, low, high):
                events = objects.event[rows] - first
                if result is None:
                    result = reserve(stop - first, values.shape[1:], values.dtype, max_bytes, path)
                elif result.shape[1:] != values.shape[1:]:
                    raise ShapeError(
                        f"{objects.key}: the shape of {path} changes from {result.shape[1:]} to {values.shape[1:]}",
                        "go through the events, or read fewer of them",
                    )
                elif result.dtype != values.dtype:
                    result = result.astype(np.result_type(result.dtype, values.dtype))
                result[events] = values
                mask[events] = False
        if result is None:
            result = np.zeros(stop - first)
        full: Array
        if result.dtype.names:
            full = np.zeros(result.shape, np.ma.make_mask_descr(result.dtype))
            full.view(bool).reshape(len(mask), -1)[...] = mask[:, np.newaxis]
        elif result.ndim > 1:
            full = np.broadcast_to(mask.reshape(-1, *[1] * (result.ndim - 1)), result.shape)
        else:
            full = mask
        return np.ma.MaskedArray(result, full, keep_mask=False)

    @property
    def weight(self) -> int:
        """The size of its largest payload, in bytes: the array of a field is not larger."""
        return max((int(objects.size.max()) for objects, _ in self.parts if len(objects)), default=8)

    def _place(self, objects: Objects, path: str, low: int, high: int) -> _Direct | None:
        """Return where the value is in each payload of some rows, when it can be read from the file alone."""
        if low == high or not objects.plain or objects.key.xtc_type.config_inside is not None:
            return None
        configs = objects.config[low:high]
        numbers = [int(configs[0])] if (configs == configs[0]).all() else np.unique(configs).tolist()
        places = {_direct(self._payloads.layout(objects, number), path) for number in numbers}
        return places.pop() if len(places) == 1 else None

    def _pieces(self, objects: Objects, path: str, low: int, high: int) -> Iterator[tuple[NDArray[np.int64], Array]]:
        """Yield values with the rows of the objects they are of."""
        place = self._place(objects, path, low, high)
        if place is not None:
            values = np.empty((high - low, *place.shape), place.dtype)
            rows = self._gather(objects, place, low, high, None, values)
            yield rows, values[rows - low]
            return
        ends = np.cumsum(objects.size[low:high])
        at = low
        while at < high:
            done = int(ends[at - low - 1]) if at > low else 0
            next_at = low + max(int(np.searchsorted(ends, done + _BLOCK, side="right")), at - low + 1)
            rows = np.arange(at, next_at)
            payload = self._payloads.read(objects, rows)
            for number in np.unique(objects.config[rows]).tolist():
                same = np.flatnonzero(objects.config[rows] == number)
                starts, sizes = payload.starts[same], payload.sizes[same]
                if objects.key.xtc_type.config_inside is not None:
                    yield rows[same], self._one_by_one(objects, payload.buffer, starts, sizes, path)
                    continue
                layout = self._payloads.layout(objects, number)
                fits = layout.fits(payload.buffer, starts, sizes)
                if fits.any() and path:
                    batch = Batch(layout, payload.buffer, starts[fits], sizes[fits])
                    yield rows[same[fits]], batch.column(path)
                elif fits.any():
                    width = np.arange(layout.size or 0)
                    yield rows[same[fits]], payload.buffer[starts[fits, np.newaxis] + width].view(layout.dtype)[:, 0]
            at = next_at

    def _gather(
        self, objects: Objects, place: _Direct, low: int, high: int, first: int | None, out: Array
    ) -> NDArray[np.int64]:
        """Read the values of some rows alone, straight into their place; return the rows that have one.

        The place is that of the event, from event `first` on; None: that of the row, from `low` on.
        """
        rows = low + np.flatnonzero(objects.size[low:high] >= place.needed)
        size = math.prod(place.shape) * place.dtype.itemsize
        files = self._payloads.table.datagrams["file"][objects.datagram[rows]]
        index = rows - low if first is None else objects.event[rows].astype(np.int64) - first
        sizes = np.full(len(rows), size, np.int64)
        flat = out.reshape(-1).view(np.uint8)
        self._payloads.files.read(files, objects.offset[rows] + place.offset, sizes, index * size, flat)
        return rows

    def _one_by_one(
        self, objects: Objects, buffer: Array, starts: NDArray[np.int64], sizes: NDArray[np.int64], path: str
    ) -> Array:
        from psanacli.xtc import config_inside

        xtc_type = objects.key.xtc_type
        columns = []
        for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
            payload = buffer[start : start + size]
            from psanacli.xtc import bind

            layout = bind(xtc_type, config_inside(xtc_type, payload))
            columns.append(layout.batch(payload, np.zeros(1, np.int64), np.array([size])).column(path)[0])
        return np.array(columns)


def reserve(count: int, shape: tuple[int, ...], dtype: np.dtype[Any], max_bytes: int, path: str) -> Array:
    """Return an array for the values of some events, unless it would be larger than is allowed.

    Raises
    ------
    UsageError
        It would.
    """
    needed = count * max(math.prod(shape) * dtype.itemsize, 1)
    if needed > max_bytes:
        raise UsageError(
            f"{path} of {count} events would take {needed / 1e9:.1f} GB",
            "read it by run.blocks(...), or allow it with max_bytes=",
        )
    return np.zeros((count, *shape), dtype)


def _need_one_record_type(types: list[XtcType]) -> None:
    """Raise an error unless all objects are records of one type of fixed size."""
    names = ", ".join(xtc_type.name for xtc_type in types)
    if len(types) > 1:
        raise UsageError(f"the detector has objects of several types: {names}", "write DETECTOR/TYPE or DETECTOR.FIELD")
    if types[0].size is None or types[0].config_types:
        raise UsageError(f"objects of {names} have no fixed size", "write DETECTOR.FIELD")


def _direct(layout: Layout, path: str) -> _Direct | None:
    """Return where a stored number, or array of fixed shape, is in each payload; None for all else."""
    if not path and layout.dtype is not None:
        return _Direct(0, (), layout.dtype, layout.needed)
    spot = layout.spots.get(path)
    if (
        spot is None
        or spot.offset is None
        or spot.shape is None
        or spot.dtype is None
        or spot.item is not None
        or spot.text
    ):
        return None
    return _Direct(spot.offset, spot.shape, spot.dtype, layout.needed) if spot.dtype.itemsize else None
