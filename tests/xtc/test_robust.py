"""Any bytes whatever: cut, flipped, mutated.  The native core must stay inside of what it was given, and say the truth.

The same tests run under the address and undefined-behaviour sanitizers (``tests/sanitizer.sh``).
"""

import itertools
import random
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psanacli.errors import DataError
from psanacli.xtc import (
    Container,
    Contribution,
    Datagram,
    Engine,
    Source,
    Transition,
    compress,
    decompress,
    node,
    uncompressed_size,
    walk_buffer,
    walk_file,
    walk_tree,
)

CAMERA = Source.parse("XppEndstation.0:Opal1000.1", process=5102)
BEAM = Source.parse("EBeam", process=5401)
NODE = node("172.21.38.41", 5102)


def tiny_file():
    """Configure and three events, with all that a walk distinguishes: nesting, a proxy, damage, compression."""
    proxy = Contribution(0x0001005B, CAMERA, struct.pack("<qII", 4096, 0x00010002, 5000))
    inside = [Contribution(0x00010002, CAMERA, bytes(20)), proxy]
    shut = Container(NODE, [Contribution(0x0007000F, BEAM, bytes(8))], damage=1 << 15)
    coded = Contribution(0x80010002, CAMERA, compress(bytes(96), Engine.HISTN))
    dropped = Contribution(0, BEAM, damage=2)
    contents = [
        [Contribution(0x00010006, CAMERA, bytes(24))],
        [Container(NODE, inside), shut],
        [Container(NODE, [Container(NODE, [coded])]), dropped],
        [Container(NODE, inside), shut],
    ]
    kinds = [Transition.Configure, *[Transition.L1Accept] * 3]
    datagrams = [bytes(Datagram(k, i, 5, c)) for i, (k, c) in enumerate(zip(kinds, contents, strict=True))]
    return b"".join(datagrams), np.cumsum([0, *map(len, datagrams)]).tolist()


DATA, STARTS = tiny_file()
TABLE = walk_buffer(DATA)


def headers():
    """Offsets of all bytes that belong to a header."""
    places = []
    for start in STARTS[:-1]:
        places += range(start, start + 40)
        for entry in walk_tree(DATA, start):
            places += range(entry.offset, entry.offset + 20)
    return places


def check(table, data):
    """Whatever the bytes are, a table never points outside of them, and its parts agree with each other."""
    rows, contributions = table.datagrams, table.patterns.contributions
    assert table.size == len(data) and 0 <= table.end <= table.size
    ends = rows["offset"].astype(np.int64) + rows["extent"] + 20
    assert (rows["offset"][1:] == ends[:-1]).all() and (len(rows) == 0 or ends[-1] == table.end)
    assert (rows["pattern"] < len(table.patterns)).all() and (contributions["key"] < len(table.keys)).all()
    for row in rows:
        found = table.patterns[row["pattern"]]
        stored = np.where(found["flags"] & 1, 36, found["extent"]).astype(np.int64)
        assert (found["offset"] + stored <= row["extent"] + 20).all() and (found["offset"] >= 40).all()
        for entry in walk_tree(data, int(row["offset"])):
            assert not entry.fits or entry.offset + entry.extent <= row["offset"] + row["extent"] + 20
    if table.end < table.size:
        assert table.problems[-1].kind.ends_file and table.problems[-1].offset == table.end
    for problem in table.problems:
        assert 0 <= problem.offset <= table.size and problem.message


def same_until(table, offset):
    """The datagrams that end before `offset` are as they were."""
    whole = sum(end <= offset for end in STARTS[1:])
    assert len(table.datagrams) >= whole
    for name in ("offset", "extent", "seconds", "nanoseconds", "stamp_low", "stamp_high", "env", "damage", "flags"):
        assert table.datagrams[name][:whole].tolist() == TABLE.datagrams[name][:whole].tolist()
    for row, other in zip(table.datagrams[:whole], TABLE.datagrams, strict=False):
        assert table.patterns[row["pattern"]].tolist() == TABLE.patterns[other["pattern"]].tolist()
    return whole


def test_every_truncation(tmp_path):
    path = tmp_path / "cut.xtc"
    for size in range(len(DATA) + 1):
        path.write_bytes(DATA[:size])
        table = walk_file(path)
        check(table, DATA[:size])
        assert same_until(table, size) == len(table.datagrams)
        assert len(table.problems) == (size not in STARTS)
        assert walk_buffer(DATA[:size]).problems == table.problems


