"""Writing the files of an extracted run: copies of ranges, and rewritten datagrams between them."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from psanacli.errors import DataError, OutputError
from psanacli.run.extract.plan import LEFT_OUT, WHOLE, Extraction
from psanacli.run.extract.rewriting import Recipe
from psanacli.run.objects import Ints
from psanacli.xtc import XTC

_RANGE = 1 << 26
"""Bytes that are copied in one call, or rewritten in one go."""

Advance = Callable[[int], None]


def write_file(extraction: Extraction, number: int, path: Path, advance: Advance | None = None) -> int:
    """Write one file of an extracted run.

    Parameters
    ----------
    extraction : Extraction
        The plan.
    number : int
        Which of its files.
    path : Path
        Where it goes; its directory exists.
    advance : callable, optional
        Called now and then with the number of bytes that were written since the last call.

    Returns
    -------
    int
        Bytes of the file.

    Raises
    ------
    DataError
        The big file has changed, or cannot be read.
    OutputError
        The file cannot be written.
    """
    table = extraction.run.table
    rows = np.flatnonzero((table.datagrams["file"] == number) & (extraction.fate != LEFT_OUT))
    source_path = extraction.files[number].path
    written = 0
    try:
        with open(path, "xb", buffering=0) as out:
            source = os.open(source_path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                for piece in _pieces(extraction, rows):
                    if isinstance(piece, tuple):
                        _copy(source, out.fileno(), *piece, source_path)
                        size = piece[1]
                    else:
                        data = _rewritten(extraction, piece)
                        _write(out.fileno(), data)
                        size = len(data)
                    written += size
                    if advance is not None:
                        advance(size)
                os.fsync(out.fileno())
            finally:
                os.close(source)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error
    return written


def _pieces(extraction: Extraction, rows: Ints) -> Iterator[tuple[int, int] | Ints]:
    """Give ranges of bytes to copy, and rows to rewrite, in the order of the file."""
    if not len(rows):
        return
    datagrams = extraction.run.table.datagrams
    offset = datagrams["offset"][rows].astype(np.int64)
    size = datagrams["extent"][rows].astype(np.int64) + XTC.itemsize
    whole = extraction.fate[rows] == WHOLE
    turns = (whole[1:] != whole[:-1]) | (whole[1:] & (offset[1:] != offset[:-1] + size[:-1]))
    bounds = np.concatenate(([0], np.flatnonzero(turns) + 1, [len(rows)])).tolist()
    for first, stop in pairwise(bounds):
        if whole[first]:
            begin, end = int(offset[first]), int(offset[stop - 1] + size[stop - 1])
            for at in range(begin, end, _RANGE):
                yield at, min(_RANGE, end - at)
            continue
        total = np.cumsum(size[first:stop])
        at = 0
        while at < stop - first:
            before = int(total[at - 1]) if at else 0
            until = max(int(np.searchsorted(total, before + _RANGE, side="right")), at + 1)
            yield rows[first + at : first + until]
            at = until


def _copy(source: int, out: int, offset: int, count: int, path: Path) -> None:
    """Copy a range of a file, by the kernel where it can."""
    end = offset + count
    by_kernel = True
    while offset < end:
        try:
            if by_kernel:
                done = os.sendfile(out, source, offset, end - offset)
            else:
                data = os.pread(source, min(end - offset, _RANGE), offset)
                _write(out, data)
                done = len(data)
        except OSError as error:
            if not by_kernel or error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            by_kernel = False
            continue
        if not done:
            raise DataError(f"{path} ends at offset {offset}: it was longer when its headers were read")
        offset += done


def _write(out: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while len(view):
        view = view[os.write(out, view) :]


def _rewritten(extraction: Extraction, rows: Ints) -> memoryview:
    """Return the new datagrams of some rows, one behind the other."""
    datagrams = extraction.run.table.datagrams[rows]
    sizes = datagrams["extent"].astype(np.int64) + XTC.itemsize
    block = extraction.run.payloads.files.read_block(datagrams["file"], datagrams["offset"].astype(np.int64), sizes)
    new = extraction.sizes[rows]
    starts = np.cumsum(new) - new
    out = np.empty(int(new.sum()), np.uint8)
    fate = extraction.fate[rows]
    for number in np.unique(fate).tolist():
        recipe: Recipe = extraction.recipes[number]
        mine = np.flatnonzero(fate == number)
        given = block.buffer[block.starts[mine][:, None] + np.arange(recipe.size)]
        right = recipe.fits(given)
        if not right.all():
            row = int(rows[mine[int(np.argmin(right))]])
            offset = int(extraction.run.table.datagrams["offset"][row])
            path = extraction.files[int(extraction.run.table.datagrams["file"][row])].path
            raise DataError(f"{path}: the datagram at offset {offset} has other containers than its headers said")
        out[starts[mine][:, None] + np.arange(recipe.new_size)] = recipe.apply(given)
    return memoryview(out)
