"""Objects read one at a time: the same as those read many at once, in whatever way they are stored."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from psanacli.errors import DataError
from psanacli.run import Run, open_run
from psanacli.run.reading import OpenFiles, Rooms
from psanacli.xtc import Container, Contribution, ContributionFlag, RunWriter, Source, small_file_of, write_small
from psanacli.xtc.compress import Engine
from psanacli.xtc.encode import encode
from tests.run.runs import NODE

EVENTS = 20
CSPAD = Source.parse("XppGon.0:Cspad.0")
CONFIG = {"eventCode": 140, "payloadSize": 32 + 185 * 388 * 2 + 4, "asicMask": 1, "quadMask": 15, "roiMasks": 0x2020202}
ORDERS = ([0, 1, 2, 3], [2, 0, 3, 1], [3, 2, 1, 0])


def image(event: int, quad: int) -> np.ndarray:
    return ((np.arange(185 * 388) % 50) + 100 * quad + event).astype("<i2")


def cspad(event: int) -> bytes:
    parts = []
    for quad in ORDERS[event % 3]:
        head = np.zeros(8, "<u4")
        head[1] = quad << 24
        parts += [head.tobytes(), image(event, quad).tobytes(), bytes(4)]
    return b"".join(parts)


def write(directory: Path, compressed: bool) -> list[Path]:
    with RunWriter(directory, "e301", 1, streams=1) as run:
        run.configure([Container(NODE, [Contribution("CsPad.ConfigV5", CSPAD, encode("CsPad.ConfigV5", CONFIG))])])
        for event in range(EVENTS):
            part = Contribution("CsPad.DataV2", CSPAD, cspad(event))
            if compressed and event % 2:
                part = part.compressed(Engine.HIST16, header=32)
            run.event([Container(NODE, [part])])
        return run.paths


@pytest.fixture(params=["big", "compressed", "proxies"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Run]:
    """The same events: in big files, every second one compressed, and in small data that point to the big file."""
    for path in write(tmp_path, request.param == "compressed"):
        if request.param == "proxies":
            small_file_of(path).parent.mkdir(exist_ok=True)
            write_small(path, small_file_of(path), threshold=64)
    with open_run(f"dir={tmp_path}:exp=xpp/e301:run=1:smd" if request.param == "proxies" else tmp_path) as run:
        (key,) = (key for key in run.readers if key.source.same_as(CSPAD))
        flags = run.table.objects(key.xtc_type, key.source).flags
        stored = {"big": 0, "compressed": ContributionFlag.COMPRESSED, "proxies": ContributionFlag.PROXY}
        assert np.bitwise_or.reduce(flags) == stored[request.param]
        yield run


def quads_of(run: Run, event: int) -> list[tuple[int, np.ndarray]]:
    record = run.events[event].get("cspad")
    assert record is not None
    return [(quad.quad, quad.data) for quad in record.quads]


def test_quadrants_come_in_order_however_they_are_stored(run: Run) -> None:
    for event in random.sample(range(EVENTS), EVENTS):
        quads = quads_of(run, event)
        assert [number for number, _ in quads] == [0, 1, 2, 3]
        for number, data in quads:
            assert (data.reshape(-1) == image(event, number)).all()


def test_one_is_what_many_are(run: Run) -> None:
    (key,) = (key for key in run.readers if key.source.same_as(CSPAD))
    objects = run.table.objects(key.xtc_type, key.source)
    many = run.payloads.read(objects)
    for row in random.sample(range(EVENTS), EVENTS):
        one = run.payloads.read_one(objects, row)
        assert one.readonly
        assert bytes(one) == bytes(many[row])


def test_what_was_got_stays(run: Run) -> None:
    held = {event: quads_of(run, event)[2][1] for event in random.sample(range(EVENTS), EVENTS)}
    for event in range(0, EVENTS, 3):
        quads_of(run, event)
    assert all((data.reshape(-1) == image(event, 2)).all() for event, data in held.items())
    run.close()
    assert all((data.reshape(-1) == image(event, 2)).all() for event, data in held.items())


def test_threads_do_not_take_the_memory_of_each_other(run: Run) -> None:
    def look(event: int) -> bool:
        return all((data.reshape(-1) == image(event, number)).all() for number, data in quads_of(run, event))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(look, random.choices(range(EVENTS), k=200)))


def test_memory_is_used_again_when_nobody_looks_at_it() -> None:
    rooms = Rooms()
    size = 1 << 20
    first = rooms.take(size)
    place = first.ctypes.data
    part = memoryview(first).toreadonly()[8:16]
    del first
    second = rooms.take(size)
    assert second.ctypes.data != place, "a part of it is in use"
    del part
    assert rooms.take(size).ctypes.data == place
    assert rooms.take(size + 8).ctypes.data not in (place, second.ctypes.data)
    held = [rooms.take(1 << 25) for _ in range(4)]
    assert len({room.ctypes.data for room in held}) == 4


def test_a_file_that_ends_before_says_so(tmp_path: Path) -> None:
    path = tmp_path / "short.xtc"
    path.write_bytes(bytes(range(100)))
    with OpenFiles([path]) as files:
        assert bytes(files.read_one(0, 10, 5)) == bytes(range(10, 15))
        assert bytes(files.read_one(0, 10, 0)) == b""
        with pytest.raises(DataError, match=r"short\.xtc: 8 bytes at offset 95 cannot be read: the file ends before"):
            files.read_one(0, 95, 8)
        assert bytes(files.read_one(0, 95, 5)) == bytes(range(95, 100))


@pytest.mark.parametrize("seed", range(4))
def test_pieces_in_any_order_are_read_together(tmp_path: Path, seed: int) -> None:
    """Side by side, one inside of another, far apart, empty, and of two files."""
    some = np.random.default_rng(seed)
    paths = [tmp_path / "a.xtc", tmp_path / "b.xtc"]
    contents = [some.integers(0, 256, size, np.uint8).tobytes() for size in (300_000, 5000)]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    files = some.integers(0, 2, 300)
    offsets = np.where(files == 0, some.integers(0, 300_000, 300), some.integers(0, 5000, 300))
    sizes = np.minimum(some.integers(0, 90_000 if seed == 3 else 300, 300), np.array([300_000, 5000])[files] - offsets)
    with OpenFiles(paths) as opened:
        block = opened.read_together(files.astype(np.uint16), offsets, sizes)
        assert len(opened.read_together(files[:0], offsets[:0], sizes[:0])) == 0
        with pytest.raises(DataError, match=r"b\.xtc: 10 bytes at offset 4995 cannot be read: the file ends before"):
            opened.read_together(np.array([0, 1]), np.array([0, 4995]), np.array([5, 10]))
    for row, (file, offset, size) in enumerate(zip(files, offsets, sizes, strict=True)):
        assert bytes(block[row]) == contents[file][offset : offset + size]
    assert len(block.buffer) <= sum(map(len, contents)) + 8 * 300, "what overlaps is read once"


def test_closing_does_not_wait_for_a_read_that_a_signal_ended(tmp_path: Path) -> None:
    """An exception between two steps of a read leaves it begun; only reads of other threads can still end."""
    path = tmp_path / "some.xtc"
    path.write_bytes(bytes(100))
    files = OpenFiles([path])
    files._begin((0,))  # and no _end: here the exception came
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(files._begin, (0,))
        reading.result()
        closing = threading.Event()
        told: list[bool] = []
        ended = threading.Timer(0.2, lambda: (told.append(closing.is_set()), pool.submit(files._end)))
        ended.start()
        files.close()
        closing.set()
        ended.join()
    assert told == [False], "it did not wait for the other thread"
