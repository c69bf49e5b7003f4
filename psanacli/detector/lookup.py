"""From a name to a detector: what is meant, and the class that knows what can be done with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psanacli.calib import KINDS
from psanacli.detector.area import AreaDetector
from psanacli.detector.cameras import Camera, Fccd960
from psanacli.detector.choice import other_detector, record_class
from psanacli.detector.images import FIELDS, bare
from psanacli.detector.jungfrau_segments import JungfrauPiece, segmented
from psanacli.detector.panels import Cspad, Cspad2x2, Pnccd
from psanacli.detector.ranged import Epix10ka, Jungfrau
from psanacli.detector.records import RecordDetector
from psanacli.errors import NotFoundError, UsageError, did_you_mean
from psanacli.run import CONTROL_NAMES, Detector

if TYPE_CHECKING:
    from psanacli.run import FoundDetector, Run

CLASSES: tuple[tuple[str, str, type[Detector]], ...] = (
    ("CsPad.Data", "", Cspad),
    ("CsPad2x2.Element", "", Cspad2x2),
    ("PNCCD.Frames", "", Pnccd),
    *(("Jungfrau.Element", f"JungfrauSegment{several}", JungfrauPiece) for several in ("", "M2", "M3", "M4")),
    ("Jungfrau.Element", "", Jungfrau),
    ("Epix.Array", "", Epix10ka),
    ("Epix.Element", "Epix10ka", Epix10ka),
    ("Zyla.Frame", "iStar", AreaDetector),
    ("Camera.Frame", "Fccd960", Fccd960),
    ("Camera.Frame", "", Camera),
    *((family, "", AreaDetector) for family in FIELDS),
)
"""Type of event data without its version, device (empty: any), and the class of its detectors; the first that fits
counts."""


def find_detector(run: Run, name: str) -> Detector:
    """Return the detector of a name.

    Parameters
    ----------
    run : Run
        Whose.
    name : str
        Full name (``CxiDs1.0:Cspad.0``, ``EBeam``), any spelling of the source, alias (``DscCsPad``), or a part that
        fits one source only (``Cspad``); name or alias of an EPICS variable, or the beginning of those of a time tool
        (``XPP:TIMETOOL``); ``ControlData`` or ``ScanData``.  Case and
        ``-`` for ``_`` do not matter.  Sources come before variables.  A Jungfrau that is read out in pieces has the
        name and alias of the whole; its pieces (``JungfrauSegment``) have their own.

    Raises
    ------
    NotFoundError
        The run has no such thing; the nearest names are shown.
    UsageError
        The name fits several things.
    """
    if not isinstance(name, str):
        raise UsageError(f"the name of a detector is text, not {name!r}", "psana info --detectors lists the names")
    if not name.strip():
        raise UsageError("the name of a detector is empty", "psana info --detectors lists the names")
    try:
        found = run.names.find(name)
    except (NotFoundError, UsageError) as error:
        other = (segmented(run, name) if isinstance(error, NotFoundError) else None) or other_detector(run, name)
        if other is not None:
            return other
        if isinstance(error, UsageError):
            raise
        found = _without_data(run, name)
        kind = record_class(found.types)
        # A camera that was only configured has constants, and no images.
        return (AreaDetector if kind is RecordDetector and _device(found) in KINDS else kind)(run, found)
    return class_of(found)(run, found)


def _without_data(run: Run, name: str) -> FoundDetector:
    """Return the source of a name that no event has an object of."""
    try:
        return run.all_names.find(name)
    except NotFoundError as error:
        near = did_you_mean(name, [*run.all_names.known, *run.wholes, *run.epics, *CONTROL_NAMES])
        raise NotFoundError(error.message, near or error.hint) from None


def class_of(found: FoundDetector) -> type[Detector]:
    """Return the class for a source with objects of some types."""
    families = {bare(name) for name in found.types}
    for family, device, kind in CLASSES:
        if family in families and device in ("", _device(found)):
            return kind
    return record_class(found.types)


def those_with_pixels(run: Run) -> list[str]:
    """Return the names, with aliases, of the detectors of a run that constants of pixels exist for."""
    devices = {name: name.partition(":")[2].split(".")[0] for name in run.detectors}
    found = [name for name, device in devices.items() if device in KINDS and KINDS[device].pixels]
    return [f"{name} ({alias})" if (alias := run.detector(name).alias) else name for name in found]


def _device(found: FoundDetector) -> str:
    return found.source.name.partition(":")[2].split(".")[0]
