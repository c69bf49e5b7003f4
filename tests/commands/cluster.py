"""Whole processes for the tests: `psana` alone or under mpiexec, its children, and what its files contain."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import subprocess
import sys
import time
import uuid
import zlib
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any
from unittest import mock

import h5py
import numpy as np
from h5py import h5s, h5t, h5z

from psanacli.commands import main

ROOT = Path(__file__).resolve().parents[2]
MPIEXEC = Path(sys.executable).with_name("mpiexec")
"""Of the mpich wheel, which belongs to the extra `test`."""
PSANA = [sys.executable, "-m", "psanacli"]
OFTEN = [
    sys.executable,
    "-c",
    "from psanacli.hdf5 import output; output.CHECKPOINT_SECONDS = 0; from psanacli.commands.main import main; main()",
]
"""`psana` with a checkpoint after every block."""
PATIENCE = 60
"""Seconds after which something hangs, on any machine."""
PROVENANCE = "/psanacli"
VOLATILE = {"/@UUID", "/@created", "/@jobName", f"{PROVENANCE}@command", f"{PROVENANCE}@created"}


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a user who knows this checkout, without that of a launcher."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("PMI", "OMPI", "PSANA"))}
    return {**bare, "PYTHONPATH": str(ROOT), "PYTHONFAULTHANDLER": "1", **more}


def ranks(count: int) -> list[str]:
    """Return what starts a command in `count` ranks; nothing for 0."""
    return [str(MPIEXEC), "-n", str(count)] if count else []


class Process(subprocess.Popen[str]):
    """A process with a mark in its environment, by which it and all that it starts are known."""

    MARK = "PSANACLI_TEST_PROCESS"

    def __init__(self, command: Sequence[object], **options: Any) -> None:
        self.mark = f"{self.MARK}={uuid.uuid4()}"
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment(), **options}
        options["env"] = dict(options["env"], **{self.MARK: self.mark.partition("=")[2]})
        super().__init__([str(word) for word in command], text=True, **options)

    def members(self) -> dict[int, str]:
        """Return this process and its children, wherever they are now: number and command line."""
        found = {}
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdecimal() and self.mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue  # it has just ended, or belongs to somebody else
        return found

    def ranks(self) -> list[int]:
        """Return the processes that run the command line, whatever launched them."""
        return sorted(n for n, words in self.members().items() if "psanacli" in words and "mpiexec" not in words)

    def begun(self, count: int = 1) -> None:
        """Wait until `count` processes run the command line: they have caught SIGTERM by then."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and self.poll() is None:
            if sum(_catches(number, signal.SIGTERM) for number in self.ranks()) >= count:
                return
            time.sleep(0.005)
        self.kill_all()
        raise AssertionError(f"{self.args} did not begin: {finish(self)}")

    def none_left(self, seconds: float = 3.0) -> bool:
        """Whether this process and all its children end within so many seconds; what is left is ended."""
        until = time.monotonic() + seconds
        while self.members():
            if time.monotonic() > until:
                self.kill_all()
                return False
            time.sleep(0.02)
        return True

    def kill_all(self) -> None:
        """End this process and its children."""
        for number in self.members():
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)


def finish(process: Process) -> tuple[int, str, str]:
    """Wait for the end; return exit code, stdout and stderr. A process that hangs is ended with its children."""
    try:
        out, errors = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        for number in process.ranks():
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGABRT)  # `faulthandler` prints the stacks of all threads
        time.sleep(1)
        process.kill_all()
        _, errors = process.communicate()
        raise AssertionError(f"{process.args} still ran after {PATIENCE} s\n{errors}") from None
    return process.returncode, out or "", errors or ""


def psana(*words: object, ranks_: int = 0, **options: Any) -> tuple[int, str, str]:
    """Run `psana`; return exit code, stdout and stderr."""
    return finish(Process([*ranks(ranks_), *PSANA, *words], **options))


def inside(*words: object) -> tuple[int, str, str]:
    """Run `psana` in this process, which takes a tenth of the time; return exit code, stdout and stderr."""
    out, errors = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    bare = mock.patch.dict(os.environ, environment(), clear=True)
    with bare, redirect_stdout(out), redirect_stderr(errors):
        code = main.run([str(word) for word in words])
    texts = []
    for stream in (out, errors):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode())  # type: ignore[attr-defined]
    return code, texts[0], texts[1]


