"""Ranges of runs as names of files, and the rule by which one of them applies to a run.

``5-end.data`` applies from run 5 on, ``10-20.data`` from 10 to 20.  Of those that hold a run the largest begin wins,
among equal begins the smallest end: a closed range shadows an open one for its runs, and after its end the open one
applies again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from psanacli.errors import UsageError

EXTENSION = ".data"
END = "end"
_OPEN = 1 << 62  # larger than any run
_NAME = re.compile(r"([0-9]{1,9})-([0-9]{1,9}|end)", re.ASCII)


@dataclass(frozen=True, order=True)
class RunRange:
    """Runs from `begin` to `end`, both included.

    Attributes
    ----------
    begin : int
    end : int or None
        None for ``end``: no limit.
    """

    begin: int
    end: int | None = None

    @classmethod
    def parse(cls, text: str) -> RunRange:
        """Return the range of ``5-end``, ``10-20``, or of one run ``7``.

        Raises
        ------
        UsageError
            The text is nothing like that, or the range is reversed.
        """
        match = _NAME.fullmatch(f"{text}-{text}" if text.isascii() and text.isdigit() else text)
        if match is None:
            raise UsageError(f"{text!r} is not a range of runs", "give A-B, A-end, or one run")
        found = cls(int(match[1]), None if match[2] == END else int(match[2]))
        if found.empty:
            raise UsageError(f"the range {text} is reversed", f"did you mean {match[2]}-{match[1]}?")
        return found

    @property
    def empty(self) -> bool:
        """Whether it is reversed, so that it holds no run."""
        return self.end is not None and self.end < self.begin

    @property
    def last(self) -> int:
        """The last run; of an open range a number beyond all runs."""
        return _OPEN if self.end is None else self.end

    def __contains__(self, run: int) -> bool:
        return self.begin <= run <= self.last

    def overlaps(self, other: RunRange) -> bool:
        """Tell whether some run is in both."""
        return max(self.begin, other.begin) <= min(self.last, other.last)

    def within(self, other: RunRange) -> bool:
        """Tell whether all its runs are in the other."""
        return other.begin <= self.begin and self.last <= other.last

    @property
    def rank(self) -> tuple[int, int]:
        """What decides between ranges that hold a run: the smallest wins."""
        return -self.begin, self.last

    def __str__(self) -> str:
        return f"{self.begin}-{END if self.end is None else self.end}"


@dataclass(frozen=True)
class Entry:
    """A file of constants by its name.

    Attributes
    ----------
    name : str
        ``0005-end.data``
    range : RunRange
    """

    name: str
    range: RunRange

    @property
    def rank(self) -> tuple[int, int, bool, str]:
        """The order in which entries are asked: as the ranges; of two names of a range the plain one first."""
        return *self.range.rank, self.name != f"{self.range}{EXTENSION}", self.name


@dataclass(frozen=True)
class Listing:
    """The files of one type of constants.

    Attributes
    ----------
    entries : tuple of Entry
        In the order in which they are asked: the first that holds a run applies to it.
    ignored : tuple of (str, str)
        Names that look like constants and are none, each with the reason.
    """

    entries: tuple[Entry, ...] = ()
    ignored: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, names: Iterable[str]) -> Listing:
        """Return the listing of a directory with these names."""
        entries, ignored = [], []
        for name in sorted(names):
            if not name.endswith(EXTENSION):
                continue
            match = _NAME.fullmatch(name.removesuffix(EXTENSION))
            if match is None:
                ignored.append((name, "the name is not BEGIN-END.data with numbers, or end"))
                continue
            found = RunRange(int(match[1]), None if match[2] == END else int(match[2]))
            entries.append(Entry(name, found))
        return cls(tuple(sorted(entries, key=lambda entry: entry.rank)), tuple(ignored))

    def choose(self, run: int) -> Entry | None:
        """Return the entry that applies to a run, None when none does."""
        return next((entry for entry in self.entries if run in entry.range), None)

    def explain(self, run: int) -> list[tuple[Entry, str]]:
        """Return every entry, in the order in which they are asked, and why it applies to a run or does not."""
        chosen = self.choose(run)
        return [(entry, _reason(entry, chosen, run)) for entry in self.entries]

    def stretches(self) -> list[tuple[RunRange, Entry]]:
        """Return which entry applies where: ranges one after the other, runs without an entry left out."""
        bounds = sorted({entry.range.begin for entry in self.entries} | {e.range.last + 1 for e in self.entries})
        found: list[tuple[RunRange, Entry]] = []
        for begin, stop in pairwise(bounds):
            entry = self.choose(begin)
            if entry is None:
                continue
            end = None if stop > _OPEN else stop - 1
            if found and found[-1][1] is entry and found[-1][0].last == begin - 1:
                begin = found.pop()[0].begin
            found.append((RunRange(begin, end), entry))
        return found

    def unreachable(self) -> list[Entry]:
        """Return the entries that apply to no run at all: reversed, or hidden by others everywhere."""
        reached = {entry.name for _, entry in self.stretches()}
        return [entry for entry in self.entries if entry.name not in reached]

    def hidden_by(self, new: RunRange) -> list[tuple[Entry, list[RunRange]]]:
        """Return the entries that would no longer apply to some of their runs if a file with this range came.

        Returns
        -------
        list of (Entry, list of RunRange)
            The entry, and the runs that it would lose.
        """
        name = f"{new}{EXTENSION}"
        lost: dict[Entry, list[RunRange]] = {}
        for runs, entry in self.stretches():
            if runs.overlaps(new) and entry.name != name and Entry(name, new).rank < entry.rank:
                begin, last = max(runs.begin, new.begin), min(runs.last, new.last)
                lost.setdefault(entry, []).append(RunRange(begin, None if last >= _OPEN else last))
        return list(lost.items())

    def reach(self, new: RunRange) -> list[RunRange]:
        """Return the runs to which a new file with this range would apply."""
        name = f"{new}{EXTENSION}"
        others = [entry.name for entry in self.entries if entry.name != name]
        return [runs for runs, entry in Listing.of([*others, name]).stretches() if entry.name == name]


def _reason(entry: Entry, chosen: Entry | None, run: int) -> str:
    if entry.range.empty:
        return "the range is reversed: it never applies"
    if run < entry.range.begin:
        return f"begins behind run {run}"
    if run > entry.range.last:
        return f"ends before run {run}"
    if chosen is None or entry is chosen:
        return "applies"
    if entry.range.begin < chosen.range.begin:
        return f"begins at {entry.range.begin}, {chosen.name} at {chosen.range.begin}: the later begin wins"
    if entry.range.last > chosen.range.last:
        return f"begins where {chosen.name} does: the narrower range wins"
    return f"another name of the range of {chosen.name}: the name without leading zeros wins"


def spelled(ranges: Sequence[RunRange]) -> str:
    """Return ranges as text: ``0-9, 21-end``."""
    return ", ".join(map(str, ranges))
