"""Writing files and whole runs: streams, chunks, transitions and clocks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np

from psanacli.errors import OutputError
from psanacli.xtc.headers import MAX_FIDUCIALS, Buffer, Level, Transition
from psanacli.xtc.sources import Source
from psanacli.xtc.writer import Container, Contribution, Datagram, DatagramBlock

_BUFFER = 1 << 20
_SECOND = 1_000_000_000
_FIDUCIALS_PER_SECOND = 360
_L1_CONTROL = int(Transition.L1Accept)

Children = Sequence[Container | Contribution]


class StreamWriter:
    """Writes one stream: a file, and a next one whenever a chunk is full.

    Parameters
    ----------
    directory : path
        Made if it does not exist.
    experiment : str
        First part of the names: ``e301``, or the name of the experiment.
    run, stream, chunk : int
        Numbers for the name; `chunk` is that of the first file.
    chunk_size : int, optional
        Bytes after which the next event goes to a new chunk.

    Raises
    ------
    OutputError
        A file cannot be written.
    """

    def __init__(
        self,
        directory: Path | str,
        experiment: str,
        run: int,
        stream: int,
        *,
        chunk: int = 0,
        chunk_size: int | None = None,
    ) -> None:
        self.directory = Path(directory)
        self.stem = f"{experiment}-r{run:04d}-s{stream:02d}"
        self.stream = stream
        self.chunk = chunk
        self.chunk_size = chunk_size
        self.paths: list[Path] = []
        self._file: BinaryIO | None = None
        self._written = 0
        self._open()

    def _open(self) -> None:
        path = self.directory / f"{self.stem}-c{self.chunk:02d}.xtc"
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._file = open(path, "wb", buffering=_BUFFER)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
        self.paths.append(path)
        self._written = 0

    def write(self, datagram: Datagram | bytes) -> None:
        """Append one datagram."""
        parts: list[Buffer] = [datagram] if isinstance(datagram, bytes) else datagram.parts()
        size = sum(len(part) if isinstance(part, bytes) else memoryview(part).nbytes for part in parts)
        event = isinstance(datagram, Datagram) and datagram.transition == Transition.L1Accept
        self._put(parts, size, event)

    def write_rows(self, rows: np.ndarray[tuple[int, int], np.dtype[np.uint8]]) -> None:
        """Append many events of the same size: rows of uint8, shape (events, bytes of a datagram)."""
        count, size = rows.shape
        while count and size:
            room = count
            if self.chunk_size is not None:
                room = max(1, min(count, -(-(self.chunk_size - self._written) // size)))
            self._put([np.ascontiguousarray(rows[:room]).data], room * size, True)
            rows = rows[room:]
            count -= room

    def next_chunk(self) -> None:
        """Close the file, and go on in the next chunk."""
        self.close()
        self.chunk += 1
        self._open()

    def _put(self, parts: Iterable[Buffer], size: int, event: bool) -> None:
        if event and self.chunk_size is not None and self._written >= self.chunk_size:
            self.next_chunk()
        if self._file is None:
            raise ValueError(f"{self.paths[-1]} is closed")
        try:
            self._file.writelines(parts)
        except OSError as error:
            raise OutputError(f"{self.paths[-1]}: cannot be written: {error.strerror}") from error
        self._written += size

    def close(self) -> None:
        """Write out what is buffered, and close the file."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError as error:
                raise OutputError(f"{self.paths[-1]}: cannot be written: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Clock:
    """When an event is: what all its datagrams carry."""

    seconds: int
    nanoseconds: int
    fiducials: int
    vector: int


class RunWriter:
    """Writes a whole run: DAQ streams that take turns with the events, and control streams.

    Transitions go to all streams.  The order is that of the data acquisition: `configure`, then for each step
    `begin_step` and events; `close`, or the end of a ``with`` block, writes what is needed to end the run.

    Parameters
    ----------
    directory : path
        Where the files go.
    experiment : str
        First part of the file names.
    run : int
        Number of the run.
    streams : int or sequence of int
        How many DAQ streams, or their numbers.
    control_streams : sequence of int
        Numbers of the streams of control data, 80 and above.
    start : int
        Unix time at which the run starts, in s.
    rate : int
        Events per second; a divisor of 360.
    first_fiducial : int
        Fiducial of the first event; it wraps at 131040.
    control_offset : mapping of int to int, optional
        Seconds by which the clock of a control stream is off in its events.
    chunk_size : int, optional
        Bytes after which the next event of a stream goes to a new chunk.

    Examples
    --------
    >>> with RunWriter("xtc", "e301", 1, streams=2) as run:           # doctest: +SKIP
    ...     run.configure([Container(node, [Contribution("Opal1k.ConfigV1", camera, payload)])])
    ...     for position in (0.1, 0.2):
    ...         run.begin_step()
    ...         for image in images:
    ...             run.event([Container(node, [Contribution("Camera.FrameV1", camera, image)])])
    """

    def __init__(
        self,
        directory: Path | str,
        experiment: str,
        run: int,
        *,
        streams: int | Sequence[int] = 1,
        control_streams: Sequence[int] = (),
        start: int = 1_436_200_000,
        rate: int = 120,
        first_fiducial: int = 16_947,
        control_offset: Mapping[int, int] | None = None,
        chunk_size: int | None = None,
    ) -> None:
        numbers = range(streams) if isinstance(streams, int) else streams
        if not numbers or _FIDUCIALS_PER_SECOND % rate:
            raise ValueError(f"a run needs a stream, and a rate that divides {_FIDUCIALS_PER_SECOND}")
        self.run = run
        self.daq = [StreamWriter(directory, experiment, run, number, chunk_size=chunk_size) for number in numbers]
        self.control = {
            number: StreamWriter(directory, experiment, run, number, chunk_size=chunk_size)
            for number in control_streams
        }
        self.event_count = 0
        self._interval = _SECOND // rate
        self._fiducial_step = _FIDUCIALS_PER_SECOND // rate
        self._first_fiducial = first_fiducial
        self._control_offset = dict(control_offset or {})
        self._now = start * _SECOND
        self._vector = 0
        self._open: list[Transition] = []

    @property
    def now(self) -> tuple[int, int]:
        """Clock of what is written next: seconds and nanoseconds."""
        return divmod(self._now, _SECOND)

    @property
    def paths(self) -> list[Path]:
        """The files, by stream and chunk."""
        return [path for writer in (*self.daq, *self.control.values()) for path in writer.paths]

    def configure(self, children: Children = (), control: Mapping[int, Children] | None = None) -> None:
        """Write Configure and BeginRun; `children` are repeated in all DAQ streams, `control` has those of others."""
        self._transition(Transition.Configure, children, control)
        self._transition(Transition.BeginRun, env=self.run)
        self._open = [Transition.EndRun]
        self._vector = 0

    def begin_step(self, children: Children = (), control: Mapping[int, Children] | None = None) -> None:
        """Begin a step; the one before, if any, is ended."""
        if not self._open:
            self.configure()
        self.end_step()
        self._transition(Transition.BeginCalibCycle, children, control)
        self._transition(Transition.Enable)
        self._open += [Transition.EndCalibCycle, Transition.Disable]

    def end_step(self) -> None:
        """End the step, if one is open."""
        while len(self._open) > 1:
            self._transition(self._open.pop())

    def event(
        self,
        children: Children = (),
        control: Mapping[int, Children] | None = None,
        *,
        stream: int | None = None,
        env: int = 0,
        damage: int = 0,
    ) -> Clock:
        """Write one event.

        Parameters
        ----------
        children : sequence of Container or Contribution
            What the DAQ has.
        control : mapping of int to such a sequence, optional
            What control streams have; they get a datagram only then.
        stream : int, optional
            Number of the DAQ stream; by default they take turns.
        env, damage : int
            Words of the header of the datagram.
        """
        self._need_step()
        clock = self._tick()
        writer = self.daq[(self.event_count - 1) % len(self.daq)] if stream is None else self._daq_stream(stream)
        writer.write(_event(clock, children, clock.seconds, env, damage))
        for number, inside in (control or {}).items():
            seconds = clock.seconds + self._control_offset.get(number, 0)
            self.control[number].write(_event(clock, inside, seconds, 0, 0))
        return clock

    def events(self, block: DatagramBlock) -> None:
        """Write many events; clocks, fiducials and vectors of the block are set here."""
        self._need_step()
        count, streams = len(block), len(self.daq)
        numbers = np.arange(count, dtype=np.int64)
        times = self._now + numbers * self._interval
        headers = block.headers
        headers["seconds"], headers["nanoseconds"] = times // _SECOND, times % _SECOND
        fiducials = (self._first_fiducial + (self.event_count + numbers) * self._fiducial_step) % MAX_FIDUCIALS
        headers["stamp_high"] = (self._vector + numbers & 0x7FFF) << 17 | fiducials
        headers["stamp_low"] = headers["stamp_low"] & 0xFFFFFF | _L1_CONTROL << 24
        for number, writer in enumerate(self.daq):
            writer.write_rows(block.data[(number - self.event_count) % streams :: streams])
        self._now += count * self._interval
        self._vector += count
        self.event_count += count

    def close(self) -> None:
        """End step and run, and close all files."""
        try:
            if self._open:
                self.end_step()
                self._transition(self._open.pop())
                self._transition(Transition.Unconfigure)
        finally:
            self._close_files()

    def _close_files(self) -> None:
        for writer in (*self.daq, *self.control.values()):
            writer.close()

    def _need_step(self) -> None:
        if len(self._open) < 2:
            self.begin_step()

    def _daq_stream(self, number: int) -> StreamWriter:
        for writer in self.daq:
            if writer.stream == number:
                return writer
        raise ValueError(f"there is no DAQ stream {number}")

    def _tick(self) -> Clock:
        fiducials = (self._first_fiducial + self.event_count * self._fiducial_step) % MAX_FIDUCIALS
        clock = Clock(self._now // _SECOND, self._now % _SECOND, fiducials, self._vector & 0x7FFF)
        self._now += self._interval
        self._vector += 1
        self.event_count += 1
        return clock

    def _transition(
        self,
        transition: Transition,
        children: Children = (),
        control: Mapping[int, Children] | None = None,
        env: int = 0,
    ) -> None:
        seconds, nanoseconds = divmod(self._now, _SECOND)
        for writer in self.daq:
            writer.write(Datagram(transition, seconds, nanoseconds, children, env=env))
        for number, writer in self.control.items():
            inside = (control or {}).get(number, ())
            writer.write(Datagram(transition, seconds, nanoseconds, inside, env=env))
        # Transitions stand a tenth of a second before what follows.
        self._now += _SECOND // 10

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._close_files()


def _event(clock: Clock, children: Children, seconds: int, env: int, damage: int) -> Datagram:
    return Datagram(
        Transition.L1Accept,
        seconds,
        clock.nanoseconds,
        children,
        clock.fiducials,
        vector=clock.vector,
        env=env,
        damage=damage,
    )


def node(ip: str, process: int = 0, level: Level = Level.Segment) -> Source:
    """Return the source of a readout node: the computer with address `ip`."""
    return Source.parse(f"ProcInfo({ip})", process, level)
