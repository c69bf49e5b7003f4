"""Payloads of the objects of a run: read in batches, proxies followed, compression undone, forms converted."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError
from psanacli.run.forms import convert
from psanacli.run.objects import Form, Places
from psanacli.run.reading import OpenFiles, PayloadBlock
from psanacli.run.runtable import RunTable
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


class PayloadError(DataError):
    """One payload is damaged inside; all others can still be read."""


class Payloads:
    """What reads the objects of one run; any number of threads may use it.

    Parameters
    ----------
    table : RunTable
    """

    def __init__(self, table: RunTable) -> None:
        self.table = table
        self.files = OpenFiles([file.path for file in table.files])
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
        proxy = places.flags & ContributionFlag.PROXY != 0
        if proxy.any():
            return self._read_mixed(places, proxy)
        datagrams = self.table.datagrams
        block = self.files.read_block(datagrams["file"][places.datagram], places.offset, places.size)
        return self._finish(block, places)

    def read_one(self, places: Places, row: int) -> memoryview:
        """Read the payload of one row; the same as ``read(places, [row])[0]``, with less around it."""
        if int(places.flags[row]):
            return self.read(places, slice(row, row + 1))[0]
        file = int(self.table.datagrams["file"][int(places.datagram[row])])
        payload = self.files.read_piece(file, int(places.offset[row]), int(places.size[row]))
        product = places.product
        if product.form is Form.STORED or product.stored is None:
            return payload
        number = int(places.config[row])
        try:
            return convert(payload, product.stored, product, self.config(number) if number >= 0 else None)
        except DataError as error:
            raise self.located(error, places, row) from error

    def read_many(self, places: Sequence[Places], rows: Sequence[NDArray[np.integer]]) -> list[PayloadBlock]:
        """Read payloads of several keys, what lies side by side in a file in one go; see `read`."""
        chosen = [each.select(some) for each, some in zip(places, rows, strict=True)]
        plain = [number for number, each in enumerate(chosen) if not (each.flags & ContributionFlag.PROXY).any()]
        blocks: dict[int, PayloadBlock] = {}
        if plain:
            files = np.concatenate([self.table.datagrams["file"][chosen[number].datagram] for number in plain])
            offsets = np.concatenate([chosen[number].offset for number in plain])
            sizes = np.concatenate([chosen[number].size for number in plain])
            order = np.lexsort((offsets, files))
            sorted_block = self.files.read_block(files[order], offsets[order], sizes[order])
            starts = np.empty(len(order), np.int64)
            starts[order] = sorted_block.starts
            ends = np.cumsum([len(chosen[number]) for number in plain])
            for number, first, stop in zip(plain, [0, *ends.tolist()], ends.tolist(), strict=False):
                block = PayloadBlock(sorted_block.buffer, starts[first:stop], sizes[first:stop])
                blocks[number] = self._finish(block, chosen[number])
        return [blocks[number] if number in blocks else self.read(each) for number, each in enumerate(chosen)]

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
        """Undo compression, cut out parts, and convert."""
        product = places.product
        stored = product.stored
        compressed = places.flags & ContributionFlag.COMPRESSED != 0
        whole = compressed | (places.flags & ContributionFlag.PROXY != 0)
        cut = bool(product.offset or product.size)
        if product.form is Form.STORED and not compressed.any() and not (cut and whole.any()):
            return block
        originals: list[memoryview] = []
        pieces: list[memoryview] = []
        for row in range(len(block)):
            payload = block[row]
            originals.append(payload)
            try:
                if compressed[row]:
                    payload = memoryview(decompress(payload))
                if stored is not None and (product.form is not Form.STORED or (cut and whole[row])):
                    number = int(places.config[row])
                    payload = convert(payload, stored, product, self.config(number) if number >= 0 else None)
            except DataError as error:
                raise self.located(error, places, row) from error
            pieces.append(payload)
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

    def close(self) -> None:
        """Close the files."""
        self.files.close()
