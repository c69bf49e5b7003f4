"""The walk over headers, on files made here."""

import os
import struct

import numpy as np
import pytest

from psanacli.errors import DataError, NotFoundError
from psanacli.large import Rows
from psanacli.xtc import (
    CONTRIBUTION,
    DATAGRAM,
    KEY,
    Container,
    Contribution,
    ContributionFlag,
    Datagram,
    DatagramFlag,
    ProblemKind,
    Source,
    Transition,
    _walk,
    fiducials,
    node,
    service,
    ticks,
    vector,
    walk_buffer,
    walk_file,
    walk_tree,
)

CAMERA = Source.parse("XppEndstation.0:Opal1000.1", process=5102)
BEAM = Source.parse("EBeam", process=5401)
NODE = node("172.21.38.41", 5102)
FRAME, EBEAM = 0x00010002, 0x0007000F


def event(second, *parts, **words):
    return Datagram(Transition.L1Accept, second, 7, parts, fiducials=3 * second, **words)


def bytes_of(*datagrams):
    return b"".join(bytes(datagram) for datagram in datagrams)


def two_kinds(count):
    """Events with a camera, every third one with beam-line data too."""
    frame = Contribution(FRAME, CAMERA, bytes(96))
    beam = Contribution(EBEAM, BEAM, bytes(164))
    return [event(i, Container(NODE, [frame] if i % 3 else [frame, beam])) for i in range(count)]


def test_rows_have_the_sizes_of_the_architecture():
    assert (DATAGRAM.itemsize, CONTRIBUTION.itemsize, KEY.itemsize) == (48, 20, 12)


def test_a_row_has_the_words_of_the_header():
    table = walk_buffer(bytes_of(event(1436200001, ticks=329325, vector=9, env=3, damage=0x4002)))
    row = table.datagrams[0]
    assert row["seconds"] == 1436200001 and row["nanoseconds"] == 7
    assert (service(row), ticks(row), vector(row)) == (Transition.L1Accept, 329325, 9)
    assert fiducials(row) == 3 * 1436200001 & 0x1FFFF
    assert (row["env"], row["damage"], row["extent"]) == (3, 0x4002, 20)
    assert table.end == table.size == 40 and not table.problems


def test_equal_contents_are_one_pattern():
    table = walk_buffer(bytes_of(*two_kinds(1000)))
    assert len(table.datagrams) == 1000 and len(table.patterns) == 2
    assert (table.datagrams["pattern"] == (np.arange(1000) % 3 > 0)).all()
    both, alone = table.patterns[0], table.patterns[1]
    assert both["offset"].tolist() == [60, 176] and both["extent"].tolist() == [116, 184]
    assert alone.tolist() == [both[0].tolist()]
    keys = table.keys[both["key"]]
    assert keys["type"].tolist() == [FRAME, EBEAM]
    assert keys["phy"].tolist() == [CAMERA.phy, BEAM.phy] and keys["log"].tolist() == [CAMERA.log, BEAM.log]


def test_many_patterns_and_keys():
    """Each event is different from all others: what a hash table has to bear."""
    sources = [Source(1 << 24 | i, i * 0x01000001 & 0xFFFFFFFF) for i in range(5000)]
    data = bytes_of(*(event(i, Contribution(FRAME, source)) for i, source in enumerate(sources)))
    table = walk_buffer(data + data)
    assert len(table.patterns) == len(table.keys) == 5000
    assert table.datagrams["pattern"].tolist() == [*range(5000), *range(5000)]
    assert table.keys["phy"].tolist() == [source.phy for source in sources]


def test_damage_and_extent_make_a_pattern_of_their_own():
    parts = [Contribution(FRAME, CAMERA, bytes(8)), Contribution(FRAME, CAMERA, bytes(12))]
    parts.append(Contribution(FRAME, CAMERA, bytes(12), damage=0x1000))
    table = walk_buffer(bytes_of(*(event(0, part) for part in parts)))
    assert table.datagrams["pattern"].tolist() == [0, 1, 2] and len(table.keys) == 1
    assert table.patterns.contributions["damage"].tolist() == [0, 0, 0x1000]


