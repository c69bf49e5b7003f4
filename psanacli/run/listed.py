"""Directories that are listed again only when something in them may have changed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

FRESH = 2.0
"""Seconds for which a directory is listed at every look after it has changed: clocks of file systems are coarse."""
RELIST = 5.0
"""Seconds after which directories are listed anyway."""


@dataclass(frozen=True)
class Listed:
    """When directories were listed, and when each had changed then: new and renamed files change its time.

    Attributes
    ----------
    at : float
        When they were listed, on the clock of `time.monotonic`.
    changed : dict of Path to int
        Time of the last change in ns since 1970, -1 for what was not there.
    settled : bool
        Whether a change since then has another time.
    """

    at: float = 0.0
    changed: dict[Path, int] = field(default_factory=dict)
    settled: bool = False

    @classmethod
    def of(cls, directories: Iterable[Path], at: float) -> Listed:
        """Return the state of directories that were listed at a time, or later."""
        changed = {path: _changed(path) for path in directories}
        return cls(at, changed, time.time() - max(changed.values(), default=0) / 1e9 > FRESH)

    def may_differ(self) -> bool:
        """Whether they have to be listed again."""
        if not self.settled or time.monotonic() - self.at > RELIST:
            return True
        return any(_changed(path) != before for path, before in self.changed.items())


def _changed(path: Path) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return -1


__all__ = ["Listed"]
