"""Detectors that sample a signal: IMP, ePix samplers, and those with ``Generic1D`` data (wave 8, LeCroy, QuadAdc)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.detector.records import RecordDetector
from psanacli.errors import DataError
from psanacli.run import Event

Floats = NDArray[np.float64]


class Imp(RecordDetector):
    """An IMP detector: four channels."""

    main = ("Imp.Element",)

    def raw(self, event: Event) -> NDArray[np.uint16] | None:
        """Return the samples, uint16, shape (4, samples); None when the event has none."""
        record = self.get(event)
        return None if record is None else np.ascontiguousarray(record.samples.column("channels").T)

    def waveform(self, event: Event, *, bias: bool = False) -> NDArray[np.integer[Any]] | None:
        """Return the samples as counts, shape (4, samples); nothing tells what they are in volts.

        Parameters
        ----------
        event : Event
            Which event.
        bias : bool
            Subtract ``biasData`` of the configuration; the result is int32 then, else uint16.
        """
        record = self.get(event)
        if record is None:
            return None
        samples: NDArray[np.integer[Any]] = np.ascontiguousarray(record.samples.column("channels").T)
        return samples.astype(np.int32) - np.int32(record._config_.biasData) if bias else samples

    def times(self, event: Event) -> NDArray[np.int64] | None:
        """Return the numbers of the samples, int64, shape (samples,); nothing tells how long a sample is."""
        record = self.get(event)
        return None if record is None else np.arange(len(record.samples))

    def __call__(self, event: Event) -> NDArray[np.integer[Any]] | None:
        """Return the samples; see `waveform`."""
        return self.waveform(event)


class EpixSampler(RecordDetector):
    """The sampler of an ePix camera: waveforms of its channels."""

    main = ("EpixSampler.Element",)

    def raw(self, event: Event) -> NDArray[np.uint16] | None:
        """Return the samples, uint16, shape (channels, samples); None when the event has none."""
        record = self.get(event)
        return None if record is None else record.frame

    def waveform(self, event: Event) -> NDArray[np.uint16] | None:
        """Return the samples as counts, shape (channels, samples); nothing tells what they are in volts."""
        return self.raw(event)

    def times(self, event: Event) -> Floats | None:
        """Return when the samples were taken: seconds after the first, float64, shape (samples,).

        ``i x sampleInterval_sec`` of the configuration.
        """
        record = self.get(event)
        return None if record is None else np.arange(record.frame.shape[1]) * record._config_.sampleInterval_sec

    def __call__(self, event: Event) -> NDArray[np.uint16] | None:
        """Return the samples; see `raw`."""
        return self.raw(event)


_MOST_SAMPLES = 1 << 28
_FIELDS = ("data_u8", "data_u16", "data_u32", "data_f32", "data_f64")
"""Accessors of ``Generic1D.DataV0`` by ``SampleType``."""


class Generic1D(RecordDetector):
    """Sampled channels of different lengths and types: wave 8, LeCroy, QuadAdc."""

    main = ("Generic1D.Data",)

    def raw(self, event: Event) -> Any:
        """Return the samples of each channel as they were stored.

        Returns
        -------
        list of ndarray, or None
            One-dimensional, uint8, uint16, uint32, float32 or float64; None when the event has none.
        """
        record = self.get(event)
        if record is None:
            return None
        if "data_u8" not in record.xtc_type.accessors:
            array = super().raw(event)
            return None if array is None else [array]
        found = []
        for channel, kind in enumerate(record._config_.SampleType.tolist()):
            found.append(getattr(record, _FIELDS[kind])(channel) if kind < len(_FIELDS) else np.zeros(0, np.uint8))
        return found

    def waveform(self, event: Event) -> list[NDArray[Any]] | None:
        """Return the samples of each channel; the device says nothing of their unit, see `raw`."""
        found: list[NDArray[Any]] | None = self.raw(event)
        return found

    def times(self, event: Event) -> list[Floats] | None:
        """Return when the samples of each channel were taken: seconds, float64; None without configuration.

        Sample ``i`` of a channel at ``(Offset + i) x Period``.

        Raises
        ------
        DataError
            The configuration has more samples than can be.
        """
        self._index(event)
        config = self.config(event, "Generic1D.Config")
        if config is None:
            return None
        samples = int(config.Length.sum(dtype=np.uint64))
        if samples > _MOST_SAMPLES:
            raise DataError(f"{self.name}: its configuration has channels of {samples} samples, more than can be")
        columns = (config.Length.tolist(), config.Offset.tolist(), config.Period.tolist())
        return [
            np.linspace(offset * period, offset * period + (length - 1) * period, length)
            for length, offset, period in zip(*columns, strict=True)
        ]

    def __call__(self, event: Event) -> list[NDArray[Any]] | None:
        """Return the samples of each channel; see `raw`."""
        return self.waveform(event)
