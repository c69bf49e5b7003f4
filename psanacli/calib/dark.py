"""Dark events: what is made of them, and what it means.

The methods are in `dark_methods`; all of them go the same way.  A sample of the events gives each pixel its *gate*, a
range of values; one pass over all events sums what is inside, exactly and in whole numbers, so that neither order nor
division into parts can matter; and the sums give pedestals, rms, status.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.calib._dark import Sums
from psanacli.errors import UsageError

Frames = NDArray[np.uint16]
"""Raw values, shape (n, pixels)."""
Gate = NDArray[np.uint16]

VALUE_BITS = 0x3FFF
"""Of the raw values of detectors with 14 bits; the two above tell the gain range, or nothing."""


class StatusBit(enum.IntFlag):
    """Why a pixel is bad; the bits 1 to 64 are those of the original (PSCalib, Detector: dark processing)."""

    RMS_HIGH = 1
    RMS_LOW = 2
    TOO_LARGE = 4
    TOO_SMALL = 8
    PEDESTAL_HIGH = 16
    PEDESTAL_LOW = 32
    GAIN_RANGE = 64
    UNSTABLE = 128


MEANINGS = {
    StatusBit.RMS_HIGH: "rms above its limit",
    StatusBit.RMS_LOW: "rms below its limit",
    StatusBit.TOO_LARGE: "values too large in too many events",
    StatusBit.TOO_SMALL: "values too small in too many events",
    StatusBit.PEDESTAL_HIGH: "pedestal above its limit",
    StatusBit.PEDESTAL_LOW: "pedestal below its limit",
    StatusBit.GAIN_RANGE: "another gain range than that of the detector",
    StatusBit.UNSTABLE: "values far from its own in too many events",
}


@dataclass(frozen=True)
class DarkOptions:
    """How dark events are looked at; the defaults are those of the original (`det_ndarr_raw_proc`).

    Attributes
    ----------
    values : (float, float), optional
        Smallest and largest good raw value, ADU; default are 1 and 16000, or 65534 where all 16 bits are the value.
    rms : (float, float)
        Smallest and largest good rms, ADU.
    share : float
        A pixel may be outside of its limits in this share of the events.
    value_sigmas, rms_sigmas : (float, float)
        How far below and above the others a good pedestal and rms may be, in units of their spread; 0 or less leaves
        the absolute limits alone.
    sample : int, optional
        Number of events that make the gates; the method decides by default.
    quantiles : (float, float)
        Of the sample, between which the gate is: method ``psana`` only.
    gate_sigmas : float
        Half the width of a gate in units of the pixel's own spread: methods that have such a gate.
    """

    values: tuple[float, float] | None = None
    rms: tuple[float, float] = (0.001, 16000)
    share: float = 0.1
    value_sigmas: tuple[float, float] = (6, 6)
    rms_sigmas: tuple[float, float] = (6, 6)
    sample: int | None = None
    quantiles: tuple[float, float] = (0.05, 0.95)
    gate_sigmas: float = 6

    def __post_init__(self) -> None:
        for name in ("values", "rms", "quantiles"):
            limits = getattr(self, name)
            if limits is not None and not limits[0] < limits[1]:
                raise UsageError(f"limits of {name}: {limits[0]:g} is not below {limits[1]:g}")
        if not 0 <= self.quantiles[0] < self.quantiles[1] <= 1:
            raise UsageError("quantiles are between 0 and 1")
        if not 0 <= self.share <= 1:
            raise UsageError(f"a share of {self.share:g} is not between 0 and 1")
        if self.sample is not None and self.sample < 1:
            raise UsageError("the sample has at least one event")
        if not self.gate_sigmas > 0:
            raise UsageError("the width of the gates is more than 0")


@dataclass(frozen=True)
class Rules:
    """How a raw value is read.

    Attributes
    ----------
    bits : int
        Its bits that are the value.
    range_bits, gain_range : int
        Bits that tell the gain range, and what they have to be; 0: there are none.
    leave_out : bool
        Whether values of another range are left out.
    limits : (int, int)
        Values outside of them are counted.
    """

    bits: int = VALUE_BITS
    range_bits: int = 0
    gain_range: int = 0
    leave_out: bool = False
    limits: tuple[int, int] = (1, 16000)

    def words(self) -> tuple[int, int, int, bool, int, int]:
        """Return them as the native code takes them."""
        return self.bits, self.range_bits, self.gain_range, self.leave_out, *self.limits


@dataclass(frozen=True, eq=False)
class Gates:
    """The range of values of each pixel that are averaged, ends included; empty where `low` is above `high`.

    Attributes
    ----------
    low, high : ndarray of uint16, shape (pixels,)
    sample : int
        Number of events they were made of.
    """

    low: Gate
    high: Gate
    sample: int


class DarkSums:
    """What one worker or several have summed up.

    Parameters
    ----------
    gates : Gates
    rules : Rules

    Attributes
    ----------
    events : int
        Frames that were added.
    """

    def __init__(self, gates: Gates, rules: Rules) -> None:
        self._gates = gates
        self._rules = rules
        self._sums = Sums(len(gates.low))
        self.events = 0

    def add(self, frames: Frames) -> None:
        """Add frames, shape (n, pixels)."""
        self._sums.add(frames, self._gates.low, self._gates.high, self._rules.words())
        self.events += len(frames)

    @property
    def parts(self) -> tuple[int, dict[str, NDArray[np.unsignedinteger]]]:
        """All that was summed up, to be sent elsewhere for `merge`."""
        return self.events, self._sums.arrays()

    def merge(self, parts: tuple[int, dict[str, NDArray[np.unsignedinteger]]]) -> None:
        """Add what others have summed up behind the same gates."""
        events, arrays = parts
        self.events += events
        for name, own in self._sums.arrays().items():
            ways: dict[str, Any] = {"least": np.minimum, "largest": np.maximum}
            ways.get(name, np.add)(own, arrays[name], out=own)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sums, name)


@dataclass(frozen=True)
class Limits:
    """Between what the pedestals and the rms of the good pixels of a panel are, ADU.

    Attributes
    ----------
    pedestal, rms : (float, float)
    """

    pedestal: tuple[float, float]
    rms: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Dark:
    """What dark events tell of a detector in one gain range.

    Attributes
    ----------
    pedestals, rms : ndarray of float64, shape of the raw image
        ADU.
    status : ndarray of uint16
        `StatusBit`; 0 is good.
    least, largest : ndarray of uint16
        Smallest and largest value, inside of its gate or not.
    averaged : ndarray of uint32
        Number of values that the pedestal is the mean of.
    events : int
        Events that were looked at.
    limits : tuple of Limits
        For each panel, or one for all.
    notes : tuple of str
        What a user should know.
    """

    pedestals: NDArray[np.float64]
    rms: NDArray[np.float64]
    status: NDArray[np.uint16]
    least: NDArray[np.uint16]
    largest: NDArray[np.uint16]
    averaged: NDArray[np.uint32]
    events: int
    limits: tuple[Limits, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def mask(self) -> NDArray[np.uint8]:
        """1 for good pixels, else 0."""
        return np.asarray(self.status == 0, np.uint8)

    def counts(self) -> dict[StatusBit, int]:
        """Return how many pixels have each bit, of the bits that any has."""
        found = {bit: int(np.count_nonzero(self.status & bit)) for bit in StatusBit}
        return {bit: count for bit, count in found.items() if count}

    @property
    def bad(self) -> int:
        """Number of bad pixels."""
        return int(np.count_nonzero(self.status))


def panels_of(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array with one axis for its panels, of two dimensions each."""
    return array.reshape(-1, *array.shape[-2:]) if array.ndim > 2 else array[None]


def stacked(blocks: Iterable[Frames]) -> Frames:
    """Return all frames of some blocks as one."""
    found = list(blocks)
    return found[0] if len(found) == 1 else np.concatenate(found)
