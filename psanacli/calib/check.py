"""A look through a whole store: what cannot be read, does not fit, is never used, or is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from psanacli.calib import history
from psanacli.calib.constants import read_text
from psanacli.calib.kinds import GEOMETRY, OLD_TYPES, PIXEL_TYPES, TYPES, DetectorKind, kind_of
from psanacli.calib.ranges import EXTENSION, Listing, spelled
from psanacli.calib.store import Store, in_shape
from psanacli.errors import ConstantsError, NotFoundError, did_you_mean

ERROR, WARNING, NOTE = "error", "warning", "note"
NEEDED = ("pedestals", "pixel_status", "pixel_rms")
"""Types that a detector with any constants of pixels should have."""


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be.

    Attributes
    ----------
    level : str
        ``error``: wrong numbers or none; ``warning``: probably not meant; ``note``: good to know.
    path : Path
        File or directory.
    what : str
        In words.
    """

    level: str
    path: Path
    what: str


@dataclass(frozen=True)
class SeenDetector:
    """What a run tells of a detector.

    Attributes
    ----------
    run : int
    shape : tuple of int
        Of its raw data; empty when the run has none.
    identity : str
        Serial number or the like from its configuration; empty when that has none.
    """

    run: int
    shape: tuple[int, ...] = ()
    identity: str = ""


def check(
    store: Store,
    *,
    source: str = "",
    seen: Mapping[str, list[SeenDetector]] | None = None,
    advance: Callable[[int], None] = lambda count: None,
) -> Iterator[Finding]:
    """Look through a store.

    Parameters
    ----------
    store : Store
        Its directory has to exist.
    source : str
        Only this detector.
    seen : mapping of str to list of SeenDetector
        Detectors as they are in runs, by source: then shapes of all detectors can be checked, missing constants told,
        and constants that were made for another camera.
    advance : callable
        Called with 1 after each file.

    Yields
    ------
    Finding
    """
    if not store.directory.is_dir():
        raise NotFoundError(f"{store.directory} does not exist", "--calib-dir names another directory of constants")
    seen = seen or {}
    for path, name, kind in store.source_directories():
        if source and name != source:
            continue
        if kind is None:
            yield Finding(WARNING, path, "nothing looks for this detector here: group and device do not agree")
            continue
        runs = seen.get(name, [])
        for constants_type in store.types(name):
            yield from _check_type(store, name, kind, constants_type, runs, advance)
        yield from _missing(store, name, path)
    for name, runs in seen.items():
        if source in ("", name):
            yield from _check_runs(store, name, runs)


def _check_type(
    store: Store,
    source: str,
    kind: DetectorKind,
    constants_type: str,
    runs: list[SeenDetector],
    advance: Callable[[int], None],
) -> Iterator[Finding]:
    directory = store.type_directory(source, constants_type)
    if constants_type not in TYPES and constants_type != GEOMETRY:
        if constants_type in OLD_TYPES:
            yield Finding(NOTE, directory, "an alignment of before 2014: nothing reads it any more")
        else:
            yield Finding(WARNING, directory, f"no type of constants; {did_you_mean(constants_type, TYPES, 'unknown')}")
        return
    listing = store.files(source, constants_type)
    yield from _check_ranges(directory, listing)
    shapes = {seen.shape for seen in runs if seen.shape}
    raw_shape = shapes.pop() if len(shapes) == 1 else ()
    for entry in listing.entries:
        advance(1)
        path = directory / entry.name
        if constants_type == GEOMETRY:
            continue
        constants = TYPES[constants_type]
        try:
            found = read_text(path, constants.dtype)
            in_shape(found.text.values, kind, constants, raw_shape, str(path))
        except ConstantsError as error:
            yield Finding(ERROR, path, error.message.removeprefix(f"{path}: "))
            continue
        if found.text.foreign:
            yield Finding(NOTE, path, "its DTYPE is one that psana-1 in Python cannot read, and takes a default for")
        if constants.dtype.kind == "f":
            bad = int((found.text.values != found.text.values).sum())
            if bad:
                yield Finding(WARNING, path, f"{bad} values are NaN")
    for record in history.read(directory)[-1:]:
        if record.ours and record.command == "deploy" and record.file and not (directory / record.file).exists():
            yield Finding(NOTE, directory, f"the last deployment ({record.file}) was not finished; nothing has changed")


