"""Columns: many objects at once are what each of them is alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xtc.interpreter import plain

from psanacli.errors import DataError, NotFoundError
from psanacli.xtc import bind, decode, named, type_names
from psanacli.xtc.catalogue import Field, Method
from psanacli.xtc.encode import encode

LARGE = 100_000
SKIPPED = ("Epics.EpicsPvCtrlHeader", "Epics.EpicsPvTimeHeader")  # never stand alone
FIXED = [
    name
    for name in type_names()
    if named(name).size is not None
    and named(name).size < LARGE
    and not named(name).config_types
    and name not in SKIPPED
]
COUNT = 5


def objects(layout, seed=1):
    """Return random objects as an array, and as payloads with gaps between them: buffer, starts, sizes."""
    size = layout.size
    raw = np.random.default_rng(seed).integers(0, 256, (COUNT, size), dtype=np.uint8)
    buffer = np.full((COUNT, size + 7), 0xA5, np.uint8)
    buffer[:, 3 : size + 3] = raw
    starts = np.arange(COUNT) * (size + 7) + 3
    return raw.reshape(-1).view(layout.dtype), buffer.tobytes(), starts, np.full(COUNT, size + 2)


def scalars_inside(xtc_type, prefix=""):
    """Yield the paths of all accessors that are no objects."""
    for name in xtc_type.accessors:
        member = xtc_type.members[name]
        if isinstance(member, Field) and member.nested:
            yield from scalars_inside(named(member.type), f"{prefix}{name}.")
        elif not (isinstance(member, Method) and "." in member.type):
            yield f"{prefix}{name}"


def value_of(record, path):
    name, _, rest = path.partition(".")
    if not rest:
        return record.values_of(name)
    inner = getattr(record, name)
    return (
        value_of(inner, rest)
        if hasattr(inner, "asdict") and not hasattr(inner, "column")
        else [value_of(x, rest) for x in inner]
    )


def as_python(column):
    if column.dtype.kind == "S":
        return np.char.decode(column, "latin-1").tolist()
    return plain(column)


@pytest.mark.parametrize("name", [name for name in FIXED if named(name).size])
def test_every_accessor_of_a_fixed_type(name):
    layout = bind(named(name))
    array, buffer, starts, sizes = objects(layout)
    batch = layout.batch(buffer, starts, sizes)
    records = [decode(named(name), array[i : i + 1].tobytes()) for i in range(COUNT)]
    for path in scalars_inside(named(name)):
        try:
            expected = [plain(value_of(record, path)) for record in records]
        except DataError:
            with pytest.raises(DataError):
                layout.column(array, path)
            continue
        assert as_python(layout.column(array, path)) == expected, path
        column = batch.column(path)
        assert as_python(column) == expected, path
        last = named(name).members[path] if "." not in path else None
        if last is not None and last.type not in ("char", "string"):
            assert column.dtype == np.dtype("<" + last.type), path


def frames(*shapes, depth=12):
    rng = np.random.default_rng(4)
    payloads = []
    for height, width in shapes:
        pixels = rng.integers(0, 256, height * width * ((depth + 7) // 8))
        values = {"width": width, "height": height, "depth": depth, "offset": 32, "_int_pixel_data": pixels}
        payloads.append(encode("Camera.FrameV1", values))
    return payloads


def batch_of(xtc_type, payloads, config=None):
    """Return a batch of payloads with gaps between them, and the records."""
    buffer = b"gap".join([b"", *payloads, b""])
    sizes = np.array([len(payload) for payload in payloads], np.int64)
    starts = 3 * np.arange(1, len(sizes) + 1) + np.cumsum(sizes) - sizes
    records = [decode(xtc_type, payload, config) for payload in payloads]
    return bind(xtc_type, config).batch(buffer, starts, sizes), records


def test_images_of_one_shape_are_gathered_into_the_callers_array():
    batch, records = batch_of(named("Camera.FrameV1"), frames((4, 6), (4, 6), (4, 6)))
    out = np.zeros((3, 4, 6), "<u2")
    assert batch.column("data16", out) is out
    assert np.array_equal(out, [record.data16 for record in records])
    assert batch.column("data8").shape == (3, 0, 0)
    assert batch.column("width").tolist() == [6, 6, 6]
    with pytest.raises(ValueError, match="the output has to be"):
        batch.column("data16", np.zeros((3, 6, 4), "<u2"))


def test_images_of_different_height_are_ragged():
    batch, records = batch_of(named("Camera.FrameV1"), frames((4, 6), (1, 6), (3, 6), depth=8))
    lengths, rows = batch.ragged("data8")
    assert lengths.tolist() == [4, 1, 3]
    assert np.array_equal(rows, np.concatenate([record.data8 for record in records]))
    assert batch.shapes("data8").tolist() == [[4, 6], [1, 6], [3, 6]]
    with pytest.raises(DataError, match=r"the shape of data8 changes from \(4, 6\) to \(1, 6\)"):
        batch.column("data8")


def test_images_of_different_width_have_no_common_form():
    batch, _ = batch_of(named("Camera.FrameV1"), frames((4, 6), (4, 5)))
    with pytest.raises(DataError, match="the shape of data16 changes"):
        batch.ragged("data16")
    assert batch.shapes("data16").tolist() == [[4, 6], [4, 5]]


def evr(*codes):
    events = [{"timestampHigh": code + 1, "timestampLow": code + 2, "eventCode": code} for code in codes]
    return encode("EvrData.DataV4", {"numFifoEvents": len(codes), "fifoEvents": events})


def test_lists_of_records_are_ragged():
    batch, records = batch_of(named("EvrData.DataV4"), [evr(140, 41), evr(), evr(7), evr(1, 2, 3)])
    lengths, codes = batch.ragged("fifoEvents.eventCode")
    assert lengths.tolist() == [2, 0, 1, 3]
    assert codes.tolist() == [140, 41, 7, 1, 2, 3]
    assert codes.dtype == np.dtype("<u4")
    lengths, whole = batch.ragged("fifoEvents")
    assert whole["timestampHigh"].tolist() == [141, 42, 8, 2, 3, 4]
    assert batch.counts("fifoEvents").tolist() == [2, 0, 1, 3]
    assert batch.column("numFifoEvents").tolist() == [2, 0, 1, 3]
    assert [batch[row].asdict() for row in range(4)] == [record.asdict() for record in records]
    assert batch.column("present(41)").tolist() == [1, 0, 0, 0]


@given(st.lists(st.lists(st.integers(0, 255), max_size=6), max_size=8))
@settings(max_examples=50, deadline=None)
def test_any_lists_of_event_codes(lists):
    batch, _ = batch_of(named("EvrData.DataV3"), [evr(*codes) for codes in lists])
    lengths, codes = batch.ragged("fifoEvents.eventCode")
    assert lengths.tolist() == [len(codes) for codes in lists]
    assert codes.tolist() == [code for codes in lists for code in codes]


def cspad(quads, rois):
    """Return configuration and payloads of a CSPAD with some sections, quadrants in the order given."""
    masks = sum(mask << 8 * quad for quad, mask in rois.items())
    quad_mask = sum(1 << quad for quad in rois)
    config = decode(
        named("CsPad.ConfigV5"), encode("CsPad.ConfigV5", {"roiMasks": masks, "quadMask": quad_mask, "asicMask": 15})
    )
    rng = np.random.default_rng(5)
    payloads, images = [], []
    for order in quads:
        payload = b""
        for quad in order:
            data = rng.integers(0, 1 << 14, (rois[quad].bit_count(), 185, 388)).astype("<i2")
            head = np.array([3, quad << 24 | 77, 1, 2, 3, 4, 5, 6], "<u4")
            payload += head.tobytes() + data.tobytes() + bytes(4)
            images.append(data)
        payloads.append(payload)
    return config, payloads, images


def test_quadrants_with_a_region_of_interest():
    rois = {0: 0b1, 1: 0b101001, 3: 0b11}
    config, payloads, images = cspad([(3, 0, 1), (0, 1, 3)], rois)
    batch, records = batch_of(named("CsPad.DataV2"), payloads, config)
    lengths, sections = batch.ragged("quads.data")
    assert lengths.tolist() == [6, 6]
    assert np.array_equal(sections, np.concatenate(images))
    assert batch.column("quads.quad").tolist() == [[3, 0, 1], [0, 1, 3]]
    assert batch.column("quads.sectionMask").tolist() == [[rois[q] for q in (3, 0, 1)], [rois[q] for q in (0, 1, 3)]]
    assert [quad.quad for quad in records[0].quads] == [3, 0, 1]
    assert np.array_equal(records[1].quads[1].data, images[4])
    with pytest.raises(DataError, match="the shape of data changes"):
        batch.column("quads.data")


def test_a_full_cspad_is_one_array():
    rois = dict.fromkeys(range(4), 0xFF)
    config, payloads, images = cspad([(0, 1, 2, 3), (2, 3, 1, 0)], rois)
    batch, _ = batch_of(named("CsPad.DataV2"), payloads, config)
    out = np.empty((2, 4, 8, 185, 388), "<i2")
    assert batch.column("quads.data", out) is out
    assert np.array_equal(out.reshape(-1, 8, 185, 388), images)
    lengths, sections = batch.ragged("quads.data")
    assert lengths.tolist() == [32, 32]
    assert np.array_equal(sections, np.concatenate(images))


def acqiris(first_points, samples=7, segments=2):
    values = {
        "channelMask": (1 << len(first_points[0])) - 1,
        "horiz": {"nbrSamples": samples, "nbrSegments": segments},
    }
    config = decode(named("Acqiris.ConfigV1"), encode("Acqiris.ConfigV1", values))
    rng = np.random.default_rng(6)
    payloads, waves = [], []
    for firsts in first_points:
        payload = b""
        for first in firsts:
            wave = rng.integers(-500, 500, (segments, samples)).astype("<i2")
            head = np.zeros(16, "<u4")
            head[1] = first
            stamps = rng.integers(0, 99, 4 * segments).astype("<u4")
            payload += (
                head.tobytes() + stamps.tobytes() + bytes(2 * first) + wave.tobytes() + bytes(max(0, 2 * (32 - first)))
            )
            waves.append(wave)
        payloads.append(payload)
    return config, payloads, waves


def test_waveforms_begin_where_each_channel_says():
    config, payloads, waves = acqiris([(0, 3, 31), (5, 32, 1)])
    batch, records = batch_of(named("Acqiris.DataDescV1"), payloads, config)
    assert np.array_equal(batch.column("data.waveforms").reshape(-1, 2, 7), waves)
    assert batch.column("data.indexFirstPoint").tolist() == [[0, 3, 31], [5, 32, 1]]
    stamps = batch.column("data.timestamp.value")
    assert stamps.shape == (2, 3, 2)
    assert stamps[1, 2].tolist() == records[1].data[2].timestamp.column("value").tolist()


def test_some_objects_of_a_batch_in_another_order():
    config, payloads, waves = acqiris([(0, 3, 31), (5, 32, 1), (7, 0, 2)])
    batch, _ = batch_of(named("Acqiris.DataDescV1"), payloads, config)
    some, channels = batch.take(np.array([2, 0])), batch.elements("data").take(slice(4, None))
    assert np.array_equal(some.column("data.waveforms").reshape(-1, 2, 7), waves[6:] + waves[:3])
    assert np.array_equal(channels.column("waveforms"), waves[4:])
    assert channels.column("indexFirstPoint").tolist() == [32, 1, 7, 0, 2]
    fixed, _ = batch_of(named("Bld.BldDataPhaseCavity"), [bytes([row] * 32) for row in range(4)])
    assert fixed.take(slice(1, 3)).column("fitTime1").tobytes() == bytes([1] * 8 + [2] * 8)


def test_a_channel_that_begins_too_late():
    config, payloads, _ = acqiris([(33,)])
    with pytest.raises(DataError, match=r"Acqiris.DataDescV1: the size of data"):
        decode(named("Acqiris.DataDescV1"), payloads[0] + bytes(1000), config)


def test_channels_of_different_types_in_one_block_of_bytes():
    values = {"NChannels": 3, "Length": [4, 3, 2], "SampleType": [0, 1, 4], "Offset": [0, 0, 0], "Period": [1, 1, 1]}
    config = decode(named("Generic1D.ConfigV0"), encode("Generic1D.ConfigV0", values))
    raw = bytes(range(4)) + np.array([500, 600, 700], "<u2").tobytes() + np.array([0.5, -2.0], "<f8").tobytes()
    payload = encode("Generic1D.DataV0", {"data_size": len(raw), "_int_data": list(raw)})
    batch, records = batch_of(named("Generic1D.DataV0"), [payload, payload], config)
    assert batch.column("data_u8(0)").tolist() == [[0, 1, 2, 3]] * 2
    assert batch.column("data_u16(1)").tolist() == [[500, 600, 700]] * 2
    assert batch.column("data_f64(2)").tolist() == [[0.5, -2.0]] * 2
    assert batch.column("data_f64(1)").shape == (2, 0)
    assert records[0].data_u16(0) is None


def test_which_payloads_fit():
    good = frames((4, 6))[0]
    buffer = good + good[:-8]
    starts, sizes = np.array([0, len(good)]), np.array([len(good), len(good) - 8])
    layout = bind(named("Camera.FrameV1"))
    assert layout.fits(buffer, starts, sizes).tolist() == [True, False]
    with pytest.raises(DataError, match=r"Camera.FrameV1: needs 64 bytes up to _int_pixel_data, the payload has 56"):
        layout.batch(buffer, starts, sizes)
    with pytest.raises(DataError, match="outside of the buffer"):
        layout.batch(buffer, np.array([len(buffer)]), np.array([1]))


def test_a_name_that_is_not_there():
    layout = bind(named("Bld.BldDataEBeamV7"))
    with pytest.raises(NotFoundError, match="did you mean ebeamCharge"):
        layout.column(np.zeros(1, layout.dtype), "ebeamcharg")
    with pytest.raises(NotFoundError, match="is not an object"):
        layout.column(np.zeros(1, layout.dtype), "ebeamCharge.x")


@given(st.binary(max_size=400), st.integers(0, 3))
@settings(max_examples=300, deadline=None)
def test_batches_agree_with_records_on_any_bytes(data, which):
    name = ("EvrData.DataV3", "Camera.FrameV1", "EvrData.ConfigV7", "TimeTool.ConfigV2")[which]
    xtc_type = named(name)
    layout = bind(xtc_type)
    starts = np.arange(0, len(data) + 1, 5)
    sizes = len(data) - starts
    fits = layout.fits(data, starts, sizes)
    for start, fit in zip(starts.tolist(), fits.tolist(), strict=True):
        try:
            decode(xtc_type, data[start:])
        except DataError:
            assert not fit
        else:
            assert fit
    batch = layout.batch(data, starts[fits], sizes[fits])
    assert len(batch) == fits.sum()
