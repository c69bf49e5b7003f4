"""Detectors of time: event codes of the EVR, results of the time tool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from psanacli.detector.records import RecordDetector
from psanacli.detector.variables import EpicsDetector
from psanacli.run import Detector, Event

if TYPE_CHECKING:
    from psanacli.run import Run


class Evr(RecordDetector):
    """An event receiver: which event codes the timing system sent.

    `Event.codes` has the codes of all receivers of a run together, and ``run.codes`` those of all events.
    """

    main = ("EvrData.Data",)

    def codes(self, event: Event, *, this_event: bool = True) -> tuple[int, ...] | None:
        """Return the event codes of this receiver, in the order in which they came; None when the event has none.

        Parameters
        ----------
        event : Event
            Which event.
        this_event : bool
            Only those with the fiducials of the event: a receiver also hands over codes of the time since the event
            before it.
        """
        record = self.get(event)
        if record is None:
            return None
        fiducials = int(event.row["fiducials"])
        return tuple(
            entry.eventCode for entry in record.fifoEvents if not this_event or entry.timestampHigh == fiducials
        )

    def __call__(self, event: Event) -> tuple[int, ...] | None:
        """Return the event codes; see `codes`."""
        return self.codes(event)


TIME_TOOL_VARIABLES = {
    "amplitude": "AMPL",
    "position_pixel": "FLTPOS",
    "position_time": "FLTPOS_PS",
    "position_fwhm": "FLTPOSFWHM",
    "nxt_amplitude": "AMPLNXT",
    "ref_amplitude": "REFAMPL",
}
"""Last part of the names of the EPICS variables of a time tool, by result: ``XPP:TIMETOOL:FLTPOS``."""


class TimeTool(RecordDetector):
    """A time tool, which measures when the laser came after the X-rays.

    Its results are objects of the event (``TimeTool.DataV1`` to ``V3``), EPICS variables named after ``base_name`` of
    its configuration, or both.
    """

    main = ("TimeTool.Data",)

    def fex(self, event: Event) -> dict[str, float] | None:
        """Return what it found in an event, None when there is nothing.

        Returns
        -------
        dict of str to float, or None
            ``amplitude``, ``position_pixel`` (pixels), ``position_time`` (ps, after the polynomial of its
            configuration), ``position_fwhm`` (pixels), ``nxt_amplitude`` (the second highest) and ``ref_amplitude``
            (of the reference at that place).  From the object of the event, else from EPICS variables as they were
            then (`by_epics`).
        """
        record = self.get(event) if self.types else None
        if record is not None:
            return {name: getattr(record, name) for name in TIME_TOOL_VARIABLES}
        return self.by_epics(event)

    def by_epics(self, event: Event) -> dict[str, float] | None:
        """Return its results as EPICS variables had them at an event, as far as there are such; None without any."""
        self._index(event)
        base = self.base_name(event)
        return _results(self._run, base, event) if base else None

    def base_name(self, event: Event | None = None) -> str:
        """Return what the names of its EPICS variables begin with; empty when it has no configuration."""
        config = self.config(event, "TimeTool.Config")
        return "" if config is None else str(config.base_name)

    def __call__(self, event: Event) -> dict[str, Any] | None:
        """Return what it found; see `fex`."""
        return self.fex(event)


class EpicsTimeTool(Detector):
    """A time tool whose results are EPICS variables, by what their names begin with: ``XPP:TIMETOOL``."""

    def __init__(self, run: Run, name: str) -> None:
        self._run = run
        self._readers = []
        self.name = name
        self.alias = ""
        self.types = ()

    def fex(self, event: Event) -> dict[str, float] | None:
        """Return its results as they were at an event, as far as there are such, with the names of `TimeTool.fex`."""
        self._index(event)
        return _results(self._run, self.name, event)

    def get(self, event: Event) -> Any:
        """Return its results; see `fex`."""
        return self.fex(event)

    def __call__(self, event: Event) -> dict[str, float] | None:
        """Return its results; see `fex`."""
        return self.fex(event)

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which events come after its first value, shape (events,)."""
        return self._run.detector(f"{self.name}:{TIME_TOOL_VARIABLES['position_pixel']}").present

    def __repr__(self) -> str:
        return f"<EpicsTimeTool {self.name}>"


def _results(run: Run, base: str, event: Event) -> dict[str, float] | None:
    """Return what the variables of a time tool were at an event; None without any."""
    found: dict[str, float] = {}
    for name, last in TIME_TOOL_VARIABLES.items():
        variable = f"{base}:{last}"
        value = EpicsDetector(run, run.epics[variable])(event) if variable in run.epics else None
        if value is not None:
            found[name] = value
    return found or None
