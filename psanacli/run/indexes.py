"""Where the indexes of runs are, how they are used when a run is opened, and how they are made.

An index lies in ``index/`` beside the data, where the facility has index files of its own; where that cannot be
written, in the user's cache.  Reading never writes one.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from psanacli.errors import NotFoundError, OutputError, UsageError
from psanacli.run.files import INDEX_DIRECTORY, SMALL_DIRECTORY, XtcFile
from psanacli.run.growth import Before
from psanacli.run.headers import RunHeaders
from psanacli.run.index import Identity, IndexFault, RunIndex
from psanacli.run.resolving import RunFiles
from psanacli.run.runtable import RunTable
from psanacli.run.tables import DEFAULT_RULES, Rules
from psanacli.run.unchanged import FileState
from psanacli.xtc import FileTable, walk_file

SUFFIX = ".psana"
Piece = tuple[Path, FileTable | None]
"""A file to walk, and what is known of its beginning."""


@dataclass(frozen=True)
class IndexUse:
    """What an index was good for when a run was opened.

    Attributes
    ----------
    path : Path or None
        The index that was used.
    whole : bool
        Whether nothing had to be found out that it does not say.
    notes : tuple of str
        Why an index, or what it says of a file, was not used.
    index : RunIndex or None
        What it says, when ``whole``.
    """

    path: Path | None = None
    whole: bool = False
    notes: tuple[str, ...] = ()
    index: RunIndex | None = None


def index_paths(files: Sequence[XtcFile]) -> tuple[Path, Path]:
    """Return where the index of a run is looked for: beside its data, and in the user's cache."""
    first = files[0]
    name = f"{first.prefix}-r{first.run:04d}{'.smd' * first.small}{SUFFIX}"
    directory = first.path.absolute().parent
    base = directory.parent if directory.name == SMALL_DIRECTORY else directory
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "psanacli" / "index"
    real = os.path.realpath(base)
    place = f"{zlib.crc32(os.fsencode(real)):08x}-{Path(real).parent.name}"
    return base / INDEX_DIRECTORY / name, cache / place / name


def find_index(files: Sequence[XtcFile]) -> tuple[RunIndex | None, Path | None, list[str]]:
    """Return the index of a run, where it is, and why others were not taken."""
    faults: list[str] = []
    for path in index_paths(files) if files else ():
        try:
            return RunIndex.load(path), path, faults
        except (FileNotFoundError, NotADirectoryError):
            continue
        except IndexFault as fault:
            faults.append(f"{path} was not used: {fault.message}")
    return None, None, faults


def open_table(files: Sequence[XtcFile], number: int, rules: Rules, *, index: bool = True) -> tuple[RunTable, IndexUse]:
    """Return the table of a run: what its index knows is taken from there, all else is found out."""
    files = sorted(files, key=lambda file: file.place)
    known, path, notes = find_index(files) if index else (None, None, [])
    if known is None:
        return RunTable(files, number, rules), IndexUse(notes=tuple(notes))
    matched = match(known, files)
    notes += [why for _, why in matched if why]
    if is_whole(known, matched):
        if number == known.number and rules == DEFAULT_RULES:
            return RunTable(files, number, rules, known.headers, known.assembly), IndexUse(path, True, (), known)
        return RunTable(files, number, rules, known.headers), IndexUse(path)
    tables = known_tables(known, files, matched)
    todo = [row for row, (_, why) in enumerate(matched) if why]
    for row, table in zip(todo, walk_pieces([(files[row].path, tables[row]) for row in todo]), strict=True):
        tables[row] = table
    headers = RunHeaders.of([table for table in tables if table is not None])
    used = path if any(row is not None for row, _ in matched) else None
    return RunTable(files, number, rules, headers), IndexUse(used, notes=tuple(notes))


def match(index: RunIndex, files: Sequence[XtcFile]) -> list[tuple[int | None, str]]:
    """Return for each file which one of the index it is or begins with (None: none), and how it differs."""
    rows = {identity.name: row for row, identity in enumerate(index.files)}
    found: list[tuple[int | None, str]] = []
    directory = files[0].path.parent
    for file in files:
        row = rows.get(file.path.name) if file.path.parent == directory else None
        if row is None:
            found.append((None, f"{file.path.name} is not in the index"))
            continue
        begins, why = index.files[row].differs(file.path)
        found.append((row if begins else None, why))
    return found


def is_whole(index: RunIndex, matched: Sequence[tuple[int | None, str]]) -> bool:
    """Return whether the files that `match` has looked at are all of the index, and as they were."""
    return len(matched) == len(index.files) and not any(why for _, why in matched)


def known_tables(
    index: RunIndex | None, files: Sequence[XtcFile], matched: Sequence[tuple[int | None, str]]
) -> list[FileTable | None]:
    """Return what an index knows of files."""
    if index is None:
        return [None] * len(files)
    return [
        None if row is None else index.headers.table(row, file.path)
        for file, (row, _) in zip(files, matched, strict=True)
    ]