@pytest.mark.parametrize("size", [0, 100, 5_000, 40_000, 3_000_001])
def test_reading_a_file_in_pieces_gives_the_same_as_its_bytes(tmp_path, size):
    """Payloads of all sizes: windows that grow, and hops over what is not needed."""
    frame = Contribution(FRAME, CAMERA, bytes(size))
    small = [Contribution(EBEAM, BEAM, bytes(20 * i)) for i in range(12)]
    data = bytes_of(*(event(i, Container(NODE, [frame, *small]), Container(NODE, small)) for i in range(20)))
    path = tmp_path / "e1-r0001-s00-c00.xtc"
    path.write_bytes(data)
    by_file, by_bytes = walk_file(path), walk_buffer(data)
    assert by_file.datagrams.tolist() == by_bytes.datagrams.tolist()
    assert by_file.patterns.contributions.tolist() == by_bytes.patterns.contributions.tolist()
    assert by_file.keys.tolist() == by_bytes.keys.tolist()
    assert len(by_file.datagrams) == 20 and by_file.end == len(data) and by_file.path == path


def test_a_piece_of_a_file(tmp_path):
    path = tmp_path / "x.xtc"
    path.write_bytes(bytes_of(*two_kinds(30)))
    offsets = walk_file(path).datagrams["offset"].tolist()
    piece = walk_file(path, start=offsets[10], stop=offsets[19] + 1)
    assert piece.datagrams["offset"].tolist() == offsets[10:20] and piece.end == offsets[20]
    assert walk_file(path, start=piece.end).datagrams["offset"].tolist() == offsets[20:]
    assert len(walk_file(path, start=path.stat().st_size).datagrams) == 0
    with pytest.raises(ValueError, match="no piece"):
        walk_file(path, start=8, stop=4)


def test_a_huge_datagram_costs_nothing(tmp_path):
    """Three gigabytes of nothing inside of one contribution; only headers are read."""
    size = 3 << 30
    head = bytearray(bytes(event(1, Contribution(FRAME, CAMERA, bytes(4)))))
    struct.pack_into("<I", head, 36, 40 + size)
    struct.pack_into("<I", head, 56, 20 + size)
    path = tmp_path / "huge.xtc"
    with open(path, "wb") as file:
        file.write(head)
        file.seek(60 + size)
        file.write(bytes(event(2)))
    table = walk_file(path)
    assert table.datagrams["seconds"].tolist() == [1, 2] and not table.problems
    assert table.patterns[0]["extent"].tolist() == [20 + size]


def test_incomplete_containers_are_listed_and_not_entered():
    inside = [Contribution(FRAME, CAMERA, bytes(8))]
    data = bytes_of(event(1, Container(NODE, inside, damage=1 << 15), Container(NODE, inside)))
    table = walk_buffer(data)
    found = table.patterns[0]
    assert found["flags"].tolist() == [ContributionFlag.NOT_ENTERED, 0]
    assert table.keys[found["key"]]["type"].tolist() == [0x00010001, FRAME]
    assert found["offset"].tolist() == [40, 108] and not table.problems
    assert [n.depth for n in walk_tree(data)] == [0, 1, 0, 1], "a tree has everything"


def test_a_datagram_that_is_incomplete_is_not_entered():
    table = walk_buffer(bytes_of(event(1, Contribution(FRAME, CAMERA, bytes(8)), damage=1 << 15)))
    assert table.datagrams["flags"].tolist() == [DatagramFlag.NOT_ENTERED]
    assert len(table.patterns[0]) == 0 and not table.problems


