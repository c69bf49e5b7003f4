"""What the tests of the test sets share: recordings, and how every value of an event is compared with them."""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from psanacli.run import Event, Key, Run, open_run
from psanacli.xtc import Record, Source

SETS = [
    ("simple", 301, "xppsim15", 1),
    ("multi", 302, "cximul16", 7),
    ("types-r1", 303, "amotyp14", 1),
    ("types-r2", 303, "amotyp14", 2),
    ("types-r3", 303, "amotyp14", 3),
    ("area", 304, "cxiarea17", 17),
    ("dark", 307, "mecdark17", 1),
    *((f"compressed-r{run}", 305, "xppcmp16", run) for run in (1, 2, 3, 4)),
]


def recording(shared: Path, name: str, mode: str) -> dict[str, Any]:
    base = shared / "psana1" / "events" / f"{name}{'' if mode == 'xtc' else '-' + mode}.json"
    data = base.read_bytes() if base.exists() else gzip.decompress(base.with_name(base.name + ".gz").read_bytes())
    found: dict[str, Any] = json.loads(data)
    return found


def opened(shared: Path, unpacked: Path | None, name: str, experiment: str, number: int, mode: str) -> Run:
    directory = unpacked if name == "types-r3" else shared / "lcls1" / name.partition("-")[0] / "xtc"
    return open_run(f"exp={experiment}:run={number}:dir={directory}:{mode}")


class Comparison:
    """Compares values with recorded ones, and remembers what differs."""

    def __init__(self) -> None:
        self.count = 0
        self.elements = 0
        self.differences: list[tuple[Any, ...]] = []

    def differ(self, path: str, mine: Any, theirs: Any) -> None:
        self.differences.append((path, str(mine)[:200], str(theirs)[:200]))

    def record(self, path: str, mine: Record, theirs: dict[str, Any]) -> None:
        for name, value in theirs.items():
            bare = name.removesuffix("[]").removesuffix("[]")
            if bare.endswith("_shape"):
                continue
            if bare not in mine.xtc_type.accessors:
                self.differ(f"{path}.{name}", "absent", value)
                continue
            self.value(f"{path}.{name}", mine.values_of(bare), value)

    def value(self, path: str, mine: Any, theirs: Any) -> None:
        match theirs:
            case {"crc32": _, "shape": _}:
                self.array(path, mine, theirs)
            case {"n": int() as count, "first": first, "last": last}:
                if len(mine) != count:
                    self.differ(path, len(mine), count)
                    return
                self.value(f"{path}[0]", mine[0], first)
                self.value(f"{path}[-1]", mine[-1], last)
            case {"enum": _, **rest}:
                self.value(path, mine, rest.get("value", rest.get("v", mine)))
            case dict() if isinstance(mine, Record):
                self.record(path, mine, theirs)
            case list():
                items = [] if mine is None else list(mine)
                if len(items) != len(theirs):
                    self.differ(path, mine, theirs)
                    return
                for i, (item, other) in enumerate(zip(items, theirs, strict=True)):
                    self.value(f"{path}[{i}]", item, other)
            case str() if isinstance(mine, Record):
                self.equal(path, Source(mine.log, mine.phy).text, theirs)
            case _:
                self.equal(path, mine, theirs)

    def array(self, path: str, mine: Any, theirs: dict[str, Any]) -> None:
        shape, dtype = tuple(theirs["shape"]), np.dtype(theirs["dtype"])
        if mine is None:
            mine = np.zeros((0,) * len(shape), dtype)
        array = np.ascontiguousarray(mine)
        if array.shape != shape or array.dtype != dtype or zlib.crc32(array.tobytes()) != theirs["crc32"]:
            self.differ(path, (array.shape, array.dtype, array.ravel()[:5]), theirs)
        self.count += 1
        self.elements += array.size

    def equal(self, path: str, mine: Any, theirs: Any) -> None:
        self.count += 1
        if isinstance(mine, (float, np.floating)) and isinstance(theirs, str):
            theirs = float(theirs)
        if isinstance(mine, float) and isinstance(theirs, float) and math.isnan(mine) and math.isnan(theirs):
            return
        if path.endswith(".module_id") and isinstance(theirs, str) and theirs.startswith(mine):
            return  # the original reads on behind the end of the text, up to some NUL
        if mine != theirs:
            self.differ(path, mine, theirs)


@dataclass
class State:
    """What is recorded of an event, with everything that was in force there."""

    entry: dict[str, Any]
    epics: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)