def walk_piece(piece: Piece) -> FileTable:
    """Walk a file, or of one whose beginning is known the rest."""
    path, known = piece
    return walk_file(path) if known is None else known.grown()


def walk_pieces(pieces: Sequence[Piece]) -> list[FileTable]:
    """Walk files in parallel; the native walk works without the interpreter."""
    if len(pieces) < 2:
        return [walk_piece(piece) for piece in pieces]
    with ThreadPoolExecutor(min(len(pieces), os.cpu_count() or 1)) as pool:
        return list(pool.map(walk_piece, pieces))


class IndexBuilder:
    """What makes the index of a run from its files, and from what an older index knows of them.

    Whoever uses it walks the `pieces`, with `walk_piece` and as many workers as there are, and gives the tables to
    `finish`.

    Attributes
    ----------
    run : RunFiles
        The run.
    old : RunIndex or None
        The index that is there.
    use : IndexUse
        What it is good for: when ``whole`` nothing has to be done.
    pieces : list of Piece
        What has to be walked.

    Raises
    ------
    UsageError
        The files of the run are not in one directory.
    NotFoundError
        A file is not there (any more), or cannot be opened.
    """

    def __init__(self, run: RunFiles, *, overwrite: bool = False) -> None:
        self.run = run
        self._files = files = sorted(run.files, key=lambda file: file.place)
        if len({file.path.parent for file in files}) > 1:
            raise UsageError(
                f"the files of run {run.run} lie in several directories", "an index is for the files of one directory"
            )
        self.old, path, notes = (None, None, list[str]()) if overwrite else find_index(files)
        try:  # before the walk: what changes later is seen
            self._states = {file.path: FileState.of(file.path) for file in files}
        except OSError as error:
            raise NotFoundError(f"{error.filename}: cannot be opened: {error.strerror}") from error
        matched = match(self.old, files) if self.old is not None else [(None, "")] * len(files)
        notes += [why for _, why in matched if why]
        whole = self.old is not None and is_whole(self.old, matched)
        self.use = IndexUse(path, whole, tuple(notes), self.old if whole else None)
        self._tables = known_tables(self.old, files, matched)
        self._matched = [row for row, _ in matched]
        self._todo = [number for number, (row, why) in enumerate(matched) if row is None or why]
        self.pieces: list[Piece] = [(files[number].path, self._tables[number]) for number in self._todo]

    def finish(self, tables: Sequence[FileTable]) -> RunIndex:
        """Return the index, with the tables that the pieces gave.

        Raises
        ------
        DataError
            A file was replaced, cut or written to since the pieces were made; see `Run.check_unchanged`.
        """
        from psanacli.run.run import Run

        if self.use.whole and self.old is not None:
            return self.old
        for number, walked in zip(self._todo, tables, strict=True):
            self._tables[number] = walked
        headers = RunHeaders.of([each for each in self._tables if each is not None])
        table = RunTable(self._files, self.run.run, DEFAULT_RULES, headers)
        before = None if self.old is None else Before(self.old, self._matched, table)
        identities = []
        with Run(self.run, table=table, states=self._states) as opened:
            codes = before.codes(opened) if before else opened.codes
            epics = before.epics(opened) if before else opened.epics.kinds
            for number, file in enumerate(self._files):
                stop = int(headers.rows[number + 1])
                last = int(headers.datagrams["offset"][stop - 1]) if stop > headers.rows[number] else -1
                modified = self._states[file.path].mtime_ns
                identities.append(Identity.of(file, headers.sizes[number], modified, last))
            opened.check_unchanged()
        return RunIndex(self.run.run, tuple(identities), headers, table.assembly, codes, epics)


def build_index(run: RunFiles, *, overwrite: bool = False) -> RunIndex:
    """Return the index of a run as its files are now; with `overwrite` without a look at an older one.

    Raises
    ------
    UsageError
        The files of the run are not in one directory.
    DataError
        A file changed while it was read.
    """
    builder = IndexBuilder(run, overwrite=overwrite)
    return builder.finish(walk_pieces(builder.pieces))


def save_index(index: RunIndex, files: Sequence[XtcFile], directory: Path | None = None) -> tuple[Path, int]:
    """Write an index beside the data, or where that is not allowed into the cache; return its path and size.

    Parameters
    ----------
    index : RunIndex
        What to write.
    files : sequence of XtcFile
        The files of the run.
    directory : Path, optional
        Write it here instead.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    beside, cache = index_paths(files)
    if directory is not None:
        path = directory / beside.name
        return path, index.save(path)
    place = next(place for place in (beside.parent, *beside.parents) if place.exists())
    if os.access(place, os.W_OK | os.X_OK):
        return beside, index.save(beside)
    try:
        return cache, index.save(cache)
    except OutputError as error:
        raise OutputError(error.message, f"nor may files be made in {place}; -o says where else") from error


__all__ = [
    "SUFFIX",
    "IndexBuilder",
    "IndexUse",
    "Piece",
    "build_index",
    "find_index",
    "index_paths",
    "match",
    "open_table",
    "save_index",
    "walk_piece",
]