def test_proxies_stand_for_what_they_replace():
    payload = struct.pack("<qII", 123456, 0x80000000 | FRAME, 5000)
    proxy = Contribution(0x0001005B, CAMERA, payload, damage=0x1000)
    table = walk_buffer(bytes_of(event(1, Container(NODE, [proxy]))))
    found = table.patterns[0][0]
    assert found["flags"] == ContributionFlag.PROXY | ContributionFlag.COMPRESSED
    assert (found["offset"], found["extent"], found["damage"]) == (60, 5000, 0x1000)
    assert table.keys["type"].tolist() == [FRAME]


@pytest.mark.parametrize(
    "payload",
    [b"", bytes(12), struct.pack("<qII", -1, FRAME, 5000), struct.pack("<qII", 1, FRAME, 19),
     struct.pack("<qII", 1, 0x00010001, 5000), struct.pack("<qII", 1, 0x0001005B, 5000)],
)  # fmt: skip
def test_impossible_proxies(payload):
    table = walk_buffer(bytes_of(event(1, Contribution(0x0001005B, CAMERA, payload)), event(2)))
    assert table.patterns[0]["flags"].tolist() == [ContributionFlag.BAD_PROXY]
    assert table.keys["type"].tolist() == [0x0001005B]
    assert [problem.kind for problem in table.problems] == [ProblemKind.BAD_PROXY]
    assert len(table.datagrams) == 2


def test_compressed_contributions_have_a_flag_and_a_plain_type():
    table = walk_buffer(bytes_of(event(1, Contribution(0x80000000 | FRAME, CAMERA, bytes(40)))))
    assert table.patterns[0]["flags"].tolist() == [ContributionFlag.COMPRESSED]
    assert table.keys["type"].tolist() == [FRAME]


def test_deep_nesting():
    deep = b""
    for _ in range(3000):
        deep = struct.pack("<5I", 0, NODE.log, NODE.phy, 0x00010001, 20 + len(deep)) + deep
    data = bytes(event(1))[:36] + struct.pack("<I", 20 + len(deep)) + deep + bytes(event(2))
    table = walk_buffer(data)
    assert len(table.datagrams) == 2 and not table.problems and len(table.patterns[0]) == 0
    assert [n.depth for n in walk_tree(data)] == list(range(3000))


def broken_child(extent):
    """An event of two containers; the extent of the object in the first is replaced."""
    inside = [Contribution(FRAME, CAMERA, bytes(16)), Contribution(EBEAM, BEAM, bytes(4))]
    data = bytearray(bytes(event(1, Container(NODE, inside), Container(NODE, inside[1:]))))
    struct.pack_into("<I", data, 76, extent)
    return bytes(data)


@pytest.mark.parametrize(
    ("extent", "flag"),
    [
        (0, DatagramFlag.EMPTY_CHILD),
        (19, DatagramFlag.SMALL_CHILD),
        (61, DatagramFlag.LARGE_CHILD),
        (0xFFFFFFFF, DatagramFlag.LARGE_CHILD),
        (41, DatagramFlag.LOOSE_BYTES),
    ],
)
def test_a_child_that_cannot_be_ends_its_parent_only(extent, flag):
    data = broken_child(extent) + bytes(event(2))
    table = walk_buffer(data)
    if extent == 41:  # the second object is cut to 19 bytes and so none
        data = bytes(event(1, Container(NODE, [Contribution(FRAME, CAMERA, bytes(12))])))
        data = (
            data[:36] + struct.pack("<I", 20 + 20 + 32 + 3) + data[40:56] + struct.pack("<I", 55) + data[60:] + bytes(3)
        )
        table = walk_buffer(data + bytes(event(2)))
    assert table.datagrams["flags"].tolist() == [flag, 0]
    assert [problem.kind.value for problem in table.problems] == [flag]
    assert "in the datagram at 0" in table.problems[0].message
    if extent != 41:
        assert table.problems[0].offset == 60
        assert table.keys[table.patterns[0]["key"]]["type"].tolist() == [EBEAM], "the second container is read"
        assert [n.fits for n in walk_tree(data)] == [True, False, True, True]


