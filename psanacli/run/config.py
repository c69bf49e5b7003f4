"""The configuration of a run as a timeline: which configuration objects were in force at any moment.

Configuration objects come in Configure and BeginCalibCycle (of each control stream, then of the first DAQ stream, as
all DAQ streams repeat the same ones), and in a few events.  A later object replaces an earlier one of the same type and
source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError, NotFoundError, UsageError, did_you_mean, fold
from psanacli.run.names import DetectorNames, ambiguous
from psanacli.run.objects import History, Ints, Key, is_config
from psanacli.run.tables import Action
from psanacli.xtc import ContributionFlag, Record, Source

if TYPE_CHECKING:
    from psanacli.run.event import Event
    from psanacli.run.runtable import RunTable

STORING = (Action.BEGIN_JOB, Action.CONFIGURE, Action.BEGIN_STEP)
"""Transitions whose objects are configuration, of the control streams and of the first DAQ stream only."""
FILLING = (Action.EVENT, Action.SKIPPED)
"""Events whose configuration objects count too, from any stream, if their damage allows it."""


class ConfigTimeline:
    """Where the configuration objects of a run are, by type and source; their values are not read.

    Attributes
    ----------
    histories : dict of (str, (int, int)) to History
        By type name and identity of the source.
    """

    def __init__(self, table: RunTable) -> None:
        self.histories: dict[tuple[str, tuple[int, int]], History] = {}
        contents = table.contents
        found = _find(table)
        length = 0
        for (name, identity), products in contents.products.items():
            xtc_type = products[0][1].xtc_type
            if not is_config(xtc_type):
                continue
            product = products[0][1]
            mine = np.flatnonzero(np.isin(table.contributions["key"][found.row], [number for number, _ in products]))
            row, groups = found.row[mine], found.group[mine]
            entered = contents.flags[row] & ContributionFlag.NOT_ENTERED == 0
            start, size, fits = table.place(found.datagram[mine], row, product)
            kept = entered & fits & (contents.size[row] > 0) & (found.storing[mine] | contents.storable[row])
            # The first Configure is also read like an event, after that: what its damage allows counts, in the order of
            # the streams.
            again = (table.groups["action"][groups] == Action.BEGIN_JOB) & contents.storable[row]
            ranks = np.lexsort((row, np.where(again, found.member[mine], found.order[mine]), again, groups))
            ranks = ranks[kept[ranks]]
            if not len(ranks):
                continue
            mine, row, group = mine[ranks], row[ranks], groups[ranks]
            last = table.position_behind(group) - 1
            place = table.position(found.member[mine], row)
            self.histories[name, identity] = History(
                Key(xtc_type, contents.sources[identity]),
                found.datagram[mine],
                start[ranks],
                size[ranks],
                contents.flags[row],
                np.full(len(ranks), -1, np.int64),
                product,
                group,
                np.where(found.storing[mine], last, place),
                found.order[mine],
                row,
                length,
            )
            length += len(ranks)
        self._firsts = np.array([history.first for history in self.histories.values()] or [0], np.int64)
        self._in_order = list(self.histories.values())

    def latest(self, names: tuple[str, ...], source: Source, positions: Ints) -> Ints:
        """Return which configuration object counts at each position, -1 where there is none.

        Parameters
        ----------
        names : tuple of str
            Types, in the order in which they are looked for.
        source : Source
            Whose they are.
        positions : ndarray of int64
            Places in the order of all contributions.
        """
        found = np.full(len(positions), -1, np.int64)
        for name in names:
            history = self.histories.get((name, source.identity))
            if history is not None:
                row = np.searchsorted(history.position, positions, side="left") - 1
                found = np.where((found < 0) & (row >= 0), history.first + row, found)
        return found

    def locate(self, number: int) -> tuple[History, int]:
        """Return the history and its row of a number that `latest` gave."""
        which = int(np.searchsorted(self._firsts, number, side="right")) - 1
        history = self._in_order[which]
        return history, number - history.first

    def at(self, group: int) -> dict[tuple[str, tuple[int, int]], int]:
        """Return the numbers of the objects in force after a group."""
        found = {}
        for place, history in self.histories.items():
            row = int(np.searchsorted(history.group, group, side="right")) - 1
            if row >= 0:
                found[place] = history.first + row
        return found

    def changes(self) -> Ints:
        """Return the groups that change the configuration, ascending."""
        groups = [history.group for history in self._in_order]
        return np.unique(np.concatenate(groups)) if groups else np.zeros(0, np.int64)


class _Found(NamedTuple):
    """Where objects of configuration types are that may count, of all types together."""

    member: Ints
    group: Ints
    row: Ints
    datagram: NDArray[np.int32]
    storing: NDArray[np.bool_]
    """Whether the group stores them whatever their damage."""
    order: Ints
    """What ascends in the order in which they are stored."""


def _find(table: RunTable) -> _Found:
    contents = table.contents
    numbers = {
        number for products in contents.products.values() for number, product in products if is_config(product.xtc_type)
    }
    parts = [contents.of_key(number) for number in sorted(numbers)]
    contributions = np.sort(np.concatenate(parts)) if parts else np.zeros(0, np.int64)
    members, groups, row = table.occurrences(contributions, (*STORING, *FILLING))
    member, group = members.astype(np.int64), groups.astype(np.int64)
    storing = np.isin(table.groups["action"][group], STORING)
    within = member - table.groups["first"][group]
    control = table.streams_of(table.members[member]) >= table.rules.control_content
    # Control streams first, from the highest down; the order of the streams in events.
    order = (group << 32) + np.where(storing & control, -within, within + 1)
    chosen = np.flatnonzero(~storing | control | (within == 0))
    member, group = member[chosen], group[chosen]
    return _Found(member, group, row[chosen], table.members[member], storing[chosen], order[chosen])


class Configuration(Mapping[Key, Record]):
    """The configuration objects in force at one moment, by type and source.

    A key is a `Key`, a name of a source (``"opal_1"``), a name of a type (``"EvrData.ConfigV7"``), or both
    (``"opal_1/Opal1k.ConfigV1"``); names forgive case and ``-`` for ``_``.
    """

    def __init__(
        self,
        numbers: Mapping[tuple[str, tuple[int, int]], int],
        timeline: ConfigTimeline,
        record: Callable[[int], Record],
        aliases: Mapping[str, Source],
    ) -> None:
        self._numbers = numbers
        self._keys = {timeline.histories[place].key: number for place, number in numbers.items()}
        self._by_place = {(key.xtc_type.name, key.source.identity): key for key in self._keys}
        self._record = record
        self._aliases = aliases

    def __getitem__(self, name: Key | str | tuple[str, Source]) -> Record:
        return self._record(self._keys[self._find(name)])

    def __iter__(self) -> Iterator[Key]:
        return iter(sorted(self._keys, key=lambda key: (key.source.identity, key.xtc_type.name)))

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, name: object) -> bool:
        try:
            self._find(name)  # type: ignore[arg-type]
        except (NotFoundError, UsageError, AttributeError, TypeError, ValueError):
            return False
        return True

    def number_of(self, type_name: str, source: Source) -> int:
        """Return the number of the object of a type and source in the timeline, -1 when there is none."""
        return self._numbers.get((type_name, source.identity), -1)

    def of(self, type_name: str) -> list[Record]:
        """Return the objects of a type, or of all versions of it: ``of("ControlData.Config")``."""
        return [self[key] for key in self if key.xtc_type.name == type_name or _bare(key.xtc_type.name) == type_name]

    def _find(self, name: Key | str | tuple[str, Source]) -> Key:
        if not isinstance(name, str):
            type_name, source = (name.xtc_type.name, name.source) if isinstance(name, Key) else name
            key = self._by_place.get((type_name, source.identity))
            if key is None:
                raise NotFoundError(f"no configuration {type_name} of {source.text or 'no source'}")
            return key
        types = {key.xtc_type.name for key in self._keys}
        named = [type_name for type_name in types if fold(name) in (fold(type_name), fold(_bare(type_name)))]
        if named:
            found = [key for key in self if key.xtc_type.name in named]
        else:
            names = DetectorNames(((key.xtc_type.name, key.source) for key in self), self._aliases)
            try:
                detector = names.find(name)
            except NotFoundError as error:
                hint = did_you_mean(name, types, error.hint)
                raise NotFoundError(f"no configuration {name!r} at this moment", hint) from None
            found = [key for key in self if key.source.same_as(detector.source) and key.xtc_type.name in detector.types]
        if len(found) > 1:
            raise ambiguous("configuration", name, [f"{key.source.name}/{key.xtc_type.name}" for key in found])
        return found[0]

    def __repr__(self) -> str:
        lines = [f"<Configuration: {len(self)} objects"]
        lines += [f"  {key.xtc_type.name:<32} {key.source.text}" for key in self]
        return "\n".join(lines) + ">"


def _bare(type_name: str) -> str:
    return type_name.rstrip("0123456789").removesuffix("V")


class Config(Mapping[Key, Record]):
    """The configuration of a run.  As a mapping it is what is in force at the first event; `at` gives any other moment.

    Examples
    --------
    >>> run.config["opal_1"].width                                     # doctest: +SKIP
    >>> run.config.at(run.events[-1])["EvrData.ConfigV7"]              # doctest: +SKIP
    """

    def __init__(
        self,
        timeline: ConfigTimeline,
        record: Callable[[int], Record],
        aliases: Callable[[], Mapping[str, Source]],
        first: int,
        last: int,
    ) -> None:
        self.timeline = timeline
        self.record = record
        self._aliases = aliases
        self._first = first
        self._last = last
        self._known: dict[int, Configuration] = {}
        self._changes = timeline.changes()

    def at(self, moment: Event | int | None) -> Configuration:
        """Return the configuration in force at an event, after a group (its number), or at the end (None).

        Raises
        ------
        UsageError
            The event is of another run.
        """
        if moment is not None and not isinstance(moment, int) and moment.run.config is not self:
            raise UsageError(
                f"event {moment.index} is of another run (run {moment.run.number}) than this configuration",
                "event.run.config.at(event) is that of its own",
            )
        group = self._last if moment is None else moment if isinstance(moment, int) else moment.group
        change = int(np.searchsorted(self._changes, group, side="right")) - 1
        if change not in self._known:
            numbers = self.timeline.at(int(self._changes[change])) if change >= 0 else {}
            if len(self._known) > 64:
                self._known.clear()
            self._known[change] = Configuration(numbers, self.timeline, self.record, self._aliases())
        return self._known[change]

    @property
    def start(self) -> Configuration:
        """What is in force at the first event."""
        return self.at(self._first)

    def __getitem__(self, name: Key | str | tuple[str, Source]) -> Record:
        return self.start[name]

    def __iter__(self) -> Iterator[Key]:
        return iter(self.start)

    def __len__(self) -> int:
        return len(self.start)

    def __contains__(self, name: object) -> bool:
        return name in self.start

    def of(self, type_name: str) -> list[Record]:
        """Return the objects of a type, or of all versions of it, at the first event."""
        return self.start.of(type_name)

    def __repr__(self) -> str:
        return f"{self.start!r}\n({len(self._changes)} changes in the run; .at(event) gives any moment)"


def aliases_of(timeline: ConfigTimeline, record: Callable[[int], Record]) -> dict[str, Source]:
    """Return the aliases of a run: the first definition of an alias, and of a source, stays."""
    found: dict[str, Source] = {}
    taken: set[tuple[int, int]] = set()
    rows = [
        (int(history.order[row]), int(history.contribution[row]), history.first + row)
        for (name, _), history in timeline.histories.items()
        if name == "Alias.ConfigV1"
        for row in range(len(history))
    ]
    for _, _, number in sorted(rows):
        try:
            entries = record(number).srcAlias
        except DataError:
            continue  # a damaged list of aliases names nothing; it shows among the problems when it is asked for
        for entry in entries:
            source = Source(entry.src.log, entry.src.phy)
            if entry.aliasName and entry.aliasName not in found and source.identity not in taken:
                found[entry.aliasName] = source
                taken.add(source.identity)
    return found
