"""Decoding, against a plain interpreter of the catalogue, on random bytes."""

import numpy as np
import pytest
from xtc.interpreter import Corrupt, Object, plain

from psanacli.errors import DataError, NotFoundError, UsageError
from psanacli.xtc import Record, bind, decode, named, type_names

LARGE = 100_000
HUGE = 1_000_000  # these are in the reference data
HEADERS = ("Epics.EpicsPvCtrlHeader", "Epics.EpicsPvTimeHeader")  # never stand alone
FREE = [named(name) for name in type_names() if not named(name).config_types and name not in HEADERS]
FIXED = [xtc_type.name for xtc_type in FREE if xtc_type.size is not None and xtc_type.size < HUGE]
VARIABLE = [xtc_type.name for xtc_type in FREE if xtc_type.size is None]
CONFIGURED = [
    (name, config) for name in type_names() for config in named(name).config_types if named(name).size is None
]
TOO_LARGE = ("CsPad.DataV1", "CsPad.ElementV1", "Epix.ArrayV1")  # for 40 kB


def random_bytes(rng, size, small):
    """Return bytes of which most are zero or small where `small`, so that counts stay possible."""
    data = rng.integers(0, 256, size, dtype=np.uint8)
    if small:
        words = np.zeros(-(-size // 4), "<u4")
        words[:] = rng.integers(0, 5, len(words))
        data = np.frombuffer(words.tobytes()[:size], np.uint8)
    return data.tobytes()


def same(record, reference):
    for name in record.xtc_type.accessors:
        try:
            expected = plain(reference.all_values(name))
        except Corrupt:
            with pytest.raises(DataError):
                plain(record.values_of(name))
            continue
        assert plain(record.values_of(name)) == expected, f"{record.xtc_type.name}.{name}"


@pytest.mark.parametrize("name", FIXED)
def test_every_accessor_of_a_fixed_type(name):
    xtc_type = named(name)
    rng = np.random.default_rng(1)
    for small in (False, True) if xtc_type.size < LARGE else (False,):
        data = random_bytes(rng, xtc_type.size + 3, small)
        same(decode(xtc_type, data), Object(xtc_type, data))


@pytest.mark.parametrize("name", VARIABLE)
def test_every_accessor_of_a_variable_type(name):
    xtc_type = named(name)
    rng = np.random.default_rng(2)
    whole = 0
    for trial in range(40):
        size = int(rng.integers(0, 3000))
        data = random_bytes(rng, size, trial % 4 > 0)
        if trial % 4 == 3 and size > 600:
            data = data[:100] + random_bytes(rng, size - 100, False)
        try:
            reference = Object(xtc_type, data)
        except Corrupt:
            with pytest.raises(DataError, match=name):
                decode(xtc_type, data)
            continue
        same(decode(xtc_type, data), reference)
        whole += 1
    assert whole >= 2


@pytest.mark.parametrize(("name", "config_name"), CONFIGURED)
def test_every_accessor_of_a_configured_type(name, config_name):
    xtc_type, config_type = named(name), named(config_name)
    rng = np.random.default_rng(3)
    whole = 0
    for _ in range(12):
        raw = random_bytes(rng, config_type.size or 3000, True)
        try:
            config = decode(config_type, raw)
            config_reference = Object(config_type, raw)
        except DataError:
            continue
        if config_name.startswith("PNCCD.") and config.payloadSizePerLink < 16:
            continue
        data = random_bytes(rng, 40_000, True)
        try:
            reference = Object(xtc_type, data, 0, config_reference)
        except Corrupt:
            with pytest.raises(DataError):
                decode(xtc_type, data, config)
            continue
        same(decode(xtc_type, data, config), reference)
        whole += 1
    assert whole or name in TOO_LARGE or name.startswith("PNCCD.")


def test_text_ends_at_nul_and_is_latin1():
    value = np.zeros(1, bind(named("Alias.SrcAlias")).dtype)
    value["aliasName"] = b"caf\xe9\0rest"
    assert decode(named("Alias.SrcAlias"), value.tobytes()).aliasName == "café"


def test_arrays_are_read_only_views():
    xtc_type = named("Timepix.DataV1")
    buffer = np.zeros(xtc_type.size + 10, np.uint8)
    record = decode(xtc_type, buffer)
    assert np.shares_memory(record.data, buffer)
    with pytest.raises(ValueError, match="read-only"):
        record.data[0, 0] = 1
    buffer[8] = 7
    assert record.data[0, 0] == 7


def test_too_short_says_what_was_expected_and_found():
    with pytest.raises(DataError, match=r"Bld.BldDataEBeamV7: needs 164 bytes, the payload has 163"):
        decode(named("Bld.BldDataEBeamV7"), bytes(163))
    frame = np.array([60000, 8, 12, 0], "<u4").tobytes() + bytes(176)
    with pytest.raises(
        DataError, match=r"Camera.FrameV1: needs 960016 bytes up to _int_pixel_data, the payload has 192"
    ):
        decode(named("Camera.FrameV1"), frame)
    frame = np.array([2**32 - 1, 2**32 - 1, 2**32 - 1, 0], "<u4").tobytes()
    with pytest.raises(DataError, match="is impossible"):
        decode(named("Camera.FrameV1"), frame)


def test_configuration_that_is_missing_or_wrong():
    with pytest.raises(NotFoundError, match=r"Andor.ConfigV1 or Andor.ConfigV2"):
        decode(named("Andor.FrameV1"), bytes(100))
    with pytest.raises(UsageError, match=r"is decoded with Andor.ConfigV1 or Andor.ConfigV2, not with Fli"):
        decode(named("Andor.FrameV1"), bytes(100), decode(named("Fli.ConfigV1"), bytes(100)))


def test_a_configuration_with_a_zero_divisor():
    config = decode(named("Andor.ConfigV1"), bytes(100))
    with pytest.raises(DataError, match="division by zero"):
        _ = config.numPixelsX
    with pytest.raises(DataError):
        decode(named("Andor.FrameV1"), bytes(100), config)


def test_a_record_shows_itself():
    record = decode(named("EvrData.DataV3"), np.array([2, 1, 2, 140, 3, 4, 41], "<u4").tobytes())
    assert "numFifoEvents=2" in repr(record)
    assert {"fifoEvents", "asdict"} <= set(dir(record))
    assert record.asdict() == {
        "numFifoEvents": 2,
        "fifoEvents": [
            {"timestampHigh": 1, "timestampLow": 2, "eventCode": 140},
            {"timestampHigh": 3, "timestampLow": 4, "eventCode": 41},
        ],
    }
    assert record.fifoEvents.column("eventCode").tolist() == [140, 41]
    assert [event.eventCode for event in record.fifoEvents[1:]] == [41]
    with pytest.raises(AttributeError, match="did you mean fifoEvents"):
        _ = record.fifoEvent
    with pytest.raises(AttributeError, match="read-only"):
        record.numFifoEvents = 3


def test_an_index_outside_of_its_range():
    config = decode(named("CsPad.ConfigV5"), bytes(named("CsPad.ConfigV5").size))
    assert config.roiMask(3) == 0
    with pytest.raises(UsageError, match="runs from 0 to 3"):
        config.roiMask(4)


def test_a_record_outlives_a_trip_to_another_process():
    import pickle

    record = decode(named("EvrData.DataV3"), np.array([1, 1, 2, 140], "<u4").tobytes())
    again = pickle.loads(pickle.dumps(record))
    assert isinstance(again, Record)
    assert again.asdict() == record.asdict()
