"""The table of a run: all headers of all its files, walked in parallel, joined to events, ready to be asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from psanacli.run._occurrences import Tables
from psanacli.run.config import ConfigTimeline
from psanacli.run.files import XtcFile, missing_chunks
from psanacli.run.headers import RunHeaders, walk_files
from psanacli.run.objects import (
    BOOKKEEPING,
    Contents,
    Ints,
    Key,
    Objects,
    Product,
    compact,
    is_config,
    is_dropped,
    repeated,
)
from psanacli.run.tables import (
    Action,
    Assembly,
    Counters,
    Rules,
    build_groups,
)
from psanacli.xtc import (
    TYPE_XTC,
    ContributionFlag,
    Damage,
    ProblemKind,
    Source,
    XtcType,
)

DELIVERED = (
    Action.BEGIN_JOB, Action.BEGIN_RUN, Action.BEGIN_STEP, Action.EVENT, Action.END_STEP, Action.END_RUN, Action.SKIPPED
)  # fmt: skip
"""Groups that whoever goes through the run sees, with the events that were skipped on request."""


@dataclass(frozen=True)
class FileProblem:
    """Something in a file that contradicts the format.

    Attributes
    ----------
    path : Path
    offset : int
        Where in the file, in bytes.
    kind : ProblemKind
    message : str
        In words, without file and offset.
    """

    path: Path
    offset: int
    kind: ProblemKind
    message: str

    def __str__(self) -> str:
        return f"{self.path} at offset {self.offset}: {self.message}"


class Occurrences(NamedTuple):
    """Where contributions occur, in the order of the members.

    Attributes
    ----------
    member, group : ndarray of int32
        Index into the members, and number of the group.
    row : ndarray of int64
        Row of the contribution table.
    """

    member: NDArray[np.int32]
    group: NDArray[np.int32]
    row: Ints


class RunTable:
    """All that the headers of a run say.

    Attributes
    ----------
    files : tuple of XtcFile
        Sorted by stream and chunk.
    number : int
        Run number of the file names.
    rules : Rules
        How the events were built.
    datagrams : ndarray of `DATAGRAM`
        All rows of all files; ``file`` is an index into `files`, ``pattern`` one into the patterns of the run.
    start : ndarray of int64
        Pattern ``p`` has the contributions ``start[p]:start[p + 1]``.
    contributions, keys : ndarray of `CONTRIBUTION`, `KEY`
        Of all files together.
    members : ndarray of int32
        Rows of the datagram table in the order of the groups; in a group by stream.
    streams : ndarray of int64
        Numbers of the streams, ascending.
    first_rows : ndarray of int64
        Stream ``streams[i]`` has the rows ``first_rows[i]:first_rows[i + 1]`` of the datagram table.
    groups : structured array
        ``first``, ``count`` (a slice of `members`), ``service``, `Action`, ``event`` (-1: none), ``run``; in the
        order in which they are delivered.
    events : ndarray of `EVENT`
    transitions : ndarray of `TRANSITION`
    steps : ndarray of `STEP`
    problems : tuple of FileProblem
        What contradicts the format, file by file.
    headers : RunHeaders
        What all of this is made of: the tables of the files.
    assembly : Assembly
        How the datagrams are joined to groups and events.
    """

    def __init__(
        self,
        files: Sequence[XtcFile],
        number: int,
        rules: Rules,
        headers: RunHeaders | None = None,
        assembly: Assembly | None = None,
    ) -> None:
        self.files = tuple(sorted(files, key=lambda file: file.place))
        self.number = number
        self.rules = rules
        if headers is None:
            headers = RunHeaders.of(walk_files([file.path for file in self.files]))
        self.headers = headers
        self.datagrams, self.start = headers.datagrams, headers.start
        self.contributions, self.keys = headers.contributions, headers.keys
        self.sizes = headers.sizes
        self.problems = tuple(
            FileProblem(file.path, problem.offset, problem.kind, problem.message)
            for file, problems in zip(self.files, headers.problems, strict=True)
            for problem in problems.listed
        )
        self.contents = Contents(self.start, self.contributions, self.keys, rules)
        numbers = np.array([file.stream for file in self.files], np.int64)
        self.streams = np.unique(numbers)
        rows = np.diff(headers.rows)
        ends = np.cumsum([rows[numbers == stream].sum() for stream in self.streams], dtype=np.int64)
        self.first_rows = np.concatenate(([0], ends)).astype(np.int64)
        if assembly is None:
            streams = self.streams.astype(np.uint32)
            assembly = Assembly.of(
                build_groups(self.datagrams, self.first_rows, streams, self.contents.only_epics, rules, number)
            )
        self.assembly = assembly
        self.members, self.groups, self.events = assembly.members, assembly.groups, assembly.events
        self.transitions, self.steps = assembly.transitions, assembly.steps
        self._objects: dict[tuple[str, tuple[int, int]], Objects] = {}

    def streams_of(self, rows: NDArray[np.integer]) -> Ints:
        """Return the numbers of the streams that rows of the datagram table are from."""
        return self.streams[np.searchsorted(self.first_rows, rows, side="right") - 1]

    @cached_property
    def _tables(self) -> Tables:
        return Tables(self.datagrams, self.groups, self.members)

    @cached_property
    def used(self) -> tuple[Ints, int]:
        """How many datagrams of each pattern are in events, and how many of all these are damaged."""
        return self._tables.patterns(len(self.start) - 1, _bits([Action.EVENT]))

    def occurrences(
        self, contributions: Ints, actions: Iterable[Action], first: int = 0, stop: int | None = None
    ) -> Occurrences:
        """Return where contributions occur in groups that do one of some actions.

        Parameters
        ----------
        contributions : ndarray of int64
            Rows of the contribution table, ascending.
        actions : iterable of Action
            What the groups do.
        first, stop : int
            Range of groups; default is all.
        """
        owners = self.contents.pattern[contributions]
        until = len(self.groups) if stop is None else stop
        member, group, index = self._tables.find(owners, _bits(actions), first, until)
        return Occurrences(member, group, contributions[index])

    def occurs(self, key: Key) -> bool:
        """Whether an event has a contribution of a key, damaged or not."""
        products = self.contents.products.get((key.xtc_type.name, key.source.identity), ())
        return any(self.used[0][self.contents.pattern[self.contents.of_key(number)]].any() for number, _ in products)

    def payload_sizes(self, keys: Iterable[Key]) -> Ints:
        """Return the bytes of all storable payloads of some keys in a datagram of each pattern."""
        numbers = {
            number
            for key in keys
            for number, _ in self.contents.products.get((key.xtc_type.name, key.source.identity), ())
        }
        wanted = np.isin(self.contributions["key"], list(numbers)) & self.contents.storable
        return np.bincount(self.contents.pattern, self.contents.size * wanted, len(self.start) - 1).astype(np.int64)

    def weigh(self, weights: Ints, events: NDArray[np.integer] | slice) -> Ints:
        """Return the sum of the weights of the patterns of the datagrams in each of some events."""
        return self._tables.weigh(weights, np.ascontiguousarray(self.events["group"][events]))

    def position(self, member: NDArray[np.integer], row: Ints) -> Ints:
        """Return numbers that say where contributions are in the order of all: by member, then by place in it."""
        return member.astype(np.int64) << 32 | row - self.start[self.contents.pattern[row]]

    def position_behind(self, group: NDArray[np.integer]) -> Ints:
        """Return the position behind all contributions of groups."""
        rows = self.groups[group]
        return np.asarray(rows["first"].astype(np.int64) + rows["count"] << 32)

    def following(self, group: NDArray[np.integer], actions: Iterable[Action]) -> Ints:
        """Return for each of some groups the first from it on that does one of some actions; `len(groups)` for none."""
        return self._tables.following(np.ascontiguousarray(group, np.int64), _bits(actions))

    def events_from(self, group: NDArray[np.integer]) -> Ints:
        """Return for each of some groups the number of the first event from it on; `len(events)` for none."""
        at = self.following(group, [Action.EVENT])
        inside = at < len(self.groups)
        found = np.full(len(at), len(self.events), np.int64)
        found[inside] = self.groups["event"][at[inside]]
        return found

    @cached_property
    def config(self) -> ConfigTimeline:
        """The timeline of the configuration objects."""
        return ConfigTimeline(self)

    def rows_of(self, group: int) -> NDArray[np.int32]:
        """Return the rows of the datagram table in a group, in the order of the streams."""
        first, count = int(self.groups["first"][group]), int(self.groups["count"][group])
        return self.members[first : first + count]

    def object_keys(self) -> list[Key]:
        """Return the keys of all objects of events, damaged or not, in the order of event keys (source, type)."""
        used = self.used[0] > 0
        owners = self.contents.pattern[used[self.contents.pattern]]
        present = np.zeros(len(self.keys), bool)
        if len(owners):
            present[self.contributions["key"][used[self.contents.pattern]]] = True
        found = []
        for (name, identity), products in self.contents.products.items():
            xtc_type = products[0][1].xtc_type
            if name != BOOKKEEPING and not is_config(xtc_type) and any(present[number] for number, _ in products):
                found.append(Key(xtc_type, self.contents.sources[identity]))
        return sorted(found, key=lambda key: (key.source.identity, key.xtc_type.name))

    def objects(self, xtc_type: XtcType, source: Source) -> Objects:
        """Return where the objects of a type and source are, in every event.

        Rows are there for every event with a contribution of the key, damaged or not; none when there are none.
        """
        place = xtc_type.name, source.identity
        if place not in self._objects:
            self._objects[place] = self.objects_in(Key(xtc_type, source), 0, len(self.events))
        return self._objects[place]

    def objects_in(self, key: Key, first: int, stop: int) -> Objects:
        """Return the same for the events `first` to `stop`, made anew."""
        products = self.contents.products.get((key.xtc_type.name, key.source.identity), [])
        rows = [self.contents.of_key(number) for number, _ in products]
        contributions = np.sort(np.concatenate(rows)) if rows else np.zeros(0, np.int64)
        product = products[0][1] if products else Product(key.xtc_type)
        begin, end = (int(self.events["group"][event]) for event in (first, stop - 1)) if first < stop else (0, -1)
        owners, shifts = self.contents.pattern[contributions], self.contents.offset[contributions]
        found = self._tables.place(owners, shifts, _bits([Action.EVENT]), begin, end + 1)
        member, index, datagrams, events, start = found
        row = contributions[index]
        stored = _values(self.contents.storable, contributions, row)
        config = _NO_CONFIG
        if product.config_types:
            config = self.config.latest(product.config_types, key.source, self.position(member, row))
            stored = stored & (config >= 0)
        damage = _values(self.contributions["damage"], contributions, row)
        if (events[1:] == events[:-1]).any():
            chosen, last = _first_of_each(events, stored)
            events, datagrams, start, row = events[chosen], datagrams[chosen], start[chosen], row[chosen]
            stored, damage = stored[chosen], damage[last]
            config = config[chosen] if product.config_types else config
        size = _values(self.contents.size, contributions, row)
        if product.part:
            start, size, fits = self.place(datagrams, row, product)
            size, stored = compact(size), stored & fits
        return Objects(
            Key(key.xtc_type, self.contents.sources.get(key.source.identity, key.source)),
            datagrams,
            start,
            size,
            _values(self.contents.flags, contributions, row),
            compact(config) if product.config_types else repeated(config[0], len(row)),
            product,
            events,
            compact(damage),
            compact(stored),
        )

    def events_with(self, contributions: Ints) -> Ints:
        """Return the numbers of the events that have one of some contributions (ascending rows), ascending."""
        return np.unique(self.groups["event"][self.occurrences(contributions, [Action.EVENT]).group]).astype(np.int64)

    def place(
        self, datagrams: NDArray[np.integer], rows: Ints, product: Product
    ) -> tuple[Ints, Ints, NDArray[np.bool_]]:
        """Return offset in the file and size of payloads, and whether the product fits into them.

        Parameters
        ----------
        datagrams, rows : ndarray of int64
            Rows of the datagram table and of the contribution table.
        product : Product
            A part of a plain payload is located itself; one of a proxy or of a compressed payload is cut out when it is
            read.
        """
        start = self.datagrams["offset"][datagrams].astype(np.int64) + self.contents.offset[rows]
        size = self.contents.size[rows]
        if not (product.size or product.offset):
            return start, size, size > 0
        whole = self.contents.flags[rows] & (ContributionFlag.PROXY | ContributionFlag.COMPRESSED) != 0
        fits = whole | (size >= product.offset + max(product.size, 1))
        rest = np.maximum(size - product.offset, 0)
        part = np.minimum(rest, product.size) if product.size else rest
        return np.where(whole, start, start + product.offset), np.where(whole, size, part), fits

    @cached_property
    def counters(self) -> Counters:
        """What was irregular."""
        action = self.groups["action"]
        counters = Counters()
        for name, count in self.assembly.counts.items():
            setattr(counters, name, count)
        if not self.has_control:
            counters.unmatched_daq = 0
        counters.trimmed = int(np.count_nonzero(action == Action.TRIMMED))
        counters.epics_only = int(np.count_nonzero(action == Action.EPICS_ONLY))
        counters.skipped = int(np.count_nonzero(action == Action.SKIPPED))
        counts, counters.damaged_datagrams = self.used
        used = counts[self.contents.pattern]
        damage = self.contributions["damage"]
        words = self.keys["type"][self.contributions["key"]] if len(self.keys) else np.zeros(0, np.uint32)
        counters.dropped_contributions = int(used[is_dropped(words, damage)].sum())
        damaged = (damage != 0) & (words != TYPE_XTC)
        counters.damaged_contributions = int(used[damaged].sum())
        kinds: dict[str, int] = {}
        for word in np.unique(damage[damaged]).tolist():
            count = int(used[damaged & (damage == word)].sum())
            for name in Damage(word).names if count else ():
                kinds[name] = kinds.get(name, 0) + count
        counters.damage_kinds = kinds
        counters.truncated_files = len({problem.path for problem in self.problems if problem.kind.ends_file})
        counters.missing_chunks = len(missing_chunks(self.files))
        return counters

    @property
    def hidden_by_trigger(self) -> bool:
        """Whether the level-3 trigger hides all events of the run."""
        action = self.groups["action"]
        return bool((action == Action.TRIMMED).any() and not np.isin(action, (Action.EVENT, Action.SKIPPED)).any())

    @property
    def has_control(self) -> bool:
        """Whether some stream is a control stream."""
        return bool(len(self.streams) and self.streams[-1] >= self.rules.first_control_stream)


def _values(table: NDArray[Any], contributions: Ints, rows: Ints) -> NDArray[Any]:
    """Return values of rows of the contribution table, which are some of `contributions`: one, where all are equal."""
    few = table[contributions]
    return repeated(few[0], len(rows)) if len(few) and (few == few[0]).all() else compact(table[rows])


_NO_CONFIG = np.full(1, -1, np.int64)


def _bits(actions: Iterable[Action]) -> int:
    return sum(1 << action for action in actions)


def _first_of_each(events: NDArray[np.integer], stored: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Return for each event the index of its first stored row (else of its first), and of its last; events ascend."""
    count = len(events)
    starts = np.flatnonzero(np.concatenate(([True], events[1:] != events[:-1])))
    first = np.minimum.reduceat(np.where(stored, np.arange(count), count), starts)
    return np.where(first < count, first, starts), np.concatenate((starts[1:], [count])) - 1


__all__ = ["DELIVERED", "FileProblem", "Occurrences", "RunTable"]
