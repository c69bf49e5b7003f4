"""Detectors that are no area detectors give what the original gave, call by call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from psanacli.detector import Acqiris, ControlData, EpicsDetector, Evr, Imp, OceanOptics, UsdUsb
from psanacli.errors import NotFoundError, PsanaError, UsageError
from psanacli.run import Event, Run, summarise
from psanacli.xtc import TYPE_ANY, TYPE_XTC, Source
from tests.reference.recorded_calls import Same, is_case, opened, recorded

CONTAINERS = (TYPE_ANY, TYPE_XTC)

# What of a recorded call is not met, and why.  Every entry is used, and no call differs that has none.
NO_DATA = "a name that nothing in the run has is an error, not a detector that never gives anything"
IPIMB_GET = "there get() of an IPIMB always fails"
VERSIONS = "there an event with several versions of an object fails, or gives nothing; the newest counts"
BEYOND = "there an Acqiris segment that lies outside of the record fails; it is left out"
FIRST_POINT = "there the samples before the first point are skipped twice"
SEGMENTS = "there only the first of several Acqiris segments is in the result"
OCEAN = "there bit 13 of an OceanOptics.DataV1 is not flipped, and its polynomial has 32 bits"
TEXTS = "there a list of texts fails"
DIGITIZER = "the shared ADC is no IPIMB but a digitizer"
NO_CONFIG = "there times without configuration fail; they are None"
EMPTY_NAME = "there the empty name is the alias of some variable, which fails when it is called"

IPIMBS = ("XppSb2Ipm.1:Ipimb.0", "XppSb2Ipm.1:Ipimb.1", "XppSb3Ipm.1:Ipimb.0", "XppSb3Ipm.1:Ipimb.1")
TYPES = ("types run 1", "types run 2")
MULTI = ("multi", "multi, small data")
BEAM_LINE = ("types run 1, beam-line", "types run 2, beam-line")

# By recording: (set of calls, name, method), * for any.
EXPLAINED: dict[str, dict[tuple[str, str, str], str | tuple[str, ...]]] = {
    "detectors_small": {
        **{(some, name, "*"): NO_DATA for some in ("simple", *MULTI, "area") for name in ("GMD", "XppSb2_Ipm")},
        **{("area", name, "*"): NO_DATA for name in ("EBeam", "FEEGasDetEnergy", "PhaseCavity")},
        **{(some, "XppSb2_Ipm", "*"): NO_DATA for some in TYPES},
        **{("simple", name, "get"): IPIMB_GET for name in ("XppSb2Ipm.1:Ipimb.0", "ipm3")},
        **{(some, name, "get"): IPIMB_GET for some in MULTI for name in ("CxiDg2.0:Ipimb.1", "dg2ipm")},
        **{(some, name, "get"): IPIMB_GET for some in TYPES for name in IPIMBS},
        **{(some, "", "*"): EMPTY_NAME for some in (*MULTI, *TYPES)},
        **{("simple", name, "*"): FIRST_POINT for name in ("XppLas.0:Acqiris.0", "acq01")},
        ("types run 1", "XppLas.0:Acqiris.0", "*"): BEYOND,
        ("types run 2", "XppLas.0:Acqiris.0", "*"): (BEYOND, SEGMENTS),
        **{(some, "SxrBeamline.0:Encoder.0", "get"): VERSIONS for some in TYPES},
        **{(some, "SxrEndstation.0:OceanOptics.1", "*"): VERSIONS for some in TYPES},
        **{(some, "SxrEndstation.0:OceanOptics.0", "intensity"): OCEAN for some in TYPES},
        **{(some, "DetLab.0:QuadAdc.0", "wftime"): NO_CONFIG for some in TYPES},
        **{("types run 2", "TST:PV:STRING", method): TEXTS for method in ("__call__", "()")},
    },
    "detectors_small2": {
        **{(some, name, "get"): IPIMB_GET for some in BEAM_LINE for name in ("XCS-IPM-02", "CxiDg1_Imb01")},
        **{(some, "MEC-LAS-EM-01", "*"): DIGITIZER for some in BEAM_LINE},
        **{
            (some, name, "*"): NO_DATA
            for some in BEAM_LINE
            for name in ("XppSb3_Ipm", "XppMon_Pim0", "CXI-USB-ENCODER-01")
        },
        **{(some, "DetLab.0:QuadAdc.0", "wftime"): NO_CONFIG for some in BEAM_LINE},
    },
}


def answer(detector: Any, method: str, event: Event) -> Any:
    """Return what our detector says to a call of the original's."""
    match detector, method:
        case Evr(), "__call__" | "eventCodes":
            return detector(event)
        case Evr(), "eventCodes(evt,this_fiducial_only=False)":
            return detector.codes(event, this_event=False)
        case ((EpicsDetector() | ControlData()), "__call__" | "()"):
            return detector(event)
        case Acqiris(), "raw" | "__call__" | "raw,calib_imp":
            return detector.waveforms(event)
        case Acqiris(), "raw,uncorrected":
            return detector.waveforms(event, aligned=False)
        case Imp(), "raw" | "waveform" | "__call__" | "raw,uncorrected":
            return detector.waveform(event)
        case Imp(), "raw,calib_imp":
            return detector.waveform(event, bias=True)
        case _, "wftime":
            return detector.times(event)
        case UsdUsb(), "values":
            return detector.encoders(event)
        case UsdUsb(), "descriptions()":
            return detector.descriptions(event)
        case _:
            return getattr(detector, method)(event)


