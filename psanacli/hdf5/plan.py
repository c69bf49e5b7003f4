"""Planning: from the tables of a run to everything that an output file will hold, before a payload is read in earnest.

Only a few payloads are looked at: configuration objects, and one object of each table, whose shape is that of its
datasets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError, NotFoundError
from psanacli.hdf5 import aligned, epics, names, once, outside
from psanacli.hdf5.absent import Absences
from psanacli.hdf5.forms import form_of
from psanacli.hdf5.layout import TypeLayout, type_layout
from psanacli.hdf5.options import Selection, TranslateOptions
from psanacli.hdf5.parts import PARTS, config_inside_of, part_of
from psanacli.hdf5.tables import STAMP_ROWS, Block, Dataset, Plan, Table, block_events, chunk_rows, cut_blocks
from psanacli.hdf5.values import Column, columns_of, joined
from psanacli.run import Action, Form, Key, Objects, Run
from psanacli.xtc import Record, bind

Ints = NDArray[np.int64]
_MOST_TRIED = 100
"""Objects that are tried, the largest first, to learn the shape of all."""
_MOST_SIZES = 32
"""Objects of different sizes that are looked at, the largest first: their arrays may have different shapes."""
_EXTRAS = {"time": "@psanacli.time", "_damage": "@psanacli.damage", "_mask": "u1"}


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
    chosen : ndarray of int64
        Numbers of the events of the run that are translated.
    position : ndarray of int64
        For each event of the run its position among them, -1 for the others.
    steps : list of Step
    """

    def __init__(self, run: Run, options: TranslateOptions) -> None:
        self.run = run
        self.table = run.table
        self.options = options
        self.selection = Selection(options, run.aliases)
        events = self.table.events
        self.chosen = options.numbers(len(events))
        if options.steps is not None:
            known = len(self.table.steps)
            for number in options.steps:
                if not 0 <= number < known:
                    raise NotFoundError(f"there is no step {number}", f"the run has the steps 0 to {known - 1}")
            self.chosen = self.chosen[np.isin(events["step"][self.chosen], options.steps)]
        self.position = np.full(len(events), -1, np.int64)
        self.position[self.chosen] = np.arange(len(self.chosen))
        chosen = events if len(self.chosen) == len(events) else events[self.chosen]
        self.plan = Plan({}, options.compression, chosen, len(self.chosen))
        self.steps: list[Step] = []
        self._filled: set[str] = set()
        self._templates: dict[tuple[str, tuple[int, int], int], tuple[Column, ...]] = {}

    def make(self) -> Plan:
        """Return the plan."""
        self._nest()
        found = list(self._objects())
        once.add(self)
        sizes = np.zeros(len(self.plan.events), np.int64)
        for objects, _ in found:
            sizes += np.bincount(objects.event, objects.size * objects.stored, len(sizes)).astype(np.int64)
        sums = np.concatenate(([0], np.cumsum(sizes)))
        if self.options.aligned:
            aligned.add(self, found, int(sums[-1]))
            self.steps = [Step(aligned.GROUP, 0, 0, len(sizes))]
        for step in self.steps if not self.options.aligned else ():
            events = step.stop - step.first
            span = block_events(events, int(sums[step.stop] - sums[step.first]))
            for objects, layout in found:
                first, stop = np.searchsorted(objects.event, (step.first, step.stop)).tolist()
                if stop > first:
                    self.add_table(step.path, objects.select(slice(first, stop)), layout, span, stop - first == events)
        if self.options.configure_events:
            self._add_configure()
        filled = {table.group for table in self.plan.tables}
        # A group has one form only: an object of a transition gives way to those of events of the same step.
        self.plan.values = [value for value in self.plan.values if value.group not in filled]
        outside.add(self.plan, self.run, self.chosen)
        epics.add(self)
        self._cut(sums)
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
        last = int(self.chosen[-1]) if len(self.chosen) else -1
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
        first, stop = np.searchsorted(self.chosen, (int(row["first"]), int(row["stop"]))).tolist()
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

    def _objects(self) -> Iterator[tuple[Objects, TypeLayout]]:
        """Give the objects of all types that are translated, ``event`` being a position in the list of events."""
        absences = Absences(self)
        for key, layout in self.keys():
            objects = self.table.objects(key.xtc_type, key.source)
            if key.xtc_type.name != layout.name and key.xtc_type.name in PARTS:
                objects = part_of(objects, layout.name)
            if objects.product.form is Form.SORTED_QUADS:
                # Quadrants are put in order when they become columns, all at once.
                objects = replace(objects, product=objects.product._replace(form=Form.STORED))
            objects = absences.complete(objects)
            rows = np.flatnonzero((objects.stored | (objects.damage != 0)) & (self.position[objects.event] >= 0))
            if len(rows) < len(objects):
                objects = objects.select(rows)
            if len(self.chosen) < len(self.position):
                objects = replace(objects, event=self.position[objects.event])
            if len(rows):
                yield objects, layout

    def keys(self) -> Iterator[tuple[Any, TypeLayout]]:
        """Give the keys of the run that have an HDF5 form and are selected, in the order of event keys."""
        contents = self.table.contents
        found = []
        for (_, identity), products in contents.products.items():
            xtc_type, source = products[0][1].xtc_type, contents.sources[identity]
            for name in PARTS.get(xtc_type.name, (xtc_type.name,)):
                layout = type_layout(name)
                if layout is not None and self.selection.accepts(layout, source):
                    found.append((Key(xtc_type, source), layout))
        return iter(sorted(found, key=lambda entry: (entry[0].source.identity, entry[1].name)))

    def add_table(
        self,
        path: str,
        objects: Objects,
        layout: TypeLayout,
        span: int,
        dense: bool,
        extras: tuple[str, ...] = tuple(_EXTRAS),
        nan: bool = False,
    ) -> None:
        """Add the table of one source in one step.

        Parameters
        ----------
        path : str
            Group of the step.
        objects : Objects
            Its rows, ``event`` being a position in the list of events.
        layout : TypeLayout
            Of the type.
        span : int
            Events in a block.
        dense : bool
            Whether there is a row for each event, so that chunks can end where blocks do.
        extras : tuple of str
            Datasets beside those of the type.
        nan : bool
            What blank rows are (see `Table`).
        """
        source = objects.key.source
        group = f"{path}/{layout.group}/{names.source_group(source)}"
        if group in self._filled:  # sources without a name of their own
            group += f".{source.phy:x}"
        self._filled.add(group)
        config = config_inside_of(self.run, objects)
        columns = self._columns(objects, layout, group, config)
        attributes = once.source_attributes(once.source_of(self, objects, 0), layout if columns else None)
        self.plan.group(f"{path}/{layout.group}", once.TYPE_ATTRIBUTES)
        self.plan.group(group, attributes)
        damaged = int(np.count_nonzero(~objects.stored & (objects.damage != 0)))
        if damaged:
            self.plan.damage[group] = damaged
        rows = len(objects)
        numbers = []
        for column in columns:
            form = column.form
            most = STAMP_ROWS if form.pointers else max(1, span if dense else span // 4)
            chunk = chunk_rows(form.dtype.itemsize, rows, most)
            item = column.base.dtype.itemsize
            numbers.append(self.plan.add(Dataset(f"{group}/{column.name}", form, rows, chunk, item)))
        for name in extras:
            form = form_of(_EXTRAS[name])
            chunk = min(rows, STAMP_ROWS)
            numbers.append(self.plan.add(Dataset(f"{group}/{name}", form, rows, chunk, form.dtype.itemsize)))
        self.plan.tables.append(Table(group, objects, columns, tuple(numbers), extras, nan, config))

    def _columns(
        self, objects: Objects, layout: TypeLayout, group: str, config: Record | None
    ) -> tuple[Column, ...]:
        """Return the columns of a table, large enough for the largest objects, so that no array has to be cut."""
        stored = np.flatnonzero(objects.stored)
        if not len(stored):
            return ()
        _, distinct = np.unique(-objects.size[stored], return_index=True)
        # The largest may be damaged ones; so others of their size have a chance too.
        largest = stored[np.argsort(-objects.size[stored], kind="stable")][:_MOST_TRIED]
        found: tuple[Column, ...] = ()
        failure = ""
        for row in dict.fromkeys([*stored[distinct][:_MOST_SIZES].tolist(), *largest.tolist()]):
            if found and row not in stored[distinct]:
                break
            number = int(objects.config[row])
            place = objects.key.xtc_type.name, objects.key.source.identity, number
            known = self._templates.get(place)
            if known is not None:
                return known
            try:
                block = self.run.read(objects, np.array([row]))
                bound = bind(objects.key.xtc_type, config) if config else self.run.layout(objects, number)
                columns = columns_of(layout, bound.batch(block.buffer, block.starts, block.sizes))
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

    def configure_position(self) -> int:
        """Return the position of the Configure transition, which stands behind all events in their list."""
        if len(self.plan.events) == len(self.chosen):
            events = np.zeros(1, self.plan.events.dtype)
            head = self.table.datagrams[self.table.rows_of(self.configure)[0]]
            events["seconds"], events["nanoseconds"] = head["seconds"], head["nanoseconds"]
            events["ticks"], events["control"] = head["stamp_low"] & 0xFFFFFF, head["stamp_low"] >> 24
            events["fiducials"], events["vector"] = head["stamp_high"] & 0x1FFFF, head["stamp_high"] >> 17
            self.plan.events = np.concatenate((self.plan.events, events))
        return len(self.chosen)

    def _add_configure(self) -> None:
        """Add the event data of the Configure transition (beam-line data are there, though no measurements)."""
        for key, layout in self.keys() if self.configure >= 0 else ():
            objects = once.in_configure(self, key)
            if objects is not None:
                self.add_table(names.CONFIGURE, objects, layout, 1, True)

    # ---- blocks ----------------------------------------------------------------------------------------------------

    def _cut(self, sums: Ints) -> None:
        """Cut the events into blocks, and list the tables of each."""
        ranges = cut_blocks([(step.first, step.stop) for step in self.steps], np.diff(sums))
        if len(self.plan.events) >= len(sums):
            ranges.append((len(sums) - 1, len(self.plan.events)))
            sums = np.append(sums, sums[-1])
        firsts = np.array([first for first, _ in ranges], np.int64)
        inside: list[list[int]] = [[] for _ in ranges]
        for number, table in enumerate(self.plan.tables):
            event = table.objects.event
            low = int(np.searchsorted(firsts, event[0], side="right")) - 1
            high = int(np.searchsorted(firsts, event[-1], side="right"))
            for block in range(low, high):
                inside[block].append(number)
        for (first, stop), tables in zip(ranges, inside, strict=True):
            if tables:
                size = int(sums[stop] - sums[first])
                self.plan.blocks.append(Block(len(self.plan.blocks), first, stop, tuple(tables), size))

