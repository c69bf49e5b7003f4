"""What of a run goes into an extracted one, datagram by datagram, from its tables alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import UsageError
from psanacli.run.extract.rewriting import Recipe
from psanacli.run.files import XtcFile
from psanacli.run.objects import Ints, is_config, products_of
from psanacli.run.patterns import Patterns
from psanacli.run.run import Run
from psanacli.run.tables import Action, Rules, build_groups
from psanacli.xtc import EPICS, TYPE_ANY, XTC, Source, Transition, XtcType, big_file_of, service, type_name

LEFT_OUT, WHOLE = -1, -2
_TIMING = "EvrData"


@dataclass(frozen=True, eq=False)
class Extraction:
    """The plan of an extraction.

    Attributes
    ----------
    run : Run
        What is extracted from; of small data the run of the big files.
    events : ndarray of int64
        Numbers of the chosen events, ascending.
    fate : ndarray of int64
        For each row of the datagram table: `LEFT_OUT`, `WHOLE`, or the number of a recipe.
    recipes : tuple of Recipe
        How datagrams are made smaller.
    notes : tuple of str
        What somebody should know who reads the extracted run.
    """

    run: Run
    events: Ints
    fate: Ints
    recipes: tuple[Recipe, ...]
    notes: tuple[str, ...] = field(default=())

    @cached_property
    def sizes(self) -> Ints:
        """Bytes of each datagram in the extracted run, 0 if it is left out."""
        new = np.array([recipe.new_size for recipe in self.recipes] or [0], np.int64)
        whole = self.run.table.datagrams["extent"].astype(np.int64) + XTC.itemsize
        return np.where(self.fate == WHOLE, whole, np.where(self.fate == LEFT_OUT, 0, new[np.maximum(self.fate, 0)]))

    def bare(self, number: int) -> Ints:
        """Return the offsets, in a file of the extracted run, of datagrams that are kept for their EPICS or order."""
        rows = np.flatnonzero(self.run.table.datagrams["file"] == number)
        sizes = self.sizes[rows]
        only = np.array([_only_epics(recipe) for recipe in self.recipes] or [False])
        fate = self.fate[rows]
        chosen = np.zeros(len(self.run.table.datagrams), bool)
        chosen[_members(self.run, self.events)[0]] = True
        bare = (fate >= 0) & only[np.maximum(fate, 0)] & ~chosen[rows]
        return np.asarray((np.cumsum(sizes) - sizes)[bare], np.int64)

    @property
    def files(self) -> tuple[XtcFile, ...]:
        """The files, each of which gives one."""
        return self.run.table.files

    @cached_property
    def file_bytes(self) -> list[int]:
        """Bytes of each file of the extracted run."""
        numbers = self.run.table.datagrams["file"].astype(np.int64)
        return [int(self.sizes[numbers == number].sum()) for number in range(len(self.files))]

    def asdict(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        table = self.run.table
        kept = self.fate[self.run.table.datagrams["file"].argsort(kind="stable")] != LEFT_OUT
        return {
            "experiment": str(self.run.experiment),
            "run": self.run.number,
            "events": len(self.events),
            "events_of_run": len(table.events),
            "datagrams": int(np.count_nonzero(kept)),
            "bytes": sum(self.file_bytes),
            "bytes_of_run": sum(table.sizes),
            "files": [
                {"path": str(file.path), "bytes": size, "bytes_of_file": whole}
                for file, size, whole in zip(self.files, self.file_bytes, table.sizes, strict=True)
            ],
            "notes": list(self.notes),
        }


def plan_extraction(
    run: Run,
    numbers: Sequence[int] | Ints | slice,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    missing_ok: bool = False,
) -> Extraction:
    """Plan a reduced run: all transitions, the chosen events, and what of the others these need.

    Values of EPICS variables and configuration are at each chosen event what they are in the full run. For that the
    last records before it are kept, in datagrams of the events that brought them, with nothing else in them; who reads
    such a datagram does not count it as an event.

    Parameters
    ----------
    run : Run
        Of big files, or of small data, of which the big files are extracted.
    numbers : sequence of int or slice
        Numbers of events.
    include, exclude : sequence of str
        Patterns of the sources and types that are kept, as for a translation; of event data only, and timing
        (``EvrData``) stays unless it is excluded.
    missing_ok : bool
        A pattern that matches nothing in the run is no error.

    Raises
    ------
    UsageError
        The run has no such event.
    NotFoundError
        A pattern matches nothing, or the big files of small data are not there.
    """
    events = _chosen(run, numbers)
    run, events = _big_run(run, events)
    run, events, also = _sequential(run, events)
    table = run.table
    if service(table.datagrams).size and table.rules.max_events is not None:
        raise UsageError("a run that was opened with an end cannot be extracted", "choose events instead")
    accepts = service(table.datagrams) == Transition.L1Accept
    fate = np.where(accepts, LEFT_OUT, WHOLE).astype(np.int64)
    groups_of = np.repeat(np.arange(len(table.groups)), table.groups["count"])
    kept_groups = np.zeros(len(table.groups), bool)
    kept_groups[table.events["group"][events]] = True
    kept_rows, _ = _members(run, events)
    kept_rows = np.union1d(kept_rows, also)
    fate[kept_rows] = WHOLE
    book = _Recipes(run)
    notes: list[str] = []
    if include or exclude:
        accepted = _accepted(run, include, exclude, missing_ok)
        for pattern in np.unique(table.datagrams["pattern"][kept_rows]).tolist():
            inside = np.arange(table.start[pattern], table.start[pattern + 1])
            if not accepted[inside].all():
                rows = kept_rows[table.datagrams["pattern"][kept_rows] == pattern]
                book.give(fate, rows, inside[accepted[inside]])
    needed, configured = _needed(run, kept_groups)
    _keep_needed(run, fate, needed, book)
    extra = np.unique(groups_of[np.isin(table.members, configured[fate[configured] >= 0])])
    if len(extra):
        what = "with nothing but the configuration that later ones need"
        notes.append(f"{len(extra)} events that were not chosen are there, {what}")
    if not _same_order(run, fate):
        _keep_shells(run, fate, book)
        notes.append("the headers of all events are there, as the order of this run depends on them")
    extraction = Extraction(run, events, fate, tuple(book.recipes))
    lost = _lost(extraction)
    if lost:
        notes.append(f"{lost} events have none of the chosen sources, and are left out when they are read")
    return Extraction(run, events, fate, tuple(book.recipes), tuple(notes))


def _chosen(run: Run, numbers: Sequence[int] | Ints | slice) -> Ints:
    count = len(run.table.events)
    if isinstance(numbers, slice):
        return np.sort(np.arange(count)[numbers])
    chosen = np.unique(np.asarray(numbers, np.int64))
    if len(chosen) and (chosen[0] < 0 or chosen[-1] >= count):
        wrong = int(chosen[0] if chosen[0] < 0 else chosen[-1])
        raise UsageError(f"there is no event {wrong}: run {run.number} has {count}, counted from 0")
    return chosen


def _big_run(run: Run, events: Ints) -> tuple[Run, Ints]:
    """Return the run of the big files of small data, and the numbers of the same events in it."""
    if not any(file.small for file in run.table.files):
        return run, events
    from dataclasses import replace

    files = tuple(XtcFile.of(big_file_of(file.path)) if file.small else file for file in run.table.files)
    big = Run(replace(run.files, files=files), run.rules)
    names = ["seconds", "nanoseconds", "fiducials", "vector"]
    if len(big.table.events) == len(run.table.events) and all(
        (big.table.events[name] == run.table.events[name]).all() for name in names
    ):
        return big, events
    wanted = {tuple(row) for row in run.table.events[names][events].tolist()}
    same = [number for number, row in enumerate(big.table.events[names].tolist()) if tuple(row) in wanted]
    return big, np.array(same, np.int64)


def _sequential(run: Run, events: Ints) -> tuple[Run, Ints, Ints]:
    """Return a run whose events are built as sequential reading does, the chosen ones, and rows that are kept too.

    In index mode the parts of split events are one event, and some datagrams belong to events that otherwise do not.
    """
    if run.rules.joining is Rules().joining:
        return run, events, np.zeros(0, np.int64)
    from dataclasses import replace

    plain = Run(replace(run.files, mode="xtc"), replace(run.rules, joining=Rules().joining))
    rows, _ = _members(run, events)
    groups = np.full(len(plain.table.datagrams), -1, np.int64)
    groups[plain.table.members] = np.repeat(np.arange(len(plain.table.groups)), plain.table.groups["count"])
    found = plain.table.groups["event"][groups[rows][groups[rows] >= 0]]
    return plain, np.unique(found[found >= 0]), rows


class _Recipes:
    """Recipes that datagrams of one pattern and size share."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.recipes: list[Recipe] = []
        self._known: dict[tuple[int, int, bytes], int] = {}

    def give(self, fate: Ints, rows: Ints, kept: Ints | None) -> None:
        """Keep in rows of one pattern only some contributions; None: nothing but an empty container."""
        extents = self.run.table.datagrams["extent"][rows]
        for extent in np.unique(extents).tolist():
            some = rows[extents == extent]
            pattern = int(self.run.table.datagrams["pattern"][some[0]])
            key = pattern, extent, b"shell" if kept is None else kept.tobytes()
            number = self._known.get(key)
            if number is None:
                number = self._known[key] = len(self.recipes)
                datagram = self._read(int(some[0]))
                if kept is None:
                    self.recipes.append(Recipe.shell(datagram))
                else:
                    offsets = self.run.table.contributions["offset"][kept].tolist()
                    self.recipes.append(Recipe.of(datagram, offsets))
            fate[some] = number

    def _read(self, row: int) -> memoryview:
        datagram = self.run.table.datagrams[row : row + 1]
        sizes = datagram["extent"].astype(np.int64) + XTC.itemsize
        return self.run.payloads.files.read_block(datagram["file"], datagram["offset"].astype(np.int64), sizes)[0]


