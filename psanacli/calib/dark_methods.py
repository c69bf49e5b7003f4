"""The methods of dark processing: a robust one, and the two of the original."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from psanacli.calib import _dark
from psanacli.calib.dark import (
    VALUE_BITS,
    Dark,
    DarkOptions,
    DarkSums,
    Frames,
    Gate,
    Gates,
    Limits,
    Rules,
    StatusBit,
    panels_of,
    stacked,
)
from psanacli.errors import DataError

LEAST_EVENTS = 3
"""Without so many there is no spread."""
_MOST = 0xFFFF
_MAD, _QUARTILES = 1.4826, 1.349
"""A normal distribution has an rms of so many median absolute deviations, and quartiles so many rms apart."""
_LEAST_SPREAD = 0.5
"""ADU: values are whole numbers, so the quartiles of a quiet pixel may coincide."""
_CHANCE = 1e-3

Shape = tuple[int, ...]


class Method(ABC):
    """How gates come from a sample, and results from sums.

    Parameters
    ----------
    options : DarkOptions
    bits : int
        The bits of a raw value that are its value.
    gain : (int, int)
        Bits of a raw value that tell its gain range, and what they have to be.
    """

    name: str
    sample_size: int

    def __init__(self, options: DarkOptions, bits: int = VALUE_BITS, gain: tuple[int, int] = (0, 0)) -> None:
        self.options = options
        self.values = options.values or (1, 16000 if bits == VALUE_BITS else _MOST - 1)
        low, high = self.values
        limits = min(max(math.ceil(low), 0), _MOST), min(max(math.floor(high), 0), _MOST)
        self.rules = Rules(bits, *gain, self.leave_out, limits)

    leave_out = False
    """Whether values of another gain range are left out."""
    at_once = True
    """Whether the whole sample has to be in memory; else it is taken block by block."""

    @property
    def wanted(self) -> int:
        """Number of events of the sample."""
        return self.options.sample or self.sample_size

    def sample(self, events: int) -> NDArray[np.int64]:
        """Return which of so many events make the gates, ascending."""
        return np.arange(min(events, self.wanted))

    @abstractmethod
    def gates(self, blocks: Iterable[Frames], shape: Shape) -> Gates:
        """Return the gates from the sample.

        Parameters
        ----------
        blocks : iterable of ndarray
            uint16, shape (n, pixels).
        shape : tuple of int
            Of an image.
        """

    @abstractmethod
    def finish(self, sums: DarkSums, gates: Gates, shape: Shape) -> Dark:
        """Return what the sums tell.

        Raises
        ------
        DataError
            There are too few events.
        """

    def of(self, frames: NDArray[np.integer]) -> Dark:
        """Return what a stack of frames tells, shape (n, ...): all at once, for few of them."""
        shape = frames.shape[1:]
        flat = np.ascontiguousarray(frames).reshape(len(frames), -1).astype(np.uint16, copy=False)
        self.fail_if_few(len(flat))
        gates = self.gates([flat[self.sample(len(flat))]], shape)
        sums = DarkSums(gates, self.rules)
        sums.add(flat)
        return self.finish(sums, gates, shape)

    @staticmethod
    def fail_if_few(events: int) -> None:
        """Raise the error of too few events."""
        if events < LEAST_EVENTS:
            have = "event has" if events == 1 else "events have"
            raise DataError(
                f"{events} {have} the detector: a dark run needs at least {LEAST_EVENTS}",
                "a pedestal known to a tenth of the rms takes 100 events",
            )

    def _ranks(self, sample: Frames, ranks: list[int]) -> NDArray[np.uint16]:
        """Return values of each pixel by their rank, shape (ranks, pixels)."""
        out = np.empty((len(ranks), sample.shape[1]), np.uint16)
        _dark.ranks(sample, self.rules.bits, np.array(ranks, np.int64), out)
        return out


class Robust(Method):
    """Gates around the median of each pixel, the truncated moments put right; limits from medians.

    *Gates.*  Up to 64 events, spread over the run, give each pixel its median and its quartiles.  The distance of the
    quartiles divided by 1.349 is the rms of a normal distribution, and up to a quarter of bad values on either side
    hardly move it (Huber and Ronchetti, *Robust Statistics*: quantiles as estimates of scale).  The gate reaches six of
    that to both sides; it is nowhere narrower than usual in the panel, as quartiles of few events scatter.

    *Moments.*  Mean and unbiased variance of all values inside of the gate, of all events.  What a gate cuts off makes
    the rms smaller: both are put right with the moments of the truncated normal distribution (Johnson, Kotz and
    Balakrishnan, *Continuous Univariate Distributions*, volume 1, chapter 13).

    *Limits.*  For each panel the median of the pedestals and of the rms, and six times their spread to both sides; the
    spread is 1.4826 times the median absolute deviation, so bad pixels do not move it.  That of pedestals counts as the
    median rms at least.  The rms of few events scatters widely, and not symmetrically: its limits are at least those
    of the chi-square distribution at six sigmas (in the approximation of Wilson and Hilferty, 1931).

    Values of another gain range are left out, and counted.
    """

    name = "robust"
    sample_size = 64
    leave_out = True

    def sample(self, events: int) -> NDArray[np.int64]:
        """Return which events make the gates: spread over all of them, so that a drift is inside."""
        count = min(events, self.wanted)
        return np.arange(count) * events // count

    def gates(self, blocks: Iterable[Frames], shape: Shape) -> Gates:
        """Return gates around the medians."""
        sample = stacked(blocks)
        count = len(sample)
        places = [(count - 1) * quantile for quantile in (0.25, 0.5, 0.75)]
        ranks = sorted({rank for place in places for rank in (math.floor(place), math.ceil(place))})
        sorted_values = self._ranks(sample, ranks)
        low, middle, high = (_between(sorted_values, ranks, place) for place in places)
        spread = np.maximum((high - low) / np.float32(_QUARTILES), np.float32(_LEAST_SPREAD))
        for panel in panels_of(spread.reshape(shape)):  # views
            np.maximum(panel, np.median(panel), out=panel)
        spread *= np.float32(self.options.gate_sigmas)
        least, largest = np.floor(middle - spread), np.ceil(middle + spread)
        return Gates(_as_gate(least), _as_gate(largest), count)

    def finish(self, sums: DarkSums, gates: Gates, shape: Shape) -> Dark:
        """Return pedestals and rms, and what is bad by the limits of each panel."""
        self.fail_if_few(sums.events)
        values = np.uint32(sums.events) - sums.wrong
        mean, rms = _dark.moments(sums.count, values, sums.sum, sums.squares, gates.low, gates.high)
        most = max(1, math.floor(self.options.share * sums.events))
        outside = values - sums.count
        status = StatusBit.TOO_LARGE * (sums.above > most) + StatusBit.TOO_SMALL * (sums.below > most)
        status += StatusBit.GAIN_RANGE * (sums.wrong > 0) + StatusBit.UNSTABLE * (outside > most)
        status = status.astype(np.uint16).reshape(shape)
        mean, rms = mean.reshape(shape), rms.reshape(shape)
        limits, lenient = [], 0
        known = panels_of((sums.count > 1).reshape(shape))
        for values, spreads, flags, some in zip(panels_of(mean), panels_of(rms), panels_of(status), known, strict=True):
            found, quiet = self._limits(values[some], spreads[some], sums.events, values.size)
            limits.append(found)
            lenient += not quiet
            _flag(flags, values, spreads, found)
        notes = []
        if lenient:
            notes.append(
                f"{sums.events} events are too few to tell dead pixels by their rms: it was no reason to call one bad"
            )
        return _dark_of(sums, mean, rms, status, shape, limits, notes)

    def _limits(
        self, values: NDArray[np.float64], spreads: NDArray[np.float64], events: int, pixels: int
    ) -> tuple[Limits, bool]:
        """Return the limits of a panel, and whether a small rms tells anything."""
        options = self.options
        if not values.size:
            return Limits(self.values, options.rms), True
        centre, typical = float(np.median(values)), float(np.median(spreads))
        width = max(_MAD * float(np.median(np.abs(values - centre))), typical)
        pedestal = _inside(centre, width, width, options.value_sigmas, self.values)
        width = _MAD * float(np.median(np.abs(spreads - typical)))
        down = [typical - typical * _chi_square(-sigmas, events - 1) for sigmas in options.rms_sigmas]
        up = [typical * _chi_square(sigmas, events - 1) - typical for sigmas in options.rms_sigmas]
        below, above = options.rms_sigmas
        rms = _inside(
            typical,
            max(width, down[0] / below if below > 0 else 0),
            max(width, up[1] / above if above > 0 else 0),
            options.rms_sigmas,
            options.rms,
        )
        # Two values of a quiet pixel may be equal by chance: so often, for whole numbers.
        equal = min(1.0, 1 / (2 * math.sqrt(math.pi) * typical)) if typical > 0 else 0.0
        quiet = equal ** (events - 1) * pixels < _CHANCE
        return Limits(pedestal, rms if quiet else (-math.inf, rms[1])), quiet


class Psana(Method):
    """The generic algorithm of the original (`det_ndarr_raw_proc`; facts: section 5.5), its oddities included.

    The first 50 events give each pixel a gate from the 5th to the 95th percentile, ends included, inside of the limits
    of values.  Mean and rms of what is in the gate are not put right, so the rms of normally distributed noise comes
    out as 0.79 of what it is.  Limits are mean and standard deviation of all pixels of the detector, bad ones
    included.  All values are taken modulo 2^14.  Where `options.sample` asks for more events than there are, the
    missing ones count as zeros, as in the original; where it is None they do not.  The number of events is one too
    small where it is compared with.
    """

    name = "psana"
    sample_size = 50

    def __init__(self, options: DarkOptions, bits: int = VALUE_BITS, gain: tuple[int, int] = (0, 0)) -> None:
        super().__init__(options, VALUE_BITS, gain)

    def gates(self, blocks: Iterable[Frames], shape: Shape) -> Gates:
        """Return gates between two quantiles of the sample."""
        sample = stacked(blocks)
        last = len(sample) - 1
        below, above = self.options.quantiles
        ranks = [math.floor(below * last), math.ceil(above * last)]
        values = self._ranks(sample, ranks).astype(np.float64)
        lowest, highest = self.values
        low = np.trunc(np.maximum(values[0], lowest))
        high = np.trunc(np.minimum(values[1], highest))
        high += high <= low
        high, low = np.minimum(high, highest), np.maximum(low, lowest)
        return Gates(_as_gate(np.ceil(low)), _as_gate(np.floor(high)), len(sample))

    def finish(self, sums: DarkSums, gates: Gates, shape: Shape) -> Dark:
        """Return what the original would."""
        events = sums.events
        self.fail_if_few(events)
        notes = []
        missing = max(self.wanted - events, 0)
        if missing and self.options.sample:
            sums.add(np.zeros((missing, len(gates.low)), np.uint16))
            notes.append(
                f"{events} events are fewer than the {self.wanted} of the first stage: the missing {missing} count as "
                "zeros, as in psana-1"
            )
        elif missing:
            notes.append(
                f"{events} events are fewer than the {self.wanted} of the first stage: psana-1 would count the missing "
                f"ones as zeros, which may call every pixel bad (--sample {self.wanted} does so)"
            )
        mean, rms = _plain_moments(sums)
        most = int(self.options.share * (events - 1))
        status = StatusBit.TOO_LARGE * (sums.above > most) + StatusBit.TOO_SMALL * (sums.below > most)
        status += StatusBit.GAIN_RANGE * (sums.wrong > 0)
        status = status.astype(np.uint16).reshape(shape)
        mean, rms = mean.reshape(shape), rms.reshape(shape)
        limits = []
        for values, spreads, flags in self._parts(mean, rms, status):
            found = self._limits(values, spreads)
            limits.append(found)
            _flag(flags, values, spreads, found)
        sums.events = events
        return _dark_of(sums, mean, rms, status, shape, limits, notes)

    def _parts(self, *arrays: NDArray[np.generic]) -> Iterable[tuple[NDArray[np.generic], ...]]:
        """Give the parts of the detector that have limits of their own."""
        yield arrays

    def _limits(self, values: NDArray[np.generic], spreads: NDArray[np.generic]) -> Limits:
        options = self.options
        width = float(values.std())
        pedestal = _inside(float(values.mean()), width, width, options.value_sigmas, self.values)
        width = float(spreads.std())
        return Limits(pedestal, _inside(float(spreads.mean()), width, width, options.rms_sigmas, options.rms))


class PsanaEpix10ka(Psana):
    """The algorithm of the original for ePix10ka (`epix10ka_pedestals_calibration`; facts: section 5.5).

    The first 500 events give mean and rms of each pixel.  The gate is six times the mean rms of its panel around the
    mean of the pixel, cut to whole numbers.  Limits are those of `Psana`, for each panel.
    """

    name = "psana"
    sample_size = 500
    at_once = False

    def gates(self, blocks: Iterable[Frames], shape: Shape) -> Gates:
        """Return gates around the means of the sample."""
        pixels = math.prod(shape)
        lowest, highest = self.rules.limits
        first = Gates(np.full(pixels, lowest, np.uint16), np.full(pixels, highest, np.uint16), 0)
        sums = DarkSums(first, self.rules)
        for block in blocks:
            sums.add(block)
        mean, rms = _plain_moments(sums)
        width = np.zeros(shape)
        for spreads, out in zip(panels_of(rms.reshape(shape)), panels_of(width), strict=True):
            good = spreads[(spreads > self.options.rms[0]) & (spreads < self.options.rms[1])]
            out[...] = self.options.gate_sigmas * (good.mean() if good.size else 0)
        low = np.maximum(mean - width.ravel(), self.values[0])
        high = np.minimum(mean + width.ravel(), self.values[1])
        return Gates(_as_gate(np.trunc(low)), _as_gate(np.trunc(high)), sums.events)

    def _parts(self, *arrays: NDArray[np.generic]) -> Iterable[tuple[NDArray[np.generic], ...]]:
        return zip(*map(panels_of, arrays), strict=True)


def _between(values: NDArray[np.uint16], ranks: list[int], place: float) -> NDArray[np.float32]:
    """Return the values at a place between two ranks."""
    low, high = (values[ranks.index(rank)].astype(np.float32) for rank in (math.floor(place), math.ceil(place)))
    found: NDArray[np.float32] = low + (high - low) * np.float32(place - math.floor(place))
    return found


def _as_gate(values: NDArray[np.floating]) -> Gate:
    gate: Gate = np.clip(values, 0, _MOST).astype(np.uint16)
    return gate


def _plain_moments(sums: DarkSums) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and rms of what is in the gates, 0 where nothing is."""
    count = np.maximum(sums.count, 1).astype(np.float64)
    mean = sums.sum / count
    return mean, np.sqrt(np.maximum(sums.squares / count - np.square(mean), 0))


