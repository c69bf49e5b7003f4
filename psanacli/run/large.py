"""Arrays that may be as long as the run: small ones in memory, large ones in a temporary file that has no name.

What lies in such a file does not count as memory of the process where memory is short: the system writes it out, and
reads it again when it is needed.  The file is in ``TMPDIR``, and gone when the array is.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

LARGE = 1 << 26
"""Arrays of so many bytes are kept in a file."""


def empty(count: int, dtype: DTypeLike, *, large: int = LARGE) -> NDArray[Any]:
    """Return an array to be filled; in a file if it has `large` bytes or more and there is room on the disk."""
    kind = np.dtype(dtype)
    size = count * kind.itemsize
    if size < max(large, 1):
        return np.empty(count, kind)
    try:
        with tempfile.TemporaryFile(prefix="psanacli-") as file:
            os.posix_fallocate(file.fileno(), 0, size)  # a disk that gets full under a map would kill the process
            return np.frombuffer(mmap.mmap(file.fileno(), size), kind, count)
    except OSError:
        return np.empty(count, kind)


__all__ = ["LARGE", "empty"]
