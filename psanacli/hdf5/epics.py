"""EPICS in the file: control records and aliases in Configure, a table for each variable in each step.

Values are those in force when an event is processed, records of the event included; so every record belongs to the
first event at or after it, and of several that belong to one event the last counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError
from psanacli.hdf5 import names
from psanacli.hdf5.forms import compound, form_of
from psanacli.hdf5.layout import DatasetLayout, Member
from psanacli.hdf5.tables import STAMP_ROWS, Dataset, Table, Value, chunk_rows
from psanacli.hdf5.values import Column, Encoder, base_of
from psanacli.run import Key, Objects, Product, Variable
from psanacli.xtc import RECORD_KINDS, Source, bind
from psanacli.xtc.columns import Batch

if TYPE_CHECKING:
    from psanacli.hdf5.plan import Planner

Ints = NDArray[np.int64]
_FIRST_CTRL = 28
_CODES = {"String": "S40", "Short": "i2", "Float": "f4", "Enum": "u2", "Char": "u1", "Long": "i4", "Double": "f8"}
_LIMITS = (
    "upper_disp_limit", "lower_disp_limit", "upper_alarm_limit", "upper_warning_limit",
    "lower_warning_limit", "lower_alarm_limit", "upper_ctrl_limit", "lower_ctrl_limit",
)  # fmt: skip
_HEAD = (Member("pvId", "i2", "pvId"), Member("dbrType", "i2", "dbrType"), Member("numElements", "i2", "numElements"))
_ALARM = (Member("status", "i2", "dbr.status"), Member("severity", "i2", "dbr.severity"))


def record_layout(kind: int, count: int, strings: int = 0) -> DatasetLayout:
    """Return the dataset ``data`` for records of a kind.

    Parameters
    ----------
    kind : int
        The ``dbrType``.
    count : int
        Number of elements, 1 or more.
    strings : int
        Of an enumeration: how many texts are in use.
    """
    suffix = RECORD_KINDS[kind].name
    code = _CODES[suffix[4:]]
    members = [*_HEAD]
    if kind < _FIRST_CTRL:
        members += [*_ALARM, Member("stamp", "@psanacli.stamp", "dbr.stamp")]
    else:
        members += [Member("pvname", "S64", "pvName"), *_ALARM]
        if code in ("f4", "f8"):
            members.append(Member("precision", "i2", "dbr.precision"))
        if code == "u2":
            members.append(Member("no_str", "i2", "dbr.no_str"))
            members += [Member("strs", f"S26[{strings}]", f"dbr.strings[:{strings}]")] if strings else []
        elif code != "S40":
            members.append(Member("units", "S8", "dbr.units"))
            members += [Member(name, code, f"dbr.{name}") for name in _LIMITS]
    members.append(Member("value", code if count == 1 else f"{code}[{count}]", "data" if count > 1 else "data[0]"))
    packed = suffix == "CtrlEnum"
    tail = 0
    if count > 1 and not packed:
        # As the C structure with one value, plus the further values: the end may be padded, or not.
        single = compound((*members[:-1], Member("value", code, "data[0]"))).dtype.itemsize
        wanted = single + (count - 1) * form_of(code).dtype.itemsize
        tail = wanted - compound(tuple(members)).dtype.itemsize
    return DatasetLayout("data", members=tuple(members), packed=packed, tail=tail)


def add(planner: Planner) -> None:
    """Add the EPICS variables to the plan."""
    mode = planner.options.epics
    variables = planner.run.epics
    if mode == "no" or not len(variables):
        return
    links = _links(planner)
    _add_configure(planner, links)
    for name, time, first in _records(planner):
        for step in planner.steps if not planner.options.aligned else ():
            events, rows = _entries(mode, time, first, step.first, step.stop)
            if len(events):
                add_rows(planner, step.path, name, events, rows, links.get(name, []))


def _records(planner: Planner) -> Iterator[tuple[str, Ints, Ints]]:
    """Give for each variable its records with a time, and the event that each belongs to."""
    variables = planner.run.epics
    events = planner.table.events["group"][planner.chosen]
    for name, variable in variables.items():
        rows = variable._rows
        kinds = variables.heads["dbrType"][rows]
        time = rows[(kinds < _FIRST_CTRL) & (variables.heads["numElements"][rows] > 0)]
        yield name, time, np.searchsorted(events, variables.places.group[time])


def in_force(planner: Planner) -> Iterator[tuple[str, Ints, Ints]]:
    """Give for each variable the events in which it has a value, and the record of each."""
    if planner.options.epics == "no":
        return
    for name, time, first in _records(planner):
        events, rows = _entries("always", time, first, 0, planner.plan.count)
        if len(events):
            yield name, events, rows


def _entries(mode: str, rows: Ints, first: Ints, start: int, stop: int) -> tuple[Ints, Ints]:
    """Return for one step the events that have an entry, and the record of each.

    Parameters
    ----------
    mode : str
        As in the options.
    rows, first : ndarray of int64
        Records, and the event that each belongs to, ascending.
    start, stop : int
        Events of the step.
    """
    last = np.append(first[1:] != first[:-1], True) if len(first) else np.zeros(0, bool)
    rows, first = rows[last], first[last]
    low, high = np.searchsorted(first, (start, stop)).tolist()
    if mode == "always":
        events = np.arange(max(start, int(first[0])) if len(first) else stop, stop)
        return events, rows[np.searchsorted(first, events, side="right") - 1] if len(events) else rows[:0]
    events, chosen = first[low:high], rows[low:high]
    if mode == "calib-repeat" and low > 0 and stop > start and (low == high or events[0] > start):
        events, chosen = np.append(start, events), np.append(rows[low - 1], chosen)
    return events, chosen


def add_rows(
    planner: Planner, step: str, name: str, events: Ints, rows: Ints, links: Sequence[str] = (), aligned: int = 0
) -> None:
    """Add the table of one variable in one step; `aligned` is the number of rows of an aligned file, 0 for others."""
    epics = planner.run.epics
    heads = epics.heads[rows]
    kind, count = int(heads["dbrType"][0]), int(heads["numElements"][0])
    same = heads["dbrType"] == kind
    if not same.all():
        planner.plan.notes.append(f"EPICS {name}: {np.count_nonzero(~same)} records of another type are left out")
        events, rows = events[same], rows[same]
    places = epics.places.select(rows)
    key = Key(RECORD_KINDS[kind].xtc_type, Source(0xFFFFFFFF, 0xFFFFFFFF))
    damage = np.zeros(len(rows), np.uint32)
    product = Product(key.xtc_type)
    stored = np.ones(len(rows), bool)
    where = (places.datagram, places.offset, places.size, places.flags, places.config)
    objects = Objects(key, *where, product, events, damage, stored)
    if aligned:
        objects = expanded(objects, aligned)
    base = f"{step}/{names.EPICS}/{names.EPICS_SOURCE}"
    planner.plan.group(base, (("_xtcSrc", names.EPICS_SOURCE_WORDS),))
    column = Column(record_layout(kind, count), ())
    group = f"{base}/{names.variable_group(name)}"
    size = column.form.dtype.itemsize
    chunk = chunk_rows(size, len(objects), STAMP_ROWS)
    numbers = [planner.plan.add(Dataset(f"{group}/data", column.form, len(objects), chunk, size))]
    extras = () if aligned else ("time",)
    if not aligned:
        numbers.append(_time(planner, group, len(objects)))
    table = Table(group, objects, (column,), tuple(numbers), extras, bool(aligned))
    planner.plan.tables.append(table)
    planner.plan.links += [(f"{base}/{alias}", names.variable_group(name)) for alias in links]


def _time(planner: Planner, group: str, rows: int) -> int:
    form = form_of("@psanacli.time")
    return planner.plan.add(Dataset(f"{group}/time", form, rows, min(rows, STAMP_ROWS), form.dtype.itemsize))


def _links(planner: Planner) -> dict[str, list[str]]:
    """Return the aliases of each variable that become links."""
    epics = planner.run.epics
    found: dict[str, list[str]] = {}
    taken = {name: "a variable" for name in epics}
    for alias, name in epics.aliases.items():
        link = alias.replace("/", "_")
        if link == name:
            continue
        if link in taken or name not in epics:
            reason = f"this is the name of {taken[link]}" if link in taken else f"there is no variable {name}"
            planner.plan.notes.append(f"EPICS alias {alias}: no link, as {reason}")
            continue
        taken[link] = f"an alias of {name}"
        found.setdefault(name, []).append(link)
    return found


def _add_configure(planner: Planner, links: dict[str, list[str]]) -> None:
    """Add the control records: one value each, with the time of Configure."""
    if planner.configure < 0:
        return
    base = f"{names.CONFIGURE}/{names.EPICS}/{names.EPICS_SOURCE}"
    planner.plan.group(base, (("_xtcSrc", names.EPICS_SOURCE_WORDS),))
    for name, variable in planner.run.epics.items():
        group = f"{base}/{names.variable_group(name)}"
        planner.plan.group(group)
        value = _control(planner, group, variable)
        if value is None:
            planner.plan.notes.append(f"EPICS {name}: there is no control record with a value")
            continue
        planner.plan.values.append(value)
        number = _time(planner, group, 1)
        event = np.array([planner.configure_position()])
        objects = nothing(event)
        planner.plan.tables.append(Table(group, objects, (), (number,), ("time",)))
        planner.plan.links += [(f"{base}/{alias}", name) for alias in links.get(name, [])]


def _control(planner: Planner, group: str, variable: Variable) -> Value | None:
    epics = planner.run.epics
    rows = variable._control
    before = rows[epics.places.group[rows] <= planner.configure]
    rows = before if len(before) else rows
    if not len(rows) or epics.heads["numElements"][rows[-1]] < 1:
        return None
    head = epics.heads[rows[-1]]
    block = epics.read(rows[-1:])
    try:
        batch = Batch(bind(RECORD_KINDS[int(head["dbrType"])].xtc_type), block.buffer, block.starts, block.sizes)
        strings = 0
        if RECORD_KINDS[int(head["dbrType"])].name == "CtrlEnum":
            strings = max(0, min(16, int(batch.column("dbr.no_str")[0])))
        layout = record_layout(int(head["dbrType"]), int(head["numElements"]), strings)
        values = Encoder().dataset(layout, batch)
    except DataError as error:
        planner.plan.notes.append(f"{group}: cannot be decoded, left out: {error.message}")
        return None
    return Value(group, (("data", base_of(layout), (1,), values),), np.zeros(8, np.uint8))


def nothing(event: Ints) -> Objects:
    """Return rows for events without objects."""
    count = len(event)
    none: dict[str, Any] = {name: np.zeros(count, np.int64) for name in ("datagram", "offset", "size", "config")}
    words: dict[str, Any] = {name: np.zeros(count, np.uint32) for name in ("flags", "damage")}
    kind = RECORD_KINDS[_FIRST_CTRL].xtc_type
    stored = np.zeros(count, bool)
    return Objects(Key(kind, Source(0, 0)), product=Product(kind), event=event, stored=stored, **none, **words)


def expanded(objects: Objects, events: int) -> Objects:
    """Return objects with a row for every event; those without an object are not ``stored``."""
    arrays: dict[str, Any] = {}
    for name, values in vars(objects).items():
        if isinstance(values, np.ndarray):
            arrays[name] = np.zeros(events, values.dtype)
            arrays[name][objects.event] = values
    arrays["event"] = np.arange(events)
    return replace(objects, **arrays)
