"""EPICS in the file: control records and aliases in Configure, a table for each variable in each step.

Values are those in force when an event is processed, records of the event included; so every record belongs to the
first event at or after it, and of several that belong to one event the last counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError
from psanacli.hdf5 import names
from psanacli.hdf5.forms import compound, form_of
from psanacli.hdf5.layout import DatasetLayout, Member
from psanacli.hdf5.rows import EveryEvent, Rows, nothing
from psanacli.hdf5.tables import FEW_ROWS, STAMP_ROWS, Dataset, Table, Value, chunk_rows
from psanacli.hdf5.values import Column, Encoder, base_of
from psanacli.run import Key, Objects, Places, Product, RunTable, Variable
from psanacli.xtc import RECORD_KINDS, Batch, Source, bind

if TYPE_CHECKING:
    from psanacli.hdf5.plan import Planner, Step

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
    for name, records in _in_force(planner):
        for step in planner.blocks if not planner.options.aligned else ():
            chosen = records.entries(mode, step.first, step.stop)
            if len(chosen):
                add_rows(planner, step, name, chosen, links.get(name, []))


@dataclass(frozen=True, eq=False)
class Records:
    """The rows of one variable: each record stands at all events from `first` to before `stop`.

    Attributes
    ----------
    places : Places
        The records.
    kinds, counts : ndarray
        Their ``dbrType`` and number of elements.
    first, stop : ndarray of int64
        Positions of events, ascending.
    """

    places: Places
    kinds: NDArray[Any]
    counts: NDArray[Any]
    first: Ints
    stop: Ints

    def __len__(self) -> int:
        """Return the number of rows."""
        return int((self.stop - self.first).sum())

    def select(self, chosen: Any) -> Records:
        """Return some of the records."""
        places, kinds, counts = self.places.select(chosen), self.kinds[chosen], self.counts[chosen]
        return Records(places, kinds, counts, self.first[chosen], self.stop[chosen])

    def entries(self, mode: str, start: int, stop: int) -> Records:
        """Return the rows of one step.

        Parameters
        ----------
        mode : str
            As in the options.
        start, stop : int
            Its events, as positions.
        """
        low, high = np.searchsorted(self.first, (start, stop)).tolist()
        first = self.first[low:high]
        if mode != "updates" and low > 0 and stop > start and (low == high or first[0] > start):
            low, first = low - 1, np.append(start, first)
        some = self.select(slice(low, high))
        return replace(some, first=first, stop=np.append(first[1:], stop) if mode == "always" else first + 1)

    def before(self, positions: Ints) -> Ints:
        """Return the number of rows before some positions."""
        sums = np.concatenate(([0], np.cumsum(self.stop - self.first)))
        record = np.searchsorted(self.first, positions, side="right")
        begun = np.maximum(record - 1, 0)
        inside = np.minimum(positions, self.stop[begun]) - self.first[begun]
        return np.asarray(np.where(record > 0, sums[begun] + inside, 0))

    def within(self, table: RunTable, first: int, stop: int) -> Objects:
        """See `psanacli.hdf5.rows.Rows`."""
        low, high = int(np.searchsorted(self.stop, first, side="right")), int(np.searchsorted(self.first, stop))
        begin, end = np.maximum(self.first[low:high], first), np.minimum(self.stop[low:high], stop)
        each = np.maximum(end - begin, 0)
        event = np.repeat(begin - (np.cumsum(each) - each), each) + np.arange(each.sum())
        places = self.places.select(np.repeat(np.arange(low, low + len(each)), each))
        kind = RECORD_KINDS[int(self.kinds[0])].xtc_type
        key = Key(kind, Source(0xFFFFFFFF, 0xFFFFFFFF))
        where = (places.datagram, places.offset, places.size, places.flags, places.config)
        return Objects(key, *where, Product(kind), event, np.zeros(len(event), np.uint32), np.ones(len(event), bool))


def _in_force(planner: Planner) -> Iterator[tuple[str, Records]]:
    """Give for each variable its records with a time, from the event that each belongs to until the next one."""
    variables = planner.run.epics
    for name, variable in variables.items():
        heads = variables.heads[variable._rows]
        time = variable._rows[(heads["dbrType"] < _FIRST_CTRL) & (heads["numElements"] > 0)]
        event = planner.table.events_from(variables.places.group[time])
        first = np.asarray(planner.chosen.before(event), np.int64)
        time, first = time[last := _last_of_each(first)], first[last]
        heads = variables.heads[time]
        places = variables.places.select(time)
        until = np.append(first[1:], planner.chosen.count)
        yield name, Records(places, heads["dbrType"], heads["numElements"], first, until)


def _last_of_each(first: Ints) -> NDArray[np.bool_]:
    """Return which records are the last of their event."""
    return np.append(first[1:] != first[:-1], True) if len(first) else np.zeros(0, bool)


def in_force(planner: Planner) -> Iterator[tuple[str, Records]]:
    """Give for each variable that has values its records with all events at which each is in force."""
    if planner.options.epics == "no":
        return
    for name, records in _in_force(planner):
        entries = records.entries("always", 0, planner.chosen.count)
        if len(entries):
            yield name, entries


def add_rows(planner: Planner, step: Step, name: str, records: Records, links: Sequence[str] = ()) -> None:
    """Add the table of one variable in one step."""
    aligned = planner.options.aligned
    kind, count = int(records.kinds[0]), int(records.counts[0])
    same = records.kinds == kind
    if not same.all():
        left_out = len(records.select(~same))
        planner.plan.notes.append(f"EPICS {name}: {left_out} records of another type are left out")
        records = records.select(same)
    first_block, blocks = planner.blocks[step]
    edges = np.array([first for first, _, _ in blocks] + [step.stop])
    bounds = edges - step.first if aligned else records.before(edges)
    rows: Rows = EveryEvent(records) if aligned else records
    total = int(bounds[-1])
    base = f"{step.path}/{names.EPICS}/{names.EPICS_SOURCE}"
    planner.plan.group(base, (("_xtcSrc", names.EPICS_SOURCE_WORDS),))
    column = Column(record_layout(kind, count), ())
    group = f"{base}/{names.variable_group(name)}"
    size = column.form.dtype.itemsize
    chunk = chunk_rows(size, total, FEW_ROWS)
    numbers = [planner.plan.add(Dataset(f"{group}/data", column.form, total, chunk, size))]
    extras = () if aligned else ("time",)
    if not aligned:
        numbers.append(_time(planner, group, total))
    table = Table(group, rows, first_block, bounds, (column,), tuple(numbers), extras, aligned)
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
        tally = planner.in_configure(nothing(np.zeros(1, np.int64)))
        table = Table(group, tally.rows, tally.first_block, tally.bounds, (), (number,), ("time",))
        planner.plan.tables.append(table)
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
