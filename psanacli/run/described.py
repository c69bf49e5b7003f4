"""All about one event, as plain values."""

from __future__ import annotations

from typing import Any

import numpy as np

from psanacli.run.event import Event
from psanacli.run.eventlist import EventList
from psanacli.run.listing import flag_names
from psanacli.run.tables import times_of
from psanacli.xtc import Damage

THERE, DAMAGED, LOST, ABSENT = "there", "damaged", "lost", "absent"
"""States of an object: it can be had; with damage; its damage, size or configuration is such that it cannot; or the
event does not have it."""


def describe_event(event: Event) -> dict[str, Any]:
    """Return all about an event: identity, datagrams, sources with their state and why, codes, step, EPICS.

    Returns
    -------
    dict
        Of plain values, as ``psana eventid show --json`` prints them.
    """
    run, row = event.run, event.row
    step = event.step if int(row["step"]) < len(run.steps) else None
    return {
        "id": EventList.of(run.events[event.index : event.index + 1]).line(0),
        "experiment": run.experiment.name,
        "run": run.number,
        "number": event.index,
        "time": np.datetime_as_string(event.time),
        **{name: int(row[name]) for name in ("seconds", "nanoseconds", "fiducials", "ticks", "vector", "control")},
        "flags": flag_names(int(row["flags"])),
        "codes": list(event.codes),
        "step": {
            "number": int(row["step"]),
            "values": step.values if step else {},
            "labels": step.labels if step else {},
        },
        "datagrams": _datagrams(event),
        "sources": _sources(event),
        "dropped": [{"source": source.name, "damage": list(damage.names)} for source, damage in event.dropped],
        "epics": _epics(event),
    }


def _datagrams(event: Event) -> list[dict[str, Any]]:
    table = event.run.table
    rows = event.datagrams
    heads = table.datagrams[rows]
    return [
        {
            "stream": int(stream),
            "file": origin.path.name,
            "offset": origin.offset,
            "size": origin.size,
            "time": np.datetime_as_string(time),
            "damage": list(Damage(damage).names),
        }
        for stream, origin, time, damage in zip(
            table.streams_of(rows), event.offsets, times_of(heads), heads["damage"].tolist(), strict=True
        )
    ]


def _sources(event: Event) -> list[dict[str, Any]]:
    run, table = event.run, event.run.table
    found = []
    for key in table.object_keys():
        objects = table.objects(key.xtc_type, key.source)
        row = int(np.searchsorted(objects.event, event.index))
        has = row < len(objects) and int(objects.event[row]) == event.index
        damage = Damage(int(objects.damage[row]) if has else 0)
        state = ABSENT if not has else LOST if not objects.stored[row] else DAMAGED if damage else THERE
        why = "" if state == THERE else event.why(f"{key.source.name}/{key.xtc_type.name}").partition(": ")[2]
        found.append(
            {
                "source": key.source.name,
                "alias": run.names.alias(key.source),
                "type": key.xtc_type.name,
                "state": state,
                "bytes": int(objects.size[row]) if has else 0,
                "damage": list(damage.names),
                "why": why,
            }
        )
    return found


def _epics(event: Event) -> list[dict[str, Any]]:
    variables = event.run.epics
    return [
        {
            "name": name,
            "alias": variables[name].alias,
            "value": value.value.tolist() if isinstance(value.value, np.ndarray) else value.value,
            "units": variables[name].units,
            "alarm": value.severity,
            "time": None if value.time is None else np.datetime_as_string(value.time),
        }
        for name, value in event.epics.items()
    ]


__all__ = ["describe_event"]
