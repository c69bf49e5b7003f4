"""Detectors that are no area detectors, from a run in which everything is known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from psanacli.detector import AreaDetector
from psanacli.errors import NotFoundError, UsageError
from psanacli.run import Run, open_run, summarise
from psanacli.xtc import Container, Contribution, RunWriter, Source, epics_record
from psanacli.xtc.encode import encode
from tests.run.runs import ARCHIVER, BEAM, EPICS_WORD, MONITOR, NODE, TIMING, beam, scan

DIGITIZER = Source.parse("AmoETof.0:Acqiris.0")
TDC = Source.parse("AmoETof.0:AcqTDC.0")
IMP = Source.parse("CxiEndstation.0:Imp.0")
WAVE8 = Source.parse("MfxEndstation.0:Wave8.0")
USB = Source.parse("CxiEndstation.0:USDUSB.0")
ENCODER = Source.parse("SxrBeamline.0:Encoder.0")
SPECTROMETER = Source.parse("SxrEndstation.0:OceanOptics.0")
TIME_TOOL = Source.parse("XppEndstation.0:Opal1000.2")
SAMPLER = Source.parse("XcsEndstation.0:EpixSampler.0")
IDLE_CAMERA = Source.parse("XppEndstation.0:Opal1000.5")
OLD_RECEIVER = Source.parse("NoDetector.0:Evr.1")

INTERVAL, SAMPLES, SEGMENTS = 2e-9, 8, 2
RANGES, OFFSETS = (0.5, 2.0), (0.125, -0.25)
EVENTS = 3
FIDUCIALS = 16_947


def digitizer_config() -> bytes:
    vertical = [{"fullScale": full, "offset": offset} for full, offset in zip(RANGES, OFFSETS, strict=True)]
    horizontal = {"sampInterval": INTERVAL, "nbrSamples": SAMPLES, "nbrSegments": SEGMENTS}
    return encode(
        "Acqiris.ConfigV1", {"channelMask": 0b101, "horiz": horizontal, "vert": vertical + [{}] * (20 - len(vertical))}
    )


def stored(event: int, channel: int) -> np.ndarray[Any, Any]:
    samples = np.arange(SEGMENTS * SAMPLES).reshape(SEGMENTS, SAMPLES)
    return (64 * (samples + 20 * channel + 100 * event)).astype(np.int16)


def positions(event: int) -> list[float]:
    """Where the first sample of each segment is: within a sample in event 0, beyond in event 1, nowhere in event 2."""
    return [[0.4e-9, 0.6e-9], [2 * INTERVAL + 0.1e-9, -INTERVAL], [1.0, -1.0]][event]


def digitizer_data(event: int) -> bytes:
    elements = []
    for channel in range(2):
        first = 3 * channel
        elements.append(
            {
                "nbrSamplesInSeg": SAMPLES,
                "indexFirstPoint": first,
                "nbrSegments": SEGMENTS,
                "timestamp": [{"pos": position} for position in positions(event)],
                "_skip": np.full(first, -1),
                "waveforms": stored(event, channel),
                "_extraSpace": np.zeros(32 - first),
            }
        )
    return encode("Acqiris.DataDescV1", {"data": elements})


def thing(type_name: str, source: Source, **values: Any) -> Contribution:
    return Contribution(type_name, source, encode(type_name, values))


def configuration() -> list[Any]:
    generic = {"Length": [3, 2], "SampleType": [1, 4], "Offset": [-1, 4], "Period": [0.5, 0.25]}
    spectrum = {"waveLenCalib": [200, 0.5, 0, 0], "nonlinCorrect": [2, 0.001, 0, 0, 0, 0, 0, 0]}
    sampler = {"numberOfChannels": 2, "samplesPerChannel": 3, "adcClkHalfT": 5, "baseClockFrequency": 0x01}
    alias = {"pvId": 1, "description": "triple", "interval": 1}
    parts = [
        Contribution("Acqiris.ConfigV1", DIGITIZER, digitizer_config()),
        thing("Imp.ConfigV1", IMP, numberOfSamples=5, biasData=1000),
        thing("Generic1D.ConfigV0", WAVE8, NChannels=2, **generic),
        thing("UsdUsb.FexConfigV1", USB, offset=[1, 2, 3, 4], scale=[0.5, 1, 2, -1], name=["x", "y", "z", "phi"]),
        thing("OceanOptics.ConfigV2", SPECTROMETER, **spectrum),
        thing("TimeTool.ConfigV2", TIME_TOOL, base_name_length=8, base_name="XPP:TT"),
        thing("EvrData.ConfigV4", OLD_RECEIVER),
        thing("Opal1k.ConfigV1", IDLE_CAMERA),
        thing("EpixSampler.ConfigV1", SAMPLER, **sampler),
        Contribution(EPICS_WORD, ARCHIVER, epics_record(0, 0.0, name="XPP:TT:FLTPOS")),
        Contribution(EPICS_WORD, ARCHIVER, epics_record(1, [1, 2, 3], name="XPP:ARRAY")),
        thing("Epics.ConfigV1", ARCHIVER, numPv=1, getPvConfig=[alias]),
    ]
    return [Container(NODE, parts)]


def contents(event: int, fiducials: int, now: tuple[int, int]) -> list[Any]:
    fifo = [
        {"timestampHigh": fiducials - 3, "eventCode": 41},
        {"timestampHigh": fiducials, "eventCode": 140},
        {"timestampHigh": fiducials, "eventCode": 140},
    ]
    hits = np.array([5, 1 << 28 | 100, 0xA << 28 | 7, 3 << 28], "<u4")
    generic = np.array([1, 2, 3], "<u2").tobytes() + np.array([0.5, -0.5], "<f8").tobytes()
    samples = [{"channels": row} for row in np.arange(20).reshape(5, 4) + 990]
    parts = [
        thing("EvrData.DataV4", TIMING, numFifoEvents=3, fifoEvents=fifo),
        Contribution("Acqiris.DataDescV1", DIGITIZER, digitizer_data(event)),
        Contribution("Acqiris.TdcDataV1", TDC, hits.tobytes()),
        thing("Imp.ElementV1", IMP, samples=samples),
        thing("Generic1D.DataV0", WAVE8, data_size=len(generic), _int_data=list(generic)),
        thing("EpixSampler.ElementV1", SAMPLER, frame=[[1, 2, 3], [4, 5, 6]], temperatures=[0, 0]),
        thing("Ipimb.DataV2", MONITOR, channel0=65535, channel3=13107),
        thing("UsdUsb.DataV1", USB, _count=[10, 0xFFFFFF, 0x800000, 3]),
        thing("OceanOptics.DataV2", SPECTROMETER, data=np.arange(2048)),
        thing("Encoder.DataV2", ENCODER, encoder_count=[1, 0xFFFFFE, 7]),
        Contribution("Bld.BldDataEBeamV7", BEAM, beam(event)),
    ]
    if event == 1:
        tool = {"amplitude": 0.5, "position_pixel": 400, "position_time": -0.25, "position_fwhm": 30}
        parts += [
            thing("Lusi.IpmFexV1", MONITOR, sum=10, channel=[1, 2, 3, 4], xpos=-0.5, ypos=0.25),
            thing("UsdUsb.FexDataV1", USB, encoder_values=[9, 8, 7, 6]),
            thing("Encoder.DataV1", ENCODER, encoder_count=5),
            thing("TimeTool.DataV2", TIME_TOOL, **tool),
        ]
    if event == 2:
        record = epics_record(0, 512.5, seconds=now[0], nanoseconds=now[1])
        parts.append(Contribution(EPICS_WORD, ARCHIVER, record))
    return [Container(NODE, parts)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    directory = tmp_path_factory.mktemp("small")
    with RunWriter(directory, "e301", 1, first_fiducial=FIDUCIALS) as writer:
        writer.configure(configuration())
        writer.begin_step([scan(1.5)])
        for event in range(EVENTS):
            writer.event(contents(event, FIDUCIALS + 3 * event, writer.now))
    with open_run(directory) as run:
        yield run


def volts(event: int, channel: int) -> np.ndarray[Any, Any]:
    return stored(event, channel) * (RANGES[channel] / 65536) - OFFSETS[channel]


def test_waveforms_are_in_volts_and_seconds(run: Run) -> None:
    detector = run.detector("AmoETof.0:Acqiris.0")
    event = run.events[0]
    assert (detector.raw(event) == [stored(0, 0), stored(0, 1)]).all()
    found = detector(event)
    assert found.values.shape == found.times.shape == (2, SEGMENTS * SAMPLES)
    for channel in range(2):
        assert (found.values[channel] == volts(0, channel).ravel()).all()
        for segment, position in enumerate(positions(0)):
            mine = slice(segment * SAMPLES, (segment + 1) * SAMPLES)
            assert np.allclose(found.times[channel, mine], np.arange(SAMPLES) * INTERVAL + position, rtol=1e-15)
    assert (detector.waveform(event) == found.values).all() and (detector.times(event) == found.times).all()


def test_a_segment_is_shifted_by_whole_samples(run: Run) -> None:
    """The first segment of event 1 begins two samples later, the second one earlier, and hides the end of the first."""
    detector = run.detector("AmoETof.0:Acqiris.0")
    aligned = detector.waveforms(run.events[1])
    row = aligned.values[0]
    assert (row[:2] == 0).all() and (aligned.times[0, :2] == 0).all()
    assert (row[2 : SAMPLES - 1] == volts(1, 0)[0, : SAMPLES - 3]).all()
    assert (row[SAMPLES - 1 : 2 * SAMPLES - 1] == volts(1, 0)[1]).all() and row[-1] == 0
    as_stored = detector.waveforms(run.events[1], aligned=False)
    assert (as_stored.values[1] == volts(1, 1).ravel()).all()
    assert as_stored.times[0, 0] == positions(1)[0]


def test_a_segment_beyond_the_record_is_left_out(run: Run) -> None:
    detector = run.detector("AmoETof.0:Acqiris.0")
    assert not detector.waveform(run.events[2]).any() and not detector.times(run.events[2]).any()
    assert (detector.waveform(run.events[2], aligned=False)[0] == volts(2, 0).ravel()).all()


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("max_bytes", [1, 1 << 20])
def test_blocks_have_the_waveforms_of_their_events(run: Run, aligned: bool, max_bytes: int) -> None:
    detector = run.detector("AmoETof.0:Acqiris.0")
    seen = []
    for block in detector.blocks(aligned=aligned, max_bytes=max_bytes):
        assert len(block) == len(block.events) == (1 if max_bytes == 1 else EVENTS)
        for event, values, times in zip(block.events, block.values, block.times, strict=True):
            single = detector.waveforms(event, aligned=aligned)
            assert np.array_equal(single.values, values) and np.array_equal(single.times, times)
            seen.append(event.index)
    assert seen == [0, 1, 2]
    assert [event.index for block in detector.blocks(events=slice(1, 3)) for event in block.events] == [1, 2]


def test_imp(run: Run) -> None:
    detector, event = run.detector("Imp"), run.events[0]
    samples = (np.arange(20).reshape(5, 4) + 990).T
    assert detector.raw(event).dtype == np.uint16 and (detector(event) == samples).all()
    biased = detector.waveform(event, bias=True)
    assert biased.dtype == np.int32 and (biased == samples - 1000).all()
    assert detector.times(event).tolist() == [0, 1, 2, 3, 4]


def test_channels_of_different_length_and_type(run: Run) -> None:
    detector, event = run.detector("Wave8"), run.events[0]
    first, second = detector(event)
    assert (first.dtype, first.tolist()) == (np.uint16, [1, 2, 3])
    assert (second.dtype, second.tolist()) == (np.float64, [0.5, -0.5])
    assert [times.tolist() for times in detector.times(event)] == [[-0.5, 0.0, 0.5], [1.0, 1.25]]


def test_sampler(run: Run) -> None:
    detector, event = run.detector("EpixSampler"), run.events[0]
    interval = detector.config().sampleInterval_sec
    assert interval > 0
    assert detector(event).tolist() == [[1, 2, 3], [4, 5, 6]] == detector.waveform(event).tolist()
    assert detector.times(event).tolist() == [0, interval, 2 * interval]


def test_tdc(run: Run) -> None:
    detector = run.detector("AcqTDC")
    times, overflows = detector.times(run.events[0]), detector.overflows(run.events[0])
    assert [hits.tolist() for hits in times] == [[100 * 50e-12], [], [0.0], [], [], []]
    assert [hits.tolist() for hits in overflows] == [[], [7 * 50e-12], [], [], [], []]


def test_ipimb(run: Run) -> None:
    detector = run.detector("XppSb2Ipm.1:Ipimb.0")
    before, event = run.events[0], run.events[1]
    assert (detector.sum(event), detector.xpos(event), detector.ypos(event)) == (10, -0.5, 0.25)
    assert detector.channel(event).tolist() == [1, 2, 3, 4]
    assert detector.get(event).xtc_type.name == "Lusi.IpmFexV1"
    assert detector.get(before) is None and detector.sum(before) is None and detector.channel(before) is None
    assert np.allclose(detector.volts(before), [5, 0, 0, 1], rtol=1e-6)
    assert detector.get(before, "Ipimb.Data").channel0 == 65535
    assert detector.diode(event) is None
    with pytest.raises(UsageError, match=r"no objects of type 'Ipmib\.Data'") as error:
        detector.get(event, "Ipmib.Data")
    assert "Ipimb.DataV2" in error.value.hint


def test_encoders(run: Run) -> None:
    box = run.detector("USDUSB")
    assert box.counts(run.events[0]).tolist() == [10, -1, -(1 << 23), 3]
    assert box.encoders(run.events[0]).tolist() == [5.5, 1.0, 2.0 * (3 - (1 << 23)), -7.0]
    assert box(run.events[1]).tolist() == [9, 8, 7, 6]
    assert box.descriptions() == ["x", "y", "z", "phi"]
    encoder = run.detector("SxrBeamline.0:Encoder.0")
    assert encoder.counts(run.events[0]).tolist() == [1, -2, 7]
    assert encoder.counts(run.events[1]).tolist() == [1, -2, 7]  # the newer version
    assert encoder.get(run.events[1], "Encoder.DataV1").encoder_count == 5
    assert encoder.encoders(run.events[0]).dtype == np.float64


def test_spectrometer(run: Run) -> None:
    detector, event = run.detector("OceanOptics"), run.events[0]
    counts = np.arange(2048)
    assert (detector.raw(event) == counts).all()
    assert np.allclose(detector.intensity(event), counts / (2 + 0.001 * counts), rtol=1e-15)
    assert (detector.wavelength() == 200 + 0.5 * counts).all() and (
        detector.wavelength(event) == detector.wavelength()
    ).all()


def test_event_codes_of_a_receiver(run: Run) -> None:
    detector, event = run.detector("NoDetector.0:Evr.0"), run.events[1]
    assert detector(event) == (140, 140)
    assert detector.codes(event, this_event=False) == (41, 140, 140)


def test_time_tool(run: Run) -> None:
    """Its results are an object of event 1, and EPICS variables by the name that the configuration gives."""
    detector = run.detector("XppEndstation.0:Opal1000.2/TimeTool.DataV2")
    assert detector.fex(run.events[1]) == {
        "amplitude": 0.5,
        "position_pixel": 400,
        "position_time": -0.25,
        "position_fwhm": 30,
        "nxt_amplitude": 0,
        "ref_amplitude": 0,
    }
    assert detector.base_name() == "XPP:TT"
    assert detector.fex(run.events[2]) == detector.by_epics(run.events[2]) == {"position_pixel": 512.5}


def test_a_time_tool_by_the_name_of_its_variables(run: Run) -> None:
    detector = run.detector("XPP:TT")
    assert detector(run.events[0]) == {"position_pixel": 0.0}
    assert detector.fex(run.events[2]) == {"position_pixel": 512.5}
    assert detector.present.all()
    listed = [entry.name for entry in summarise(run).detectors if not entry.types]
    assert listed == ["ControlData", "XPP:TT"]


def test_beam_line_data(run: Run) -> None:
    detector, event = run.detector("EBeam"), run.events[2]
    assert detector(event).ebeamPhotonEnergy == 9502
    assert detector.values(event)["ebeamCharge"] == 0.5
    assert detector.config() is None


def test_epics_by_name_and_alias(run: Run) -> None:
    position = run.detector("XPP:TT:FLTPOS")
    assert (position(run.events[0]), position(run.events[2]), position()) == (0.0, 512.5, 512.5)
    assert position.at(run.events[2]).severity == "NO_ALARM"
    triple = run.detector("triple")
    assert triple.name == "XPP:ARRAY" and triple(run.events[0]).tolist() == [1, 2, 3]


def test_the_scan(run: Run) -> None:
    for name in ("ControlData", "ScanData"):
        detector = run.detector(name)
        assert detector(run.events[0]).pvControls[0].value == 1.5
        assert detector.values(run.events[0]) == {"XPP:LAS:DELAY": 1.5}
        assert detector.labels(run.events[0]) == {"sample": "no 1.5"}


def test_a_source_with_configuration_only(run: Run) -> None:
    detector = run.detector("NoDetector.0:Evr.1")
    assert detector(run.events[0]) is None and detector.get(run.events[0]) is None
    assert detector.config().xtc_type.name == "EvrData.ConfigV4"


def test_a_camera_with_configuration_only(run: Run) -> None:
    camera = run.detector("Opal1000.5")
    assert isinstance(camera, AreaDetector)
    assert camera.raw(run.events[0]) is None and camera.calib(run.events[0]) is None and camera.shape == ()


def test_an_event_without_data_gives_none(run: Run) -> None:
    detector = run.detector("XppEndstation.0:Opal1000.2/TimeTool.DataV2")
    assert detector.get(run.events[0]) is None and detector.values(run.events[0]) is None


def test_a_name_of_nothing(run: Run) -> None:
    with pytest.raises(NotFoundError, match="'XPP:TT:FLTPOSS'") as error:
        run.detector("XPP:TT:FLTPOSS")
    assert "XPP:TT:FLTPOS" in error.value.hint
    with pytest.raises(UsageError, match="is empty"):
        run.detector(" ")
