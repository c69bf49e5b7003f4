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
_REPEATS = 0.95
"""A search for repeats has to make it smaller than this, compared with literals."""
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

    def chunk(self, data: NDArray[np.uint8], item: int) -> Any:
        """Return one whole chunk as it stands in the file.

        Parameters
        ----------
        data : uint8, shape (chunk bytes,)
            The chunk as in memory.
        item : int
            Size of an element as the shuffle filter counts it, in bytes.
        """
        if self.name != "gzip":
            return data
        shuffled = np.empty_like(data)
        _filters.shuffle(data, item, shuffled)
        return self._deflated(shuffled, item)

    def chunk_of(self, data: NDArray[np.uint8], places: NDArray[np.int64], sizes: NDArray[np.int64], item: int) -> Any:
        """Return the same for a chunk that consists of pieces of `data`; those at a negative place are zeros."""
        out = np.empty(int(sizes.sum()), np.uint8)
        _filters.shuffle_pieces(data, places, sizes, item if self.name == "gzip" else 1, out)
        return self._deflated(out, item) if self.name == "gzip" else out

    def _deflated(self, shuffled: NDArray[np.uint8], item: int) -> Any:
        plane = len(shuffled) // item
        if self.level == 1 and plane >= _PLANE:
            return _deflate_planes(shuffled, plane)
        return _deflate(shuffled, self.level)


def _deflate(data: NDArray[np.uint8], level: int) -> bytes:
    """Return a zlib stream, made bit by bit: the higher levels take seconds for an image, and Ctrl-C has to wait."""
    if level == 1:
        compressed: bytes = _fast.compress(data, 1)
        return compressed
    stream = zlib.compressobj(level)
    parts = [stream.compress(data[start : start + _BIT]) for start in range(0, len(data), _BIT)]
    return b"".join([*parts, stream.flush()])


def _deflate_planes(data: NDArray[np.uint8], plane: int) -> NDArray[np.uint8]:
    """Return a zlib stream of byte planes, each written in the way that suits it.

    After shuffling, an image consists of its low bytes, then its high bytes. Both are mostly noise, in which a search
    for repeats takes four fifths of the time and makes the result larger; other planes are a few values over and
    over. A sample of each plane tells.
    """
    size = len(data)
    out = np.empty(_filters.literals_room(size) + (size // plane << 6), np.uint8)
    out[:2] = _ZLIB_HEAD
    done = 2
    for start in range(0, size, plane):
        part = data[start : start + plane]
        middle = len(part) // 2
        sample = part[middle : middle + min(_SAMPLE, max(len(part) // 8, 1))]
        alone = _filters.literals_size(sample)
        if len(_fast.compress(sample, 1)) < min(_REPEATS * alone, _WORTH * len(sample)):
            stream = _fast.compressobj(1, zlib.DEFLATED, -15)
            packed = stream.compress(part) + stream.flush(zlib.Z_SYNC_FLUSH)
            if len(packed) < len(part):
                out[done : done + len(packed)] = np.frombuffer(packed, np.uint8)
                done += len(packed)
                continue
        done += _filters.literals(part, _WORTH if alone < _WORTH * len(sample) else 0.0, out[done:])
    tail = _LAST_BLOCK + struct.pack(">I", _fast.adler32(data))
    out[done : done + len(tail)] = np.frombuffer(tail, np.uint8)
    out.resize(done + len(tail), refcheck=False)  # the rest of its memory is given back
    return out
