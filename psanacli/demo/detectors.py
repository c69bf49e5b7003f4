"""The detectors of the sample experiment: where they are, their configuration, and the payload of each event."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.demo.images import COLUMNS, ROWS, camera_frames, cspad_frames
from psanacli.xtc import Source, encode, named

Payload = bytes | memoryview
Contribution = tuple[str, Payload]
"""Full name of the type, and the payload."""


@dataclass(frozen=True)
class DemoDetector:
    """A detector of the sample experiment.

    Attributes
    ----------
    source : Source
    alias : str
        Its name in the DAQ, empty for beam-line data.
    configuration : sequence of (type, payload)
        What it says of itself in Configure.
    event : function
        From the number of an event to what the detector has to say of it; empty when it is not read out.
    """

    source: Source
    alias: str
    event: Callable[[int], Sequence[Contribution]]
    configuration: Sequence[Contribution] = field(default=())


@dataclass(frozen=True)
class Scale:
    """How large the run is: its events, their steps, and whether it is a sample or made to measure speed."""

    events: int
    step_of: NDArray[np.intp]
    """Number of the step of each event."""
    steps: int
    full_size: bool
    """Detectors at their real size, in every event; otherwise a part of them, to keep a sample small."""
    fiducials: NDArray[np.uint32]
    dark: bool = False
    """Whether there is no beam."""


def _table(type_name: str, count: int, **columns: Any) -> Callable[[int], Sequence[Contribution]]:
    """Return payloads of a type of fixed size, of which `columns` are the fields."""
    kind = named(type_name)
    offsets = {member.name: member for member in kind.fields}
    rows = np.zeros((count, kind.size or 0), np.uint8)
    for name, values in columns.items():
        member = offsets[name]
        data = np.asarray(values, np.dtype("<" + member.type))
        width = data.dtype.itemsize * int(np.prod(data.shape[1:], dtype=int))
        start = member.offset or 0
        rows[:, start : start + width] = np.ascontiguousarray(data).reshape(count, -1).view(np.uint8)
    return lambda number: ((type_name, memoryview(rows[number])),)


def ebeam(scale: Scale) -> DemoDetector:
    """The electron beam: charge, energy, position, and the photon energy that follows."""
    generator = np.random.default_rng(3)
    count = scale.events
    energy = generator.normal(13_600, 12, count)
    event = _table(
        "Bld.BldDataEBeamV7",
        count,
        ebeamCharge=generator.normal(0.18, 0.002, count),
        ebeamL3Energy=energy,
        ebeamLTUPosX=generator.normal(0, 0.05, count),
        ebeamLTUPosY=generator.normal(0, 0.05, count),
        ebeamPkCurrBC2=generator.normal(3500, 120, count),
        ebeamUndPosX=generator.normal(0, 0.01, count),
        ebeamUndPosY=generator.normal(0, 0.01, count),
        ebeamPhotonEnergy=9500 * (energy / 13_600) ** 2,
        ebeamLTU250=generator.normal(0, 0.02, count),
        ebeamLTU450=generator.normal(0, 0.02, count),
    )
    return DemoDetector(Source.parse("EBeam"), "", event)


def gas_detector(scale: Scale) -> DemoDetector:
    """The gas detectors before and behind the attenuator: pulse energy in mJ, twice each."""
    generator = np.random.default_rng(4)
    pulse = generator.gamma(16, 0.1, scale.events)
    before = pulse[:, None] + generator.normal(0, 0.01, (scale.events, 2))
    behind = 0.3 * before + generator.normal(0, 0.005, (scale.events, 2))
    event = _table(
        "Bld.BldDataFEEGasDetEnergyV1",
        scale.events,
        f_11_ENRC=before[:, 0],
        f_12_ENRC=before[:, 1],
        f_21_ENRC=behind[:, 0],
        f_22_ENRC=behind[:, 1],
    )
    return DemoDetector(Source.parse("FEEGasDetEnergy"), "", event)


def phase_cavity(scale: Scale) -> DemoDetector:
    """The arrival time of the electrons, measured twice, in ps."""
    generator = np.random.default_rng(5)
    count = scale.events
    jitter = generator.normal(0, 0.1, count)
    event = _table(
        "Bld.BldDataPhaseCavity",
        count,
        fitTime1=jitter + generator.normal(0, 0.01, count),
        fitTime2=jitter + generator.normal(0, 0.01, count),
        charge1=generator.normal(180, 2, count),
        charge2=generator.normal(181, 2, count),
    )
    return DemoDetector(Source.parse("PhaseCavity"), "", event)


def timing(scale: Scale) -> DemoDetector:
    """The event receiver: code 140 in every event, 162 (the beam was dropped) in every tenth, and codes of a laser."""
    codes = (140, 162, 90, 183, 41)
    events = []
    for number, fiducial in enumerate(scale.fiducials.tolist()):
        present = [140, 41]
        if number % 10 == 9:
            present.append(162)
        present.append(90 if number % 2 else 183)
        fifo = np.array([(fiducial, 20_000 + 7 * k, code) for k, code in enumerate(present)], "<u4")
        events.append(np.uint32(len(present)).tobytes() + fifo.tobytes())
    configuration = encode(
        "EvrData.ConfigV7",
        {
            "neventcodes": len(codes),
            "eventcodes": [{"code": code, "desc": f"code {code}", "reportWidth": 1} for code in codes],
        },
    )
    return DemoDetector(
        Source.parse("NoDetector.0:Evr.0"),
        "evr0",
        lambda number: (("EvrData.DataV4", events[number]),),
        (("EvrData.ConfigV7", configuration),),
    )


def intensity_monitor(scale: Scale) -> DemoDetector:
    """Four diodes around the beam, their sum and the position that follows."""
    generator = np.random.default_rng(6)
    count = scale.events
    counts = np.clip(generator.normal(20_000, 3000, (count, 4)), 0, 65_535).astype(np.uint16)
    volts = counts * 5 / 65_535
    total = volts.sum(axis=1)
    raw = _table("Ipimb.DataV2", count, **{f"channel{k}": counts[:, k] for k in range(4)})
    derived = _table(
        "Lusi.IpmFexV1",
        count,
        channel=volts,
        sum=total,
        xpos=(volts[:, 1] - volts[:, 3]) / (volts[:, 1] + volts[:, 3]),
        ypos=(volts[:, 0] - volts[:, 2]) / (volts[:, 0] + volts[:, 2]),
    )
    configuration = encode("Ipimb.ConfigV2", {"serialID": 2026, "chargeAmpRange": 0x2222, "diodeBias": 30.0})
    fex = encode("Lusi.IpmFexConfigV2", {"xscale": 1.0, "yscale": 1.0})
    return DemoDetector(
        Source.parse("XppSb2Ipm.1:Ipimb.0"),
        "ipm2",
        lambda number: (*raw(number), *derived(number)),
        (("Ipimb.ConfigV2", configuration), ("Lusi.IpmFexConfigV2", fex)),
    )


def digitizer(scale: Scale) -> DemoDetector:
    """Two channels of a digitizer: a diode pulse whose height is the intensity, and its reference."""
    generator = np.random.default_rng(7)
    channels, samples = 2, 400
    time = np.arange(samples)
    pulse = np.exp(-(((time - 90) / 12.0) ** 2))
    shapes = min(scale.events, 512)
    heights = generator.uniform(4000, 24_000, (shapes, channels, 1))
    waves = (heights * pulse + generator.normal(0, 60, (shapes, channels, samples))).astype("<i2") & ~63
    head = np.zeros(1, _ACQIRIS_HEAD)
    head["samples"], head["segments"] = samples, 1
    payloads = []
    for wave in waves:
        parts = [head.tobytes() + bytes(16) + channel.tobytes() + bytes(64) for channel in wave]
        payloads.append(b"".join(parts))
    configuration = encode(
        "Acqiris.ConfigV1",
        {
            "nbrConvertersPerChannel": 1,
            "channelMask": (1 << channels) - 1,
            "nbrBanks": 1,
            "trig": {"input": 1, "level": 0.5},
            "horiz": {"sampInterval": 1e-9, "delayTime": 0.0, "nbrSamples": samples, "nbrSegments": 1},
            "vert": [{"fullScale": 2.0, "coupling": 3}] * channels + [{}] * (20 - channels),
        },
    )
    return DemoDetector(
        Source.parse("XppLas.0:Acqiris.0"),
        "acq01",
        lambda number: (("Acqiris.DataDescV1", payloads[number % shapes]),),
        (("Acqiris.ConfigV1", configuration),),
    )


_ACQIRIS_HEAD = np.dtype(
    {
        "names": ["samples", "first", "segments"],
        "formats": ["<u4", "<u4", "<u4"],
        "offsets": [0, 4, 32],
        "itemsize": 64,
    }
)
"""Head of one channel's data: points in a segment, index of the first point, segments."""


