"""A cache of arrays that were read from text: so that the second reading costs no more than reading their bytes.

An entry is believed only when everything about it agrees: path, size, times and inode of the text file, checksums of
its first and last bytes, and a checksum of the array.  Anything else, and anything that goes wrong, is as if there were
no entry.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

SMALLEST = 1 << 18
"""Text files below this size (bytes) are read anew: that takes a few ms."""
MOST_BYTES = 4 << 30
"""What the entries may take together; the oldest go first."""

_MAGIC = b"psana constants 1\n"
_HEAD = struct.Struct("<QI")  # length and checksum of the description
_SAMPLE = 1 << 16
_SETTLED = 2.0  # seconds: a file that is younger may change again within one tick of its clock


class Entry:
    """What is stored of a text file: its array, and a description of it."""

    def __init__(self, values: NDArray[Any], about: dict[str, Any]) -> None:
        self.values = values
        self.about = about


def directory() -> Path:
    """Return where the entries are: ``psanacli/constants`` in the cache directory of the user (XDG)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if os.path.isabs(base) else Path(os.path.expanduser("~/.cache"))
    return root / "psanacli" / "constants"


class Key:
    """Names an entry: a text file as it is now, and how it is read."""

    def __init__(self, path: Path, file: int, how: str) -> None:
        status = os.fstat(file)
        self.size = status.st_size
        self._changed = max(status.st_mtime, status.st_ctime)
        self._identity: dict[str, Any] = {
            "path": os.path.realpath(path),
            "how": how,
            "size": status.st_size,
            "mtime": status.st_mtime_ns,
            "ctime": status.st_ctime_ns,
            "inode": status.st_ino,
        }
        if self.size >= SMALLEST:
            head, tail = os.pread(file, _SAMPLE, 0), os.pread(file, _SAMPLE, self.size - _SAMPLE)
            self._identity["sample"] = [isal_zlib.crc32(head), isal_zlib.crc32(tail)]

    @property
    def useful(self) -> bool:
        """Whether an entry saves time."""
        return self.size >= SMALLEST

    @property
    def settled(self) -> bool:
        """Whether the file is old enough that a further change would show in its times."""
        return time.time() - self._changed > _SETTLED

    @property
    def path(self) -> Path:
        """The file of the entry."""
        name = f"{self._identity['path']}\n{self._identity['how']}"
        return directory() / f"{hashlib.sha256(os.fsencode(name)).hexdigest()[:40]}.array"

    def same_as(self, other: Key) -> bool:
        """Tell whether the file was the same, unchanged, when the other was made."""
        return self._identity == other._identity

    def load(self) -> Entry | None:
        """Return the entry, None when there is none that can be believed."""
        try:
            with open(self.path, "rb", buffering=0) as file:
                return self._read(file.fileno())
        except (OSError, ValueError, KeyError, TypeError, MemoryError):
            return None

    def _read(self, file: int) -> Entry | None:
        size = os.fstat(file).st_size
        fixed = os.pread(file, len(_MAGIC) + _HEAD.size, 0)
        if len(fixed) != len(_MAGIC) + _HEAD.size or not fixed.startswith(_MAGIC):
            return None
        length, checksum = _HEAD.unpack(fixed[len(_MAGIC) :])
        if length > size:
            return None
        described = os.pread(file, length, len(fixed))
        if len(described) != length or isal_zlib.crc32(described) != checksum:
            return None
        found = json.loads(described)
        if found["identity"] != self._identity:
            return None
        values = np.empty([int(axis) for axis in found["shape"]], np.dtype(str(found["dtype"])))
        start = len(fixed) + length
        if values.dtype.kind not in "iuf" or size != start + values.nbytes:
            return None
        flat = values.reshape(-1).view(np.uint8)
        if os.preadv(file, [flat], start) != values.nbytes or isal_zlib.crc32(flat) != found["checksum"]:
            return None
        return Entry(values, found["about"])

    def save(self, entry: Entry) -> None:
        """Store an entry, if it can be done; nobody waits for a disk."""
        values = np.ascontiguousarray(entry.values)
        flat = values.reshape(-1).view(np.uint8)
        found = {
            "identity": self._identity,
            "shape": values.shape,
            "dtype": values.dtype.str,
            "checksum": isal_zlib.crc32(flat),
            "about": entry.about,
        }
        described = json.dumps(found).encode()
        part = ""
        with suppress(OSError):
            try:
                place = self.path
                place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                number, part = tempfile.mkstemp(prefix=".", suffix=".part", dir=place.parent)
                with open(number, "wb") as file:
                    file.write(_MAGIC + _HEAD.pack(len(described), isal_zlib.crc32(described)) + described)
                    file.write(flat)
                os.replace(part, place)
                part = ""
            finally:
                if part:
                    os.unlink(part)
            _limit(place.parent)


def _limit(place: Path) -> None:
    """Remove the oldest entries when all together take too much, and what was left unfinished."""
    entries = sorted(_files(place), reverse=True)
    total = 0
    for changed, size, path in entries:
        total += size
        if total > MOST_BYTES or (path.endswith(".part") and time.time() - changed > 3600):
            with suppress(OSError):
                os.unlink(path)


def _files(place: Path) -> Iterator[tuple[float, int, str]]:
    with os.scandir(place) as found:
        for entry in found:
            with suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                yield status.st_mtime, status.st_size, entry.path
