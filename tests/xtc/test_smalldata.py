"""Proxies, and the objects they stand for."""

import struct

import numpy as np
import pytest

from psanacli.errors import DataError, NotFoundError
from psanacli.xtc import (
    Contribution,
    Datagram,
    Source,
    Transition,
    big_file_of,
    proxies_in,
    read_proxy,
    walk_buffer,
)

CAMERA = Source.parse("XppEndstation.0:Opal1000.1", process=5102)
FRAME = 0x00010002


@pytest.fixture
def pair(tmp_path):
    """A big file with one camera frame, and the small file beside it."""
    big = tmp_path / "e1-r0001-s00-c00.xtc"
    small = tmp_path / "smalldata" / "e1-r0001-s00-c00.smd.xtc"
    small.parent.mkdir()
    frame = Contribution(FRAME, CAMERA, bytes(range(200)), damage=0x1000)
    big.write_bytes(bytes(Datagram(Transition.L1Accept, 1, 2, [frame])))
    write_small(small, offset=40)
    return big, small


def write_small(small, offset=40, kind=FRAME, extent=220, source=CAMERA, damage=0x1000):
    proxy = Contribution(0x0001005B, source, struct.pack("<qII", offset, kind, extent), damage)
    small.write_bytes(bytes(Datagram(Transition.L1Accept, 1, 2, [proxy])))


def proxy_of(small):
    data = small.read_bytes()
    row = walk_buffer(data).datagrams[0]
    return proxies_in(data, int(row["offset"]) + 40)[0]


def test_a_proxy_is_followed(pair):
    big, small = pair
    assert big_file_of(small) == big
    assert bytes(read_proxy(big, proxy_of(small))) == bytes(range(200))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": 0x00020002}, "type 0x20002, but type is 0x10002"),
        ({"extent": 216}, "extent 0xd8, but extent is 0xdc"),
        ({"source": Source(CAMERA.log, CAMERA.phy + 1)}, "phy 0x16000302, but phy is 0x16000301"),
        ({"source": Source(CAMERA.log + 1, CAMERA.phy)}, "but log is"),
        ({"damage": 0}, "damage 0x0, but damage is 0x1000"),
        ({"offset": 44, "extent": 216}, "at offset 44 there should be an object of DetInfo"),
        ({"offset": 48}, "220 bytes should be at offset 48, the file has 260"),
        ({"offset": 1 << 62}, "the file has 260"),
    ],
)
def test_what_does_not_agree_is_an_error(pair, change, words):
    big, small = pair
    write_small(small, **change)
    with pytest.raises(DataError, match=words) as caught:
        read_proxy(big, proxy_of(small))
    assert str(big) in str(caught.value)


def test_the_big_file_may_be_absent_or_being_written(pair, monkeypatch):
    big, small = pair
    big.rename(big.with_name(big.name + ".inprogress"))
    assert big_file_of(small) == big.with_name(big.name + ".inprogress")
    big_file_of(small).unlink()
    with pytest.raises(NotFoundError, match="no such file"):
        big_file_of(small)
    with pytest.raises(NotFoundError, match="no such file"):
        read_proxy(big, proxy_of(small))


def test_the_big_file_of_a_relative_name(pair, monkeypatch):
    big, small = pair
    monkeypatch.chdir(small.parent)
    assert big_file_of(small.name).samefile(big)
    monkeypatch.chdir(big.parent)
    assert big_file_of("smalldata/" + small.name).samefile(big)


@pytest.mark.parametrize("name", ["e1-r0001-s00-c00.smd.xtc", "smalldata/e1-r0001-s00-c00.xtc"])
def test_a_name_that_is_not_of_small_data(tmp_path, name):
    with pytest.raises(DataError, match="cannot tell") as caught:
        big_file_of(tmp_path / name)
    assert "smalldata" in caught.value.hint


def test_several_proxies_at_once():
    one = struct.pack("<5IqII", 0, CAMERA.log, CAMERA.phy, 0x0001005B, 36, 40, FRAME, 220)
    proxies = proxies_in(b"head" + one * 3, 4, 3)
    assert proxies["offset"].tolist() == [40] * 3 and proxies["xtc"]["phy"].tolist() == [CAMERA.phy] * 3
    with pytest.raises(DataError, match="no 4 proxies"):
        proxies_in(b"head" + one * 3, 4, 4)
    wrong = np.frombuffer(bytearray(one * 3), np.uint8).copy()
    wrong[36 + 12] = 2
    with pytest.raises(DataError, match="no proxy at 36"):
        proxies_in(wrong, 0, 3)
