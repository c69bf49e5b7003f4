"""What is stored once: configuration objects in the groups of Configure, runs and steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from psanacli.errors import DataError
from psanacli.hdf5 import names
from psanacli.hdf5.layout import DatasetLayout, TypeLayout
from psanacli.hdf5.tables import Value
from psanacli.hdf5.values import Encoder, Recipes, base_of, expanded
from psanacli.run import Action, History, Key, Objects, Places
from psanacli.xtc import XTC, Batch, Source

if TYPE_CHECKING:
    from psanacli.hdf5.plan import Planner

TYPE_ATTRIBUTES: tuple[tuple[str, Any], ...] = (("_ndarray", np.uint8(0)),)


def source_of(planner: Planner, places: Places, row: int) -> Source:
    """Return the source of one object as it stands in its header: equal sources may differ in the process."""
    table = planner.table
    datagram = table.datagrams[int(places.datagram[row])]
    pattern = int(datagram["pattern"])
    inside = table.contributions[int(table.start[pattern]) : int(table.start[pattern + 1])]
    begin = int(places.offset[row]) - int(datagram["offset"]) - XTC.itemsize
    for contribution in inside:
        key = table.keys[int(contribution["key"])]
        source = Source(int(key["log"]), int(key["phy"]))
        at = int(contribution["offset"])
        if at in (begin, begin - places.product.offset) and source.same_as(places.key.source):
            return source
    return places.key.source


def source_attributes(source: Source, layout: TypeLayout | None) -> tuple[tuple[str, Any], ...]:
    """Return the attributes of a source group; without datasets of its type it has no schema version."""
    attributes: tuple[tuple[str, Any], ...] = (
        ("_xtcSrc", names.source_words(source)),
        ("_eventKeyStr", ""),
        ("_groupKeyStr", ""),
    )
    return attributes if layout is None else (*attributes, ("_schemaVersion", np.uint32(layout.schema)))


def value_of(group: str, layout: TypeLayout, batch: Batch, recipes: Recipes) -> Value:
    """Return the form in which an object is stored once; `recipes` as for an `Encoder`."""
    encoder = Encoder(recipes)
    datasets = []
    for dataset in expanded(layout, batch):
        if dataset.nonempty:
            continue
        values = encoder.dataset(dataset, batch)[0]
        datasets.append((dataset.name, base_of(dataset), values.shape if has_rank(dataset) else None, values))
    return Value(group, tuple(datasets), encoder.heap)


def has_rank(dataset: DatasetLayout) -> bool:
    """Whether a dataset holds an array for each object."""
    return bool(dataset.rank or (dataset.each and dataset.members))


def add(planner: Planner) -> None:
    """Add the configuration objects to the plan."""
    taken: set[str] = set()
    for key, layout in planner.keys:
        history = planner.table.config.histories.get((key.xtc_type.name, key.source.identity))
        if history is None:
            continue
        for group, row in sorted(_places(planner, history).items()):
            path = f"{group}/{layout.group}/{names.source_group(key.source)}"
            if path in taken:
                planner.plan.notes.append(f"{path}: of several objects with this name the first is stored")
                continue
            try:
                bound = planner.run.payloads.layout(history, -1)
                one = bound.one(planner.run.payloads.read_one(history, row))
                value = value_of(path, layout, one, planner.recipes)
            except DataError as error:
                planner.plan.notes.append(f"{path}: cannot be decoded, left out: {error.message}")
                continue
            taken.add(path)
            planner.plan.group(f"{group}/{layout.group}", TYPE_ATTRIBUTES)
            planner.plan.group(path, source_attributes(source_of(planner, history, row), layout))
            planner.plan.values.append(value)


def _places(planner: Planner, history: History) -> dict[str, int]:
    """Return for each group of the file the row of the object that is stored there: the last before its first event."""
    steps = {int(planner.table.steps["group"][step.number]): step.path for step in planner.steps}
    found: dict[str, int] = {}
    for row, group in enumerate(history.group.tolist()):
        action = Action(int(planner.table.groups["action"][group]))
        if action is Action.BEGIN_JOB:
            found[names.CONFIGURE] = row
        elif action is Action.BEGIN_STEP and group in steps:
            found[steps[group]] = row
        elif action is Action.CONFIGURE:
            found[names.run_group(0)] = row
    return found


def in_configure(planner: Planner, key: Key) -> Objects | None:
    """Return the object of an event type in Configure; None if there is none."""
    table = planner.table
    products = table.contents.products.get((key.xtc_type.name, key.source.identity), [])
    if not products or key.xtc_type.kind == "config":
        return None
    rows = table.rows_of(planner.configure)
    control = table.streams_of(rows) >= table.rules.control_content
    rows = rows[control | (np.arange(len(rows)) == 0)]
    contributions = np.sort(np.concatenate([table.contents.of_key(number) for number, _ in products]))
    index, row = table.contents.occurrences(contributions, table.datagrams["pattern"][rows])
    storable = table.contents.storable[row]
    if not storable.any():
        return None
    chosen = int(np.argmax(storable))
    datagram, contribution = rows[index[chosen : chosen + 1]], row[chosen : chosen + 1]
    product = products[0][1]
    offset, size, fits = table.place(datagram, contribution, product)
    config = np.full(1, -1, np.int64)
    if key.xtc_type.config_types and key.xtc_type.config_inside is None:
        after = table.position_behind(np.array([planner.configure]))
        config = table.config.latest(key.xtc_type.config_types, key.source, after)
        fits = fits & (config >= 0)
    if not fits[0]:
        return None
    flags = table.contributions["flags"][contribution]
    event = np.zeros(1, np.int64)
    damage = table.contributions["damage"][contribution]
    return Objects(key, datagram, offset, size, flags, config, product, event, damage, np.ones(1, bool))
