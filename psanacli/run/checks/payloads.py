"""Checks that read payloads: sizes that objects tell themselves, compression, EPICS, and equal configurations."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from psanacli.errors import DataError, NotFoundError
from psanacli.run.checks.evidence import Evidence, Finding, Ints
from psanacli.run.checks.transitions import clusters
from psanacli.run.objects import Form, Key, Objects, Places
from psanacli.run.reading import PayloadBlock
from psanacli.xtc import (
    EPICS,
    TYPE_XTC,
    XTC,
    ContributionFlag,
    Layout,
    Source,
    Transition,
    decode,
    type_name,
    walk_tree,
)

_CHUNK = 1 << 26
"""Bytes that are read at once."""
_ROOM = 1 << 30
"""Bytes of address space, most of it never touched, for objects of which only the beginnings are read at once."""
_FIRST_CTRL = 28
_WHOLE = ContributionFlag.PROXY | ContributionFlag.COMPRESSED


def sizes(evidence: Evidence) -> Iterator[Finding]:
    """Objects that do not fit into their payloads."""
    yield from _configurations(evidence)
    for key in evidence.table.object_keys():
        objects = evidence.table.objects(key.xtc_type, key.source)
        objects = objects.select(objects.stored)
        if key.xtc_type.config_inside is not None:
            yield from _one_by_one(evidence, objects)
            continue
        for number in np.unique(objects.config).tolist():
            some = objects.select(objects.config == number)
            try:
                layout = evidence.run.payloads.layout(some, number)
            except (DataError, NotFoundError) as error:
                yield _at(evidence, some, 0, error.message, "a configuration object that fits", count=len(some))
                continue
            yield from _misfits(evidence, some, layout)


def _configurations(evidence: Evidence) -> Iterator[Finding]:
    timeline = evidence.table.config
    for history in timeline.histories.values():
        for row in range(len(history)):
            try:
                evidence.run.payloads.config(history.first + row)
            except DataError as error:
                yield _at(evidence, history, row, error.message.rpartition(": ")[2], "an object that fits")


def _at(evidence: Evidence, places: Places, row: int, found: str, expected: str, count: int = 1) -> Finding:
    datagram = int(places.datagram[row])
    inside = int(places.offset[row]) - XTC.itemsize - int(evidence.datagrams["offset"][datagram])
    return evidence.at(datagram, f"{places.key}: {found}", expected, inside=inside, count=count)


def _misfits(evidence: Evidence, objects: Objects, layout: Layout) -> Iterator[Finding]:
    """Find those of the objects with one configuration that do not fit into their payloads."""
    if layout.program is None:
        plain = objects.flags & ContributionFlag.COMPRESSED == 0  # the others have another size in the end
        for row in np.flatnonzero(plain & (objects.size < layout.needed)).tolist():
            found = f"{layout.xtc_type.name} in a payload of {int(objects.size[row])} bytes"
            yield _at(evidence, objects, row, found, f"{layout.needed} bytes")
        return
    head = layout.head
    lone = objects.flags & _WHOLE == 0
    short = lone & bool(head is not None and objects.product.form in (Form.STORED, Form.SORTED_QUADS))
    if short.any():
        assert head is not None
        yield from _tell(evidence, objects.select(short), layout, head)
    whole = objects.select(~short)
    if len(whole) and _affordable(evidence, whole):
        yield from _tell(evidence, whole, layout, None)


def _affordable(evidence: Evidence, objects: Objects) -> bool:
    """Whether all these payloads may be read."""
    total = int(objects.size.sum())
    if evidence.most_bytes is None or total <= evidence.most_bytes:
        return True
    evidence.notes.append(f"{objects.key}: {total / 1e9:.3g} GB were not read")
    return False


def _tell(evidence: Evidence, objects: Objects, layout: Layout, head: int | None) -> Iterator[Finding]:
    """Read objects, or the first `head` bytes of them, and find those that do not fit."""
    needed = objects.size if head is None else np.minimum(objects.size, head)
    # What is held: of beginnings the place of the whole objects, which takes no memory.
    bounds = _blocks(needed, objects.size)
    for first, stop in pairwise(bounds):
        some = objects.select(slice(first, stop))
        try:
            block = (
                evidence.run.payloads.read(some) if head is None else _beginnings(evidence, some, needed[first:stop])
            )
        except DataError:
            yield from _one_by_one(evidence, some)
            continue
        fits = layout.fits(block.buffer, block.starts, block.sizes)
        for row in np.flatnonzero(~fits).tolist():
            found = f"needs more than the {int(block.sizes[row])} bytes of its payload"
            try:
                start = int(block.starts[row])
                layout.record(memoryview(block.buffer), start, start + int(block.sizes[row]))
            except DataError as error:
                found = error.message.partition(": ")[2]
            yield _at(evidence, some, row, found, "an object that fits into its payload")


def _blocks(read: Ints, held: Ints) -> list[int]:
    """Return where blocks begin so that none reads or holds too much."""
    bounds = [0]
    reads, holds = np.cumsum(read), np.cumsum(held + 8)
    while bounds[-1] < len(read):
        at = bounds[-1]
        before = (int(reads[at - 1]), int(holds[at - 1])) if at else (0, 0)
        stop = min(
            int(np.searchsorted(reads, before[0] + _CHUNK, side="right")),
            int(np.searchsorted(holds, before[1] + _ROOM, side="right")),
        )
        bounds.append(max(stop, at + 1))
    return bounds


def _beginnings(evidence: Evidence, objects: Objects, count: Ints) -> PayloadBlock:
    """Read the beginnings of payloads into a buffer that has room for all of them, as the native layouts want it."""
    room = (objects.size + 7) & ~np.int64(7)
    starts = np.cumsum(room) - room
    buffer = np.empty(int(room.sum()), np.uint8)
    files = evidence.datagrams["file"][objects.datagram]
    evidence.run.payloads.files.read(files, objects.offset, count, starts, buffer)
    return PayloadBlock(buffer, starts, objects.size)


def _one_by_one(evidence: Evidence, objects: Objects) -> Iterator[Finding]:
    """Find damaged ones among objects of which some cannot be read."""
    if not _affordable(evidence, objects):
        return
    for row in range(len(objects)):
        try:
            payload = evidence.run.payloads.read(objects, np.array([row]))[0]
            number = int(objects.config[row])
            if objects.key.xtc_type.config_inside is not None:
                decode(objects.key.xtc_type, payload)
            else:
                evidence.run.payloads.layout(objects, number).record(payload, 0, len(payload))
        except DataError as error:
            yield _at(evidence, objects, row, error.message.rpartition(": ")[2], "an object that can be read")


def compressed(evidence: Evidence) -> Iterator[Finding]:
    """Compressed payloads that cannot be decompressed, or give less than an object."""
    for key in evidence.table.object_keys():
        yield from _compressed(evidence, key)


def _compressed(evidence: Evidence, key: Key) -> Iterator[Finding]:
    objects = evidence.table.objects(key.xtc_type, key.source)
    objects = objects.select(objects.stored & (objects.flags & ContributionFlag.COMPRESSED != 0))
    if not len(objects) or key.xtc_type.config_inside is not None or not _affordable(evidence, objects):
        return
    for number in np.unique(objects.config).tolist():
        some = objects.select(objects.config == number)
        try:
            layout = evidence.run.payloads.layout(some, number)
        except (DataError, NotFoundError):
            continue  # told by the check of sizes
        if layout.program is None:
            yield from _tell(evidence, some, layout, None)


def epics(evidence: Evidence) -> Iterator[Finding]:
    """EPICS records that cannot be, or belong to no variable that has a name."""
    records = evidence.run.epics
    places, heads = records.places, records.heads
    if not len(places):
        return
    table = evidence.table
    for row in np.flatnonzero(~heads["complete"]).tolist():
        kind, count = int(heads["dbrType"][row]), int(heads["numElements"][row])
        found = f"an EPICS record of kind {kind} with {count} elements in {int(places.size[row])} bytes"
        yield _at(evidence, places, row, found, "a kind of 14-20 or 28-34, and its elements")
    keys = table.keys[table.contributions["key"][places.contribution]]
    identity = np.stack([keys["log"].astype(np.int64), keys["phy"].astype(np.int64), heads["pvId"].astype(np.int64)], 1)
    unique, which = np.unique(identity, axis=0, return_inverse=True)
    which = which.reshape(-1)
    named = np.zeros(len(unique), bool)
    named[which[heads["complete"] & (heads["dbrType"] >= _FIRST_CTRL)]] = True
    nameless = np.flatnonzero(heads["complete"] & (heads["dbrType"] < _FIRST_CTRL) & ~named[which])
    _, first, counts = np.unique(which[nameless], return_index=True, return_counts=True)
    for row, count in sorted(zip(nameless[first].tolist(), counts.tolist(), strict=True)):
        source = Source(int(identity[row][0]), int(identity[row][1])).text
        found = f"variable {int(identity[row][2])} of {source} has values but no name"
        yield _at(evidence, places, row, found, "a record with its name in Configure", count=count)


def configurations(evidence: Evidence) -> Iterator[Finding]:
    """Configure datagrams that differ among the DAQ streams."""
    streams = [stream for stream in evidence.streams if not stream.control]
    for cluster in clusters(evidence, streams):
        if cluster.service != Transition.Configure or len(cluster.rows) < 2:
            continue
        contents = {row: _contents(evidence, row) for row in cluster.rows.tolist()}
        first = int(cluster.rows[0])
        for row in cluster.rows[1:].tolist():
            keys = {**contents[first], **contents[row]}
            differing = [key for key in keys if contents[first].get(key) != contents[row].get(key)]
            if differing:
                names = ", ".join(f"{type_name(word)} of {Source(log, phy).text}" for log, phy, word in differing[:3])
                names += f" and {len(differing) - 3} more" if len(differing) > 3 else ""
                number = int(evidence.stream_of_row[first])
                yield evidence.at(row, f"another configuration than in stream {number}: {names}", "equal ones")


def _contents(evidence: Evidence, row: int) -> dict[tuple[int, int, int], bytes]:
    """Return the objects of a datagram, EPICS records left out, by source and type."""
    data = evidence.bytes_of(row)
    found: dict[tuple[int, int, int], bytes] = {}
    for node in walk_tree(data):
        if node.fits and node.type & 0xFFFF not in (TYPE_XTC, EPICS):
            key = node.log, node.phy, node.type
            found[key] = found.get(key, b"") + bytes(data[node.offset + XTC.itemsize : node.offset + node.extent])
    return found
