"""Readers: the objects of one key, event by event, read ahead in blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError
from psanacli.run.objects import Form, Key, Objects
from psanacli.run.payloads import PayloadError, Payloads
from psanacli.xtc import Layout, Record, decode

_AHEAD = 1 << 22  # bytes that are read ahead at most
_ROWS_AHEAD = 4096


class _Block(NamedTuple):
    """Objects that were read: rows from `first` on, their places in a buffer, and their layouts."""

    first: int
    view: memoryview
    starts: list[int]
    stops: list[int]
    layouts: list[Layout | None]


_EMPTY = _Block(0, memoryview(b""), [], [], [])


class Reader:
    """What gives the object of one type and source in any event.

    Whoever goes through the events in order gets them from blocks that grow with each step; whoever jumps reads one at
    a time.  Threads may share a reader.
    """

    def __init__(self, payloads: Payloads, objects: Objects, events: int) -> None:
        self.key: Key = objects.key
        self.objects = objects.select(objects.stored) if not objects.stored.all() else objects
        self._payloads = payloads
        rows = np.full(events, -1, np.int32)
        rows[self.objects.event] = np.arange(len(self.objects), dtype=np.int32)
        self._rows = memoryview(rows)
        self._block = _EMPTY

    def __len__(self) -> int:
        return len(self.objects)

    def has(self, event: int) -> bool:
        """Return whether an event has the object."""
        return self._rows[event] >= 0

    def get(self, event: int) -> Record | None:
        """Return the object in an event, None when it has none.

        Raises
        ------
        DataError
            The payload cannot be read, or is damaged in a way that its damage word does not tell.
        """
        row = self._rows[event]
        if row < 0:
            return None
        block = self._block
        place = row - block.first
        if not 0 <= place < len(block.starts):
            block = self._load(row, block)
            place = 0
        start, stop = block.starts[place], block.stops[place]
        layout = block.layouts[place]
        try:
            if layout is None:
                return decode(self.key.xtc_type, block.view[start:stop])
            return layout.record(block.view, start, stop)
        except DataError as error:
            raise self._payloads.located(error, self.objects, row) from error

    def holds(self, event: int) -> bool:
        """Return whether the object in an event has been read."""
        block = self._block
        return 0 <= self._rows[event] - block.first < len(block.starts)

    def lies_as_it_is(self, event: int) -> tuple[int, int] | None:
        """Return size and number of the configuration of a payload that is in its file as it is; None of any other.

        Quadrants of a CSPAD are in the order of the file there.
        """
        row, places = self._rows[event], self.objects
        form, part = places.product.form, places.product.part
        if row < 0 or part or form not in (Form.STORED, Form.SORTED_QUADS) or places.flags[row]:
            return None
        return int(places.size[row]), int(places.config[row])

    def outline(self, event: int, parts: NDArray[np.int64]) -> Record:
        """Return the object in an event as it is in its file, of which only some parts are read: the rest is anything.

        Parameters
        ----------
        event : int
            An event whose payload `lies_as_it_is`.
        parts : int64 array, shape (2, k), contiguous
            Places in the payload, and sizes, in bytes.

        Raises
        ------
        DataError
            The file cannot be read, or the object does not fit into its payload.
        """
        row = self._rows[event]
        payload = self._payloads.read_parts(self.objects, row, parts)
        (layout,) = self._layouts([int(self.objects.config[row])])
        return decode(self.key.xtc_type, payload) if layout is None else layout.record(payload, 0, len(payload))

    def lent(self, event: int) -> AbstractContextManager[tuple[int, int]]:
        """Lend the file of a payload that `lies_as_it_is`: its descriptor, and where the payload begins."""
        return self._payloads.lent(self.objects, self._rows[event])

    def unread(self, event: int, trouble: int) -> DataError:
        """Return the error that a payload could not be read, by the number of the error (0: the file ends before)."""
        return self._payloads.unread(self.objects, self._rows[event], trouble)

    def _load(self, row: int, before: _Block) -> _Block:
        """Read the block that begins with `row`."""
        count = 1
        if row == before.first + len(before.starts) and before.starts and self.objects.size[row] < _AHEAD:
            count = min(4 * len(before.starts), _ROWS_AHEAD, len(self.objects) - row)
            sums = np.cumsum(self.objects.size[row : row + count])
            count = max(1, int(np.searchsorted(sums, _AHEAD, side="right")))
        block = self._read_many(row, count) if count > 1 else None
        if block is None:
            payload = self._payloads.read_one(self.objects, row)
            layouts = self._layouts([int(self.objects.config[row])])
            block = _Block(row, payload, [0], [len(payload)], layouts)
        self._block = block
        return block

    def _read_many(self, row: int, count: int) -> _Block | None:
        """Read `count` rows from `row` on; None when one is damaged: one further on is none of this event's."""
        objects = self.objects.select(slice(row, row + count))
        try:
            payload = self._payloads.read(objects)
        except PayloadError:
            return None
        starts = payload.starts.tolist()
        stops = (payload.starts + payload.sizes).tolist()
        return _Block(row, memoryview(payload.buffer), starts, stops, self._layouts(objects.config.tolist()))

    def _layouts(self, configs: list[int]) -> list[Layout | None]:
        """Return the layouts of objects with some configuration objects; None: the object has its own inside."""
        if self.key.xtc_type.config_inside is not None:
            return [None] * len(configs)
        bound = {number: self._payloads.layout(self.objects, number) for number in set(configs)}
        return [bound[number] for number in configs]

    def __repr__(self) -> str:
        return f"<Reader of {self.key}: {len(self)} objects>"


class ReadersByKey(Mapping[Key, Reader]):
    """The readers of all objects of a run, made when first asked for."""

    def __init__(self, payloads: Payloads) -> None:
        self._payloads = payloads
        self._known: dict[Key, Reader | None] = dict.fromkeys(payloads.table.object_keys())

    def __getitem__(self, key: Key) -> Reader:
        known = self._known[key]
        if known is None:
            table = self._payloads.table
            objects = table.objects(key.xtc_type, key.source)
            known = self._known[key] = Reader(self._payloads, objects, len(table.events))
        return known

    def __iter__(self) -> Iterator[Key]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def __repr__(self) -> str:
        return f"<Readers of {len(self)} keys>"


class Readers:
    """Readers of several types of one source: a name without a type or version."""

    def __init__(self, readers: list[Reader]) -> None:
        self.readers = readers
        self.get = readers[0].get if len(readers) == 1 else self._get

    def _get(self, event: int) -> Record | None:
        for reader in self.readers:
            record = reader.get(event)
            if record is not None:
                return record
        return None
