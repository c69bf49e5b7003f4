"""Reading payloads: the files of a run, kept open while the run is, and many pieces of them in one native call."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError, NotFoundError, UsageError
from psanacli.run._read import copy_pieces, read_piece, read_pieces, stretches, unused
from psanacli.run.files import IN_PROGRESS
from psanacli.run.unchanged import FileState
from psanacli.xtc import big_file_of

Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]

_LARGE = 1 << 17
_KEPT = 1 << 26  # bytes
_BETWEEN = 1 << 7
"""Bytes between two payloads that are read with them: headers of containers and datagrams."""


class Rooms:
    """Memory for large images and their payloads, used again as soon as nobody looks at what was read into it.

    Freed memory of several megabytes goes back to the system, and its pages come again one by one: a loop over whole
    images of a CSPAD takes half as much time again, or twice.  A room is free when no record, array or memoryview
    refers to it; only rooms of the same size take each other's place, so that nothing small holds anything large.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rooms: list[Bytes] = []

    def take(self, size: int) -> Bytes:
        """Return an array of `size` bytes with anything in it, which is the caller's as long as it is referred to."""
        if not _LARGE <= size <= _KEPT:
            return np.empty(size, np.uint8)
        with self._lock:
            found = unused(self._rooms, size)
            room = self._rooms.pop(found) if found >= 0 else np.empty(size, np.uint8)
            self._rooms.append(room)
            held = sum(len(each) for each in self._rooms)
            while held > _KEPT:  # those that were not asked for the longest are given up
                held -= len(self._rooms.pop(0))
            return room

    def clear(self) -> None:
        """Keep nothing."""
        with self._lock:
            self._rooms.clear()


@dataclass(frozen=True, eq=False)
class PayloadBlock:
    """Payloads of many objects, in one buffer.

    Attributes
    ----------
    buffer : ndarray of uint8
        Read-only.
    starts, sizes : ndarray of int64, shape (n,)
        Place of each payload in the buffer, in bytes; as `Layout.batch` wants them.
    """

    buffer: Bytes
    starts: Ints
    sizes: Ints

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> memoryview:
        """Return one payload, a view."""
        start = int(self.starts[index])
        return memoryview(self.buffer)[start : start + int(self.sizes[index])]


class Unread(Exception):
    """A piece of a lent file could not be read: place, size, and number of the error (0: the file ends before)."""


