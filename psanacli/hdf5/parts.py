"""Shared beam-line data that carry their own configuration, and are written as their parts.

Other shared types are taken apart when they are read; of this one the facility's reader dropped the data, as it
looked for the configuration elsewhere.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from psanacli.run import Key, Objects, Product, Run
from psanacli.xtc import Record, decode, named

PARTS = {"Bld.BldDataAcqADCV1": ("Acqiris.ConfigV1", "Acqiris.DataDescV1")}
"""The parts of a type, in the order in which they are stored."""


def part_of(objects: Objects, name: str) -> Objects:
    """Return the parts of type `name` of objects of a type in `PARTS`."""
    whole = objects.key.xtc_type
    field = next(field for field in whole.fields if field.type == name)
    part = named(name)
    offset, size = field.offset or 0, part.size or 0
    product = Product(part, offset, size, stored=whole)
    plain = objects.flags == 0
    rest = np.maximum(objects.size - offset, 0)
    return replace(
        objects,
        key=Key(part, objects.key.source),
        product=product,
        offset=np.where(plain, objects.offset + offset, objects.offset),
        size=np.where(plain, np.minimum(rest, size) if size else rest, objects.size),
        stored=objects.stored & (~plain | (rest >= max(size, 1))),
    )


def config_inside_of(run: Run, objects: Objects) -> Record | None:
    """Return the configuration that the first of some objects carries; None for all but the data in `PARTS`."""
    whole = objects.product.stored
    stored = np.flatnonzero(objects.stored)
    if whole is None or whole.name not in PARTS or not objects.key.xtc_type.config_types or not len(stored):
        return None
    name = PARTS[whole.name][0]
    plain = objects.flags == 0
    size = named(name).size or 0
    configs = replace(
        objects,
        key=Key(named(name), objects.key.source),
        product=Product(named(name), 0, size, stored=whole),
        offset=np.where(plain, objects.offset - objects.product.offset, objects.offset),
        size=np.where(plain, size, objects.size),
    )
    return decode(named(name), run.payloads.read(configs, stored[:1])[0])
