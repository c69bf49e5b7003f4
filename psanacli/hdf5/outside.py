"""Values from outside that were joined to the run: ``/Outside/NAME``, a row for each event that is translated.

``time`` has the times of these events, as everywhere.  Each field is a group with ``data`` and ``_mask``, which is 0
where the event has no value; floating-point numbers are NaN there, all else is zero or empty.  Attributes of NAME say
where the values came from, those of a field how many events of the run have none, and why.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.hdf5.forms import Form, form_of
from psanacli.hdf5.names import time_rows
from psanacli.hdf5.tables import Plan, Value
from psanacli.outside import tolerance_text
from psanacli.run import Joined, Run

GROUP = "Outside"
_Stored = tuple[str, Form, tuple[int, ...] | None, NDArray[Any]]


def add(plan: Plan, run: Run, events: NDArray[np.int64]) -> None:
    """Add what was joined to the plan.

    Parameters
    ----------
    plan : Plan
        Is completed; what it has of them already gives way.
    run : Run
        Its `joined` values.
    events : ndarray of int64
        Numbers of the events that the file is of.
    """
    if run.joined:
        plan.provenance["joined"] = [joined.asdict() for joined in run.joined.values()]
    plan.values = [value for value in plan.values if not value.group.startswith(f"{GROUP}/")]
    for joined in run.joined.values():
        group = f"{GROUP}/{joined.name}"
        plan.group(group, _origin(joined))
        times = time_rows(run.table.events[events])
        plan.values.append(_value(group, [("time", form_of("@psanacli.time"), times.shape, times)]))
        taken: set[str] = {"time"}
        for name in joined.columns:
            inside = f"{group}/{_group_name(name, taken)}"
            present = _present(np.ma.getmaskarray(joined.columns[name])[events])
            plan.group(inside, _about(joined, name, present))
            plan.values.append(_value(inside, [_data(joined, name, events), _mask(present)]))


def _origin(joined: Joined) -> tuple[tuple[str, Any], ...]:
    origin, rows = joined.origin, joined.rows
    changed = np.datetime_as_string(np.datetime64(origin.mtime_ns, "ns")) if origin.mtime_ns else ""
    return (
        ("file", origin.path),
        ("format", origin.format),
        ("size", np.uint64(origin.size)),
        ("mtime", str(changed)),
        ("checksum", f"sha256:{origin.checksum}"),
        ("time_column", origin.time),
        ("zone", origin.zone),
        ("how", joined.how),
        ("tolerance", tolerance_text(joined.tolerance)),
        *((f"rows.{name}", np.uint64(count)) for name, count in rows.asdict().items()),
    )


def _about(joined: Joined, name: str, present: NDArray[np.bool_]) -> tuple[tuple[str, Any], ...]:
    """Return the attributes of a field: its name, units, and counts, of the file and of the whole run."""
    counts = joined.counts[name].asdict()
    return (
        ("name", name),
        ("units", joined.units[name]),
        ("how", joined.hows[name]),
        ("events", np.uint64(len(present))),
        ("joined", np.uint64(np.count_nonzero(present))),
        *((f"run.{reason}", np.uint64(count)) for reason, count in counts.items()),
    )


def _data(joined: Joined, name: str, events: NDArray[np.int64]) -> _Stored:
    column = joined.columns[name][events]
    if column.dtype.kind == "U":
        text = np.char.encode(column.filled(""), "utf-8") if len(column) else np.zeros(0, "S1")
        values = text.astype(f"S{max(text.dtype.itemsize, 1)}")
        return "data", form_of(f"S{values.dtype.itemsize}"), values.shape, values
    kind = "u1" if column.dtype.kind == "b" else f"{column.dtype.kind}{column.dtype.itemsize}"
    form = form_of(kind)
    values = column.filled(np.nan if column.dtype.kind == "f" else 0).astype(form.dtype)
    return "data", form, values.shape, values


def _present(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which events have a value; of an array some of its elements."""
    rows = mask.reshape(len(mask), -1) if mask.size else np.ones((len(mask), 1), bool)
    return np.logical_not(rows.all(axis=1))


def _mask(present: NDArray[np.bool_]) -> _Stored:
    return "_mask", form_of("u1"), present.shape, present.astype(np.uint8)


def _value(group: str, datasets: list[_Stored]) -> Value:
    return Value(group, tuple(datasets), np.zeros(8, np.uint8))


def _group_name(name: str, taken: set[str]) -> str:
    """Return the name of the group of a field: HDF5 can have neither ``/`` nor ``.`` as a name, and none twice."""
    plain = name.replace("/", "_").replace("\0", "_") or "_"
    while plain in taken or not plain.strip("."):
        plain += "_"
    taken.add(plain)
    return plain
