"""The facility's files once more in plain Python: slow, obvious, a datagram after the other."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from psanacli.xtc import NO_FIDUCIAL, Transition, type_ids

XTC = struct.Struct("<5I")
TYPES = max(type_ids()) + 1
ANY, CONTAINER, EPICS, EVR_DATA = 0, 1, 13, 19
SEGMENT, LEVELS = 2, 7
INCOMPLETE = 0x8000
CONFIG, ORIGIN, PROXY = 0x00010059, 0x0001005A, 0x0001005B


def datagrams(data: bytes) -> Iterator[tuple[int, tuple[int, ...]]]:
    """All datagrams that can be delimited: offset and the ten words of the header."""
    at = 0
    while at + 40 <= len(data):
        words = struct.unpack_from("<10I", data, at)
        if words[9] < 20 or at + 20 + words[9] > len(data):
            return
        yield at, words
        at += 20 + words[9]


def children(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, tuple[int, int, int, int, int]]]:
    """What stands one after the other in a container: offset, end (as far as the container goes), header.

    A header that cannot be one ends it, and so does an object that reaches beyond the end.
    """
    while end - at >= 20:
        damage, log, _, kind, extent = header = XTC.unpack_from(data, at)
        number = kind & 0xFFFF
        if extent < 20 or extent % 4 or number >= TYPES or (number == ANY and not damage) or log >> 24 >= LEVELS:
            return
        if number != CONTAINER and at + extent > end:
            return
        yield at, min(at + extent, end), header
        at += extent


def small_data(data: bytes, threshold: int) -> bytes:
    """Return the small data of a big file."""
    out = b""
    for at, words in datagrams(data):
        header, payload = data[at : at + 36], data[at + 40 : at + 20 + words[9]]
        service = words[2] >> 24 & 15
        if service == Transition.Configure:
            payload = XTC.pack(0, 4 << 24, 0, CONFIG, 24) + struct.pack("<I", threshold) + payload
        elif service == Transition.L1Accept:
            tree = b"" if words[5] & INCOMPLETE else _small_tree(data, at + 40, at + 20 + words[9], threshold)
            if not tree:
                continue
            payload = XTC.pack(0, 4 << 24, 0, ORIGIN, 32) + struct.pack("<qI", at, words[9]) + tree
        out += header + struct.pack("<I", 20 + len(payload)) + payload
    return out


def _small_tree(data: bytes, begin: int, end: int, threshold: int) -> bytes:
    out = b""
    for at, stop, (damage, log, phy, kind, extent) in children(data, begin, end):
        if kind & 0xFFFF == CONTAINER:
            inside = b"" if damage & INCOMPLETE else _small_tree(data, at + 20, stop, threshold)
            out += XTC.pack(damage, log, phy, kind, 20 + len(inside)) + inside
        elif extent >= threshold and kind & 0xFFFF != EVR_DATA:
            out += XTC.pack(damage, log, phy, PROXY, 36) + struct.pack("<qII", at, kind, extent)
        else:
            out += data[at : at + extent]
    return out


def index(data: bytes, name: str) -> bytes:
    """Return the index of a big file."""
    segments: list[dict[str, Any]] = []
    codes: list[int] = []
    nodes: list[tuple[int, ...]] = []
    steps: list[tuple[int, ...]] = []
    moved = 0
    for at, words in datagrams(data):
        service, fiducial, clock = words[2] >> 24 & 15, words[3] & 0x1FFFF, (words[1], words[0])
        if service == Transition.BeginCalibCycle:
            steps.append((at, len(nodes), *clock))
        elif service == Transition.L1Accept and fiducial != NO_FIDUCIAL:
            masks = [0, 0, 0]
            if not words[5] & INCOMPLETE:
                _index_level(data, at + 40, at + 20 + words[9], None, segments, codes, masks)
            place = len(nodes)
            while place and nodes[place - 1][:2] >= clock:
                moved += 1
                if nodes[place - 1][:2] == clock:
                    break
                place -= 1
            nodes.insert(place, (*clock, fiducial, at, words[5], *masks))
    count = len(segments) if nodes else -1
    head = (0x00020026, name.encode()[:31], len(steps), len(codes), count, len(nodes), moved, 0, 0)
    out = struct.pack("<I32sihhiiii", *head)
    out += b"".join(struct.pack("<IIIqIIII", *node) for node in nodes)
    out += b"".join(struct.pack("<qiII", *step) for step in steps)
    out += bytes(code & 0xFF for code in codes)
    for segment in segments:
        objects = segment["objects"][:255]
        out += struct.pack("<IIB", *segment["source"], len(objects))
        out += b"".join(struct.pack("<II", *source) for source, _ in objects)
        out += b"".join(struct.pack("<I", kind) for _, kind in objects)
    return out


def _index_level(
    data: bytes,
    begin: int,
    end: int,
    segment: dict[str, Any] | None,
    segments: list[dict[str, Any]],
    codes: list[int],
    masks: list[int],
) -> None:
    for at, stop, (damage, log, phy, kind, extent) in children(data, begin, end):
        if damage & INCOMPLETE:
            return
        inner = segment
        if log >> 24 == SEGMENT:
            known = [known["source"] for known in segments]
            if (log, phy) not in known:
                segments.append({"source": (log, phy), "objects": [], "closed": False})
                known.append((log, phy))
            number = known.index((log, phy))
            inner = segments[number]
            masks[0] = _with_bit(masks[0], number) if damage else masks[0]
            empty = kind & 0xFFFF == CONTAINER and extent == 20
            masks[1] = _with_bit(masks[1], number) if empty else masks[1]
        elif kind & 0xFFFF != CONTAINER and segment is not None:
            if not segment["closed"]:
                segment["objects"].append(((log, phy), kind))
            if kind & 0xFFFF == EVR_DATA and kind >> 16 in (3, 4) and extent >= 24:
                room = (extent - 24) // 12
                for k in range(min(struct.unpack_from("<I", data, at + 20)[0], room)):
                    code = struct.unpack_from("<I", data, at + 24 + 12 * k + 8)[0]
                    if code not in codes:
                        codes.append(code)
                    masks[2] = _with_bit(masks[2], codes.index(code))
            if segment["closed"] or kind & 0xFFFF == EPICS:
                return
        if kind & 0xFFFF == CONTAINER:
            _index_level(data, at + 20, stop, inner, segments, codes, masks)
            if inner is not None and inner is not segment and inner["objects"]:
                inner["closed"] = True


def _with_bit(mask: int, number: int) -> int:
    return mask | 1 << number if number < 32 else 0xFFFFFFFF
