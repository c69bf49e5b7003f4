"""Damaged files through `dump`, `info` and `translate`: all that is whole is used, one message says what is not."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from commands.cluster import inside as psana

from psanacli.commands import dump, info, main, translate
from psanacli.run import open_run

COUNT = 19


def known(shared: Path, number: int) -> dict[str, Any]:
    record = json.loads((shared / "lcls1/damaged/README.json").read_text())
    files = [*record["files"], *record["extra_files"]]
    assert len(files) == COUNT
    return dict(files[number], path=shared / "lcls1/damaged" / files[number]["file"])


@pytest.mark.parametrize("number", range(COUNT))
def test_damaged_files(shared: Path, here: Path, number: int, tally: Counter[str]) -> None:
    file = known(shared, number)
    corrupt = file["kind"] == "corrupt"
    code, text, errors = psana("dump", "--json", file["path"])
    assert code == (4 if corrupt else 0), errors
    shown = json.loads(text)["dgrams"]
    assert len(shown) >= file["whole_datagrams_before"]
    _one_message(errors, file, corrupt)

    code, _, errors = psana("info", file["path"])
    # What is wrong inside of a payload shows only to those who decode it.
    inside = file["name"] in ("payload_too_short_for_its_counts", "corrupt_compressed_payload")
    assert code == (4 if corrupt and not inside else 0), errors
    _one_message(errors, file, corrupt and not inside)

    code, _, errors = psana("translate", file["path"], "-o", "out.h5")
    assert code == (4 if corrupt else 0), errors
    assert errors.count("psana: error: ") == corrupt and "Traceback" not in errors
    events = [datagram for datagram in shown if datagram["transition"] == "L1Accept"]
    written = _times(here / "out.h5")
    whole = [item for item in events if item["off"] + item["size"] <= file["offset"] or not corrupt]
    wanted = {(item["seconds"], item["nanoseconds"]) for item in whole if _objects(item)}
    assert wanted <= written, "every event before the damage"
    tally["damaged files: events used"] += len(wanted)


def _one_message(errors: str, file: dict[str, Any], corrupt: bool) -> None:
    assert "Traceback" not in errors
    assert errors.count("psana: error: ") == corrupt
    if corrupt:
        message = errors.partition("psana: error: ")[2].splitlines()[0]
        assert str(file["path"]) in message
        assert re.search(r"at offset \d+", message)


def _objects(datagram: dict[str, Any]) -> list[dict[str, Any]]:
    return [item for item in datagram["xtcs"] if item.get("data") and item["damage"] == 0]


def _times(path: Path) -> set[tuple[int, int]]:
    """Return the times of all events that have a row in a file."""
    found: set[tuple[int, int]] = set()

    def visit(place: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and place.endswith("/time") and "CalibCycle" in place:
            found.update(zip(item["seconds"].tolist(), item["nanoseconds"].tolist(), strict=True))

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


def test_an_image_that_cannot_be_decompressed_is_blank(shared: Path, here: Path) -> None:
    """And the others are there, although the damaged one is the largest."""
    file = known(shared, 16)
    code, _, errors = psana("translate", file["path"], "-o", "out.h5")
    assert code == 4
    assert "1 objects are damaged" in errors
    with h5py.File("out.h5") as out:
        group = out["Configure:0000/Run:0000/CalibCycle:0000/Camera::FrameV1/XppEndstation.0:Opal1000.1"]
        assert group["_mask"][()].tolist() == [1, 1, 0, 1]
        images = group["image"][()]
    assert [bool(images[row].any()) for row in range(4)] == [True, True, False, True]
    with open_run(file["path"]) as run:
        for row in (0, 1, 3):
            frame = run.events[row].get("Opal1000.1")
            np.testing.assert_array_equal(images[row].ravel(), np.asarray(frame.data16).ravel())


@pytest.mark.parametrize("seed", range(6))
def test_random_damage(shared: Path, here: Path, seed: int, tally: Counter[str]) -> None:
    """Any bytes end with one of the known codes; what is written can be read."""
    chance = random.Random(seed)
    whole = known(shared, 10)["path"].read_bytes()
    runner = CliRunner()
    for number in range(25):
        data = bytearray(whole[: chance.randrange(40, len(whole))] if number % 3 == 0 else whole)
        for _ in range(chance.choice([0, 1, 2, 8]) or not number % 3):
            place = chance.randrange(len(data))
            data[place] = chance.choice([0, 0xFF, data[place] ^ 1 << chance.randrange(8), chance.randrange(256)])
        path = here / f"e306-r{100 + number:04d}-s00-c00.xtc"
        path.write_bytes(data)
        out = here / f"{number}.h5"
        for command, words in (
            (dump.command, [str(path)]),
            (info.command, [str(path), "--events"]),
            (info.command, [str(path), "--missing", "--epics", "--steps", "--detectors"]),
            (translate.command, [str(path), "-o", str(out)]),
            (translate.command, [str(path), "-o", str(here / f"{number}-aligned.h5"), "--aligned"]),
        ):
            result = runner.invoke(command, words)
            error = result.exception
            code = main._answer(error, False) if error and not isinstance(error, SystemExit) else result.exit_code
            assert code in (0, 3, 4), (seed, number, words, error)
        if out.exists():
            with h5py.File(out) as file:
                file.visititems(lambda name, item: item[()] if isinstance(item, h5py.Dataset) else None)
            tally["randomly damaged files translated"] += 1