class OpenFiles:
    """The files of a run, opened when first needed; any number of threads may read.

    File number ``i`` is ``paths[i]``; number ``len(paths) + i`` is the big file of the small-data file ``i``.

    Parameters
    ----------
    paths : sequence of Path
    states : mapping of Path to FileState
        What the files were when their headers were read; one that is not there is known from its opening on.
    """

    def __init__(self, paths: Sequence[Path], states: Mapping[Path, FileState] | None = None) -> None:
        self.paths = tuple(paths)
        self.states = dict(states or {})
        self._descriptors: NDArray[np.int32] = np.full(2 * len(self.paths), -1, np.int32)
        self._idle = threading.Condition()
        self._reading: Counter[int] = Counter()  # by thread
        self._closed = False
        self._rooms = Rooms()

    def path(self, number: int) -> Path:
        """Return the path of file `number`."""
        count = len(self.paths)
        return self.paths[number] if number < count else big_file_of(self.paths[number - count])

    def read(self, files: NDArray[np.integer], offsets: Ints, sizes: Ints, places: Ints, out: Bytes) -> None:
        """Read pieces of files into `out`; see `psanacli.run._read.read_pieces`.

        Raises
        ------
        DataError
            A file ends before the piece does, or cannot be read.
        NotFoundError
            A file is not there (any more).
        """
        self._begin(np.unique(files).tolist())
        try:
            at, count = np.ascontiguousarray(offsets), np.ascontiguousarray(sizes)
            failed, trouble = read_pieces(self._descriptors[files], at, count, places, out)
        finally:
            self._end()
        if failed >= 0:
            raise self.unread(int(files[failed]), int(offsets[failed]), int(sizes[failed]), trouble)

    def copy(self, files: NDArray[np.integer], offsets: Ints, sizes: Ints, target: int, places: Ints) -> None:
        """Copy pieces of files to `places` of a file that is open for writing, `target`, without a way through memory.

        Raises
        ------
        OSError
            The target cannot be written.
        DataError, NotFoundError
            As `read` does.
        """
        self._begin(np.unique(files).tolist())
        try:
            at, count = np.ascontiguousarray(offsets), np.ascontiguousarray(sizes)
            failed, trouble, writing = copy_pieces(
                self._descriptors[files], at, count, target, np.ascontiguousarray(places)
            )
        finally:
            self._end()
        if writing:
            raise OSError(trouble, os.strerror(trouble))
        if failed >= 0:
            raise self.unread(int(files[failed]), int(offsets[failed]), int(sizes[failed]), trouble)

    @contextmanager
    def lent(self, file: int) -> Iterator[int]:
        """Lend the descriptor of a file, to read from.

        Raises
        ------
        DataError
            Who borrows it raises `Unread`.
        NotFoundError
            As `read` does.
        """
        self._begin((file,))
        try:
            yield int(self._descriptors[file])
        except Unread as unread:
            raise self.unread(file, *unread.args) from None
        finally:
            self._end()

    def read_one(self, file: int, offset: int, size: int) -> memoryview:
        """Read one piece of a file; what is given is read-only, and stays as it is while anything refers to it.

        Raises
        ------
        DataError, NotFoundError
            As `read` does.
        """
        self._begin((file,))
        try:
            out = self._rooms.take(size)
            trouble = read_piece(self._descriptors[file], offset, out)
        finally:
            self._end()
        if trouble >= 0:
            raise self.unread(file, offset, size, trouble)
        return memoryview(out).toreadonly()

    def read_parts(self, file: int, offset: int, size: int, parts: Ints) -> memoryview:
        """Read some parts of a piece of a file to their places in it; what is between them holds anything.

        Parameters
        ----------
        file, offset, size : int
            The piece.
        parts : int64 array, shape (2, k), contiguous
            Places in the piece, and sizes.

        Raises
        ------
        DataError, NotFoundError
            As `read` does.
        """
        self._begin((file,))
        try:
            out = self._rooms.take(size)
            descriptors = np.full(parts.shape[1], self._descriptors[file])
            failed, trouble = read_pieces(descriptors, parts[0] + offset, parts[1], parts[0], out)
        finally:
            self._end()
        if failed >= 0:
            raise self.unread(file, offset, size, trouble)
        return memoryview(out).toreadonly()

    def read_block(self, files: NDArray[np.integer], offsets: Ints, sizes: Ints) -> PayloadBlock:
        """Read pieces of files into a new buffer, one behind the other, each at a multiple of 8 bytes."""
        sizes = np.ascontiguousarray(sizes)
        room = (sizes + 7) & ~np.int64(7)
        places = np.cumsum(room) - room
        out = np.empty(int(room.sum()), np.uint8)
        self.read(files, offsets, sizes, places, out)
        out.flags.writeable = False
        return PayloadBlock(out, places, sizes)

    def read_together(self, files: NDArray[np.integer], offsets: Ints, sizes: Ints) -> PayloadBlock:
        """Read pieces of files in any order; what lies side by side stays so, with what is between them.

        So nearly all payloads of a stretch of events come with one read, and none is moved.
        """
        numbers, sizes = files.astype(np.int64), np.ascontiguousarray(sizes)
        order = np.argsort((numbers << 48) + offsets, kind="stable")
        first, length, start, places = stretches(order, numbers, offsets, sizes, _BETWEEN)
        out = np.empty(int(start[-1] + length[-1]) if len(start) else 0, np.uint8)
        self.read(numbers[first], offsets[first], length, start, out)
        out.flags.writeable = False
        return PayloadBlock(out, places, sizes)

    def _begin(self, numbers: Iterable[int]) -> None:
        with self._idle:
            if self._closed:
                raise UsageError("the run is closed", "read inside of its `with` block")
            for number in numbers:
                if self._descriptors[number] < 0:
                    self._descriptors[number] = self._open_known(self.path(number))
            self._reading[threading.get_ident()] += 1

    def _end(self) -> None:
        with self._idle:
            self._reading[threading.get_ident()] -= 1
            self._idle.notify_all()

    def _others_done(self) -> bool:
        """Whether no other thread reads.

        This one does not, as it is here; but a signal may have ended a read of it before that was told, and who waits
        for that waits for ever.
        """
        mine = threading.get_ident()
        return not any(count for thread, count in self._reading.items() if thread != mine)

    def unread(self, file: int, offset: int, size: int, trouble: int) -> DataError:
        """Return the error that a piece could not be read, by the number of the error (0: the file ends before)."""
        why = os.strerror(trouble) if trouble else "the file ends before"
        return DataError(f"{self.path(file)}: {size} bytes at offset {offset} cannot be read: {why}")

    def _open_known(self, path: Path) -> int:
        with ExitStack() as undo:
            descriptor = self._open(path)
            undo.callback(os.close, descriptor)
            if path in self.states:
                self.states[path].check(path, descriptor)
            else:
                self.states[path] = FileState.of(descriptor)
            undo.pop_all()
        return descriptor

    def altered(self) -> list[Path]:
        """Return the files that are longer than they were, or have another time.

        Raises
        ------
        DataError
            One is not what it was.
        """
        found = []
        for path, before in list(self.states.items()):
            try:
                if not before.check(path):
                    found.append(path)
            except FileNotFoundError:
                continue  # who needed it had it open
        return found

    @staticmethod
    def _open(path: Path) -> int:
        try:
            try:
                return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                if not path.name.endswith(IN_PROGRESS):
                    raise
                # Its writer has finished, and given it its final name.
                return os.open(path.with_name(path.name.removesuffix(IN_PROGRESS)), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFoundError(f"{path}: no such file") from None
        except OSError as error:
            raise DataError(f"{path}: cannot be opened: {error.strerror}") from error

    def rest(self) -> None:
        """Close all files until they are needed again."""
        with self._idle:
            self._idle.wait_for(self._others_done)
            self._close_all()

    def _close_all(self) -> None:
        for descriptor in self._descriptors[self._descriptors >= 0].tolist():
            os.close(descriptor)
        self._descriptors[:] = -1

    def close(self) -> None:
        """Close all files, after reads that are under way; reading is an error from then on."""
        with self._idle:
            self._closed = True
            self._rooms.clear()
            self._idle.wait_for(self._others_done)
            self._close_all()

    def __enter__(self) -> OpenFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if not self._closed:
            self.close()
