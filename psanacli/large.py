"""Arrays that may be as long as a run: small ones in memory, large ones in a temporary file that has no name.

What lies in such a file does not count as memory of the process where memory is short: the system writes it out, and
reads it again when it is needed.  The file is gone when the array is.  It is in ``TMPDIR``, else in ``/var/tmp``, which
is on a disk where ``/tmp`` may be in memory.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

LARGE = 1 << 25
"""Arrays of so many bytes are kept in a file."""
LONG = 1 << 23
"""The same for rows that come in pieces: there may be as many such arrays as a run has files."""
MANY = 1 << 20
"""The same for columns of a table that has many of them."""


def empty(count: int, dtype: DTypeLike, *, large: int = LARGE) -> NDArray[Any]:
    """Return an array to be filled; in a file if it has `large` bytes or more and there is room on the disk."""
    kind = np.dtype(dtype)
    size = count * kind.itemsize
    if size < max(large, 1):
        return np.empty(count, kind)
    try:
        with _file() as file:
            os.posix_fallocate(file.fileno(), 0, size)  # a disk that gets full under a map would kill the process
            return _mapped(file, kind, count)
    except OSError:
        return np.empty(count, kind)


class Rows:
    """An array of which nobody knows the length before it is there.

    Parameters
    ----------
    dtype : dtype
        Of the rows.
    large : int
        From so many bytes on they are in a file.
    """

    def __init__(self, dtype: DTypeLike, *, large: int = LONG) -> None:
        self.dtype = np.dtype(dtype)
        self._large = large
        self._pieces: list[NDArray[Any]] = []
        self._file: IO[bytes] | None = None
        self._count = self._filed = 0

    def add(self, piece: NDArray[Any]) -> None:
        """Put rows behind those that are there; the array belongs to the rows from then on."""
        if not len(piece) and self._count:
            return
        self._pieces.append(piece)
        self._count += len(piece)
        if self._file is not None or self._count * self.dtype.itemsize >= self._large:
            self._write()

    def _write(self) -> None:
        """Move all pieces to the file; where that is not possible, they stay where they are."""
        try:
            if self._file is None:
                self._file = _file()
            while self._pieces:
                at = self._filed * self.dtype.itemsize
                left = memoryview(_bytes_of(self._pieces[0]))
                while left:
                    done = os.pwrite(self._file.fileno(), left, at)
                    at, left = at + done, left[done:]
                self._filed += len(self._pieces.pop(0))
        except OSError:
            self._large = 1 << 62
            if self._file is not None:
                with self._file as file:
                    self._pieces.insert(0, np.fromfile(file, self.dtype, self._filed))
            self._file, self._filed = None, 0

    def array(self) -> NDArray[Any]:
        """Return all rows."""
        if self._file is not None:
            with self._file as file:
                return _mapped(file, self.dtype, self._count)
        if len(self._pieces) == 1:
            return self._pieces[0]
        # As bytes, which is much faster than field by field, and copies what lies between fields.
        parts = [_bytes_of(piece) for piece in self._pieces]
        return np.concatenate(parts).view(self.dtype) if parts else np.empty(0, self.dtype)


def _bytes_of(array: NDArray[Any]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(array).view(np.uint8).reshape(-1)


def _file() -> IO[bytes]:
    directory = os.environ.get("TMPDIR") or ("/var/tmp" if os.access("/var/tmp", os.W_OK) else None)
    return tempfile.TemporaryFile(prefix="psanacli-", dir=directory, buffering=0)


def _mapped(file: IO[bytes], dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    return np.frombuffer(mmap.mmap(file.fileno(), count * dtype.itemsize), dtype, count)


__all__ = ["LARGE", "LONG", "MANY", "Rows", "empty"]
