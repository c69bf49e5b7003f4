"""Finding events by what identifies them: second, nanosecond and fiducial; sorted once, then searched."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from psanacli.errors import UsageError

if TYPE_CHECKING:
    from psanacli.run.event import EventId

Ints = NDArray[np.int64]
Identities = NDArray[Any] | ArrayLike | Iterable["EventId"]
"""Structured array with ``seconds``, ``nanoseconds``, ``fiducials``; a list of `EventId`; or rows of three numbers."""

_FIELDS = ("seconds", "nanoseconds", "fiducials")
_LIMIT = 1 << 32


class Finder:
    """Looks for events in a table.

    Parameters
    ----------
    table : structured array
        With ``seconds``, ``nanoseconds`` and ``fiducials``: rows of the event table.
    """

    def __init__(self, table: NDArray[Any]) -> None:
        clock = _clock(table["seconds"], table["nanoseconds"])
        self._order = np.lexsort((table["fiducials"], clock))  # stable: of equal events the first stays the first
        self._clock = clock[self._order]
        self._fiducials = table["fiducials"].astype(np.int64)
        new = np.ones(len(clock), bool)
        new[1:] = self._clock[1:] != self._clock[:-1]
        self._clocks = self._clock[new]
        # One number in place of clock and fiducial: which of the clocks it is, then the fiducial.
        self._keys = (np.cumsum(new) - 1) << 32 | self._fiducials[self._order]

    @cached_property
    def _by_fiducials(self) -> tuple[Ints, Ints]:
        order = np.argsort(self._fiducials, kind="stable")
        return order, self._fiducials[order]

    def find(self, ids: Identities) -> Ints:
        """Return the row of each event, -1 where there is none; the first, where several have the same identity."""
        seconds, nanoseconds, fiducials = fields_of(ids)
        if not len(self._keys):
            return np.full(len(seconds), -1, np.int64)
        possible = np.ones(len(seconds), bool)
        for values in (seconds, nanoseconds, fiducials):
            possible &= (values >= 0) & (values < _LIMIT)
        clock = _clock(np.where(possible, seconds, 0), np.where(possible, nanoseconds, 0))
        rank = np.minimum(np.searchsorted(self._clocks, clock), len(self._clocks) - 1)
        key = rank << 32 | np.where(possible, fiducials, 0)
        place = np.minimum(np.searchsorted(self._keys, key), len(self._keys) - 1)
        found = possible & (self._clocks[rank] == clock) & (self._keys[place] == key)
        return np.where(found, self._order[place], -1)

    def first(self, seconds: int | None, nanoseconds: int | None, fiducials: int | None) -> int:
        """Return the first row that agrees in all that is given, -1 for none.

        Raises
        ------
        UsageError
            Neither seconds nor fiducials are given.
        """
        if any(value is not None and not 0 <= value < _LIMIT for value in (seconds, nanoseconds, fiducials)):
            return -1
        if seconds is not None:
            low = np.uint64(seconds << 32 | (nanoseconds or 0))
            high = np.uint64(seconds << 32 | (_LIMIT - 1 if nanoseconds is None else nanoseconds))
            first, last = np.searchsorted(self._clock, low), np.searchsorted(self._clock, high, side="right")
            rows = self._order[first:last]
            if fiducials is not None:
                rows = rows[self._fiducials[rows] == fiducials]
        elif fiducials is not None and nanoseconds is None:
            order, values = self._by_fiducials
            rows = order[np.searchsorted(values, fiducials) : np.searchsorted(values, fiducials, side="right")]
        else:
            raise UsageError("which event?", "give time=, or seconds=, nanoseconds= and fiducials=")
        return int(rows.min()) if len(rows) else -1

    def nearest(self, seconds: int, nanoseconds: int) -> int:
        """Return the row that is nearest in time, -1 when there are no rows."""
        if not len(self._clock):
            return -1
        clock = min(max(seconds, 0), _LIMIT - 1) << 32 | nanoseconds
        place = int(np.searchsorted(self._clock, np.uint64(clock)))
        near = [i for i in (place - 1, place) if 0 <= i < len(self._clock)]
        wanted = seconds * 1_000_000_000 + nanoseconds

        def distance(i: int) -> int:
            value = int(self._clock[i])
            return abs((value >> 32) * 1_000_000_000 + (value & (_LIMIT - 1)) - wanted)

        return int(self._order[min(near, key=distance)])


def _clock(seconds: NDArray[Any], nanoseconds: NDArray[Any]) -> NDArray[np.uint64]:
    return seconds.astype(np.uint64) << np.uint64(32) | nanoseconds.astype(np.uint64)


def fields_of(ids: Identities) -> tuple[Ints, Ints, Ints]:
    """Return seconds, nanoseconds and fiducials of identities.

    Raises
    ------
    UsageError
        They are none.
    """
    if isinstance(ids, np.ndarray) and ids.dtype.names:
        if not set(_FIELDS) <= set(ids.dtype.names):
            raise UsageError(f"no event ids: the fields are {', '.join(ids.dtype.names)}", f"needed: {_FIELDS}")
        rows = np.atleast_1d(ids)
        return (*(rows[name].astype(np.int64) for name in _FIELDS),)  # type: ignore[return-value]
    if not isinstance(ids, np.ndarray):
        listed: Any = list(ids)  # type: ignore[arg-type]
        ids = [tuple(getattr(one, name) for name in _FIELDS) if hasattr(one, "fiducials") else one for one in listed]
        if not listed:
            ids = np.zeros((0, 3), np.int64)
    try:
        array = np.asarray(ids)
    except ValueError:
        array = np.zeros(0)
    if array.ndim != 2 or array.shape[1] != 3 or array.dtype.kind not in "iu":
        raise UsageError("no event ids", "give ids of events, or rows of seconds, nanoseconds and fiducials")
    columns = array.astype(np.int64)
    return columns[:, 0], columns[:, 1], columns[:, 2]


__all__ = ["Finder", "Identities", "fields_of"]