def camera(scale: Scale) -> DemoDetector:
    """A camera that looks at the beam: 8 bits, a spot that follows the scan."""
    rows, columns = (1024, 1024) if scale.full_size else (96, 128)
    shapes = min(scale.events, 32 if scale.full_size else scale.events)
    chosen = np.linspace(0, scale.events - 1, shapes).astype(int) if shapes else np.zeros(0, int)
    frames = camera_frames(shapes, rows, columns, scale.step_of[chosen] / max(1, scale.steps - 1), scale.dark)
    head = np.array([columns, rows, 8, 16], "<u4").tobytes()
    payloads = [head + frame.tobytes() for frame in frames]
    nearest = np.searchsorted(chosen, np.arange(scale.events), side="right") - 1
    configuration = encode("Opal1k.ConfigV1", {"black_level": 16, "gain_percent": 100})
    return DemoDetector(
        Source.parse("XppEndstation.0:Opal1000.1"),
        "opal_1",
        lambda number: (("Camera.FrameV1", payloads[int(nearest[number])]),),
        (("Opal1k.ConfigV1", configuration),),
    )


def cspad(scale: Scale) -> DemoDetector:
    """The area detector: powder rings; in a small sample two of its sections, in every ninth event."""
    quads = range(4) if scale.full_size else range(2)
    sections = np.arange(32) if scale.full_size else np.array([1, 9])
    per_quad = len(sections) // len(quads)
    roi = 0xFFFFFFFF if scale.full_size else 0x0202
    period = 1 if scale.full_size or scale.dark else 9
    shapes = min(-(-scale.events // period), 40 if scale.dark else 6 if scale.full_size else 14)
    frames = cspad_frames(shapes, sections, dark=scale.dark).reshape(shapes, len(quads), per_quad, ROWS, COLUMNS)
    payloads = []
    for frame in frames:
        parts = []
        for quad in quads:
            head = np.zeros(8, "<u4")
            head[1], head[5:7] = quad << 24, 0x7F3F7F3F
            parts += [head.tobytes(), frame[quad].tobytes(), bytes(4)]
        payloads.append(b"".join(parts))

    def event(number: int) -> Sequence[Contribution]:
        if number % period:
            return ()
        return (("CsPad.DataV2", payloads[number // period % shapes]),)

    configuration = encode(
        "CsPad.ConfigV5",
        {
            "eventCode": 140,
            "payloadSize": 32 + per_quad * ROWS * COLUMNS * 2 + 4,
            "asicMask": 0xF if scale.full_size else 1,
            "quadMask": (1 << len(quads)) - 1,
            "roiMasks": roi,
        },
    )
    return DemoDetector(Source.parse("XppGon.0:Cspad.0"), "cspad", event, (("CsPad.ConfigV5", configuration),))
