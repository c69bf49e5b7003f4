"""Everything in an XTC file, datagram by datagram, decoded: what ``psana dump`` prints."""

from __future__ import annotations

import os
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError, NotFoundError, PsanaError, check_events
from psanacli.xtc.catalogue import COMPRESSED, EPICS, XtcType, find, type_name
from psanacli.xtc.compress import decompress
from psanacli.xtc.epics import decode_epics
from psanacli.xtc.headers import TYPE_PROXY, TYPE_XTC, XTC_HEADER, DamageBit, DatagramFlag, Transition
from psanacli.xtc.layout import config_for, decode
from psanacli.xtc.plain import plain_record, plain_type
from psanacli.xtc.record import Record
from psanacli.xtc.smalldata import PROXY, big_file_of, read_proxy
from psanacli.xtc.sources import Source
from psanacli.xtc.walk import FileTable, Node, Problem, ProblemKind, walk_file, walk_tree

_CORRUPT = ~DatagramFlag.LOOSE_BYTES
_CHUNK_NAME = re.compile(r"(.*-c)(\d+)(\.(?:smd\.)?xtc(?:\.inprogress)?)")
_MOST_CHUNKS = 1000
_INCOMPLETE = 1 << DamageBit.IncompleteContribution

Configs = dict[tuple[int, int], dict[str, Record]]


class DatagramError(DataError):
    """A datagram contradicts the format, or an object in it what it says itself."""

    def __init__(self, path: Path, offset: int, message: str) -> None:
        super().__init__(f"{path}: at offset {offset}: {message}")
        self.offset = offset


@dataclass(slots=True)
class Item:
    """A container or contribution of a datagram.

    Attributes
    ----------
    node : Node
        Its header; of an object in place of its proxy the header of that object.
    xtc_type : XtcType or None
        Its type; None for containers, and where the catalogue has none.
    record : Record or None
        The object; None for containers, empty payloads, and what cannot be decoded.
    uncompressed : (int, int) or None
        Extent and crc32 of the payload, of a compressed object.
    """

    node: Node
    xtc_type: XtcType | None = None
    record: Record | None = None
    uncompressed: tuple[int, int] | None = None

    @property
    def source(self) -> Source:
        """Who wrote it."""
        return Source(self.node.log, self.node.phy)

    @property
    def is_container(self) -> bool:
        """Whether it holds others."""
        return self.node.type & 0xFFFF == TYPE_XTC

    @property
    def type_text(self) -> str:
        """Name and version of its type, ``Frame_v1``."""
        return type_name(self.node.type)

    def plain(self, *, data: bool = True) -> dict[str, Any]:
        """Return the JSON form, with or without the decoded object."""
        node = self.node
        if not node.fits:
            return {"depth": node.depth, "off": node.offset, "bad_extent": node.extent}
        version = node.type >> 16
        result: dict[str, Any] = {
            "depth": node.depth, "off": node.offset, "level": node.log >> 24, "log": node.log, "phy": node.phy,
            "src": self.source.daq_name, "typeid": node.type & 0xFFFF, "type": plain_type(node.type),
            "version": version & ~COMPRESSED, "damage": node.damage, "extent": node.extent,
        }  # fmt: skip
        if self.uncompressed is not None:
            extent, checksum = self.uncompressed
            result |= {"compressed": 1, "uncompressed_extent": extent, "payload_crc32": checksum}
        elif version & COMPRESSED:
            result["compressed"] = 1
        if not self.is_container:
            result["class"] = self.xtc_type.name if self.xtc_type else None
            if data:
                record = self.record
                if record is not None and record.xtc_type.config_types and not record.xtc_type.config_inside:
                    config = record._layout_.config
                    if config is not None:
                        result["config"] = config.xtc_type.name
                result["data"] = None if record is None else plain_record(record)
        return result


@dataclass(slots=True)
class DatagramContents:
    """A datagram: its header, and all that is in it.

    Attributes
    ----------
    row : numpy.void
        The row of the datagram table.
    event : int or None
        Number among the events of the file, None for other transitions.
    root : Node
        The header of its outermost container.
    items : list of Item
    """

    row: Any
    event: int | None
    root: Node
    items: list[Item] = field(default_factory=list)

    @property
    def offset(self) -> int:
        """Place in the file."""
        return int(self.row["offset"])

    @property
    def transition(self) -> str:
        """Name of the transition."""
        return Transition(self.service).name

    @property
    def service(self) -> int:
        """Number of the transition."""
        return int(self.row["stamp_low"]) >> 24 & 0xF

    def plain(self) -> dict[str, Any]:
        """Return the JSON form of the header, without ``xtcs``."""
        row, root = self.row, self.root
        low, high = int(row["stamp_low"]), int(row["stamp_high"])
        return {
            "off": self.offset, "size": XTC_HEADER + root.extent,
            "service": self.service, "transition": self.transition,
            "seconds": int(row["seconds"]), "nanoseconds": int(row["nanoseconds"]), "fiducials": high & 0x1FFFF,
            "ticks": low & 0xFFFFFF, "vector": high >> 17, "control": low >> 24, "seqtype": low >> 28 & 3,
            "env": int(row["env"]), "damage": root.damage, "level": root.log >> 24, "log": root.log, "phy": root.phy,
            "src": Source(root.log, root.phy).daq_name, "type": plain_type(root.type),
            "version": root.type >> 16 & ~COMPRESSED, "extent": root.extent,
        }  # fmt: skip


