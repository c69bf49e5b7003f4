"""Whether the files of a run are still those that were opened.

The headers of a run are read when it is opened, its payloads later, perhaps for hours.  Both have to be of the same
files: a file that was replaced in between would give wrong values without any other sign.  A file may grow, as it does
while its run is being taken; what was there before has to stay.

A file may also get another time without another content: by `touch`, or by a program that copies times behind the
files.  No system tells that from writing.  What does is whether the file was at rest when it was opened.  If nobody had
written to it for an hour, nobody is about to fill it, and it is the same when its ends and some of its headers are.
A file that was written to within that hour may be one that is still being copied, whose holes look like zeros in
payloads, however right its headers are: there another time is an error.
"""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError
from psanacli.run.files import IN_PROGRESS

HEADER_BYTES = 40
_SAMPLES = 64
_HEADER = {
    **{name: word for word, name in enumerate(("nanoseconds", "seconds", "stamp_low", "stamp_high", "env", "damage"))},
    "extent": 9,
}
"""Which words of the header of a datagram the table of headers has."""


REST = 3600 * 10**9
"""Nanoseconds after which a file that nobody wrote to is at rest."""
_END_BYTES = 4096


class FileState(NamedTuple):
    """What tells a file from another one of the same name, and from itself before somebody wrote to it.

    `ends` is a checksum of its first and last bytes if it was at rest, else None.
    """

    bytes: int
    mtime_ns: int
    inode: int
    ends: int | None = None

    @classmethod
    def of(cls, file: Path | int) -> FileState:
        """Return the state of a file, by path or descriptor.

        Raises
        ------
        OSError
            It is not there, or cannot be looked at.
        """
        if not isinstance(file, int):
            with open(_named(file), "rb") as opened:
                return cls.of(opened.fileno())
        status = os.fstat(file)
        rested = time.time_ns() - status.st_mtime_ns > REST
        ends = _ends(file, status.st_size) if rested else None
        return cls(status.st_size, status.st_mtime_ns, status.st_ino, ends)

    def check(self, path: Path, descriptor: int = -1) -> bool:
        """Raise `DataError` if the file was in this state, and has become something else than longer.

        Parameters
        ----------
        path : Path
            Of the file.
        descriptor : int
            Of the same, if it is open.

        Returns
        -------
        bool
            Whether it is as it was.  If not, its headers are to be looked at: it is longer, or has another time.

        Raises
        ------
        OSError
            It is not there, or cannot be looked at.
        """
        if descriptor < 0:
            with open(_named(path), "rb") as file:
                return self.check(path, file.fileno())
        now = os.fstat(descriptor)
        if now.st_ino != self.inode:
            raise _replaced(path, "another file has its name now")
        if now.st_size < self.bytes:
            raise _replaced(path, f"it had {self.bytes} bytes, and has {now.st_size} now")
        if now.st_size > self.bytes:
            return False
        if now.st_mtime_ns == self.mtime_ns:
            return True
        if self.ends is None or _ends(descriptor, self.bytes) != self.ends:
            when = np.datetime64(now.st_mtime_ns, "ns").astype("M8[s]")
            raise _replaced(path, f"somebody wrote to it at {when} UTC")
        return False


def _named(path: Path) -> Path:
    """Return the name that a file has: its writer may have finished, and given it its final one."""
    if path.name.endswith(IN_PROGRESS) and not path.exists():
        return path.with_name(path.name.removesuffix(IN_PROGRESS))
    return path


def _ends(descriptor: int, size: int) -> int:
    first = os.pread(descriptor, min(_END_BYTES, size), 0)
    return zlib.crc32(os.pread(descriptor, _END_BYTES, max(0, size - _END_BYTES)), zlib.crc32(first))


def witness(path: Path) -> Callable[[], None]:
    """Return what raises `DataError` if a file is not any more what it is now; see `FileState.check`."""
    known = states_of([path])

    def check() -> None:
        for state in known.values():
            state.check(path)

    return check


def _replaced(path: Path, what: str) -> DataError:
    return DataError(f"{path} changed while it was read: {what}", "begin again when it stays as it is")


def states_of(paths: Iterable[Path]) -> dict[Path, FileState]:
    """Return the states of files; what is not there is left out."""
    found = {}
    for path in paths:
        try:
            found[path] = FileState.of(path)
        except OSError:
            continue  # who reads it has an error to tell
    return found


def samples(rows: NDArray[Any]) -> NDArray[Any]:
    """Return some rows of the datagram table of a file, with the first and the last."""
    numbers = np.linspace(0, len(rows) - 1, min(_SAMPLES, len(rows))).astype(int)
    some: NDArray[Any] = rows[numbers]
    return some


def check_headers(path: Path, rows: NDArray[Any], headers: NDArray[np.uint8]) -> None:
    """Raise `DataError` if headers, shape (n, HEADER_BYTES), are not those of rows of the datagram table."""
    words = headers.view("<u4")
    for name, place in _HEADER.items():
        differ = np.flatnonzero(words[:, place] != rows[name])
        if len(differ):
            raise _replaced(path, f"the datagram at offset {rows['offset'][differ[0]]} is another one")


__all__ = ["HEADER_BYTES", "FileState", "check_headers", "samples", "states_of", "witness"]