def test_every_cut_of_a_datagram_that_says_how_long_it_is():
    """The datagram fits into the buffer exactly, what is inside does not: nothing behind the end may be looked at."""
    for start, stop in itertools.pairwise(STARTS):
        for size in range(40, stop - start + 1):
            data = bytearray(DATA[start : start + size])
            struct.pack_into("<I", data, 36, size - 20)
            table = walk_buffer(bytes(data))
            check(table, data)
            assert len(table.datagrams) == 1
            found, whole = contents(table, 0), contents(TABLE, STARTS.index(start))
            assert found == whole[: len(found)]
            assert bool(table.problems) == (size not in ends_of_children(start))


def contents(table, number):
    """What one datagram has: contributions, with their keys in place of numbers."""
    found = table.patterns[table.datagrams["pattern"][number]]
    names = ["offset", "extent", "damage", "flags"]
    return list(zip(found[names].tolist(), table.keys[found["key"]].tolist(), strict=True))


def ends_of_children(start):
    """Lengths to which a datagram can be cut without cutting a child of its first level."""
    ends = [entry.offset + entry.extent - start for entry in walk_tree(DATA, start) if entry.depth == 0]
    return [40, *ends]


def test_every_flip_of_a_bit_in_a_header():
    for place in headers():
        for bit in range(8):
            data = bytearray(DATA)
            data[place] ^= 1 << bit
            table = walk_buffer(data)
            check(table, data)
            same_until(table, place)


def test_changed_datagrams_among_many_equal_ones(tmp_path):
    """A datagram that looks like one before is not walked again; one that differs in one bit is not taken for it."""
    chance = random.Random(4)
    singles = []
    for _ in range(1500):
        number = chance.randrange(4)
        one = bytearray(DATA[STARTS[number] : STARTS[number + 1]])
        if chance.random() < 0.5:
            entry = chance.choice(walk_tree(one))
            place = entry.offset + chance.randrange(min(entry.extent, 36))
            one[place] ^= 1 << chance.randrange(8)
        singles.append(bytes(one))
    path = tmp_path / "many.xtc"
    path.write_bytes(b"".join(singles))
    table = walk_file(path)
    assert len(table.datagrams) == len(singles)
    for number, one in enumerate(singles):
        alone = walk_buffer(one)
        assert contents(table, number) == contents(alone, 0)
        assert table.datagrams["flags"][number] == alone.datagrams["flags"][0]


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_mutations(data):
    changed = bytearray(DATA)
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(changed) - 4))
        match data.draw(st.integers(0, 3)):
            case 0:
                changed[place] = data.draw(st.integers(0, 255))
            case 1:
                struct.pack_into("<I", changed, place & ~3, data.draw(st.integers(0, 0xFFFFFFFF)))
            case 2:
                del changed[place : place + data.draw(st.integers(1, 60))]
                changed += bytes(4)
            case 3:
                changed[place:place] = data.draw(st.binary(max_size=60))
    check(walk_buffer(changed), changed)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=600))
def test_noise(data):
    check(walk_buffer(data), data)
    for function in (decompress, uncompressed_size):
        try:
            function(data)
        except DataError:
            continue


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([0, 1, 19, 20, 24, 40, 0x10001, 0x0C000000, 0x8000, 0xFFFFFFFF]), max_size=120))
def test_words_that_look_like_headers(words):
    data = struct.pack(f"<{len(words)}I", *words)
    check(walk_buffer(data), data)


PAYLOADS = [
    compress(bytes(16) + image.tobytes(), engine, depth=image.itemsize)
    for engine in Engine
    for image in (
        np.arange(100, dtype="<u2") // 7,
        np.where(np.arange(90) % 31, 300, 40000).astype("<u2"),
        np.full(2000, 5, "u1"),
    )
]


@pytest.mark.parametrize("number", range(len(PAYLOADS)))
def test_every_flip_and_cut_of_a_compressed_payload(number):
    payload = PAYLOADS[number]
    plain = decompress(payload)
    outcomes = set()
    for place in range(len(payload)):
        for bit in range(8):
            changed = bytearray(payload)
            changed[place] ^= 1 << bit
            try:
                outcomes.add(len(decompress(changed)) == len(plain))
            except DataError:
                outcomes.add("error")
        try:
            outcomes.add(decompress(payload[:place]) == plain)
        except DataError:
            outcomes.add("error")
    assert "error" in outcomes


def test_random_compressed_payloads():
    """Large random changes; sizes in the payload may ask for anything, and get what is there or an error."""
    chance = random.Random(11)
    for _ in range(3000):
        changed = bytearray(chance.choice(PAYLOADS))
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(changed) - 3) & ~3
            struct.pack_into(
                "<I",
                changed,
                place,
                chance.choice([0, 1, 3, 0xFFFF, 1 << 20, 0x7FFFFFFF, 0xFFFFFFFF, chance.getrandbits(32)]),
            )
        try:
            plain = decompress(changed)
        except DataError:
            continue
        assert len(plain) == uncompressed_size(changed)
