"""Index files and small data are those that the facility's own programs wrote, byte by byte.

What has to differ is listed here, one file and one place at a time; an entry that is not needed fails.
"""

import json
import struct
from dataclasses import replace

import numpy as np
import pytest

from psanacli.xtc import (
    NO_FIDUCIAL,
    IndexFile,
    Transition,
    fiducials,
    index_file_of,
    service,
    small_file_of,
    walk_file,
    write_index,
    write_small,
)

SETS = ["simple", "multi", "types", "area", "damaged", "dark", "random"]
HEADER = 40

CUT_HEADERS = {
    # The file ends inside of a header.  The facility's reader fills it up with the header before, and takes what comes
    # out for a datagram if that one had no payload.  The number of bytes of old memory.
    "random/r0004/xtc/e308-r0004-s00-c00.xtc": 4,
    "random/r0061/xtc/e308-r0061-s83-c00.xtc": 39,
    "random/r0070/xtc/e308-r0070-s81-c00.xtc": 37,
    "random/r0080/xtc/e308-r0080-s05-c00.xtc": 15,
}

BEYOND_THE_DATAGRAM = {
    # An object reaches beyond its datagram.  The facility copies it with what was left in memory, here it is left out.
    # Offset in the facility's small data, and extent, of the datagram, the container and the object.
    "damaged/e306-r0004-s00-c00.xtc": ((968, 524), (968 + 340, 204), (968 + 360, 184)),
}

BEHIND_UNKNOWN_FIDUCIALS = {
    # The entry behind an event of unknown fiducial: its offset, and the one in the facility's index, which is that of
    # the event that is left out.
    "multi/xtc/e302-r0007-s01-c00.xtc": {21780: 19584},
    "multi/xtc/e302-r0007-s80-c00.xtc": {3348: 3008},
    "random/r0014/xtc/e308-r0014-s03-c00.xtc": {1160: 972, 8012: 7400},
    "random/r0015/xtc/e308-r0015-s03-c00.xtc": {3548: 3316},
    "random/r0015/xtc/e308-r0015-s81-c00.xtc": {1264: 1100, 1488: 1376},
    "random/r0015/xtc/e308-r0015-s82-c00.xtc": {1276: 1060},
    "random/r0016/xtc/e308-r0016-s81-c00.xtc": {800: 640},
    "random/r0020/xtc/e308-r0020-s82-c00.xtc": {720: 660},
    "random/r0031/xtc/e308-r0031-s80-c00.xtc": {1708: 1544},
    "random/r0031/xtc/e308-r0031-s82-c00.xtc": {2764: 2656, 2160: 2000},
    "random/r0036/xtc/e308-r0036-s02-c01.xtc": {2876: 2600},
    "random/r0036/xtc/e308-r0036-s83-c00.xtc": {1800: 1640},
    "random/r0036/xtc/e308-r0036-s83-c01.xtc": {272: 108},
    "random/r0043/xtc/e308-r0043-s83-c00.xtc": {3200: 3088},
    "random/r0052/xtc/e308-r0052-s81-c00.xtc": {1324: 1160, 4772: 4552},
    "random/r0061/xtc/e308-r0061-s83-c00.xtc": {800: 692},
    "random/r0063/xtc/e308-r0063-s81-c00.xtc": {3760: 3600},
    "random/r0063/xtc/e308-r0063-s90-c00.xtc": {4872: 4764, 5696: 5532},
    "random/r0064/xtc/e308-r0064-s04-c00.xtc": {6604: 6436},
    "random/r0066/xtc/e308-r0066-s02-c00.xtc": {5976: 5744},
    "random/r0069/xtc/e308-r0069-s81-c01.xtc": {1020: 908},
}


@pytest.fixture(scope="module")
def big_files(shared):
    """Every big file that x."""
    root = shared / "lcls1"
    runs = {run["run"]: run for run in json.loads((root / "random/runs.json").read_text())}
    files = {}
    for name in SETS:
        for index in sorted((root / name).rglob("*.xtc.idx")):
            big = index.parent.parent / index.name.removesuffix(".idx")
            number = big.parent.parent.name.removeprefix("r")
            threshold = runs[int(number)]["smd_threshold"] if name == "random" else 1024
            files[big.relative_to(root).as_posix()] = big, threshold
    assert len(files) == 604
    return files


def as_read_by_the_facility(name, big, directory):
    """Return the file as the facility's reader saw it: with a header that was cut filled up from the one before."""
    if name not in CUT_HEADERS:
        return big
    data, table = big.read_bytes(), walk_file(big)
    last = int(table.datagrams["offset"][-1])
    old = data[last : last + HEADER][-CUT_HEADERS[name] :]
    assert len(data) - table.end + len(old) == HEADER
    completed = directory / big.name
    completed.write_bytes(data + old)
    return completed


