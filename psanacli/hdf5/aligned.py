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
from psanacli.hdf5.layout import TypeLayout
from psanacli.hdf5.tables import STAMP_ROWS, Dataset, Table, block_events
from psanacli.run import Objects

if TYPE_CHECKING:
    from psanacli.hdf5.plan import Planner

GROUP = "Aligned"


def add(planner: Planner, found: list[tuple[Objects, TypeLayout]], size: int) -> None:
    """Add the tables of all objects to the plan.

    Parameters
    ----------
    planner : Planner
        Has the plan.
    found : list of (Objects, TypeLayout)
        As they are in the run, ``event`` being a position in the list of events.
    size : int
        Bytes of all payloads.
    """
    events = planner.plan.count
    if not events:
        return
    _add_times(planner, events)
    span = block_events(events, size)
    for objects, layout in found:
        rows = epics.expanded(objects, events)
        planner.add_table(GROUP, rows, layout, span, True, extras=("_damage", "_mask"), nan=True)
    for name, found_in, records in epics.in_force(planner):
        epics.add_rows(planner, GROUP, name, found_in, records, aligned=events)


def _add_times(planner: Planner, events: int) -> None:
    numbers = []
    for name, text in (("time", "@psanacli.time"), ("step", "i4")):
        form = form_of(text)
        chunk = min(events, STAMP_ROWS)
        numbers.append(planner.plan.add(Dataset(f"{GROUP}/{name}", form, events, chunk, form.dtype.itemsize)))
    nothing = epics.nothing(np.arange(events))
    planner.plan.tables.append(Table(GROUP, nothing, (), tuple(numbers), ("time", "step")))

