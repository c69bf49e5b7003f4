"""Index files and small data as the facility has them, made from files of our writer."""

import errno
import itertools
import random
import struct
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from xtc import facility_twin as twin

from psanacli.errors import DataError, NotFoundError, OutputError, UsageError
from psanacli.xtc import (
    EPICS,
    Container,
    Contribution,
    Datagram,
    IndexFile,
    Source,
    Transition,
    big_file_of,
    epics_record,
    index_file_of,
    node,
    proxies_in,
    read_proxy,
    small_file_of,
    walk_file,
    walk_tree,
    write_index,
    write_small,
)
from psanacli.xtc._index_file import EventVisitor
from psanacli.xtc._small_writer import Outcome, SmallCopier
from psanacli.xtc.encode import encode

CAMERA = Source.parse("XppEndstation.0:Opal1000.1", process=5102)
TIMING = Source.parse("NoDetector.0:Evr.0", process=5103)
BEAM = Source.parse("EBeam", process=5401)
ARCHIVER = Source.parse("EpicsArch.0:NoDevice.0", process=5500)
NODE = node("172.21.38.41", 5102)
OTHER = node("172.21.38.42", 5103)
FRAME, BEAM_TYPE, EPICS_TYPE = 0x00010002, 0x0007000F, EPICS | 1 << 16
NAME = "e301-r0001-s00-c00.xtc"
T = Transition


def timing(*codes):
    fifo = [{"timestampHigh": 0, "timestampLow": 0, "eventCode": code} for code in codes]
    payload = encode("EvrData.DataV4", {"numFifoEvents": len(fifo), "fifoEvents": fifo})
    return Contribution("EvrData.DataV4", TIMING, payload)


def frame(size=2000, fill=7):
    return Contribution(FRAME, CAMERA, bytes([fill]) * size)


def beam(damage=0):
    return Contribution(BEAM_TYPE, BEAM, bytes(164), damage)


def event(second, *children, fiducial=None, damage=0):
    return Datagram(
        T.L1Accept, second, 0, children, fiducials=3 * second if fiducial is None else fiducial, damage=damage
    )


def transition(kind, second, *children):
    return Datagram(kind, second, 0, children, fiducials=0x1FFFF)


def usual(second, fill=7):
    """An event with timing and a large frame in one node, beam data in another."""
    return event(second, Container(NODE, [timing(140, 40), frame(fill=fill)]), Container(OTHER, [beam()]))


def write(directory, *datagrams):
    big = directory / NAME
    big.write_bytes(b"".join(map(bytes, datagrams)))
    return big


@pytest.fixture
def big(tmp_path):
    """Configure, a step with four events (the last is older), a step with one."""
    return write(
        tmp_path,
        transition(T.Configure, 1, Container(NODE, [Contribution(0x00010006, CAMERA, bytes(2024))])),
        transition(T.BeginCalibCycle, 2),
        usual(10),
        usual(12, fill=8),
        event(14, Container(NODE, []), Container(OTHER, [beam()], damage=0x1000)),
        usual(11, fill=9),
        transition(T.EndCalibCycle, 15),
        transition(T.BeginCalibCycle, 16),
        event(17, Container(NODE, [timing(162), frame()]), damage=2),
    )


def offsets(big):
    return walk_file(big).datagrams["offset"].tolist()


# --- small data -----------------------------------------------------------------------------------------------------


def test_large_objects_stay_in_the_big_file(big):
    small = small_file_of(big)
    small.parent.mkdir()
    written = write_small(big, small)
    assert big_file_of(small) == big
    assert (written.path, written.size) == (small, small.stat().st_size)
    assert (written.events, written.proxies, written.left_out) == (5, 4, 0) and written.complete
    data, at = small.read_bytes(), walk_file(small).datagrams["offset"].tolist()
    whole = [int(offset) for offset in offsets(big)]
    nodes = walk_tree(data, at[2])
    assert [one.type for one in nodes] == [0x0001005A, 0x00010001, 0x00040013, 0x0001005B, 0x00010001, BEAM_TYPE]
    origin = struct.unpack_from("<qI", data, nodes[0].offset + 20)
    assert origin == (whole[2], whole[3] - whole[2] - 20)
    proxy = proxies_in(data, nodes[3].offset)[0]
    assert bytes(read_proxy(big, proxy)) == bytes([7]) * 2000