def _accepted(run: Run, include: Sequence[str], exclude: Sequence[str], missing_ok: bool) -> NDArray[np.bool_]:
    """Return which contributions stay in chosen events."""
    table = run.table
    patterns = Patterns(include, exclude, run.aliases)
    stays = np.zeros(len(table.keys), bool)
    for number, (log, phy, word) in enumerate(table.keys.tolist()):
        source = Source(log, phy)
        products = products_of(word)
        if word & 0xFFFF in (EPICS, TYPE_ANY) or any(is_config(product.xtc_type) for product in products):
            stays[number] = True
            continue
        names = [type_name(word)]
        for xtc_type in _types(products):
            names += [xtc_type.name, xtc_type.name.replace(".", "::"), xtc_type.name.rpartition(".")[2]]
        stays[number] = patterns.accepts(names, source)
        if products and products[0].xtc_type.name.startswith(_TIMING) and not patterns.excluded(names, source):
            stays[number] = True
    if not missing_ok:
        patterns.check()
    return np.asarray(stays[table.contributions["key"]])


def _types(products: tuple[Any, ...]) -> list[XtcType]:
    found = [product.xtc_type for product in products]
    return found + [product.stored for product in products if product.stored is not None]


def _needed(run: Run, kept_groups: NDArray[np.bool_]) -> tuple[dict[int, list[int]], Ints]:
    """Return which contributions of which datagrams are in force at something that is kept, and which bring config."""
    table = run.table
    delivered = table.groups["action"]
    reads = np.isin(delivered, [Action.BEGIN_JOB, Action.CONFIGURE, Action.BEGIN_RUN, Action.BEGIN_STEP])
    seen = np.flatnonzero(reads | kept_groups)
    needed: dict[int, list[int]] = {}

    def add(datagrams: Ints, contributions: Ints) -> None:
        for row, contribution in zip(datagrams.tolist(), contributions.tolist(), strict=True):
            needed.setdefault(row, []).append(contribution)

    places = run.epics.places
    for variable in run.epics.values():
        used = np.ones(len(variable.records), bool)  # those with the name are, as is the first, which may have given it
        used[1 : len(variable)] = _in_force(variable.group, seen)[1:]
        every = np.unique(variable.records[used])
        add(places.datagram[every].astype(np.int64), places.contribution[every])
    configured = []
    for (name, _), history in table.config.histories.items():
        # Lists of aliases count all, and a control stream may bring an object in one transition with another.
        used = np.ones(len(history), bool) if name == "Epics.ConfigV1" else _in_force(history.group, seen)
        add(history.datagram[used].astype(np.int64), history.contribution[used])
        configured.append(history.datagram[used].astype(np.int64))
    return needed, np.unique(np.concatenate(configured)) if configured else np.zeros(0, np.int64)


