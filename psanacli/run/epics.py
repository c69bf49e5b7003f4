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

from psanacli.errors import DataError, UsageError
from psanacli.large import MANY, Rows
from psanacli.run.epics_names import Naming, name_all, text_in
from psanacli.run.epics_records import EPICS_KIND, RecordKinds, by_variable, find_records, stretches
from psanacli.run.names import Names
from psanacli.run.objects import Arrivals, Ints, Places
from psanacli.run.payloads import Payloads
from psanacli.run.reading import PayloadBlock
from psanacli.run.runtable import DELIVERED
from psanacli.xtc import (
    ALARMS,
    EPICS_HEAD,
    RECORD_KINDS,
    SEVERITIES,
    Record,
    decode_epics,
    epics_heads,
)

if TYPE_CHECKING:
    from psanacli.run.event import Event

_CHUNK = 1 << 24  # bytes of payloads that are read at once
_FIRST_CTRL = 28


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

    def __init__(self, name: str, alias: str, epics: Epics, rows: Ints, group: Ints, control: Ints) -> None:
        self.name = name
        self.alias = alias
        self._epics = epics
        self._rows = rows
        self._control = control
        self.group = group
        self._last: tuple[int, Value] | None = None  # events that follow each other mostly have the same value

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def records(self) -> Ints:
        """Rows of `Epics.places`: the records of its values, then those that brought its name, int64."""
        return np.concatenate((self._rows, self._control))

    @property
    def nbytes(self) -> int:
        """Bytes of all its records in the files."""
        return int(self._epics.places.size[self.records].sum())

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
        heads = self._heads
        times = heads["seconds"].astype(np.int64) * 1_000_000_000 + heads["nanoseconds"]
        return np.where(heads["dbrType"] < _FIRST_CTRL, times, np.iinfo(np.int64).min).astype("datetime64[ns]")

    @property
    def severities(self) -> NDArray[np.uint16]:
        """Alarm severities, shape (n,)."""
        return np.asarray(self._heads["severity"])

    @property
    def statuses(self) -> NDArray[np.uint16]:
        """Alarm statuses, shape (n,)."""
        return np.asarray(self._heads["status"])

    @cached_property
    def _heads(self) -> NDArray[Any]:
        return self._epics.heads_of(self._rows)

    @cached_property
    def _same_shape(self) -> bool:
        """Whether all its records have values of one type and number."""
        kinds = self._epics.kinds.table[np.unique(self._epics.kinds.number[self._rows])]
        items = {RECORD_KINDS[kind].item for kind in kinds["dbrType"].tolist()}
        return len(items) == 1 and len(set(kinds["numElements"].tolist())) == 1

    @cached_property
    def values(self) -> NDArray[Any]:
        """All values: shape (n,), or (n, elements) for an array; dtype object when records differ in type or length."""
        if self._same_shape:
            return self._read(self._rows)[1]
        found = np.empty(len(self._rows), object)
        for i, row in enumerate(self._rows.tolist()):
            found[i] = _value(decode_epics(self._epics.payload(row)))
        return found

    def _read(self, rows: Ints) -> tuple[NDArray[Any], NDArray[Any]]:
        """Read heads and values of records with one type and number."""
        heads, block = self._epics.read_heads(rows)
        item, count = RECORD_KINDS[int(heads["dbrType"][0])].item, int(heads["numElements"][0])
        if not count:
            return heads, np.zeros((len(heads), 0), item)
        index = heads["values"].astype(np.int64)[:, None] + np.arange(item.itemsize * count)
        data: NDArray[Any] = np.ascontiguousarray(block.buffer[index]).view(item)
        if item.kind == "S":
            data = np.array([[text_in(text) for text in row] for row in data.tolist()], "U40").reshape(data.shape)
        return heads, data[:, 0] if count == 1 else data

    def at(self, moment: Event | int | None) -> Value | None:
        """Return what was in force at an event, after a group (its number), or at the end (None); None for nothing."""
        group = self._epics.group_of(moment)
        row = int(np.searchsorted(self.group, group, side="right")) - 1
        if row < 0:
            return None
        last = self._last
        if last is None or last[0] != row:
            last = row, self._value_of(row)
            if isinstance(last[1].value, np.ndarray):
                return last[1]  # not kept: it belongs to who asked, who may change it
            self._last = last
        return last[1]

    def _value_of(self, row: int) -> Value:
        one = self._rows[row : row + 1]
        if "values" in vars(self):  # all were asked for before
            head, value = self._heads[row], self.values[row]
        elif self._same_shape:
            (head,), (value,) = self._read(one)
        else:
            head = self._epics.heads_of(one)[0]
            value = _value(decode_epics(self._epics.payload(int(one[0]))))
        if isinstance(value, np.generic):
            value = value.item()
        known = head["dbrType"] < _FIRST_CTRL
        time = np.datetime64(int(head["seconds"]) * 1_000_000_000 + int(head["nanoseconds"]), "ns") if known else None
        severity, status = int(head["severity"]), int(head["status"])
        return Value(
            value,
            time,
            SEVERITIES[severity] if severity < len(SEVERITIES) else str(severity),
            ALARMS[status] if status < len(ALARMS) else str(status),
        )

    def __repr__(self) -> str:
        last = self.at(None)
        alias = f" ({self.alias})" if self.alias else ""
        return (
            f"<Variable {self.name}{alias}: {len(self)} values, the last {last.value if last else None!r} {self.units}>"
        )


TIME_TOOL = ":FLTPOS"
"""End of the name of the variable that every time tool has: the pixel where it found the edge."""


