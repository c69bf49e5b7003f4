"""A file that exists whole or not at all, and that an interrupted translation can go on with.

The file grows under a hidden name beside the final one, and is renamed when it is complete and synced.  Beside it
lies a journal: a first line says what is made from what, further lines how many blocks are safe in the file.

HDF5 keeps its metadata in memory, and by itself writes some of it at any time.  Here it is told not to: between two
checkpoints only chunks are appended, so what a killed process leaves is the file as of its last checkpoint, plus
bytes that nothing refers to.  Indices of chunks and rows of variable length thus stay in memory until a checkpoint,
which is due when there are many of them.  At a checkpoint the file is closed and synced between two lines of the
journal; who is killed just then has to start over, which the journal shows.  The end is a last checkpoint.

A chunk that is written again with another size goes to another place, and HDF5 gives away its old one, to which the
file on disk still refers.  So chunks with filters are written once; what has to be changed in them, or may be, is
changed within a checkpoint.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
from h5py import h5ac, h5d, h5f, h5p

from psanacli.errors import OutputError
from psanacli.hdf5.names import PROVENANCE
from psanacli.hdf5.object_header import set_shuffle_size

CHECKPOINT_SECONDS = 10.0
PLENTY = 1 << 30
"""Free bytes on a disk beyond which no room is taken in advance."""
MOST_METADATA = 40 << 20
"""Bytes of metadata that were added since the last checkpoint and ask for the next before its time."""
SMALL_CACHE = 256 << 10
"""Bytes, as they are in the file, of metadata in memory where HDF5 may evict; it takes several times as much."""
NODE_BYTES = 18 << 10
"""What HDF5 has in memory of a node of an index of chunks, which in the file is an eighth of that."""

Found = dict[str, dict[str, int]]
"""What was found wrong in the blocks that are done, by kind and group; the journal keeps it."""
Build = Callable[[h5f.FileID], list[tuple[int, int]]]
"""Makes groups and datasets of a new file; returns the addresses of the headers of datasets whose shuffle filter needs
another element size, and that size."""


def _reason(text: str) -> str:
    """Return the part of an HDF5 message that a user understands."""
    for part in text.split(","):
        if "error message = " in part:
            return part.split("error message = ")[1].strip(" ')")
    return text.strip()


class Output:
    """One HDF5 file in the making.

    Parameters
    ----------
    path : Path
        Its final name.
    identity : dict
        What it is made from and how (JSON values); an interrupted file is gone on with only if this is the same.
    overwrite : bool
        Replace a file of that name.
    resume : bool
        Go on with what an interrupted process left, if there is something that fits.

    Attributes
    ----------
    resumed : str
        With `resume`, after `begin`: where it goes on, or why it begins anew.
    found : dict
        What the journal says was found wrong in the blocks that are done.
    file : h5py.h5f.FileID or None
        The open file.
    datasets : dict
        Open datasets, which have to be closed before the file is.
    """

    def __init__(self, path: Path, identity: dict[str, Any], *, overwrite: bool = False, resume: bool = False) -> None:
        self.path = path
        self.part = path.with_name(f".{path.name}.part")
        self.journal = path.with_name(f".{path.name}.journal")
        self.done = 0
        self._identity = json.loads(json.dumps(identity))
        self._overwrite = overwrite
        self._resume = resume
        self._lock = -1
        self._checked = 0.0
        self._kept = False
        self.resumed = ""
        self.found: Found = {}
        self._diverted = False
        self._descriptor = -1
        self._room = 0
        self._needed = -1
        self.datasets: dict[int, h5d.DatasetID] = {}
        self.file: h5f.FileID | None = None

    @contextmanager
    def told(self) -> Iterator[None]:
        """Turn errors of the system and of HDF5 into an `OutputError` that names the file."""
        try:
            yield
        except OutputError:
            self._divert()
            raise
        except (OSError, RuntimeError) as error:
            self._divert()
            reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else _reason(str(error))
            raise OutputError(f"{self.path}: cannot be written: {reason}") from error

    def _divert(self) -> None:
        """Let HDF5 write nowhere from now on: what it still has in memory must not reach a file that may be full."""
        if self.file is not None and not self._diverted:
            nowhere = os.memfd_create("psanacli-dropped")
            os.dup2(nowhere, self._descriptor)
            os.close(nowhere)
            self._diverted = True

    def begin(self) -> int:
        """Take the name of the file, and open the one that was begun; without one `create` makes it.

        Returns
        -------
        int
            Number of blocks that are in it already.

        Raises
        ------
        OutputError
            A file of that name exists and shall not be replaced, or another process makes it, or it cannot be written.
        """
        self._check_free()
        with self.told():
            self._take_lock()
            self._check_free()  # who had the lock before may have finished
            self.done = self._checkpointed() if self._resume else 0
            if self.done:
                self._kept = True
                self._open()
            else:
                os.truncate(self._lock, 0)
                self._write({"identity": self._identity})
        return self.done

    def _check_free(self) -> None:
        if self.path.exists() and not self._overwrite:
            raise OutputError(f"{self.path} exists", "--overwrite replaces it")

    def _take_lock(self) -> None:
        """Open the journal and lock it."""
        while True:
            self._lock = os.open(self.journal, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(self._lock)
                self._lock = -1
                message = f"{self.path}: another process is writing it"
                raise OutputError(message, f"its journal is {self.journal}") from None
            except OSError:
                return  # a file system without locks
            with suppress(FileNotFoundError):
                if os.path.samestat(os.stat(self.journal), os.fstat(self._lock)):
                    return
            os.close(self._lock)  # it was taken away between the two steps: whoever had it has just finished

    def _checkpointed(self) -> int:
        """Return the number of blocks that are safe in the file of this very translation; `resumed` tells of it."""
        done, self.resumed = 0, "began anew: no interrupted translation is there"
        try:
            with open(self.journal, "rb") as lines:
                entries = [json.loads(line) for line in lines if line.endswith(b"\n")]
            identity = entries[0]["identity"] if entries else None
            changed = _changed(identity, self._identity) if identity else ""
            done = int(entries[-1].get("done", 0)) if entries else 0
            found = {
                kind: {group: int(count) for group, count in counts.items()}
                for kind, counts in (entries[-1].get("found", {}) if done else {}).items()
            }
        except (ValueError, KeyError, TypeError, AttributeError):
            self.resumed = f"began anew: {self.journal} cannot be read"
            return 0
        if changed:
            self.resumed = f"began anew: what is there was made {changed}"
            return 0
        if not self.part.exists():
            return 0
        if not done:
            if identity:
                self.resumed = "began anew: what is there was interrupted before or within a checkpoint"
            return 0
        self.found = found
        self.resumed = f"went on behind block {done} of {self._identity.get('blocks', done)}"
        return done

    def _write(self, entry: dict[str, Any]) -> None:
        os.write(self._lock, (json.dumps(entry) + "\n").encode())
        os.fsync(self._lock)

    def create(self, build: Build) -> None:
        """Make the structure in memory and write it as it is: an error of the disk is then none of HDF5's.

        Parameters
        ----------
        build : callable
            Makes it.
        """
        with self.told():
            access = _access(evictions=True)  # it is all in memory once more already
            access.set_fapl_core(1 << 20, False)
            memory = h5f.create(b"structure", h5f.ACC_EXCL, h5p.create(h5p.FILE_CREATE), access)
            elements = build(memory)
            h5f.flush(memory)
            image = io.BytesIO(memory.get_file_image())
            memory.close()
            for address, size in elements:
                set_shuffle_size(image, address, size)
            self.part.unlink(missing_ok=True)
            _write_new(self.part, image.getbuffer())
            del image
            self._open()

    def _open(self) -> None:
        self.file = h5f.open(os.fsencode(self.part), h5f.ACC_RDWR, _access())
        self._descriptor = self.file.get_vfd_handle()
        self._room = os.fstat(self._descriptor).st_size
        self._needed = -1
        self._checked = time.monotonic()

    def _close(self) -> None:
        if self.file is not None:
            self.file.close()
            self.file = None

    def make_room(self, size: int) -> None:
        """Take the room on the disk for `size` bytes that will be appended, and for what HDF5 has in memory, or raise.

        HDF5 does not survive a write that fails: it cannot even close the file. So no write of its own should be
        first to find the disk full. Where there is plenty of room none is taken, as that costs a write of its own in
        memory and on some file systems; a quota that is met all the same is answered by `told`.
        """
        if self.file is None or self._diverted or self._plenty(size):
            return
        with self.told():
            end = self.file.get_filesize() + size + (1 << 12)
            if end > self._room:
                os.posix_fallocate(self._descriptor, self._room, end - self._room)
                self._room = end
            with open(self.part.with_name(f"{self.part.name}.room"), "wb") as room:
                os.unlink(room.name)
                os.posix_fallocate(room.fileno(), 0, self.file.get_mdc_size()[2] + (1 << 16))

    def share(self) -> None:
        """Let others write to what the file has by now: no room is taken below its present end any more.

        Where a file system cannot take room, the C library writes a zero here and there, and would hit what others
        write at the same time.
        """
        if self.file is not None:
            self._room = max(self._room, self.file.get_filesize())

    def _plenty(self, size: int) -> bool:
        """Whether the disk has many times the room that is needed, and a file may grow as it likes."""
        if resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY:
            return False
        system, status = os.fstatvfs(self._descriptor), os.fstat(self._descriptor)
        reserved = max(0, self.file.get_filesize() - 512 * status.st_blocks) if self.file else 0
        return system.f_bavail * system.f_frsize > PLENTY + 4 * size + reserved

    @property
    def checkpoint_due(self) -> bool:
        """Whether it is time for a checkpoint."""
        if time.monotonic() - self._checked > CHECKPOINT_SECONDS:
            return True
        metadata = self._metadata()
        if self._needed < 0:
            self._needed = metadata  # by the datasets that are filled now: another checkpoint would not change that
        return metadata - self._needed > MOST_METADATA

    def _metadata(self) -> int:
        """Return the most bytes that HDF5 may have in memory for what it keeps of the file."""
        if self.file is None:
            return 0
        _, _, size, entries = self.file.get_mdc_size()
        return int(size) + int(entries) * NODE_BYTES

    @contextmanager
    def evicting(self) -> Iterator[None]:
        """Let HDF5 write metadata when it likes: nothing was placed since the file was opened."""
        assert self.file is not None
        kept = self.file.get_mdc_config()
        self.file.set_mdc_config(_cache(evictions=True))
        yield
        self.file.set_mdc_config(kept)

    def checkpoint(self, done: int, found: Found, change: Callable[[], None] = lambda: None) -> None:
        """Make the first `done` blocks safe.  The file is closed and opened again; no dataset may be open.

        Parameters
        ----------
        done : int
            Blocks.
        found : dict
            What was wrong in them; who goes on has it in the attribute `found`.
        change : callable
            Changes chunks that may be in the file already; there is room for what it makes of them.
        """
        with self.told():
            self._secure(done, found, change)
            self._open()

    def _secure(self, done: int, found: Found, change: Callable[[], None]) -> None:
        """Close and sync the file between two lines of the journal."""
        self.make_room(0)
        self._write({"closing": done})
        self._kept = False
        change()
        self._close()
        _sync(self.part)
        self._write({"done": done, "found": found})
        self._kept = True
        self.done = done

    def finish(self, done: int, found: Found, change: Callable[[], None] = lambda: None) -> None:
        """Close and sync the file, and give it its final name; see `checkpoint`."""
        with self.told():
            self._secure(done, found, change)
            if self.path.exists() and not self._overwrite:
                raise OutputError(f"{self.path} exists now; what was made stays in {self.part}")
            os.replace(self.part, self.path)
            self.journal.unlink()
            _sync(self.path.parent)
        os.close(self._lock)
        self._lock = -1

    def __enter__(self) -> Output:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave nothing but what can be gone on with."""
        if self._lock < 0:
            return
        try:
            self._abandon()
        except (OSError, RuntimeError):
            if error is None:
                raise  # else the first error is the one to tell
        finally:
            os.close(self._lock)
            self._lock = -1

    def _abandon(self) -> None:
        """Drop the open file without another byte to the disk; keep what the last checkpoint made safe."""
        if not self._kept:
            self.journal.unlink(missing_ok=True)
            self.part.unlink(missing_ok=True)
        self._divert()
        for dataset in self.datasets.values():
            if dataset.valid:
                dataset._close()
        self._close()

    @property
    def kept(self) -> bool:
        """Whether there is a checkpoint that ``--resume`` can go on from."""
        return self._kept