def differences(
    run: Run, entry: dict[str, Any], tally: Counter[str], subject: str
) -> Iterator[tuple[str, str, Any, Any, Event]]:
    """Compare all calls of a set; give name, method, both results and the event of those that differ."""
    detectors: dict[str, Any] = {}
    for name in entry["made"]:
        try:
            detectors[name] = run.detector(name)
        except PsanaError as error:
            detectors[name] = error
    before: dict[str, Any] = {}
    for recorded_event in entry["events"]:
        seconds, nanoseconds, fiducials = recorded_event["id"]
        event = run.events.at(seconds=seconds, nanoseconds=nanoseconds, fiducials=fiducials)
        for call, theirs in recorded_event["calls"].items():
            theirs = before[call] if theirs == "same" else theirs
            before[call] = theirs
            name, _, method = call.rpartition("|")
            tally[f"{subject}: calls"] += 1
            same = Same()
            mine: Any = detectors[name]
            if not isinstance(mine, PsanaError):
                try:
                    mine = answer(mine, method, event)
                except (PsanaError, AttributeError) as error:
                    mine = error
            failed = isinstance(theirs, dict) and "error" in theirs
            if failed or isinstance(mine, Exception) or not same(mine, theirs):
                yield name, method, mine, theirs, event
            tally[f"{subject}: values"] += same.count


# Names for which the original gave no detector and we do, or the other way round.
PATTERNS = "there sources by pattern or in their other spelling are not found"
FULL_BLD = "there a BLD source in its full form, as an alias gives it, is not found"
SEVERAL = "there a part of several names is the first of them; an error that lists them"
LECROY = "there a source without configuration is not found"
NAMES = {
    **{name: NO_DATA for name in ("GMD", "XppSb2_Ipm", "XppSb3_Ipm", "XppMon_Pim0", "CXI-USB-ENCODER-01")},
    **{name: NO_DATA for name in ("FEEGasDetEnergy", "PhaseCavity")},
    **{name: PATTERNS for name in ("*.*:Evr.*", ":Evr", "NoDetector-0|Evr-0")},
    **{name: FULL_BLD for name in ("EBeam", "BldInfo(EBeam)")},
    "Cspad": SEVERAL,
    "": EMPTY_NAME,
    "DetLab.1:LeCroy.0": LECROY,
}


def test_names(shared: Path, tally: Counter[str]) -> None:
    used = set()
    for record in ("detectors_small", "detectors_small2"):
        for entry in recorded(shared, record)["sets"].values():
            if "unpacked" in entry["dataset"]:
                continue
            with opened(shared, entry["dataset"]) as run:
                for name, made in entry["made"].items():
                    tally["detectors by name"] += 1
                    try:
                        mine = run.detector(name).name
                    except (NotFoundError, UsageError):
                        mine = None
                    theirs = None if "error" in made else made.get("name", name)
                    if name in NAMES and (mine is None) != (theirs is None):
                        used.add(name)
                        tally[f"detectors by name, explained: {NAMES[name]}"] += 1
                        continue
                    assert (mine is None) == (theirs is None), (entry["dataset"], name, mine, theirs)
                    if theirs is not None and ":" in theirs and made["class"] != "EpicsDetector":
                        assert mine == theirs
    assert used == set(NAMES)


