"""The walk, compared with the headers that the facility's own classes read from the same bytes."""

import gzip
import json

import pytest

from psanacli.xtc import Source, service, walk_buffer, walk_file, walk_tree
from psanacli.xtc import fiducials as fiducials_of


def expected_files(shared):
    for path in sorted((shared / "lcls1").rglob("*.xtc.json*")):
        text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        name = path.name.removesuffix(".gz").removesuffix(".json")
        plain = path.with_name(name)
        data = plain.read_bytes() if plain.exists() else gzip.decompress(plain.with_name(name + ".gz").read_bytes())
        yield plain, data, json.loads(text)


def test_every_header_of_every_file(shared, tally):
    files = 0
    for path, data, expected in expected_files(shared):
        files += 1
        assert len(data) == expected["size"]
        table = walk_buffer(data)
        rows = table.datagrams
        # Where a file is damaged inside of a datagram the recording stops before it; the walk goes on.
        count = len(expected["dgrams"])
        assert len(rows) >= count
        if not path.parent.name == "damaged":
            assert len(rows) == count and table.end == expected["end"] and not table.problems
        for row, wanted in zip(rows, expected["dgrams"], strict=False):
            compare_datagram(row, data, wanted, tally)
            compare_contents(table, row, wanted, tally)
    assert files > 30


def compare_datagram(row, data, wanted, tally):
    assert row["offset"] == wanted["off"] and row["extent"] + 20 == wanted["size"]
    for name in ("seconds", "nanoseconds", "env", "damage", "extent"):
        assert row[name] == wanted[name], name
    assert service(row) == wanted["service"] and fiducials_of(row) == wanted["fiducials"]
    assert row["stamp_low"] & 0xFFFFFF == wanted["ticks"] and row["stamp_low"] >> 24 == wanted["control"]
    assert row["stamp_high"] >> 17 == wanted["vector"]
    tally["header words"] += 12
    nodes = walk_tree(data, wanted["off"])
    assert len(nodes) == len(wanted["xtcs"])
    for node, xtc in zip(nodes, wanted["xtcs"], strict=True):
        assert node.depth == xtc["depth"] and node.offset == xtc["off"]
        if "bad_extent" in xtc:
            assert not node.fits and node.extent == xtc["bad_extent"]
            tally["header words"] += 3
            continue
        source = Source(node.log, node.phy)
        version = node.type >> 16 & 0x7FFF
        assert node.fits
        assert (node.log, node.phy, node.damage, node.extent) == tuple(
            xtc[name] for name in ("log", "phy", "damage", "extent")
        )
        assert (source.level, source.daq_name) == (xtc["level"], xtc["src"])
        assert (node.type & 0xFFFF, version, node.type >> 31) == (
            xtc["typeid"],
            xtc["version"],
            xtc.get("compressed", 0),
        )
        tally["header words"] += 11


def compare_contents(table, row, wanted, tally):
    """The contributions of the pattern are the recorded ones, less the inside of containers passed over."""
    passed_over = 0
    listed = []
    for xtc in wanted["xtcs"]:
        if xtc["off"] < passed_over or "bad_extent" in xtc:
            continue
        if xtc["typeid"] == 1 and not xtc["damage"] & 0x8000:
            continue
        if xtc["typeid"] == 1:
            passed_over = xtc["off"] + xtc["extent"]
        listed.append(xtc)
    found = table.patterns[row["pattern"]]
    assert len(found) == len(listed)
    for contribution, xtc in zip(found, listed, strict=True):
        key = table.keys[contribution["key"]]
        assert row["offset"] + contribution["offset"] == xtc["off"]
        assert contribution["damage"] == xtc["damage"]
        assert (key["log"], key["phy"]) == (xtc["log"], xtc["phy"])
        if xtc["typeid"] == 91:
            proxied = xtc["data"]
            assert contribution["flags"] & 1
            assert key["type"] == proxied["type"]["value"] and contribution["extent"] == proxied["extent"]
        else:
            assert contribution["extent"] == xtc["extent"]
            assert key["type"] == xtc["version"] << 16 | xtc["typeid"]
        tally["contributions of patterns"] += 1


@pytest.mark.parametrize("name", ["lcls1/simple/xtc/e301-r0001-s00-c00.xtc", "lcls1/area/xtc/e304-r0017-s00-c00.xtc"])
def test_a_file_and_its_bytes_give_the_same(shared, name):
    by_file, by_bytes = walk_file(shared / name), walk_buffer((shared / name).read_bytes())
    assert (by_file.datagrams == by_bytes.datagrams).all()
    assert (by_file.patterns.contributions == by_bytes.patterns.contributions).all()
    assert (by_file.patterns.start == by_bytes.patterns.start).all()
    assert (by_file.keys == by_bytes.keys).all()


def test_damaged_files(shared, tally):
    described = json.loads((shared / "lcls1/damaged/README.json").read_text())
    # What is wrong only inside of a payload is not seen in headers.
    payload = {"payload_too_short_for_its_counts", "corrupt_compressed_payload"}
    for case in described["files"] + described["extra_files"]:
        table = walk_file(shared / "lcls1/damaged" / case["file"])
        before = int((table.datagrams["offset"] + table.datagrams["extent"] + 20 <= case["offset"]).sum())
        assert before == case["whole_datagrams_before"], case["name"]
        assert len(table.datagrams) >= case["whole_datagrams"] or case["name"] == "bad_transition"
        wrong = case["kind"] == "corrupt" and case["name"] not in payload
        assert bool(table.problems) == wrong, case["name"]
        if wrong:
            assert abs(table.problems[0].offset - case["offset"]) < 512
            assert table.problems[0].message
        tally["damaged files"] += 1
