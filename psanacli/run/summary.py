"""What a user asks first of a run, as plain values: `summarise` fills them from the tables of the run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError, PsanaError
from psanacli.run.detectors import main_array
from psanacli.run.objects import Key
from psanacli.run.readers import Reader
from psanacli.run.steps import CONTROL_DATA, CONTROL_NAMES
from psanacli.run.tables import EventFlag
from psanacli.run.unknown import unknown_types
from psanacli.xtc import Damage, Record, Records, Source

if TYPE_CHECKING:
    from psanacli.run.run import Run


@dataclass(frozen=True)
class StreamSummary:
    """One stream: its number, what wrote it (``daq`` or ``control``), chunks, bytes and datagrams."""

    stream: int
    kind: str
    chunks: tuple[int, ...]
    bytes: int
    datagrams: int
    events: int


@dataclass(frozen=True)
class FileSummary:
    """One file: where, how large, and what is wrong with it (offset and message of each problem)."""

    path: Path
    stream: int
    chunk: int
    bytes: int
    datagrams: int
    problems: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class StepSummary:
    """One step: its first event and their number, beginning and duration in seconds, and the values of the scan."""

    step: int
    first: int
    events: int
    start: np.datetime64 | None
    duration: float
    values: dict[str, float]
    labels: dict[str, str]


@dataclass(frozen=True)
class TypeSummary:
    """Objects of one type from one source.

    Attributes
    ----------
    type : str
        ``Camera.FrameV1``.
    config : bool
        Whether it is a configuration object.
    known : bool
        Whether the catalogue has the type; else `type` is its number and version.
    shape, dtype : tuple of int or None, str
        Of its largest array in the first event that has one; None and the number of values if there is no array.
    array : str
        Name of that array.
    present, damaged : int
        In how many events the object can be had; in how many it has a damage word, whether it can be had or not.
    damage : dict of str to int
        Events by kind of damage.
    bytes : int
        Of all payloads.
    """

    type: str
    config: bool
    known: bool
    shape: tuple[int, ...] | None
    dtype: str
    array: str
    present: int
    damaged: int
    damage: dict[str, int]
    bytes: int


@dataclass(frozen=True)
class DetectorSummary:
    """A source: full name, source string, alias and what it gives.

    The scan, and time tools that are EPICS variables, have neither source string nor types.
    """

    name: str
    source: str
    alias: str
    types: tuple[TypeSummary, ...]


@dataclass(frozen=True)
class EpicsSummary:
    """An EPICS variable: what it was at the end of the run.

    Attributes
    ----------
    name, alias : str
    value : int, float, str, list or None
        A list for an array; None when no value is known.
    text : str
        Of an enumeration: the name of the value.
    units, severity, status : str
        The unit; the alarm.
    time : datetime64[ns] or None
        When it had this value first.
    updates : int
        Number of values that came during the run.
    """

    name: str
    alias: str
    value: Any
    text: str
    units: str
    severity: str
    status: str
    time: np.datetime64 | None
    updates: int


@dataclass(frozen=True)
class RunSummary:
    """A run; times are UTC.

    Attributes
    ----------
    experiment, instrument, number : str, str, int
        Of the experiment; the number is 0 where there is none.
    run : int
    mode : str
        ``xtc``, ``smd`` or ``idx``.
    directory : Path
    start, end : datetime64[ns] or None
        Of the run: times of its first and last datagram.
    duration : float
        Seconds between them.
    events : int
    event_rate : float or None
        Events per second between the first and the last event.
    usual_rate : float or None
        Events per second by the median time between two events.
    bytes : int
        Of all files.
    steps, streams, files, detectors, epics
        See there.
    codes : dict of int to int
        In how many events each event code was.
    counters : dict of str to int
        What was irregular, by the names of `Counters`.
    damage : dict of str to int
        Damaged contributions by kind of damage.
    notes : tuple of str
        What the user should know.
    """

    experiment: str
    instrument: str
    number: int
    run: int
    mode: str
    directory: Path
    start: np.datetime64 | None
    end: np.datetime64 | None
    duration: float
    events: int
    event_rate: float | None
    usual_rate: float | None
    bytes: int
    steps: tuple[StepSummary, ...]
    streams: tuple[StreamSummary, ...]
    files: tuple[FileSummary, ...]
    detectors: tuple[DetectorSummary, ...]
    epics: tuple[EpicsSummary, ...]
    codes: dict[int, int]
    counters: dict[str, int]
    damage: dict[str, int]
    notes: tuple[str, ...]

    def asdict(self) -> dict[str, Any]:
        """Return it as plain values, for JSON."""
        return asdict(self)


def summarise(run: Run) -> RunSummary:
    """Return what is in a run.

    Everything but the shapes, the event codes and the EPICS values comes from the headers; one object of each type is
    decoded for its shape.
    """
    table = run.table
    counters = asdict(table.counters)
    times = _daq_times(run, slice(None))
    span = float((times.max() - times.min()) / np.timedelta64(1, "s")) if len(times) else 0.0
    lapses = np.diff(np.sort(times)).astype(np.int64)
    lapses = lapses[lapses > 0]
    return RunSummary(
        experiment=run.experiment.name,
        instrument=run.experiment.instrument,
        number=run.experiment.number,
        run=run.number,
        mode=run.files.mode,
        directory=run.files.directory,
        start=run.start,
        end=run.end,
        duration=_seconds(run.start, run.end),
        events=len(run.events),
        event_rate=(len(times) - 1) / span if span > 0 else None,
        usual_rate=float(1e9 / np.median(lapses)) if len(lapses) else None,
        bytes=sum(table.sizes),
        steps=tuple(_steps(run)),
        streams=tuple(_streams(run)),
        files=tuple(_files(run)),
        detectors=tuple(_detectors(run)),
        epics=tuple(_epics(run)),
        codes=run.codes.counts(),
        counters={name: value for name, value in counters.items() if isinstance(value, int)},
        damage=dict(counters["damage_kinds"] or {}),
        notes=tuple(run.notes),
    )


def _seconds(start: np.datetime64 | None, end: np.datetime64 | None) -> float:
    return 0.0 if start is None or end is None else float((end - start) / np.timedelta64(1, "s"))


def _daq_times(run: Run, events: slice) -> NDArray[np.datetime64]:
    """Return times of events with DAQ data, or of all if there are none: control streams have clocks of their own."""
    chosen = run.events[events]
    with_daq = chosen.table["flags"] & EventFlag.DAQ != 0
    return chosen.times[with_daq] if with_daq.any() else chosen.times


def _steps(run: Run) -> Iterator[StepSummary]:
    for step in run.steps:
        inside = _daq_times(run, slice(step.first, step.stop))
        last = inside.max() if len(inside) else None
        yield StepSummary(
            step.number, step.first, len(step), step.start, _seconds(step.start, last), step.values, step.labels
        )


def _streams(run: Run) -> Iterator[StreamSummary]:
    table = run.table
    events = np.repeat(table.groups["event"], table.groups["count"])
    streams = table.streams_of(table.members)
    for stream in run.streams:
        mine = streams == stream.number
        chunks = tuple(file.chunk for file in stream.files)
        kind = "control" if stream.control else "daq"
        count = len(np.unique(events[mine & (events >= 0)]))
        yield StreamSummary(stream.number, kind, chunks, stream.bytes, stream.datagrams, count)


def _files(run: Run) -> Iterator[FileSummary]:
    table = run.table
    counts = np.bincount(table.datagrams["file"], minlength=len(table.files)).tolist()
    for file, size, count in zip(table.files, table.sizes, counts, strict=True):
        problems = tuple((problem.offset, problem.message) for problem in table.problems if problem.path == file.path)
        yield FileSummary(file.path, file.stream, file.chunk, size, count, problems)


def _detectors(run: Run) -> Iterator[DetectorSummary]:
    types: dict[tuple[int, int], list[TypeSummary]] = {}
    sources: dict[tuple[int, int], Source] = {}
    for key in run.table.object_keys():
        sources.setdefault(key.source.identity, key.source)
        types.setdefault(key.source.identity, []).append(_event_type(run, key))
    for history in run.table.config.histories.values():
        source = history.key.source
        sources.setdefault(source.identity, source)
        size = int(history.size.sum())
        configuration = TypeSummary(history.key.xtc_type.name, True, True, None, "", "", len(history), 0, {}, size)
        types.setdefault(source.identity, []).append(configuration)
    for source, unknown in _unknown_types(run):
        sources.setdefault(source.identity, source)
        types.setdefault(source.identity, []).append(unknown)
    for identity in sorted(sources):
        source = sources[identity]
        alias = next((name for name, known in run.aliases.items() if known.same_as(source)), "")
        yield DetectorSummary(source.name, source.text, alias, tuple(types[identity]))
    yield from _wholes(run)
    if any(history.key.xtc_type.name.startswith(CONTROL_DATA) for history in run.table.config.histories.values()):
        yield DetectorSummary(CONTROL_NAMES[0], "", CONTROL_NAMES[1], ())
    for name in run.epics.time_tools:
        yield DetectorSummary(name, "", "", ())


def _wholes(run: Run) -> Iterator[DetectorSummary]:
    """Give the detectors that come in pieces, with the number of events in which all pieces are there."""
    for whole in run.wholes.values():
        counts = np.zeros(len(run.events), np.int64)
        names: list[str] = []
        panel: tuple[int, ...] = ()
        dtype = ""
        for source, _ in whole.pieces:
            there = np.zeros(len(run.events), bool)
            for key in run.readers:
                if key.source.same_as(source):
                    names.append(key.xtc_type.name)
                    there[run.readers[key].objects.event] = True
                    array, shape, kind = _largest_array(run.readers[key])
                    panel, dtype = (shape[1:], kind) if array and shape else (panel, dtype)
            counts += there
        try:
            shape = (whole.modules, *panel) if panel else None
        except DataError:
            shape = None  # the pieces contradict each other, as whoever asks for the detector is told
        present = int(np.count_nonzero(counts == len(whole.pieces)))
        kind = f"{', '.join(dict.fromkeys(names))} in {len(whole.pieces)} pieces"
        yield DetectorSummary(
            whole.source.name,
            whole.source.text,
            run.names.alias(whole.source),
            (TypeSummary(kind, False, True, shape, dtype, "frame" if shape else "", present, 0, {}, 0),),
        )


def _event_type(run: Run, key: Key) -> TypeSummary:
    objects = run.table.objects(key.xtc_type, key.source)
    damage: dict[str, int] = {}
    for word, count in zip(*np.unique(objects.damage[objects.damage != 0], return_counts=True), strict=True):
        for name in Damage(int(word)).names:
            damage[name] = damage.get(name, 0) + int(count)
    array, shape, dtype = _largest_array(run.readers[key])
    return TypeSummary(
        key.xtc_type.name,
        False,
        True,
        shape,
        dtype,
        array,
        int(np.count_nonzero(objects.stored)),
        int(np.count_nonzero(objects.damage)),
        damage,
        int(objects.size[objects.stored].sum()),
    )


def _unknown_types(run: Run) -> Iterator[tuple[Source, TypeSummary]]:
    for unknown in unknown_types(run.table):
        yield (
            unknown.source,
            TypeSummary(unknown.name, False, False, None, "", "", 0, 0, {}, unknown.bytes),
        )


def _largest_array(reader: Reader) -> tuple[str, tuple[int, ...] | None, str]:
    """Return name, shape and dtype of the largest array of the first object that can be decoded."""
    for event in reader.objects.event[:3].tolist():
        try:
            record = reader.get(event)
            found = main_array(record) if record is not None else None
        except PsanaError:
            continue  # the next may be whole; what is wrong with this one shows when it is read
        if record is None or found is None:
            count = len(reader.key.xtc_type.accessors)
            return "", None, f"{count} value{'s' * (count != 1)}"
        return found[0], _shape(record, found[0]), str(found[1].dtype)
    return "", None, ""


def _shape(record: Record, path: str) -> tuple[int, ...]:
    """Return the shape of an array in a record; arrays in n objects are n rows if all are alike, else one array."""
    head, _, rest = path.partition(".")
    value = getattr(record, head)
    if isinstance(value, Record):
        return _shape(value, rest)
    if isinstance(value, Records):
        shapes = {_shape(part, rest) for part in value}
        first = next(iter(shapes))
        return (len(value), *first) if len(shapes) == 1 else (sum(math.prod(_shape(part, rest)) for part in value),)
    return tuple(value.shape)


def _epics(run: Run) -> Iterator[EpicsSummary]:
    for name in run.epics:
        variable = run.epics[name]
        last = variable.at(None)
        updates = int(np.count_nonzero(~np.isnat(variable.times)))
        if last is None:
            yield EpicsSummary(name, variable.alias, None, "", variable.units, "", "", None, updates)
            continue
        texts = variable.enum_strings
        text = texts[last.value] if isinstance(last.value, int) and 0 <= last.value < len(texts) else ""
        value = last.value.tolist() if isinstance(last.value, np.ndarray) else last.value
        alarm = last.severity, last.status
        yield EpicsSummary(name, variable.alias, value, text, variable.units, *alarm, last.time, updates)
