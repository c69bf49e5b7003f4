"""Chunks as workers make them: any zlib reads what our own deflate writes, and it is small where that is possible."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from psanacli.hdf5 import _filters
from psanacli.hdf5.compression import Compression


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


def test_codes_are_never_too_long() -> None:
    """Counts like the numbers of Fibonacci make the longest codes there are, 21 bits; ours have 12 at most."""
    counts = [1, 1]
    while len(counts) < 22:
        counts.append(counts[-1] + counts[-2])
    data = np.repeat(np.arange(22), counts).astype(np.uint8)
    assert inflated(literals(data)) == data.tobytes()
    assert len(literals(data)) < 1.06 * entropy(data) + 140


@pytest.mark.parametrize("sigma", [2, 10, 40])
def test_noise_gets_as_small_as_it_can(sigma: int) -> None:
    data = np.random.default_rng(1).normal(128, sigma, 1 << 17).astype(np.uint8)
    assert len(literals(data)) < 1.025 * entropy(data) + 140
    assert _filters.literals_size(data) == pytest.approx(len(literals(data)), abs=8)


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
        packed = zlib.decompress(bytes(Compression("gzip", 1).chunk(data, item)))
        whole = len(data) // item * item
        assert packed[whole:] == data[whole:].tobytes()
        assert (np.frombuffer(packed[:whole], np.uint8).reshape(item, -1).T == items).all()


def test_repeats_are_found_where_there_are_some() -> None:
    rows = np.tile(np.random.default_rng(3).integers(0, 256, 256), 1024).astype(np.uint8)
    assert len(Compression("gzip", 1).chunk(rows, 1)) < len(rows) / 50
