"""Why an event has an object, or has not: in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from psanacli.errors import NotFoundError, UsageError
from psanacli.run.objects import products_of
from psanacli.xtc import Damage, Source, type_name

if TYPE_CHECKING:
    from psanacli.run.event import Event
    from psanacli.run.pieces import WholeReader


def why(event: Event, name: str) -> str:
    """Return in words why an object is absent, or that it is there; see `Event.why`."""
    run = event.run
    try:
        detector = run.names.find(name)
    except (NotFoundError, UsageError) as error:
        whole = run.wholes.find(name) if isinstance(error, NotFoundError) else None
        if whole is not None:
            return f"{name}: {_why_whole(event, whole)}"
        unknown = _unknown_type(event, name)
        return unknown or f"{error.message}{'; ' if error.hint else ''}{error.hint}"
    reasons = []
    for wanted in detector.types:
        key = next(
            (key for key in run.readers if key.xtc_type.name == wanted and key.source.same_as(detector.source)), None
        )
        if key is None:
            reasons.append(f"{wanted} is configuration: see run.config.at(event)")
            continue
        objects = run.table.objects(key.xtc_type, key.source)
        row = objects.row_of(event.index)
        if row is None:
            reasons.append(f"{wanted} is not in this event; {int(np.count_nonzero(objects.stored))} events have it")
            continue
        damage = Damage(int(objects.damage[row]))
        if objects.stored[row]:
            reasons.append(f"{wanted} is there" + (f", with {damage!r}" if damage else ""))
        elif damage:
            reasons.append(f"{wanted} is damaged: {', '.join(damage.names) or f'user bits {damage.user_bits}'}")
        elif int(objects.size[row]) <= 0:
            reasons.append(f"{wanted} has no payload in this event")
        elif objects.config[row] < 0 and objects.product.config_types:
            needed = " or ".join(objects.product.config_types)
            reasons.append(f"{wanted} cannot be decoded: its source has no configuration ({needed}) before this event")
        else:
            reasons.append(f"{wanted} is too short in this event")
    missing = [damage for source, damage in event.dropped if source.same_as(detector.source)]
    if missing:
        reasons.append(f"the contribution was dropped: {', '.join(missing[0].names)}")
    return f"{name}: {'; '.join(reasons) or 'the run has no objects of it'}"


def _why_whole(event: Event, whole: WholeReader) -> str:
    """Return the reason for a detector that comes in pieces."""
    missing = [piece for piece in whole.pieces if not any(reader.has(event.index) for reader in piece.readers)]
    if missing:
        return "; ".join(why(event, piece.source.name) for piece in missing)
    return whole.why_not(event.index) or f"{whole.key.xtc_type.name} in {len(whole.pieces)} pieces is there"


def _unknown_type(event: Event, name: str) -> str:
    """Return the reason when a source has only types that the catalogue does not have."""
    table = event.run.table
    for log, phy, word in table.keys.tolist():
        source = Source(log, phy)
        if name in (source.name, source.text, source.daq_name) and not products_of(word):
            return f"{name}: its type {type_name(word)} is not known"
    return ""
