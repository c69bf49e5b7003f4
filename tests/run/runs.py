"""A small run made by the writer, in which everything is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from psanacli.xtc import EPICS, Container, Contribution, RunWriter, Source, epics_record, node
from psanacli.xtc.encode import encode

EVENTS = 12
STEPS = 3
BEAM = Source.parse("EBeam")
CAMERA = Source.parse("XppEndstation.0:Opal1000.1")
MONITOR = Source.parse("XppSb2Ipm.1:Ipimb.0")
TIMING = Source.parse("NoDetector.0:Evr.0")
ARCHIVER = Source.parse("EpicsArch.0:NoDevice.0")
NODE = node("172.21.38.10", 5000)
CONTROL = Source.parse("ProcInfo(172.21.38.2)", 3977)
EPICS_WORD = 1 << 16 | EPICS


def alias_config() -> Contribution:
    entries = [(CAMERA, "opal_1"), (MONITOR, "ipm3"), (TIMING, "evr0")]
    items = [{"src": {"log": source.log, "phy": source.phy}, "aliasName": alias} for source, alias in entries]
    return Contribution(
        "Alias.ConfigV1", CONTROL, encode("Alias.ConfigV1", {"numSrcAlias": len(items), "srcAlias": items})
    )


def scan(value: float) -> Contribution:
    control = {"name": "XPP:LAS:DELAY", "index": 0xFFFFFFFF, "value": value}
    label = {"name": "sample", "value": f"no {value:g}"}
    values = {"npvControls": 1, "npvLabels": 1, "pvControls": [control], "pvLabels": [label]}
    return Contribution("ControlData.ConfigV3", CONTROL, encode("ControlData.ConfigV3", values))


def configuration() -> list[Any]:
    pv = {"pvId": 0, "description": "sample_x", "interval": 1.0}
    return [
        alias_config(),
        Container(NODE, [Contribution("Opal1k.ConfigV1", CAMERA, encode("Opal1k.ConfigV1", {}))]),
        Container(
            NODE,
            [
                Contribution("Epics.ConfigV1", ARCHIVER, encode("Epics.ConfigV1", {"numPv": 1, "getPvConfig": [pv]})),
                Contribution(EPICS_WORD, ARCHIVER, epics_record(0, -1.0, name="XPP:USR:MMN:01.RBV", units="mm")),
                Contribution(EPICS_WORD, ARCHIVER, epics_record(1, [1, 2, 3], name="XPP:ARRAY")),
            ],
        ),
    ]


def frame(number: int, rows: int = 4, columns: int = 6) -> bytes:
    pixels = (np.arange(rows * columns) + 100 * number).astype("<u2").view(np.uint8)
    return encode("Camera.FrameV1", {"width": columns, "height": rows, "depth": 12, "_int_pixel_data": pixels})


def beam(number: int) -> bytes:
    return encode("Bld.BldDataEBeamV7", {"ebeamPhotonEnergy": 9500.0 + number, "ebeamCharge": 0.25 * number})


def timing(number: int) -> bytes:
    codes = [140, *([162] if number % 3 == 0 else [])]
    fifo = [{"timestampHigh": 0, "timestampLow": number, "eventCode": code} for code in codes]
    return encode("EvrData.DataV4", {"numFifoEvents": len(fifo), "fifoEvents": fifo})


def write_run(directory: Path, *, events: int = EVENTS, streams: int = 2) -> list[Path]:
    """Write run 1: event 4 has no beam data, that of event 5 is damaged (out of synch), event 7 has no camera frame."""
    with RunWriter(directory, "e301", 1, streams=streams) as run:
        run.configure(configuration())
        for number in range(events):
            if number % -(-events // STEPS) == 0:
                run.begin_step([scan(number / 4)])
            parts: list[Any] = [Contribution("EvrData.DataV4", TIMING, timing(number))]
            if number != 7:
                parts.append(Contribution("Camera.FrameV1", CAMERA, frame(number)))
            ipm = encode("Lusi.IpmFexV1", {"sum": number, "channel": [number, 1, 2, 3]})
            parts += [
                Contribution("Ipimb.DataV2", MONITOR, encode("Ipimb.DataV2", {})),
                Contribution("Lusi.IpmFexV1", MONITOR, ipm),
            ]
            children: list[Any] = [Container(NODE, parts)]
            if number != 4:
                damage = 1 << 13 if number == 5 else 0
                children.append(Container(NODE, [Contribution("Bld.BldDataEBeamV7", BEAM, beam(number), damage)]))
            if number % 2:
                seconds, nanoseconds = run.now
                record = epics_record(0, number / 2, seconds=seconds, nanoseconds=nanoseconds)
                children.append(Container(NODE, [Contribution(EPICS_WORD, ARCHIVER, record)]))
            run.event(children)
        return run.paths
