"""Cameras of every kind, with tiny frames and no constants, give what the original gave, call by call."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from psanacli.calib import Store, format_text, kind_of
from psanacli.detector import AreaDetector
from psanacli.detector.cameras import Camera, Fccd960
from psanacli.errors import ConstantsError, UsageError
from psanacli.run import Event, Run, open_run
from tests.reference.recorded_calls import Same, is_case, opened, recorded

# What of a recorded call is not met, and why.  Every entry is used, and no call differs that has none.
SHAPE = "there the shape is that of the configuration, or fails; it is that of the images"
NO_CONSTANTS = "there constants without a file are zeros, or None; they are an error"
DEFAULTS = "there zeros of default constants, and the common mode, are applied, or do not fit; the image is raw"
FAILS = "there this kind of image, or this configuration, fails or gives nothing"
NO_CAMERA = "what sends results of a time tool, or samples, only is no camera"
PANELS = "there an ePix10ka of another size than a whole one has no axis of panels, or fails"
IMAGE = "there a geometry makes the picture, or none is made"

DEFAULT_CALIBRATED = ("Cspad", "Epix100a", "pnCCD")
"""Devices for which the original has default constants."""

# By device and method, * for any.
EXPLAINED = {
    **{("*", method): SHAPE for method in ("shape", "size", "ndim")},
    ("*", "pedestals"): NO_CONSTANTS,
    **{(device, "calib"): DEFAULTS for device in ("Cspad", "Epix100a", "Jungfrau", "pnCCD")},
    **{(device, "image"): DEFAULTS for device in ("Epix100a", "Jungfrau")},
    **{("Epix", method): FAILS for method in ("raw", "raw,do_offset", "calib", "image", "common_mode")},
    **{("EpixS", method): FAILS for method in ("raw", "calib", "common_mode")},
    **{("pnCCD", method): FAILS for method in ("raw", "raw,do_offset", "image")},
    **{("Fccd960", method): FAILS for method in ("raw", "calib")},
    ("Cspad", "raw"): FAILS,
    **{("Opal1000", method): NO_CAMERA for method in ("raw", "calib")},
    **{("EpixSampler", method): NO_CAMERA for method in ("raw", "calib", "common_mode")},
    **{("Epix10ka", method): PANELS for method in ("raw", "raw,do_offset", "calib")},
    **{
        (device, "image"): IMAGE
        for device in "Cspad Cspad2x2 Epix10ka Epix10ka2M Epix10kaQuad pnCCD DualAndor Uxi".split()
    },
}


@pytest.fixture(scope="module")
def unpacked(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run 3 of the types, which is stored packed."""
    directory = tmp_path_factory.mktemp("types")
    for packed in sorted((shared / "lcls1" / "types" / "xtc").glob("*.xtc.gz")):
        (directory / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
    return directory


def answer(detector: Any, method: str, event: Event) -> Any:
    """Return what our detector says to a call of the original's."""
    match method:
        case "raw":
            return detector.raw(event)
        case "raw,do_offset":
            image = detector.raw(event)
            plain = isinstance(detector, Camera) and not isinstance(detector, Fccd960)
            offset = detector.frame_offset(event) if plain else None
            return image if offset is None else image.astype(np.int32) - offset
        case "calib" | "image":
            return detector.calib(event, allow_uncalibrated=True, common_mode=False) if detector.types else None
        case "shape":
            return detector.shape
        case "size":
            return int(np.prod(detector.shape))
        case "ndim":
            return len(detector.shape)
        case "common_mode":
            return np.array(kind_of(detector.name).common_mode, np.float64)
        case "pedestals":
            return detector.pedestals
    raise AssertionError(method)


def test_calls(shared: Path, unpacked: Path, tally: Counter[str]) -> None:
    used: set[tuple[str, str]] = set()
    wrong = []
    for subject, entry in recorded(shared, "detectors_small2")["sets"].items():
        if not subject.endswith(", area"):
            continue
        dataset, _, packed = entry["dataset"].partition(" ")
        with open_run(f"{dataset}:dir={unpacked}") if packed else opened(shared, dataset) as run:
            for name, detector, method, mine, theirs, raw in differences(run, entry, tally, subject):
                case = (name.partition(":")[2].partition(".")[0], method)
                keys = [
                    key
                    for key, reason in EXPLAINED.items()
                    if is_case(key, case) and shown(reason, mine, theirs, raw, detector)
                ]
                used.update(keys)
                if keys:
                    tally[f"detectors_small2, explained: {EXPLAINED[keys[0]]}"] += 1
                else:
                    wrong.append((name, method, str(mine)[:80], str(theirs)[:80]))
    assert wrong == []
    assert used == set(EXPLAINED)


def differences(run: Run, entry: dict[str, Any], tally: Counter[str], subject: str) -> Iterator[tuple[Any, ...]]:
    """Compare all calls of a set; give those that differ: name, detector, method, both results, the recorded image."""
    detectors = {name: run.detector(name) for name in entry["made"]}
    before: dict[str, Any] = {}
    for seconds, nanoseconds, fiducials, calls in ((*each["id"], each["calls"]) for each in entry["events"]):
        event = run.events.at(seconds=seconds, nanoseconds=nanoseconds, fiducials=fiducials)
        for call, theirs in calls.items():
            theirs = before[call] if theirs == "same" else theirs
            before[call] = theirs
            name, _, method = call.rpartition("|")
            same = Same()
            mine: Any
            try:
                mine = answer(detectors[name], method, event)
            except (ConstantsError, UsageError, AttributeError) as error:
                mine = error
            failed = isinstance(theirs, dict) and "error" in theirs
            if method == "common_mode" and isinstance(mine, np.ndarray) and theirs and not failed:
                mine = np.pad(mine, (0, theirs["shape"][0] - len(mine)))
            tally[f"detectors_small2, {subject}: calls"] += 1
            if failed or isinstance(mine, Exception) or not same(mine, theirs):
                yield name, detectors[name], method, mine, theirs, before.get(f"{name}|raw")
            else:
                tally[f"detectors_small2, {subject}: values"] += same.count


def shown(reason: str, mine: Any, theirs: Any, raw: Any, detector: Any) -> bool:
    """Return whether a difference is what its reason says."""
    failed = isinstance(theirs, dict) and "error" in theirs
    whole = raw is not None and "error" not in raw
    match reason:
        case _ if reason == SHAPE:
            shape = detector.shape
            return not whole or tuple(raw["shape"]) in (shape, shape[1:])
        case _ if reason == NO_CONSTANTS:
            return isinstance(mine, (ConstantsError, UsageError, AttributeError))
        case _ if reason == NO_CAMERA:
            return not isinstance(detector, AreaDetector) and (theirs is None or failed)
        case _ if reason == FAILS:
            return theirs is None or failed
        case _ if reason == DEFAULTS:
            return isinstance(mine, np.ndarray) and (theirs is None or failed or tuple(theirs["shape"]) == mine.shape)
        case _ if reason == PANELS:
            return mine.shape[0] == 1 and (failed or Same()(mine[0], theirs))
        case _ if reason == IMAGE:
            return theirs is None or failed or tuple(theirs["shape"]) != mine.shape
    raise AssertionError(reason)


def test_with_the_defaults_of_the_original_as_constants_the_values_are_its_own(
    shared: Path, unpacked: Path, tmp_path: Path, tally: Counter[str]
) -> None:
    """Without files it takes pedestals of 0, and all pixels as bad for the common mode (trap T1), but masks none."""
    compared = 0
    for subject, entry in recorded(shared, "detectors_small2")["sets"].items():
        if not subject.endswith(", area"):
            continue
        dataset, _, packed = entry["dataset"].partition(" ")
        home = unpacked if packed else shared / "lcls1" / "types" / "xtc"
        with open_run(f"{dataset}:dir={home}", calib_dir=tmp_path) as run:
            for (seconds, nanoseconds, fiducials), calls in ((each["id"], each["calls"]) for each in entry["events"]):
                event = run.events.at(seconds=seconds, nanoseconds=nanoseconds, fiducials=fiducials)
                for call, theirs in calls.items():
                    name, _, method = call.rpartition("|")
                    kind = kind_of(name) if name.partition(":")[2].partition(".")[0] in DEFAULT_CALIBRATED else None
                    if kind is None or method != "calib" or not isinstance(theirs, dict) or "crc32" not in theirs:
                        continue
                    for constants_type, value in (("pedestals", 0), ("pixel_status", 1)):
                        directory = Store(tmp_path).type_directory(name, constants_type)
                        directory.mkdir(parents=True, exist_ok=True)
                        (directory / "0-end.data").write_bytes(format_text(np.full(kind.shape, value)))
                    same = Same()
                    image = run.detector(name).calib(event, mask=False)  # type: ignore[attr-defined]
                    assert same(image, theirs), (subject, call)
                    tally["detectors_small2, with the defaults of the original: values"] += same.count
                    compared += 1
    assert compared == 5
