"""Data sources: what a user names; `psanacli.run.resolving` finds the files that it stands for.

A data source is a file, a directory, or options joined by colons (``exp=xpptut15:run=54:smd``).  The
grammar is that of the facility; where ours differs, ``docs/deviations.md`` says so.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from psanacli.errors import UsageError, did_you_mean
from psanacli.run.experiments import Roots, is_number
from psanacli.run.files import (
    Numbers,
)

KEYS = ("exp", "run", "stream", "dir", "xtc", "smd", "idx", "rax", "live")
MODES = ("xtc", "smd", "idx", "rax")

_NOT_OFFERED = {
    "h5": "a translated file is read with h5py",
    "shmem": "data are read from files: exp=NAME:run=N, a file or a directory",
    "one-stream": "use stream=N, or small data (smd)",
    "ffb": "use dir=DIRECTORY",
    "noidx": "it is not needed: without idx a run is read in order",
    "calib-dir": "it is not part of a data source",
}


@dataclass(frozen=True)
class Dataset:
    """Options of one data source; `experiment` or `directory` is always given.

    Attributes
    ----------
    text : str
        As the user wrote it.
    experiment : str
        Name, ``INSTRUMENT/NAME`` or number; empty for whatever the directory holds.
    runs, streams : Numbers or None
        The wanted ones; None for all.
    directory : Path or None
        In place of the default one.
    mode : str
        ``xtc``, ``smd``, ``idx``, ``rax``; empty for big files, or small data if there are only these.
    live : bool
        Whether files that are still being written count.
    """

    text: str
    experiment: str = ""
    runs: Numbers | None = None
    streams: Numbers | None = None
    directory: Path | None = None
    mode: str = "xtc"
    live: bool = False


@dataclass(frozen=True)
class DataSource:
    """What the user asked for: datasets and files in the order given, and where to look."""

    parts: tuple[Dataset | Path, ...]
    roots: Roots

    @property
    def live(self) -> bool:
        """Whether the user asked to follow runs that are being written."""
        return any(isinstance(part, Dataset) and part.live for part in self.parts)

    def followed(self) -> DataSource:
        """Return the same with files that are still being written."""
        parts = tuple(replace(part, live=True) if isinstance(part, Dataset) else part for part in self.parts)
        return replace(self, parts=parts)

    def __str__(self) -> str:
        return " ".join(part.text if isinstance(part, Dataset) else str(part) for part in self.parts)


def parse_datasource(
    strings: Sequence[str],
    *,
    roots: Iterable[str | os.PathLike[str]] = (),
    environ: Mapping[str, str] = os.environ,
) -> DataSource:
    """Understand data-source strings, files and directories.

    Parameters
    ----------
    strings : sequence of str
        At least one.  A string that names something on disk is that file or directory; else the grammar decides.
    roots : iterable of str or Path
        Directories with ``INSTRUMENT/EXPERIMENT/xtc``; ``OLD=NEW`` for data that were moved.
    environ : mapping
        Gives ``PSANA_ROOT``, ``SIT_PSDM_DATA`` and ``SIT_DATA``.

    Raises
    ------
    UsageError
        For an unknown key, a bad number or range, modes that exclude each other, and what is not offered.

    Examples
    --------
    >>> parse_datasource(["exp=xpptut15:run=54,60-62:smd"]).parts[0].mode
    'smd'
    """
    if isinstance(strings, str):
        strings = [strings]
    if not strings:
        raise UsageError("no data source given", "give exp=NAME:run=N, a file or a directory")
    places = Roots.gather(roots, environ)
    return DataSource(tuple(_parse(os.fspath(text), places) for text in strings), places)


def _parse(text: str, roots: Roots) -> Dataset | Path:
    path = roots.map(text)
    if "\0" in text:
        raise UsageError(f"data source {text!r} has a NUL")
    if text.strip() and os.path.exists(path):
        return Dataset(text, directory=path, mode="") if path.is_dir() else path
    if not _is_dataset(text):
        return path
    options = [option.strip() for option in text.split(":")]
    head = roots.map(options[0])
    if "=" not in options[0] and os.path.isfile(head):
        raise UsageError(f"{text}: options cannot follow a file", "name only the file, or its directory with options")
    if "=" not in options[0] and options[0] not in KEYS and options[0] and os.path.isdir(head):
        options[0] = f"dir={options[0]}"
    return _parse_options(text, options, roots)


def _is_dataset(text: str) -> bool:
    if ":" not in text:
        return "=" in text or not ("." in text or "/" in text)
    return text.endswith(":") or re.search(r":[^/0-9]", text) is not None


def _parse_options(text: str, options: Sequence[str], roots: Roots) -> Dataset:
    values: dict[str, str] = {}
    for option in options:
        key, _, value = (word.strip() for word in option.partition("="))
        if not option:
            continue
        if key.lower() in _NOT_OFFERED:
            raise UsageError(f"{text}: {key.lower()!r} is not offered", _NOT_OFFERED[key.lower()])
        if key.lower() not in KEYS:
            other = "" if "=" in option or len(options) > 1 else f"no file or directory {text!r}, and "
            hint = did_you_mean(key, KEYS, f"the keys are {', '.join(KEYS)}; or give a file or a directory")
            raise UsageError(f"{other or text + ': '}unknown key {key!r}", hint)
        if key.lower() in (*MODES, "live") and value:
            raise UsageError(f"{text}: {key!r} takes no value", f"write only {key.lower()}")
        values[key.lower()] = value
    modes = [key for key in values if key in MODES]
    if len(modes) > 1:
        raise UsageError(f"{text}: {' and '.join(modes)} exclude each other", "choose one")
    if "live" in values and modes and modes[0] in ("idx", "rax"):
        hint = "a run that is being written is read in order"
        raise UsageError(f"{text}: live and {modes[0]} exclude each other", hint)
    if "exp" in values and not values["exp"]:
        raise UsageError(f"{text}: exp= has no value", "give exp=NAME, exp=INSTRUMENT/NAME or exp=NUMBER")
    if "dir" in values and not values["dir"]:
        raise UsageError(f"{text}: dir= has no value", "give the directory that has the files")
    if "exp" not in values and "dir" not in values:
        raise UsageError(f"{text}: no experiment is named", "add exp=NAME, or dir=DIRECTORY, or give a file")
    if "run" in values and not values["run"].strip(", "):
        values.pop("run")
    return Dataset(
        text,
        values.get("exp", ""),
        _numbers(text, "run", values.get("run", "")),
        _numbers(text, "stream", values.get("stream", "")),
        roots.map(values["dir"]) if "dir" in values else None,
        modes[0] if modes else "xtc",
        "live" in values,
    )


def _numbers(text: str, key: str, spec: str) -> Numbers | None:
    """Read a list like ``5,7-9``; an item ``1-`` is the number 1, empty items count for nothing."""
    ranges = []
    for item in filter(None, (item.strip() for item in spec.split(","))):
        first, _, last = (word.strip() for word in item.partition("-"))
        last = last or first
        if not (is_number(first) and is_number(last)):
            raise UsageError(f"{text}: {key}={spec}: {item!r} is no number", f"write {key}=5, {key}=1,2 or {key}=7-9")
        if int(first) > int(last):
            raise UsageError(f"{text}: {key}={spec}: the range {item} is reversed", f"did you mean {last}-{first}?")
        ranges.append((int(first), int(last)))
    return Numbers(tuple(ranges)) if ranges else None
