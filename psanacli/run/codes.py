"""Event codes: which codes the timing system sent with each event."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from psanacli.run.payloads import Payloads
from psanacli.run.readers import Reader
from psanacli.xtc import Batch

_ROWS = 1 << 17
_ODD = np.uint64(0x9E3779B97F4A7C15)


class EventCodes:
    """The event codes of all events of a run.  Few lists of codes are different, so each is kept once.

    Attributes
    ----------
    number : ndarray of unsigned integers, shape (events,)
        Which list an event has.
    list_start : ndarray of int64, shape (lists + 1,)
        List ``i`` is ``list_values[list_start[i]:list_start[i + 1]]``.
    list_values : ndarray of uint32
        Lists are numbered in the order in which events have them.
    """

    def __init__(
        self, number: NDArray[np.unsignedinteger[Any]], list_start: NDArray[np.int64], list_values: NDArray[np.uint32]
    ) -> None:
        self.number = number
        self.list_start = list_start
        self.list_values = list_values

    @classmethod
    def of_lists(cls, starts: NDArray[np.int64], values: NDArray[np.uint32]) -> Self:
        """Return the codes of events of which event ``i`` has ``values[starts[i]:starts[i + 1]]``."""
        lengths = np.diff(starts)
        position = np.arange(len(values)) - np.repeat(starts[:-1], lengths)
        marks = _marks(values, position, starts)
        _, first, number = np.unique(marks, return_index=True, return_inverse=True)
        like = first[number]
        same = np.repeat(starts[:-1][like], lengths) + position
        if not (np.array_equal(lengths, lengths[like]) and np.array_equal(values, values[same])):
            first, number = _one_by_one(starts, values)  # two lists have the same mark
        order = np.argsort(first)
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        first = first[order]
        size = lengths[first]
        list_start = np.concatenate(([0], np.cumsum(size)))
        within = np.arange(list_start[-1]) - np.repeat(list_start[:-1], size)
        list_values = values[np.repeat(starts[:-1][first], size) + within]
        return cls(rank[number].astype(np.min_scalar_type(len(order))), list_start, list_values)

    @classmethod
    def read(
        cls, payloads: Payloads, readers: list[Reader], events: int, only: NDArray[np.bool_] | None = None
    ) -> Self:
        """Read the codes of the events of a run; those of several EVRs of one event come one after the other.

        With `only`, of those that it marks; the others have none.
        """
        owners: list[NDArray[np.int64]] = []
        codes: list[NDArray[np.uint32]] = []
        for reader in readers:
            objects = reader.objects
            wanted = np.arange(len(objects)) if only is None else np.flatnonzero(only[objects.event])
            for first in range(0, len(wanted), _ROWS):
                rows = wanted[first : first + _ROWS]
                payload = payloads.read(objects, rows)
                layout = payloads.layout(objects, -1)
                fits = layout.fits(payload.buffer, payload.starts, payload.sizes)
                batch = Batch(layout, payload.buffer, payload.starts[fits], payload.sizes[fits])
                lengths, values = batch.ragged("fifoEvents.eventCode")
                owners.append(np.repeat(objects.event[rows[fits]], lengths))
                codes.append(values)
        owner = np.concatenate(owners) if owners else np.zeros(0, np.int64)
        found = np.concatenate(codes) if codes else np.zeros(0, np.uint32)
        order = np.argsort(owner, kind="stable")
        return cls.of_lists(np.searchsorted(owner[order], np.arange(events + 1)), found[order])

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Event ``i`` has the codes ``values[starts[i]:starts[i + 1]]``, shape (events + 1,)."""
        return np.concatenate(([0], np.cumsum(np.diff(self.list_start)[self.number])))

    @cached_property
    def values(self) -> NDArray[np.uint32]:
        """All codes, event by event."""
        first = np.repeat(self.list_start[self.number] - self.starts[:-1], np.diff(self.starts))
        return self.list_values[first + np.arange(len(first))]

    def of(self, event: int) -> NDArray[np.uint32]:
        """Return the codes of an event."""
        number = int(self.number[event])
        return self.list_values[self.list_start[number] : self.list_start[number + 1]]

    def present(self, code: int) -> NDArray[np.bool_]:
        """Return for each event whether it has a code, shape (events,)."""
        return np.asarray(self._has(code)[self.number])

    def _has(self, code: int) -> NDArray[np.bool_]:
        hits = np.concatenate(([0], np.cumsum(self.list_values == code)))
        return np.asarray(hits[self.list_start[1:]] > hits[self.list_start[:-1]])

    def counts(self) -> dict[int, int]:
        """Return in how many events each code is, by code."""
        events = np.bincount(self.number, minlength=len(self.list_start) - 1)
        return {int(code): int(events[self._has(int(code))].sum()) for code in np.unique(self.list_values)}

    def __len__(self) -> int:
        return len(self.number)

    def __repr__(self) -> str:
        counts = self.counts()
        return (
            f"<EventCodes of {len(self)} events: {', '.join(f'{code} in {count}' for code, count in counts.items())}>"
        )


def _marks(values: NDArray[np.uint32], position: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return a number for the list of each event, the same for the same list and hardly ever for another one."""
    words = (values.astype(np.uint64) + np.uint64(1)) * _ODD
    words ^= words >> np.uint64(29)
    words *= (position.astype(np.uint64) << np.uint64(1)) * _ODD + np.uint64(1)
    words ^= words >> np.uint64(32)
    sums = np.concatenate((np.zeros(1, np.uint64), np.cumsum(words, dtype=np.uint64)))
    return np.asarray(sums[starts[1:]] - sums[starts[:-1]] + np.diff(starts).astype(np.uint64))


def _one_by_one(starts: NDArray[np.int64], values: NDArray[np.uint32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first event of each different list, and for each event the number of its list."""
    known: dict[bytes, int] = {}
    first: list[int] = []
    number = np.empty(len(starts) - 1, np.int64)
    for event in range(len(number)):
        text = values[starts[event] : starts[event + 1]].tobytes()
        if text not in known:
            known[text] = len(known)
            first.append(event)
        number[event] = known[text]
    return np.array(first, np.int64), number
