"""What is no source of its own: EPICS variables, and the values of a scan."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from psanacli.detector.records import newest_config, newest_first
from psanacli.run import CONTROL_DATA, CONTROL_NAMES, Detector, Event, Key, Value, Variable
from psanacli.xtc import Record

if TYPE_CHECKING:
    from psanacli.run import Run


_READ_AT_ONCE = 1 << 24
"""Bytes of the records of a variable up to which all its values are read with the first."""


class EpicsDetector(Detector):
    """An EPICS variable by its name or alias.

    Attributes
    ----------
    name, alias : str
        The alias is empty when there is none.
    variable : Variable
        Its whole history: ``.values``, ``.times``.

    Examples
    --------
    >>> run.detector("XPP:GON:MMS:03.RBV")(event)                       # doctest: +SKIP
    """

    def __init__(self, run: Run, variable: Variable) -> None:
        self._run = run
        self._readers = []
        self.variable = variable
        self.name = variable.name
        self.alias = variable.alias
        self.types = ()

    def at(self, event: Event | None = None) -> Value | None:
        """Return value, time and alarm that were in force at an event (default: at the end of the run)."""
        if event is not None:
            self._index(event)
        if self._small:
            _ = self.variable.values  # all at once: the next event asks again
        return self.variable.at(event)

    @cached_property
    def _small(self) -> bool:
        return self.variable.nbytes <= _READ_AT_ONCE

    def __call__(self, event: Event | None = None) -> Any:
        """Return the value that was in force at an event (default: at the end of the run).

        Returns
        -------
        int, float, str, ndarray, or None
            An array when the variable has several elements; None when it has none, or had no value yet.
        """
        found = self.at(event)
        if found is None or (isinstance(found.value, np.ndarray) and not found.value.size):
            return None
        return found.value

    def get(self, event: Event | None = None) -> Any:
        """Return the value that was in force at an event; see `__call__`."""
        return self(event)

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which events come after its first value, shape (events,)."""
        first = self.variable.group[0] if len(self.variable) else np.iinfo(np.int64).max
        return np.asarray(self._run.events.table["group"] >= first)

    @property
    def units(self) -> str:
        """The unit, empty when there is none."""
        return self.variable.units

    def __repr__(self) -> str:
        return repr(self.variable).replace("<Variable", "<EpicsDetector", 1)


class ControlData(Detector):
    """What the data acquisition scanned: the values that were set for each step."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._readers = []
        self.name, self.alias = CONTROL_NAMES
        self.types = ()

    def get(self, event: Event | None = None) -> Record | None:
        """Return the object of the step of an event (default: of the first step), None when there is none.

        Of several versions it is the newest: ``.pvControls``, ``.pvMonitors``, ``.duration``, ...
        """
        if event is not None:
            self._index(event)
        return newest_config(self._run, self._keys, event)

    @cached_property
    def _keys(self) -> list[Key]:
        histories = self._run.config.timeline.histories.values()
        return newest_first(h.key for h in histories if h.key.xtc_type.name.startswith(CONTROL_DATA))

    def values(self, event: Event) -> dict[str, float]:
        """Return the values of the scan at an event by name; an element of an array is called ``NAME[2]``."""
        self._index(event)
        return event.step.values

    def labels(self, event: Event) -> dict[str, str]:
        """Return the texts of the scan at an event by name."""
        self._index(event)
        return event.step.labels

    def __call__(self, event: Event | None = None) -> Record | None:
        """Return the object of the step; see `get`."""
        return self.get(event)

    def __repr__(self) -> str:
        names = ", ".join(self._run.steps[0].values) if len(self._run.steps) else ""
        return f"<ControlData: {len(self._run.steps)} steps{', ' if names else ''}{names}>"