def test_a_configuration_says_the_threshold_and_stays_whole(big):
    small = small_file_of(big)
    small.parent.mkdir()
    write_small(big, small, threshold=500)
    first, second = walk_file(small).datagrams["offset"][:2].tolist()
    data = small.read_bytes()[first:second]
    assert data[40:64] == struct.pack("<6I", 0, 4 << 24, 0, 0x00010059, 24, 500)
    assert data[64:] == big.read_bytes()[40 : offsets(big)[1]]


@pytest.mark.parametrize(("threshold", "proxies"), [(0, 9), (184, 9), (185, 4), (2020, 4), (2021, 0), (0xFFFFFFFF, 0)])
def test_the_threshold_counts_the_header(big, tmp_path, threshold, proxies):
    """Beam data are 184 bytes long with their header, frames 2020; timing never becomes a proxy."""
    written = write_small(big, tmp_path / "out", threshold=threshold)
    # Five events have four frames, and four of them beam data.
    assert written.proxies == proxies - (threshold <= 184)


@pytest.mark.parametrize("threshold", [-1, 1 << 32])
def test_a_threshold_that_is_none(big, tmp_path, threshold):
    with pytest.raises(UsageError, match="threshold"):
        write_small(big, tmp_path / "out", threshold=threshold)


def test_events_without_contents_are_left_out(tmp_path):
    big = write(tmp_path, usual(1), event(2), event(3, frame(), damage=1 << 15), event(4, Container(NODE, [])))
    written = write_small(big, tmp_path / "out")
    assert (written.events, written.left_out) == (2, 2)
    assert walk_file(tmp_path / "out").datagrams["seconds"].tolist() == [1, 4]


def test_large_transitions_and_objects_are_copied_in_pieces(tmp_path):
    large = bytes(np.random.default_rng(5).integers(0, 256, 5_000_000, np.uint8))
    big = write(
        tmp_path,
        transition(T.Configure, 1, Contribution(FRAME, CAMERA, large)),
        event(2, Container(NODE, [Contribution(FRAME, CAMERA, large)])),
        transition(T.EndRun, 3, Contribution(FRAME, CAMERA, large)),
    )
    write_small(big, tmp_path / "out", threshold=0xFFFFFFFF)
    assert (tmp_path / "out").read_bytes() == twin.small_data(big.read_bytes(), 0xFFFFFFFF)


# --- indexes --------------------------------------------------------------------------------------------------------


def test_an_index_says_where_events_are(big):
    index_file_of(big).parent.mkdir()
    written = write_index(big, index_file_of(big))
    index = IndexFile.read(index_file_of(big))
    at = offsets(big)
    assert written.events == 5 and written.size == index_file_of(big).stat().st_size
    assert index.name == NAME and index.version == 2
    assert index.events["seconds"].tolist() == [10, 11, 12, 14, 17]
    assert index.events["offset"].tolist() == [at[2], at[5], at[3], at[4], at[8]]
    assert index.events["fiducials"].tolist() == [30, 33, 36, 42, 51]
    assert index.events["damage"].tolist() == [0, 0, 0, 0, 2]
    assert index.out_of_order == 2  # the event of 11 s passed two others
    assert index.steps["offset"].tolist() == [at[1], at[7]]
    assert index.steps["first"].tolist() == [0, 4]


def test_an_index_says_what_events_have(big, tmp_path):
    write_index(big, tmp_path / "out")
    index = IndexFile.read(tmp_path / "out")
    assert index.codes == (140, 40, 162)
    assert index.events["codes"].tolist() == [0b011, 0b011, 0b011, 0, 0b100]
    assert [segment.source for segment in index.segments] == [NODE, OTHER]
    assert index.segments[0].objects == ((TIMING, 0x00040013), (CAMERA, FRAME))
    assert index.events["absent"].tolist() == [0, 0, 0, 0b01, 0]
    assert index.events["damaged"].tolist() == [0, 0, 0, 0b10, 0]


