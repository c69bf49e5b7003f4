"""Whole processes for the tests: `psana` alone or under mpiexec, its children, and what its files contain."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5s, h5t

ROOT = Path(__file__).resolve().parents[2]
MPIEXEC = Path(sys.executable).with_name("mpiexec")
"""Of the mpich wheel, which belongs to the extra `test`."""
PSANA = [sys.executable, "-m", "psanacli"]
PATIENCE = 60
"""Seconds after which something hangs, on any machine."""
PROVENANCE = "/psanacli"
VOLATILE = {"/@UUID", "/@created", "/@jobName", f"{PROVENANCE}@command", f"{PROVENANCE}@created"}


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a user who knows this checkout, without that of a launcher."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("PMI", "OMPI", "PSANA"))}
    return {**bare, "PYTHONPATH": str(ROOT), **more}


def ranks(count: int) -> list[str]:
    """Return what starts a command in `count` ranks; nothing for 0."""
    return [str(MPIEXEC), "-n", str(count)] if count else []


def start(command: Sequence[object], **options: Any) -> subprocess.Popen[str]:
    """Start a process in a session of its own, with pipes for its output."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment(), **options}
    return subprocess.Popen([str(word) for word in command], text=True, start_new_session=True, **options)


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for the end; return exit code, stdout and stderr. A process that hangs is ended with all its children."""
    try:
        out, errors = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise AssertionError(f"{process.args} still ran after {PATIENCE} s") from None
    return process.returncode, out or "", errors or ""


def psana(*words: object, ranks_: int = 0, **options: Any) -> tuple[int, str, str]:
    """Run `psana`; return exit code, stdout and stderr."""
    return finish(start([*ranks(ranks_), *PSANA, *words], **options))


def members(process: subprocess.Popen[str]) -> dict[int, str]:
    """Return the processes of the session that `process` leads, itself included: number and command line."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has just ended
        if int(fields[3]) == process.pid and fields[0] != "Z":
            found[int(entry.name)] = words
    return found


def none_left(process: subprocess.Popen[str], seconds: float = 3.0) -> bool:
    """Whether all processes of a session end within so many seconds; what is left is ended."""
    until = time.monotonic() + seconds
    while left := members(process):
        if time.monotonic() > until:
            for number in left:
                os.kill(number, signal.SIGKILL)
            return False
        time.sleep(0.02)
    return True


def contents(path: Path) -> dict[str, Any]:
    """Return all that is in an HDF5 file, by place, but for what differs from run to run.

    Of datasets: type, space, filters, and the chunks as they stand in the file; where HDF5 keeps the values elsewhere
    (texts and lists of variable length), the values.
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
    if kind.detect_class(h5t.VLEN) or kind.detect_class(h5t.STRING) and _variable(kind) or dataset.chunks is None:
        for row in dataset[()].ravel() if dataset.shape else [dataset[()]]:
            digest.update(repr(row).encode())
        return kind.encode(), shape, filters, digest.hexdigest()
    chunks = sorted(dataset.id.get_chunk_info(n).chunk_offset for n in range(dataset.id.get_num_chunks()))
    for offset in chunks:
        mask, data = dataset.id.read_direct_chunk(offset)
        digest.update(repr((offset, mask, len(data))).encode() + data)
    rows = np.ascontiguousarray(dataset[()])
    values = hashlib.sha256(rows.view(np.uint8) if rows.ndim else rows.tobytes()).hexdigest()
    return kind.encode(), shape, filters, len(chunks), values, digest.hexdigest()


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
