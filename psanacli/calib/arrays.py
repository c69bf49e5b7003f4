"""Constants from and to other formats: npy, npz and HDF5 beside text.

The one place of the room that knows h5py, and only when such a file is read or written.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from psanacli.calib.constants import Array, Constants, read_bytes
from psanacli.calib.deploy import NewConstants
from psanacli.calib.text import format_text, parse_text
from psanacli.errors import ConstantsError, NotFoundError, OutputError, UsageError, did_you_mean

HDF5_NAMES = (".h5", ".hdf5")
FORMATS = ("npy", "npz", "h5", "text")
_NOT_READ = (
    *(ValueError, OSError, EOFError, KeyError, SyntaxError, NotImplementedError),  # by numpy and zipfile
    *(zipfile.BadZipFile, zlib.error),
)
"""What reading npy and npz files ends with when they are none, or damaged."""


def read_array(path: Path, dataset: str = "") -> NewConstants:
    """Read an array that is to be constants.

    Parameters
    ----------
    path : Path
        A ``.npy``, ``.npz`` or ``.h5`` file, or text.
    dataset : str
        Which array of an npz or HDF5 file; may be left out when there is one only.

    Raises
    ------
    NotFoundError
        There is no such file.
    ConstantsError
        The file cannot be read, or holds no such array.
    """
    if not path.exists():
        near = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
        raise NotFoundError(f"no file {path}", did_you_mean(path.name, near))
    suffix = path.suffix.lower()
    origin = f"{os.path.abspath(path)}{':' + dataset if dataset else ''}"
    if dataset and suffix not in (".npz", *HDF5_NAMES):
        raise UsageError(f"{path}: a file of text or npy has no datasets")
    if suffix in HDF5_NAMES:
        return NewConstants(_from_hdf5(path, dataset), origin)
    try:
        data = read_bytes(path)
    except OSError as error:
        raise ConstantsError(f"{path}: cannot be read: {error.strerror}") from error
    if suffix not in (".npy", ".npz"):
        return NewConstants(parse_text(data, str(path)).values, origin, data)
    try:
        found = np.load(io.BytesIO(data), allow_pickle=False)
        if isinstance(found, np.ndarray):
            return NewConstants(found, origin)
        with found:
            return NewConstants(np.asarray(found[_chosen(list(found.files), dataset, path)]), origin)
    except _NOT_READ as error:
        raise ConstantsError(f"{path}: is no {suffix[1:]} file of numbers: {error}") from error


def _chosen(names: Sequence[str], wanted: str, path: Path) -> str:
    if wanted:
        wanted = wanted.strip("/")
        if wanted not in names:
            there = ", ".join(names[:20])
            raise ConstantsError(f"{path}: there is no array {wanted!r}", did_you_mean(wanted, names, f"has {there}"))
        return wanted
    if len(names) != 1:
        there = ", ".join(names[:20]) or "none"
        raise ConstantsError(f"{path}: has {len(names)} arrays: {there}", "say which: --dataset NAME")
    return names[0]


def _from_hdf5(path: Path, dataset: str) -> Array:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            names: list[str] = []

            def note(name: str, item: Any) -> None:
                if isinstance(item, h5py.Dataset) and item.dtype.kind in "iufb":
                    names.append(name)

            file.visititems(note)
            return np.asarray(file[_chosen(names, dataset, path)][()])
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise ConstantsError(f"{path}: cannot be read: {error}") from error


def format_of(path: Path) -> str:
    """Return in which format `export` writes a file of this name: ``.npy``, ``.npz``, ``.h5``; all else is text."""
    return {".npy": "npy", ".npz": "npz", **dict.fromkeys(HDF5_NAMES, "h5")}.get(path.suffix.lower(), "text")


def export(constants: Sequence[Constants], path: Path, how: str) -> None:
    """Write constants to one file, whole or not at all.

    An npy file holds the array alone. In an npz file the arrays have the names of their types, and ``about`` is JSON
    with the origin of each; in an HDF5 file they are ``SOURCE/type`` with the origin as attributes; text takes one.

    Raises
    ------
    UsageError
        Text cannot hold several types, npz not several detectors.
    OutputError
        It could not be written.
    """
    if how in ("text", "npy") and len(constants) != 1:
        raise UsageError(f"a file of {how} holds one type of constants, not {len(constants)}", "choose one with --type")
    if how == "npz" and len({found.source for found in constants}) > 1:
        raise UsageError("an npz file holds the constants of one detector", "choose one with -d, or write HDF5")
    part = ""
    try:
        number, part = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(number)
        _WRITERS[how](constants, part)
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
            mask = os.umask(0)
            os.umask(mask)
            os.fchmod(file.fileno(), 0o666 & ~mask)
        os.replace(part, path)
        part = ""
    except (OSError, RuntimeError) as error:
        raise OutputError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}") from error
    finally:
        if part:
            os.unlink(part)


def origin_of(found: Constants) -> dict[str, Any]:
    """Return where constants come from, as plain values."""
    return {
        "source": found.source,
        "type": found.type,
        "run": found.run,
        "file": None if found.file is None else str(found.file),
        "range": None if found.range is None else str(found.range),
        "sha256": found.checksum,
    }


def _write_npy(constants: Sequence[Constants], part: str) -> None:
    (found,) = constants
    with open(part, "wb") as file:
        np.save(file, found.array, allow_pickle=False)


def _write_npz(constants: Sequence[Constants], part: str) -> None:
    about = json.dumps([origin_of(found) for found in constants])
    with open(part, "wb") as file:
        arrays: dict[str, Any] = {found.type: found.array for found in constants}
        np.savez_compressed(file, about=np.array(about), **arrays)


def _write_hdf5(constants: Sequence[Constants], part: str) -> None:
    import h5py

    with h5py.File(part, "w") as file:
        for found in constants:
            options = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if found.array.size > 1000 else {}
            dataset = file.create_dataset(f"{found.source}/{found.type}", data=found.array, **options)
            dataset.attrs.update({key: "" if value is None else value for key, value in origin_of(found).items()})


def _write_text(constants: Sequence[Constants], part: str) -> None:
    (found,) = constants
    comments = [f"{key.upper():<9} {value}" for key, value in origin_of(found).items()]
    with open(part, "wb") as file:
        file.write(format_text(found.array, comments=comments))


_WRITERS = {"npy": _write_npy, "npz": _write_npz, "h5": _write_hdf5, "text": _write_text}
