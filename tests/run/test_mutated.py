"""Whatever the bytes of payloads are: the right numbers, or an error that says what is wrong, through all ways to read.

The same tests run under the address and undefined-behaviour sanitizers (``tests/sanitizer.sh``).
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from psanacli.calib import Store, format_text
from psanacli.commands.main import run as psana
from psanacli.errors import PsanaError
from psanacli.run import Run, open_run
from psanacli.xtc import Container, Contribution, RunWriter, Transition, epics_record, node, service, walk_file
from psanacli.xtc.compress import Engine
from psanacli.xtc.encode import encode
from tests.run.runs import BEAM, CAMERA, EPICS_WORD, TIMING, beam, configuration, frame, timing
from tests.run.test_single import CONFIG, CSPAD, cspad

EVENTS = 6
CASES = 32
MOST_SECONDS = 20.0
"""Of processor time for one case, which takes a tenth of a second: what a length may do that says 4 billion."""
WAYS = {"opal_1": ("raw", "calib"), "Cspad": ("raw",)}
"""Images that are read: those of the camera have pedestals."""
NODE = node("172.21.38.10", 5000)
NODES = [node(f"172.21.38.{number}", 5000) for number in (11, 12, 13)]


class Original(NamedTuple):
    """A run, where its payloads are, and what is in it."""

    path: Path
    calib: Path
    content: bytes
    payloads: dict[str, list[tuple[int, int, int]]]
    """By type: place and size, and the event (-1: none)."""
    images: dict[str, list[Any]]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    """Images as they are, compressed by both engines; objects of variable length; configurations that tell sizes."""
    directory = tmp_path_factory.mktemp("original")
    with RunWriter(directory, "e301", 1, streams=1) as run:
        told = Contribution("CsPad.ConfigV5", CSPAD, encode("CsPad.ConfigV5", CONFIG))
        run.configure([*configuration(), Container(NODES[0], [told])])
        for number in range(EVENTS):
            image = Contribution("Camera.FrameV1", CAMERA, frame(number))
            large = Contribution("CsPad.DataV2", CSPAD, cspad(number))
            if number % 2:
                image = image.compressed(Engine.HISTN)
                large = large.compressed(Engine.HIST16, header=32) if number % 4 == 1 else large
            record = Contribution(EPICS_WORD, CAMERA, epics_record(1, [number, 2, 3]))
            run.event(
                [
                    Container(NODE, [Contribution("EvrData.DataV4", TIMING, timing(number)), image]),
                    Container(NODES[0], [large]),
                    Container(NODES[1], [Contribution("Bld.BldDataEBeamV7", BEAM, beam(number))]),
                    Container(NODES[2], [record]),
                ]
            )
        (path,) = run.paths
    calib = tmp_path_factory.mktemp("constants")
    home = Store(calib).type_directory(CAMERA.name, "pedestals")
    home.mkdir(parents=True)
    (home / "0-end.data").write_bytes(format_text(np.ones((4, 6), np.float32)))
    payloads: dict[str, list[tuple[int, int, int]]] = {}
    table = walk_file(path)
    numbers = np.cumsum(service(table.datagrams) == Transition.L1Accept) - 1
    for row, event in zip(table.datagrams, numbers.tolist(), strict=True):
        first, stop = table.patterns.start[row["pattern"]], table.patterns.start[row["pattern"] + 1]
        for each in table.patterns.contributions[first:stop]:
            name = f"type {table.keys[each['key']]['type']:#x}"
            place, size = int(row["offset"] + each["offset"]) + 20, int(each["extent"]) - 20
            if size > 0:
                payloads.setdefault(name, []).append((place, size, event))
    with open_run(path, calib_dir=calib) as opened:
        images = {name: images_of(opened, name) for name in WAYS}
    assert len(payloads) > 7 and all(isinstance(image, np.ndarray) for found in images.values() for image in found)
    return Original(path, calib, path.read_bytes(), payloads, images)


def images_of(run: Run, name: str) -> list[Any]:
    """Return the images of all events, one way after the other; the error in place of one that cannot be read."""
    found: list[Any] = []
    detector: Any = run.detector(name)
    for way in WAYS[name]:
        for event in run.events:
            try:
                image = getattr(detector, way)(event)
                found.append(None if image is None else image.copy())
            except PsanaError as error:
                found.append(error)
    return found


def flipped(content: bytearray, place: int, size: int, chance: random.Random) -> None:
    """Change one to three bits; mostly at the begin of a payload, where its sizes are."""
    for _ in range(chance.randint(1, 3)):
        content[place + chance.randrange(min(size, chance.choice([8, 40, size])))] ^= 1 << chance.randrange(8)


def overwritten(content: bytearray, place: int, size: int, chance: random.Random) -> None:
    """Put a number where it does most harm."""
    at = place + (chance.randrange(min(size, 40)) & ~3)
    value = chance.choice([0, 1, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF0, chance.getrandbits(32)])
    content[at : at + 4] = value.to_bytes(4, "little")


def cut(content: bytearray, place: int, size: int, chance: random.Random) -> None:
    del content[place + chance.randrange(size) :]


CHANGES: list[Callable[[bytearray, int, int, random.Random], None]] = [flipped, flipped, overwritten, overwritten, cut]


@pytest.mark.parametrize("seed", range(4))
def test_changed_payloads(
    original: Original, tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str], tally: Counter[str]
) -> None:
    chance = random.Random(f"payloads {seed}")
    path = tmp_path / original.path.name
    for number in range(CASES // 4):
        content = bytearray(original.content)
        name = chance.choice(sorted(original.payloads))
        place, size, changed = chance.choice(original.payloads[name])
        change = CHANGES[number % len(CHANGES)]
        change(content, place, size, chance)
        path.write_bytes(content)
        told = f"seed {seed}, case {number}: {change.__name__} {name} of event {changed}"
        begun = time.process_time()
        outcomes = _read(original, path, changed if change is not cut else EVENTS, told)
        out = tmp_path / "out.h5"
        compression = chance.choice(["none", "gzip", "gzip:2"])
        code = psana(["translate", str(path), "-o", str(out), "--compression", compression, "-q", "--overwrite"])
        message = capsys.readouterr().err
        assert code == 0 or (code in (3, 4) and "error: " in message), f"{told}: exit code {code}: {message}"
        assert time.process_time() - begun < MOST_SECONDS, told
        tally.update({f"changed payloads: {outcome}": count for outcome, count in outcomes.items()})
        tally[f"changed payloads: translations that ended with {code}"] += 1


def _read(original: Original, path: Path, changed: int, told: str) -> Counter[str]:
    """Read everything; what was not changed has to be as it was, or an error."""
    outcomes: Counter[str] = Counter()
    try:
        with open_run(path, calib_dir=original.calib) as run:
            for name in original.images:
                try:
                    found = images_of(run, name)
                except PsanaError:
                    outcomes["detectors with an error"] += 1
                    continue
                each = len(found) // len(WAYS[name])
                for index, image in enumerate(found):
                    way, event = divmod(index, max(each, 1))
                    before = original.images[name][way * EVENTS + event]
                    if isinstance(image, PsanaError):
                        assert str(image), told
                        outcomes["images with an error"] += 1
                    elif 0 <= changed != event and image is not None:
                        np.testing.assert_array_equal(image, before, err_msg=told)
                        outcomes["images as they were"] += 1
            for column in (
                "EBeam.ebeamPhotonEnergy",
                "evr0.numFifoEvents",
                "opal_1.width",
                "XPP:ARRAY",
                "Cspad.quads.data",
            ):
                try:
                    values = run.column(column)
                except PsanaError:
                    outcomes["columns with an error"] += 1
                    continue
                if column.startswith("EBeam") and changed >= 0:
                    wanted = 9500.0 + np.arange(len(values))
                    right = (values == wanted).filled(True)
                    right[changed : changed + 1] = True
                    assert right.all(), told
                outcomes["columns"] += 1
    except PsanaError:
        outcomes["runs with an error"] += 1
    return outcomes
