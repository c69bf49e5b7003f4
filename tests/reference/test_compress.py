"""Compressed runs: what they hold, and the bytes that the facility's own encoders wrote."""

import json
import struct
import zlib

import pytest

from psanacli.xtc import Engine, compress, decompress, uncompressed_size, walk_file


def compressed_objects(shared, run):
    path = shared / f"lcls1/compressed/xtc/e305-r{run:04d}-s00-c00.xtc"
    data = memoryview(path.read_bytes())
    for datagram in json.loads(path.with_suffix(".xtc.json").read_text())["dgrams"]:
        for xtc in datagram["xtcs"]:
            if xtc.get("compressed"):
                yield xtc, data[xtc["off"] + 20 : xtc["off"] + xtc["extent"]]


def blocks_of(payload):
    """Yield offset, header size, engine, sizes and depth of each block, by the text of the format."""
    at = 0
    while at < len(payload):
        (header,) = struct.unpack_from("<I", payload, at)
        engine, _, size, coded = struct.unpack_from("<4I", payload, at + 4 + header)
        depth = struct.unpack_from("<H", payload, at + 20 + header + 2)[0] if engine == 2 else 2
        yield at, header, engine, size, coded, depth
        at += 20 + header + coded + (-(header + coded) % 4)


@pytest.mark.parametrize("run", [2, 3, 4])
def test_payloads_of_compressed_runs(shared, tally, run):
    count = 0
    for xtc, payload in compressed_objects(shared, run):
        plain = decompress(payload)
        assert len(plain) == xtc["uncompressed_extent"] - 20 == uncompressed_size(payload)
        assert zlib.crc32(plain) == xtc["payload_crc32"]
        count += 1
        tally["compressed payloads"] += 2
    assert count == 11


def without_leftovers(payload):
    """Blank what the facility's encoder never writes: padding, and a word too many at the end of a plain map."""
    clean = bytearray(payload)
    for at, header, engine, size, coded, depth in blocks_of(payload):
        end = at + 20 + header + coded
        clean[end : at + 20 + header + coded + (-(header + coded) % 4)] = bytes(-(header + coded) % 4)
        (flag,) = struct.unpack_from("<H", payload, at + 20 + header)
        if engine and flag == 1 and size // depth % 16 == 0:
            clean[end - 2 : end] = bytes(2)
    return bytes(clean)


@pytest.mark.parametrize("run", [2, 3, 4])
def test_encoders_give_the_same_bytes(shared, tally, run):
    for xtc, payload in compressed_objects(shared, run):
        blocks = list(blocks_of(payload))
        plain = decompress(payload)
        # A camera frame says in its header how many bits a pixel has; all others have two bytes.
        depth = (struct.unpack_from("<I", plain, 8)[0] + 7) // 8 if xtc["type"] == "Frame" else 2
        chosen = {2: Engine.HIST16, 3: Engine.HISTN}.get(run, Engine(max(block[2] for block in blocks)))
        sizes = [header + size for _, header, _, size, _, _ in blocks]
        again = compress(plain, chosen, header=blocks[0][1], depth=depth, blocks=sizes)
        assert len(again) == len(payload)
        assert without_leftovers(again) == without_leftovers(payload)
        tally["bytes of compressed payloads"] += len(again)


def test_a_damaged_image_is_an_error(shared):
    from psanacli.errors import DataError

    table = walk_file(shared / "lcls1/damaged/e306-r0017-s00-c00.xtc")
    data = (shared / "lcls1/damaged/e306-r0017-s00-c00.xtc").read_bytes()
    wrong = 0
    for row in table.datagrams:
        for contribution in table.patterns[row["pattern"]]:
            if contribution["flags"] & 2:
                at = int(row["offset"] + contribution["offset"])
                try:
                    decompress(data[at + 20 : at + int(contribution["extent"])])
                except DataError as error:
                    assert "block at byte 0" in str(error)
                    wrong += 1
    assert wrong == 1
