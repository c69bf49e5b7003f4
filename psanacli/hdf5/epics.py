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

from psanacli import large
from psanacli.errors import DataError
from psanacli.hdf5 import names
from psanacli.hdf5.forms import compound, form_of
from psanacli.hdf5.layout import DatasetLayout, Member
from psanacli.hdf5.rows import EveryEvent, Rows, nothing
from psanacli.hdf5.tables import FEW_ROWS, STAMP_ROWS, Dataset, Table, Value, chunk_rows
from psanacli.hdf5.tally import Tally
from psanacli.hdf5.values import Column, Encoder, base_of
from psanacli.run import Key, Objects, Product, RunTable, Variable
from psanacli.xtc import RECORD_KINDS, Source, bind

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


RECORD = np.dtype([("datagram", "<u4"), ("contribution", "<i4"), ("kind", "<i2"), ("count", "<i2")])
"""Where a record is, its ``dbrType`` and number of elements."""


@dataclass(frozen=True, eq=False)
class Records:
    """The rows of one variable: each record stands at one event, or at all until the next one.

    The arrays are views of those of all variables, which may be in a file (`psanacli.large`).

    Attributes
    ----------
    rows : ndarray of `RECORD`
    first, until : ndarray of int64
        Positions of events, ascending: where each comes into force, and the next one does.
    start, stop : int
        The range of positions that is meant; a record may have come before.
    held : bool
        Whether it stands at all events where it is in force.
    """

    rows: NDArray[Any]
    first: Ints
    until: Ints
    start: int
    stop: int
    held: bool = True

    def __len__(self) -> int:
        """Return the number of rows."""
        begin, end = self._spans(slice(None))
        return int((end - begin).sum())

    def select(self, chosen: Any) -> Records:
        """Return some of the records."""
        return replace(self, rows=self.rows[chosen], first=self.first[chosen], until=self.until[chosen])

    def _spans(self, records: slice) -> tuple[Ints, Ints]:
        """Return where some records begin and end to stand."""
        begin = np.maximum(self.first[records], self.start)
        return begin, np.minimum(self.until[records], self.stop) if self.held else begin + 1

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
        if mode != "updates" and low > 0 and stop > start and (low == high or self.first[low] > start):
            low -= 1
        return replace(self.select(slice(low, high)), start=start, stop=stop, held=mode == "always")

    def before(self, positions: Ints) -> Ints:
        """Return the number of rows before some positions."""
        begin, end = self._spans(slice(None))
        sums = np.concatenate(([0], np.cumsum(end - begin)))
        record = np.searchsorted(begin, positions, side="right")
        begun = np.maximum(record - 1, 0)
        inside = np.minimum(positions, end[begun]) - begin[begun]
        return np.asarray(np.where(record > 0, sums[begun] + inside, 0))

    def within(self, table: RunTable, first: int, stop: int) -> Objects:
        """See `psanacli.hdf5.rows.Rows`."""
        if first <= self.start:
            low = 0
        elif self.held:
            low = int(np.searchsorted(self.until, first, side="right"))
        else:
            low = int(np.searchsorted(self.first, first))
        some = slice(low, int(np.searchsorted(self.first, stop)))
        begin, end = self._spans(some)
        begin, end = np.maximum(begin, first), np.minimum(end, stop)
        each = np.maximum(end - begin, 0)
        event = np.repeat(begin - (np.cumsum(each) - each), each) + np.arange(each.sum())
        rows = self.rows[some][np.repeat(np.arange(len(each)), each)]
        kind = Product(RECORD_KINDS[int(self.rows["kind"][0])].xtc_type)
        datagram, contribution = rows["datagram"], rows["contribution"].astype(np.int64)
        offset, size, _ = table.place(datagram, contribution, kind)
        flags, config = table.contributions["flags"][contribution], np.full(len(event), -1)
        key = Key(kind.xtc_type, Source(0xFFFFFFFF, 0xFFFFFFFF))
        damage, stored = np.zeros(len(event), np.uint32), np.ones(len(event), bool)
        return Objects(key, datagram, offset, size, flags, config, kind, event, damage, stored)


def _in_force(planner: Planner) -> list[tuple[str, Records]]:
    """Return for each variable its records with a time, from the event that each belongs to until the next one."""
    variables, count = planner.run.epics, planner.chosen.count
    kinds, places = variables.kinds, variables.places
    usable = (kinds.table["dbrType"] < _FIRST_CTRL) & (kinds.table["numElements"] > 0)
    every, firsts = large.Rows(RECORD, large=large.MANY), large.Rows(np.int64, large=large.MANY)
    lengths = []
    for variable in variables.values():
        time = usable[kinds.number[variable._rows]]
        row = variable._rows[time]
        first = np.asarray(planner.chosen.before(planner.table.events_from(variable.group[time])), np.int64)
        row, first = row[last := _last_of_each(first)], first[last]
        records = np.zeros(len(row), RECORD)
        records["datagram"], records["contribution"] = places.datagram[row], places.contribution[row]
        kind = kinds.table[kinds.number[row]]
        records["kind"], records["count"] = kind["dbrType"], kind["numElements"]
        every.add(records)
        firsts.add(np.append(first, count))  # the next one begins where this one ends, and the last ends with the run
        lengths.append(len(row))
    rows, first = every.array(), firsts.array()
    found, at = [], 0
    for number, (name, length) in enumerate(zip(variables, lengths, strict=True)):
        mine = first[at + number : at + number + length + 1]
        found.append((name, Records(rows[at : at + length], mine[:-1], mine[1:], 0, count)))
        at += length
    return found


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
    kind, count = int(records.rows["kind"][0]), int(records.rows["count"][0])
    same = records.rows["kind"] == kind
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
    tally: Tally | None = None
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
    if not len(rows):
        return None
    _, kind, count, _ = epics.kinds.table[epics.kinds.number[rows[-1]]].tolist()
    if count < 1:
        return None
    payload = epics.payload(int(rows[-1]))
    try:
        batch = bind(RECORD_KINDS[kind].xtc_type).one(payload)
        strings = 0
        if RECORD_KINDS[kind].name == "CtrlEnum":
            strings = max(0, min(16, int(batch.column("dbr.no_str")[0])))
        layout = record_layout(kind, count, strings)
        values = Encoder(planner.recipes).dataset(layout, batch)
    except DataError as error:
        planner.plan.notes.append(f"{group}: cannot be decoded, left out: {error.message}")
        return None
    return Value(group, (("data", base_of(layout), (1,), values),), np.zeros(8, np.uint8))
