"""Chunks as workers make them: any zlib reads what our own deflate writes, and it is small where that is possible."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from psanacli.hdf5 import _filters
from psanacli.hdf5.compression import _PLANE, Compression
from psanacli.run import Unread


def literals(data: np.ndarray, worth: float = 0.96) -> bytes:
    """Return `data` as blocks of a deflate stream; what lies behind them has to stay as it is."""
    out = np.full(_filters.literals_room(len(data)) + 8, 0xEE, np.uint8)
    size = _filters.literals(data, worth, out[:-8])
    assert (out[-8:] == 0xEE).all()
    return out[:size].tobytes()


def inflated(blocks: bytes) -> bytes:
    """Read blocks of a deflate stream, none of them the last."""
    stream = zlib.decompressobj(-15)
    found = stream.decompress(blocks + b"\x01\x00\x00\xff\xff") + stream.flush()
    assert stream.eof
    assert not stream.unused_data
    return found


def entropy(data: np.ndarray) -> float:
    """Return how many bytes `data` have at least when each byte is coded by itself."""
    part = np.bincount(data) / len(data)
    part = part[part > 0]
    return float(-(part * np.log2(part)).sum() / 8 * len(data))


SIZES = [*range(1, 40), 1000, 65535, 65536, 131071, 131072, 131073, 300_001]


@pytest.mark.parametrize("kind", ["even", "zeros", "normal", "few", "rare", "half"])
def test_literals_are_read_by_zlib(kind: str) -> None:
    random = np.random.default_rng(5)
    for size in SIZES:
        make = {
            "even": lambda n=size: random.integers(0, 256, n),
            "zeros": np.zeros,
            "normal": lambda n=size: random.normal(100, 3, n),
            "few": lambda n=size: random.geometric(0.5, n).clip(0, 255),
            "rare": lambda n=size: np.where(random.random(n) < 1e-4, random.integers(0, 256, n), 7),
            "half": lambda n=size: np.r_[random.integers(0, 256, n // 2), np.zeros(n - n // 2)],
        }[kind]
        data = (make(size) if kind == "zeros" else make()).astype(np.uint8)
        assert inflated(literals(data)) == data.tobytes(), size
        assert inflated(literals(data, 0.0)) == data.tobytes(), size


def fibonacci(symbols: int) -> list[int]:
    """Counts that make the longest codes there are: one bit more for each symbol."""
    counts = [1, 1]
    while len(counts) < symbols:
        counts.append(counts[-1] + counts[-2])
    return counts


def test_codes_are_never_too_long() -> None:
    """Counts like the numbers of Fibonacci make codes of up to 21 bits; ours have 12 at most."""
    data = np.repeat(np.arange(22), fibonacci(22)).astype(np.uint8)
    assert inflated(literals(data)) == data.tobytes()
    assert len(literals(data)) < 1.06 * entropy(data) + 140


def counts_of_adversaries() -> dict[str, list[int]]:
    """How often each byte occurs, from 0 on: all that is hard on codes of at most 12 bits."""
    return {
        "no symbol": [],
        "one symbol": [5000],
        "one symbol, once": [1],
        "the last symbol": [0] * 255 + [70_000],
        "two symbols": [1, 90_000],
        "two symbols, once each": [1] + [0] * 254 + [1],
        "all equally": [100] * 256,
        "all once": [1] * 256,
        "all but one": [77] * 255,
        "one and all others once": [100_000] + [1] * 255,
        "all others once and one": [1] * 255 + [100_000],
        "powers of two": [1 << k for k in range(17)],
        "powers of two and all others": [1 << k for k in range(16)] + [1] * 240,
        "Fibonacci backwards": fibonacci(22)[::-1],
        "Fibonacci and all others": fibonacci(21) + [1] * 235,
        "Fibonacci four times": [k for k in fibonacci(19) for _ in range(4)],
        "as many as 12 bits can tell apart, and one": [4096 - 255] + [1] * 255,
        "in a narrow range, of which a quarter is counted": [130_000] + [1] * 62 + [9],
    }


@pytest.mark.parametrize("name", counts_of_adversaries())
@pytest.mark.parametrize("order", ["runs", "mixed", "turns"])
def test_counts_of_adversaries(name: str, order: str, tally: Counter[str]) -> None:
    """In runs of equal bytes, in any order, and rare ones where counting a quarter may overlook them."""
    counts = counts_of_adversaries()[name]
    data = np.repeat(np.arange(len(counts)), counts).astype(np.uint8)
    if order == "mixed":
        np.random.default_rng(7).shuffle(data)
    elif order == "turns":
        data = np.concatenate([data[::2], data[1::2][::-1]])
    for some in (data, np.tile(data, max(1, 140_000 // max(1, len(data))))):  # less than a block, and more than one
        for worth in (0.96, 0.999999):
            assert inflated(literals(some, worth)) == some.tobytes()
            tally["bytes in codes made for them, inflated by zlib"] += len(some)
        if _PLANE <= len(some):
            packed = bytes(Compression("gzip", 1).packer(1).chunk(some))
            assert zlib.decompress(packed) == some.tobytes()


def test_any_counts(tally: Counter[str]) -> None:
    """Sixty planes whose symbols follow any law, of any length around the limits of blocks and stored pieces."""
    random = np.random.default_rng(2026)
    for _ in range(60):
        symbols = int(random.integers(1, 257))
        chances = random.random(symbols) ** random.uniform(0.1, 40) + 1e-9
        size = int(
            random.choice([random.integers(1, 300), random.integers(65_000, 66_000), random.integers(130_900, 131_200)])
        )
        data = random.permutation(256)[random.choice(symbols, size, p=chances / chances.sum())].astype(np.uint8)
        assert inflated(literals(data, float(random.choice([0.5, 0.96, 0.9999])))) == data.tobytes()
        tally["bytes in codes made for them, inflated by zlib"] += size


@pytest.mark.parametrize("sigma", [2, 10, 40])
def test_noise_gets_as_small_as_it_can(sigma: int) -> None:
    data = np.random.default_rng(1).normal(128, sigma, 1 << 17).astype(np.uint8)
    assert len(literals(data)) < 1.025 * entropy(data) + 140
    assert _filters.literals_size(data) == pytest.approx(len(literals(data)), rel=0.01)


def test_too_little_room_is_refused() -> None:
    data = np.zeros(100, np.uint8)
    with pytest.raises(ValueError, match="room"):
        _filters.literals(data, 0.9, np.empty(100, np.uint8))
    with pytest.raises(ValueError, match="sample"):
        _filters.literals_size(np.zeros((1 << 17) + 1, np.uint8))


@pytest.mark.parametrize("item", [1, 2, 4, 8, 24])
def test_a_chunk_is_what_hdf5_reads(item: int) -> None:
    """Planes of noise, of repeats, of one value, of everything; and a rest that is no whole item."""
    random = np.random.default_rng(item)
    planes = [
        random.normal(20, 4, 70_000),
        np.tile(random.integers(0, 256, 500), 140),
        np.zeros(70_000),
        random.integers(0, 256, 70_000),
        np.repeat(random.integers(0, 256, 700), 100),
    ]
    items = np.stack([planes[k % len(planes)] for k in range(item)], axis=1).astype(np.uint8)
    for data in (items.reshape(-1), np.r_[items.reshape(-1), np.arange(item - 1, dtype=np.uint8)]):
        packed = zlib.decompress(bytes(Compression("gzip", 1).packer(item).chunk(data)))
        whole = len(data) // item * item
        assert packed[whole:] == data[whole:].tobytes()
        assert (np.frombuffer(packed[:whole], np.uint8).reshape(item, -1).T == items).all()


@pytest.mark.parametrize("item", [1, 2, 3, 4, 8])
def test_an_array_in_pieces_of_a_file(item: int, tmp_path: Path) -> None:
    """What is compressed straight from a file is what stands there, and zeros where there is no object."""
    random = np.random.default_rng(item)
    data = random.normal(1000, 5, 400_000 * item).astype("<u2").view(np.uint8)
    path = tmp_path / "pieces"
    data.tofile(path)
    sizes = np.array([200_000, 0, 7, 99_993, 100_000]) * item
    places = np.array([5, 0, 400_000, -1, 2])
    behind = np.concatenate((data, np.zeros(sizes[3], np.uint8)))
    begins = np.where(places < 0, data.size, places)
    wanted = np.concatenate([behind[at:][:size] for at, size in zip(begins, sizes, strict=True)]).reshape(-1, item).T
    with open(path, "rb") as file:
        for source in (data, file.fileno()):
            array = _filters.Array(source, places, sizes, item)
            assert (array.shuffled() == wanted).all()
            assert (array.shuffled(199_990, 40) == wanted[:, 199_990:200_030]).all()
            packed = bytes(Compression("gzip", 1).packer(item).chunk_of(source, places, sizes))
            assert zlib.decompress(packed) == wanted.tobytes()  # the checksum too
        with pytest.raises(Unread) as unread:
            _filters.Array(file.fileno(), np.array([0, data.size - item]), np.array([item, 2 * item]), item).shuffled()
        assert unread.value.args == (data.size - item, 2 * item, 0)
    nowhere = file_that_is_closed()
    with pytest.raises(Unread):
        Compression("gzip", 1).packer(item).chunk_of(nowhere, np.zeros(1, np.int64), np.array([80_000 * item]))
    for places, sizes in (([data.size], [item]), ([0], [data.size + item]), ([0], [-item])):
        with pytest.raises(ValueError, match=r"outside|no number"):
            _filters.Array(data, np.array(places), np.array(sizes), item)


def file_that_is_closed() -> int:
    """A descriptor that nothing can be read from."""
    with tempfile.TemporaryFile("wb") as file:
        return file.fileno()


def test_a_plane_that_changes_its_looks() -> None:
    """What a sample told holds no longer than the samples look alike."""
    packer = Compression("gzip", 1).packer(2)
    random = np.random.default_rng(8)
    noise, flat = random.normal(500, 40, 100_000).astype("<u2"), np.zeros(100_000, "<u2")
    for rows, part in ((noise, 0.7), (flat, 0.01), (noise, 0.7), (noise, 0.7)):
        packed = bytes(packer.chunk(rows.view(np.uint8)))
        assert zlib.decompress(packed) == rows.view(np.uint8).reshape(-1, 2).T.tobytes()
        assert len(packed) < part * rows.nbytes


def test_a_sample_that_tells_little() -> None:
    """Codes made of a quarter of the bytes still stand for all, and a block never takes more than it is."""
    data = np.zeros(1 << 17, np.uint8)
    turns = np.arange(len(data)) // 256 % 4
    data[np.arange(len(data)) // 64 % 4 != turns] = 40  # what is counted is always zero
    data[::3] += np.random.default_rng(1).integers(0, 20, len(data[::3])).astype(np.uint8) * (data[::3] > 0)
    found = literals(data)
    assert inflated(found) == data.tobytes()
    assert len(found) <= len(data) + 16


def test_repeats_are_found_where_there_are_some() -> None:
    rows = np.tile(np.random.default_rng(3).integers(0, 256, 256), 1024).astype(np.uint8)
    assert len(Compression("gzip", 1).packer(1).chunk(rows)) < len(rows) / 50


def test_the_same_bytes_whatever_was_in_memory() -> None:
    """Planes of literals and stored ones: memory that is filled with anything, other work before, threads, files."""
    found = set()
    for filling in (0, 170):
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("packing.py"))],
            env={**os.environ, "MALLOC_PERTURB_": str(filling), "PYTHONMALLOC": "malloc"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        found.add(done.stdout)
    assert len(found) == 1
    assert len(found.pop().split()) == 24