def test_the_list_of_a_segment_ends_with_epics(tmp_path):
    epics = Contribution(EPICS_TYPE, ARCHIVER, epics_record(0, 1.5))
    big = write(tmp_path, event(1, Container(NODE, [beam(), epics, frame(), timing(9)])))
    write_index(big, tmp_path / "out")
    index = IndexFile.read(tmp_path / "out")
    assert [kind for _, kind in index.segments[0].objects] == [BEAM_TYPE, EPICS_TYPE]
    assert index.codes == ()


def test_an_event_of_unknown_fiducial_has_no_entry(tmp_path):
    big = write(tmp_path, usual(1), event(2, beam(), fiducial=0x1FFFF), usual(3))
    written = write_index(big, tmp_path / "out")
    index = IndexFile.read(tmp_path / "out")
    assert (written.events, written.left_out) == (2, 1)
    assert index.events["offset"].tolist() == [offsets(big)[0], offsets(big)[2]]


def test_more_segments_and_codes_than_a_mask_has_bits(tmp_path):
    nodes = [Container(node(f"10.0.0.{k}"), [timing(100 + k)]) for k in range(40)]
    big = write(tmp_path, event(1, *nodes), event(2, nodes[31]), event(3, Container(node("10.0.0.39"), [])))
    write_index(big, tmp_path / "out")
    index = IndexFile.read(tmp_path / "out")
    assert len(index.segments) == 40 and index.codes == tuple(range(100, 140))
    assert index.events["codes"].tolist() == [0xFFFFFFFF, 1 << 31, 0]
    assert index.events["absent"].tolist() == [0, 0, 0xFFFFFFFF]


