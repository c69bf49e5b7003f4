"""Changes of a directory of constants: one at a time, each whole or not at all, each with its line in the history.

The order is such that a process may be killed anywhere: the new file is complete beside the others; then the line in
the history; then the backup of what was there; then one rename.  A line without its file says that the deployment was
not finished; a file without a line there cannot be.
"""

from __future__ import annotations

import errno
import fcntl
import grp
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from psanacli.calib.history import NAME, Record
from psanacli.errors import OutputError

GROUP = "ps-users"
"""Who may deploy constants at the facility; where there is no such group, groups and permissions are left alone."""

_PART = ".part"
_NO_LOCKS = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}


def facility_group() -> int | None:
    """Return the number of the group of the facility, None where there is no such group."""
    try:
        return grp.getgrnam(GROUP).gr_gid
    except KeyError:
        return None


class Place:
    """The directory of one type of constants while it is being changed; made by `changing`."""

    def __init__(self, directory: Path, history: int, locked: bool) -> None:
        self.directory = directory
        self._history = history
        self._locked = locked
        self._clean()

    def _clean(self) -> None:
        """Remove what killed processes left: of nobody else, as long as the directory is locked."""
        for name in os.listdir(self.directory):
            path = self.directory / name
            with suppress(OSError):
                if name.startswith(".") and name.endswith(_PART):
                    if self._locked or time.time() - path.stat().st_mtime > 86_400:
                        path.unlink()

    def record(self, record: Record) -> int:
        """Append a line to the history, and wait until it is on disk; return the length of the history before."""
        before = os.fstat(self._history).st_size
        line = (record.format() + "\n").encode("utf-8", "surrogateescape")
        if before and os.pread(self._history, 1, before - 1) != b"\n":
            line = b"\n" + line  # what a full disk left of another's
        with ExitStack() as undo:
            undo.callback(self.forget, before, len(line))
            if os.write(self._history, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._history)
            undo.pop_all()
        return before

    def forget(self, before: int, most: int) -> None:
        """Take back the line that was appended last, unless another process has written since."""
        with suppress(OSError):
            if os.fstat(self._history).st_size <= before + most:
                os.ftruncate(self._history, before)

    def put(self, name: str, data: bytes, record: Record) -> None:
        """Give a file new content, together with its line in the history.

        If the file exists, the value ``replaced`` of the record names the backup that is kept of it.
        """
        target = self.directory / name
        part = self._write_part(name, data)
        try:
            before = self.record(record)
            try:
                backup = record.values.get("replaced")
                if backup:
                    os.link(target, self.directory / backup)
                    try:
                        os.replace(part, target)
                    except OSError:
                        os.unlink(self.directory / backup)
                        raise
                else:
                    os.link(part, target)  # never over a file that has come meanwhile
                    os.unlink(part)
            except OSError:
                self.forget(before, len(record.format()) + 8)
                raise
        finally:
            with suppress(FileNotFoundError):
                os.unlink(part)
        _sync(self.directory)

    def take_away(self, name: str, record: Record) -> None:
        """Rename a file to the backup that ``replaced`` names, together with its line in the history."""
        before = self.record(record)
        try:
            os.rename(self.directory / name, self.directory / record.values["replaced"])
        except OSError:
            self.forget(before, len(record.format()) + 8)
            raise
        _sync(self.directory)

    def free_backup(self, name: str) -> str:
        """Return a name for a backup of a file, which the look-up ignores and nothing has."""
        base = f"{name}-{time.strftime('%Y-%m-%dT%H:%M:%S')}"
        names = set(os.listdir(self.directory))
        return next(found for k in range(1, 10_000) if (found := base if k == 1 else f"{base}-{k}") not in names)

    def _write_part(self, name: str, data: bytes) -> str:
        number, part = tempfile.mkstemp(prefix=f".{name}.", suffix=_PART, dir=self.directory)
        with ExitStack() as undo:
            undo.callback(os.unlink, part)
            with open(number, "wb") as file:
                file.write(data)
                file.flush()
                permit(file.fileno(), 0o664)
                os.fsync(file.fileno())
            undo.pop_all()
        return part


@contextmanager
def changing(directory: Path) -> Iterator[Place]:
    """Hold a directory of constants for a change, made if it does not exist; nobody else changes it meanwhile.

    Raises
    ------
    OutputError
        It cannot be written; nothing has changed then, and directories that were made are gone.
    """
    made: list[Path] = []
    history = -1
    try:
        made = _make(directory)
        history, locked, new = _lock(directory / NAME)
        try:
            yield Place(directory, history, locked)
        finally:
            if new and os.fstat(history).st_size == 0:
                (directory / NAME).unlink(missing_ok=True)
            os.close(history)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        where = os.fspath(error.filename) if error.filename else str(directory)
        hint = (
            "nothing has changed" if error.errno != errno.EEXIST else "somebody else has just deployed it; look again"
        )
        raise OutputError(f"{where} cannot be written: {error.strerror}", hint) from error
    finally:
        for path in reversed(made):
            with suppress(OSError):
                path.rmdir()  # only if it is empty: then nothing was deployed


def _make(directory: Path) -> list[Path]:
    """Make a directory and those above; return the new ones, outermost first."""
    missing = [directory]
    while not missing[-1].parent.is_dir():
        missing.append(missing[-1].parent)
    made = []
    for path in reversed(missing):
        try:
            path.mkdir()
        except FileExistsError:
            continue
        made.append(path)
        file = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            permit(file, 0o2775)
        finally:
            os.close(file)
    return made


def _lock(path: Path) -> tuple[int, bool, bool]:
    """Open the history and lock it; return its number, whether locks work here, and whether it is new."""
    while True:
        new = not path.exists()
        history = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o664)
        with ExitStack() as close:
            close.callback(os.close, history)  # also if another process took it away while this one waited
            if new:
                permit(history, 0o664)
            try:
                fcntl.flock(history, fcntl.LOCK_EX)
                locked = True
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                locked = False
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(history), os.stat(path)):
                    close.pop_all()
                    return history, locked, new


def permit(file: int, mode: int) -> None:
    """Give a new file or directory the group and permissions of the facility, where these exist."""
    group = facility_group()
    if group is None:
        if not mode & 0o111:
            mask = os.umask(0)
            os.umask(mask)
            os.fchmod(file, 0o666 & ~mask)  # a temporary file is for its owner alone
        return
    with suppress(PermissionError):  # not a member: the group of the directory stays
        os.fchown(file, -1, group)
    os.fchmod(file, mode)


def _sync(directory: Path) -> None:
    file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
