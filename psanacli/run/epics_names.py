"""Which EPICS record belongs to which variable, and the aliases: names as they become known in the course of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError
from psanacli.large import MANY, empty
from psanacli.run.epics_records import stretches
from psanacli.run.objects import Ints
from psanacli.run.payloads import Payloads

if TYPE_CHECKING:
    from psanacli.run.epics import Epics

_FIRST_CTRL = 28
_Identity = tuple[int, int, int]  # source log, source phy, pvId: the process counts


class Naming(NamedTuple):
    """Which record belongs to which variable."""

    names: list[str]
    variable: NDArray[np.int32]
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


def name_all(epics: Epics, payloads: Payloads) -> Naming:
    """Give every record its variable: what gives names is met one by one, TIME records all at once."""
    table, places, kinds = payloads.table, epics.places, epics.kinds
    sources = np.stack([table.keys["log"], table.keys["phy"]], axis=1).astype(np.int64)
    complete, first_ctrl = kinds.table["complete"] != 0, kinds.table["dbrType"] >= _FIRST_CTRL
    is_control, is_time = complete & first_ctrl, complete & ~first_ctrl

    def key(rows: slice | int) -> NDArray[np.int64]:
        return np.asarray(table.contributions["key"][places.contribution[rows]], np.int64)

    def identity(row: int) -> _Identity:
        log, phy = sources[key(row)].tolist()
        return log, phy, int(kinds.table["pvId"][kinds.number[row]])

    def codes(first: int, stop: int) -> tuple[Ints, Ints]:
        """Return the TIME records of a stretch, and a number for source and kind of each."""
        number = kinds.number[first:stop]
        time = np.flatnonzero(is_time[number])
        return time, (key(slice(first, stop)) * max(len(kinds.table), 1) + number)[time]

    # Records of one source and kind have one identity; there are few of these.
    control: list[int] = []
    began: dict[int, int] = {}
    for first, stop in stretches(len(places)):
        control += (first + np.flatnonzero(is_control[kinds.number[first:stop]])).tolist()
        time, code = codes(first, stop)
        unique, index = np.unique(code, return_index=True)
        for value, row in zip(unique.tolist(), (first + time[index]).tolist(), strict=True):
            began.setdefault(value, row)
    known = np.array(sorted(began), np.int64)
    owners: dict[_Identity, int] = {}
    slot = np.array([owners.setdefault(identity(began[code]), len(owners)) for code in known.tolist()], np.int64)
    first_times = np.full(len(owners), len(places), np.int64)
    np.minimum.at(first_times, slot, np.array([began[code] for code in known.tolist()], np.int64))
    store = _Store()
    # What gives names, in the order in which it is met: records with names, first records without, and lists of
    # aliases, after the records of their group.
    steps: list[tuple[int, int, int, int]] = []
    named = set(control)
    for row in [*control, *first_times.tolist()]:
        steps.append((int(places.group[row]), 0, row, row))
    for (type_name, _), history in table.config.histories.items():
        if type_name == "Epics.ConfigV1":
            steps += [
                (int(history.group[row]), 1, int(history.order[row]), history.first + row)
                for row in range(len(history))
            ]
    for group, what, _, number in sorted(steps):
        if what == 0:
            log, phy, pv_id = identity(number)
            if number in named:
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
    slots = np.array([numbers.setdefault(store.name_of[owner], len(numbers)) for owner in owners], np.int64)
    variable = empty(len(places), np.int32, large=MANY)
    for first, stop in stretches(len(places)):
        time, code = codes(first, stop)
        some = variable[first:stop]
        some[:] = -1
        some[time] = slots[slot[np.searchsorted(known, code)]] if len(time) else -1
    return Naming(list(numbers), variable, store.control, store.aliases, store.changes)


def _name_in(payload: memoryview) -> str:
    return text_in(bytes(payload[6:70]))


def text_in(data: bytes) -> str:
    """Return the text of a field: up to the first zero."""
    return data.split(b"\0", 1)[0].decode("latin-1")


__all__ = ["Naming", "name_all", "text_in"]
