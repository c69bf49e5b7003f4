"""Runs: what a user opens, and everything that can be asked of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import UsageError
from psanacli.outside import DEFAULT_TOLERANCE, OutsideTable
from psanacli.run.access import Finder
from psanacli.run.blocks import Block, blocks_of, dataset_of
from psanacli.run.codes import EventCodes
from psanacli.run.columns import MAX_BYTES
from psanacli.run.config import Config
from psanacli.run.detectors import Detector, Detectors
from psanacli.run.epics import Epics
from psanacli.run.events import Events
from psanacli.run.experiments import Experiment, calib_directory
from psanacli.run.expressions import Expression, RunColumns
from psanacli.run.indexes import IndexUse, open_table
from psanacli.run.joined import Joined, join, table_of
from psanacli.run.named import Named
from psanacli.run.origins import Origins
from psanacli.run.payloads import Payloads
from psanacli.run.resolving import RunFiles
from psanacli.run.runtable import DELIVERED, FileProblem, RunTable
from psanacli.run.steps import Steps
from psanacli.run.streams import Stream, clock_of, streams_of
from psanacli.run.tables import DEFAULT_RULES, Counters, Joining, Rules
from psanacli.run.unchanged import FileState, states_of

if TYPE_CHECKING:
    import xarray

_BLOCK = 1 << 26


class Run(Named):
    """A run: its events, and everything recorded with them.

    A run holds open files; use it in a ``with`` block, or `close` it.  Threads may share it.

    Attributes
    ----------
    files : RunFiles
        What it was made of.
    rules : Rules
        How its events were built.
    table : RunTable
        All that its headers say.
    index : IndexUse
        What an index was good for.

    Examples
    --------
    >>> run = open_run("exp=xpptut15:run=54")                          # doctest: +SKIP
    >>> for event in run.events:                                       # doctest: +SKIP
    ...     beam = event.get("EBeam")
    >>> run.column("EBeam.ebeamPhotonEnergy").mean()                   # doctest: +SKIP
    """

    def __init__(
        self,
        files: RunFiles,
        rules: Rules = DEFAULT_RULES,
        *,
        index: bool = True,
        table: RunTable | None = None,
        states: Mapping[Path, FileState] | None = None,
        calib_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        self.files = files
        self.calib_dir = calib_directory(files.experiment, files.directory, calib_dir)
        """Directory of the calibration constants; None when none is given, and the files are in no experiment."""
        self.rules = rules = rules if files.mode != "idx" else replace(rules, joining=Joining.TIMES)
        self.index = IndexUse()
        if states is None:
            states = states_of(file.path for file in files.files)
        if table is None:
            table, self.index = open_table(files.files, files.run, rules, index=index)
        self.table = table
        super().__init__(Payloads(table, states))

    @property
    def experiment(self) -> Experiment:
        """The experiment: ``.name``, ``.instrument``, ``.number``."""
        return self.files.experiment

    @property
    def instrument(self) -> str:
        """The instrument, empty when it is not known."""
        return self.files.experiment.instrument

    @property
    def number(self) -> int:
        """The run number of the file names."""
        return self.files.run

    @cached_property
    def _clock(self) -> tuple[np.datetime64, np.datetime64] | None:
        """Earliest and latest time of what is delivered."""
        return clock_of(self.table, self.rules)

    @property
    def start(self) -> np.datetime64 | None:
        """Time of the first event or transition, datetime64[ns], UTC; None for an empty run."""
        return self._clock[0] if self._clock else None

    @property
    def end(self) -> np.datetime64 | None:
        """Time of the last event or transition, datetime64[ns], UTC; None for an empty run."""
        return self._clock[1] if self._clock else None

    @cached_property
    def streams(self) -> tuple[Stream, ...]:
        """The streams, by number."""
        return streams_of(self.table, self.rules)

    @property
    def events(self) -> Events:
        """All events."""
        return Events(self, range(len(self.table.events)))

    @cached_property
    def finder(self) -> Finder:
        """What finds events by second, nanosecond and fiducial."""
        return Finder(self.table.events)

    @cached_property
    def origins(self) -> Origins:
        """Where the datagrams are in the big files."""
        return Origins(self.payloads)

    @cached_property
    def config(self) -> Config:
        """The configuration objects: a mapping of those in force at the first event; ``.at(event)`` for any moment."""
        groups = self.table.events["group"]
        delivered = np.flatnonzero(np.isin(self.table.groups["action"], DELIVERED))
        first = int(groups[0]) if len(groups) else int(delivered[-1]) if len(delivered) else -1
        last = len(self.table.groups) - 1
        return Config(self.table.config, self.payloads.config, lambda: self.aliases, first, last)

    @cached_property
    def epics(self) -> Epics:
        """The EPICS variables: a mapping by name or alias, each with its whole history."""
        known = self.index.index.epics if self.index.index is not None else None
        return Epics(self.payloads, len(self.table.groups) - 1, known)

    @cached_property
    def steps(self) -> Steps:
        """The steps (calib cycles), with their scan values."""
        return Steps(self.table, self.config, lambda some: self.events[some])

    def detector(self, name: str) -> Detector:
        """Return a detector by any of its names; see `psanacli.detector`.

        Parameters
        ----------
        name : str
            Full name (``CxiDs1.0:Cspad.0``), alias (``DscCsPad``), or a part that fits one source only.

        Raises
        ------
        NotFoundError
            The run has none, with the nearest names.
        UsageError
            The name fits several.
        """
        # The one import that goes upwards: a run gives the same detectors whatever was imported before.
        from psanacli.detector import find_detector

        return find_detector(self, name)

    @cached_property
    def detectors(self) -> Detectors:
        """All detectors that some event has, by name."""
        return Detectors(self)

    @cached_property
    def codes(self) -> EventCodes:
        """The event codes of all events."""
        return self.index.index.codes if self.index.index is not None else self.read_codes()

    def read_codes(self, events: NDArray[np.bool_] | None = None) -> EventCodes:
        """Read the event codes of all events, or of some (the others have none then)."""
        readers = [self.readers[key] for key in self.readers if key.xtc_type.name.startswith("EvrData.Data")]
        return EventCodes.read(self.payloads, readers, len(self.table.events), events)

    @property
    def counters(self) -> Counters:
        """What was irregular."""
        return self.table.counters

    @property
    def problems(self) -> tuple[FileProblem, ...]:
        """What in the files contradicts the format."""
        return self.table.problems

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What a user should know before using the data."""
        notes = [str(problem) for problem in self.problems if problem.kind.ends_file]
        others = sum(not problem.kind.ends_file for problem in self.problems)
        if others:
            notes.append(f"{others} places in datagrams contradict the format, see problems")
        return (*self.remarks, *notes)

    @cached_property
    def remarks(self) -> tuple[str, ...]:
        """What a user should know besides the problems."""
        notes = list(self.files.notes)
        if self.table.hidden_by_trigger:
            notes.append(
                "all events were trimmed because the level-3 trigger said fail, and are left out: "
                "l3_accept_only=False shows them"
            )
        notes += [
            f"{file.path.name} is empty"
            for file, size in zip(self.table.files, self.table.sizes, strict=True)
            if not size
        ]
        services = self.table.groups["service"]
        if len(services) and not (services == 4).any():
            notes.append("there is no Configure: nothing that needs a configuration can be decoded")
        return tuple(notes)

    def evaluate(self, expression: str, *, max_bytes: int = MAX_BYTES) -> np.ma.MaskedArray[Any, Any]:
        """Return the values of an expression in all events as one array.

        Parameters
        ----------
        expression : str
            In the language of selections: ``"EBeam.ebeamPhotonEnergy - 9500"``, ``"sum(opal_1.data16)"``,
            ``"code(140) and not code(162)"``; see ``man psana-expressions``.
        max_bytes : int
            Larger arrays are an error.

        Returns
        -------
        masked array, shape (events, ...)
            Masked where the value is absent.

        Raises
        ------
        UsageError, NotFoundError
            The expression is wrong, or has a name that does not exist; the hint shows where.
        """
        return Expression.parse(expression).bind(RunColumns(self)).evaluate(max_bytes=max_bytes)

    def join(
        self,
        table: OutsideTable | str | os.PathLike[str] | Mapping[str, Any] | NDArray[Any],
        *,
        name: str,
        how: str = "nearest",
        tolerance: str = DEFAULT_TOLERANCE,
        time: str | NDArray[Any] = "",
        zone: str = "",
        **options: Any,
    ) -> Joined:
        """Join values from outside the data acquisition to the events, by time.

        Afterwards they are columns: ``run.column("NAME.field")``.  Joining another table by the same name takes the
        place of the first.

        Parameters
        ----------
        table : OutsideTable, path, mapping of str to array, structured array, or array
            A file (text, HDF5, JSON of an EPICS archiver appliance), or the columns; one array is the field ``value``.
        name : str
            Letters, digits and ``_``; not that of a detector.
        how : str
            ``nearest``, ``previous`` or ``linear`` (states and text then as ``previous``).
        tolerance : str
            How far away in time a row may be: ``"0.5s"``, ``"20ms"``, ``"any"``.  Events beyond have no value.
        time : str or array
            Name of the time column if it has another than ``time``, ``timestamp`` and their like, or the times.
        zone : str
            Zone of times that do not say theirs: ``"UTC"``, ``"America/Los_Angeles"``, ``"+02:00"``.  Of arrays of
            datetime64 UTC unless given.
        **options
            More of `psanacli.outside.ReadOptions`: ``unit``, ``epoch``, ``dates``, ``group``, ``states``.

        Returns
        -------
        Joined
            Also kept as ``run.joined[name]``.

        Raises
        ------
        NotFoundError
            There is no such file or column.
        UsageError
            The name is taken, or the table does not say what is needed: zone, unit, time column.
        DataError
            The table is damaged.

        Examples
        --------
        >>> run.join("lakeshore.csv", name="cryo", zone="America/Los_Angeles", how="linear")   # doctest: +SKIP
        >>> run.column("cryo.temp").mean()                                                     # doctest: +SKIP
        """
        found = table_of(table, time, {"zone": zone, **options})
        self.joined[name] = join(self, found, name, how, tolerance)
        return self.joined[name]

    @overload
    def blocks(self, *names: str, max_bytes: int | None = ..., events: slice | None = ...) -> Iterator[Block]: ...

    @overload
    def blocks(
        self, *detector: Detector, max_bytes: int = ..., events: slice | None = ..., **options: Any
    ) -> Iterator[Any]: ...

    def blocks(
        self, *names: str | Detector, max_bytes: int | None = None, events: slice | None = None, **options: Any
    ) -> Iterator[Any]:
        """Go through the run in blocks of events.

        Parameters
        ----------
        *names : str, or one detector
            Fields, as for `column`.  An area detector gives blocks of its images, of the events that have one; under
            MPI each rank gets its share of these.
        max_bytes : int, optional
            Bytes of the columns or images of one block, about.
        events : slice, optional
            Some of the events (of fields with step 1); default is all.
        **options
            Of images: ``calib=False`` for raw ones; else as for `AreaDetector.calib`.

        Yields
        ------
        Block, or of a detector ImageBlock

        Raises
        ------
        UsageError
            The detector has no images, or there is more than one.

        Examples
        --------
        >>> for block in run.blocks("EBeam.ebeamPhotonEnergy"):                    # doctest: +SKIP
        ...     energies = block["EBeam.ebeamPhotonEnergy"]
        >>> for block in run.blocks(run.detector("cspad"), common_mode=False):     # doctest: +SKIP
        ...     total += block.images.sum(axis=0)
        """
        fields = [name for name in names if isinstance(name, str)]
        detectors = [name for name in names if not isinstance(name, str)]
        if not detectors:
            if options:
                raise UsageError(f"blocks of fields have no option {next(iter(options))!r}", "it is one of detectors")
            return blocks_of(self.events, {name: self._column(name) for name in fields}, max_bytes or _BLOCK, events)
        if len(names) > 1:
            raise UsageError("blocks are of fields, or of one detector", "go through each detector by itself")
        return detectors[0].blocks(max_bytes=max_bytes, events=events, **options)

    def to_xarray(self, names: Sequence[str], *, max_bytes: int = MAX_BYTES) -> xarray.Dataset:
        """Return fields of all events as an xarray Dataset, with the dimension ``event``.

        Time, fiducials and step of the events are coordinates.  Integers that some event lacks become floating
        point with NaN, text that it lacks is empty.

        Raises
        ------
        UsageError
            xarray is not installed.
        """
        names = [names] if isinstance(names, str) else names
        attributes = {"experiment": str(self.experiment), "run": self.number}
        columns = ((name, self.column(name, max_bytes=max_bytes)) for name in names)
        return dataset_of(self.events, columns, attributes)

    @property
    def states(self) -> Mapping[Path, FileState]:
        """What its files were when it was opened, and big files of small data when they were."""
        return self.payloads.files.states

    def check_unchanged(self) -> None:
        """Check that its files are still those that were opened; they may have grown.

        Whoever made something of a run asks this before handing it out.

        Raises
        ------
        DataError
            A file was replaced, cut or written to since.
        """
        self.payloads.check_unchanged()

    def close(self) -> None:
        """Close its files; what was read stays."""
        self.payloads.close()

    def rest(self) -> None:
        """Close its files until they are needed again."""
        self.payloads.files.rest()

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        daq = [str(stream.number) for stream in self.streams]
        lines = [
            f"<Run {self.number} of {self.experiment}: {len(self.table.events)} events in {len(self.steps)} steps",
            f"  {self.start} to {self.end}",
            f"  streams {', '.join(daq)}; {len(self.table.files)} files ({self.files.mode})",
            f"  {len(self.detectors)} detectors; {len(self.table.problems)} problems",
        ]
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes[:5])]) + ">"


__all__ = ["Run"]