def test_times_in_any_order(tmp_path):
    chance = random.Random(3)
    big = write(tmp_path, *(event(chance.randrange(60), beam()) for _ in range(200)))
    write_index(big, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == twin.index(big.read_bytes(), NAME)
    assert IndexFile.read(tmp_path / "out").out_of_order > 5000


def test_a_long_name_is_cut(big, tmp_path):
    long = big.rename(tmp_path / f"a-name-that-is-too-long-{NAME}")
    write_index(long, tmp_path / "out")
    assert IndexFile.read(tmp_path / "out").name == long.name[:31]


def test_version_1_is_read():
    events = np.zeros(1, [("clock", "<u4", 3), ("offset", "<i8"), ("rest", "<u4", 4)])
    events["offset"] = 1 << 40
    data = struct.pack("<I32shbbi", 0x00010026, NAME.encode(), 1, 2, 1, 1) + events.tobytes()
    data += struct.pack("<qiII", 9, 0, 5, 6) + bytes([140, 141])
    data += struct.pack("<IIB", NODE.log, NODE.phy, 1) + struct.pack("<II", CAMERA.log, CAMERA.phy) + b"\2\0\1\0"
    index = IndexFile.parse(data)
    assert (index.version, index.name, index.codes) == (1, NAME, (140, 141))
    assert index.events["offset"].tolist() == [1 << 40] and index.steps["seconds"].tolist() == [5]
    assert index.segments[0].objects == ((CAMERA, FRAME),)
    assert IndexFile.parse(bytes(index)).segments == index.segments


# --- what both have in common ---------------------------------------------------------------------------------------

BOTH = pytest.mark.parametrize("write_file", [write_index, write_small])


@BOTH
def test_a_table_that_is_known_and_progress(big, tmp_path, write_file):
    told = []
    write_file(big, tmp_path / "a")
    write_file(big, tmp_path / "b", table=walk_file(big), advance=told.append)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert 0 < sum(told) <= big.stat().st_size


@BOTH
def test_a_table_of_something_else(big, tmp_path, write_file):
    with pytest.raises(ValueError, match="not one of the whole"):
        write_file(big, tmp_path / "out", table=walk_file(big, start=offsets(big)[1]))
    table = walk_file(big)
    other = big.rename(tmp_path / "other.xtc")
    with pytest.raises(ValueError, match="not one of the whole"):
        write_file(other, tmp_path / "out", table=table)


@BOTH
def test_the_file_became_shorter_since_it_was_walked(big, tmp_path, write_file):
    table = walk_file(big)
    big.write_bytes(big.read_bytes()[: table.end - 300])
    out = tmp_path / "out"
    out.write_bytes(b"before")
    with pytest.raises(DataError, match=rf"{NAME}: \d+ bytes, but there were {table.end}"):
        write_file(big, out, table=table)
    assert out.read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == [NAME, "out"]


def test_native_code_says_where_a_file_ends(big, tmp_path):
    at = np.array([0, table_end(big) + 100], np.uint64)
    extents = np.array([20, 500], np.uint32)
    with open(big, "rb") as source, open(tmp_path / "out", "wb") as target:
        visitor = EventVisitor(source.fileno(), 124)
        assert visitor.visit(at, extents, np.zeros((2, 3), np.uint32)) == (1, 0)
        for way in range(3):
            copier = SmallCopier(source.fileno(), target.fileno(), 64, 124)
            assert copier.add(at, extents, np.full(2, way, np.uint8)) == (Outcome.UNREADABLE, 1, 0)


def test_a_full_disk_is_said(big):
    with open(big, "rb") as source, open("/dev/full", "wb") as full:
        copier = SmallCopier(source.fileno(), full.fileno(), 64, 124)
        table = walk_file(big).datagrams
        ways = np.zeros(len(table), np.uint8)
        assert copier.add(table["offset"].copy(), table["extent"].copy(), ways) == (Outcome.DONE, len(table), 0)
        assert copier.finish() == (Outcome.UNWRITABLE, 0, errno.ENOSPC)


def table_end(big):
    return walk_file(big).end


@BOTH
def test_errors(big, tmp_path, write_file):
    with pytest.raises(NotFoundError, match="no such file"):
        write_file(tmp_path / "absent.xtc", tmp_path / "out")
    with pytest.raises(NotFoundError, match="no such file"):
        write_file(
            tmp_path / "absent.xtc", tmp_path / "out", table=replace(walk_file(big), path=tmp_path / "absent.xtc")
        )
    with pytest.raises(OutputError, match="cannot be written"):
        write_file(big, tmp_path / "no" / "such" / "directory")
    small = tmp_path / "some.xtc"
    write_small(big, small)
    with pytest.raises(UsageError, match="is small data itself") as caught:
        write_file(small, tmp_path / "out")
    assert "big files" in caught.value.hint
    assert not (tmp_path / "out").exists()


@BOTH
def test_a_transition_that_does_not_exist_does_not_end_the_file(tmp_path, write_file):
    odd = bytearray(bytes(usual(2)))
    odd[11] |= 15
    big = write(tmp_path, usual(1), odd, odd, usual(3))
    written = write_file(big, tmp_path / "out")
    assert written.events == 2 and [problem.kind.ends_file for problem in written.problems] == [True, True]
    same = twin.index(big.read_bytes(), NAME) if write_file is write_index else twin.small_data(big.read_bytes(), 1024)
    assert (tmp_path / "out").read_bytes() == same


def test_the_small_data_of_a_file_that_is_no_xtc(tmp_path):
    with pytest.raises(UsageError, match=r"NAME\.xtc"):
        small_file_of(tmp_path / "notes.txt")
    assert small_file_of("a/b.xtc.inprogress").name == "b.smd.xtc"
    assert index_file_of("a/b.xtc.inprogress").name == "b.xtc.idx"


# --- any bytes ------------------------------------------------------------------------------------------------------

EVENT = bytes(
    event(
        5,
        Container(NODE, [timing(140, 41), frame(60), Contribution(0, BEAM, damage=2)]),
        Container(OTHER, [Container(Source(0x01000005, 7), [frame(40)]), beam()], damage=0x1000),
        Container(NODE, [frame(20)], damage=1 << 15),
        Contribution(BEAM_TYPE, BEAM, bytes(8)),
    )
)
DATA = b"".join(
    [
        bytes(transition(T.Configure, 1, Container(NODE, [Contribution(0x00010006, CAMERA, bytes(24))]))),
        bytes(transition(T.BeginCalibCycle, 2)),
        EVENT,
        bytes(event(4, Container(OTHER, [beam()]))),
        EVENT,
    ]
)


def same_as_twin(data, directory, threshold):
    """Both files are what the plain programs make of the same bytes."""
    big = directory / NAME
    big.write_bytes(data)
    write_small(big, directory / "small", threshold=threshold)
    assert (directory / "small").read_bytes() == twin.small_data(data, threshold)
    write_index(big, directory / "index")
    made = (directory / "index").read_bytes()
    assert made == twin.index(data, NAME)
    assert bytes(IndexFile.parse(made)) == made


def test_every_truncation(tmp_path):
    for size in range(len(DATA) + 1):
        same_as_twin(DATA[:size], tmp_path, 64)


def test_every_flip_of_a_bit_in_a_header_of_an_event(tmp_path):
    entries = walk_tree(EVENT)
    for place in itertools.chain(range(16, 40), *(range(each.offset, each.offset + 20) for each in entries)):
        copies = [bytearray(EVENT) for _ in range(8)]
        for bit, one in enumerate(copies):
            one[place] ^= 1 << bit
        same_as_twin(b"".join(copies), tmp_path, 64)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_mutations(tmp_path, data):
    changed = bytearray(DATA)
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(changed) - 4))
        match data.draw(st.integers(0, 3)):
            case 0:
                changed[place] = data.draw(st.integers(0, 255))
            case 1:
                word = data.draw(st.sampled_from([0, 1, 19, 20, 24, 40, 0x10001, 0x02000000, 0x8000, 0xFFFFFFFF]))
                struct.pack_into("<I", changed, place & ~3, word)
            case 2:
                del changed[place : place + data.draw(st.integers(1, 60))]
                changed += bytes(4)
            case 3:
                changed[place:place] = data.draw(st.binary(max_size=60))
    same_as_twin(bytes(changed), tmp_path, data.draw(st.sampled_from([0, 30, 64, 1024])))


