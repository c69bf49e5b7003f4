"""Runs that are being written: followed by looking at their directory, and at how far the files have grown.

The events of a growing run are those of the tables that a finished one has; the tables are made anew when files have
grown, of which only the new bytes are walked.  An event is given out when nothing that may still come can change it or
one before it: each stream has gone beyond it by more datagrams than the original puts in order (format description,
10.2), or has ended, or has been silent for some seconds while others went on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError, NotFoundError, UsageError
from psanacli.run.datasource import DataSource
from psanacli.run.event import Event
from psanacli.run.events import Events
from psanacli.run.files import XtcFile
from psanacli.run.headers import RunHeaders
from psanacli.run.listed import Listed
from psanacli.run.opening import datasource_of
from psanacli.run.resolving import RunFiles, resolve
from psanacli.run.run import Run
from psanacli.run.runtable import RunTable
from psanacli.run.tables import DEFAULT_RULES, Rules, times_of
from psanacli.xtc import FileTable, ProblemKind, Transition, big_file_of, service, walk_file

TIMEOUT = 120.0
"""Seconds without anything new after which a run counts as abandoned; as in the original."""
POLL = 0.25
"""Seconds between two looks at the files."""
PATIENCE = 5.0
"""Seconds for which the others wait for a stream that does not grow."""
GRACE = 2.0
"""Seconds for which a run that has ended may still grow: streams of recorders, an Unconfigure."""
AHEAD, CONTROL_AHEAD = 20, 40
"""Datagrams of a DAQ stream and of a control stream that are put in order among themselves."""
LONGEST = 4
"""Times `POLL` that are between two looks at most, however long the tables take."""
LAG = 5.0
"""Seconds of data by which a reader may be behind before it is told so."""

_UNFINISHED = (ProblemKind.TRUNCATED_HEADER, ProblemKind.TRUNCATED_DATAGRAM)
_LAST = 8
"""Datagrams at the end of a stream among which its EndRun is looked for."""
_PART = 1 << 14
"""Members that are looked at together for the last one of a stream."""


@dataclass
class _Followed:
    """A file of the run as far as it is known."""

    file: XtcFile
    table: FileTable
    inode: tuple[int, int]
    grew: float
    """When it was last seen to grow."""


@dataclass(frozen=True)
class Batch:
    """Events that were not given out before, in order.

    Attributes
    ----------
    events : Events
        Of `run`.
    run : Run
        The run as it was known then.
    behind : float
        Seconds of data between the last of them and the newest datagram.
    """

    events: Events
    run: Run
    behind: float

    def __len__(self) -> int:
        return len(self.events)

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)


class LiveRun:
    """A run that is being written: an iterable of its events, as they become known.

    Parameters
    ----------
    datasource : DataSource
        One run; files that are still being written count, whether it says ``live`` or not.
    rules : Rules
    timeout : float
        Seconds to wait for the run to begin, and for something new while it has not ended.
    poll, patience, grace : float
        Seconds between two looks, for which the others wait for a silent stream, and for which a run that has ended may
        still grow.

    Attributes
    ----------
    run : Run or None
        The run as it is known now.
    delivered : int
        Events that were given out.
    revised : int
        Events that were given out, and then changed because data of a silent stream came late.
    ended : bool
        Whether the run has ended, by its EndRun or by the final names of all its files.

    Examples
    --------
    >>> with follow_run("exp=xpptut15:run=54") as live:                # doctest: +SKIP
    ...     for event in live:
    ...         beam = event.get("EBeam")
    """

    def __init__(
        self,
        datasource: DataSource,
        rules: Rules = DEFAULT_RULES,
        *,
        timeout: float = TIMEOUT,
        poll: float = POLL,
        patience: float = PATIENCE,
        grace: float = GRACE,
    ) -> None:
        if not (timeout > 0 and poll > 0 and patience >= 0):
            raise UsageError(f"a timeout of {timeout:g} s cannot be", "give a positive number of seconds")
        self.datasource = datasource.followed()
        self.rules = rules
        self.timeout, self.poll, self.patience, self.grace = timeout, poll, patience, grace
        self.run: Run | None = None
        self.delivered = self.revised = 0
        self.ended = False
        self._files: dict[tuple[int, int], _Followed] = {}
        self._found: RunFiles | None = None
        self._listed = Listed()
        self._news = time.monotonic()
        self._were_writing: set[tuple[int, int]] = set()

    # ---- looking ---------------------------------------------------------------------------------------------------

    def look(self) -> bool:
        """Look at the files once; return whether there is anything new.

        Raises
        ------
        NotFoundError
            The run has not begun: there are no files of it.
        UsageError
            The data source has several runs.
        """
        if self._found is None or self._listed.may_differ():
            self._found = self._find()
        new = [self._look_at(file) for file in self._found.files]
        if any(new):
            self._news = time.monotonic()
        return any(new)

    def _find(self) -> RunFiles:
        """List the directories."""
        now = time.monotonic()
        found = resolve(self.datasource)
        if len(found) > 1:
            numbers = ", ".join(str(files.run) for files in found[:10])
            raise UsageError(f"the data source has {len(found)} runs: {numbers}", "name the one that is to be followed")
        self._listed = Listed.of({file.path.parent for file in found[0].files}, now)
        return found[0]

    def _look_at(self, file: XtcFile) -> bool:
        """Walk what is new of one file."""
        place = file.stream, file.chunk
        known = self._files.get(place)
        try:
            status = os.stat(file.path)
            if file.writing:
                self._were_writing.add(place)
            inode = status.st_dev, status.st_ino
            if known is None or known.inode != inode or status.st_size < known.table.size:
                self._files[place] = _Followed(file, walk_file(file.path), inode, time.monotonic())
                return True
            renamed = known.file.path != file.path
            if renamed:
                known.file, known.table = file, replace(known.table, path=file.path)
                known.grew = time.monotonic()
            if status.st_size == known.table.size:
                return renamed
            known.table = known.table.grown()
        except (FileNotFoundError, NotFoundError):
            return False  # renamed in this moment: the next look finds it
        known.grew = time.monotonic()
        return True

    @property
    def _streams(self) -> dict[int, list[_Followed]]:
        streams: dict[int, list[_Followed]] = {}
        for place in sorted(self._files):
            streams.setdefault(place[0], []).append(self._files[place])
        return streams

    def _is_control(self, stream: int) -> bool:
        return stream >= self.rules.first_control_stream

    def _open_streams(self) -> list[int]:
        """Return the streams that have no EndRun, and whose files were not given their final names while we looked."""
        found = []
        now = time.monotonic()
        for stream, files in self._streams.items():
            last = next((each for each in reversed(files) if len(each.table.datagrams)), files[-1])
            ends = service(last.table.datagrams[-_LAST:]) == Transition.EndRun
            named = (stream, files[-1].file.chunk) in self._were_writing and not files[-1].file.writing
            # A stream that goes on in a new chunk has no file with a provisional name for a moment.
            if not (bool(ends.any()) or (named and now - files[-1].grew >= self.grace)):
                found.append(stream)
        return found

    def _has_ended(self) -> bool:
        """Return whether nothing more will come: all DAQ streams have ended, and what is left has been silent."""
        left = self._open_streams()
        if not self._files or any(not self._is_control(stream) for stream in left):
            return False
        if not any(not self._is_control(stream) for stream in self._streams) and left:
            return False
        unfinished = any(
            problem.kind in _UNFINISHED for each in self._files.values() for problem in each.table.problems
        )
        writing = any(each.file.writing for each in self._files.values())
        silent = time.monotonic() - self._news
        return silent >= (self.patience if left or unfinished or writing else self.grace)

    # ---- events ----------------------------------------------------------------------------------------------------

    def _build(self) -> Run:
        """Make the tables of what is known now."""
        assert self._found is not None
        places = sorted(self._files)
        files = tuple(self._files[place].file for place in places)
        headers = RunHeaders.of([self._files[place].table for place in places])
        table = RunTable(files, self._found.run, self.rules, headers)
        return Run(replace(self._found, files=files), self.rules, table=table)

    def _settled(self) -> int:
        """Return how many events of the run nothing can change any more."""
        assert self.run is not None
        table = self.run.table
        now = time.monotonic()
        first_open = len(table.groups)
        unfinished = set(self._open_streams())
        for index, stream in enumerate(table.streams.tolist()):
            if stream not in unfinished or now - max(each.grew for each in self._streams[stream]) >= self.patience:
                continue
            first, stop = int(table.first_rows[index]), int(table.first_rows[index + 1])
            sure = stop - (CONTROL_AHEAD if self._is_control(stream) else AHEAD)
            place = _last_between(table.members, first, self._in_big_file(stream, first, sure))
            if place < 0:
                return 0
            group = int(np.searchsorted(table.groups["first"], place, side="right")) - 1
            first_open = min(first_open, group)
        return int(np.searchsorted(table.events["group"], first_open))

    def _in_big_file(self, stream: int, first: int, stop: int) -> int:
        """Return up to which row of a stream the big files have what small data refer to."""
        assert self.run is not None
        if not self._streams[stream][-1].file.small or stop <= first:
            return stop
        rows = np.arange(max(first, stop - 1000), stop)
        offset, size = self.run.origins.places(rows)
        files = self.run.table.files
        number = self.run.table.datagrams["file"][rows]
        sizes = {int(file): _size_of_big(files[file].path) for file in np.unique(number)}
        lacking = (size > 0) & (offset + size > np.array([sizes[file] for file in number.tolist()]))
        return int(rows[np.argmax(lacking)]) if lacking.any() else stop

    def _renew(self) -> None:
        """Make the tables anew, as there is something new."""
        last, self.run = self.run, self._build()
        if last is not None:
            self.revised += _differing(last.table.events[: self.delivered], self.run.table.events[: self.delivered])
            last.rest()

    def _give(self, count: int) -> Batch:
        """Return the events that were not given out before, of the first `count`."""
        assert self.run is not None
        first, self.delivered = self.delivered, max(self.delivered, count)
        events = self.run.events[first : self.delivered]
        behind = 0.0
        if len(events):
            newest = times_of(self.run.table.datagrams).max()
            behind = float((newest - events[-1].time) / np.timedelta64(1, "s"))
        return Batch(events, self.run, max(behind, 0.0))

    def batches(self) -> Iterator[Batch]:
        """Yield the events as they become known, until the run has ended; batches may be empty while it goes on.

        Raises
        ------
        NotFoundError
            The run did not begin within the timeout.
        DataError
            Nothing new came for that long though the run has not ended; all that there is was given out before.
        """
        begin = time.monotonic()
        while True:
            try:
                news = self.look()
            except NotFoundError as error:
                waited = time.monotonic() - begin
                if self._files or waited >= self.timeout:
                    raise NotFoundError(f"{error.message}; waited {waited:.0f} s", error.hint) from None
                time.sleep(self.poll)
                continue
            begun = time.monotonic()
            if news or self.run is None:
                self._renew()
            assert self.run is not None
            self.ended = self._has_ended()
            silent = time.monotonic() - self._news >= self.timeout
            count = len(self.run.events) if self.ended or silent else self._settled()
            took = time.monotonic() - begun
            if news or self.ended or silent or count > self.delivered:
                yield self._give(count)
            if self.ended:
                return
            if silent:
                raise self._stalled()
            # Tables of a long run take their time, of which whoever uses the events gets most.
            time.sleep(max(self.poll, min(9 * took, LONGEST * self.poll)))

    def __iter__(self) -> Iterator[Event]:
        for batch in self.batches():
            yield from batch

    def _stalled(self) -> DataError:
        streams = self._streams
        waiting = self._open_streams() or list(streams)
        names = ", ".join(str(streams[stream][-1].file.path) for stream in waiting[:5])
        corrupt = next(
            (
                f"{each.file.path} at offset {problem.offset}: {problem.message}"
                for each in self._files.values()
                for problem in each.table.problems
                if problem.kind.ends_file
            ),
            "",
        )
        return DataError(
            f"nothing new for {self.timeout:g} s, and the run has not ended: no EndRun in {names}"
            + (f"; {corrupt}" if corrupt else ""),
            f"its writer may have been killed; the {self.delivered} events that there are were read",
        )

    def close(self) -> None:
        """Close its files."""
        if self.run is not None:
            self.run.close()

    def __enter__(self) -> LiveRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "ended" if self.ended else "being written"
        return f"<LiveRun {self.datasource}: {state}, {len(self._files)} files, {self.delivered} events given out>"


def _size_of_big(small: Path) -> int:
    try:
        return os.stat(big_file_of(small)).st_size
    except (NotFoundError, FileNotFoundError):
        return 0


def _last_between(members: NDArray[np.int32], first: int, stop: int) -> int:
    """Return the index of the last member in a range of rows; -1: there is none."""
    for end in range(len(members), 0, -_PART):
        begin = max(end - _PART, 0)
        part = members[begin:end]
        inside = np.flatnonzero((part >= first) & (part < stop))
        if len(inside):
            return begin + int(inside[-1])
    return -1


def _differing(old: NDArray[Any], new: NDArray[Any]) -> int:
    """Return in how many places two lists of events differ."""
    count = min(len(old), len(new))
    differs = np.zeros(count, bool)
    for name in ("seconds", "nanoseconds", "fiducials"):
        differs |= old[name][:count] != new[name][:count]
    return int(np.count_nonzero(differs)) + abs(len(old) - len(new))


def follow_run(
    *sources: DataSource | str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    roots: Iterable[str | os.PathLike[str]] = (),
    timeout: float = TIMEOUT,
    rules: Rules = DEFAULT_RULES,
) -> LiveRun:
    """Follow a run that is being written; arguments as for `open_run`.

    Parameters
    ----------
    *sources : str, path, or a list of these
        A data source with one run.  Nothing of it has to be there yet.
    roots : iterable of path
        Where experiments are looked for.
    timeout : float
        Seconds to wait for the run to begin, and for something new while it has not ended.
    rules : Rules
        How the events are built.

    Returns
    -------
    LiveRun

    Raises
    ------
    UsageError
        The data source is wrong.
    """
    return LiveRun(datasource_of(sources, roots), rules, timeout=timeout)


__all__ = ["LAG", "TIMEOUT", "Batch", "LiveRun", "follow_run"]
