"""Writing datagrams: contributions and containers to bytes.

The objects here are values: a `Datagram` holds containers and contributions, a container holds more of them, a
contribution holds the payload of one object.  Payloads are written as they are, without copies; `psanacli.xtc.encode`
makes them.  Files and runs are written by `psanacli.xtc.run_writer`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from psanacli.errors import DataError
from psanacli.xtc.catalogue import named
from psanacli.xtc.compress import Engine, compress
from psanacli.xtc.encode import Values, encode
from psanacli.xtc.epics import EPICS_EPOCH, FIRST_CTRL, FIRST_TIME, RECORD_KINDS
from psanacli.xtc.headers import (
    COMPRESSED_BIT,
    DATAGRAM_HEADER,
    NO_FIDUCIAL,
    TYPE_EPICS,
    TYPE_XTC,
    XTC_HEADER,
    XTC_TYPE_WORD,
    Buffer,
    Level,
    Transition,
)
from psanacli.xtc.sources import Source
from psanacli.xtc.walk import Node, walk_tree

_XTC = struct.Struct("<5I")
_DATAGRAM = struct.Struct("<10I")
_LARGEST_EXTENT = 0xFFFFFFFF
_EXTENDED = 0x80
EPICS_WORD = 1 << 16 | TYPE_EPICS
"""Type word of EPICS records."""
NODE = Source(Level.Event << 24, 0)
"""Source of the outermost Xtc of a datagram, unless another one is given."""

DATAGRAM_WORDS = np.dtype(
    [
        (name, "<u4")
        for name in (
            "nanoseconds", "seconds", "stamp_low", "stamp_high", "env", "damage", "log", "phy", "type", "extent",
        )
    ]
)  # fmt: skip
"""The header of a datagram, 40 bytes."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """One object, to be written.

    Parameters
    ----------
    type : int or str
        Type word, or full name of a type of the catalogue (``Camera.FrameV1``).
    source : Source
        Who wrote it.
    payload : bytes-like
        The object, contiguous; it is padded with zeros to a multiple of 4 bytes.
    damage : int
        Damage word.
    """

    type: int | str
    source: Source
    payload: Buffer | NDArray[Any] = b""
    damage: int = 0

    @property
    def type_word(self) -> int:
        """The type as it stands in the header."""
        if isinstance(self.type, int):
            return self.type
        xtc_type = named(self.type)
        if xtc_type.type_id is None or xtc_type.version is None:
            raise ValueError(f"{self.type} has no type number: it occurs inside of other objects only")
        return xtc_type.version << 16 | xtc_type.type_id

    def compressed(
        self, engine: Engine, *, header: int = 16, depth: int = 2, blocks: Sequence[int] | None = None
    ) -> Contribution:
        """Return the same object with its payload compressed; see `psanacli.xtc.compress`."""
        payload = compress(memoryview(self.payload).cast("B"), engine, header=header, depth=depth, blocks=blocks)
        return Contribution(self.type_word | COMPRESSED_BIT, self.source, payload, self.damage)


@dataclass(frozen=True, slots=True)
class Container:
    """Holds contributions and other containers; one for each readout node is usual.

    Parameters
    ----------
    source : Source
        Usually of level Segment: the computer that collected what is inside.
    children : sequence of Container or Contribution
    damage : int
        Damage word.
    type : int
        Type word.
    """

    source: Source
    children: Sequence[Container | Contribution] = ()
    damage: int = 0
    type: int = XTC_TYPE_WORD


@dataclass(frozen=True, slots=True)
class Datagram:
    """An event or another transition of one stream.

    Parameters
    ----------
    transition : Transition
    seconds, nanoseconds : int
        Clock.
    children : sequence of Container or Contribution
    fiducials : int
        Pulse counter; unknown in transitions.
    ticks, vector : int
        Counters, 24 and 15 bits.
    env : int
        Depends on the transition; the run number in BeginRun.
    control : int, optional
        The high byte of the first stamp word; by default the transition number, with bit 7 set unless it is an event.
    damage : int
        Damage word of the whole datagram.
    source : Source
        Of the outermost Xtc.
    type : int
        Type word of the outermost Xtc.

    Examples
    --------
    >>> len(bytes(Datagram(Transition.Enable, 1436200001, 683456789)))
    40
    """

    transition: Transition
    seconds: int
    nanoseconds: int
    children: Sequence[Container | Contribution] = ()
    fiducials: int = NO_FIDUCIAL
    ticks: int = 0
    vector: int = 0
    env: int = 0
    control: int | None = None
    damage: int = 0
    source: Source = NODE
    type: int = field(default=XTC_TYPE_WORD, repr=False)

    @classmethod
    def parse(cls, buffer: Buffer, offset: int = 0) -> Datagram:
        """Read a datagram back: `bytes` of it are those of the buffer.  Payloads are views into the buffer.

        Raises
        ------
        DataError
            A header contradicts its parent, so that what is inside cannot be written again.
        """
        view = memoryview(buffer).cast("B")
        nodes = walk_tree(view, offset)
        words = _DATAGRAM.unpack_from(view, offset)
        nanoseconds, seconds, low, high, env, damage, log, phy, kind, extent = words
        return cls(
            Transition(low >> 24 & 0xF) if low >> 24 & 0xF < len(Transition) else _no_transition(low),
            seconds,
            nanoseconds,
            _tree(view, nodes, offset + DATAGRAM_HEADER, offset + XTC_HEADER + extent),
            high & 0x1FFFF,
            low & 0xFFFFFF,
            high >> 17,
            env,
            low >> 24,
            damage,
            Source(log, phy),
            kind,
        )

    def parts(self) -> list[Buffer]:
        """Return the buffers that, one after the other, are the datagram; payloads are not copied."""
        out: list[Any] = [b""]
        extent = XTC_HEADER + _append(self.children, out)
        control = self.control
        if control is None:
            control = self.transition | (0 if self.transition == Transition.L1Accept else _EXTENDED)
        if extent > _LARGEST_EXTENT:
            raise ValueError(f"a datagram cannot be {extent} bytes long")
        out[0] = _DATAGRAM.pack(
            self.nanoseconds,
            self.seconds,
            control << 24 | self.ticks & 0xFFFFFF,
            (self.vector & 0x7FFF) << 17 | self.fiducials & 0x1FFFF,
            self.env,
            self.damage,
            self.source.log,
            self.source.phy,
            self.type,
            extent,
        )
        return out

    def __bytes__(self) -> bytes:
        return b"".join(self.parts())


class DatagramBlock:
    """Many datagrams of the same shape in one array: the fast way to write events.

    All begin as copies of a template; clocks and payloads are then set for all of them at once.

    Parameters
    ----------
    template : Datagram
        What all of them look like.
    count : int
        How many.

    Attributes
    ----------
    data : ndarray of uint8, shape (count, bytes of a datagram)
        The datagrams.

    Examples
    --------
    >>> beam = Contribution("Bld.BldDataPhaseCavity", Source.parse("PhaseCavity"), bytes(32))
    >>> block = DatagramBlock(Datagram(Transition.L1Accept, 0, 0, [beam]), 100)
    >>> block.payload(0, "<f8")[:, 0] = range(100)
    """

    def __init__(self, template: Datagram, count: int) -> None:
        one = np.frombuffer(bytes(template), np.uint8)
        self.data: NDArray[np.uint8] = np.repeat(one[np.newaxis], count, axis=0)
        leaves = [node for node in walk_tree(one) if node.type & 0xFFFF != TYPE_XTC]
        self._payloads = [(node.offset + XTC_HEADER, node.offset + node.extent) for node in leaves]

    def __len__(self) -> int:
        return len(self.data)

    @property
    def headers(self) -> NDArray[Any]:
        """The header words of all datagrams, shape (count,), dtype `DATAGRAM_WORDS`; a view."""
        return self.data[:, :DATAGRAM_HEADER].view(DATAGRAM_WORDS)[:, 0]

    def payload(self, number: int, dtype: np.dtype[Any] | str = "u1") -> NDArray[Any]:
        """Return the payloads of contribution `number`, shape (count, items of `dtype`); a view."""
        begin, end = self._payloads[number]
        return self.data[:, begin:end].view(dtype)


def epics_record(
    pv_id: int, value: ArrayLike, *, name: str = "", seconds: int = 0, nanoseconds: int = 0, **more: Any
) -> bytes:
    """Return the payload of an EPICS record; its kind follows from the value.

    Parameters
    ----------
    pv_id : int
        Number of the PV within its source.
    value : str, number or sequence
        Text, int16, uint8, int32, float32 or float64; other integers and floats become int32 and float64.
    name : str
        Name of the PV: makes a CTRL record, as it comes in Configure.  Otherwise it is a TIME record.
    seconds, nanoseconds : int
        Unix time of a TIME record.
    **more
        Further fields of the record's ``dbr`` structure, such as ``status``, ``severity``, ``units`` or ``precision``.
    """
    values = np.atleast_1d(np.asarray(value))
    code = values.dtype.kind
    if code in "US":
        kind = 0
    else:
        kinds = {"i2": 1, "f4": 2, "u2": 3, "u1": 4, "i4": 5, "f8": 6}
        kind = kinds.get(values.dtype.str[1:], 6 if code == "f" else 5)
    record = RECORD_KINDS[(FIRST_CTRL if name else FIRST_TIME) + kind]
    dbr: dict[str, Any] = dict(more)
    if not name:
        dbr["stamp"] = {"sec": seconds - EPICS_EPOCH if seconds else 0, "nsec": nanoseconds}
    data = [str(text) for text in values.tolist()] if kind == 0 else values
    fields: Values = {"pvId": pv_id, "dbrType": record.dbr_type, "numElements": len(values), "dbr": dbr, "data": data}
    return encode(record.xtc_type, {**fields, **({"pvName": name} if name else {})})


def _append(children: Iterable[Container | Contribution], out: list[Any]) -> int:
    """Append the buffers of all children; return their size in bytes."""
    total = 0
    for child in children:
        if isinstance(child, Container):
            place = len(out)
            out.append(b"")
            extent = XTC_HEADER + _append(child.children, out)
            kind = child.type
        else:
            payload = child.payload
            size = len(payload) if isinstance(payload, bytes) else memoryview(payload).nbytes
            extent = XTC_HEADER + size + (-size & 3)
            place = len(out)
            kind = child.type_word
            out.append(b"")
            out.append(payload)
            if size & 3:
                out.append(bytes(-size & 3))
        if extent > _LARGEST_EXTENT:
            raise ValueError(f"an object cannot be {extent} bytes long")
        out[place] = _XTC.pack(child.damage, child.source.log, child.source.phy, kind, extent)
        total += extent
    return total


def _tree(view: memoryview, nodes: list[Node], begin: int, end: int) -> list[Container | Contribution]:
    """Put nodes that stand in file order back into a tree."""
    root: list[Container | Contribution] = []
    levels = [(root, end)]
    at = begin
    for node in nodes:
        while len(levels) > node.depth + 1:
            at = _close(levels, at)
        if not node.fits:
            raise DataError(f"the header at {node.offset} has the extent {node.extent}, which does not fit its parent")
        source = Source(node.log, node.phy)
        if node.type & 0xFFFF == TYPE_XTC:
            inside: list[Container | Contribution] = []
            levels[-1][0].append(Container(source, inside, node.damage, node.type))
            levels.append((inside, node.offset + node.extent))
            at = node.offset + XTC_HEADER
        else:
            at = node.offset + node.extent
            payload = view[node.offset + XTC_HEADER : at]
            levels[-1][0].append(Contribution(node.type, source, payload, node.damage))
    while levels:
        at = _close(levels, at)
    return root


def _close(levels: list[tuple[list[Container | Contribution], int]], at: int) -> int:
    end = levels.pop()[1]
    if at != end:
        raise DataError(f"{end - at} bytes at {at} are no header")
    return end


def _no_transition(low: int) -> Transition:
    raise DataError(f"a datagram has the transition number {low >> 24 & 0xF}, which does not exist")
