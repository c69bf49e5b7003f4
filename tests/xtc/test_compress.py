"""Compression, against a decoder written from the text of the format, one value at a time."""

import struct

import numpy as np
import pytest

from psanacli.errors import DataError
from psanacli.xtc import Engine, compress, decompress, uncompressed_size

RANDOM = np.random.default_rng(16)
IMAGES = {
    "constant": np.full(1000, 1234, "<u2"),
    "narrow": RANDOM.integers(1000, 1100, 1003).astype("<u2"),
    "peaks": np.where(RANDOM.random(4096) < 0.02, 9000, RANDOM.integers(250, 280, 4096)).astype("<u2"),
    "wide": RANDOM.integers(0, 65536, 777).astype("<u2"),
    "top": RANDOM.integers(65300, 65536, 160).astype("<u2"),
    "one": np.array([7], "<u2"),
    "none": np.zeros(0, "<u2"),
    "long": np.full(65536 * 16 + 40, 3, "<u2"),
    "bytes": RANDOM.integers(0, 5, 501).astype("u1"),
    "noise": RANDOM.integers(0, 256, 512).astype("u1"),
}


def plain_map(data, flag, words):
    values = struct.unpack(f"<{words}H", data[: 2 * words])
    if flag == 1:
        return [word >> bit & 1 for word in values for bit in range(16)]
    return [
        word >> bit & 1
        for n, word in zip(values[::2], values[1::2], strict=True)
        for _ in range(n)
        for bit in range(16)
    ]


def slow_hist16(data, count):
    flag, checksum, size = struct.unpack_from("<3I", data)
    assert size == len(data) - 12
    if flag == 0:
        return list(struct.unpack_from(f"<{count}H", data, 12))
    base, nbytes = struct.unpack_from("<HI", data, 12)
    (words,) = struct.unpack_from("<I", data, 18 + nbytes)
    bits = plain_map(data[22 + nbytes :], flag, words)
    values, at = [], 18
    while at < 18 + nbytes:
        if bits[len(values)]:
            values.append((base + data[at]) & 0xFFFF)
            at += 1
        else:
            values.append(data[at] | data[at + 1] << 8)
            at += 2
    assert sum(values) & 0xFFFFFFFF == checksum
    return values


