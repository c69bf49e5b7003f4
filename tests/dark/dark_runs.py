"""Dark runs of small detectors, in which everything is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.xtc import Container, Contribution, RunWriter, Source, node
from psanacli.xtc.encode import encode

NODE = node("172.21.38.10", 5000)
CONTROL = Source.parse("ProcInfo(172.21.38.2)", 3977)
CAMERA = Source.parse("XppEndstation.0:Opal1000.1")
BEAM = Source.parse("EBeam")
JUNGFRAU = Source.parse("CxiEndstation.0:Jungfrau.0")
QUAD = Source.parse("MecEndstation.0:Epix10kaQuad.0")

PNCCD = Source.parse("AmoEndstation.0:pnCCD.0")
LINKS = (4, 512, 512)

SHAPE = (40, 60)
EVENTS = 150
PEDESTAL, RMS = 100, 3.0
HOT, DEAD, NOISY = (3, 5), (20, 30), (39, 59)
ABSENT, DAMAGED, MISSHAPED = 7, 9, 70
MODULE = (1, 8, 16)
GAINS = {0: 0, 3: 1, 4: 2}
"""Gain mode of the configuration, and the range it is."""
QUAD_LABELS = (
    "dark Fixed High Gain",
    "dark Fixed Medium Gain",
    "dark Fixed Low Gain",
    "dark Auto High to Low",
    "dark Auto Medium to Low",
)
QUAD_BITS = ((12, 1), (12, 0), (8, 0), (0, 1), (0, 0))
"""Bits of the pixels and of the ASICs, by step."""


@dataclass
class Written:
    """A run, and the frames that can be used."""

    paths: list[Path]
    frames: NDArray[np.uint16]


def noise(seed: int, count: int, shape: tuple[int, ...], pedestal: float, rms: float) -> NDArray[np.uint16]:
    """Return frames of noise."""
    random = np.random.default_rng(seed)
    pedestals = random.uniform(pedestal, 1.1 * pedestal, shape)
    return np.rint(pedestals + rms * random.normal(0, 1, (count, *shape))).clip(1, 4000).astype(np.uint16)


def _frame(image: NDArray[np.uint16]) -> bytes:
    rows, columns = image.shape
    pixels = image.astype("<u2").reshape(-1).view(np.uint8)
    return encode("Camera.FrameV1", {"width": columns, "height": rows, "depth": 12, "_int_pixel_data": pixels})


def write_camera(directory: Path, events: int = EVENTS, number: int = 5) -> Written:
    """Write a run of a camera: events without it, with damage, and with an image of another shape among them."""
    frames = noise(1, events, SHAPE, PEDESTAL, RMS)
    frames[:, HOT[0], HOT[1]] = 4095
    frames[:, DEAD[0], DEAD[1]] = 0
    frames[:, NOISY[0], NOISY[1]] = noise(2, events, (1,), 500, 12 * RMS)[:, 0]
    good = [n for n in range(events) if n not in (ABSENT, DAMAGED, MISSHAPED)]
    with RunWriter(directory, "e301", number, streams=1) as run:
        config = encode("Opal1k.ConfigV1", {})
        run.configure([Container(NODE, [Contribution("Opal1k.ConfigV1", CAMERA, config)])])
        run.begin_step([])
        for event, image in enumerate(frames):
            payload = _frame(image if event != MISSHAPED else image[:4])
            part = Contribution("Camera.FrameV1", CAMERA, payload, 1 << 13 if event == DAMAGED else 0)
            beam = Contribution("Bld.BldDataEBeamV7", BEAM, encode("Bld.BldDataEBeamV7", {}))
            run.event([Container(NODE, [beam, part] if event != ABSENT else [beam])])
        return Written(run.paths, frames[good])


def write_jungfrau(directory: Path, mode: int, number: int, events: int = 40) -> Written:
    """Write a dark run of a Jungfrau in a gain mode; one value of pixel (0, 2, 3) is in another range."""
    gain = GAINS[mode]
    bits = (0, 1, 3)[gain] << 14
    frames = noise(10 + gain, events, MODULE, 1000 * (gain + 1), 4) | np.uint16(bits)
    frames[5, 0, 2, 3] ^= 1 << 14
    size = {"numberOfModules": 1, "numberOfRowsPerModule": MODULE[1], "numberOfColumnsPerModule": MODULE[2]}
    config = encode("Jungfrau.ConfigV3", {**size, "gainMode": mode})
    with RunWriter(directory, "e301", number, streams=1) as run:
        run.configure([Container(NODE, [Contribution("Jungfrau.ConfigV3", JUNGFRAU, config)])])
        run.begin_step([])
        for image in frames:
            payload = encode("Jungfrau.ElementV2", {"moduleInfo": [{}], "frame": image})
            run.event([Container(NODE, [Contribution("Jungfrau.ElementV2", JUNGFRAU, payload)])])
        return Written(run.paths, frames)


def quad_config(bits: int, trbit: int) -> bytes:
    """Return the configuration of an ePix10ka quad with all pixels in one range."""
    panel: dict[str, Any] = {"asics": [{"trbit": trbit}] * 4, "asicPixelConfigArray": np.full((352, 384), bits)}
    return encode("Epix.Config10kaQuadV2", {"elemCfg": [panel] * 4})


def write_quad(directory: Path, labels: Sequence[str], number: int = 8, events: int = 5) -> Written:
    """Write the five dark steps of an ePix10ka quad, with labels or without (an empty one)."""
    frames = np.stack([noise(20 + k, events, (4, 352, 384), 2000 + 100 * k, 4) for k in range(len(QUAD_BITS))])
    with RunWriter(directory, "e301", number, streams=1) as run:
        config = Contribution("Epix.Config10kaQuadV2", QUAD, quad_config(*QUAD_BITS[0]))
        run.configure([Container(NODE, [config])])
        for label, bits, stack in zip(labels, QUAD_BITS, frames, strict=True):
            items = [{"name": "MecEndstation-0|Epix10kaQuad-0", "value": label}] if label else []
            control = encode("ControlData.ConfigV3", {"npvLabels": len(items), "pvLabels": items})
            step = Contribution("Epix.Config10kaQuadV2", QUAD, quad_config(*bits))
            run.begin_step([Contribution("ControlData.ConfigV3", CONTROL, control), Container(NODE, [step])])
            for image in stack:
                run.event([Container(NODE, [Contribution("Epix.ArrayV1", QUAD, _quad_payload(image))])])
        return Written(run.paths, frames)


def _quad_payload(image: NDArray[np.uint16]) -> bytes:
    """Return an array of four panels: number, frame, then rows and temperatures that nobody looks at."""
    return bytes(4) + image.astype("<u2").tobytes() + bytes(18464)


def write_pnccd(directory: Path, rms: float, events: int = 4) -> Written:
    """Write a dark run of a pnCCD of four links."""
    frames = noise(30, events, LINKS, 1000, rms)
    config = encode("PNCCD.ConfigV1", {"numLinks": 4, "payloadSizePerLink": 16 + 2 * 512 * 512})
    with RunWriter(directory, "e301", 11, streams=1) as run:
        run.configure([Container(NODE, [Contribution("PNCCD.ConfigV1", PNCCD, config)])])
        run.begin_step([])
        for image in frames:
            payload = b"".join(bytes(16) + link.astype("<u2").tobytes() for link in image)
            run.event([Container(NODE, [Contribution("PNCCD.FramesV1", PNCCD, payload)])])
        return Written(run.paths, frames)
