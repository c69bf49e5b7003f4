"""The events of the DAQ streams in the order in which they were triggered, and those that are there more than once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from psanacli.run.checks.evidence import Evidence, Ints
from psanacli.xtc import Transition

VECTORS = 1 << 15
"""Vectors have 15 bits."""
_NEAR = 16
"""Events before and behind a Configure that tell whether counting began anew."""


class Triggers(NamedTuple):
    """The events of the DAQ streams in the order in which they were triggered.

    Attributes
    ----------
    rows : ndarray of int64
        Rows of the datagram table, by trigger and row.
    number : ndarray of int64
        Number of the trigger: the vector without wrapping; far apart when counting began anew.
    counted : bool
        Whether the vectors count; else the numbers follow the clock.
    """

    rows: Ints
    number: Ints
    counted: bool

    def of_rows(self, total: int) -> Ints:
        """Return the number of the trigger of each of `total` rows, -1 for what is no event."""
        numbers = np.full(total, -1, np.int64)
        numbers[self.rows] = self.number
        return numbers


def triggers(evidence: Evidence) -> Triggers:
    """Number the events of all DAQ streams.

    A vector counts the events since Configure with 15 bits, so neighbours in time tell how often it has wrapped.
    """
    rows = np.flatnonzero(evidence.accepts & ~evidence.control)
    clock = evidence.clock[rows]
    order = np.argsort(clock, kind="stable")
    vector = evidence.vector[rows[order]]
    if len(rows) < 2 or (vector == vector[0]).all():
        return Triggers(rows[order], np.arange(len(rows)), False)
    steps = (np.diff(vector) + VECTORS // 2) % VECTORS - VECTORS // 2
    number = vector[0] + np.concatenate(([0], np.cumsum(steps)))
    configured = (evidence.service == Transition.Configure) & ~evidence.control
    for moment in np.unique(evidence.clock[configured]).tolist():
        at = int(np.searchsorted(clock[order], moment))
        # Counting begins anew with a Configure, though not always; a few events may be out of order.
        if 0 < at < len(number) and number[at : at + _NEAR].max() < number[max(at - _NEAR, 0) : at].min():
            number[at:] += (1 << 40) - number[at] + vector[at]
    again = np.lexsort((rows[order], number))
    return Triggers(rows[order][again], number[again], True)


class Repeats(NamedTuple):
    """Datagrams that say to be the same event as an earlier one."""

    row: Ints
    first: Ints
    """The one they repeat."""
    copy: NDArray[np.bool_]
    """Whether the content is the same too."""


def repeats(evidence: Evidence) -> Repeats:
    """Find datagrams of DAQ streams with clock, fiducials and vector of another one."""
    found = evidence.once(triggers)
    rows = found.rows
    clock, fiducial, vector = evidence.clock[rows], evidence.fiducials[rows], evidence.vector[rows]
    order = np.lexsort((rows, fiducial, clock, vector))
    same = np.zeros(len(rows), bool)
    for values in (clock[order], fiducial[order], vector[order]):
        same[1:] |= values[1:] != values[:-1]
    same[1:] = ~same[1:]
    same[:1] = False
    first = np.maximum.accumulate(np.where(same, 0, np.arange(len(rows))))
    row, other = rows[order][same], rows[order][first[same]]
    by_row = np.argsort(row)
    row, other = row[by_row], other[by_row]
    pairs = zip(row.tolist(), other.tolist(), strict=True)
    copies = [_same_content(evidence, one, two) for one, two in pairs]
    return Repeats(row, other, np.array(copies, bool))


def _same_content(evidence: Evidence, one: int, two: int) -> bool:
    """Whether two datagrams look the same from outside: sources, types, sizes, damage."""
    table, datagrams = evidence.table, evidence.datagrams
    if any(datagrams[name][one] != datagrams[name][two] for name in ("extent", "env", "damage")):
        return False
    first, second = int(datagrams["pattern"][one]), int(datagrams["pattern"][two])
    if first == second:
        return True
    inside = [table.contributions[table.start[pattern] : table.start[pattern + 1]] for pattern in (first, second)]
    return len(inside[0]) == len(inside[1]) and bool((inside[0] == inside[1]).all())


def sequence(evidence: Evidence) -> Triggers:
    """Return the triggers with one row for each."""
    found = evidence.once(triggers)
    first = np.concatenate(([True], np.diff(found.number) > 0))[: len(found.rows)]
    return Triggers(found.rows[first], found.number[first], found.counted)
