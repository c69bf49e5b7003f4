"""What all common mode algorithms are."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from psanacli.calib._correct import Steps
from psanacli.calib.common_mode.regions import Pass, compiled
from psanacli.errors import UsageError

COMMON_MODES: dict[str, type[CommonMode]] = {}
"""The algorithms by their word; each enters itself."""


@dataclass(frozen=True)
class CommonMode(ABC):
    """One algorithm with its parameters; `passes` says what it does to a detector."""

    word: ClassVar[str]
    number: ClassVar[int]
    detectors: ClassVar[tuple[str, ...]] = ()
    """Detectors it is for; empty: all."""

    def __init_subclass__(cls) -> None:
        COMMON_MODES[cls.word] = cls

    @abstractmethod
    def passes(self, detector: str, shape: tuple[int, ...]) -> Iterator[Pass]:
        """Yield what is done one after the other.

        Parameters
        ----------
        detector : str
            Kind of the detector: ``Cspad``.
        shape : tuple of int
            Of the image, panels first; of a Cspad2x2 as it is stored: (185, 388, 2).
        """

    @classmethod
    def is_for(cls, detector: str) -> bool:
        """Return whether a kind of detector can be corrected like that."""
        return not cls.detectors or detector in cls.detectors

    def steps(self, detector: str, shape: tuple[int, ...]) -> Steps | None:
        """Return it compiled for images of one shape; None when there is nothing to do.

        Raises
        ------
        UsageError
            It is not for such a detector.
        """
        if not self.is_for(detector):
            known = ", ".join(word for word, kind in COMMON_MODES.items() if kind.is_for(detector))
            meant = ", ".join(self.detectors)
            raise UsageError(
                f"common mode {self.word} is not for {detector or 'this detector'}, but for {meant}",
                f"for it there are: {known}",
            )
        return compiled(self.passes(detector, shape), math.prod(shape))

    def __str__(self) -> str:
        words = [f"{field.name}={_spelled(getattr(self, field.name))}" for field in fields(self)]
        return f"{self.word}:{','.join(words)}" if words else self.word


def _spelled(value: Any) -> str:
    return ("no", "yes")[value] if isinstance(value, bool) else f"{value:g}" if value is not None else "none"


@dataclass(frozen=True)
class Off(CommonMode):
    """No correction."""

    word: ClassVar[str] = "none"
    number: ClassVar[int] = 0

    def passes(self, detector: str, shape: tuple[int, ...]) -> Iterator[Pass]:
        """Yield nothing."""
        return iter(())