def states(recorded: dict[str, Any]) -> list[State]:
    """Add up what changed from event to event of a recording."""
    epics, config = dict(recorded["epics_at_start"]), dict(recorded["config_at_start"])
    found = []
    for entry in recorded["events"]:
        epics = epics | entry.get("epics", {})
        config = config | entry.get("config", {})
        found.append(State(entry, epics, config))
    return found


def label(run: Run, key: Key) -> str:
    return f"psana.{key.xtc_type.name}|{key.source.text}||{run.names.alias(key.source)}"


def compare_event(run: Run, event: Event, entry: dict[str, Any], found: Comparison, tally: Counter[str]) -> None:
    """Compare what identifies an event, its datagrams, its objects with all values, and damage."""
    where = f"event {entry['n']}"
    event_id = event.id
    for attribute in ("seconds", "nanoseconds", "fiducials", "ticks", "vector", "control", "run"):
        key = {"seconds": "sec", "nanoseconds": "nsec", "fiducials": "fid"}.get(attribute, attribute)
        found.equal(f"{where} {key}", getattr(event_id, attribute), entry[key])
    found.equal(f"{where} step", event.step.number, entry["step"])
    files = run.table.datagrams["file"][event.datagrams]
    found.equal(
        f"{where} datagrams",
        [[run.table.files[i].stream, run.table.files[i].chunk] for i in files],
        entry["dgrams"],
    )
    mine = {label(run, key): run.readers[key].get(event.index) for key in event.keys()}
    theirs = {"|".join(key) for key in entry["keys"]}
    for key, values in entry["values"].items():
        if mine.get(key) is not None:
            found.record(f"{where} {key}", mine[key], values)
    explain(mine, theirs, tally)
    found.equal(f"{where} keys", sorted(mine), sorted(theirs))
    damage = {
        (f"psana.{key.xtc_type.name}", key.source.text): (f"{word:#x}", run.readers[key].has(event.index))
        for key, word in event.damage.items()
    }
    recorded_damage = {(row[0], row[1]): (row[2], row[3]) for row in entry.get("damage", ())}
    for key in [key for key, value in recorded_damage.items() if value == ("0x0", False)]:
        if "Config" in key[0] or key[0] in ("psana.SmlData.OrigDgramOffsetV1", "psana.Bld.BldDataAcqADCV1"):
            del recorded_damage[key]
            tally["test sets, explained: undamaged, and no object of the event there"] += 1
    found.equal(f"{where} damage", damage, recorded_damage)


def explain(mine: dict[str, Any], theirs: set[str], tally: Counter[str]) -> None:
    """Take away the differences that have a reason (docs/deviations.md)."""
    for name in [*mine]:
        if name.startswith("psana.Bld.BldDataAcqADCV1|") and name not in theirs:
            del mine[name]
            tally["test sets, explained: SharedAcqADC decoded with the configuration that it carries"] += 1
    for name in [*theirs]:
        if name.startswith("psana.SmlData."):
            theirs.remove(name)
            tally["test sets, explained: bookkeeping of small data is no object"] += 1


def compare_epics(run: Run, event: Event, theirs: dict[str, Any], found: Comparison) -> None:
    mine = run.epics.at(event)
    found.equal("EPICS names", sorted(mine), sorted(theirs))
    for name, entry in theirs.items():
        value = mine[name]
        shown = value.value.tolist() if isinstance(value.value, np.ndarray) else value.value
        found.value(f"{name} value", shown, entry["v"])
        stamp = 0.0 if value.time is None else value.time.astype(np.int64) / 1e9
        found.equal(f"{name} stamp", bool(abs(stamp - entry["stamp"]) < 1e-6), True)
        variable = run.epics[name]
        row = int(np.searchsorted(variable.group, event.group, side="right")) - 1
        found.equal(
            f"{name} alarm", [int(variable.statuses[row]), int(variable.severities[row])], entry.get("status", [0, 0])
        )


def compare_config(run: Run, group: int, theirs: dict[str, Any], found: Comparison) -> None:
    if group < 0:
        group = int(np.flatnonzero(run.table.groups["action"] == 1)[0])
    config = run.config.at(group)
    mine = {label(run, key): config[key] for key in config}
    theirs = {name: value for name, value in theirs.items() if not name.startswith("None|")}
    found.equal("config keys", sorted(mine), sorted(theirs))
    for name, value in theirs.items():
        if name in mine and value is not None:
            found.record(f"config {name}", mine[name], value)
