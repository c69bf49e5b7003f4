"""Dark processing: what the original made of the same frames, and what is planted in them."""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from reference.dark_formula import BAD_KINDS, DETECTORS, DarkStep, dark_steps

from psanacli.calib import DarkOptions, Psana, PsanaEpix10ka, Robust
from psanacli.dark import Frames, nominal_gains
from psanacli.detector import AreaDetector
from psanacli.errors import DataError
from psanacli.run import open_run

EVENTS = 100
STEPS = [
    ("cspad2x2", 0),
    ("epix100a", 0),
    *(("jungfrau", k) for k in range(3)),
    *(("epix10kaquad", k) for k in range(5)),
]
_DEFAULTS = {"values": (1, 16000), "rms": (0.001, 16000), "value_sigmas": (6, 6), "rms_sigmas": (6, 6)}


def recorded(shared: Path, name: str) -> tuple[dict[str, Any], Any]:
    """Return a recording of the original, and its arrays."""
    folder = shared / "psana1" / "api" / "dark"
    return json.loads((folder / f"{name}.json").read_text()), np.load(folder / f"{name}.npz")


def algorithm_frames(count: int) -> NDArray[np.uint16]:
    """Return frames by the recipe of the recording."""
    random = np.random.RandomState(301)
    pedestals = 1200 + np.rint(random.normal(0, 30, (12, 16)))
    width = 3 * (1 + 0.3 * random.uniform(0, 1, (12, 16)))
    x = np.rint(pedestals + width * random.normal(0, 1, (count, 12, 16)))
    x[:, 0, 0] = 0
    x[:, 0, 1] = 16383
    x[:, 0, 2] = np.rint(pedestals[0, 2] + 200 * random.normal(0, 1, count))
    x[:, 0, 3] = 1300
    x[:, 0, 4] += 9000
    x[::4, 0, 5] = 0
    x[::20, 0, 6] = 0
    x[::4, 0, 7] = 16300
    x[:, 0, 8] = 17384
    x[:, 0, 9] = 3
    return np.clip(x, 0, 65535).astype(np.uint16)


def options_of(parameters: dict[str, Any]) -> DarkOptions:
    """Return the options that the original calls by other names."""
    found: dict[str, Any] = {"share": parameters.get("fraclm", 0.1), "gate_sigmas": parameters.get("nsigma", 6)}
    for name, ours in (("int_", "values"), ("rms_", "rms"), ("intn", "value_sigmas"), ("rmsn", "rms_sigmas")):
        default = _DEFAULTS[ours]
        found[ours] = parameters.get(f"{name}lo", default[0]), parameters.get(f"{name}hi", default[1])
    found["quantiles"] = parameters.get("fraclo", 0.05), parameters.get("frachi", 0.95)
    return DarkOptions(sample=parameters.get("nrecs1"), **found)


def test_method_psana_equals_every_recorded_call(shared: Path, tally: Counter[str]) -> None:
    calls, arrays = recorded(shared, "algorithm")
    compared = 0
    for call in calls["calls"]:
        parameters, count = call["parameters"], call["frames"]["n"]
        frames = algorithm_frames(count)
        if f"frames_{count}" in arrays:
            assert (frames == arrays[f"frames_{count}"]).all()
        frames = frames[: parameters.get("nrecs", count)]
        generic = call["function"].startswith("generic")
        method = (Psana if generic else PsanaEpix10ka)(options_of(parameters))
        if "error" in call["result"]:  # the original fails with an AttributeError
            with pytest.raises(DataError, match=f"^{count} events? ha(s|ve) the detector"):
                method.of(frames)
            continue
        dark = method.of(frames)
        ours = {"average": dark.pedestals, "rms": dark.rms, "status": dark.status, "mask": dark.mask}
        ours |= {"max": dark.largest, "min": dark.least, "n_gated": dark.averaged}
        for name in ours.keys() & call["result"].keys():
            expected = arrays[call["result"][name]["key"]]
            assert (ours[name] == expected).all(), (call, name)
            compared += expected.size
        if generic:
            gates = method.gates([frames[method.sample(len(frames))].reshape(-1, 192)], (12, 16))
            assert (gates.low == arrays[call["result"]["gate_lo"]["key"]].ravel()).all()
            assert (gates.high == arrays[call["result"]["gate_hi"]["key"]].ravel()).all()
            compared += 2 * gates.low.size
    assert len(calls["calls"]) == 24
    tally["dark algorithm: values of the original, bit for bit"] += compared


