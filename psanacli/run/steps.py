"""Steps (calib cycles) of a run: their events, and the values that the data acquisition set for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from psanacli.run.config import Config, Configuration
from psanacli.run.runtable import RunTable

if TYPE_CHECKING:
    from psanacli.run.events import Events

CONTROL_DATA = "ControlData.Config"
"""Beginning of the types that hold the values of a scan."""
CONTROL_NAMES = ("ControlData", "ScanData")
"""By what names the scan is looked up like a detector."""
_NO_ARRAY = 0xFFFFFFFF


class Step:
    """One step of a run.

    Attributes
    ----------
    number : int
        From 0.
    run_number : int
        Run number, as BeginRun has it.
    part : int
        Number of the BeginRun it belongs to; 0 in an ordinary run.
    """

    def __init__(self, number: int, table: RunTable, config: Config, events: Callable[[slice], Events]) -> None:
        row = table.steps[number]
        self.number = number
        self.run_number = int(row["run"]) or table.number
        self.part = int(row["part"])
        self.first, self.stop = int(row["first"]), int(row["stop"])
        self._group = int(row["group"])
        self._table = table
        self._config = config
        self._events = events

    @property
    def events(self) -> Events:
        """The events of the step."""
        return self._events(slice(self.first, self.stop))

    def __len__(self) -> int:
        return self.stop - self.first

    @property
    def group(self) -> int:
        """The group of its BeginCalibCycle; that of its first event, when there is none; -1 for neither."""
        if self._group < 0 and len(self):
            return int(self._table.events["group"][self.first])
        return self._group

    @property
    def config(self) -> Configuration:
        """The configuration in force when the step begins."""
        return self._config.at(self.group)

    @property
    def start(self) -> np.datetime64 | None:
        """Time of its BeginCalibCycle, else of its first event; None for neither."""
        if self.group < 0:
            return None
        head = self._table.datagrams[int(self._table.rows_of(self.group)[0])]
        return np.datetime64(int(head["seconds"]) * 1_000_000_000 + int(head["nanoseconds"]), "ns")

    @property
    def values(self) -> dict[str, float]:
        """Set values of the scan by name (``pvControls``); an element of an array is called ``NAME[2]``."""
        return {_name(item): item.value for item in self._items("pvControls")}

    @property
    def monitors(self) -> dict[str, tuple[float, float]]:
        """Limits within which variables had to be, by name (``pvMonitors``)."""
        return {_name(item): (item.loValue, item.hiValue) for item in self._items("pvMonitors")}

    @property
    def labels(self) -> dict[str, str]:
        """Texts by name (``pvLabels``)."""
        return {item.name: item.value for item in self._items("pvLabels")}

    def _items(self, name: str) -> list[Any]:
        controls = self.config.of(CONTROL_DATA)
        return [item for control in controls for item in (getattr(control, name) if name in dir(control) else ())]

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value:g}" for name, value in self.values.items())
        return f"<Step {self.number}: {len(self)} events{', ' if values else ''}{values}>"


def _name(item: Any) -> str:
    return item.name if item.index == _NO_ARRAY else f"{item.name}[{item.index}]"


class Steps(Sequence[Step]):
    """The steps of a run, in order."""

    def __init__(self, table: RunTable, config: Config, events: Callable[[slice], Events]) -> None:
        self._table = table
        self._config = config
        self._events = events

    def __len__(self) -> int:
        return len(self._table.steps)

    @overload
    def __getitem__(self, index: int) -> Step: ...
    @overload
    def __getitem__(self, index: slice) -> list[Step]: ...
    def __getitem__(self, index: int | slice) -> Step | list[Step]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"no step {index}; the run has {len(self)}")
        return Step(index % len(self), self._table, self._config, self._events)

    def __iter__(self) -> Iterator[Step]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        lines = [f"  {step!r}" for step in self[:20]]
        more = [f"  ... and {len(self) - 20} more"] if len(self) > 20 else []
        return "\n".join([f"<Steps: {len(self)}", *lines, *more]) + ">"
