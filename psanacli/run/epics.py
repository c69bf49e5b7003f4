"""EPICS variables of a run as a timeline: every value that was in force, and when.

Names come from CTRL records (in Configure), values from TIME records, which only carry a number; aliases from
``Epics.ConfigV1``.  Of several records for one variable that are read for one delivered event or transition the newest
counts, the later one of equal ones; a record that is read for a later delivery always counts (format description, 5).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError
from psanacli.run.config import STORING
from psanacli.run.names import Names
from psanacli.run.objects import History, Ints, Key, Places, Product
from psanacli.run.payloads import Payloads
from psanacli.run.tables import Action
from psanacli.xtc import (
    ALARMS,
    EPICS,
    EPICS_HEAD,
    RECORD_KINDS,
    SEVERITIES,
    XTC,
    ContributionFlag,
    Record,
    Source,
    decode_epics,
    epics_heads,
    named,
)

if TYPE_CHECKING:
    from psanacli.run.events import Event

_READING = (
    Action.BEGIN_JOB, Action.CONFIGURE, Action.BEGIN_RUN, Action.BEGIN_STEP, Action.EVENT, Action.TRIMMED,
    Action.EPICS_ONLY, Action.SKIPPED, Action.UNMATCHED,
)  # fmt: skip
"""What is read; ends of runs and steps are not."""
_CHUNK = 1 << 24  # bytes of payloads that are read at once
_FIRST_CTRL = 28

_Identity = tuple[int, int, int]  # source log, source phy, pvId: the process counts


class Value(NamedTuple):
    """A variable at one moment.

    Attributes
    ----------
    value : int, float, str, or ndarray
        One value, or all of them when there are several.
    time : numpy.datetime64[ns] or None
        When the variable had it; None for a value that came with the name.
    severity, status : str
        The alarm, as EPICS names it.
    """

    value: Any
    time: np.datetime64 | None
    severity: str
    status: str


class Variable:
    """One EPICS variable: its whole history.

    Attributes
    ----------
    name, alias : str
        The alias is empty when there is none.
    group : ndarray of int64, shape (n,)
        Group of the run with which each value came into force, ascending.
    """

    def __init__(self, name: str, alias: str, epics: Epics, rows: Ints, control: Ints) -> None:
        self.name = name
        self.alias = alias
        self._epics = epics
        self._rows = rows
        self._control = control
        self.group = epics.places.group[rows]

    def __len__(self) -> int:
        return len(self._rows)

    @cached_property
    def control(self) -> Record | None:
        """The last CTRL record: name, limits, ``dbr.units``; None when there is none."""
        return decode_epics(self._epics.payload(int(self._control[-1]))) if len(self._control) else None

    @property
    def units(self) -> str:
        """The unit, empty when there is none."""
        dbr = self.control.dbr if self.control is not None else None
        return str(getattr(dbr, "units", ""))

    @property
    def enum_strings(self) -> tuple[str, ...]:
        """Texts of the values of an enumeration; empty for all other variables."""
        dbr = self.control.dbr if self.control is not None else None
        texts = getattr(dbr, "strings", None) if dbr is not None else None
        return tuple(texts[: dbr.no_str]) if texts is not None and dbr is not None else ()

    @property
    def times(self) -> NDArray[np.datetime64]:
        """Time stamps of the values, datetime64[ns], shape (n,); NaT for values that came with the name."""
        heads = self._epics.heads[self._rows]
        times = heads["seconds"].astype(np.int64) * 1_000_000_000 + heads["nanoseconds"]
        return np.where(heads["dbrType"] < _FIRST_CTRL, times, np.iinfo(np.int64).min).astype("datetime64[ns]")

    @property
    def severities(self) -> NDArray[np.uint16]:
        """Alarm severities, shape (n,)."""
        return np.asarray(self._epics.heads["severity"][self._rows])

    @property
    def statuses(self) -> NDArray[np.uint16]:
        """Alarm statuses, shape (n,)."""
        return np.asarray(self._epics.heads["status"][self._rows])

    @cached_property
    def values(self) -> NDArray[Any]:
        """All values: shape (n,), or (n, elements) for an array; dtype object when records differ in type or length."""
        heads = self._epics.heads[self._rows]
        kinds, counts = np.unique(heads["dbrType"]), np.unique(heads["numElements"])
        items = {RECORD_KINDS[int(kind)].item for kind in kinds}
        if len(counts) == 1 and len(items) == 1:
            item, count = items.pop(), int(counts[0])
            block = self._epics.read(self._rows)
            places = block.starts + (heads["values"] - self._epics.starts_of_heads(self._rows))
            index = places.astype(np.int64)[:, None] + np.arange(item.itemsize * count)
            data: NDArray[Any] = (
                np.ascontiguousarray(block.buffer[index]).view(item) if count else np.zeros((len(heads), 0), item)
            )
            if item.kind == "S":
                data = np.array([[_text(text) for text in row] for row in data.tolist()], "U40").reshape(data.shape)
            return data[:, 0] if count == 1 else data
        found = np.empty(len(heads), object)
        for i, row in enumerate(self._rows.tolist()):
            found[i] = _value(decode_epics(self._epics.payload(row)))
        return found

    def at(self, moment: Event | int | None) -> Value | None:
        """Return what was in force at an event, after a group (its number), or at the end (None); None for nothing."""
        group = self._epics.group_of(moment)
        row = int(np.searchsorted(self.group, group, side="right")) - 1
        return self._value_of(row) if row >= 0 else None

    def _value_of(self, row: int) -> Value:
        head = self._epics.heads[self._rows[row]]
        value = self.values[row]
        if isinstance(value, np.generic):
            value = value.item()
        time = self.times[row]
        severity, status = int(head["severity"]), int(head["status"])
        return Value(
            value,
            None if np.isnat(time) else time,
            SEVERITIES[severity] if severity < len(SEVERITIES) else str(severity),
            ALARMS[status] if status < len(ALARMS) else str(status),
        )

    def __repr__(self) -> str:
        last = self.at(None)
        alias = f" ({self.alias})" if self.alias else ""
        return (
            f"<Variable {self.name}{alias}: {len(self)} values, the last {last.value if last else None!r} {self.units}>"
        )


class Epics(Mapping[str, Variable]):
    """The EPICS variables of a run, by name or alias; names forgive case and ``-`` for ``_``.

    Examples
    --------
    >>> run.epics["XPP:GON:MMS:03.RBV"].values                # doctest: +SKIP
    >>> run.epics["sample_x"].at(run.events[7]).value         # doctest: +SKIP
    """

    def __init__(self, payloads: Payloads, last: int) -> None:
        self._payloads = payloads
        self._last = last

    @cached_property
    def places(self) -> History:
        """All EPICS records, in the order in which they are read."""
        return _find_records(self._payloads)

    @cached_property
    def heads(self) -> NDArray[Any]:
        """Heads of all records, an array of `EPICS_HEAD`; its offsets are those in the block it was read with."""
        return self._read_heads[0]

    def starts_of_heads(self, rows: Ints) -> Ints:
        """Return where the payloads of rows began in the blocks that `heads` were read with."""
        return self._read_heads[1][rows]

    @cached_property
    def _read_heads(self) -> tuple[NDArray[Any], Ints]:
        count = len(self.places)
        heads = np.zeros(count, EPICS_HEAD)
        starts = np.zeros(count, np.int64)
        ends = np.cumsum(self.places.size)
        first = 0
        while first < count:
            begin = int(ends[first - 1]) if first else 0
            stop = max(int(np.searchsorted(ends, begin + _CHUNK, side="right")), first + 1)
            block = self._payloads.read(self.places, slice(first, stop))
            heads[first:stop] = epics_heads(block.buffer, block.starts, block.sizes)
            starts[first:stop] = block.starts
            first = stop
        return heads, starts

    def read(self, rows: Ints) -> Any:
        """Read the payloads of some records."""
        return self._payloads.read(self.places, rows)

    def payload(self, row: int) -> memoryview:
        """Read the payload of one record."""
        view: memoryview = self.read(np.array([row]))[0]
        return view

    def group_of(self, moment: Event | int | None) -> int:
        """Return the number of the group that a moment means."""
        return self._last if moment is None else moment if isinstance(moment, int) else moment.group

    @cached_property
    def _naming(self) -> _Naming:
        return _name_all(self, self._payloads)

    @cached_property
    def _variables(self) -> dict[str, Variable]:
        naming = self._naming
        heads, places = self.heads, self.places
        delivery = self._payloads.table.deliveries_before(places.group)
        stamp = heads["seconds"].astype(np.int64) * 1_000_000_000 + heads["nanoseconds"]
        # Sorted so that of each variable and delivery the record that counts is the last.
        order = np.lexsort((np.arange(len(heads)), stamp, delivery, naming.variable))
        order = order[naming.variable[order] >= 0]
        which, when = naming.variable[order], delivery[order]
        last = np.ones(len(order), bool)
        last[:-1] = (which[1:] != which[:-1]) | (when[1:] != when[:-1])
        chosen = order[last]
        bounds = np.searchsorted(naming.variable[chosen], np.arange(len(naming.names) + 1))
        aliases = {name: alias for alias, name in reversed([*naming.aliases.items()])}
        found = {}
        for number, name in enumerate(naming.names):
            rows = chosen[bounds[number] : bounds[number + 1]]
            control = np.array(naming.control.get(name, []), np.int64)
            # A value that came with the name counts until the first other one.
            before = control[places.group[control] < (places.group[rows[0]] if len(rows) else self._last + 1)]
            found[name] = Variable(name, aliases.get(name, ""), self, np.concatenate((before, rows)), control)
        return dict(sorted(found.items()))

    @cached_property
    def _names(self) -> Names[str]:
        names = Names[str]("EPICS variable")
        for alias, name in self.aliases.items():
            names.add(name, alias)
        for name in self._variables:
            names.add(name, name)
        return names

    @property
    def aliases(self) -> dict[str, str]:
        """Names of variables by alias, sorted; as they are at the end of the run."""
        return dict(sorted(self._naming.aliases.items()))

    def aliases_at(self, moment: Event | int | None) -> dict[str, str]:
        """Return names of variables by alias, as they were at a moment."""
        group = self.group_of(moment)
        aliases: dict[str, str] = {}
        for when, alias, name in self._naming.alias_changes:
            if when > group:
                break
            if name is None:
                aliases.pop(alias, None)
            else:
                aliases[alias] = name
        return aliases

    def at(self, moment: Event | int | None) -> dict[str, Value]:
        """Return all variables in force at an event, after a group (its number), or at the end (None)."""
        values = {name: variable.at(moment) for name, variable in self._variables.items()}
        return {name: value for name, value in values.items() if value is not None}

    def __getitem__(self, name: str) -> Variable:
        return self._variables[self._names.find(name, "the run has no EPICS variables" if not self._variables else "")]

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._names.get(name) is not None

    def __repr__(self) -> str:
        lines = [f"<Epics: {len(self)} variables"]
        for name, variable in [*self._variables.items()][:20]:
            last = variable.at(None)
            lines.append(f"  {name:<32} {variable.alias:<12} {last.value if last else ''!s:.30} {variable.units}")
        if len(self) > 20:
            lines.append(f"  ... and {len(self) - 20} more")
        return "\n".join(lines) + ">"


def _find_records(payloads: Payloads) -> History:
    table = payloads.table
    member, group, row = table.occurrences(table.contents.of_type(EPICS), _READING)
    storing = np.isin(table.groups["action"][group], STORING)
    within = member - table.groups["first"][group].astype(np.int64)
    control = table.streams_of(table.members[member]) >= table.rules.control_content
    # Control streams first, from the highest down, then the others.
    rank = np.where(control, -within, within + 1)
    order = np.lexsort((row, rank, group))
    order = order[(~storing | control | (within == 0))[order]]
    member, group, row = member[order], group[order].astype(np.int64), row[order]
    entered = table.contributions["flags"][row] & (ContributionFlag.NOT_ENTERED | ContributionFlag.PROXY) == 0
    # An empty payload is no record.
    kept = entered & (table.contributions["extent"][row] > XTC.itemsize)
    member, group, row = member[kept], group[kept], row[kept]
    rows = table.members[member]
    product = Product(named("Epics.EpicsPvHeader"))
    start, size, _ = table.place(rows, row, product)
    none = np.full(len(row), -1, np.int64)
    key = Key(product.xtc_type, Source(0xFFFFFFFF, 0xFFFFFFFF))
    order = np.arange(len(row))
    return History(key, rows, start, size, table.contributions["flags"][row], none, product, group, order, order, row)


class _Naming(NamedTuple):
    """Which record belongs to which variable."""

    names: list[str]
    variable: Ints
    """Number of the variable of each TIME record, -1 for all other records."""
    control: dict[str, list[int]]
    """Rows of the CTRL records of each variable, the last counts."""
    aliases: dict[str, str]
    alias_changes: list[tuple[int, str, str | None]]


class _Store:
    """Names and aliases as they become known."""

    def __init__(self) -> None:
        self.name_of: dict[_Identity, str] = {}
        self.control: dict[str, list[int]] = {}
        self.aliases: dict[str, str] = {}
        self.alias_of: dict[_Identity, str] = {}
        self.identity_of_alias: dict[str, _Identity] = {}
        self.changes: list[tuple[int, str, str | None]] = []

    def add_name(self, identity: _Identity, name: str, group: int) -> None:
        """Name a variable; the first name stays, also the one that stands for a name that is not known yet."""
        if identity not in self.name_of:
            self.name_of[identity] = name
            for alias, other in self.identity_of_alias.items():
                if other == identity:
                    self._set(group, alias, name)

    def add_control(self, identity: _Identity, name: str, row: int, group: int) -> None:
        self.add_name(identity, name, group)
        self.control.setdefault(name, []).append(row)
        if name in self.identity_of_alias:
            del self.identity_of_alias[name]
            self._set(group, name, None)

    def add_alias(self, identity: _Identity, alias: str, group: int) -> None:
        if not alias or alias in self.control:
            return
        if self.alias_of.setdefault(identity, alias) != alias:
            return
        self.identity_of_alias[alias] = identity
        if identity in self.name_of:
            self._set(group, alias, self.name_of[identity])

    def _set(self, group: int, alias: str, name: str | None) -> None:
        if name is None:
            self.aliases.pop(alias, None)
        elif self.aliases.get(alias) == name:
            return
        else:
            self.aliases[alias] = name
        self.changes.append((group, alias, name))


def _name_all(epics: Epics, payloads: Payloads) -> _Naming:
    """Give every record its variable: what gives names is met one by one, TIME records all at once."""
    table, places, heads = payloads.table, epics.places, epics.heads
    sources = np.stack([table.keys["log"], table.keys["phy"]], axis=1).astype(np.int64)
    source = sources[table.contributions["key"][places.contribution]] if len(table.keys) else np.zeros((0, 2), np.int64)
    kinds = heads["dbrType"]
    control = heads["complete"] & (kinds >= _FIRST_CTRL)
    time = np.flatnonzero(heads["complete"] & (kinds < _FIRST_CTRL))
    identities = np.column_stack((source, heads["pvId"].astype(np.int64)))
    unique, which = np.unique(identities[time], axis=0, return_inverse=True)
    which = which.reshape(-1)
    first_times = np.full(len(unique), len(heads), np.int64)
    np.minimum.at(first_times, which, time)
    store = _Store()
    # What gives names, in the order in which it is met: records with names, first records without, and lists of
    # aliases, after the records of their group.
    steps: list[tuple[int, int, int, int]] = []
    for row in [*np.flatnonzero(control).tolist(), *first_times.tolist()]:
        steps.append((int(places.group[row]), 0, row, row))
    for (type_name, _), history in table.config.histories.items():
        if type_name == "Epics.ConfigV1":
            steps += [
                (int(history.group[row]), 1, int(history.order[row]), history.first + row)
                for row in range(len(history))
            ]
    for group, what, _, number in sorted(steps):
        if what == 0:
            log, phy, pv_id = identities[number].tolist()
            if control[number]:
                store.add_control((log, phy, pv_id), _name_in(epics.payload(number)), number, group)
            else:
                store.add_name((log, phy, pv_id), f"PV:pvId={pv_id}:src_log={log}:src_phy={phy}", group)
        else:
            history, row = table.config.locate(number)
            try:
                entries = payloads.config(number).getPvConfig
            except DataError:
                continue  # a damaged list of aliases names nothing
            log, phy = sources[table.contributions["key"][history.contribution[row]]].tolist()
            for entry in entries:
                store.add_alias((log, phy, entry.pvId), entry.description, group)
    numbers: dict[str, int] = {name: number for number, name in enumerate(store.control)}
    slots = [numbers.setdefault(store.name_of[tuple(identity)], len(numbers)) for identity in unique.tolist()]
    variable = np.full(len(heads), -1, np.int64)
    if slots:
        variable[time] = np.array(slots, np.int64)[which]
    return _Naming(list(numbers), variable, store.control, store.aliases, store.changes)


def _name_in(payload: memoryview) -> str:
    return _text(bytes(payload[6:70]))


def _text(data: bytes) -> str:
    return data.split(b"\0", 1)[0].decode("latin-1")


def _value(record: Record) -> Any:
    data = record.data
    return data[0] if len(data) == 1 else data


__all__ = ["Epics", "Places", "Value", "Variable"]