@pytest.fixture(scope="module", params=STEPS, ids=lambda step: f"{step[0]}-{step[1]}")
def run(request: pytest.FixtureRequest, shared: Path) -> tuple[str, DarkStep, NDArray[np.uint16]]:
    """A step of a dark run with a hundred events."""
    detector, number = request.param
    step = dark_steps(shared, detector)[number]
    return detector, step, step.frames(EVENTS)


def gain_of(detector: str, step: DarkStep) -> tuple[int, int]:
    """Return the bits that tell the gain range."""
    return (0xC000, step.truth["bits"]) if detector == "jungfrau" else (0, 0)


def test_frames_are_those_of_the_formula(run: tuple[str, DarkStep, NDArray[np.uint16]], tally: Counter[str]) -> None:
    _, step, frames = run
    assert zlib.crc32(step.pedestals.astype("<i4").tobytes()) == step.truth["pedestal_crc32"]
    assert [zlib.crc32(frame.tobytes()) for frame in frames] == step.truth["event_crc32"]
    tally["dark frames by formula"] += len(frames)


def test_robust_method_recovers_what_is_planted(
    run: tuple[str, DarkStep, NDArray[np.uint16]], tally: Counter[str]
) -> None:
    detector, step, frames = run
    dark = Robust(DarkOptions(), gain=gain_of(detector, step)).of(frames)
    planted = np.concatenate([step.planted(kind) for kind in BAD_KINDS])
    assert np.array_equal(np.flatnonzero(dark.status), np.sort(planted))
    good = dark.status.ravel() == 0
    rms = dark.rms.ravel()[good]
    error = (dark.pedestals.ravel() - step.pedestals)[good]
    expected = step.truth["rms"]
    assert abs(np.sqrt(np.square(rms).mean()) / expected - 1) < 0.02
    assert abs(np.median(rms) / expected - 1) < 0.02
    assert abs(error.mean()) < 0.01 * expected
    assert np.abs(error).max() < 0.6 * expected  # six of its own errors, each a tenth of the rms
    noisy = dark.rms.ravel()[step.planted("noisy")]
    assert abs(np.sqrt(np.square(noisy).mean()) / (12 * expected) - 1) < 0.02
    tally["dark: pixels with planted truth, none missed and none called bad wrongly"] += good.size


def test_method_psana_equals_the_tools_of_the_original(
    run: tuple[str, DarkStep, NDArray[np.uint16]], shared: Path, tally: Counter[str]
) -> None:
    detector, step, frames = run
    results, samples = recorded(shared, detector)
    if detector == "epix10kaquad":
        found = PsanaEpix10ka(DarkOptions()).of(frames)
        mode = ("FH", "FM", "FL", "AHL-H", "AML-M")[step.truth["step"]]
        # All panels have the same identification, so the last one is in the files; the last event is left out.
        last = PsanaEpix10ka(DarkOptions()).of(frames[:-1])
        entries = [each for each in results["results"] if each["stage"] == "one mode" and each["mode"] == mode]
        for entry in entries:
            name = {"pedestals": "pedestals", "rms": "rms", "status": "status"}.get(entry["type"])
            if name:
                compare(getattr(last, name)[3], entry, samples, 3, tally)
        entries = [each for each in results["results"] if each.get("step") == step.truth["step"]]
        for entry in entries:
            name = {"average": "pedestals"}.get(entry["type"], entry["type"])
            compare(getattr(found, name)[entry["panel"]], entry, samples, None, tally)
        assert len(entries) == 12
    else:
        dark = Psana(DarkOptions(), gain=gain_of(detector, step)).of(frames)
        decimals = 3 if detector == "jungfrau" else 2
        names = {"ave": "pedestals", "sta": "status", "msk": "mask", "max": "largest", "min": "least"}
        names |= {"dark_max": "largest", "dark_min": "least"}
        compared = 0
        for entry in results["results"]:
            kind = entry.get("type") or entry["file"].removesuffix(".txt").rpartition("-")[2]
            if detector == "jungfrau" and f"_gm{step.truth['step']}-" not in entry["file"]:
                continue
            array = getattr(dark, names.get(kind, kind))
            if detector == "cspad2x2":
                array = np.moveaxis(array, 0, -1)  # as files have it
            compare(array, entry, samples, decimals, tally)
            compared += 1
        assert compared == (5 if detector == "jungfrau" else 6)


