"""Event codes: which codes the timing system sent with each event."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from psanacli.run.payloads import Payloads
from psanacli.run.readers import Reader
from psanacli.xtc import Batch

_ROWS = 1 << 17


class EventCodes:
    """The event codes of all events of a run.

    Attributes
    ----------
    starts : ndarray of int64, shape (events + 1,)
        Event ``i`` has the codes ``values[starts[i]:starts[i + 1]]``.
    values : ndarray of uint32
        All codes, event by event; those of several EVRs of one event one after the other.
    """

    def __init__(self, payloads: Payloads, readers: list[Reader], events: int) -> None:
        owners: list[NDArray[np.int64]] = []
        codes: list[NDArray[np.uint32]] = []
        for reader in readers:
            objects = reader.objects
            for first in range(0, len(objects), _ROWS):
                rows = np.arange(first, min(first + _ROWS, len(objects)))
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
        self.values = found[order]
        self.starts = np.searchsorted(owner[order], np.arange(events + 1))

    def of(self, event: int) -> NDArray[np.uint32]:
        """Return the codes of an event."""
        return self.values[self.starts[event] : self.starts[event + 1]]

    def present(self, code: int) -> NDArray[np.bool_]:
        """Return for each event whether it has a code, shape (events,)."""
        hits = np.concatenate(([0], np.cumsum(self.values == code)))
        return np.asarray(hits[self.starts[1:]] > hits[self.starts[:-1]])

    def counts(self) -> dict[int, int]:
        """Return in how many events each code is, by code."""
        return {int(code): int(np.count_nonzero(self.present(int(code)))) for code in np.unique(self.values)}

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __repr__(self) -> str:
        counts = self.counts()
        return (
            f"<EventCodes of {len(self)} events: {', '.join(f'{code} in {count}' for code, count in counts.items())}>"
        )