def finished(path: Path, identity: dict[str, Any]) -> str | None:
    """Return in words how a file differs from what would be made now.

    Parameters
    ----------
    path : Path
        Its final name.
    identity : dict
        Names and values of its provenance, as they would be written (JSON values).

    Returns
    -------
    str or None
        Empty: it was made whole from the same and in the same way.  None: there is no such file.
    """
    if not path.exists():
        return None
    try:
        with h5py.File(path) as file:
            attributes = file[PROVENANCE].attrs
            told = {name: attributes.get(name, "[]") for name in identity}  # what is not written is an empty list
        same = json.loads(json.dumps(identity))
        told = {name: told[name] if isinstance(same[name], str) else json.loads(told[name]) for name in same}
        return _changed(told, same)
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, AttributeError):
        return "by something else, or is damaged"  # a group of this name may be of others too


def _changed(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Return in words what is not the same as when a translation was begun; empty if all is."""
    if before == now:
        return ""
    if before.get("version") != now.get("version"):
        return f"by another version of psana ({before.get('version')})"
    if before.get("options") != now.get("options"):
        return f"with other options ({_other_options(before.get('options', {}), now.get('options', {}))})"
    files = {source["path"]: source for source in before.get("sources", ())}
    for source in now.get("sources", ()):
        if source["path"] not in files:
            return f"without {source['path']}"
        if files[source["path"]] != source:
            return f"from another state of {source['path']}"
    for name, what in (("joined", "with other values from outside"), ("calib", "with other constants")):
        if before.get(name) != now.get(name):
            return what
    return "from other files"


def _other_options(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Return which options differ, and how."""
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return "; ".join(f"{name}: {json.dumps(before.get(name))}, now {json.dumps(now.get(name))}" for name in names)


def _access(*, evictions: bool = False) -> h5p.PropFAID:
    """Return how files are opened: for every HDF5, metadata kept in memory, identifiers closed with the file."""
    access = h5p.create(h5p.FILE_ACCESS)
    access.set_libver_bounds(h5f.LIBVER_EARLIEST, h5f.LIBVER_LATEST)
    access.set_fclose_degree(h5f.CLOSE_STRONG)
    access.set_mdc_config(_cache(evictions=evictions))
    access.set_cache(0, 1, 0, 0.0)  # of chunks: else each open dataset has a table of 64 kB for chunks it may get
    return access


def _cache(*, evictions: bool) -> h5ac.CacheConfig:
    """Return how many metadata HDF5 keeps in memory: few, or all."""
    cache = h5p.create(h5p.FILE_ACCESS).get_mdc_config()
    cache.evictions_enabled = evictions
    cache.min_size = cache.initial_size = SMALL_CACHE
    cache.incr_mode = cache.flash_incr_mode = cache.decr_mode = 0
    return cache


def _write_new(path: Path, content: memoryview) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        while content:
            content = content[os.write(descriptor, content) :]
    finally:
        os.close(descriptor)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