def as_written(values: NDArray[np.float64], decimals: int) -> NDArray[np.float64]:
    """Return values as text with so many decimals holds them; only near the middle of two does it take text to know."""
    scaled = values * 10**decimals
    written = np.rint(scaled) / 10**decimals
    for k in np.flatnonzero(np.abs(np.abs(scaled - np.rint(scaled)) - 0.5) < 1e-6).tolist():
        written[k] = float(f"{values[k]:.{decimals}f}")
    return written


def compare(
    array: NDArray[Any], entry: dict[str, Any], samples: Any, decimals: int | None, tally: Counter[str]
) -> None:
    """Compare an array with the recording of a file, which has so many decimals; None: with that of an array."""
    flat = np.ascontiguousarray(array).ravel()
    assert flat.size == entry["shape_flat"]
    expected = samples[entry["samples"]]
    if flat.dtype.kind in "iu":
        assert zlib.crc32(flat.astype("<u4").tobytes()) == entry["crc32"]
        if entry.get("counts"):
            values, counts = np.unique(flat, return_counts=True)
            found = dict(zip(map(str, values.tolist()), counts.tolist(), strict=True))
            assert found == entry["counts"]
        tally["dark tools of the original: pixels, exactly"] += flat.size
        return
    written = (flat if decimals is None else as_written(flat, decimals)).astype("<f4")
    assert np.array_equal(written[:: entry["stride"]], expected)
    assert zlib.crc32(written.tobytes()) == entry["crc32"]
    assert abs(flat.sum() - entry["sum"]) <= flat.size**0.5 * 5 * 10 ** -(decimals or 6)
    tally["dark tools of the original: pixels, as written"] += expected.size


def test_gains_of_an_epix10ka_are_those_that_the_original_deploys(shared: Path, tally: Counter[str]) -> None:
    results, samples = recorded(shared, "epix10kaquad")
    for stage, name, panels in (("merged", "gain", 1), ("deployed", "pixel_gain", 4)):
        (entry,) = (each for each in results["results"] if (each["stage"], each["type"]) == (stage, name))
        compare(nominal_gains((panels, 352, 384)), entry, samples, 3, tally)


def test_stacks_are_the_raw_images_of_every_area_detector(shared: Path, tmp_path: Path, tally: Counter[str]) -> None:
    packed = next((shared / "lcls1" / "area2" / "xtc").glob("*.xtc.gz"))
    (tmp_path / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
    compared = 0
    for path in (*(shared / "lcls1" / "area" / "xtc").glob("*.xtc"), tmp_path / packed.stem):
        with open_run(path) as run:
            for name in run.detectors:
                detector = run.detector(name)
                if not isinstance(detector, AreaDetector):
                    continue
                frames = Frames(run, name)
                rows = np.flatnonzero(frames.objects.stored)
                stack, broken = frames.read(rows)
                assert broken == 0 and len(stack) == len(rows) > 0
                for image, event in zip(stack, frames.objects.event[rows].tolist(), strict=True):
                    raw = np.asarray(detector.raw(run.events[event]))
                    assert np.array_equal(image.reshape(frames.shape), raw.astype(np.uint16))
                    tally["dark: raw pixels in stacks, as of the detector"] += raw.size
                if frames.absent.any():  # partial CSPADs
                    there = stack.reshape(-1, *frames.shape).any(axis=(0, 2, 3))
                    assert np.array_equal(there, ~frames.absent)
                    compared += 100
                compared += 1
    assert compared == 25 + 300


def test_all_detectors_of_the_recording_are_compared(shared: Path) -> None:
    assert {name for name, _ in STEPS} == set(DETECTORS)
    assert all(len(dark_steps(shared, name)) == sum(each == name for each, _ in STEPS) for name in DETECTORS)
