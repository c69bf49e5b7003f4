"""The types that need code, against the words of the format."""

import numpy as np
import pytest

from psanacli.errors import DataError
from psanacli.xtc import (
    config_inside,
    decode,
    full_frame,
    named,
    quads_in_order,
    split_parts,
    split_payload,
    tdc_items,
    timepix_v2,
)
from psanacli.xtc.encode import encode

RANDOM = np.random.default_rng(7)


def test_items_of_a_tdc():
    words = [4 | 0 << 28, 1000 | 3 << 28, 16 | 7 << 28 | 1 << 31, 2000 | 6 << 28 | 1 << 31]
    data = decode(named("Acqiris.TdcDataV1"), np.array(words, "<u4").tobytes())
    assert len(data.data) == 4
    common, third, marker, sixth = tdc_items(data)
    assert (common.nhits, common.overflow) == (4, 0)
    assert (third.ticks, third.source) == (1000, 3)
    assert third.time == pytest.approx(50e-9)
    assert marker.xtc_type.enum_of("type").name_of(marker.type) == "AuxIOMarker"
    assert (sixth.ticks, sixth.overflow) == (2000, 1)


def test_a_full_pnccd_frame():
    config = decode(named("PNCCD.ConfigV1"), encode("PNCCD.ConfigV1", {"numLinks": 4, "payloadSizePerLink": 524304}))
    links = RANDOM.integers(0, 1 << 14, (4, 512, 512)).astype("<u2")
    heads = np.array([[9, 8, 2, 50], [0, 0, 2, 40], [0, 0, 3, 1], [0, 0, 2, 60]], "<u4")
    payload = b"".join(head.tobytes() + link.tobytes() for head, link in zip(heads, links, strict=True))
    frame = full_frame(decode(named("PNCCD.FramesV1"), payload, config))
    assert frame.xtc_type.name == "PNCCD.FullFrameV1"
    assert (frame.specialWord, frame.frameNumber, frame.timeStampHi, frame.timeStampLo) == (9, 8, 2, 40)
    for row in (0, 100, 511):
        assert np.array_equal(frame.data[row], np.concatenate([links[0, row], links[3, row]]))
        lower = np.concatenate([links[1, 511 - row, ::-1], links[2, 511 - row, ::-1]])
        assert np.array_equal(frame.data[512 + row], lower)


def test_a_pnccd_with_other_than_four_links():
    config = decode(named("PNCCD.ConfigV1"), encode("PNCCD.ConfigV1", {"numLinks": 1, "payloadSizePerLink": 524304}))
    with pytest.raises(DataError, match=r"needs 4 links, PNCCD.FramesV1 has 1"):
        full_frame(decode(named("PNCCD.FramesV1"), bytes(524304), config))


def test_timepix_pixels_are_rearranged():
    stored = RANDOM.integers(0, 11810, (512, 512)).astype("<u2")
    head = np.zeros(8, "u1")
    head[:4].view("<u4")[0], head[4:].view("<u2")[:] = 77, (5, 6)
    image = timepix_v2(decode(named("Timepix.DataV1"), head.tobytes() + stored.tobytes()))
    assert (image.width, image.height, image.timestamp, image.frameCounter, image.lostRows) == (512, 512, 77, 5, 6)
    expected = np.zeros((512, 512), "<u2")
    source = stored.reshape(1024, 256)
    places = (
        lambda iy, ix: (iy, 511 - ix),
        lambda iy, ix: (iy - 256, 255 - ix),
        lambda iy, ix: (1023 - iy, ix),
        lambda iy, ix: (1279 - iy, ix + 256),
    )
    for iy in range(1024):
        for ix in range(256):
            x, y = places[iy // 256](iy, ix)
            expected[y, x] = source[iy, ix]
    assert np.array_equal(image.data, expected)


def test_shared_beam_line_data_is_taken_apart():
    parts = [(part.name, part.xtc_type.name) for part in split_parts(named("Bld.BldDataIpimbV1"))]
    assert parts == [
        ("ipimbData", "Ipimb.DataV2"),
        ("ipimbConfig", "Ipimb.ConfigV2"),
        ("ipmFexData", "Lusi.IpmFexV1"),
    ]
    assert split_parts(named("Bld.BldDataEBeamV7")) == ()
    payload = RANDOM.integers(0, 256, 120, dtype=np.uint8).tobytes()
    whole = decode(named("Bld.BldDataIpimbV1"), payload)
    pieces = [decode(xtc_type, piece) for xtc_type, piece in split_payload(whole.xtc_type, payload)]
    assert bytes(pieces[0]) == bytes(whole.ipimbData)
    assert bytes(pieces[1]) == bytes(whole.ipimbConfig)
    assert bytes(pieces[2]) == bytes(whole.ipmFexData)
    with pytest.raises(DataError):
        split_payload(whole.xtc_type, payload[:-1])


def test_a_shared_camera_ends_with_its_frame():
    frame = encode("Camera.FrameV1", {"width": 3, "height": 2, "depth": 8, "_int_pixel_data": range(6)})
    pieces = split_payload(named("Bld.BldDataPimV1"), bytes(20) + frame)
    assert [xtc_type.name for xtc_type, _ in pieces][2] == "Camera.FrameV1"
    assert decode(*pieces[2]).data8.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_digitizer_that_carries_its_configuration():
    config = encode("Acqiris.ConfigV1", {"channelMask": 1, "horiz": {"nbrSamples": 3, "nbrSegments": 1}})
    data = bytes(64 + 16) + np.array([7, -8, 9], "<i2").tobytes() + bytes(64) + bytes(2)
    shared = named("Bld.BldDataAcqADCV1")
    record = decode(shared, config + data)
    assert record.data.data[0].waveforms.tolist() == [[7, -8, 9]]
    assert config_inside(shared, config + data).nbrChannels == 1
    assert config_inside(named("Acqiris.ConfigV1"), config) is None


def test_quadrants_by_number():
    config = decode(named("CsPad.ConfigV5"), encode("CsPad.ConfigV5", {"roiMasks": 0, "quadMask": 7}))
    payload = b"".join(np.array([0, quad << 24, 0, 0, 0, 0, 0, 0, 0], "<u4").tobytes() for quad in (2, 0, 1))
    data = decode(named("CsPad.DataV2"), payload, config)
    assert [quad.quad for quad in data.quads] == [2, 0, 1]
    assert [quad.quad for quad in quads_in_order(data)] == [0, 1, 2]


@pytest.mark.parametrize(("stored", "value"), [(5, 5), (0xFFFFFF, -1), (0x800000, -0x800000), (0xFF000001, 1)])
def test_encoders_count_in_24_bits(stored, value):
    record = decode(named("Encoder.DataV1"), np.array([0, stored], "<u4").tobytes())
    assert record.value == value
    counts = decode(named("UsdUsb.DataV1"), encode("UsdUsb.DataV1", {"_count": [0, stored, 0, 0]}))
    assert counts.encoder_count.tolist() == [0, value, 0, 0]


def test_a_duration_that_the_original_gets_wrong():
    """Unsigned 64-bit differences: the nanoseconds fall, and the duration is 2**64 ns too long."""
    times = {"timeFrameStart": {"tv_sec": 10, "tv_nsec": 900}, "timeFrameEnd": {"tv_sec": 11, "tv_nsec": 100}}
    record = decode(named("OceanOptics.DataV3"), encode("OceanOptics.DataV3", times))
    assert record.durationOfFrame == 1 + (2**64 - 800) * 1e-9
