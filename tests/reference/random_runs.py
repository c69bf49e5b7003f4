"""What the tests of the random runs share: recordings, and how values are compared with them."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from psanacli.run import Action, Event, Key, Run, open_run
from psanacli.xtc import Record, Source

RUNS = range(1, 81)
KINDS = {
    Action.BEGIN_RUN: "beginRun",
    Action.BEGIN_STEP: "beginCalibCycle",
    Action.END_STEP: "endCalibCycle",
    Action.END_RUN: "endRun",
}
OPTIONS = {
    "psana.l3t-accept-only": ("l3_accept_only", lambda text: text == "1"),
    "psana.skip-epics": ("skip_epics_only", lambda text: text == "1"),
    "psana.store-out-of-order-damage": ("store_out_of_order", lambda text: text == "1"),
    "psana.store-user-ebeam-damage": ("store_user_ebeam", lambda text: text == "1"),
    "psana.skip-events": ("skip_events", int),
    "psana.events": ("max_events", int),
    "PSXtcInput.XtcInputModule.first_control_stream": ("first_control_stream", int),
    "PSXtcInput.XtcInputModule.max_stream_clock_diff": ("max_clock_difference", int),
}


@cache
def recordings(shared: Path) -> dict[int, dict[str, Any]]:
    found = {}
    for path in sorted((shared / "psana1" / "events").glob("random-*.json.gz")):
        for number, modes in json.loads(gzip.decompress(path.read_bytes()))["runs"].items():
            found[int(number)] = modes
    return found


@cache
def descriptions(shared: Path) -> dict[int, dict[str, Any]]:
    return {run["run"]: run for run in json.loads((shared / "lcls1" / "random" / "runs.json").read_text())}


def opened(shared: Path, number: int, mode: str) -> Run:
    options: dict[str, Any] = {}
    if mode == "opt":
        for name, text in descriptions(shared)[number]["options"].items():
            ours, convert = OPTIONS[name]
            options[ours] = convert(text)
        if "first_control_stream" in options:
            options["first_control_content"] = 80
    directory = shared / "lcls1" / "random" / f"r{number:04d}" / "xtc"
    return open_run(f"exp=cxirnd16:run={number}:dir={directory}:{'xtc' if mode == 'opt' else mode}", **options)


def log_of(shared: Path, number: int, mode: str) -> list[dict[str, Any]]:
    return [entry for entry in recordings(shared)[number][mode]["log"] if entry["c"] not in ("end", "endJob")]


def delivered(run: Run) -> Iterator[tuple[str, bool, int]]:
    """Everything that is delivered, in order: what, whether the data have it, and its group."""
    table = run.table
    events = table.events["group"].tolist()
    for group in np.flatnonzero(table.groups["action"] == Action.BEGIN_JOB).tolist():
        yield "beginJob", True, group
    done = 0
    for transition in table.transitions:
        for group in events[done : int(transition["event"])]:
            yield "event", True, group
        done = int(transition["event"])
        yield KINDS[Action(int(transition["kind"]))], bool(transition["given"]), int(transition["group"])


def identity(run: Run, group: int) -> list[int]:
    head = run.table.datagrams[int(run.table.rows_of(group)[0])]
    low, high = int(head["stamp_low"]), int(head["stamp_high"])
    number = int(run.table.groups["run"][group]) or run.number
    return [
        int(head["seconds"]), int(head["nanoseconds"]), high & 0x1FFFF, low & 0xFFFFFF, high >> 17, low >> 24, number
    ]  # fmt: skip


def value_of(record: Record) -> Any:
    """The one number by which an object of these runs is recognised."""
    name = record.xtc_type.name
    if name.startswith("Ipimb.Data"):
        return record.triggerCounter
    if name.startswith("Ipimb.Config"):
        return record.serialID
    if name.startswith("Lusi.IpmFexConfig"):
        return record.xscale
    if name.startswith("Lusi.IpmFex"):
        return record.sum
    if name.startswith("EvrData.Data"):
        return record.fifoEvents[0].timestampLow if record.numFifoEvents else None
    if name.startswith("EvrData.Config"):
        return record.neventcodes
    if name == "Camera.FrameV1":
        return int((record.data8 if record.data16 is None else record.data16)[0, 0])
    if name.startswith("Bld.BldDataEBeam"):
        return record.ebeamCharge
    if name.startswith("ControlData"):
        return [[item.name, item.value] for item in [*record.pvControls, *record.pvLabels]]
    if name == "Alias.ConfigV1":
        return [[item.aliasName, Source(item.src.log, item.src.phy).text] for item in record.srcAlias]
    if name == "Epics.ConfigV1":
        return [[item.pvId, item.description] for item in record.getPvConfig]
    if name == "Opal1k.ConfigV1":
        return record.output_offset
    if name == "SmlData.ConfigV1":
        return record.sizeThreshold
    return None


def label(run: Run, key: Key) -> str:
    source = "ProcInfo(any)" if key.xtc_type.name.startswith("SmlData") else key.source.text
    alias = run.names.alias(key.source)
    return "|".join([key.xtc_type.name, source, *([alias] if alias else [])])


class Play:
    """A recording played from the front: what changed is added up."""

    def __init__(self) -> None:
        self.config: dict[str, Any] = {}
        self.epics: dict[str, Any] = {}
        self.aliases: dict[str, Any] = {}

    def copy(self) -> Play:
        other = Play()
        other.config, other.epics, other.aliases = dict(self.config), dict(self.epics), dict(self.aliases)
        return other

    def step(self, entry: dict[str, Any]) -> None:
        for name in ("config", "epics", "aliases"):
            state = getattr(self, name)
            for key, value in entry.get(name, {}).items():
                if name == "epics" and value != "gone" and value[1] is None:
                    value[1] = 0.0  # a value that came with the name has no time
                if value == "gone":
                    state.pop(key, None)
                else:
                    state[key] = value


def compare_event(run: Run, event: Event, entry: dict[str, Any], tally: Counter[str]) -> list[Any]:
    mine = {label(run, key): value_of(run.readers[key].get(event.index)) for key in event.keys()}
    theirs = {"|".join(key[:-1]): key[-1] for key in entry["keys"]}
    if run.files.mode == "smd":
        theirs = {name: value for name, value in theirs.items() if not is_bookkeeping(name)}
    for name in [name for name in mine if name not in theirs and name.rpartition("|")[0] in theirs]:
        # An alias that comes with a late Configure: we know it from the beginning.
        mine[name.rpartition("|")[0]] = mine.pop(name)
        tally["random runs, explained: alias known before its Configure"] += 1
    found = compare("keys", mine, theirs, tally)
    damage = {
        f"{key.xtc_type.name}|{key.source.text}": [f"{int(word):#x}", int(run.readers[key].has(event.index))]
        for key, word in event.damage.items()
    }
    theirs = {f"{row[0]}|{row[1]}": row[2:] for row in entry.get("damage", ())}
    for name in [name for name in theirs if is_bookkeeping(name) and theirs[name] == ["0x0", 0]]:
        # Configuration in an event and bookkeeping of small data, undamaged: no objects of the event.
        del theirs[name]
        tally["random runs, explained: undamaged configuration in an event"] += 1
    found += compare("damage", damage, theirs, tally)
    dropped = [[f"{int(word):#x}", source.text] for source, word in event.dropped]
    if dropped != entry.get("dropped", []):
        found.append(("dropped", dropped, entry.get("dropped")))
    return found


def compare_config(
    run: Run, group: int, what: str, entry: dict[str, Any], play: Play, tally: Counter[str]
) -> list[Any]:
    config = run.config.at(group)
    mine = {label(run, key): value_of(config[key]) for key in config}
    theirs = dict(play.config)
    for name, value in play.config.items():
        if name.startswith("SmlData.ConfigV1") and value == "none":
            # The sources of these objects are chance; where several get the same one the recording has no value.
            mine.pop(name, None)
            del theirs[name]
            tally["random runs, explained: configuration of small data"] += 1
    for key in entry.get("keys", ()):
        name = "|".join(key[:-1])
        if "Config" in name and run.files.mode == "smd" and mine.get(name) == key[-1]:
            # Configuration in an event that became a proxy: an object of the event there, late in the store.
            theirs[name] = key[-1]
            tally["random runs, explained: proxy of a configuration in an event"] += 1
    return compare(f"{what} config", mine, theirs, tally)


def is_bookkeeping(name: str) -> bool:
    return "Config" in name.partition("|")[0] or name.startswith("SmlData.")


def epics_at(run: Run, group: int) -> dict[str, Any]:
    found = {}
    for name, value in run.epics.at(group).items():
        stamp = 0.0 if value.time is None else round(value.time.astype(np.int64) / 1e9, 3)
        variable = run.epics[name]
        row = int(np.searchsorted(variable.group, group, side="right")) - 1
        alarm = [int(variable.statuses[row]), int(variable.severities[row])]
        shown = value.value.tolist() if isinstance(value.value, np.ndarray) else value.value
        found[name] = [shown, stamp, *(alarm if any(alarm) else [])]
    return found


def compare(what: str, mine: dict[str, Any], theirs: dict[str, Any], tally: Counter[str]) -> list[Any]:
    found = []
    for key in mine.keys() | theirs.keys():
        if key not in mine or key not in theirs or mine[key] != theirs[key]:
            found.append((what, key, mine.get(key, "absent"), theirs.get(key, "absent")))
        else:
            tally[f"random runs: {what.split()[-1]}"] += 1
    return found
