"""The file of a run index: named arrays and a description, each with a checksum.

Header of 64 bytes, all numbers little-endian::

    offset  0   8 bytes  "PSANAIDX"
            8   u4       version of the format
           12   u4       length of the description in bytes
           16   u8       length of the file in bytes
           24   u4       CRC-32 of the description
           28   u4       CRC-32 of bytes 0 to 27
           32  32 bytes  zero

Then the description (JSON, UTF-8), then the arrays, each at a multiple of 64 bytes and as it is in memory.  What is
between them is zero.  The description says under ``arrays`` of each its name, dtype, number of rows, offset and CRC-32;
under ``about`` what the writer wanted.

A file is written whole under another name, synced, and renamed.  A reader takes all of it or nothing: whatever does
not match is an `IndexFault`.  Arrays from `MAPPED` bytes on are mapped read-only, so that they take memory only where
they are looked at; smaller ones are read.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import struct
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import OutputError, PsanaError
from psanacli.whole import whole_file

try:  # the same checksum, several times faster
    from isal import isal_zlib

    _crc: Callable[..., int] = isal_zlib.crc32
except ImportError:
    _crc = zlib.crc32

MAGIC = b"PSANAIDX"
VERSION = 1
MAPPED = 1 << 24
"""Arrays of so many bytes are mapped instead of read."""
_ALIGN = 64
_HEADER = struct.Struct("<8sIIQII32x")
_PIECE = 1 << 20
_LEFT = 3600.0
_MOST_ABOUT = 1 << 28


class IndexFault(PsanaError):
    """A file is no index, or one that cannot be trusted; `message` says why."""


@dataclass(frozen=True, eq=False)
class IndexFile:
    """What is in an index file.

    Attributes
    ----------
    about : dict
        The description.
    arrays : dict of str to ndarray
        Read-only.
    size : int
        Bytes of the file.
    modified : int
        When it was written, ns since 1970.
    """

    about: dict[str, Any]
    arrays: dict[str, NDArray[Any]]
    size: int
    modified: int


def checksum(data: Any, value: int = 0) -> int:
    """Return the CRC-32 of bytes, as in zip files."""
    return _crc(data, value)


def read(path: Path, *, mapped: int = MAPPED) -> IndexFile:
    """Read an index file, and check every byte of it.

    Parameters
    ----------
    path : Path
        The file.
    mapped : int
        Arrays of at least so many bytes are mapped.

    Raises
    ------
    FileNotFoundError
        There is none.
    IndexFault
        It cannot be read, or something in it does not match.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            return _read(file, mapped)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise IndexFault(f"it cannot be read: {error.strerror}") from error


def _read(file: Any, mapped: int) -> IndexFile:
    status = os.fstat(file.fileno())
    head = _exactly(file.fileno(), 0, _HEADER.size)
    magic, version, length, size, about_sum, head_sum = _HEADER.unpack(head)
    if magic != MAGIC:
        raise IndexFault("it is no index of a run")
    if head_sum != checksum(head[:28]) or head[32:] != bytes(32):
        raise IndexFault("its header is damaged")
    if version != VERSION:
        raise IndexFault(f"it has version {version}, this program reads version {VERSION}")
    if size != status.st_size:
        raise IndexFault(f"it is {status.st_size} bytes long, {size} were written")
    if length > min(_MOST_ABOUT, size - _HEADER.size):
        raise IndexFault("its description is longer than the file")
    text = _exactly(file.fileno(), _HEADER.size, length)
    if checksum(text) != about_sum:
        raise IndexFault("its description is damaged")
    arrays: dict[str, NDArray[Any]] = {}
    try:
        described = json.loads(text)
        end = _HEADER.size + length
        for name, kind, rows, offset, crc in described["arrays"]:
            dtype = np.dtype(kind if isinstance(kind, str) else _as_dtype(kind))
            _must_be_zero(file.fileno(), end, offset)
            end = offset + rows * dtype.itemsize
            if rows < 0 or end > size:
                raise IndexFault("its tables are longer than the file")
            arrays[name] = _array(file, dtype, rows, offset, crc, mapped, name)
        _must_be_zero(file.fileno(), end, size)
        return IndexFile(described["about"], arrays, size, status.st_mtime_ns)
    except (ValueError, KeyError, TypeError) as error:
        raise IndexFault(f"its description makes no sense: {error}") from error


