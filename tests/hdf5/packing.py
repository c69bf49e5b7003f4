"""Packs the same arrays in many ways, and prints a checksum of the compressed bytes of each.

By one thread, then backwards, then by three at a time, with other work in between that leaves something behind in
memory.  Planes that are left to `isal` are compared by content.
"""

from __future__ import annotations

import hashlib
import tempfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

import numpy as np

from psanacli.hdf5 import _filters
from psanacli.hdf5.compression import _REPEATS, Compression

SIZE = 40_001


def arrays() -> Iterator[tuple[int, np.ndarray]]:
    """Give the size of an item and an array of bytes: noise, repeats, few values, what changes its looks, odd ends."""
    random = np.random.default_rng(11)
    for item in (1, 2, 4):
        noise = random.normal(1000, 5, (SIZE, item)).astype("<u2").view(np.uint8)[:, ::2]
        repeats = np.tile(random.integers(0, 256, (500, item), np.uint8), (SIZE // 500 + 1, 1))
        few = random.geometric(0.4, (SIZE, item)).clip(0, 255).astype(np.uint8)
        runs = np.repeat(random.integers(0, 256, (SIZE // 90 + 1, item), np.uint8), 90, axis=0)
        mixed = np.concatenate([noise[: SIZE // 2], repeats[: SIZE // 3], runs[: SIZE // 2]])
        even = random.integers(0, 256, (SIZE, item), np.uint8)
        for each in (noise, repeats, few, runs, mixed, even, mixed[:-7], np.zeros((SIZE, item), np.uint8)):
            yield item, np.ascontiguousarray(each).reshape(-1)


def packed(item: int, data: np.ndarray, file: BinaryIO, place: int) -> str:
    """Return the checksum of an array that is packed from memory, in a new place each time, and from a file."""
    packer = Compression("gzip", 1).packer(item)
    found = bytes(packer.chunk(data.copy()))
    again = bytes(packer.chunk_of(file.fileno(), np.array([place]), np.array([len(data)])))
    planes = data.reshape(-1, item).T
    for each in (found, again):
        assert zlib.decompress(each) == planes.tobytes()
    if _REPEATS not in packer._ways:
        assert again == found, "a file gives other bytes than memory"
        return hashlib.sha256(found).hexdigest()
    digest = hashlib.sha256()
    for plane in planes:
        out = np.empty(_filters.literals_room(len(plane)), np.uint8)
        digest.update(out[: _filters.literals(np.ascontiguousarray(plane), 0.96, out)])
    return digest.hexdigest()


def other_work(turn: int) -> None:
    """Leave something behind in memory."""
    rows = np.full(1 << (12 + turn % 8), turn * 37 % 256, np.uint8)
    Compression("gzip", 1 + turn % 3).packer(1 + turn % 4).chunk(rows)


def main() -> None:
    """Print a checksum for each array, which has to be the same however it is made."""
    todo = list(arrays())
    places = np.cumsum([0, *(len(data) for _, data in todo)]).tolist()
    with tempfile.TemporaryFile() as file, ThreadPoolExecutor(3) as pool:
        for _, data in todo:
            file.write(data.tobytes())
        file.flush()

        def work(number: int) -> str:
            other_work(number)
            return packed(*todo[number], file, places[number])

        numbers = range(len(todo))
        first = [work(number) for number in numbers]
        assert [work(number) for number in reversed(numbers)] == first[::-1], "backwards"
        assert list(pool.map(work, numbers)) == first, "by three threads"
    print(*first)


if __name__ == "__main__":
    main()
