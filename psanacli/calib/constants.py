"""Constants: an array, and where it comes from."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from psanacli.calib import cache
from psanacli.calib.ranges import RunRange
from psanacli.calib.text import Cast, TextArray, parse_text
from psanacli.errors import ConstantsError

Array = NDArray[Any]
LARGEST = 1 << 32
"""Bytes; a file that is larger holds no constants."""


@dataclass(frozen=True, eq=False)
class Constants:
    """Constants of one type for one detector in one run.

    Attributes
    ----------
    array : ndarray
        Read-only.
    source : str
        The detector: ``CxiDs1.0:Cspad.0``.
    type : str
        ``pedestals``, ...
    run : int
        The run they were asked for.
    file : Path or None
        Where they stand; None for what is assumed when there is no file.
    range : RunRange or None
        The runs of the file.
    checksum : str
        SHA-256 of the file, hexadecimal (empty without one), as `sha256sum` tells it.
    comments : tuple of str
        What the file says of itself.
    """

    array: Array
    source: str
    type: str
    run: int
    file: Path | None = None
    range: RunRange | None = None
    checksum: str = ""
    comments: tuple[str, ...] = field(default=(), repr=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the array."""
        return self.array.dtype

    @property
    def assumed(self) -> bool:
        """Whether there is no file, and these are what the original takes then."""
        return self.file is None

    def __repr__(self) -> str:
        origin = "assumed, there is no file" if self.file is None else str(self.file)
        return f"<Constants {self.type} of {self.source}, run {self.run}: {self.shape} {self.dtype}, {origin}>"


def read_bytes(path: Path) -> bytes:
    """Return the content of a file that may be constants; what is no file, or too large for that, is an error."""
    with open(path, "rb", buffering=0, opener=_open) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ConstantsError(f"{path}: is no file")
        if status.st_size > LARGEST:
            raise ConstantsError(f"{path}: {status.st_size} bytes are no constants")
        return file.readall()


def _open(path: str, flags: int) -> int:
    """Open without waiting for what is no file, such as a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


def frozen(array: Array) -> Array:
    """Return an array that nobody can write to."""
    array.setflags(write=False)
    return array


@dataclass(frozen=True, eq=False)
class FileArray:
    """The array of a text file with the checksum of the file."""

    text: TextArray
    checksum: str


def read_text(path: Path, dtype: DTypeLike | None = None, *, cast: Cast = "exact", use_cache: bool = True) -> FileArray:
    """Read a text file of an array.

    A large file is read from its text once; then an entry of the cache of the user gives the same, see
    `psanacli.calib.cache`.

    Parameters
    ----------
    path : Path
        The file.
    dtype, cast
        As for `psanacli.calib.text.parse_text`.
    use_cache : bool
        Whether to look there, and to leave an entry.

    Raises
    ------
    ConstantsError
        It cannot be read, or is no array.
    """
    try:
        with open(path, "rb", buffering=0, opener=_open) as file:
            how = f"{np.dtype(dtype).str if dtype is not None else 'stated'} {cast}"
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ConstantsError(f"{path}: is no file")
            key = cache.Key(path, file.fileno(), how)
            if key.size > LARGEST:
                raise ConstantsError(f"{path}: {key.size} bytes are no constants")
            entry = key.load() if use_cache and key.useful else None
            if entry is not None:
                about = entry.about
                text = TextArray(entry.values, tuple(about["comments"]), np.dtype(about["dtype"]), about["foreign"])
                return FileArray(text, about["sha256"])
            data = file.readall()
            whole = cache.Key(path, file.fileno(), how)
    except OSError as error:
        raise ConstantsError(f"{path}: cannot be read: {error.strerror}") from error
    text = parse_text(data, os.fspath(path), dtype, cast)
    checksum = hashlib.sha256(data).hexdigest()
    if use_cache and key.useful and key.settled and whole.same_as(key) and len(data) == key.size:
        about = {"comments": text.comments, "dtype": text.dtype.str, "foreign": text.foreign, "sha256": checksum}
        key.save(cache.Entry(text.values, about))
    return FileArray(text, checksum)
