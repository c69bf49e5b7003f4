"""Detectors of time: event codes of the EVR, results of the time tool."""

from __future__ import annotations

from typing import Any, ClassVar

from psanacli.detector.records import RecordDetector
from psanacli.run import Event


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


class TimeTool(RecordDetector):
    """A time tool, which measures when the laser came after the X-rays.

    Its results are objects of the event (``TimeTool.DataV1`` to ``V3``), EPICS variables named after ``base_name`` of
    its configuration, or both.
    """

    main = ("TimeTool.Data",)

    EPICS: ClassVar[dict[str, str]] = {
        "amplitude": "AMPL",
        "position_pixel": "FLTPOS",
        "position_time": "FLTPOS_PS",
        "position_fwhm": "FLTPOSFWHM",
        "nxt_amplitude": "AMPLNXT",
        "ref_amplitude": "REFAMPL",
    }
    """Last part of the names of its EPICS variables by result: ``XPP:TIMETOOL:FLTPOS``."""

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
            return {name: getattr(record, name) for name in self.EPICS}
        return self.by_epics(event)

    def by_epics(self, event: Event) -> dict[str, float] | None:
        """Return its results as EPICS variables had them at an event, as far as there are such; None without any."""
        base = self.base_name(event)
        found: dict[str, float] = {}
        variables = self._run.epics
        for name, last in self.EPICS.items() if base else ():
            value = variables[f"{base}:{last}"].at(event) if f"{base}:{last}" in variables else None
            if value is not None:
                found[name] = value.value
        return found or None

    def base_name(self, event: Event | None = None) -> str:
        """Return what the names of its EPICS variables begin with; empty when it has no configuration."""
        config = self.config(event, "TimeTool.Config")
        return "" if config is None else str(config.base_name)

    def __call__(self, event: Event) -> dict[str, Any] | None:
        """Return what it found; see `fex`."""
        return self.fex(event)