def slow_histn(data, count):
    flag, depth, checksum, size = struct.unpack_from("<2H2I", data)
    assert size == len(data) - 12
    if flag == 0:
        return np.frombuffer(data[12:], f"<u{depth}").tolist()
    wide, narrow, base, stream, = struct.unpack_from("<2H2I", data, 12)  # fmt: skip
    number = int.from_bytes(data[24 : 24 + stream], "little")
    (words,) = struct.unpack_from("<I", data, 24 + stream)
    bits = plain_map(data[28 + stream :], flag, words)
    values, at = [], 0
    for i in range(count):
        width = narrow if bits[i] else wide
        values.append((number >> at & (1 << width) - 1) + (base if bits[i] else 0))
        at += width
    assert -(-at // 32) * 4 == stream and sum(values) & 0xFFFFFFFF == checksum
    return values


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("engine", Engine)
def test_images_come_back(name, engine):
    image = IMAGES[name]
    payload = bytes(range(16)) + image.tobytes()
    coded = compress(payload, engine, depth=image.itemsize)
    assert len(coded) % 4 == 0
    assert decompress(coded) == payload and uncompressed_size(coded) == len(payload)
    used, _, size, length = struct.unpack_from("<4I", coded, 20)
    assert used == (engine if image.itemsize == 2 or engine != Engine.HIST16 else Engine.NONE)
    assert size == image.nbytes
    data = coded[36 : 36 + length]
    if name != "long" and used:
        slow = slow_hist16(data, len(image)) if used == Engine.HIST16 else slow_histn(data, len(image))
        assert slow == image.tolist()


def test_good_images_become_small():
    peaks = IMAGES["peaks"].tobytes()
    assert len(compress(peaks, Engine.HIST16, header=0)) < 0.65 * len(peaks)
    assert len(compress(peaks, Engine.HISTN, header=0)) < 0.55 * len(peaks)
    assert len(compress(IMAGES["long"].tobytes(), Engine.HISTN, header=0)) < 100


def test_several_blocks():
    payload = bytes(range(250)) * 4
    coded = compress(payload, Engine.HISTN, header=32, depth=2, blocks=[132, 234, 40])
    assert decompress(coded) == payload
    with pytest.raises(ValueError, match="cannot be cut"):
        compress(payload, Engine.HISTN, header=32, blocks=[900, 200])


def test_nothing_is_nothing():
    assert decompress(b"") == b"" and uncompressed_size(b"") == 0


def block(engine, data, size, header=b""):
    return struct.pack("<I", len(header)) + header + struct.pack("<4I", engine, 0, size, len(data)) + data


def hist16(flag, base, coded, words, checksum):
    body = struct.pack("<HI", base, len(coded)) + coded + struct.pack(f"<I{len(words)}H", len(words), *words)
    return struct.pack("<3I", flag, checksum, len(body)) + body


def histn(flag, depth, wide, narrow, base, stream, words, checksum):
    body = struct.pack("<2H2I", wide, narrow, base, len(stream)) + stream
    body += struct.pack(f"<I{len(words)}H", len(words), *words)
    return struct.pack("<2H2I", flag, depth, checksum, len(body)) + body


def test_blocks_written_by_hand():
    assert decompress(block(1, hist16(1, 100, bytes([1, 2, 232, 3]), [0b011], 101 + 102 + 1000), 6)) == struct.pack(
        "<3H", 101, 102, 1000
    )
    assert decompress(block(2, histn(3, 1, 0, 0, 9, b"", [2, 0xFFFF], 9 * 20), 20)) == bytes([9] * 20)


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (bytes(16), "no block"),
        (struct.pack("<I", 17) + bytes(32), "header is longer"),
        (block(0, bytes(8), 8)[:-1], "data are longer"),
        (block(3, bytes(8), 8), "engine is unknown"),
        (block(0, bytes(8), 12), "size does not agree"),
        (block(1, struct.pack("<3I", 0, 0, 8) + bytes(8), 10), "size does not agree"),
        (block(1, hist16(1, 0, bytes(3), [7], 0), 5), "size does not agree"),
        (block(1, bytes(8), 8), "shorter than their header"),
        (block(1, struct.pack("<3I", 0, 0, 7) + bytes(8), 8), "do not add up"),
        (block(1, struct.pack("<3I", 2, 0, 8) + bytes(8), 8), "coding is unknown"),
        (block(1, hist16(1, 0, bytes(3), [7], 0), 0xFFFFFFF0), "end too early"),
        (block(1, hist16(1, 0, bytes(20), [0xFFFF], 0), 40), "map is too short"),
        (block(1, hist16(3, 0, bytes(20), [1, 0xFFFF, 1], 0), 40), "map is too short"),
        (block(1, hist16(1, 0, bytes(3), [0], 0), 6), "end too early"),
        (block(1, hist16(1, 0, bytes(1000), [0] * 63, 0), 2000), "end too early"),
        (block(1, hist16(3, 0, bytes(1000), [63, 0], 0), 2000), "end too early"),
        (block(1, hist16(3, 0, bytes(1000), [31, 0, 32, 0xFFFF], 0), 2000), "end too early"),
        (block(1, hist16(1, 0, bytes(4), [7], 0), 6), "values remain"),
        (block(1, hist16(1, 0, bytes(3), [7], 1), 6), "checksum"),
        (block(1, struct.pack("<3I", 0, 1, 8) + bytes(8), 8), "checksum"),
        (block(2, struct.pack("<2H2I", 0, 3, 0, 8) + bytes(8), 8), "bit widths"),
        (block(2, histn(1, 1, 9, 0, 0, b"", [0], 0), 3), "bit widths"),
        (block(2, histn(1, 2, 4, 9, 0, b"", [0], 0), 6), "bit widths"),
        (block(2, histn(1, 1, 4, 4, 256, b"", [0], 0), 3), "bit widths"),
        (block(2, histn(1, 1, 4, 4, 0, bytes(3), [0], 0), 3), "do not add up"),
        (block(2, histn(1, 1, 4, 4, 0, b"", [0], 0), 3), "end too early"),
        (block(2, histn(3, 2, 16, 0, 0, bytes(4), [4000, 0], 0), 100_000), "end too early"),
        (block(2, histn(1, 1, 4, 4, 0, bytes(8), [0], 0), 3), "values remain"),
        (block(2, histn(1, 1, 0, 4, 255, b"\xff" * 4, [7], 0), 3), "larger than its type"),
        (block(2, histn(3, 1, 0, 0, 1, b"", [0xFFFF, 0xFFFF] * 400, 0), 300 << 20), "when decompressed"),
    ],
)
def test_blocks_that_are_wrong(payload, words):
    good = block(0, bytes(4), 4)
    with pytest.raises(DataError, match=words) as caught:
        decompress(payload)
    assert "block at byte 0" in str(caught.value)
    with pytest.raises(DataError, match="block at byte 24"):
        decompress(good + payload)


def test_a_large_size_costs_nothing_where_no_data_stand_behind_it():
    """A few bytes cannot make the reader ask for gigabytes."""
    for size in (1 << 31, 0xFFFFFFFE):
        for engine in Engine:
            with pytest.raises(DataError):
                decompress(block(engine, bytes(64), size))
