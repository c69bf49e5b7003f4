"""What the verbs of `psana calib` have in common: which store, which run, which detectors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import click

from psanacli.calib import (
    GEOMETRY,
    KINDS,
    Constants,
    SeenDetector,
    Store,
    identity,
    kind_of,
    type_of,
)
from psanacli.detector import JungfrauPiece, those_with_pixels
from psanacli.errors import NotFoundError, UsageError, did_you_mean
from psanacli.run import Run, RunFiles, calib_directory, parse_datasource, resolve


class Target:
    """The store and the run that a command line is about; the run is opened only when its data are needed.

    Attributes
    ----------
    store : Store
    number : int or None
        The run; None when neither data source nor option tells one.
    """

    def __init__(
        self, words: Sequence[str], roots: Sequence[str], calib_dir: str | None, number: int | None = None
    ) -> None:
        self._files: list[RunFiles] = resolve(parse_datasource(words, roots=roots)) if words else []
        if not words and calib_dir is None:
            raise click.UsageError("give a data source, or the directory of constants with --calib-dir")
        directory = (
            calib_directory(self._files[0].experiment, self._files[0].directory, calib_dir)
            if self._files
            else Path(str(calib_dir))
        )
        if directory is None:
            raise UsageError(
                f"the files of {' '.join(words)} are in no experiment that has a directory calib", "say --calib-dir DIR"
            )
        self.store = Store(directory)
        self.number = number if number is not None else self._files[0].run if self._files else None

    @cached_property
    def runs(self) -> list[Run]:
        """The runs of the data source, opened."""
        return [Run(files) for files in self._files]

    @property
    def experiment(self) -> str:
        """Name of the experiment, empty without a data source."""
        return self._files[0].experiment.name if self._files else ""

    def the_run(self) -> int:
        """Return the one run that is meant."""
        if len(self._files) > 1:
            numbers = ", ".join(str(files.run) for files in self._files[:10])
            raise click.UsageError(f"the data source has {len(self._files)} runs: {numbers}; name one")
        if self.number is None:
            raise click.UsageError("which run? Give a data source, or --run N")
        return self.number

    def source(self, name: str) -> str:
        """Return the full name of a detector that is named in any way."""
        try:
            kind_of(name)
            return name
        except UsageError as error:
            if not self._files:
                known = self.store.sources()
                hint = did_you_mean(name, known, f"there are {', '.join(known)}" if known else error.hint)
                raise NotFoundError(f"{self.store.directory} has no detector {name!r}", hint) from error
        return constants_name(self.runs[0], name)

    def check_pixels(self, source: str) -> None:
        """Fail when a detector, by its full name, has no pixels, and so no constants of them.

        Raises
        ------
        UsageError
            Nothing would ever read what is deployed for it.
        """
        if not kind_of(source).pixels:
            hint = _can_have_them(self.runs[0]) if self._files else "detectors of images have them"
            raise UsageError(f"{source} has no pixels, so nothing would read constants of them", hint)

    def sources(self, name: str | None) -> list[str]:
        """Return the detector that is named, else all that the run has or, without a run, the store."""
        if name is not None:
            return [self.source(name)]
        if not self._files:
            return self.store.sources()
        return list(self.seen())

    def seen(self) -> dict[str, list[SeenDetector]]:
        """Return all detectors of the runs that constants exist for."""
        found: dict[str, list[SeenDetector]] = {}
        for run in self.runs:
            for name in run.detectors:
                if _device(name) in KINDS:
                    found.setdefault(name, []).append(look(run, name))
        return found

    def look(self, source: str) -> SeenDetector | None:
        """Return what the first run tells of a detector; None without a run, or when it has no data of it."""
        if not self._files:
            return None
        try:
            return look(self.runs[0], source)
        except NotFoundError:
            return None


def look(run: Run, source: str) -> SeenDetector:
    """Return what a run tells of a detector."""
    shape = run.detector(source).shape
    kind = kind_of(source)
    raw = () if kind.shape else tuple(shape)
    whole = run.wholes.get(source)
    pieces = [piece.name for piece, _ in whole.pieces] if whole else [source]
    found = dict.fromkeys(pieces, "")
    for key in run.config:
        if key.source.name in found:
            found[key.source.name] = found[key.source.name] or identity(run.config[key].asdict())
    return SeenDetector(run.number, raw, "_".join(filter(None, found.values())))


def constants_name(run: Run, name: str) -> str:
    """Return the full name of the detector whose constants belong to a name: of a piece that of the whole.

    Raises
    ------
    NotFoundError
        The run has no such detector.
    UsageError
        There are no constants of such detectors, or the name fits several.
    """
    found = whole_name(run, name)
    try:
        kind_of(found)
    except UsageError as error:
        raise UsageError(f"{found} has no pixels, and so no constants", _can_have_them(run)) from error
    return found


def whole_name(run: Run, name: str) -> str:
    """Return the full name of a detector; of a piece of a larger one that of the whole."""
    detector = run.detector(name)
    return detector.whole if isinstance(detector, JungfrauPiece) else detector.name


def _can_have_them(run: Run) -> str:
    """Return the sentence that names the detectors of a run that constants of pixels exist for."""
    shown = ", ".join(those_with_pixels(run))
    return f"in this run {shown} can have them" if shown else "detectors of images have them, and this run has none"


def no_constants(store: Store, what: str = "") -> NotFoundError:
    """Return the error that a store has nothing of what was asked for.

    Parameters
    ----------
    store : Store
        Where was looked.
    what : str
        Of what: ``"of opal_1"``, ``"for run 3"``; empty: nothing at all.
    """
    if not store.directory.is_dir():
        return NotFoundError(
            f"there are no constants{what and ' '}{what}: {store.directory} does not exist",
            "psana calib dark --deploy and psana calib deploy make it; --calib-dir names another",
        )
    known = ", ".join(store.sources())
    return NotFoundError(
        f"{store.directory} has no constants{what and ' '}{what}",
        f"it has those of {known}" if known else "it is empty",
    )


def _device(source: str) -> str:
    return source.partition(":")[2].split(".")[0]


def about(found: Constants, *, statistics: bool = True) -> dict[str, Any]:
    """Return what is told of constants."""
    import numpy as np

    array = found.array
    told: dict[str, Any] = {
        "detector": found.source,
        "type": found.type,
        "run": found.run,
        "file": None if found.file is None else str(found.file),
        "range": None if found.range is None else str(found.range),
        "shape": list(found.shape),
        "dtype": str(found.dtype),
        "sha256": found.checksum,
    }
    if statistics:
        finite = array[np.isfinite(array)]
        told["statistics"] = {
            "min": finite.min() if finite.size else None,
            "median": float(np.median(finite)) if finite.size else None,
            "max": finite.max() if finite.size else None,
            "mean": float(finite.mean(dtype=np.float64)) if finite.size else None,
            "not_finite": int(array.size - finite.size),
            "nonzero": int(np.count_nonzero(array)),
        }
    return told


def check_type(name: str | None, *, geometry: bool = False) -> None:
    """Fail when there is no such type."""
    if name is not None and not (geometry and name == GEOMETRY):
        type_of(name)
