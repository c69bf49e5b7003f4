"""Names of data files, and what a directory holds.

``EXP-rRRRR-sSS-cCC.xtc`` is chunk CC of stream SS of run RRRR; EXP is ``e`` and the number of the experiment, or its
name.  The text before the first dot is read from the right, so a name of an experiment may have dashes.  Small data
end in ``.smd.xtc`` and lie in ``smalldata/`` beside the big files, index files in ``index/``; ``.inprogress`` is
appended while a file is being written.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

SMALL_DIRECTORY = "smalldata"
INDEX_DIRECTORY = "index"
IN_PROGRESS = ".inprogress"
FIRST_CONTROL_STREAM = 80
"""Streams from here on were written by recorders of control data, the others by the DAQ."""

_STEM = re.compile(r"(?P<prefix>.{2,})-r(?P<run>[0-9]{1,9})-s(?P<stream>[0-9]{1,9})-c(?P<chunk>[0-9]{1,9})", re.S)


@dataclass(frozen=True)
class XtcFile:
    """One file of a run.

    Attributes
    ----------
    path : Path
        Where it is.
    prefix : str
        The experiment as the name has it: ``e301`` or ``cxilu0917``; the whole stem of a name that does not follow
        the rule, whose run, stream and chunk are then 0.
    run, stream, chunk : int
        Numbers in the name.
    small : bool
        Whether it is a small-data file.
    """

    path: Path
    prefix: str
    run: int
    stream: int
    chunk: int
    small: bool

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> XtcFile:
        """Return the file `path`, understood by its name alone."""
        path = Path(path)
        stem, dot, suffixes = path.name.partition(".")
        small = (dot + suffixes).removesuffix(IN_PROGRESS) == ".smd.xtc"
        match = _STEM.fullmatch(stem)
        if match is None:
            return cls(path, stem, 0, 0, 0, small)
        return cls(path, match["prefix"], int(match["run"]), int(match["stream"]), int(match["chunk"]), small)

    @property
    def writing(self) -> bool:
        """Whether its name says that it is still being written."""
        return self.path.name.endswith(IN_PROGRESS)

    @property
    def control(self) -> bool:
        """Whether the stream was written by a recorder of control data."""
        return self.stream >= FIRST_CONTROL_STREAM

    @property
    def place(self) -> tuple[int, int, int]:
        """Run, stream and chunk, by which files are sorted."""
        return self.run, self.stream, self.chunk


@dataclass(frozen=True)
class Numbers:
    """A list of runs or streams: single numbers, which must exist, and ranges, which take what there is."""

    ranges: tuple[tuple[int, int], ...]

    def __contains__(self, number: int) -> bool:
        return any(first <= number <= last for first, last in self.ranges)

    @property
    def single(self) -> tuple[int, ...]:
        """The numbers that were given one by one."""
        return tuple(sorted({first for first, last in self.ranges if first == last}))

    def __str__(self) -> str:
        return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in self.ranges)


def as_ranges(numbers: Iterable[int]) -> str:
    """Return numbers in the form of a data source: ``1-4,7``."""
    ranges: list[list[int]] = []
    for number in sorted(set(numbers)):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def missing_chunks(files: Iterable[XtcFile]) -> list[tuple[int, int]]:
    """Return (stream, chunk) of the gaps in the chunks of each stream; a stream begins with chunk 0."""
    chunks: dict[int, set[int]] = {}
    for file in files:
        chunks.setdefault(file.stream, set()).add(file.chunk)
    gaps: list[tuple[int, int]] = []
    for stream, present in sorted(chunks.items()):
        # A name can claim any chunk number, so no more than the first thousand numbers beyond those present are tried.
        gaps += [(stream, chunk) for chunk in range(min(max(present), len(present) + 1000)) if chunk not in present]
    return gaps


def companions(directory: Path) -> dict[tuple[str, int], dict[tuple[int, int], str]]:
    """Return which streams and chunks there are, by any kind of file: big, small and index files.

    Parameters
    ----------
    directory : Path
        The directory of the big files.

    Returns
    -------
    dict
        By prefix and run, then by stream and chunk: the name of a file, as seen from `directory`.
    """
    found: dict[tuple[str, int], dict[tuple[int, int], str]] = {}
    for place, ending in (("", ".xtc"), (SMALL_DIRECTORY, ".smd.xtc"), (INDEX_DIRECTORY, ".xtc.idx")):
        for name in names_in(directory / place):
            if name.endswith(ending) and _STEM.fullmatch(name.partition(".")[0]):
                file = XtcFile.of(name)
                chunks = found.setdefault((file.prefix, file.run), {})
                chunks.setdefault((file.stream, file.chunk), f"{place}/{name}" if place else name)
    return found


def names_in(directory: Path) -> list[str]:
    """Return what a directory holds, for hints; nothing when it is not there or may not be read."""
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


@dataclass
class Listing:
    """What one directory holds, by kind."""

    directory: Path
    files: list[XtcFile] = field(default_factory=list)
    writing: list[XtcFile] = field(default_factory=list)
    others: int = 0

    def with_writing(self) -> Listing:
        """Return the listing with files that are still being written among the others."""
        files = sorted([*self.files, *self.writing], key=lambda file: (*file.place, file.prefix))
        return Listing(self.directory, files, [], self.others)

    @classmethod
    def of(cls, directory: Path, *, small: bool) -> Listing:
        """List the big (or small) files of a directory, sorted by run, stream and chunk.

        Links to files are followed.  Files that are still being written (``.inprogress``) are kept apart.

        Raises
        ------
        OSError
            When the directory cannot be read.
        """
        listing = cls(directory)
        ending = ".smd.xtc" if small else ".xtc"
        with os.scandir(directory) as entries:
            for entry in entries:
                stem, dot, suffixes = entry.name.partition(".")
                writing = suffixes.endswith(IN_PROGRESS)
                fits = (dot + suffixes).removesuffix(IN_PROGRESS) == ending and _STEM.fullmatch(stem)
                if not fits or not entry.is_file():
                    listing.others += 1
                    continue
                (listing.writing if writing else listing.files).append(XtcFile.of(entry.path))
        listing.files.sort(key=lambda file: (*file.place, file.prefix))
        finished = {(file.prefix, file.place) for file in listing.files}
        listing.writing = [file for file in listing.writing if (file.prefix, file.place) not in finished]
        return listing