def _check_ranges(directory: Path, listing: Listing) -> Iterator[Finding]:
    for name, reason in listing.ignored:
        yield Finding(WARNING, directory / name, f"is never used: {reason}")
    stretches = listing.stretches()
    reached = {entry.name for _, entry in stretches}
    for entry in listing.entries:
        if entry.range.empty:
            yield Finding(WARNING, directory / entry.name, "the range is reversed: it is never used")
        elif entry.name not in reached:
            yield Finding(WARNING, directory / entry.name, "is never used: other files hide all its runs")
        else:
            used = [runs for runs, other in stretches if other is entry]
            if used != [entry.range] and entry.range.end is not None:
                others = [
                    other.name for _, other in stretches if other is not entry and other.range.overlaps(entry.range)
                ]
                yield Finding(
                    NOTE,
                    directory / entry.name,
                    f"overlaps {', '.join(dict.fromkeys(others))}: applies to {spelled(used)} only",
                )
    last = stretches[-1][0] if stretches else None
    if last is not None and last.end is not None:
        yield Finding(NOTE, directory, f"no file for runs after {last.end}")
    for (before, _), (after, _) in pairwise(stretches):
        if after.begin > before.last + 1:
            yield Finding(NOTE, directory, f"no file for runs {before.last + 1}-{after.begin - 1}")


def _missing(store: Store, source: str, path: Path) -> Iterator[Finding]:
    there = [name for name in store.types(source) if store.files(source, name).entries]
    if any(name in PIXEL_TYPES for name in there):
        for name in NEEDED:
            if name not in there:
                yield Finding(WARNING, path, f"there are no {name}, although there are {', '.join(there)}")
        if kind_of(source).divides and "pixel_gain" not in there:
            yield Finding(
                WARNING, path, "there is no pixel_gain: images are in ADU, and gain ranges have different scales"
            )
    if not any(store.files(source, name).entries for name in store.types(source)):
        yield Finding(NOTE, path, f"no file that ends with {EXTENSION}")


def _check_runs(store: Store, source: str, runs: list[SeenDetector]) -> Iterator[Finding]:
    """Compare the constants that apply to runs with the detectors that made their data."""
    first_of: dict[str, int] = {}
    for seen in sorted(runs, key=lambda seen: seen.run):
        if seen.identity:
            first_of.setdefault(seen.identity, seen.run)
    for seen in runs:
        for name in NEEDED:
            choice = store.which(source, name, seen.run)
            if choice.file is None or choice.entry is None:
                if store.types(source):
                    yield Finding(WARNING, choice.directory, f"no {name} for run {seen.run}, which has {source}")
                continue
            made_for = _identity_of(choice.directory, choice.entry.name)
            if made_for and seen.identity and made_for != seen.identity:
                yield Finding(
                    ERROR, choice.file, f"was made for {made_for}; in run {seen.run} {source} is {seen.identity}"
                )
            elif not made_for and seen.identity and choice.entry.range.begin < first_of[seen.identity]:
                others = [identity for identity, run in first_of.items() if run < first_of[seen.identity]]
                if others:
                    yield Finding(
                        ERROR,
                        choice.file,
                        f"is older than the camera: {source} is {seen.identity} since run {first_of[seen.identity]}, "
                        f"it was {others[-1]} before",
                    )


def _identity_of(directory: Path, name: str) -> str:
    """Return for which camera a file was deployed, as far as the history knows."""
    records = [record for record in history.read(directory) if record.file == name]
    return records[-1].values.get("detid", "") if records else ""
