"""Aligned files: the same rows for all detectors, one an event, which is what people analyse.

The group ``Aligned`` has ``time`` and ``step`` of all events, and a group for each type and source as the standard
file has them in its steps, with ``_damage`` and ``_mask``.  Where an object is absent ``_mask`` is 0, floating-point
numbers are NaN, all else is zero.  Configuration objects are in ``Configure:0000`` as usual.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from psanacli.hdf5 import epics
from psanacli.hdf5.forms import form_of
from psanacli.hdf5.rows import EveryEvent
from psanacli.hdf5.tables import STAMP_ROWS, Dataset, Table

if TYPE_CHECKING:
    from psanacli.hdf5.plan import Planner

GROUP = "Aligned"


def add_times(planner: Planner) -> None:
    """Add the times and steps of all events."""
    events = planner.chosen.count
    for first_block, blocks in planner.blocks.values():
        numbers = []
        for name, text in (("time", "@psanacli.time"), ("step", "i4")):
            form = form_of(text)
            chunk = min(events, STAMP_ROWS)
            numbers.append(planner.plan.add(Dataset(f"{GROUP}/{name}", form, events, chunk, form.dtype.itemsize)))
        bounds = np.array([0, *(stop for _, stop, _ in blocks)])
        table = Table(GROUP, EveryEvent(), first_block, bounds, (), tuple(numbers), ("time", "step"))
        planner.plan.tables.append(table)


def add_epics(planner: Planner) -> None:
    """Add the values of EPICS variables that are in force."""
    for step in planner.blocks:
        for name, records in epics.in_force(planner):
            epics.add_rows(planner, step, name, records)
