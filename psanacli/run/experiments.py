"""Experiments: their names, numbers and directories, under one or several roots.

A root has the directories ``INSTRUMENT/EXPERIMENT/xtc``.  Experiments of the first years have a number, which names
their files; the table ``experiment-db.dat`` (lines ``NUMBER INSTRUMENT EXPERIMENT``) translates.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from psanacli.errors import NotFoundError, UsageError, did_you_mean, nearest

DEFAULT_ROOTS = ("/reg/d/psdm", "/cds/data/psdm", "/sdf/data/lcls/ds")
"""Where the facility keeps (and kept) the experiments, tried when no root is given."""

INSTRUMENTS = ("AMO", "SXR", "XPP", "XCS", "CXI", "MEC", "MFX", "DET", "DIA", "MOB", "USR")
TABLE_NAME = "experiment-db.dat"
_TABLE_LIMIT = 1 << 24  # bytes; the table of the facility has some ten thousand

Note = Callable[[str], None]
"""What takes the lines of an explanation."""


@dataclass(frozen=True)
class Experiment:
    """An experiment.

    Attributes
    ----------
    name : str
        Its name (``cxilu0917``), or the prefix of its files when only that is known.
    instrument : str
        ``CXI``; empty when unknown.
    number : int
        Its number; 0 when it has none or it is unknown.
    """

    name: str
    instrument: str = ""
    number: int = 0

    def __str__(self) -> str:
        return f"{self.instrument}/{self.name}" if self.instrument else self.name


@dataclass(frozen=True)
class Roots:
    """Where experiments are looked for.

    Attributes
    ----------
    directories : tuple of Path
        Roots, in the order in which they are tried.
    moved : tuple of (str, str)
        Old and new beginnings of paths: data that the facility wrote at the first are found at the second.
    tables : tuple of Path
        Directories in which tables of experiments are looked for first.
    """

    directories: tuple[Path, ...] = ()
    moved: tuple[tuple[str, str], ...] = ()
    tables: tuple[Path, ...] = ()

    @classmethod
    def gather(cls, roots: Iterable[str | os.PathLike[str]], environ: Mapping[str, str]) -> Roots:
        """Return the roots of options and environment.

        The first of these that names a directory decides: `roots`, ``PSANA_ROOT`` (colon-separated), ``SIT_PSDM_DATA``,
        the places of the facility.  Entries ``OLD=NEW`` of the first two give moved paths, and always count.
        """
        given = [os.fspath(root) for root in roots]
        variable = [entry for entry in environ.get("PSANA_ROOT", "").split(":") if entry]
        moved: list[tuple[str, str]] = []
        for entry in [*given, *variable]:
            old, sign, new = entry.partition("=")
            if sign and not (old and new):
                raise UsageError(f"root {entry!r}: expected DIRECTORY or OLD=NEW")
            if sign:
                moved.append((old.rstrip("/") or "/", new))
        facility = [environ["SIT_PSDM_DATA"]] if environ.get("SIT_PSDM_DATA") else list(DEFAULT_ROOTS)
        plain = [[entry for entry in level if "=" not in entry] for level in (given, variable)]
        directories = next(level for level in (*plain, facility) if level)
        tables = tuple(Path(entry) for entry in environ.get("SIT_DATA", "").split(":") if entry)
        unmapped = cls((), tuple(sorted(moved, key=lambda pair: -len(pair[0]))), tables)
        found = dict.fromkeys(unmapped.map(entry) for entry in directories)
        return cls(tuple(found), unmapped.moved, tables)

    def map(self, path: str | os.PathLike[str]) -> Path:
        """Return `path` with an old beginning replaced by the new one."""
        text = os.path.expanduser(os.fspath(path))
        for old, new in self.moved:
            if text == old or text.startswith(old.rstrip("/") + "/"):
                return Path(new) / text[len(old) :].lstrip("/")
        return Path(text)

    def read_tables(self, near: Path | None, note: Note) -> list[Table]:
        """Return the tables of experiments: of ``SIT_DATA``, at the roots, and at or above the directory `near`."""
        places = [place for base in self.tables for place in (base / "ExpNameDb", base / "data" / "ExpNameDb", base)]
        places += [
            place
            for root in self.directories
            for place in (root / "ExpNameDb", root, root / "data" / "ExpNameDb", root.parent)
        ]
        if near is not None:
            near = near.absolute()
            above = near, *list(near.parents)[:4]
            places += [place / sub for place in above for sub in ("", "ExpNameDb", "data/ExpNameDb")]
        tables = []
        for path in dict.fromkeys(place / TABLE_NAME for place in places):
            if path.is_file():
                table = Table.read(path)
                note(f"table of experiments {path}: {len(table.rows)} experiments")
                tables.append(table)
        if not tables:
            note(f"no table of experiments ({TABLE_NAME}) in SIT_DATA, at the roots or above the data")
        return tables


@dataclass(frozen=True)
class Table:
    """The rows of one ``experiment-db.dat``."""

    path: Path
    rows: tuple[Experiment, ...]

    @classmethod
    def read(cls, path: Path) -> Table:
        """Read a table; lines that are not ``NUMBER INSTRUMENT EXPERIMENT`` are passed over."""
        try:
            with open(path, "rb") as file:
                text = file.read(_TABLE_LIMIT).decode("latin-1")
        except OSError as error:
            raise NotFoundError(f"{path}: the table of experiments cannot be read: {error.strerror}") from error
        rows = []
        for line in text.splitlines():
            words = line.split()
            if len(words) == 3 and is_number(words[0]):
                rows.append(Experiment(words[2], words[1], int(words[0])))
        return cls(path, tuple(rows))

    def of_number(self, number: int) -> Experiment | None:
        """Return the experiment with this number; the last row decides."""
        return next((row for row in reversed(self.rows) if row.number == number), None)

    def of_name(self, name: str, instrument: str = "") -> Experiment | None:
        """Return the experiment of this name (and instrument), whatever the case; the last row decides."""
        for row in reversed(self.rows):
            if row.name.lower() == name.lower() and instrument.lower() in ("", row.instrument.lower()):
                return row
        return None


def is_number(text: str) -> bool:
    """Tell whether `text` is a decimal number of a size that experiments, runs and streams have."""
    return text.isascii() and text.isdigit() and len(text.lstrip("0")) <= 9


def instrument_of(name: str) -> str:
    """Return the instrument with which the name of an experiment begins, empty if it does with none."""
    return name[:3].upper() if name[:3].upper() in INSTRUMENTS and len(name) >= 6 else ""


def find_experiment(
    text: str, roots: Roots, tables: Sequence[Table], *, chosen: Path | None, note: Note
) -> tuple[Experiment, Path]:
    """Find the experiment that ``exp=`` names, and the directory of its data.

    Parameters
    ----------
    text : str
        A name, ``INSTRUMENT/NAME`` or a number; case does not matter.
    roots : Roots
        Where to look.
    tables : sequence of Table
        The tables of experiments that were found.
    chosen : Path or None
        The directory that the user chose with ``dir=``; then no directory is looked for.
    note : callable
        Takes the lines of the explanation.

    Raises
    ------
    NotFoundError
        When there is no such experiment, with the nearest that there are.
    """
    if is_number(text):
        return _find_number(int(text), roots, tables, chosen=chosen, note=note)
    instrument, _, name = text.rpartition("/")
    known = next(filter(None, (table.of_name(name, instrument) for table in tables)), None)
    elsewhere = next(filter(None, (table.of_name(name) for table in tables)), None)
    if known is not None:
        note(f"experiment {text}: {known}, number {known.number}")
    elif elsewhere is not None and chosen is None:
        note(f"experiment {name} is of {elsewhere.instrument}, not {instrument}")
        raise NotFoundError(f"experiment {text} does not exist", f"did you mean exp={elsewhere}?")
    experiment = known or Experiment(name, (instrument or instrument_of(name)).upper())
    if chosen is not None:
        return experiment, chosen
    found = _directory(experiment, roots, note)
    if found is not None:
        return found
    searched = ", ".join(map(str, roots.directories))
    if known is not None:
        raise NotFoundError(f"experiment {known} has no directory under {searched}", "name a root (--root), or dir=")
    names = [*(row.name for table in tables for row in table.rows), *_names(roots)]
    hint = did_you_mean(name, names, "name a root (--root or PSANA_ROOT), or the directory of the files (dir=)")
    raise NotFoundError(f"no experiment {text} under {searched}", hint)


def _find_number(
    number: int, roots: Roots, tables: Sequence[Table], *, chosen: Path | None, note: Note
) -> tuple[Experiment, Path]:
    known = next(filter(None, (table.of_number(number) for table in tables)), None)
    if known is None and chosen is not None:
        note(f"experiment number {number}: in no table; its files begin with e{number}")
        return Experiment(f"e{number}", "", number), chosen
    if known is None:
        numbers = {str(row.number): row for table in tables for row in table.rows}
        near = [f"{key} ({numbers[key]})" for key in nearest(str(number), numbers)]
        otherwise = f"the table of experiments ({TABLE_NAME}) may lie at a root or in a directory of SIT_DATA"
        raise NotFoundError(
            f"no experiment has the number {number} in {len(tables)} tables",
            f"the nearest are {', '.join(near)}" if near else otherwise,
        )
    note(f"experiment number {number}: {known}")
    if chosen is not None:
        return known, chosen
    found = _directory(known, roots, note)
    if found is None:
        searched = ", ".join(map(str, roots.directories))
        raise NotFoundError(f"experiment {known} has no directory under {searched}", "name a root (--root), or dir=")
    return found


def _directory(experiment: Experiment, roots: Roots, note: Note) -> tuple[Experiment, Path] | None:
    """Look for ``ROOT/INSTRUMENT/NAME/xtc`` under all roots; without it, an experiment without data will do."""
    empty: tuple[Experiment, Path] | None = None
    for root in roots.directories:
        for found, directory in _below(experiment, root, note):
            if (directory / "xtc").is_dir():
                note(f"{directory}: found")
                return found, directory / "xtc"
            note(f"{directory}: found, without a directory xtc")
            empty = empty or (found, directory / "xtc")
    return empty


def _below(experiment: Experiment, root: Path, note: Note) -> Iterator[tuple[Experiment, Path]]:
    """Give the directory of an experiment below a root: as written, else whatever the case and the instrument."""
    exact = root / experiment.instrument / experiment.name
    if experiment.instrument and exact.is_dir():
        yield experiment, exact
        return
    note(f"{exact if experiment.instrument else root / '*' / experiment.name}: not there")
    for instrument in _subdirectories(root):
        if experiment.instrument.lower() in ("", instrument.name.lower()):
            for directory in _subdirectories(instrument):
                if directory.name.lower() == experiment.name.lower():
                    yield Experiment(directory.name, instrument.name, experiment.number), directory


def _subdirectories(directory: Path) -> Iterator[Path]:
    try:
        with os.scandir(directory) as entries:
            found = sorted(entry.name for entry in entries if entry.is_dir())
    except OSError:
        return  # a root that is not there or may not be read has no experiments
    yield from (directory / name for name in found)


def _names(roots: Roots) -> Iterator[str]:
    for root in roots.directories:
        for instrument in _subdirectories(root):
            if len(instrument.name) == 3:
                yield from (directory.name for directory in _subdirectories(instrument))


def of_files(prefix: str, directory: Path, tables: Sequence[Table]) -> Experiment:
    """Return the experiment to which files with this prefix in this directory belong, as far as can be known."""
    number = int(prefix[1:]) if prefix[:1] == "e" and is_number(prefix[1:]) else 0
    for table in tables:
        known = table.of_number(number) if number else table.of_name(prefix)
        if known is not None:
            return known
    parts = directory.absolute().parts
    if number and len(parts) >= 4 and parts[-1] == "xtc" and parts[-3].upper() in INSTRUMENTS:
        return Experiment(parts[-2], parts[-3], number)
    return Experiment(prefix, "" if number else instrument_of(prefix), number)


def calib_directory(experiment: Experiment, data: Path, given: str | os.PathLike[str] | None = None) -> Path | None:
    """Return the directory of the calibration constants of an experiment, whether it exists or not.

    Parameters
    ----------
    experiment : Experiment
        The experiment.
    data : Path
        The directory of its data.
    given : path, optional
        What the user says; ``{instr}`` (or ``{ins}``) and ``{exp}`` in it stand for instrument and experiment.

    Returns
    -------
    Path or None
        ``calib`` beside the directory ``xtc``; None when the data are in no such directory, and nothing is given.
    """
    if given is not None:
        text = os.path.expanduser(os.fspath(given))
        for word, value in (("instr", experiment.instrument), ("ins", experiment.instrument), ("exp", experiment.name)):
            text = text.replace("{" + word + "}", value)
        return Path(text)
    data = data.absolute()
    inner = next((place for place in (data, data.parent) if place.name == "xtc"), None)
    return None if inner is None else inner.parent / "calib"