def test_indexes(big_files, tmp_path, tally):
    used = {}
    for name, (big, _) in big_files.items():
        theirs = index_file_of(big).read_bytes()
        made = tmp_path / "made.idx"
        written = write_index(as_read_by_the_facility(name, big, tmp_path), made)
        assert written.size == made.stat().st_size
        ours = made.read_bytes()
        if name in BEHIND_UNKNOWN_FIDUCIALS:
            ours, used[name] = with_wrong_offsets(big, IndexFile.parse(ours), IndexFile.parse(theirs))
        assert ours == theirs, name
        assert bytes(IndexFile.parse(theirs)) == theirs
        tally["index files of the facility, written again"] += 1
        tally["index files of the facility, bytes"] += len(theirs)
    assert used == BEHIND_UNKNOWN_FIDUCIALS


def with_wrong_offsets(big, ours, theirs):
    """Return the bytes of our index with the wrong offsets of theirs, and which those are.

    Each is shown to be wrong: it is that of an event of unknown fiducial, and only such stand between it and ours.
    """
    rows = walk_file(big).datagrams
    unknown = (service(rows) == Transition.L1Accept) & (fiducials(rows) == NO_FIDUCIAL)
    wrong, offsets = {}, ours.events["offset"].copy()
    for number in np.flatnonzero(ours.events["offset"] != theirs.events["offset"]):
        right, other = int(ours.events["offset"][number]), int(theirs.events["offset"][number])
        assert unknown[(rows["offset"] >= other) & (rows["offset"] < right)].all()
        wrong[right] = other
        offsets[number] = other
    events = ours.events.copy()
    events["offset"] = offsets
    return bytes(replace(ours, events=events)), wrong


def test_small_data(big_files, tmp_path, tally):
    beyond = set()
    for name, (big, threshold) in big_files.items():
        theirs = bytearray(small_file_of(big).read_bytes())
        made = tmp_path / "made.smd.xtc"
        source = as_read_by_the_facility(name, big, tmp_path)
        written = write_small(source, made, threshold=threshold)
        ours = made.read_bytes()
        assert written.size == len(ours)
        if name in BEYOND_THE_DATAGRAM:
            take_out(theirs, *BEYOND_THE_DATAGRAM[name])
            beyond.add(name)
        words = inserted_addresses(theirs)
        for at in words:
            # The facility leaves this word of its two own sources as it is in memory.
            struct.pack_into("<I", theirs, at, 0)
        assert ours == theirs, name
        tally["small-data files of the facility, written again"] += 1
        tally["small-data files of the facility, bytes"] += len(theirs) - 4 * len(words)
        tally["small-data files of the facility, words left out"] += len(words)
        tally["small-data files of the facility, proxies"] += written.proxies
    assert beyond == set(BEYOND_THE_DATAGRAM)


def take_out(data, datagram, container, item):
    """Take an object out of a file, and make the extents around it smaller."""
    at, extent = item
    for outer, size in ((datagram[0] + 20, datagram[1]), (container[0], container[1])):
        assert struct.unpack_from("<I", data, outer + 16) == (size,)
        struct.pack_into("<I", data, outer + 16, size - extent)
    assert struct.unpack_from("<I", data, at + 16) == (extent,)
    del data[at : at + extent]


def inserted_addresses(data):
    """Offsets of the words `phy` of what the facility inserts into Configure and events."""
    return [
        at + HEADER + 8
        for at in every_datagram(data)
        if data[at + 11] & 15 in (Transition.Configure, Transition.L1Accept)
        and struct.unpack_from("<I", data, at + HEADER + 12)[0] in (0x00010059, 0x0001005A)
    ]


def every_datagram(data):
    """Offsets of all datagrams, also behind one whose transition number does not exist."""
    at = 0
    while at < len(data):
        yield at
        at += 20 + struct.unpack_from("<I", data, at + 36)[0]


@pytest.mark.parametrize("name", sorted(CUT_HEADERS))
def test_cut_headers_are_not_filled_up(big_files, tmp_path, name):
    """Without old memory nothing follows the last whole datagram, and what was left is said."""
    big, threshold = big_files[name]
    written = write_small(big, tmp_path / "made.smd.xtc", threshold=threshold)
    theirs = small_file_of(big).stat().st_size
    assert written.size == theirs - HEADER
    assert not written.complete and "into a datagram header" in written.problems[-1].message