def _exactly(descriptor: int, offset: int, size: int) -> bytes:
    data = os.pread(descriptor, size, offset)
    if len(data) != size:
        raise IndexFault("it is cut off")
    return data


def _must_be_zero(descriptor: int, begin: int, end: int) -> None:
    """Check what lies between two arrays."""
    if not 0 <= end - begin < _ALIGN or _exactly(descriptor, begin, end - begin).strip(b"\0"):
        raise IndexFault("there is something between its tables")


def _array(file: Any, dtype: np.dtype[Any], rows: int, offset: int, crc: int, mapped: int, name: str) -> NDArray[Any]:
    size = rows * dtype.itemsize
    if size >= mapped and size:
        found = 0
        for begin in range(0, size, _PIECE):  # through a small window: the pages of a map would all stay in memory
            found = checksum(_exactly(file.fileno(), offset + begin, min(_PIECE, size - begin)), found)
        start = offset % mmap.ALLOCATIONGRANULARITY
        view = mmap.mmap(file.fileno(), size + start, offset=offset - start, access=mmap.ACCESS_READ)
        array = np.frombuffer(view, dtype, rows, start)
    else:
        array = np.empty(rows, dtype)
        into = array.view(np.uint8).reshape(-1)
        if os.preadv(file.fileno(), [memoryview(into)], offset) != size:
            raise IndexFault("it is cut off")
        found = checksum(into)
        array.flags.writeable = False
    if found != crc:
        raise IndexFault(f"its table {name} is damaged")
    return array


def write(path: Path, about: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> int:
    """Write an index file in the place of an older one; return its size in bytes.

    Raises
    ------
    OutputError
        It cannot be written; nothing has changed then.
    """
    listed = []
    for name, array in arrays.items():
        listed.append([name, _described(array.dtype), len(array), 0, checksum(_bytes_of(array))])
    # The description says where the arrays are, and they begin behind it: its length is found first.
    length = len(_text(about, listed)) + 20 * len(listed)
    at = _HEADER.size + length
    for entry, array in zip(listed, arrays.values(), strict=True):
        at += -at % _ALIGN
        entry[3] = at
        at += array.nbytes
    text = _text(about, listed).ljust(length)
    head = _HEADER.pack(MAGIC, VERSION, length, at, checksum(text), 0)
    head = _HEADER.pack(MAGIC, VERSION, length, at, checksum(text), checksum(head[:28]))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error
    with whole_file(path) as file:
        file.write(head + text)
        for entry, array in zip(listed, arrays.values(), strict=True):
            file.write(bytes(entry[3] - file.tell()))
            file.write(_bytes_of(array))
    return at


def _text(about: Mapping[str, Any], listed: list[list[Any]]) -> bytes:
    return json.dumps({"about": about, "arrays": listed}, separators=(",", ":")).encode()


def _bytes_of(array: NDArray[Any]) -> memoryview:
    return memoryview(np.ascontiguousarray(array).view(np.uint8).reshape(-1))


def _described(dtype: np.dtype[Any]) -> Any:
    if dtype.names is None:
        return dtype.str
    fields = [(name, *dtype.fields[name]) for name in dtype.names] if dtype.fields else []
    return {"size": dtype.itemsize, "fields": [[name, kind.str, offset] for name, kind, offset, *_ in fields]}


def _as_dtype(described: dict[str, Any]) -> np.dtype[Any]:
    names, formats, offsets = zip(*described["fields"], strict=True)
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": described["size"]})


def _sweep(path: Path) -> None:
    """Remove what writers of the same file have left that were killed: nobody has written to it for an hour."""
    for left in path.parent.iterdir():
        if left.name.startswith(f".{path.name}."):
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > _LEFT:
                    left.unlink()


__all__ = ["MAPPED", "VERSION", "IndexFault", "IndexFile", "checksum", "read", "write"]
