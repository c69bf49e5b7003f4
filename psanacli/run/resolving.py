"""The files that a data source stands for: `resolve` finds them, `explain` tells how."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from psanacli.errors import NotFoundError, PsanaError, UsageError, did_you_mean
from psanacli.run.datasource import Dataset, DataSource
from psanacli.run.experiments import Experiment, Note, Roots, Table, find_experiment, is_number, of_files
from psanacli.run.files import (
    INDEX_DIRECTORY,
    SMALL_DIRECTORY,
    Listing,
    XtcFile,
    as_ranges,
    companions,
    missing_chunks,
    names_in,
)


@dataclass(frozen=True)
class RunFiles:
    """The files of one run.

    Attributes
    ----------
    experiment : Experiment
    run : int
    files : tuple of XtcFile
        Sorted by stream and chunk.
    mode : str
        ``xtc``, ``smd`` or ``idx``.
    directory : Path
        The directory of the big files.
    notes : tuple of str
        What was left out or is missing: chunks, files that are still being written.
    """

    experiment: Experiment
    run: int
    files: tuple[XtcFile, ...]
    mode: str
    directory: Path
    notes: tuple[str, ...] = ()

    @property
    def streams(self) -> tuple[int, ...]:
        """Numbers of the streams."""
        return tuple(sorted({file.stream for file in self.files}))


def resolve(datasource: DataSource, *, note: Note = lambda line: None) -> list[RunFiles]:
    """Find the files of every run of a data source.

    All parts are read, in the order given; the runs of one part come in the order of their numbers.  What several
    parts name twice is read once.

    Parameters
    ----------
    datasource : DataSource
        What `parse_datasource` gave.
    note : callable, optional
        Takes the lines of an explanation while it is found.

    Raises
    ------
    NotFoundError
        For an experiment, directory, run, stream or file that does not exist, with what there is instead.
    UsageError
        When a run is asked for in two ways that exclude each other.
    """
    runs: dict[tuple[str, int], RunFiles] = {}
    for part in datasource.parts:
        roots = datasource.roots
        for run in _of_path(part, roots, note) if isinstance(part, Path) else _of_dataset(part, roots, note):
            key = (run.files[0].prefix, run.run)
            runs[key] = _joined(runs[key], run) if key in runs else run
    return [_checked(run, note) for run in runs.values()]


def explain(datasource: DataSource) -> list[str]:
    """Return how `resolve` finds the files: a line for every directory, pattern and decision, errors included."""
    lines = ["roots: " + ", ".join(map(str, datasource.roots.directories))]
    lines += [f"paths that begin with {old} are looked for at {new}" for old, new in datasource.roots.moved]
    try:
        for run in resolve(datasource, note=lines.append):
            lines.append(f"run {run.run} of {run.experiment}, read as {run.mode}:")
            lines += [f"  stream {file.stream} chunk {file.chunk}: {file.path}" for file in run.files]
    except PsanaError as error:
        lines += f"error: {error}".splitlines()
    return lines


def _of_path(path: Path, roots: Roots, note: Note) -> list[RunFiles]:
    if not os.path.exists(path):
        beside = names_in(path.parent)
        hint = did_you_mean(path.name, beside, "" if beside else f"there is no directory {path.parent}")
        raise NotFoundError(f"no file {path}", hint)
    if path.suffix in (".h5", ".hdf5", ".idx", ".gz"):
        advice = {".idx": "name the .xtc file, or its directory", ".gz": "unpack it with gunzip first"}
        raise UsageError(f"{path} is no XTC file", advice.get(path.suffix, "a translated file is read with h5py"))
    file = XtcFile.of(path)
    directory = _big_directory(path.absolute().parent)
    note(f"file {path}: run {file.run}, stream {file.stream}, chunk {file.chunk}{', small data' * file.small}")
    experiment = of_files(file.prefix, directory, roots.read_tables(directory, note))
    return [RunFiles(experiment, file.run, (file,), "smd" if file.small else "xtc", directory)]


def _of_dataset(dataset: Dataset, roots: Roots, note: Note) -> list[RunFiles]:
    note(f"data source {dataset.text}")
    tables = roots.read_tables(dataset.directory, note)
    experiment: Experiment | None = None
    directory = dataset.directory
    if dataset.experiment:
        experiment, directory = find_experiment(dataset.experiment, roots, tables, chosen=directory, note=note)
    assert directory is not None, "a dataset names an experiment or a directory"
    if dataset.mode == "rax":
        note("rax: read as xtc; in every mode any event can be reached, by run.events.at_offset(file, offset) too")
    mode, listing = _list(directory, "xtc" if dataset.mode == "rax" else dataset.mode, note)
    if dataset.live:
        listing = listing.with_writing()
    runs: dict[tuple[str, int], list[XtcFile]] = {}
    for file in _of_experiment(listing, experiment, tables, note):
        runs.setdefault((file.prefix, file.run), []).append(file)
    _check_runs(dataset, listing, {run for _, run in runs})
    known = companions(_big_directory(listing.directory))
    found = []
    for (prefix, run), members in runs.items():
        if dataset.runs is not None and run not in dataset.runs:
            note(f"run {run}: left out, not asked for")
            continue
        members = _of_streams(dataset, run, members, note)
        if members:
            place = _big_directory(listing.directory)
            whose = experiment or of_files(prefix, place, tables)
            writing = [file.path.name for file in listing.writing if (file.prefix, file.run) == (prefix, run)]
            notes = tuple(f"{name} is still being written and was left out" for name in writing)
            notes += _absent(dataset, members, known.get((prefix, run), {}))
            found.append(RunFiles(whose, run, tuple(members), mode, place, notes))
    if not found:
        raise NotFoundError(f"{dataset.text}: no run has a stream of {dataset.streams}")
    return found


def _absent(dataset: Dataset, members: Sequence[XtcFile], known: Mapping[tuple[int, int], str]) -> tuple[str, ...]:
    """Return what files of other kinds, which are `known`, show to be missing among the members of a run.

    Gaps between chunks are not told here: they show without other files.
    """
    present = {(file.stream, file.chunk) for file in members} | set(missing_chunks(members))
    streams = {file.stream for file in members}
    notes = []
    for (stream, chunk), name in sorted(known.items()):
        if (stream, chunk) not in present and (dataset.streams is None or stream in dataset.streams):
            what = f"stream {stream}: chunk {chunk} is missing" if stream in streams else f"stream {stream} is missing"
            notes.append(f"{what}, but {name} is there")
    return tuple(notes)


def _big_directory(directory: Path) -> Path:
    """Return the directory of the big files that belong to the files of `directory`."""
    return directory.parent if directory.name == SMALL_DIRECTORY else directory


def _list(directory: Path, mode: str, note: Note) -> tuple[str, Listing]:
    """Return the mode, once decided, and the listing of the directory that has the files.

    Big files are looked for in the directory itself, then in ``xtc`` below it, small ones in ``smalldata`` as well;
    without a mode the small ones are taken where there are no big ones.
    """
    if not directory.is_dir():
        near = names_in(directory.parent)
        hint = did_you_mean(directory.name, near, f"{directory.parent} {'has no data' if near else 'is not there'}")
        raise NotFoundError(f"no directory {directory}", hint)
    if mode == "idx" and not (directory / INDEX_DIRECTORY).is_dir():
        note(f"{directory / INDEX_DIRECTORY}: not there, and not needed")
    below = directory / "xtc"
    places: list[tuple[Path, bool]] = []
    if mode != "smd":
        places += [(directory, False), (below, False)]
    if mode in ("smd", ""):
        places += [(place, True) for base in (directory, below) for place in (base / SMALL_DIRECTORY, base)]
    listings = []
    for place, small in places:
        if not place.is_dir():
            note(f"{place}: not there")
            continue
        listing = _list_one(place, small, note)
        listings.append(listing)
        if listing.files or listing.writing:
            return mode or ("smd" if small else "xtc"), listing
    if mode == "smd" and not any(listing.directory.name == SMALL_DIRECTORY for listing in listings):
        raise NotFoundError(f"no small data: there is no directory {places[0][0]}", "leave smd out to read big files")
    return mode or "xtc", listings[0]


def _list_one(directory: Path, small: bool, note: Note) -> Listing:
    try:
        listing = Listing.of(directory, small=small)
    except OSError as error:
        raise NotFoundError(f"{directory} cannot be read: {error.strerror}") from error
    note(
        f"{directory}/*-r*-s*-c*{'.smd' * small}.xtc: {len(listing.files)} files; "
        f"left out: {len(listing.writing)} being written, {listing.others} others"
    )
    return listing


def _of_experiment(
    listing: Listing, experiment: Experiment | None, tables: Sequence[Table], note: Note
) -> list[XtcFile]:
    """Return the files of an experiment: named by its number or its name; of a run that has both, by its number.

    An experiment whose number is in no table owns numbered files that no other experiment of the tables owns.
    """
    if experiment is None:
        return listing.files
    name = experiment.name.lower()
    wanted = {f"e{experiment.number}"} if experiment.number else set()
    numbered = {file.prefix for file in listing.files if file.prefix[0] == "e" and is_number(file.prefix[1:])}
    numbered = {prefix for prefix in numbered if not any(table.of_number(int(prefix[1:])) for table in tables)}
    if not experiment.number and not any(file.prefix.lower() == name for file in listing.files) and len(numbered) == 1:
        wanted = numbered
        note(f"the number of {experiment} is in no table: files {next(iter(numbered))}-* are taken for its")
    by_number = {file.run for file in listing.files if file.prefix in wanted}
    files = []
    for file in listing.files:
        if file.prefix in wanted or (file.prefix.lower() == name and file.run not in by_number):
            files.append(file)
        elif file.prefix.lower() == name:
            note(f"{file.path.name}: left out, the run has files named by number")
    others = sorted({file.prefix for file in listing.files} - {file.prefix for file in files})
    if others:
        note(f"left out: files of {', '.join(others[:5])}, which are not of {experiment}")
    return files


def _check_runs(dataset: Dataset, listing: Listing, present: set[int]) -> None:
    if dataset.experiment and dataset.directory is None and dataset.runs is None:
        raise UsageError(f"{dataset.text}: no run is named", _runs_hint(present) or f"{listing.directory} has no runs")
    lacking = [run for run in (dataset.runs.single if dataset.runs else ()) if run not in present]
    anything = any(dataset.runs is None or run in dataset.runs for run in present)
    if not lacking and anything:
        return
    writing = sorted({file.run for file in listing.writing if dataset.runs is None or file.run in dataset.runs})
    prefixes = sorted({file.prefix for file in listing.files})
    if writing:
        hint = f"run {as_ranges(writing)} is still being written"
    elif present:
        near = sorted(present, key=lambda run: abs(run - (lacking or [0])[0]))[:3]
        hint = _runs_hint(present) + (f"; the nearest are {', '.join(map(str, near))}" if len(present) > 3 else "")
    elif prefixes:
        hint = f"the files there are of {', '.join(prefixes[:5])}"
    else:
        hint = "there are no data files"
    which = f"run {as_ranges(lacking)}" if lacking else f"run {dataset.runs}" if dataset.runs else "run"
    raise NotFoundError(f"no {which} of {dataset.experiment or 'any experiment'} in {listing.directory}", hint)


def _runs_hint(present: Iterable[int]) -> str:
    runs = as_ranges(present)
    return f"runs there: {runs if len(runs) < 60 else runs[:25] + ' ... ' + runs[-25:]}" if runs else ""


def _of_streams(dataset: Dataset, run: int, files: list[XtcFile], note: Note) -> list[XtcFile]:
    if dataset.streams is None:
        return files
    present = {file.stream for file in files}
    lacking = [stream for stream in dataset.streams.single if stream not in present]
    if lacking:
        raise NotFoundError(
            f"{dataset.text}: run {run} has no stream {as_ranges(lacking)}", f"streams there: {as_ranges(present)}"
        )
    out = as_ranges(stream for stream in present if stream not in dataset.streams)
    note(f"run {run}: {f'streams {out} left out, not asked for' if out else 'all streams were asked for'}")
    return [file for file in files if file.stream in dataset.streams]


def _joined(first: RunFiles, second: RunFiles) -> RunFiles:
    """Join what two parts of a data source say of the same run."""
    if first.mode != second.mode:
        raise UsageError(
            f"run {first.run} of {first.experiment} is asked for as {first.mode} and as {second.mode}", "choose one"
        )
    files = {(file.stream, file.chunk): file for file in first.files}
    for file in second.files:
        known = files.setdefault((file.stream, file.chunk), file)
        if known is not file and not known.path.samefile(file.path):
            raise UsageError(
                f"{known.path} and {file.path} are both stream {file.stream}, chunk {file.chunk} of run {file.run}",
                "name one of them",
            )
    return replace(first, files=tuple(files.values()), notes=tuple(dict.fromkeys(first.notes + second.notes)))


def _checked(run: RunFiles, note: Note) -> RunFiles:
    files = tuple(sorted(run.files, key=lambda file: file.place))
    gaps = tuple(f"stream {stream}: chunk {chunk} is missing" for stream, chunk in missing_chunks(files))
    for line in gaps:
        note(f"run {run.run}: {line}")
    return replace(run, files=files, notes=(*run.notes, *gaps))