def _in_force(groups: Ints, seen: Ints) -> NDArray[np.bool_]:
    """Return which changes are in force at one of the groups `seen`; several of one group all are."""
    after = np.searchsorted(seen, groups, side="left")
    later = np.searchsorted(groups, groups, side="right")
    until = np.concatenate((groups, [np.iinfo(np.int64).max]))[later]
    return (after < len(seen)) & (np.concatenate((seen, [np.iinfo(np.int64).max]))[after] < until)


def _keep_needed(run: Run, fate: Ints, needed: dict[int, list[int]], book: _Recipes) -> None:
    """Give the datagrams that are left out but for some contributions their recipes."""
    table = run.table
    by_content: dict[tuple[int, tuple[int, ...]], list[int]] = {}
    for row, contributions in needed.items():
        if fate[row] == LEFT_OUT:
            key = int(table.datagrams["pattern"][row]), tuple(sorted(set(contributions)))
            by_content.setdefault(key, []).append(row)
    for (_, kept), rows in sorted(by_content.items()):
        book.give(fate, np.array(sorted(rows), np.int64), np.array(kept, np.int64))


def _same_order(run: Run, fate: Ints) -> bool:
    """Whether event building joins and orders what is kept as it does in the full run."""
    table = run.table
    kept = fate != LEFT_OUT
    rows = np.flatnonzero(kept)
    starts = np.searchsorted(rows, table.first_rows).astype(np.int64)
    streams = table.streams.astype(np.uint32)
    only_epics = table.contents.only_epics
    built = build_groups(table.datagrams[rows], starts, streams, only_epics, run.rules, table.number)
    members = np.asarray(table.members)
    before = kept[members]
    groups = np.repeat(np.arange(len(table.groups)), table.groups["count"])[before]
    first_of_group = np.concatenate(([True], np.diff(groups) != 0))[: len(groups)]
    new_first = np.zeros(len(built.members), bool)
    new_first[built.groups["first"]] = True
    return np.array_equal(members[before], rows[built.members]) and np.array_equal(first_of_group, new_first)


