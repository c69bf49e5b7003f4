"""Extraction of the multi and random runs: each chosen event is what it was in the full run."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from psanacli.run import Event, Run, open_run
from psanacli.run.extract import extract, xtc_directory
from psanacli.xtc import FileContents, plain_record

#: These bring configuration in events, which are there although they were not chosen.
EXTRA = "that were not chosen are there"


def shown(run: Run, event: Event, tally: Counter[str]) -> dict[str, Any]:
    """All there is of an event, offsets aside."""
    objects = {}
    for key in event.keys():
        record = run.readers[key].get(event.index) if key in run.readers else None
        objects[str(key)] = None if record is None else plain_record(record)
    epics = {name: repr(value) for name, value in run.epics.at(event).items()}
    config = {str(key): plain_record(record) for key, record in run.config.at(event).items()}
    step = event.step
    scan = None if step is None else [repr(step.values), repr(step.labels)]
    tally["extraction: objects"] += len(objects)
    tally["extraction: EPICS values"] += len(epics)
    tally["extraction: configuration objects"] += len(config)
    return {"id": event.id, "objects": objects, "epics": epics, "config": config, "scan": scan}


def check(source: str, numbers: list[int], root: Path, tally: Counter[str]) -> None:
    with open_run(source) as run:
        extraction = extract(run, numbers, root)
        directory = xtc_directory(root, extraction)
        sizes = [(directory / file.path.name).stat().st_size for file in extraction.files]
        assert sizes == extraction.file_bytes
        with open_run(directory) as small:
            bringing = any(EXTRA in note for note in extraction.notes)
            with open_run(source.removesuffix(":smd")) as big:  # what the big files have
                wanted = [shown(big, big.events[number], tally) for number in numbers]
            found = [shown(small, event, tally) for event in small.events]
            if bringing:
                found = [one for one in found if one in wanted]
            assert found == wanted


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("mode", ["", ":smd"])
def test_multi(shared: Path, tmp_path: Path, tally: Counter[str], seed: int, mode: str) -> None:
    source = f"exp=cximul16:run=7:dir={shared}/lcls1/multi/xtc{mode}"
    with open_run(source) as run:
        numbers = sorted(random.Random(seed).sample(range(len(run.events)), 5 * (seed + 1)))
    check(source, numbers, tmp_path / "out", tally)


def test_events_of_index_mode(shared: Path, tmp_path: Path) -> None:
    source = f"exp=cximul16:run=7:dir={shared}/lcls1/multi/xtc"
    with open_run(source + ":idx") as run:
        extraction = extract(run, [3, 30, 40], tmp_path / "out")
        directory = xtc_directory(tmp_path / "out", extraction)
        with open_run(f"exp=cximul16:run=7:dir={directory}:idx") as small:
            found = {event.id: event for event in small.events}
            for number in (3, 30, 40):
                event = run.events[number]
                assert [str(key) for key in found[event.id].keys()] == [str(key) for key in event.keys()]
        with open_run(directory) as small:
            assert {event.id for event in small.events} == {run.events[number].id for number in (3, 30, 40)}


@pytest.mark.parametrize("number", range(1, 81))
def test_random(shared: Path, tmp_path: Path, tally: Counter[str], number: int) -> None:
    source = f"exp=cxirnd16:run={number}:dir={shared}/lcls1/random/r{number:04d}/xtc"
    with open_run(source) as run:
        count = len(run.events)
    chosen = random.Random(number).sample(range(count), -(-count // 3))
    check(source, sorted(chosen), tmp_path / "out", tally)


def test_dump_of_kept_datagrams(shared: Path, tmp_path: Path, tally: Counter[str]) -> None:
    with open_run(shared / "lcls1" / "simple" / "xtc") as run:
        extraction = extract(run, [3, 4, 12, 17], tmp_path / "out")
        for file in extraction.files:
            full = {(item["seconds"], item["nanoseconds"]): item for item in dumped(file.path)}
            for item in dumped(xtc_directory(tmp_path / "out", extraction) / file.path.name):
                assert item == full[item["seconds"], item["nanoseconds"]]
                tally["extraction: dumped datagrams"] += 1


def dumped(path: Path) -> list[dict[str, Any]]:
    """What `psana dump --json` has of each datagram, offsets aside."""

    def bare(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: bare(item) for name, item in value.items() if name not in ("off", "offset")}
        return [bare(item) for item in value] if isinstance(value, list) else value

    found = []
    for datagram in FileContents(path):
        plain = {**datagram.plain(), "xtcs": [item.plain() for item in datagram.items]}
        item = bare(json.loads(json.dumps(plain, default=str)))
        if item["transition"] != "L1Accept" or any(entry["typeid"] not in (1, 13) for entry in item["xtcs"]):
            found.append(item)
    return found
