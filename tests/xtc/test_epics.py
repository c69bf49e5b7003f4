"""EPICS records: the 14 layouts, alone and in batches, built byte by byte from the table of the format."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psanacli.errors import DataError
from psanacli.xtc import ALARMS, EPICS_EPOCH, RECORD_KINDS, SEVERITIES, decode_epics, epics_heads

CODES = {"String": None, "Short": "h", "Float": "f", "Enum": "H", "Char": "B", "Long": "i", "Double": "d"}
PADDING = {"String": 0, "Short": 2, "Float": 0, "Enum": 2, "Char": 3, "Long": 0, "Double": 4}
VALUES = {"String": ["one", "two"], "Float": [0.5, -1.25], "Double": [1e300, float("inf")]}


def packed(suffix, values):
    if suffix == "String":
        return b"".join(value.encode().ljust(40, b"\0") for value in values)
    return struct.pack(f"<{len(values)}{CODES[suffix]}", *values)


def time_record(suffix, values, pv=5):
    dbr_type = 14 + list(CODES).index(suffix)
    head = struct.pack("<hhhxx", pv, dbr_type, len(values))
    return head + struct.pack("<hhII", 3, 2, 1000, 2000) + bytes(PADDING[suffix]) + packed(suffix, values)


def ctrl_record(suffix, values, pv=5):
    dbr_type = 28 + list(CODES).index(suffix)
    head = struct.pack("<hhh64s", pv, dbr_type, len(values), b"XPP:PV:" + suffix.encode())
    code = CODES[suffix]
    if suffix == "String":
        body = struct.pack("<hh", 6, 1)
    elif suffix == "Enum":
        body = struct.pack("<hhh", 6, 1, 2) + b"off".ljust(26, b"\0") + b"on".ljust(26, b"\0") + bytes(14 * 26)
    elif suffix in ("Float", "Double"):
        body = b"\0\0" + struct.pack(f"<hhhxx8s8{code}", 6, 1, 3, b"mm", *range(8))
    elif suffix == "Long":
        body = b"\0\0" + struct.pack("<hh8s8i", 6, 1, b"mm", *range(8))
    else:
        body = struct.pack(f"<hh8s8{code}", 6, 1, b"mm", *range(8)) + (b"\0" if suffix == "Char" else b"")
    return head + body + packed(suffix, values)


@pytest.mark.parametrize("suffix", CODES)
@pytest.mark.parametrize("is_ctrl", [False, True])
def test_every_layout(suffix, is_ctrl):
    values = VALUES.get(suffix, [1, 2, 3])
    payload = (ctrl_record if is_ctrl else time_record)(suffix, values)
    record = decode_epics(payload + bytes(3))
    assert record.xtc_type.name == f"Epics.EpicsPv{'Ctrl' if is_ctrl else 'Time'}{suffix}"
    assert (record.pvId, record.numElements) == (5, len(values))
    assert list(record.data) == values
    assert [record.value(i) for i in range(len(values))] == values
    assert (record.isCtrl, record.isTime) == (is_ctrl, not is_ctrl)
    if is_ctrl:
        assert record.pvName == f"XPP:PV:{suffix}"
        assert (record.status, record.severity) == (6, 1)
        assert (ALARMS[record.status], SEVERITIES[record.severity]) == ("LOW", "MINOR")
        if suffix not in ("String", "Enum"):
            assert record.dbr.units == "mm"
            assert record.dbr.lower_ctrl_limit == 7
        if suffix == "Enum":
            assert record.dbr.strings[:3] == ["off", "on", ""]
    else:
        assert (record.status, record.severity) == (3, 2)
        assert (record.stamp.sec, record.stamp.nsec) == (1000, 2000)


def test_many_heads_at_once():
    payloads = [
        make(suffix, VALUES.get(suffix, [1, 2, 3]), pv)
        for pv, suffix in enumerate(CODES)
        for make in (time_record, ctrl_record)
    ]
    payloads += [b"", b"\1\2\3", struct.pack("<hhh", 1, 99, 1) + bytes(50), time_record("Double", [1.0])[:-1]]
    sizes = np.array([len(payload) for payload in payloads])
    starts = np.cumsum(sizes) - sizes
    buffer = b"".join(payloads)
    heads = epics_heads(buffer, starts, sizes)
    assert heads["complete"].tolist() == [True] * 14 + [False] * 4
    for head, payload in zip(heads[:14], payloads[:14], strict=True):
        record = decode_epics(payload)
        for name in ("pvId", "dbrType", "numElements", "status", "severity"):
            assert head[name] == getattr(record, name)
        is_time = not RECORD_KINDS[record.dbrType].is_ctrl
        assert head["seconds"] == (1000 + EPICS_EPOCH if is_time else 0)
        assert head["nanoseconds"] == (2000 if is_time else 0)
        kind = RECORD_KINDS[record.dbrType]
        found = np.frombuffer(buffer, kind.item, record.numElements, int(head["values"])).tolist()
        assert [x.decode() if isinstance(x, bytes) else x for x in found] == list(record.data)


@given(st.lists(st.binary(max_size=60), max_size=10))
@settings(max_examples=200, deadline=None)
def test_heads_of_any_bytes_are_complete_where_decoding_works(payloads):
    sizes = np.array([len(payload) for payload in payloads], np.int64)
    heads = epics_heads(b"".join(payloads), np.cumsum(sizes) - sizes, sizes)
    for head, payload in zip(heads, payloads, strict=True):
        try:
            record = decode_epics(payload)
        except DataError:
            assert not head["complete"]
        else:
            assert head["complete"]
            assert head["status"] == record.status


def test_what_is_no_record():
    with pytest.raises(DataError, match="needs 6 bytes, the payload has 0"):
        decode_epics(b"")
    with pytest.raises(DataError, match=r"the kind 21 \(dbrType\)"):
        decode_epics(struct.pack("<hhh", 1, 21, 1))
    with pytest.raises(DataError, match="EpicsPvTimeShort"):
        decode_epics(time_record("Short", [1, 2])[:-1])
    with pytest.raises(DataError, match="is impossible"):
        decode_epics(struct.pack("<hhh", 1, 15, -1) + bytes(100))
    with pytest.raises(DataError, match="outside of its buffer"):
        epics_heads(b"abc", np.array([2]), np.array([2]))