class FileContents:
    """Everything in one XTC file; iterate over it for the datagrams in file order.

    The iteration ends with a `DatagramError` at the first datagram that contradicts the format; what the format
    tolerates is counted in `notes`.  One datagram is in memory at a time.

    Parameters
    ----------
    path : path
        A big or small-data file.
    events : slice, or ndarray of int64, optional
        Only these events, by their numbers in the file, without the other transitions.
    wanted : function of Item, optional
        Only items for which it is true; datagrams without any are left out.
    objects : bool
        Whether objects are decoded (else only headers are looked at).
    expand : bool
        Whether the objects of the big file stand in place of the proxies of small data.

    Attributes
    ----------
    table : FileTable
    end : int
        Offset after the last datagram that was whole.
    notes : Counter of str
        What was unusual, and how often.

    Raises
    ------
    NotFoundError, DataError
        The file does not exist, or cannot be opened, or has no event with the number with which `events` begins.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        events: slice | NDArray[np.int64] | None = None,
        wanted: Callable[[Item], bool] | None = None,
        objects: bool = True,
        expand: bool = False,
    ) -> None:
        self.path = Path(path)
        self.table: FileTable = walk_file(path)
        self.end = 0
        self.notes: Counter[str] = Counter()
        if isinstance(events, slice):
            services = self.table.datagrams["stamp_low"] >> 24 & 0xF
            check_events(events, int(np.count_nonzero(services == Transition.L1Accept)), self.path.name)
        self._events = events
        self._wanted = wanted
        self._objects = objects
        self._expand = expand
        self._configs: Configs = {}
        self._looked_before = False

    def __iter__(self) -> Iterator[DatagramContents]:
        rows = self.table.datagrams
        services = rows["stamp_low"] >> 24 & 0xF
        is_event = services == Transition.L1Accept
        numbers = np.cumsum(is_event) - 1
        chosen = None if self._events is None else set(np.arange(int(is_event.sum()))[self._events].tolist())
        last = -1 if chosen is None else max(chosen, default=-1)
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            for row, event, number in zip(rows, is_event.tolist(), numbers.tolist(), strict=True):
                self._check(row)
                if chosen is None or not event or number in chosen:
                    shown = self._datagram(descriptor, row, number if event else None)
                    if (chosen is None or event) and (self._wanted is None or shown.items):
                        yield shown
                self.end = int(row["offset"]) + XTC_HEADER + int(row["extent"])
                if chosen is not None and number >= last:
                    return
        finally:
            os.close(descriptor)
        self._finish()

    def _check(self, row: Any) -> None:
        """Refuse a datagram whose containers contradict each other."""
        flags = int(row["flags"])
        if flags & DatagramFlag.LOOSE_BYTES:
            self.notes["too few bytes for a header at the end of a container"] += 1
        if flags & _CORRUPT:
            offset = int(row["offset"])
            end = offset + XTC_HEADER + int(row["extent"])
            problem = next((p for p in self._corrupt() if offset <= p.offset < end), None)
            raise DatagramError(
                self.path,
                problem.offset if problem else offset,
                problem.message if problem else "the containers of this datagram contradict each other",
            )

    def _corrupt(self) -> list[Problem]:
        return [problem for problem in self.table.problems if problem.kind != ProblemKind.LOOSE_BYTES]

    def _finish(self) -> None:
        for problem in self.table.problems:
            if problem.kind.ends_file:
                raise DatagramError(self.path, problem.offset, problem.message)
        services = (self.table.datagrams["stamp_low"] >> 24 & 0xF).tolist()
        if not services:
            self.notes["the file is empty"] += 1
        elif Transition.Configure not in services and not _chunks(self.path)[0]:
            self.notes["there is no Configure, and no earlier chunk"] += 1
        elif services[-1] == Transition.L1Accept and not _chunks(self.path)[1]:
            self.notes[
                "the file ends after an event, without the transitions of an end, and there is no later chunk"
            ] += 1

    def _datagram(self, descriptor: int, row: Any, event: int | None) -> DatagramContents:
        offset, size = int(row["offset"]), XTC_HEADER + int(row["extent"])
        data = os.pread(descriptor, size, offset)
        if len(data) < size:
            raise DatagramError(self.path, offset, f"a datagram of {size} bytes could not be read whole")
        words = np.frombuffer(data, "<u4", 5, XTC_HEADER).tolist()
        shown = DatagramContents(row, event, Node(-1, offset + XTC_HEADER, *words))
        damaged: list[int] = []  # depths of the containers around that may be cut short
        view = memoryview(data)
        for node in walk_tree(data):
            while damaged and node.depth <= damaged[-1]:
                damaged.pop()
            item = self._item(view, offset, node, bool(damaged))
            if item.is_container and node.fits and node.damage & _INCOMPLETE:
                damaged.append(node.depth)
            if self._wanted is None or self._wanted(item):
                shown.items.append(item)
        return shown

    def _item(self, data: memoryview, offset: int, node: Node, damaged: bool) -> Item:
        item = Item(node._replace(offset=offset + node.offset))
        if not node.fits:
            self.notes["a child that does not fit into its damaged parent"] += 1
            return item
        if item.is_container:
            return item
        payload = data[node.offset + XTC_HEADER : node.offset + node.extent]
        try:
            if self._expand and node.type & 0xFFFF == TYPE_PROXY:
                payload = self._follow(item, data, node)
            self._fill(item, payload)
        except NotFoundError as error:
            self.notes[error.message] += 1
        except DataError as error:
            if not damaged and not item.node.damage:
                raise DatagramError(self.path, item.node.offset, error.message) from error
            self.notes["a damaged object that cannot be decoded"] += 1
        return item

    def _follow(self, item: Item, data: memoryview, node: Node) -> memoryview:
        """Put the header of the proxied object into the item, and return its payload."""
        if node.extent < PROXY.itemsize:
            raise DataError(f"a proxy of {node.extent} bytes, {PROXY.itemsize} are needed")
        proxy = np.frombuffer(data, PROXY, 1, node.offset)[0]
        payload = read_proxy(big_file_of(self.path), proxy)
        item.node = item.node._replace(type=int(proxy["type"]), extent=int(proxy["extent"]))
        return payload

    def _fill(self, item: Item, payload: memoryview) -> None:
        """Decode the payload of an item."""
        number, version = item.node.type & 0xFFFF, item.node.type >> 16
        if self._objects and version & COMPRESSED and len(payload):
            payload = memoryview(decompress(payload))
            item.uncompressed = XTC_HEADER + len(payload), zlib.crc32(payload)
        if number == EPICS:
            if len(payload):
                record = decode_epics(payload)
                item.xtc_type = record.xtc_type
                item.record = record if self._objects else None
            return
        item.xtc_type = find(number, version)
        if item.xtc_type is None:
            if number:
                self.notes[f"an object of the unknown type {item.type_text}"] += 1
        elif (len(payload) or item.xtc_type.size == 0) and (self._objects or item.xtc_type.kind == "config"):
            item.record = self._decode(item.xtc_type, payload, (item.node.log >> 24, item.node.phy))

    def _decode(self, xtc_type: XtcType, payload: memoryview, source: tuple[int, int]) -> Record | None:
        config = None
        if xtc_type.config_types and not xtc_type.config_inside:
            config = config_for(xtc_type, self._configs.get(source, {}))
            if config is None and not self._looked_before:
                self._look_before()
                config = config_for(xtc_type, self._configs.get(source, {}))
        record = decode(xtc_type, payload, config)
        if xtc_type.kind == "config":
            self._configs.setdefault(source, {})[xtc_type.name] = record
        return record

    def _look_before(self) -> None:
        """Take the configuration objects from the earlier chunks of the stream, as far as they are there."""
        self._looked_before = True
        known: Configs = {}
        for chunk in _chunks(self.path)[0]:
            before = FileContents(chunk, events=slice(0))
            before._looked_before = True
            try:
                for _ in before:
                    pass
            except PsanaError as error:
                self.notes[f"an earlier chunk: {error.message}"] += 1
            for source, configs in before._configs.items():
                known.setdefault(source, {}).update(configs)
        for source, configs in known.items():
            self._configs[source] = configs | self._configs.get(source, {})


def _chunks(path: Path) -> tuple[list[Path], bool]:
    """Return the earlier chunks of the same stream, as far as they exist, and whether the next one exists."""
    match = _CHUNK_NAME.fullmatch(path.name)
    if match is None:
        return [], False
    head, number, tail = match.groups()
    chunks = [path.with_name(f"{head}{k:0{len(number)}}{tail}") for k in range(min(int(number), _MOST_CHUNKS) + 2)]
    return [chunk for chunk in chunks[: int(number)] if chunk.is_file()], chunks[-1].is_file()
