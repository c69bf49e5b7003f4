"""Dark frames by the formula of the reference data (lcls1, `dark`), of any length; the truth is planted in them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

_STEP, _FIRST, _SECOND = (np.uint64(word) for word in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_HALF = np.uint64(0xFFFF)
_AT_ONCE = 1 << 14  # pixels, whose words stay in the cache
BAD_KINDS = ("hot", "dead", "noisy", "low")
DETECTORS = ("cspad2x2", "epix100a", "jungfrau", "epix10kaquad")


def mixed(x: Words) -> Words:
    """One step of splitmix64, in place where it can be."""
    with np.errstate(over="ignore"):
        z = x + _STEP
        z ^= z >> np.uint64(30)
        z *= _FIRST
        z ^= z >> np.uint64(27)
        z *= _SECOND
        z ^= z >> np.uint64(31)
        return z


@dataclass
class DarkStep:
    """One step of a dark run: what is planted, and the frames."""

    seed: int
    shape: tuple[int, ...]
    truth: dict[str, Any]

    def _words(self, key: int, event: int, pixels: Words) -> Words:
        word = np.array([self.seed], np.uint64)
        for part in (key, event):
            word = mixed(word) ^ np.uint64(part)
        return mixed(mixed(word) ^ pixels)

    @property
    def pedestals(self) -> NDArray[np.int64]:
        """The planted pedestals, flat."""
        words = self._words(10 * self.truth["step"] + 1, 0, np.arange(np.prod(self.shape), dtype=np.uint64))
        return (self.truth["base"] + words % np.uint64(self.truth["spread"])).astype(np.int64)

    def planted(self, kind: str) -> NDArray[np.int64]:
        """Numbers of the bad pixels of a kind."""
        return np.array(self.truth["planted"][kind], np.int64)

    def frames(self, count: int) -> NDArray[np.uint16]:
        """The first frames, shape (count, ...)."""
        base = self.pedestals
        base[self.planted("low")] //= 3
        width = np.full(base.size, 443 * self.truth["rms16"], np.int64)
        width[self.planted("noisy")] *= 12
        out = np.empty((count, base.size), np.uint16)
        for first in range(0, base.size, _AT_ONCE):
            some = slice(first, min(first + _AT_ONCE, base.size))
            pixels = np.arange(some.start, some.stop, dtype=np.uint64)
            for event in range(count):
                word = self._words(10 * self.truth["step"] + 2, event + 1, pixels)
                value = (word & _HALF).view(np.int64)
                for shift in (16, 32, 48):
                    value += (word >> np.uint64(shift) & _HALF).view(np.int64)
                value -= 131070
                value *= width[some]
                value += 1 << 27
                value >>= 28
                value += base[some]
                out[event, some] = np.clip(value, 0, 16383, out=value)
        out[:, self.planted("hot")] = 16383
        out[:, self.planted("dead")] = 0
        out |= np.uint16(self.truth["bits"])
        return out.reshape(count, *self.shape)


def dark_steps(shared: Path, detector: str) -> list[DarkStep]:
    """The steps of the dark run (Jungfrau: runs) of a detector."""
    truth = json.loads((shared / "lcls1" / "dark" / f"{detector}_truth.json").read_text())
    return [DarkStep(truth["seed"], tuple(truth["shape"]), step) for step in truth["steps"]]