def test_many_containers_that_reach_beyond_each_other(tmp_path):
    """Each says that it goes on to the end of the event: what follows must not be looked at again and again."""
    count = 300
    headers = [struct.pack("<5I", 0, NODE.log, NODE.phy, 0x00010001, 20 * (2 * count - k)) for k in range(count)]
    headers += [struct.pack("<5I", 0, NODE.log, NODE.phy, 0x00010001, 40) for _ in range(count)]
    one = bytearray(bytes(event(5)) + b"".join(headers))
    struct.pack_into("<I", one, 36, len(one) - 20)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(10 * count)
    try:
        same_as_twin(bytes(one), tmp_path, 64)
    finally:
        sys.setrecursionlimit(limit)
    assert (tmp_path / "small").stat().st_size <= len(one) + 32


def test_every_cut_and_change_of_an_index(big, tmp_path):
    write_index(big, tmp_path / "out")
    data = (tmp_path / "out").read_bytes()
    for size in range(len(data)):
        with pytest.raises(DataError, match=r"need \d+ bytes at offset"):
            IndexFile.parse(data[:size])
    with pytest.raises(DataError, match="1 bytes follow behind the last segment"):
        IndexFile.parse(data + b"\0")
    for place, bit in itertools.product(range(60), range(8)):
        changed = bytearray(data)
        changed[place] ^= 1 << bit
        try:
            index = IndexFile.parse(bytes(changed))
        except DataError as error:
            assert str(error)
        else:
            assert bytes(index)[36:] == changed[36:]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_noise_is_no_index(data, with_head):
    if with_head:
        data = struct.pack("<I", 0x00020026) + data
    try:
        IndexFile.parse(data)
    except DataError as error:
        assert str(error)


def test_an_index_that_cannot_be_read(tmp_path):
    with pytest.raises(NotFoundError, match="no such file"):
        IndexFile.read(tmp_path / "absent.xtc.idx")
    with pytest.raises(DataError, match="cannot be read"):
        IndexFile.read(tmp_path)
    (tmp_path / "noise").write_bytes(b"noise, and no index of anything")
    with pytest.raises(DataError, match=r"noise: not an index file: it begins with 0x73696f6e") as caught:
        IndexFile.read(tmp_path / "noise")
    assert "make it again" in caught.value.hint
