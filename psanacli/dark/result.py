"""What dark runs gave: results by gain mode, and the arrays of constants that are made of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.calib import DARK_BITS, Dark, kind_of
from psanacli.dark.further import NOMINAL_GAINS, PIXEL_GAIN, common_mode_of_dark, further_types, nominal_gains
from psanacli.dark.modes import EPIX10KA_MODES, GainMode, names_of_ranges
from psanacli.dark.plan import DarkPlan

Array = NDArray[Any]

_DECIMALS = 3
_FL, _AHL_L, _AML_L = 2, 5, 6
_MANY_BAD = 0.1
_FEW = 20


@dataclass(frozen=True, eq=False)
class ModeResult:
    """The result of one gain mode.

    Attributes
    ----------
    mode : GainMode
    dark : Dark
    sample : int
        Events that made the gates.
    broken : int
        Events whose images could not be read.
    """

    mode: GainMode
    dark: Dark
    sample: int
    broken: int

    def asdict(self) -> dict[str, Any]:
        """Return what is told of it."""
        dark = self.dark
        good = (dark.status == 0) & read_out(dark)
        return {
            "index": self.mode.index,
            "name": self.mode.name,
            "events": dark.events,
            "unreadable": self.broken,
            "sample": self.sample,
            "pixels": int(dark.status.size),
            "bad": dark.bad,
            "status": [
                {"bit": int(bit), "name": bit.name, "pixels": count, "meaning": DARK_BITS[bit]}
                for bit, count in dark.counts().items()
            ],
            "pedestals": _statistics(dark.pedestals[good]),
            "rms": _statistics(dark.rms[good]),
            "limits": [{"pedestals": _finite(limits.pedestal), "rms": _finite(limits.rms)} for limits in dark.limits],
            "notes": list(dark.notes),
        }


@dataclass(frozen=True, eq=False)
class DarkResult:
    """What came of a plan.

    Attributes
    ----------
    plan : DarkPlan
    modes : tuple of ModeResult
    seconds : float
    derived : dict of int to ndarray
        Pedestals of gain ranges that were not measured, but derived.
    gains : dict of (int, int) to ndarray
        ADU per keV of an ePix10ka by gain range and panel, where charge injection tells them; else they are nominal.
    notes : tuple of str
        About these.
    """

    plan: DarkPlan
    modes: tuple[ModeResult, ...]
    seconds: float
    derived: dict[int, Array] = field(default_factory=dict)
    gains: dict[tuple[int, int], Array] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def bad(self) -> int:
        """Number of bad pixels in all modes."""
        return sum(each.dark.bad for each in self.modes)

    @property
    def broken(self) -> int:
        """Number of events whose images could not be read."""
        return sum(each.broken for each in self.modes)

    @cached_property
    def constants(self) -> dict[str, Array]:
        """Arrays by type of constants, in the shape of the raw image; with gain ranges first where there are some.

        Pedestals and rms are rounded to 0.001 ADU.  Ranges that were not measured have pedestals 0 and rms 1, as the
        original takes them; those of ePix10ka after switching (AHL-L, AML-L) have the pedestals of the fixed low gain
        range, which is the same amplifier, with the method ``robust``, and 0 with the method ``psana``; unless they are
        `derived` from charge injection.
        """
        ranges = len(names_of_ranges(self.plan.source))
        made: dict[str, Array] = {}
        for name, dtype, default in _TYPES:
            values = {each.mode.index: _of(each.dark, name) for each in self.modes}
            if not ranges:
                made[name] = np.ascontiguousarray(values[0], dtype)
                continue
            array = np.full((ranges, *self.plan.shape), default, dtype)
            for index, value in values.items():
                array[index] = value
            if name == "pedestals" and ranges > len(EPIX10KA_MODES) and self.plan.method == "robust" and _FL in values:
                array[_AHL_L] = array[_AML_L] = array[_FL]
            if name == "pedestals":
                for index, value in self.derived.items():
                    array[index] = np.round(value, _DECIMALS)
            made[name] = array
        if ranges:
            made["pixel_mask"] = np.bitwise_and.reduce(made["pixel_mask"], axis=0)
        return {**made, **self._further()}

    def _further(self) -> dict[str, Array]:
        """Return what belongs to the dark run beside the dark itself."""
        found: dict[str, Array] = {}
        for name in further_types(self.plan.source):
            if name == PIXEL_GAIN:
                found[name] = nominal_gains(self.plan.shape)
                for (index, panel), gain in self.gains.items():
                    found[name][index, panel] = gain
            else:
                (each,) = self.modes
                common_mode = common_mode_of_dark(each.dark.rms, (each.dark.status == 0) & read_out(each.dark))
                found.update({} if common_mode is None else {name: common_mode})
        return found

    def file_array(self, name: str) -> Array:
        """Return constants in the shape of a file of the store."""
        array = self.constants[name]
        return np.moveaxis(array, 0, -1) if kind_of(self.plan.source).interleaved and array.ndim > 1 else array

    def _told_of_further(self) -> dict[str, Any]:
        """Return what is told of gains and common mode; nothing for detectors without."""
        names = names_of_ranges(self.plan.source)
        told: dict[str, Any] = {}
        for name in further_types(self.plan.source):
            if name == PIXEL_GAIN:
                told["gains"] = [
                    {
                        "name": names[index],
                        "nominal": value,
                        "measured": [p for r, p in self.gains if r == index],
                    }
                    for index, value in enumerate(NOMINAL_GAINS)
                ]
            else:
                told[name] = self.constants[name].tolist() if name in self.constants else None
        return told

    def objections(self) -> list[str]:
        """Return why these constants should not be deployed without a look at them."""
        found = []
        for each in self.modes:
            which = f" in {each.mode.name}" if each.mode.name else ""
            share = each.dark.bad / each.dark.status.size
            if share > _MANY_BAD:
                found.append(f"{100 * share:.0f} % of the pixels are bad{which}")
            if each.dark.events < _FEW:
                found.append(f"there are only {each.dark.events} events{which}")
        return found

    def asdict(self) -> dict[str, Any]:
        """Return all that is told, as plain values."""
        return {
            **self.plan.asdict(),
            "modes": [each.asdict() for each in self.modes],
            "bad": self.bad,
            "unreadable": self.broken,
            "derived": [names_of_ranges(self.plan.source)[index] for index in self.derived],
            **self._told_of_further(),
            "seconds": self.seconds,
            "objections": self.objections(),
            "notes": [*self.plan.notes, *self.notes],
        }


_TYPES = (
    ("pedestals", np.float32, 0),
    ("pixel_rms", np.float32, 1),
    ("pixel_status", np.uint16, 0),
    ("pixel_mask", np.uint8, 1),
    ("dark_max", np.uint16, 16383),
    ("dark_min", np.uint16, 0),
)


def _of(dark: Dark, name: str) -> Array:
    match name:
        case "pedestals":
            return np.round(dark.pedestals, _DECIMALS)
        case "pixel_rms":
            return np.round(dark.rms, _DECIMALS)
        case "pixel_status":
            return dark.status
        case "pixel_mask":
            return dark.mask
        case "dark_max":
            return dark.largest
        case _:
            return dark.least


def without_panels(dark: Dark, absent: NDArray[np.bool_]) -> Dark:
    """Return a result in which panels that are not read out are neither good nor bad: all zeros."""
    arrays = {name: getattr(dark, name).copy() for name in ("pedestals", "rms", "status", "least", "largest")}
    for array in arrays.values():
        array[absent] = 0
    return replace(dark, **arrays)


def read_out(dark: Dark) -> NDArray[np.bool_]:
    """Return which pixels are of panels that are read out (see `without_panels`), in the shape of the constants."""
    return np.broadcast_to(dark.largest.any(axis=(-2, -1), keepdims=True), dark.largest.shape)


def _statistics(values: NDArray[np.float64]) -> dict[str, float] | None:
    if not values.size:
        return None
    low, middle, high = np.percentile(values, (5, 50, 95))
    return {
        "min": float(values.min()),
        "p05": float(low),
        "median": float(middle),
        "p95": float(high),
        "max": float(values.max()),
    }


def _finite(limits: tuple[float, float]) -> list[float | None]:
    return [value if np.isfinite(value) else None for value in limits]