def _inside(
    centre: float, below: float, above: float, sigmas: tuple[float, float], most: tuple[float, float]
) -> tuple[float, float]:
    """Return limits around a centre that are nowhere wider than `most`; no sigmas: `most`."""
    low = max(centre - sigmas[0] * below, most[0]) if sigmas[0] > 0 else most[0]
    return low, min(centre + sigmas[1] * above, most[1]) if sigmas[1] > 0 else most[1]


def _chi_square(sigmas: float, free: int) -> float:
    """Return how far from 1 the root of a chi-square variable over its degrees of freedom gets."""
    part = 2 / (9 * free)
    return float(max(0.0, 1 - part + sigmas * math.sqrt(part)) ** 1.5)


def _flag(
    flags: NDArray[np.generic], values: NDArray[np.generic], spreads: NDArray[np.generic], limits: Limits
) -> None:
    """Set the bits of what is outside of the limits."""
    for array, (low, high), too_low, too_high in (
        (spreads, limits.rms, StatusBit.RMS_LOW, StatusBit.RMS_HIGH),
        (values, limits.pedestal, StatusBit.PEDESTAL_LOW, StatusBit.PEDESTAL_HIGH),
    ):
        flags |= np.uint16(too_high) * (array > high) | np.uint16(too_low) * (array < low)  # type: ignore[operator,misc]


def _dark_of(
    sums: DarkSums,
    mean: NDArray[np.float64],
    rms: NDArray[np.float64],
    status: NDArray[np.uint16],
    shape: Shape,
    limits: list[Limits],
    notes: list[str],
) -> Dark:
    least, largest = sums.least.reshape(shape), sums.largest.reshape(shape)
    averaged = sums.count.reshape(shape)
    return Dark(mean, rms, status, least, largest, averaged, sums.events, tuple(limits), tuple(notes))
