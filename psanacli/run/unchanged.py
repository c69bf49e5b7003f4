"""Whether the files of a run are still those that were opened.

The headers of a run are read when it is opened, its payloads later, perhaps for hours.  Both have to be of the same
files: a file that was replaced in between would give wrong values without any other sign.  A file may grow, as it does
while its run is being taken; what was there before has to stay.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
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


class FileState(NamedTuple):
    """What tells a file from another one of the same name, and from itself before somebody wrote to it."""

    bytes: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, file: Path | int) -> FileState:
        """Return the state of a file, by path or descriptor.

        Raises
        ------
        OSError
            It is not there, or cannot be looked at.
        """
        try:
            status = os.stat(file)
        except FileNotFoundError:
            if isinstance(file, int) or not file.name.endswith(IN_PROGRESS):
                raise
            status = os.stat(file.with_name(file.name.removesuffix(IN_PROGRESS)))  # its writer has finished
        return cls(status.st_size, status.st_mtime_ns, status.st_ino)

    def check(self, path: Path, now: FileState) -> None:
        """Raise `DataError` if the file `path` was in this state, and has become something else than longer."""
        if now.inode != self.inode:
            what = "another file has its name now"
        elif now.bytes < self.bytes:
            what = f"it had {self.bytes} bytes, and has {now.bytes} now"
        elif now.bytes == self.bytes and now.mtime_ns != self.mtime_ns:
            when = np.datetime64(now.mtime_ns, "ns").astype("M8[s]")
            what = f"somebody wrote to it at {when} UTC"
        else:
            return
        raise _replaced(path, what)


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


__all__ = ["HEADER_BYTES", "FileState", "check_headers", "samples", "states_of"]