@pytest.mark.parametrize(
    "dataset", ["exp=xppsim15:run=1", "exp=cximul16:run=7", "exp=amotyp14:run=1", "exp=amotyp14:run=2"]
)
def test_info_lists_the_names_that_work(shared: Path, tally: Counter[str], dataset: str) -> None:
    """Each name and alias gives its detector, and all sources that the files have, and the scan, are listed."""
    with opened(shared, dataset) as run:
        summary = summarise(run)
        listed = set()
        for entry in (*summary.detectors, *summary.epics):
            for name in filter(None, (entry.name, entry.alias)):
                assert run.detector(name).name == entry.name
                listed.add(entry.name)
                tally["names that `psana info` lists"] += 1
        sources = {
            Source(log, phy).name for log, phy, word in run.table.keys.tolist() if word & 0xFFFF not in CONTAINERS
        }
        assert listed == sources | set(run.epics) | {"ControlData"}


@pytest.mark.parametrize("record", ["detectors_small", "detectors_small2"])
def test_calls(shared: Path, tally: Counter[str], record: str) -> None:
    reasons = {(key, reason) for key, some in EXPLAINED[record].items() for reason in _tuple(some)}
    unused = set(reasons)
    wrong = []
    for subject, entry in recorded(shared, record)["sets"].items():
        if subject.endswith(", area"):
            continue
        with opened(shared, entry["dataset"]) as run:
            for name, method, mine, theirs, event in differences(run, entry, tally, f"{record}, {subject}"):
                case = (subject, name, method)
                fitting = [
                    (key, reason)
                    for key, reason in reasons
                    if is_case(key, case) and shown(reason, run, name, mine, theirs, event)
                ]
                if not fitting:
                    wrong.append((*case, event, str(mine)[:100], str(theirs)[:100]))
                    continue
                unused.difference_update(fitting)
                tally[f"{record}, explained: {fitting[0][1]}"] += 1
    assert wrong == []
    assert unused == set()


def _tuple(some: str | tuple[str, ...]) -> tuple[str, ...]:
    return (some,) if isinstance(some, str) else some


def shown(reason: str, run: Run, name: str, mine: Any, theirs: Any, event: Event) -> bool:
    """Return whether a difference is what its reason says."""
    failed = isinstance(theirs, dict) and "error" in theirs
    match reason:
        case _ if reason == NO_DATA:
            return isinstance(mine, NotFoundError) and (theirs is None or failed)
        case _ if reason == FIRST_POINT:
            return Same()(first_point_twice(run.detector(name), mine, event), theirs)
        case _ if reason == SEGMENTS:
            ours = mine if isinstance(mine, tuple) else (mine,)
            parts = [] if failed else theirs.get("r", [theirs])
            return bool(parts) and Same()([part[:, : parts[0]["shape"][1]] for part in ours], parts)
        case _ if reason == OCEAN:
            return Same()(without_flip(run.detector(name), event), theirs)
        case _ if reason == EMPTY_NAME:
            return isinstance(mine, PsanaError) and failed
        case _ if reason == DIGITIZER:
            return isinstance(run.detector(name), Acqiris) and (theirs is None or failed)
        case _ if reason == NO_CONFIG:
            return mine is None and failed
        case _ if reason == TEXTS:
            return isinstance(mine, np.ndarray) and mine.dtype.kind == "U" and failed
        case _ if reason in (IPIMB_GET, VERSIONS, BEYOND):
            return not isinstance(mine, Exception) and (failed or theirs is None)
    raise AssertionError(reason)


def first_point_twice(detector: Acqiris, mine: Any, event: Event) -> Any:
    """Return what ours is when the samples before the first point are skipped once more."""
    record = detector.get(event)
    assert record is not None
    whole = detector.waveforms(event)
    assert whole is not None
    values, times = np.zeros_like(whole.values), np.zeros_like(whole.times)
    length = values.shape[1]
    for channel, element in enumerate(record.data):
        first = element.indexFirstPoint
        values[channel, : length - first] = whole.values[channel, first:]
        times[channel, : length - first] = whole.times[channel, : length - first]
    if isinstance(mine, tuple):
        return values, times
    return values if mine[0, 0] == whole.values[0, 0] else times


def without_flip(detector: OceanOptics, event: Event) -> Any:
    """Return the spectrum as the original makes it: counts as stored, a polynomial of 32 bits."""
    record = detector.get(event)
    assert record is not None and record.xtc_type.version == 1
    counts = record.data.astype(np.float32)
    polynomial = sum(c * counts**power for power, c in enumerate(detector.config(event).nonlinCorrect.tolist()))
    return (counts / polynomial).astype(np.float64)