def _keep_shells(run: Run, fate: Ints, book: _Recipes) -> None:
    """Keep the headers of all events that are left out: then nothing can come in another order."""
    rows = np.flatnonzero(fate == LEFT_OUT)
    patterns = run.table.datagrams["pattern"][rows]
    by_pattern = np.argsort(patterns, kind="stable")
    bounds = np.flatnonzero(np.diff(patterns[by_pattern])) + 1
    for some in np.split(rows[by_pattern], bounds):
        book.give(fate, some, None)


def _lost(extraction: Extraction) -> int:
    """Return how many chosen events have nothing in them any more but EPICS."""
    table = extraction.run.table
    only = np.array([_only_epics(recipe) for recipe in extraction.recipes] or [False])
    bare = np.where(
        extraction.fate >= 0,
        only[np.maximum(extraction.fate, 0)],
        table.contents.only_epics[table.datagrams["pattern"]] != 0,
    )
    if not len(extraction.events):
        return 0
    rows, starts = _members(extraction.run, extraction.events)
    full = np.add.reduceat(~bare[rows], starts)
    return int(np.count_nonzero(full == 0))


def _members(run: Run, events: Ints) -> tuple[Ints, Ints]:
    """Return the rows of events, and where those of each begin."""
    table = run.table
    groups = table.events["group"][events]
    counts = table.groups["count"][groups].astype(np.int64)
    starts = np.cumsum(counts) - counts
    places = np.repeat(table.groups["first"][groups] - starts, counts) + np.arange(counts.sum())
    return np.asarray(table.members[places], np.int64), starts


def _only_epics(recipe: Recipe) -> bool:
    kept = [(kind & 0xFFFF) for offset, kind, extent in recipe.headers if _stays(recipe, offset, extent)]
    return all(kind in (EPICS, 1) for kind in kept)


def _stays(recipe: Recipe, offset: int, extent: int) -> bool:
    return any(first <= offset and offset + min(extent, XTC.itemsize) <= stop for first, stop in recipe.pieces)


__all__ = ["LEFT_OUT", "WHOLE", "Extraction", "Path", "plan_extraction"]
