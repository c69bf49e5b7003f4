"""Which class stands for a source that is no area detector, by what it has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from psanacli.detector.acqiris import Acqiris
from psanacli.detector.monitors import Encoder, Ipimb, OceanOptics, Tdc, UsdUsb
from psanacli.detector.records import RecordDetector
from psanacli.detector.timing import EpicsTimeTool, Evr, TimeTool
from psanacli.detector.variables import ControlData, EpicsDetector
from psanacli.detector.waveforms import EpixSampler, Generic1D, Imp
from psanacli.run import CONTROL_NAMES, Detector

if TYPE_CHECKING:
    from psanacli.run import Run

_BY_TYPE: tuple[tuple[str, type[RecordDetector]], ...] = (
    ("Acqiris.Tdc", Tdc),
    ("Acqiris.", Acqiris),
    ("Bld.BldDataAcqADC", Acqiris),
    ("Imp.", Imp),
    ("EpixSampler.", EpixSampler),
    ("Generic1D.", Generic1D),
    ("QuadAdc.", Generic1D),
    ("Ipimb.", Ipimb),
    ("Lusi.IpmFex", Ipimb),
    ("Lusi.DiodeFex", Ipimb),
    ("UsdUsb.", UsdUsb),
    ("Encoder.", Encoder),
    ("OceanOptics.", OceanOptics),
    ("EvrData.", Evr),
    ("TimeTool.", TimeTool),
)


def record_class(types: Iterable[str]) -> type[RecordDetector]:
    """Return the class for a source with objects of these types, those of events before those of configuration.

    Parameters
    ----------
    types : iterable of str
        ``Ipimb.DataV2``, ...
    """
    known = list(types)
    for beginning, found in _BY_TYPE:
        if any(name.startswith(beginning) for name in known):
            return found
    return RecordDetector


def other_detector(run: Run, name: str) -> Detector | None:
    """Return what has this name and is no source, None when nothing has.

    The scan, an EPICS variable by name or alias, or a time tool by what the names of its variables begin with.
    """
    if name in CONTROL_NAMES:
        return ControlData(run)
    if name in run.epics:
        return EpicsDetector(run, run.epics[name])
    return EpicsTimeTool(run, name) if name in run.epics.time_tools else None
