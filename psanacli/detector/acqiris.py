"""Acqiris digitizers: waveforms in volts and seconds, of one event or of blocks of events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from psanacli.detector.records import RecordDetector
from psanacli.errors import DataError, UsageError
from psanacli.parallel import launched
from psanacli.run import Event, Events, Reader
from psanacli.xtc import Record

Floats = NDArray[np.float64]
_BLOCK = 1 << 26


class Waveforms(NamedTuple):
    """Waveforms of one event.

    Attributes
    ----------
    values : ndarray of float64, shape (channels, samples)
        Volts.
    times : ndarray of float64, shape (channels, samples)
        Seconds after the trigger.
    """

    values: Floats
    times: Floats


@dataclass(frozen=True, eq=False)
class WaveformBlock:
    """Waveforms of some events one after the other.

    Attributes
    ----------
    events : Events
        Those events of the block that have the detector.
    values : ndarray of float64, shape (events, channels, samples)
        Volts.
    times : ndarray of float64, shape (events, channels, samples)
        Seconds after the trigger.
    """

    events: Events
    values: Floats
    times: Floats

    def __len__(self) -> int:
        return len(self.values)


class Acqiris(RecordDetector):
    """An Acqiris digitizer; also ``SharedAcqADC`` of the beam line, which carries its configuration with it.

    Values follow the format: a sample is ``raw x fullScale / 65536 - offset`` volts with range and offset of its
    channel among the configured ones, and was taken ``i x sampInterval + pos`` seconds after the trigger, with ``pos``
    of the time stamp of its segment.  Segments stand one after the other.
    """

    main = ("Acqiris.DataDesc", "Bld.BldDataAcqADC")

    def raw(self, event: Event) -> NDArray[np.int16] | None:
        """Return the samples as they were stored, None when the event has none.

        Returns
        -------
        ndarray of int16, shape (channels, segments, samples)
            10 bits, in the upper bits.
        """
        found = self._parts(event)
        return None if found is None else _stored(found[0], found[1].data)

    def waveforms(self, event: Event, *, aligned: bool = True) -> Waveforms | None:
        """Return volts and seconds of all channels.

        Parameters
        ----------
        event : Event
            Which event.
        aligned : bool
            Shift each segment by whole samples so that the trigger is at the same column in all events: sample ``i`` is
            in column ``i + int(pos / sampInterval)``.  False leaves it in column ``i``.

        Returns
        -------
        Waveforms or None
            Each of shape (channels, segments x samples).  Where nothing was sampled, values and times are 0.
        """
        found = self._parts(event)
        if found is None:
            return None
        config, data = found
        elements = list(data.data)
        stored = _stored(config, elements)
        positions = np.array([[stamp.pos for stamp in element.timestamp] for element in elements], np.float64)
        lengths = np.array([element.nbrSamplesInSeg for element in elements], np.int64)
        values, times = _placed(config, stored[None], positions.reshape(1, *stored.shape[:2]), lengths[None], aligned)
        return Waveforms(values[0], times[0])

    def waveform(self, event: Event, *, aligned: bool = True) -> Floats | None:
        """Return the waveforms in volts, float64, shape (channels, samples); see `waveforms`."""
        found = self.waveforms(event, aligned=aligned)
        return None if found is None else found.values

    def times(self, event: Event, *, aligned: bool = True) -> Floats | None:
        """Return when the samples were taken: seconds, float64, shape (channels, samples); see `waveforms`."""
        found = self.waveforms(event, aligned=aligned)
        return None if found is None else found.times

    def __call__(self, event: Event) -> Waveforms | None:
        """Return volts and seconds; see `waveforms`."""
        return self.waveforms(event)

    def blocks(
        self, *, aligned: bool = True, events: slice | None = None, max_bytes: int = _BLOCK, **options: Any
    ) -> Iterator[WaveformBlock]:
        """Go through the events that have the detector, by blocks of waveforms: without a loop over events.

        Under MPI (`mpirun`) the blocks are dealt to the ranks in turn, and each goes through its share.

        Parameters
        ----------
        aligned : bool
            As for `waveforms`.
        events : slice, optional
            Some of the events of the run; default is all.
        max_bytes : int
            Bytes of the values of one block, about.
        **options
            None.

        Yields
        ------
        WaveformBlock
            A block has events with one configuration.

        Raises
        ------
        UsageError
            There is no such option.
        """
        if options:
            raise UsageError(f"blocks of waveforms have no option {', '.join(options)}", "aligned, events, max_bytes")
        chosen = np.zeros(len(self._run.events), bool)
        chosen[events or slice(None)] = True
        rank, size = launched()
        number = 0
        for reader in self._chosen(""):
            for rows in _with_one_config(reader, chosen):
                count = max(1, max_bytes // max(1, 16 * int(reader.objects.size[rows[0]]) // 2))
                for first in range(0, len(rows), count):
                    if number % size == rank:
                        yield self._block(reader, rows[first : first + count], aligned)
                    number += 1

    def _block(self, reader: Reader, rows: NDArray[np.int64], aligned: bool) -> WaveformBlock:
        objects = reader.objects
        events = self._run.events[objects.event[rows]]
        if reader.key.xtc_type.config_inside is not None:
            found = [self.waveforms(event, aligned=aligned) for event in events]
            values, times = (np.stack([one[part] for one in found if one is not None]) for part in (0, 1))
            return WaveformBlock(events, values, times)
        payload = self._run.payloads.read(objects, rows)
        number = int(objects.config[rows[0]])
        batch = self._run.payloads.layout(objects, number).batch(payload.buffer, payload.starts, payload.sizes)
        stored, positions = batch.column("data.waveforms"), batch.column("data.timestamp.pos")
        config = self._run.config.record(number)
        values, times = _placed(config, stored, positions, batch.column("data.nbrSamplesInSeg"), aligned)
        return WaveformBlock(events, values, times)

    def _parts(self, event: Event) -> tuple[Record, Record] | None:
        """Return configuration and data of an event."""
        record = self.get(event)
        if record is None:
            return None
        if record.xtc_type.config_inside is not None:
            return record.config, record.data
        return record._config_, record


def _stored(config: Record, elements: Sequence[Record]) -> NDArray[np.int16]:
    """Return the samples of an event, shape (channels, segments, samples)."""
    found = np.zeros((len(elements), config.horiz.nbrSegments, config.horiz.nbrSamples), np.int16)
    for channel, element in enumerate(elements):
        found[channel] = element.waveforms
    return found


def _with_one_config(reader: Reader, chosen: NDArray[np.bool_]) -> Iterator[NDArray[np.int64]]:
    """Give the rows of the objects of some events, in stretches with one configuration object."""
    rows = np.flatnonzero(chosen[reader.objects.event])
    cuts = np.flatnonzero(np.diff(reader.objects.config[rows])) + 1
    for part in np.split(rows, cuts):
        if len(part):
            yield part


def _placed(
    config: Record, stored: NDArray[np.int16], positions: Floats, lengths: NDArray[Any], aligned: bool
) -> tuple[Floats, Floats]:
    """Return volts and seconds of some events, each of shape (events, channels, segments x samples).

    Parameters
    ----------
    config : Record
        ``Acqiris.ConfigV1``.
    stored : ndarray of int16, shape (events, channels, segments, samples)
        The waveforms.
    positions : ndarray of float64, shape (events, channels, segments)
        Times of their first samples, s.
    lengths : ndarray of integers, shape (events, channels)
        Samples of a segment.
    aligned : bool
        As for `Acqiris.waveforms`.
    """
    count, channels, segments, samples = stored.shape
    interval = config.horiz.sampInterval
    if channels > len(config.vert):
        raise DataError(f"an Acqiris configuration has {channels} channels, and ranges for {len(config.vert)}")
    ranges = np.array([(each.slope, each.offset) for each in config.vert[:channels]]).reshape(-1, 2)
    slopes, offsets = ranges[:, 0, None, None], ranges[:, 1, None, None]
    with np.errstate(invalid="ignore", over="ignore"):
        volts = stored * slopes - offsets
        seconds = np.arange(samples) * interval + positions[..., None]
    total = segments * samples
    step = np.minimum(lengths.astype(np.int64), total)[..., None]
    first = np.arange(segments) * step + (_whole_samples(positions, interval, total) if aligned else 0)
    if (first == np.arange(segments) * samples).all() and (step == samples).all():
        return volts.reshape(count, channels, total), seconds.reshape(count, channels, total)
    values, times = np.zeros((count, channels, total)), np.zeros((count, channels, total))
    columns = np.arange(total)
    for segment in range(segments):
        index = columns - first[..., segment, None]
        there = (index >= 0) & (index < np.minimum(step, samples))
        index = np.clip(index, 0, samples - 1)
        np.copyto(values, np.take_along_axis(volts[:, :, segment], index, -1), where=there)
        np.copyto(times, np.take_along_axis(seconds[:, :, segment], index, -1), where=there)
    return values, times


def _whole_samples(positions: Floats, interval: float, total: int) -> NDArray[np.int64]:
    """Return how many samples some times are, cut towards zero; 0 where it is no number, at most just outside."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        counts = np.nan_to_num(positions / interval, nan=0.0, posinf=0.0, neginf=0.0)
    return np.clip(counts, -2 * total, 2 * total).astype(np.int64)
