"""Planning: from the tables of a run to everything that an output file will hold, before a payload is read in earnest.

Only a few payloads are looked at: configuration objects, and one object of each table, whose shape is that of its
datasets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError, NotFoundError
from psanacli.hdf5 import aligned, epics, names, once, outside
from psanacli.hdf5.absent import Absences
from psanacli.hdf5.assembled import RawWholes
from psanacli.hdf5.calibrated import Corrected, Images
from psanacli.hdf5.forms import form_of
from psanacli.hdf5.layout import TypeLayout, type_layout
from psanacli.hdf5.options import Selection, TranslateOptions
from psanacli.hdf5.parts import PARTS, config_inside_of
from psanacli.hdf5.rows import Chosen, Detected, EveryEvent, Given, Rows
from psanacli.hdf5.tables import (
    FEW_ROWS,
    STAMP_ROWS,
    Block,
    Dataset,
    Plan,
    Table,
    block_events,
    chunk_rows,
    cut_blocks,
    halvings,
)
from psanacli.hdf5.tally import MOST_SIZES, MOST_TRIED, Range, Tally, short, tallied
from psanacli.hdf5.values import Column, Recipes, columns_of, joined
from psanacli.run import Action, Key, Objects, Run
from psanacli.xtc import Record, bind

Ints = NDArray[np.int64]
_AT_ONCE = 1 << 16
"""Events whose sizes are looked at in one go."""
_EXTRAS = {"time": "@psanacli.time", "_damage": "@psanacli.damage", "_mask": "u1"}


class Kind(NamedTuple):
    """What the tables of a file have: datasets besides those of the type, and what blank rows are (see `Table`)."""

    extras: tuple[str, ...]
    nan: bool


STEP_KIND = Kind(tuple(_EXTRAS), False)
ALIGNED_KIND = Kind(("_damage", "_mask"), True)


@dataclass(frozen=True)
class Step:
    """A step that is translated: its group, and its events as positions in the list of events of the plan."""

    path: str
    number: int
    first: int
    stop: int


class Planner:
    """Makes the plan of one run.

    Parameters
    ----------
    run : Run
    options : TranslateOptions

    Attributes
    ----------
    chosen : Chosen
        The events of the run that are translated.
    halvings : int
        How often blocks are halved as the run is long.
    steps : list of Step
    blocks : dict of Step to (int, list of Range)
        Number of the first block of each step, and its blocks.
    recipes : dict
        Recipes of all encoders.
    """

    def __init__(self, run: Run, options: TranslateOptions) -> None:
        self.run = run
        self.table = run.table
        self.options = options
        self.absences = Absences(run.table)
        self.selection = Selection(options, run.aliases)
        self.chosen = self._choose()
        self.halvings = halvings(len(self.table.events))
        self.plan = Plan({}, options.compression, self.chosen)
        self.steps: list[Step] = []
        self.blocks: dict[Step, tuple[int, list[Range]]] = {}
        self._filled: set[str] = set()
        self._templates: dict[tuple[str, tuple[int, int], int], tuple[Column, ...]] = {}
        self.recipes: Recipes = {}

    def _choose(self) -> Chosen:
        """Return the events that the options choose."""
        count, wanted, steps = len(self.table.events), self.options.events, self.options.steps
        known = len(self.table.steps)
        for number in steps or ():
            if not 0 <= number < known:
                raise NotFoundError(f"there is no step {number}", f"the run has the steps 0 to {known - 1}")
        if steps is None and isinstance(wanted, slice) and wanted.indices(count) == (0, count, 1):
            return Chosen(count)
        numbers = self.options.numbers(count)
        if steps is not None:
            numbers = numbers[np.isin(self.table.events["step"][numbers], steps)]
        return Chosen(len(numbers), numbers)

    def make(self) -> Plan:
        """Return the plan."""
        self._nest()
        self.images = Images(self)
        keys = [(key, layout) for key, layout in self.keys if not self.images.replaces(key)]
        self.wholes = RawWholes(self, keys)
        keys = [(key, layout) for key, layout in keys if not self.wholes.replaces(key)]
        once.add(self)
        if self.options.aligned:
            self.steps = [Step(aligned.GROUP, 0, 0, self.chosen.count)] if self.chosen.count else []
        self._cut(list(dict.fromkeys([*(key for key, _ in keys), *self.images.keys, *self.wholes.keys])))
        if self.options.aligned:
            aligned.add_times(self)
        self._add_tables(keys)
        if self.options.aligned:
            aligned.add_epics(self)
        if self.options.configure_events:
            self._add_configure()
        filled = {table.group for table in self.plan.tables}
        # A group has one form only: an object of a transition gives way to those of events of the same step.
        self.plan.values = [value for value in self.plan.values if value.group not in filled]
        if self.run.joined:
            outside.add(self.plan, self.run, np.asarray(self.chosen.at(np.arange(self.chosen.count)), np.int64))
        epics.add(self)
        self._list_blocks()
        if not self.options.missing_ok:
            self.selection.check()
        return self.plan

    # ---- groups ----------------------------------------------------------------------------------------------------

    def _nest(self) -> None:
        """List the groups of Configure, runs and steps, with their times."""
        groups = self.table.groups
        begin = np.flatnonzero(groups["action"] == Action.BEGIN_JOB)
        self.configure = int(begin[0]) if len(begin) else -1
        self.plan.group(names.CONFIGURE, self._clock("start", self.configure))
        last = int(self.chosen.span(0, self.chosen.count)[1]) - 1 if self.chosen.count else -1
        cut = last + 1 < len(self.table.events) and self.options.ends_early
        beyond = int(self.table.events["group"][last + 1]) if cut else -1
        run = step = number = -1
        opened: dict[str, tuple[str, tuple[tuple[str, Any], ...]]] = {}
        for row in self.table.transitions:
            kind, group = Action(int(row["kind"])), int(row["group"])
            if kind in (Action.BEGIN_RUN, Action.BEGIN_STEP) and cut and int(row["event"]) > last:
                break
            if kind is Action.BEGIN_RUN:
                run, step = run + 1, -1
                opened["run"] = names.run_group(run), self._clock("start", group if row["given"] else -1)
            elif kind is Action.BEGIN_STEP:
                step, number = step + 1, number + 1
                opened["step"] = names.step_group(run, step), self._clock("start", group if row["given"] else -1)
                self._begin_step(opened["step"][0], number)
            else:
                end = beyond if cut and int(row["event"]) > last + 1 - bool(beyond < 0) else group
                self._close(opened.pop("run" if kind is Action.END_RUN else "step", None), end, number)
        for left in ("step", "run"):
            self._close(opened.pop(left, None), beyond, number)

    def _begin_step(self, path: str, number: int) -> None:
        if self.options.steps is not None and number not in self.options.steps:
            return
        row = self.table.steps[number]
        first, stop = self.chosen.before(np.array([row["first"], row["stop"]])).tolist()
        self.steps.append(Step(path, number, first, stop))

    def _close(self, opened: tuple[str, tuple[tuple[str, Any], ...]] | None, group: int, number: int) -> None:
        if opened is None:
            return
        path, start = opened
        skipped = self.options.steps is not None and "/CalibCycle:" in path and number not in self.options.steps
        if not skipped and not self.options.aligned:
            self.plan.group(path, (*start, *self._clock("end", group)))

    def _clock(self, which: str, group: int) -> tuple[tuple[str, Any], ...]:
        """Return the time attributes of the first datagram of a group."""
        if group < 0:
            return ()
        row = self.table.datagrams[self.table.rows_of(group)[0]]
        return tuple((f"{which}.{name}", np.uint32(row[name])) for name in ("seconds", "nanoseconds"))

    # ---- event data ------------------------------------------------------------------------------------------------

    def _add_tables(self, keys: list[tuple[Key, TypeLayout]]) -> None:
        """Add the tables of all objects, step by step; the rows of all are counted on the way."""
        wanted: list[tuple[Rows, TypeLayout, Corrected | None]] = []
        for key, layout in keys:
            if not self.table.occurs(key):
                continue
            part = layout.name if key.xtc_type.name != layout.name and key.xtc_type.name in PARTS else ""
            wanted.append((self.spread(self.detected(key, part)), layout, None))
        wanted += [*self.images.rows(), *self.wholes.rows()]
        kind = ALIGNED_KIND if self.options.aligned else STEP_KIND
        paths = {first_block: step.path for step, (first_block, blocks) in self.blocks.items() if blocks}
        for steps in short([(first_block, blocks) for first_block, blocks in self.blocks.values() if blocks]):
            tallies = [tallied(rows, self.table, steps) for rows, _, _ in wanted]
            for number, (first_block, blocks) in enumerate(steps):
                events, size = blocks[-1][1] - blocks[0][0], sum(size for _, _, size in blocks)
                span = block_events(events, size, self.halvings)
                for (_, layout, corrected), tally in zip(wanted, tallies, strict=True):
                    if tally[number].samples is not None:
                        self.add_table(paths[first_block], tally[number], layout, span, kind, corrected)

    def detected(self, key: Key, part: str = "") -> Detected:
        """Return the rows that a key has; `part` as for `Detected`."""
        detected = Detected(key, part, self.chosen, self.absences)
        self.absences.watch(self.table, key, detected.found)
        return detected

    def spread(self, rows: Rows) -> Rows:
        """Return rows as tables have them: a row for every event in an aligned file."""
        return EveryEvent(rows) if self.options.aligned else rows

    @cached_property
    def keys(self) -> list[tuple[Key, TypeLayout]]:
        """The keys of the run that have an HDF5 form and are selected, in the order of event keys."""
        contents = self.table.contents
        found = []
        for (_, identity), products in contents.products.items():
            xtc_type, source = products[0][1].xtc_type, contents.sources[identity]
            for name in PARTS.get(xtc_type.name, (xtc_type.name,)):
                layout = type_layout(name)
                if layout is not None and self.selection.accepts(layout, source):
                    found.append((Key(xtc_type, source), layout))
        return sorted(found, key=lambda entry: (entry[0].source.identity, entry[1].name))

    def add_table(
        self,
        path: str,
        tally: Tally,
        layout: TypeLayout,
        span: int,
        kind: Kind = STEP_KIND,
        corrected: Corrected | None = None,
    ) -> None:
        """Add the table of one source in one step.

        Parameters
        ----------
        path : str
            Group of the step.
        tally : Tally
            Its rows.
        layout : TypeLayout
            Of the type.
        span : int
            Events in a block.
        kind : Kind
            What a table of the file has besides the datasets of the type.
        corrected : Corrected, optional
            What is special in it when images are corrected.
        """
        samples, bounds = tally.samples, tally.bounds
        assert samples is not None, "a table without rows"
        rows = int(bounds[-1])
        source = samples.key.source
        group = f"{path}/{layout.group}/{names.source_group(source)}"
        if group in self._filled:  # sources without a name of their own
            group += f".{source.phy:x}"
        self._filled.add(group)
        config = config_inside_of(self.run, samples)
        own = corrected.columns if corrected else None
        columns = self.columns(samples, layout, group, config) if own is None else own
        known = layout if columns and (own is None or not (corrected and corrected.key)) else None
        attributes = once.source_attributes(once.source_of(self, samples, 0), known)
        self.plan.group(f"{path}/{layout.group}", (corrected and corrected.type_attributes) or once.TYPE_ATTRIBUTES)
        self.plan.group(group, attributes)
        if corrected and corrected.key:
            self.plan.group(group, (("_eventKeyStr", corrected.key),))
        if tally.damaged:
            self.plan.damage[group] = tally.damaged
        dense = rows == tally.events  # a row for each event, so that chunks can end where blocks do
        numbers = []
        for column in columns:
            form = column.form
            most = FEW_ROWS if form.pointers else max(1, span if dense else span // 4)
            chunk = chunk_rows(form.dtype.itemsize, rows, most)
            item = column.base.dtype.itemsize
            numbers.append(self.plan.add(Dataset(f"{group}/{column.name}", form, rows, chunk, item)))
        for name in kind.extras:
            form = form_of(_EXTRAS[name])
            chunk = min(rows, STAMP_ROWS)
            numbers.append(self.plan.add(Dataset(f"{group}/{name}", form, rows, chunk, form.dtype.itemsize)))
        self.plan.tables.append(
            Table(
                group,
                tally.rows,
                tally.first_block,
                bounds,
                columns,
                tuple(numbers),
                kind.extras,
                kind.nan,
                config,
                corrected.correction if corrected else None,
            )
        )

    def columns(self, objects: Objects, layout: TypeLayout, group: str, config: Record | None) -> tuple[Column, ...]:
        """Return the columns of a table, large enough for the largest objects, so that no array has to be cut."""
        stored = np.flatnonzero(objects.stored)
        if not len(stored):
            return ()
        _, distinct = np.unique(-objects.size[stored], return_index=True)
        # The largest may be damaged ones; so others of their size have a chance too.
        largest = stored[np.argsort(-objects.size[stored], kind="stable")][:MOST_TRIED]
        found: tuple[Column, ...] = ()
        failure = ""
        for row in dict.fromkeys([*stored[distinct][:MOST_SIZES].tolist(), *largest.tolist()]):
            if found and row not in stored[distinct]:
                break
            number = int(objects.config[row])
            place = objects.key.xtc_type.name, objects.key.source.identity, number
            known = self._templates.get(place)
            if known is not None:
                return known
            try:
                payload = self.run.payloads.read_one(objects, row)
                bound = bind(objects.key.xtc_type, config) if config else self.run.payloads.layout(objects, number)
                columns = columns_of(layout, bound.one(payload), self.recipes)
            except DataError as error:
                failure = failure or error.message
                continue
            found = joined(found, columns)
            if bound.program is None:
                self._templates[place] = found = tuple(column for column in found if not column.empty)
                return found
        if failure and not found:
            self.plan.notes.append(f"{group}: cannot be decoded, only its times are stored: {failure}")
        return tuple(column for column in found if not column.empty)

    def in_configure(self, objects: Objects) -> Tally:
        """Return the rows of objects of the Configure transition, which stands behind all events in their list."""
        if self.plan.configure is None:
            head = self.table.datagrams[self.table.rows_of(self.configure)[:1]]
            time = np.zeros(1, names.TIME)
            time["seconds"], time["nanoseconds"] = head["seconds"], head["nanoseconds"]
            time["ticks"], time["control"] = head["stamp_low"] & 0xFFFFFF, head["stamp_low"] >> 24
            time["fiducials"], time["vector"] = head["stamp_high"] & 0x1FFFF, head["stamp_high"] >> 17
            self.plan.configure = time
        rows = Given(replace(objects, event=np.full(len(objects), self.chosen.count)))
        first_block = sum(len(blocks) for _, blocks in self.blocks.values())
        return tallied(rows, self.table, [(first_block, [(self.chosen.count, self.chosen.count + 1, 0)])])[0]

    def _add_configure(self) -> None:
        """Add the event data of the Configure transition (beam-line data are there, though no measurements)."""
        for key, layout in self.keys if self.configure >= 0 else ():
            objects = once.in_configure(self, key)
            if objects is not None:
                self.add_table(names.CONFIGURE, self.in_configure(objects), layout, 1)

    # ---- blocks ----------------------------------------------------------------------------------------------------

    def _cut(self, keys: list[Key]) -> None:
        """Cut the steps into blocks."""
        weights = self.table.payload_sizes(keys)

        def sizes(first: int, stop: int) -> Ints:
            return self.table.weigh(weights, self.chosen.at(np.arange(first, stop)))

        def size(first: int, stop: int) -> int:
            return sum(int(sizes(at, min(at + _AT_ONCE, stop)).sum()) for at in range(first, stop, _AT_ONCE))

        done = 0
        ranges = cut_blocks([(step.first, step.stop) for step in self.steps], size, sizes, self.halvings)
        for step, blocks in zip(self.steps, ranges, strict=True):
            self.blocks[step] = done, blocks
            done += len(blocks)

    def _list_blocks(self) -> None:
        """Put the blocks into the plan, each with the tables that have rows in it."""
        ranges = [block for _, blocks in self.blocks.values() for block in blocks]
        if self.plan.configure is not None:
            ranges.append((self.chosen.count, self.chosen.count + 1, 0))
        inside: list[list[int]] = [[] for _ in ranges]
        for number, table in enumerate(self.plan.tables):
            for block in np.flatnonzero(np.diff(table.bounds)).tolist():
                inside[table.first_block + block].append(number)
        for number, ((first, stop, size), tables) in enumerate(zip(ranges, inside, strict=True)):
            self.plan.blocks.append(Block(number, first, stop, tuple(tables), size))
