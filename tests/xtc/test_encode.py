"""Values to payload bytes."""

import numpy as np
import pytest

from psanacli.errors import UsageError
from psanacli.xtc.encode import encode


def test_numbers_stand_at_their_offsets_and_the_rest_is_zero() -> None:
    payload = encode("Ipimb.DataV2", {"channel0": 0x0102, "checksum": 7})
    assert len(payload) == 32
    assert payload[14:16] == b"\x02\x01"
    assert payload[30:] == b"\x07\0"
    assert not any(payload[:14])


def test_arrays_and_nested_objects_follow_each_other() -> None:
    codes = [{"timestampHigh": 5, "timestampLow": 6, "eventCode": 140}, {"eventCode": 41}]
    payload = encode("EvrData.DataV4", {"numFifoEvents": 2, "fifoEvents": codes})
    assert np.frombuffer(payload, "<u4").tolist() == [2, 5, 6, 140, 0, 0, 41]


def test_bit_fields_share_their_word() -> None:
    payload = encode("CsPad.ElementV1", {"quad": 3, "acq_count": 0x1234, "data": np.zeros(4, "i2")})
    assert int.from_bytes(payload[4:8], "little") == 3 << 24 | 0x1234


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"chanel0": 1}, "did you mean channel0"),
        ({"channel0": 70000}, "is no u2"),
        ({"channel0": [1, 2]}, "2 values given, 1 expected"),
        ({"channel0": "x"}, "is no u2"),
    ],
)
def test_what_does_not_fit_is_an_error(values: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        encode("Ipimb.DataV2", values)


def test_text_is_padded_and_checked() -> None:
    payload = encode("Epics.PvConfigV1", {"pvId": 3, "description": "slit", "interval": 1.5})
    assert payload[2:8] == b"slit\0\0"
    with pytest.raises(UsageError, match="longer than its 64 bytes"):
        encode("Epics.PvConfigV1", {"description": "x" * 65})


def test_a_bit_field_has_a_width() -> None:
    with pytest.raises(UsageError, match="does not fit 2 bits"):
        encode("CsPad.ElementV1", {"quad": 4})
