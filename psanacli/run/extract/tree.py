"""The directory of an extracted run: ROOT/INSTRUMENT/EXPERIMENT/xtc, and what lies beside it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from psanacli.errors import NotFoundError, OutputError, UsageError
from psanacli.run.experiments import TABLE_NAME
from psanacli.run.extract.plan import Extraction
from psanacli.version import __version__

PROVENANCE = "psana-extract.json"
"""At the root: what was extracted, from where, when, and how."""


def xtc_directory(root: Path, extraction: Extraction) -> Path:
    """Return where the files of a run go under a root."""
    experiment = extraction.run.experiment
    return root / (experiment.instrument or "UNKNOWN") / experiment.name / "xtc"


@contextmanager
def new_tree(root: Path, extractions: Sequence[Extraction], *, overwrite: bool) -> Iterator[Path]:
    """Make a tree under a hidden name beside `root`, which takes its place when the block ends well.

    Parameters
    ----------
    root : Path
        The final directory.
    extractions : sequence of Extraction
        What goes there.
    overwrite : bool
        Replace an extraction that is there.

    Yields
    ------
    Path
        The hidden directory, with the directories of all runs in it.

    Raises
    ------
    OutputError
        It cannot be written; nothing has changed then.
    UsageError
        Something is there that is not to be replaced.
    """
    _check_place(root, extractions, overwrite)
    part: Path | None = None
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=root.parent, prefix=f".{root.name}."))
        mask = os.umask(0)
        os.umask(mask)
        part.chmod(0o777 & ~mask)
        for extraction in extractions:
            for name in ("smalldata", "index"):
                (xtc_directory(part, extraction) / name).mkdir(parents=True, exist_ok=True)
        yield part
        _put(part, root)
        part = None
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{root} cannot be written: {error.strerror}") from error
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)


def _check_place(root: Path, extractions: Sequence[Extraction], overwrite: bool) -> None:
    if not root.exists():
        return
    if not root.is_dir():
        raise UsageError(f"{root} is a file", "-o names the directory of the extracted run")
    inside = root.resolve()
    for extraction in extractions:
        for file in extraction.files:
            if inside in file.path.resolve().parents:
                raise UsageError(f"{root} has the data that are to be extracted", "choose another directory")
    if not any(root.iterdir()):
        return
    if not overwrite:
        raise UsageError(f"{root} is not empty", "choose another directory, or --overwrite an extraction that is there")
    if not (root / PROVENANCE).is_file():
        raise UsageError(f"{root} is no extraction, and is not replaced", f"an extraction has a file {PROVENANCE}")


def _put(part: Path, root: Path) -> None:
    """Rename the new directory; an older one goes only then."""
    for directory, _, _ in os.walk(part):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    old: Path | None = None
    if root.exists():
        if any(root.iterdir()):
            old = Path(tempfile.mkdtemp(dir=root.parent, prefix=f".{root.name}.old."))
            os.replace(root, old / root.name)
        else:
            root.rmdir()
    try:
        os.replace(part, root)
    except OSError:
        if old is not None:
            os.replace(old / root.name, root)
            with suppress(OSError):
                old.rmdir()
        raise
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def calibration_of(extraction: Extraction, given: Path | None) -> Path:
    """Return the calibration directory of the experiment: `given`, else ``calib`` beside ``xtc``.

    Raises
    ------
    NotFoundError
        It is not there.
    """
    directory = extraction.files[0].path.resolve().parent
    place = given or directory.parent / "calib"
    if not place.is_dir():
        hint = "--calib-dir names another one" if given is None else ""
        raise NotFoundError(f"there is no calibration directory {place}", hint)
    return place


def copy_calibration(source: Path, root: Path, extraction: Extraction) -> None:
    """Copy the calibration directory along."""
    target = xtc_directory(root, extraction).parent / "calib"
    if not target.exists():
        shutil.copytree(source, target)


def write_table(root: Path, extractions: Sequence[Extraction]) -> None:
    """Write the table of experiments for those that have a number: ``data/ExpNameDb/experiment-db.dat``."""
    rows = dict.fromkeys(
        f"{experiment.number} {experiment.instrument} {experiment.name}\n"
        for experiment in (extraction.run.experiment for extraction in extractions)
        if experiment.number and experiment.instrument
    )
    if rows:
        directory = root / "data" / "ExpNameDb"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / TABLE_NAME).write_text("".join(rows))


def write_provenance(root: Path, extractions: Sequence[Extraction], **more: Any) -> None:
    """Write what was extracted, from where, when, and how."""
    record = {
        "format": "psana extract",
        "version": 1,
        "psanacli": __version__,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        **more,
        "runs": [
            {**extraction.asdict(), "event_numbers": _ranges(extraction.events.tolist())} for extraction in extractions
        ],
    }
    (root / PROVENANCE).write_text(json.dumps(record, indent=2) + "\n")


def _ranges(numbers: list[int]) -> list[list[int]]:
    """Return numbers as slices ``[first, stop]``."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1]:
            found[-1][1] += 1
        else:
            found.append([number, number + 1])
    return found
