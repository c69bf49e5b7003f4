"""The formats of tables from outside: one reader a file, found by the name or the first bytes of a file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from psanacli.errors import DataError, NotFoundError, UsageError
from psanacli.outside import archiver, csv_table, hdf5_table
from psanacli.outside.table import Origin, OutsideTable
from psanacli.outside.times import ReadOptions


class Format(NamedTuple):
    """One format.

    Attributes
    ----------
    name : str
    suffixes : tuple of str
        Of the names of its files.
    begins : callable
        Whether the first bytes of a file are those of this format.
    read : callable
        The reader: content of the file (empty if `by_path`), origin, options.
    by_path : bool
        The reader opens the file itself.
    """

    name: str
    suffixes: tuple[str, ...]
    begins: Callable[[bytes], bool]
    read: Callable[[bytes, Origin, ReadOptions], OutsideTable]
    by_path: bool = False


FORMATS = (
    Format("hdf5", hdf5_table.SUFFIXES, hdf5_table.begins, hdf5_table.read, by_path=True),
    Format("archiver", archiver.SUFFIXES, archiver.begins, archiver.read),
    Format("csv", csv_table.SUFFIXES, lambda head: True, csv_table.read),
)
"""All formats; what is none of the others is read as text."""

_HEAD = 4096
_PIECE = 1 << 22


def read_table(path: str | os.PathLike[str], options: ReadOptions | None = None) -> OutsideTable:
    """Read a table.

    Parameters
    ----------
    path : path
        A file of one of the formats: text (CSV, TSV, blanks), HDF5, JSON of an EPICS archiver appliance. The first
        bytes of the file tell which, then its name.
    options : ReadOptions, optional
        What the file does not say itself.

    Raises
    ------
    NotFoundError
        There is no such file, or no such column or group in it.
    UsageError
        It is no table, or what it does not say itself has to be stated: zone, unit, time column.
    DataError
        It is damaged; the line or row is named.
    """
    path = Path(path)
    options = options or ReadOptions()
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            head = file.read(_HEAD)
            found = _format(path, head)
            if found.by_path:
                digest = hashlib.sha256(head)
                while piece := file.read(_PIECE):
                    digest.update(piece)
                data, checksum = b"", digest.hexdigest()
            else:
                data = head + file.read()  # of a pipe there is no second reading
                checksum = hashlib.sha256(data).hexdigest()
    except FileNotFoundError:
        raise NotFoundError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise UsageError(f"{path} is a directory", "name the file of a table") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    if not head:
        raise UsageError(f"{path} is empty")
    origin = Origin(str(path), found.name, status.st_size, status.st_mtime_ns, checksum, "", "")
    if options.group and found.name != "hdf5":
        raise UsageError(f"{path} is no HDF5 file, so group={options.group} has no meaning")
    return found.read(data, origin, options)


def _format(path: Path, head: bytes) -> Format:
    for known in FORMATS:
        if known.begins(head):
            break
    by_name = next((other for other in FORMATS if path.suffix.lower() in other.suffixes), known)
    if by_name.name != known.name == "csv":
        # A file that is called JSON or HDF5 and is none: its reader says what is wrong.
        return by_name
    return known
