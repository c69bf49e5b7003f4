"""Filters of datasets, and chunks made in workers.

Shuffle and deflate are made here, outside of HDF5 and of its lock, so that workers do it at the same time, with
`isal` (Intel's library, several times faster than zlib) for level 1 and zlib for the others.  What the filter plugins
of hdf5plugin do is left to HDF5, when the chunk is written.
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
_ZLIB_HEAD = b"\x78\x01"
_STORED = 0xFFFF
_BIT = 1 << 17
_LARGE = 1 << 18
_SAMPLE = 1 << 15
_WORTH = 0.96
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
        plane = len(data) // item
        if self.level == 1 and item > 1 and plane >= _LARGE:
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


def _deflate_planes(data: NDArray[np.uint8], plane: int) -> bytes:
    """Return a zlib stream in which those byte planes that are mere noise are stored as they are.

    After shuffling, an image consists of its low bytes, then its high bytes. The low ones often cannot be compressed,
    and trying takes as long as what is worth it. A sample of each plane tells.
    """
    parts: list[Any] = [_ZLIB_HEAD]
    for start in range(0, len(data), plane):
        part = data[start : start + plane]
        middle = len(part) // 2
        sample = part[middle : middle + _SAMPLE]
        if len(_fast.compress(sample, 1)) < _WORTH * len(sample):
            stream = _fast.compressobj(1, zlib.DEFLATED, -15)
            parts += [stream.compress(part), stream.flush(zlib.Z_SYNC_FLUSH)]
        else:
            for at in range(0, len(part), _STORED):
                piece = part[at : at + _STORED]
                parts += [struct.pack("<BHH", 0, len(piece), 0xFFFF - len(piece)), piece]
    parts += [b"\x01\x00\x00\xff\xff", struct.pack(">I", _fast.adler32(data))]
    return b"".join(parts)
