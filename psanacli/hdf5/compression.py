"""Filters of datasets, and chunks made in workers.

Shuffle and deflate are made here, outside of HDF5 and of its lock, so that workers do it at the same time: level 1 with
`isal` (Intel's library, several times faster than zlib) where there are repeats, and with Huffman codes alone where
there are none; the other levels with zlib.  What the filter plugins of hdf5plugin do is left to HDF5, when the chunk is
written.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from h5py import h5p, h5z
from numpy.typing import NDArray

from psanacli.errors import UsageError, did_you_mean
from psanacli.hdf5 import _filters

_fast: Any = zlib
try:
    from isal import isal_zlib

    _fast = isal_zlib
except ImportError:
    pass

NAMES = ("none", "gzip", "bitshuffle-lz4", "zstd")
_MEANT = "none, gzip, gzip:1 to gzip:9, bitshuffle-lz4, zstd, zstd:1 to zstd:19"
_ZLIB_HEAD = (0x78, 0x01)
_LAST_BLOCK = b"\x01\x00\x00\xff\xff"
_BIT = 1 << 17
_PLANE = 1 << 15
"""Bytes from which on a byte plane is looked at by itself."""
_SAMPLE = 1 << 15
_WORTH = 0.96
"""What does not become smaller than this is stored as it is."""
_FEWER = 0.95
"""A search for repeats has to make it smaller than this, compared with literals."""
_STORED = 0.0
_REPEATS = -1.0
"""Ways of planes in which no block is worth coding, or which are left to `isal`."""
_BITSHUFFLE = 32008
_ZSTD = 32015
_LIMITS = {"gzip": (1, 9), "zstd": (1, 19)}


@dataclass(frozen=True)
class Compression:
    """Filters of the datasets with event data.

    Attributes
    ----------
    name : str
        ``none``, ``gzip`` (shuffle and deflate), ``bitshuffle-lz4`` or ``zstd`` (shuffle and zstd).
    level : int
        Of gzip (1 to 9) and zstd (1 to 19).

    Examples
    --------
    >>> Compression.parse("gzip:6")
    Compression(name='gzip', level=6)
    """

    name: str = "gzip"
    level: int = 1

    @classmethod
    def parse(cls, text: str) -> Compression:
        """Return the compression ``NAME`` or ``NAME:LEVEL``.

        Raises
        ------
        UsageError
            The name is unknown, or the level out of range.
        """
        match = re.fullmatch(r"([a-z0-9-]+)(?::(\d{1,3}))?", text)
        if match is None or match[1] not in NAMES:
            raise UsageError(f"{text!r} is no compression", did_you_mean(text, NAMES, f"known: {_MEANT}"))
        limits = _LIMITS.get(match[1])
        if match[2] is None:
            return cls(match[1], 3 if match[1] == "zstd" else 1)
        if limits is None or not limits[0] <= int(match[2]) <= limits[1]:
            raise UsageError(f"{text!r} has a level that does not exist", f"known: {_MEANT}")
        return cls(match[1], int(match[2]))

    def __str__(self) -> str:
        return f"{self.name}:{self.level}" if self.name in _LIMITS else self.name

    @property
    def outside(self) -> bool:
        """Whether workers make the chunks as they stand in the file."""
        return self.name in ("none", "gzip")

    def check(self) -> None:
        """Raise UsageError if this machine cannot make the filter."""
        needed = {"bitshuffle-lz4": _BITSHUFFLE, "zstd": _ZSTD}.get(self.name)
        if needed is None:
            return
        try:
            import hdf5plugin  # noqa: F401  (registers its filters)
        except ImportError:
            pass
        if not h5z.filter_avail(needed):
            raise UsageError(f"{self.name} needs the HDF5 filter {needed}", "pip install 'psanacli[compress]'")

    def apply(self, creation: h5p.PropDCID) -> None:
        """Add the filters to the creation properties of a chunked dataset."""
        if self.name in ("gzip", "zstd"):
            creation.set_shuffle()
        if self.name == "gzip":
            creation.set_deflate(self.level)
        elif self.name == "zstd":
            creation.set_filter(_ZSTD, h5z.FLAG_MANDATORY, (self.level,))
        elif self.name == "bitshuffle-lz4":
            creation.set_filter(_BITSHUFFLE, h5z.FLAG_MANDATORY, (0, 2))

    def packer(self, item: int) -> Packer:
        """Return what makes the chunks of a dataset, with the size of an element as the shuffle filter counts it."""
        return Packer(self, item if self.name == "gzip" else 1)

    def planes(self, size: int, item: int) -> bool:
        """Whether chunks of so many bytes are deflated plane by plane, and may stand anywhere until then."""
        return self.name == "gzip" and self.level == 1 and size // item >= _PLANE and not size % item


def _deflate(data: NDArray[np.uint8], level: int) -> bytes:
    """Return a zlib stream, made bit by bit: the higher levels take seconds for an image, and Ctrl-C has to wait."""
    if level == 1:
        compressed: bytes = _fast.compress(data, 1)
        return compressed
    stream = zlib.compressobj(level)
    parts = [stream.compress(data[start : start + _BIT]) for start in range(0, len(data), _BIT)]
    return b"".join([*parts, stream.flush()])


class Packer:
    """Makes the chunks of a dataset as they stand in the file, one after the other.

    After shuffling, an image consists of its low bytes, then its high bytes. Both are mostly noise, in which a search
    for repeats takes four fifths of the time and makes the result larger; other planes are a few values over and
    over. So a zlib stream is made of byte planes, each written in the way that suits it. A sample of each tells, and
    holds for the chunks that follow as long as their samples look alike.

    Parameters
    ----------
    compression : Compression
    item : int
        Size of an element in bytes.
    """

    def __init__(self, compression: Compression, item: int) -> None:
        self.compression = compression
        self.item = item
        self._looks = [-1] * item
        """Of each plane the size of its sample as literals when its way was found."""
        self._ways = np.zeros(item)
        """As `_filters.Array.deflated` wants them."""

    def chunk(self, data: NDArray[np.uint8]) -> Any:
        """Return the chunk that is so in memory, shape (chunk bytes,)."""
        if self.compression.name != "gzip":
            return data
        if self.compression.planes(len(data), self.item):
            return self.chunk_of(data, np.zeros(1, np.int64), np.array([len(data)]))
        shuffled = np.empty_like(data)
        _filters.shuffle(data, self.item, shuffled)
        return _deflate(shuffled, self.compression.level)

    def chunk_of(self, data: NDArray[np.uint8] | int, places: NDArray[np.int64], sizes: NDArray[np.int64]) -> Any:
        """Return the same for a chunk that consists of pieces.

        Parameters
        ----------
        data : uint8 array or int
            Where the pieces are; the descriptor of an open file if they are in that.
        places, sizes : int64 arrays, shape (n,)
            In bytes; pieces at a negative place are zeros.

        Raises
        ------
        psanacli.run.Unread
            A piece of the file cannot be read.
        """
        array = _filters.Array(data, places, sizes, self.item)
        if self.compression.planes(array.size, self.item):
            return self._planes(array)
        shuffled = array.shuffled().reshape(-1)
        return _deflate(shuffled, self.compression.level) if self.compression.name == "gzip" else shuffled

    def _planes(self, array: _filters.Array) -> NDArray[np.uint8]:
        """Return a zlib stream of byte planes, each in its way."""
        plane = array.size // self.item
        self._look(array.shuffled(plane // 2, min(_SAMPLE, max(plane // 8, 1))))
        room = _filters.literals_room(plane)
        out = np.empty(len(_ZLIB_HEAD) + self.item * room, np.uint8)
        extents, sums = array.deflated(self._ways, out[len(_ZLIB_HEAD) :])
        out[: len(_ZLIB_HEAD)] = _ZLIB_HEAD
        done = len(_ZLIB_HEAD)
        for number, extent in enumerate(extents):
            part = out[len(_ZLIB_HEAD) + number * room :][:extent]
            if self._ways[number] == _REPEATS:
                part = _with_repeats(part)
            if number or self._ways[number] == _REPEATS:
                out[done : done + len(part)] = part
            done += len(part)
        tail = _LAST_BLOCK + struct.pack(">I", sums)
        out[done : done + len(tail)] = np.frombuffer(tail, np.uint8)
        del part
        out.resize(done + len(tail), refcheck=False)  # the rest of its memory is given back
        return out

    def _look(self, samples: NDArray[np.uint8]) -> None:
        """Find the way of each plane whose sample is not as it was."""
        for number, sample in enumerate(samples):
            size = _filters.literals_size(sample)
            if abs(size - self._looks[number]) > size >> 3:
                self._looks[number] = size
                if len(_fast.compress(sample, 1)) < min(_FEWER * size, _WORTH * len(sample)):
                    self._ways[number] = _REPEATS
                else:
                    self._ways[number] = _WORTH if size < _WORTH * len(sample) else _STORED


def _with_repeats(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return blocks of a raw deflate stream, made with a search for repeats, or as literals if that is no use."""
    stream = _fast.compressobj(1, zlib.DEFLATED, -15)
    packed = stream.compress(plane) + stream.flush(zlib.Z_SYNC_FLUSH)
    if len(packed) < len(plane):
        return np.frombuffer(packed, np.uint8)
    out = np.empty(_filters.literals_room(len(plane)), np.uint8)
    return out[: _filters.literals(plane, _WORTH, out)]