def test_a_datagram_that_is_no_container():
    data = bytearray(bytes_of(*two_kinds(2)))
    struct.pack_into("<I", data, 32, FRAME)
    table = walk_buffer(data)
    assert table.datagrams["flags"].tolist() == [DatagramFlag.NOT_A_CONTAINER, 0]
    assert table.problems[0].kind == ProblemKind.NOT_A_CONTAINER and "0x00010002" in table.problems[0].message


@pytest.mark.parametrize(
    ("change", "kind", "word"),
    [
        (lambda data: data + bytes(17), ProblemKind.TRUNCATED_HEADER, "17 bytes into"),
        (lambda data: data + bytes(event(3, Contribution(FRAME, CAMERA, bytes(80))))[:-1],
         ProblemKind.TRUNCATED_DATAGRAM, "140 bytes long, but the file ends after 139"),
        (lambda data: data + bytes(40), ProblemKind.BAD_EXTENT, "extent of a datagram is 0"),
        (lambda data: data + bytes(event(3, control=13)), ProblemKind.BAD_TRANSITION, "number 13"),
        (lambda data: data + b"\x05" * 333, ProblemKind.TRUNCATED_DATAGRAM, "84215065 bytes long"),
    ],
)  # fmt: skip
def test_what_ends_a_file(tmp_path, change, kind, word):
    whole = bytes_of(*two_kinds(3))
    path = tmp_path / "x.xtc"
    path.write_bytes(change(whole))
    table = walk_file(path)
    assert len(table.datagrams) == 3 and table.end == len(whole)
    assert [problem.kind for problem in table.problems] == [kind]
    problem = table.problems[0]
    assert problem.kind.ends_file and problem.offset == len(whole) and word in problem.message
    assert str(problem).startswith(f"at offset {len(whole)}: ")


def test_problems_are_counted_and_only_the_first_are_listed():
    data = broken_child(0) * 500 + bytes(3)
    table = walk_buffer(data)
    assert len(table.datagrams) == 500 and len(table.problems) == 101 and table.more_problems == 400
    assert table.problems[-1].kind == ProblemKind.TRUNCATED_HEADER


def test_an_empty_file_has_nothing_and_no_problem(tmp_path):
    (tmp_path / "empty.xtc").touch()
    table = walk_file(tmp_path / "empty.xtc")
    assert len(table.datagrams) == len(table.patterns) == len(table.keys) == table.end == 0
    assert not table.problems


def test_what_cannot_be_opened(tmp_path):
    with pytest.raises(NotFoundError, match="no such file"):
        walk_file(tmp_path / "absent.xtc")
    with pytest.raises(DataError, match="not a regular file"):
        walk_file(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="not a regular file"):
        walk_file(tmp_path / "pipe")


def test_a_file_that_shrinks_while_it_is_read(tmp_path):
    """The size was asked for when the file was opened; then somebody cut it."""
    path = tmp_path / "x.xtc"
    path.write_bytes(bytes_of(*two_kinds(4)))
    size = path.stat().st_size
    with open(path, "rb") as file:
        rows = Rows(DATAGRAM)
        found = _walk.walk_descriptor(file.fileno(), 0, size + 100, size + 100, (DATAGRAM, CONTRIBUTION, KEY), rows)
    datagrams, end, troubles = rows.array(), found[3], found[4]
    assert len(datagrams) == 4 and end == size
    assert troubles["kind"].tolist() == [ProblemKind.UNREADABLE.value] and troubles["offset"].tolist() == [size]


def test_patterns_know_their_number():
    patterns = walk_buffer(bytes_of(*two_kinds(6))).patterns
    for wrong in (-1, 2):
        with pytest.raises(IndexError, match="of 2"):
            patterns[wrong]


def test_a_tree_needs_its_whole_datagram():
    data = bytes_of(*two_kinds(1))
    for buffer, offset in ((data[:39], 0), (data[:-1], 0), (data, 1), (data, -1), (data, len(data))):
        with pytest.raises(DataError, match="datagram"):
            walk_tree(buffer, offset)
