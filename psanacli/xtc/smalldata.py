"""Small data: proxies, and the objects of the big file they stand for.

A small-data file ``smalldata/X.smd.xtc`` has the datagrams of ``X.xtc`` in the directory above it, with each large
object replaced by a proxy: an Xtc of 36 bytes that says where in the big file the object is, and what it is.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError, NotFoundError
from psanacli.xtc.headers import TYPE_PROXY, XTC_HEADER, Buffer
from psanacli.xtc.sources import Source

SMALL_SUFFIX = ".smd.xtc"
SMALL_DIRECTORY = "smalldata"
IN_PROGRESS = ".inprogress"

TYPE_SMALL_CONFIG = 89
"""First in the Configure of small data: the size from which on objects became proxies."""
TYPE_SMALL_ORIGIN = 90
"""First in each event of small data: where it is in the big file, and the extent it has there."""

XTC = np.dtype([(name, "<u4") for name in ("damage", "log", "phy", "type", "extent")])
"""The header of an Xtc, 20 bytes."""

PROXY = np.dtype([("xtc", XTC), ("offset", "<i8"), ("type", "<u4"), ("extent", "<u4")])
"""A whole proxy with its header, 36 bytes: offset in the big file, type word and extent of the object's Xtc."""


def big_file_of(small: str | os.PathLike[str]) -> Path:
    """Return the big file whose objects the proxies of a small-data file stand for.

    While it is being written its name ends in ``.inprogress``; the final name is preferred.

    Raises
    ------
    DataError
        The name does not end in ``.smd.xtc``, or the directory is not called ``smalldata``.
    NotFoundError
        There is no such big file.
    """
    small = Path(small)
    name = small.name.removesuffix(IN_PROGRESS)
    directory = Path(os.path.abspath(small)).parent
    if not name.endswith(SMALL_SUFFIX) or directory.name != SMALL_DIRECTORY:
        raise DataError(
            f"{small}: cannot tell where the big file is",
            f"a small-data file is called NAME{SMALL_SUFFIX}, in a directory {SMALL_DIRECTORY} beside NAME.xtc",
        )
    big = (small.parent.parent if small.parent.name else directory.parent) / f"{name.removesuffix(SMALL_SUFFIX)}.xtc"
    writing = big.with_name(big.name + IN_PROGRESS)
    if big.exists() or not writing.exists():
        if not big.exists():
            raise NotFoundError(f"{big}: no such file", f"{small} has proxies for objects in it")
        return big
    return writing


def proxies_in(buffer: Buffer, offset: int = 0, count: int = 1) -> NDArray[Any]:
    """Return proxies that lie one after the other in a buffer, a view.

    Parameters
    ----------
    buffer : bytes-like
        Holds the proxies.
    offset : int
        Of the Xtc header of the first.
    count : int
        Number of proxies.

    Returns
    -------
    ndarray of `PROXY`, shape (count,)

    Raises
    ------
    DataError
        There are fewer bytes, or they are no proxies.
    """
    if offset < 0 or len(buffer) - offset < count * PROXY.itemsize:
        raise DataError(f"no {count} proxies at {offset} of {len(buffer)} bytes")
    proxies = np.frombuffer(buffer, PROXY, count, offset)
    right = (proxies["xtc"]["type"] & 0xFFFF == TYPE_PROXY) & (proxies["xtc"]["extent"] >= PROXY.itemsize)
    right &= (proxies["extent"] >= XTC_HEADER) & (proxies["offset"] >= 0)
    if not right.all():
        raise DataError(f"no proxy at {offset + int(np.argmin(right)) * PROXY.itemsize} of {len(buffer)} bytes")
    return proxies


def check_proxies(proxies: NDArray[Any], found: NDArray[Any], big: str | os.PathLike[str]) -> None:
    """Check that what the big file has is what the proxies promise.

    Parameters
    ----------
    proxies : ndarray of `PROXY`
        The proxies.
    found : ndarray of `XTC`
        The headers at their offsets in the big file, as many.
    big : path
        The big file, for the message.

    Raises
    ------
    DataError
        Type, version, extent, source or damage of one of them differ.
    """
    wanted = {
        "type": proxies["type"],
        "extent": proxies["extent"],
        **{name: proxies["xtc"][name] for name in ("log", "phy", "damage")},
    }
    wrong = np.zeros(len(proxies), bool)
    for name, values in wanted.items():
        wrong |= values != found[name]
    if not wrong.any():
        return
    at = int(np.argmax(wrong))
    name = next(name for name, values in wanted.items() if values[at] != found[name][at])
    source = Source(int(proxies["xtc"]["log"][at]), int(proxies["xtc"]["phy"][at]))
    raise DataError(
        f"{big}: at offset {int(proxies['offset'][at])} there should be an object of {source or 'no source'} with "
        f"{name} {int(wanted[name][at]):#x}, but {name} is {int(found[name][at]):#x}",
        "the small data were made of another file; make them again",
    )


def read_proxy(big: str | os.PathLike[str], proxy: NDArray[Any] | np.void) -> memoryview:
    """Read the object that a proxy stands for.

    Parameters
    ----------
    big : path
        The big file.
    proxy : one `PROXY`
        Such as an element of `proxies_in`.

    Returns
    -------
    memoryview
        The payload of the object, without its Xtc header.

    Raises
    ------
    NotFoundError
        There is no such big file.
    DataError
        The big file is too short, or has something else at that place.
    """
    offset, extent = int(proxy["offset"]), int(proxy["extent"])
    try:
        with open(big, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if offset + extent > size:
                raise DataError(f"{big}: an object of {extent} bytes should be at offset {offset}, the file has {size}")
            data = os.pread(file.fileno(), extent, offset)
    except FileNotFoundError:
        raise NotFoundError(f"{big}: no such file") from None
    except OSError as error:
        raise DataError(f"{big}: cannot be read: {error.strerror}") from error
    if len(data) < extent:
        raise DataError(f"{big}: an object of {extent} bytes at offset {offset} could not be read whole")
    check_proxies(np.array([proxy], PROXY), np.frombuffer(data, XTC, 1), big)
    return memoryview(data)[XTC_HEADER:]