class Epics(Mapping[str, Variable]):
    """The EPICS variables of a run, by name or alias; names forgive case and ``-`` for ``_``.

    Examples
    --------
    >>> run.epics["XPP:GON:MMS:03.RBV"].values                # doctest: +SKIP
    >>> run.epics["sample_x"].at(run.events[7]).value         # doctest: +SKIP
    """

    def __init__(self, payloads: Payloads, last: int, kinds: RecordKinds | None = None) -> None:
        self._payloads = payloads
        self._last = last
        self._known = kinds

    @cached_property
    def places(self) -> Arrivals:
        """All EPICS records, in the order in which they are read."""
        return find_records(self._payloads)

    @cached_property
    def kinds(self) -> RecordKinds:
        """What is known of all records before they are read."""
        if self._known is not None:
            if len(self._known) != len(self.places):
                raise DataError("the index does not have as many EPICS records as the run")
            return self._known
        pieces = (np.arange(first, stop) for first, stop in stretches(len(self.places)))
        return RecordKinds.joined(RecordKinds.of(self.heads_of(rows)) for rows in pieces)

    def read_heads(self, rows: Ints) -> tuple[NDArray[Any], PayloadBlock]:
        """Read some records: their heads, an array of `EPICS_HEAD`, and the block that its offsets are of."""
        block = self._payloads.read(self.places, rows)
        return epics_heads(block.buffer, block.starts, block.sizes), block

    @cached_property
    def heads(self) -> NDArray[Any]:
        """Heads of all records, an array of `EPICS_HEAD`; their offsets count from the start of each payload."""
        return self.heads_of(np.arange(len(self.places)))

    def heads_of(self, rows: Ints) -> NDArray[Any]:
        """Read the heads of some records; their offsets count from the start of each payload."""
        heads = np.zeros(len(rows), EPICS_HEAD)
        ends = np.cumsum(self.places.size[rows])
        first = 0
        while first < len(rows):
            begin = int(ends[first - 1]) if first else 0
            stop = max(int(np.searchsorted(ends, begin + _CHUNK, side="right")), first + 1)
            found, block = self.read_heads(rows[first:stop])
            found["values"] -= np.where(found["complete"], block.starts, 0).astype(np.uint64)
            heads[first:stop] = found
            first = stop
        return heads

    def read(self, rows: Ints) -> Any:
        """Read the payloads of some records."""
        return self._payloads.read(self.places, rows)

    def payload(self, row: int) -> memoryview:
        """Read the payload of one record."""
        return self._payloads.read_one(self.places, row)

    def group_of(self, moment: Event | int | None) -> int:
        """Return the number of the group that a moment means.

        Raises
        ------
        UsageError
            It is an event of another run.
        """
        if moment is not None and not isinstance(moment, int) and moment.run.epics is not self:
            raise UsageError(
                f"event {moment.index} is of another run (run {moment.run.number}) than these EPICS variables",
                "event.run.epics has those of its own",
            )
        return self._last if moment is None else moment if isinstance(moment, int) else moment.group

    @property
    def time_tools(self) -> tuple[str, ...]:
        """What the names of the results of each time tool begin with: ``XPP:TT`` where ``XPP:TT:FLTPOS`` is there."""
        return tuple(name.removesuffix(TIME_TOOL) for name in self if name.endswith(TIME_TOOL))

    @cached_property
    def _naming(self) -> Naming:
        return name_all(self, self._payloads)

    @cached_property
    def _variables(self) -> dict[str, Variable]:
        naming, places = self._naming, self.places
        order, bounds = by_variable(naming.variable, len(naming.names))
        rows, groups = Rows(np.int64, large=MANY), Rows(np.int64, large=MANY)
        edges = [0]
        for number, name in enumerate(naming.names):
            mine = self._counting(order[bounds[number] : bounds[number + 1]])
            control = np.array(naming.control.get(name, []), np.int64)
            # A value that came with the name counts until the first other one.
            before = control[places.group[control] < (places.group[mine[0]] if len(mine) else self._last + 1)]
            mine = np.concatenate((before, mine))
            rows.add(mine)
            groups.add(places.group[mine])
            edges.append(edges[-1] + len(mine))
        every, group = rows.array(), groups.array()
        aliases = {name: alias for alias, name in reversed([*naming.aliases.items()])}
        found = {}
        for name, first, stop in zip(naming.names, edges, edges[1:], strict=False):
            control = np.array(naming.control.get(name, []), np.int64)
            found[name] = Variable(name, aliases.get(name, ""), self, every[first:stop], group[first:stop], control)
        return dict(sorted(found.items()))

    def _counting(self, rows: Ints) -> Ints:
        """Return which of the records of a variable count, of all in the order in which they are read."""
        # Records that are read for one delivery have one number: that of the group that is delivered next.
        when = self._payloads.table.following(self.places.group[rows], DELIVERED)
        same = when[1:] == when[:-1]
        if not same.any():
            return rows
        newest = self._newest_last(rows, when)
        return np.asarray(newest[np.append(~same, True)])

    def _newest_last(self, order: Ints, when: Ints) -> Ints:
        """Sort so that of several records of a variable for one delivery the one that counts is the last."""
        same = np.zeros(len(order) + 1, bool)
        same[1:-1] = when[1:] == when[:-1]
        several = np.flatnonzero(same[1:] | same[:-1])
        rows = order[several]
        heads = self.heads_of(rows)  # only these have to be read
        stamp = heads["seconds"].astype(np.int64) * 1_000_000_000 + heads["nanoseconds"]
        order = order.copy()
        order[several] = rows[np.lexsort((rows, stamp, when[several]))]
        return order

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


def _value(record: Record) -> Any:
    data = record.data
    return data[0] if len(data) == 1 else data


__all__ = ["EPICS_KIND", "Epics", "Places", "RecordKinds", "Value", "Variable"]
