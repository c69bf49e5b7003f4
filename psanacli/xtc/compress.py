"""Compressed payloads, both ways.

A payload whose type word has the compressed bit is a sequence of blocks.  Each has a header that was not compressed, an
engine, two sizes and the coded bytes; a block is about one image of the object.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence

from psanacli.errors import DataError
from psanacli.xtc import _compress, _decompress
from psanacli.xtc.headers import Buffer

LARGEST_PAYLOAD = 256 << 20
"""No payload is larger than this when decompressed: the original reads no datagram that is longer."""

_WRONG = {
    1: "bytes that are no block remain",
    2: "its header is longer than the payload",
    3: "its data are longer than the payload",
    4: "its engine is unknown",
    5: "its size does not agree with its data",
    6: f"it is larger than {LARGEST_PAYLOAD} bytes when decompressed",
    7: "its data are shorter than their header",
    8: "the lengths of its parts do not add up",
    9: "its coding is unknown",
    10: "its bit widths are impossible",
    11: "its bit map is too short",
    12: "its coded values end too early",
    13: "coded values remain",
    14: "its checksum is wrong",
    15: "a value is larger than its type allows",
}


class Engine(enum.IntEnum):
    """How a block is coded."""

    NONE = 0
    HIST16 = 1
    HISTN = 2


def decompress(payload: Buffer) -> bytes:
    """Decompress the payload of a contribution.

    Parameters
    ----------
    payload : bytes-like
        The blocks, without the Xtc header.

    Returns
    -------
    bytes
        The payload as it was before it was compressed.

    Raises
    ------
    DataError
        A block is not right: its lengths do not fit, its engine is unknown, or its checksum is wrong.
    """
    found = _decompress.decompress(payload, LARGEST_PAYLOAD)
    if isinstance(found, tuple):
        raise _error(*found)
    return found


def uncompressed_size(payload: Buffer) -> int:
    """Return the size in bytes that a payload has when decompressed, without decompressing it; see `decompress`."""
    found = _decompress.uncompressed_size(payload, LARGEST_PAYLOAD)
    if isinstance(found, tuple):
        raise _error(*found)
    return found


def _error(wrong: int, offset: int) -> DataError:
    return DataError(f"compressed payload, block at byte {offset}: {_WRONG[wrong]}")


def compress(
    payload: Buffer, engine: Engine, *, header: int = 16, depth: int = 2, blocks: Sequence[int] | None = None
) -> bytes:
    """Compress the payload of a contribution, to the same bytes as the data acquisition.

    Parameters
    ----------
    payload : bytes-like
        The payload of an image, without the Xtc header.
    engine : Engine
        How to code it.  A block that the engine cannot code is stored with engine ``NONE``: Hist16 takes only values of
        two bytes.
    header : int
        Size in bytes of what stands before the pixels of each block, and is not compressed: 16 for a camera frame or a
        link of a pnCCD, 32 for a quadrant of a CSPAD and for a CSPAD 2x2, 12 for a Timepix.
    depth : int
        Bytes of a value, 1 or 2.
    blocks : sequence of int, optional
        Sizes in bytes of the blocks, header included, when there are several; the last one reaches to the end of
        the payload.
    """
    view = memoryview(payload).cast("B")
    sizes = list(blocks or [len(view)])
    if depth not in (1, 2) or any(size < header for size in sizes) or sum(sizes) > len(view):
        raise ValueError(
            f"{len(view)} bytes cannot be cut into blocks of {sizes} with headers of {header}, depth {depth}"
        )
    sizes[-1] = len(view) - sum(sizes[:-1])
    coded = bytearray()
    at = 0
    for size in sizes:
        coded += _block(view[at : at + header], view[at + header : at + size], engine, depth)
        coded += bytes(-len(coded) % 4)
        at += size
    return bytes(coded)


def _block(header: memoryview, values: memoryview, engine: Engine, depth: int) -> bytes:
    possible = len(values) % depth == 0 and (depth == 2 or engine != Engine.HIST16)
    if engine == Engine.NONE or not possible:
        engine, data = Engine.NONE, bytes(values)
    else:
        data = _compress.encode(values, engine, depth)
    words = struct.pack("<4I", engine, 0, len(values), len(data))
    return struct.pack("<I", len(header)) + bytes(header) + words + data