def contents(path: Path) -> dict[str, Any]:
    """Return all that is in an HDF5 file, by place, but for what differs from run to run.

    Of datasets: type, space, filters, values, and the chunks in the file with what they have beyond the values.
    Deflated ones are inflated first: `isal` may find another, equally good, way to write the same bytes.
    """
    found: dict[str, Any] = {}
    with h5py.File(path) as file:
        for place, item in _items(file["/"], ""):
            found.update(_attributes(place, item))
            if isinstance(item, h5py.Dataset):
                found[place] = _dataset(item)
            elif isinstance(item, h5py.Group):
                found[place] = "group"
            else:
                found[place] = item
    return {place: value for place, value in found.items() if place not in VOLATILE}


def _items(group: h5py.Group, base: str) -> Iterator[tuple[str, Any]]:
    yield base or "/", group
    for name in group:
        link = group.get(name, getlink=True)
        place = f"{base}/{name}"
        if isinstance(link, h5py.SoftLink):
            yield place, ("soft", link.path)
        elif isinstance(link, h5py.ExternalLink):
            yield place, ("external", link.filename, link.path)
        elif isinstance(group[name], h5py.Group):
            yield from _items(group[name], place)
        else:
            yield place, group[name]


def _attributes(place: str, item: Any) -> dict[str, Any]:
    if isinstance(item, tuple):
        return {}
    return {f"{place}@{name}": (item.attrs.get_id(name).dtype, repr(item.attrs[name])) for name in item.attrs}


def _dataset(dataset: h5py.Dataset) -> Any:
    space, kind, creation = dataset.id.get_space(), dataset.id.get_type(), dataset.id.get_create_plist()
    if space.get_simple_extent_type() == h5s.NULL:
        return kind.encode(), None
    filters = [creation.get_filter(number) for number in range(creation.get_nfilters())]
    shape = space.get_simple_extent_dims(), space.get_simple_extent_dims(True), dataset.chunks
    digest = hashlib.sha256()
    if kind.detect_class(h5t.VLEN) or (kind.detect_class(h5t.STRING) and _variable(kind)) or dataset.chunks is None:
        _feed(digest, np.asarray(dataset[()]))
        return kind.encode(), shape, filters, digest.hexdigest()
    chunks = sorted(dataset.id.get_chunk_info(n).chunk_offset for n in range(dataset.id.get_num_chunks()))
    for offset in chunks:
        mask, data = dataset.id.read_direct_chunk(offset)
        if any(code == h5z.FILTER_DEFLATE for code, *_ in filters):
            data = zlib.decompress(data)
        digest.update(repr((offset, mask, len(data))).encode() + data)
    rows = np.ascontiguousarray(dataset[()])
    values = hashlib.sha256(rows.view(np.uint8) if rows.ndim else rows.tobytes()).hexdigest()
    return kind.encode(), shape, filters, len(chunks), values, digest.hexdigest()


def _feed(digest: Any, values: Any) -> None:
    """Add values with texts or lists of variable length to a digest."""
    if values.dtype.names:
        for name in values.dtype.names:
            _feed(digest, values[name])
    elif values.dtype != object:
        digest.update(np.ascontiguousarray(values).tobytes())
    else:
        for item in values.ravel():
            if isinstance(item, np.ndarray):
                digest.update(b"%d" % item.size)
                _feed(digest, item)
            else:
                digest.update(repr(item).encode())


def _variable(kind: h5t.TypeID) -> bool:
    """Whether a type has texts of variable length anywhere in it."""
    if kind.get_class() == h5t.STRING:
        return bool(kind.is_variable_str())
    if kind.get_class() == h5t.COMPOUND:
        return any(_variable(kind.get_member_type(number)) for number in range(kind.get_nmembers()))
    return kind.get_class() == h5t.ARRAY and _variable(kind.get_super())


def hidden(directory: Path) -> set[str]:
    """Return what a translation that did not end left: names of hidden files."""
    return {path.name for path in directory.iterdir() if path.name.startswith(".")}


def _catches(number: int, sign: int) -> bool:
    try:
        status = Path(f"/proc/{number}/status").read_text()
    except OSError:
        return False
    caught = int(status.partition("SigCgt:")[2].split()[0], 16)
    return bool(caught >> (sign - 1) & 1)
