"""Intensity and position monitors, diodes, encoders, time-to-digital converters, spectrometers."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.detector.records import RecordDetector
from psanacli.run import Event
from psanacli.xtc import Record

Floats = NDArray[np.float64]


class Ipimb(RecordDetector):
    """An intensity and position monitor (IPIMB), of the DAQ or of the beam line.

    `get` and calling it give the processed values (``Lusi.IpmFexV1``); ``get(event, "Ipimb.Data")`` the measured ones.
    """

    main = ("Lusi.IpmFex",)

    def sum(self, event: Event) -> float | None:
        """Return the sum of its channels, None when the event has none."""
        record = self._fex(event)
        return None if record is None else record.sum

    def xpos(self, event: Event) -> float | None:
        """Return the horizontal position of the beam, None when the event has none."""
        record = self._fex(event)
        return None if record is None else record.xpos

    def ypos(self, event: Event) -> float | None:
        """Return the vertical position of the beam, None when the event has none."""
        record = self._fex(event)
        return None if record is None else record.ypos

    def channel(self, event: Event) -> NDArray[np.float32] | None:
        """Return the values of its four diodes, base line subtracted and scaled: float32, shape (4,)."""
        record = self._fex(event)
        return None if record is None else record.channel

    def volts(self, event: Event) -> NDArray[np.float32] | None:
        """Return what the four channels measured, in volts: float32, shape (4,).

        ``counts x 3.3 / 65535`` of ``Ipimb.DataV1``, ``counts x 5 / 65535`` of ``Ipimb.DataV2``.
        """
        record = self._typed(event, "Ipimb.Data")
        if record is None:
            return None
        return np.array([getattr(record, f"channel{number}Volts") for number in range(4)], np.float32)

    def diode(self, event: Event) -> float | None:
        """Return the value of a lone diode (``Lusi.DiodeFexV1``), None when the event has none."""
        record = self._typed(event, "Lusi.DiodeFex")
        return None if record is None else record.value

    def _fex(self, event: Event) -> Record | None:
        return self._typed(event, "Lusi.IpmFex")


class UsdUsb(RecordDetector):
    """A USDUSB encoder box: four inputs."""

    main = ("UsdUsb.Data", "UsdUsb.FexData")

    def encoders(self, event: Event) -> Floats | None:
        """Return the positions of its four encoders, float64, shape (4,); None when the event has none.

        ``(count + offset) x scale``, in the unit that ``scale`` of its configuration makes: as the DAQ calculated it
        (``UsdUsb.FexDataV1``), else calculated here; counts where no scale is known.
        """
        record = self._typed(event, "UsdUsb.FexData")
        if record is not None:
            values: Floats = record.encoder_values
            return values
        counts = self.counts(event)
        config = None if counts is None else self.config(event, "UsdUsb.FexConfig")
        if counts is None or config is None:
            return None if counts is None else counts.astype(np.float64)
        return np.asarray((counts.astype(np.float64) + config.offset) * config.scale)

    def counts(self, event: Event) -> NDArray[np.int32] | None:
        """Return the counts of its four encoders, int32, shape (4,): 24 bits with sign."""
        record = self._typed(event, "UsdUsb.Data")
        return None if record is None else record.encoder_count

    def descriptions(self, event: Event | None = None) -> list[str] | None:
        """Return the names of its four inputs at an event (default: at the first), None when it has none."""
        config = self.config(event, "UsdUsb.FexConfig")
        return None if config is None else [str(name) for name in config.name]

    def __call__(self, event: Event) -> Floats | None:
        """Return the positions; see `encoders`."""
        return self.encoders(event)


class Encoder(RecordDetector):
    """An encoder: one input (``Encoder.DataV1``) or three (``Encoder.DataV2``)."""

    main = ("Encoder.Data",)

    def counts(self, event: Event) -> NDArray[np.int32] | None:
        """Return the counts of its inputs, int32, shape (1,) or (3,): 24 bits with sign."""
        record = self.get(event)
        return None if record is None else np.atleast_1d(np.asarray(record.values_of("value"), np.int32))

    def encoders(self, event: Event) -> Floats | None:
        """Return its counts as float64; nothing tells how far a count is."""
        counts = self.counts(event)
        return None if counts is None else counts.astype(np.float64)

    def __call__(self, event: Event) -> NDArray[np.int32] | None:
        """Return the counts; see `counts`."""
        return self.counts(event)


_TICK = 50e-12  # seconds
_TICKS = np.uint32(0xFFFFFFF)
_OVERFLOW = 8


class Tdc(RecordDetector):
    """An Acqiris time-to-digital converter: six channels."""

    main = ("Acqiris.TdcData",)

    def times(self, event: Event) -> list[Floats] | None:
        """Return the times of the hits of channels 1 to 6 in seconds: a list of six arrays of float64.

        A tick is 50 ps.  Hits that ran over are not among them, see `overflows`.  None when the event has none.
        """
        return self._hits(event, 0)

    def overflows(self, event: Event) -> list[Floats] | None:
        """Return the times of the hits that ran over, as `times`."""
        return self._hits(event, _OVERFLOW)

    def __call__(self, event: Event) -> list[Floats] | None:
        """Return the times of the hits; see `times`."""
        return self.times(event)

    def _hits(self, event: Event, flag: int) -> list[Floats] | None:
        record = self.get(event)
        if record is None:
            return None
        items = np.array([item.value for item in record.data], np.uint32)
        which = items >> np.uint32(28)
        return [(items[which == (channel | flag)] & _TICKS) * _TICK for channel in range(1, 7)]


class OceanOptics(RecordDetector):
    """An Ocean Optics spectrometer."""

    main = ("OceanOptics.Data",)

    def raw(self, event: Event) -> NDArray[np.uint16] | None:
        """Return the counts as they were stored, uint16, shape (pixels,); None when the event has none."""
        record = self.get(event)
        return None if record is None else record.data

    def intensity(self, event: Event) -> NDArray[Any] | None:
        """Return the spectrum, shape (pixels,); None when the event has none.

        Counts, divided by the polynomial of the counts with ``nonlinCorrect`` of the configuration (float64); counts
        alone (uint16) when all its coefficients are 0.  Of ``DataV1`` bit 13 is flipped first, as the format says.
        """
        record = self.get(event)
        if record is None:
            return None
        counts: NDArray[np.uint16] = record.data
        if record.xtc_type.version == 1:
            counts = counts ^ np.uint16(1 << 13)
        coefficients = record._config_.nonlinCorrect
        if not np.any(coefficients):
            return counts
        values = counts.astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(values / np.polynomial.polynomial.polyval(values, coefficients))

    def wavelength(self, event: Event | None = None) -> Floats | None:
        """Return the wavelengths of the pixels in nm, float64, shape (pixels,); None without configuration.

        ``w0 + w1 i + w2 i^2 + w3 i^3`` with ``waveLenCalib`` of the configuration in force at an event (default: the
        first), whether the event has a spectrum or not.
        """
        record = self.get(event) if event is not None else None
        config = self.config(event, "OceanOptics.Config") if record is None else record._config_
        pixels = self._pixels if record is None else len(record.data)
        if config is None:
            return None
        first, *others = config.waveLenCalib.tolist()
        pixel = np.arange(pixels, dtype=np.float64)
        found = np.full(pixels, first)
        for power, coefficient in enumerate(others, 1):
            found = found + coefficient * pixel**power
        return found

    @cached_property
    def _pixels(self) -> int:
        """How many pixels it has, by its first spectrum."""
        for reader in self._chosen(""):
            if len(reader):
                record = reader.get(int(reader.objects.event[0]))
                return 0 if record is None else len(record.data)
        return 0

    def __call__(self, event: Event) -> NDArray[Any] | None:
        """Return the spectrum; see `intensity`."""
        return self.intensity(event)
