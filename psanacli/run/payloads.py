"""Payloads of the objects of a run: read in batches, proxies followed, compression undone, forms converted."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError
from psanacli.run.forms import convert
from psanacli.run.objects import Form, Places
from psanacli.run.reading import OpenFiles, PayloadBlock
from psanacli.run.runtable import RunTable
from psanacli.run.unchanged import HEADER_BYTES, FileState, check_headers, samples
from psanacli.xtc import (
    PROXY,
    XTC,
    ContributionFlag,
    Layout,
    Record,
    bind,
    check_proxies,
    decode,
    decompress,
    proxies_in,
)

_KEPT_CONFIGS = 100_000
_WHOLE = ContributionFlag.COMPRESSED | ContributionFlag.PROXY  # what cannot be cut before it is read


class PayloadError(DataError):
    """One payload is damaged inside; all others can still be read."""


class Payloads:
    """What reads the objects of one run; any number of threads may use it.

    Parameters
    ----------
    table : RunTable
    states : mapping of Path to FileState
        What its files were when it was made.
    """

    def __init__(self, table: RunTable, states: Mapping[Path, FileState]) -> None:
        self.table = table
        self.files = OpenFiles([file.path for file in table.files], states)
        self._lock = threading.Lock()
        self._configs: dict[int, Record] = {}
        self._same: dict[tuple[str, bytes], Record] = {}

    def read(self, places: Places, rows: NDArray[np.integer] | slice | None = None) -> PayloadBlock:
        """Read the payloads of some rows, as the type of the key wants them.

        Parameters
        ----------
        places : Places
            Such as `Objects`; all rows that are asked for should be stored ones.
        rows : index array or slice, optional
            Which of them; default is all.

        Raises
        ------
        PayloadError
            A compressed payload is damaged, or one cannot be brought into the form of the key.
        DataError
            A file ends before the payload does, or small data do not fit to the big file.
        """
        if rows is not None:
            places = places.select(rows)
        if places.any_flags & ContributionFlag.PROXY:
            return self._read_mixed(places, places.flags & ContributionFlag.PROXY != 0)
        datagrams = self.table.datagrams
        block = self.files.read_block(datagrams["file"][places.datagram], places.offset, places.size)
        return self._finish(block, places)

    def read_one(self, places: Places, row: int) -> memoryview:
        """Read the payload of one row, the same as `read` gives and with the same errors, sooner."""
        if places.flags[row] & ContributionFlag.PROXY:
            return self.read(places, slice(row, row + 1))[0]
        file = self.table.datagrams["file"][places.datagram[row]]
        payload = self.files.read_one(int(file), int(places.offset[row]), int(places.size[row]))
        return self._finish_one(payload, places, row)

    def read_many(self, places: Sequence[Places]) -> list[PayloadBlock]:
        """Read payloads of several keys, what lies side by side in a file in one go; see `read`."""
        plain = [number for number, each in enumerate(places) if not each.any_flags & ContributionFlag.PROXY]
        blocks: dict[int, PayloadBlock] = {}
        if plain:
            files = np.concatenate([self.table.datagrams["file"][places[number].datagram] for number in plain])
            offsets = np.concatenate([places[number].offset for number in plain])
            sizes = np.concatenate([places[number].size for number in plain])
            together = self.files.read_together(files, offsets, sizes)
            ends = np.cumsum([len(places[number]) for number in plain]).tolist()
            for number, first, stop in zip(plain, [0, *ends], ends, strict=False):
                block = PayloadBlock(together.buffer, together.starts[first:stop], sizes[first:stop])
                blocks[number] = self._finish(block, places[number])
        return [blocks[number] if number in blocks else self.read(each) for number, each in enumerate(places)]

    def read_around(self, places: Places, spared: NDArray[np.int64]) -> PayloadBlock:
        """Read payloads of equal size without some stretches, which hold anything.

        Parameters
        ----------
        places : Places
            Plain ones (`Places.plain`), all of one size.
        spared : int64 array, shape (k, 2)
            Place in the payload and size of each stretch, in their order, in bytes.
        """
        whole = int(places.size[0])
        begins = np.concatenate(([0], spared.sum(axis=1)))
        parts = np.stack([begins, np.concatenate((spared[:, 0], [whole])) - begins], axis=1)
        parts = parts[parts[:, 1] > 0]
        room = (whole + 7) & ~7
        starts = room * np.arange(len(places))
        buffer = np.empty(room * len(places), np.uint8)
        files = np.repeat(self.table.datagrams["file"][places.datagram], len(parts))
        offsets = (places.offset[:, None] + parts[:, 0]).reshape(-1)
        targets = (starts[:, None] + parts[:, 0]).reshape(-1)
        self.files.read(files, offsets, np.tile(parts[:, 1], len(places)), targets, buffer)
        buffer.flags.writeable = False
        return PayloadBlock(buffer, starts, np.full(len(places), whole))

    def read_parts(self, places: Places, row: int, parts: NDArray[np.int64]) -> memoryview:
        """Read some parts of the payload of one row, a plain one; see `psanacli.run.reading.OpenFiles.read_parts`."""
        file = int(self.table.datagrams["file"][places.datagram[row]])
        return self.files.read_parts(file, int(places.offset[row]), int(places.size[row]), parts)

    def unread(self, places: Places, row: int, trouble: int) -> DataError:
        """Return the error that the payload of a row could not be read, by its number (0: the file ends before)."""
        file = int(self.table.datagrams["file"][places.datagram[row]])
        return self.files.unread(file, int(places.offset[row]), int(places.size[row]), trouble)

    def copy(
        self, places: Places, within: NDArray[np.int64], sizes: NDArray[np.int64], target: int, to: NDArray[np.int64]
    ) -> None:
        """Copy stretches of payloads to another file.

        Parameters
        ----------
        places : Places
            Plain ones (`Places.plain`).
        within, sizes : int64 arrays, shape (n, k)
            Place in its payload and size of each stretch, in bytes.
        target : int
            Descriptor of a file that is open for writing.
        to : int64 array, shape (n, k)
            Where each stretch goes in it.

        Raises
        ------
        OSError
            The target cannot be written.
        DataError
            A payload cannot be read.
        """
        files = np.repeat(self.table.datagrams["file"][places.datagram], within.shape[1])
        offsets = (places.offset[:, None] + within).reshape(-1)
        self.files.copy(files, offsets, sizes.reshape(-1), target, to.reshape(-1))

    @contextmanager
    def lent(self, places: Places, row: int) -> Iterator[tuple[int, int]]:
        """Lend the file that one plain payload is in: its descriptor, and where in the file the payload begins.

        Raises
        ------
        DataError
            Who reads from it raises `psanacli.run.Unread`.
        """
        with self.files.lent(int(self.table.datagrams["file"][places.datagram[row]])) as descriptor:
            yield descriptor, int(places.offset[row])

    def _read_mixed(self, places: Places, proxy: NDArray[np.bool_]) -> PayloadBlock:
        """Read payloads of which some are in the big files."""
        files = self.table.datagrams["file"][places.datagram].astype(np.int64)
        rows = np.flatnonzero(proxy)
        heads = self.files.read_block(
            files[rows], places.offset[rows] - XTC.itemsize, np.full(len(rows), PROXY.itemsize, np.int64)
        )
        proxies = np.concatenate([proxies_in(heads[i]) for i in range(len(rows))])
        offset, size = places.offset.copy(), places.size.copy()
        offset[rows], size[rows] = proxies["offset"], proxies["extent"]
        files[rows] += len(self.files.paths)
        block = self.files.read_block(files, offset, size)
        found = np.array([block.buffer[start : start + XTC.itemsize] for start in block.starts[rows]]).view(XTC)[:, 0]
        for number in np.unique(files[rows]).tolist():
            chosen = files[rows] == number
            check_proxies(proxies[chosen], found[chosen], self.files.path(number))
        skip = np.where(proxy, XTC.itemsize, 0)
        return self._finish(PayloadBlock(block.buffer, block.starts + skip, block.sizes - skip), places)

    def _finish(self, block: PayloadBlock, places: Places) -> PayloadBlock:
        """Bring all payloads into the form that is wanted; see `_finish_one`."""
        change = ContributionFlag.COMPRESSED | (_WHOLE if places.product.part else 0)
        if places.product.form is Form.STORED and not places.any_flags & change:
            return block
        originals = [block[row] for row in range(len(block))]
        pieces = [self._finish_one(payload, places, row) for row, payload in enumerate(originals)]
        if all(piece is block_piece for piece, block_piece in zip(pieces, originals, strict=True)):
            return block  # nothing had to be changed
        sizes = np.array([len(piece) for piece in pieces], np.int64)
        room = (sizes + 7) & ~np.int64(7)
        starts = np.cumsum(room) - room
        buffer = np.empty(int(room.sum()), np.uint8)
        for start, piece in zip(starts.tolist(), pieces, strict=True):
            buffer[start : start + len(piece)] = np.frombuffer(piece, np.uint8)
        buffer.flags.writeable = False
        return PayloadBlock(buffer, starts, sizes)

    def _finish_one(self, payload: memoryview, places: Places, row: int) -> memoryview:
        """Undo compression, cut out a part, and convert; return the payload itself where nothing is to be changed."""
        product, flags = places.product, int(places.flags[row])
        try:
            if flags & ContributionFlag.COMPRESSED:
                payload = memoryview(decompress(payload))
            # Of what is stored as it is, the place is that of the part.
            whole = product.part and flags & _WHOLE
            if product.stored is not None and (product.form is not Form.STORED or whole):
                number = int(places.config[row])
                payload = convert(payload, product.stored, product, self.config(number) if number >= 0 else None)
        except DataError as error:
            raise self.located(error, places, row) from error
        return payload

    def located(self, error: DataError, places: Places, row: int) -> PayloadError:
        """Return an error about the payload of a row with its file and offset."""
        datagram = self.table.datagrams[int(places.datagram[row])]
        path = self.files.paths[int(datagram["file"])]
        return PayloadError(f"{path}: {places.key} at offset {int(places.offset[row])}: {error.message}", error.hint)

    def config(self, number: int) -> Record:
        """Return a configuration object by its number in the timeline; equal ones are one object.

        Raises
        ------
        DataError
            It cannot be read or decoded.
        """
        known = self._configs.get(number)
        if known is None:
            history, row = self.table.config.locate(number)
            payload = self.read(history, np.array([row]))[0]
            same = history.key.xtc_type.name, bytes(payload)
            with self._lock:
                known = self._same.get(same)
            if known is None:
                try:
                    known = decode(history.key.xtc_type, same[1])
                except DataError as error:
                    raise self.located(error, history, row) from error
            with self._lock:
                known = self._same.setdefault(same, known)
                if len(self._configs) >= _KEPT_CONFIGS:
                    self._configs.clear()
                    self._same.clear()
                self._configs[number] = known
        return known

    def layout(self, places: Places, number: int) -> Layout:
        """Return the layout of objects with the configuration object `number` of the timeline (-1: none)."""
        needed = number >= 0 and bool(places.key.xtc_type.config_types)
        return bind(places.key.xtc_type, self.config(number) if needed else None)

    def check_unchanged(self) -> None:
        """Raise `DataError` if a file is not what it was; see `Run.check_unchanged`."""
        numbers = {path: number for number, path in enumerate(self.files.paths)}
        datagrams = self.table.datagrams
        for path in self.files.altered():
            if path not in numbers:
                continue  # a big file: each proxy is compared with the header it leads to
            first, stop = np.searchsorted(datagrams["file"], (numbers[path], numbers[path] + 1)).tolist()
            some = samples(datagrams[first:stop])
            headers = self.files.read_block(
                some["file"], some["offset"].astype(np.int64), np.full(len(some), HEADER_BYTES)
            )
            check_headers(path, some, headers.buffer.reshape(-1, HEADER_BYTES))

    def close(self) -> None:
        """Close the files."""
        self.files.close()
