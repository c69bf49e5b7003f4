"""Datagrams with fewer contributions: which bytes stay, and which extents change.

Datagrams that look alike share a `Recipe`, so that many are rewritten at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from psanacli.xtc import TYPE_XTC, XTC, walk_tree

_HEADER = 40
_EXTENT = 16
"""Place of the extent in an Xtc header; the one of a datagram begins 20 bytes into it."""

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Recipe:
    """How a datagram is made smaller.

    Attributes
    ----------
    size : int
        Bytes of the datagrams it is for.
    pieces : tuple of (int, int)
        First and last byte (excluded) of what stays, ascending.
    extents : tuple of (int, int)
        Place in the new datagram and value of extents that change.
    headers : tuple of (int, int, int)
        Offset, type word and extent of every container and contribution that a datagram has to have.
    """

    size: int
    pieces: tuple[tuple[int, int], ...]
    extents: tuple[tuple[int, int], ...]
    headers: tuple[tuple[int, int, int], ...]

    @property
    def new_size(self) -> int:
        """Bytes of the new datagrams."""
        return sum(stop - first for first, stop in self.pieces)

    @classmethod
    def of(cls, datagram: memoryview, kept: Iterable[int]) -> Recipe:
        """Return what leaves in a datagram only the contributions that begin at the offsets `kept`.

        Containers stay if something in them does. Behind a header that contradicts its parent nothing stays, as
        nobody reads it.
        """
        wanted = set(kept)
        nodes = walk_tree(datagram)
        fitting = [node for node in nodes if node.fits]
        stays = {node.offset for node in fitting if node.offset in wanted}
        # Containers around something that stays, from the inside.
        around: list[tuple[int, int]] = []
        for node in fitting:
            while around and node.offset >= around[-1][1]:
                around.pop()
            if node.offset in stays:
                stays.update(offset for offset, _ in around)
            if node.type & 0xFFFF == TYPE_XTC and node.offset not in wanted:
                around.append((node.offset, node.offset + node.extent))
        removed = dict.fromkeys((offset for offset in stays if offset not in wanted), 0)
        pieces = [(0, _HEADER)]
        place = _HEADER
        places: dict[int, int] = {}
        inside: list[tuple[int, int]] = []
        for node in fitting:
            while inside and node.offset >= inside[-1][1]:
                inside.pop()
            if node.offset not in stays:
                continue
            whole = node.offset in wanted
            length = node.extent if whole else XTC.itemsize
            places[node.offset] = place
            place += length
            if pieces[-1][1] == node.offset:
                pieces[-1] = pieces[-1][0], node.offset + length
            else:
                pieces.append((node.offset, node.offset + length))
            for offset, _ in inside:
                removed[offset] += length
            if not whole:
                inside.append((node.offset, node.offset + node.extent))
        extents = [(_HEADER - 4, place - XTC.itemsize)]
        extents += [(places[offset] + _EXTENT, XTC.itemsize + length) for offset, length in removed.items()]
        headers = tuple((node.offset, node.type, node.extent) for node in nodes)
        return cls(len(datagram), tuple(pieces), tuple(extents), headers)

    @classmethod
    def shell(cls, datagram: memoryview) -> Recipe:
        """Return what leaves of a datagram its header and one empty container, the first, if it has any."""
        first = next((node for node in walk_tree(datagram) if node.fits and node.type & 0xFFFF == TYPE_XTC), None)
        if first is None or first.offset != _HEADER:
            return cls(len(datagram), ((0, _HEADER),), ((_HEADER - 4, XTC.itemsize),), ())
        extents = (_HEADER - 4, 2 * XTC.itemsize), (_HEADER + _EXTENT, XTC.itemsize)
        headers = ((_HEADER, first.type, first.extent),)
        return cls(len(datagram), ((0, _HEADER + XTC.itemsize),), extents, headers)

    def fits(self, datagrams: Bytes) -> NDArray[np.bool_]:
        """Return which datagrams, rows of equal size, have the headers that the recipe is for."""
        right = np.ones(len(datagrams), bool)
        for offset, kind, extent in self.headers:
            words = np.ascontiguousarray(datagrams[:, offset + 12 : offset + 20]).view("<u4")
            right &= (words[:, 0] == kind) & (words[:, 1] == extent)
        return right

    def apply(self, datagrams: Bytes) -> Bytes:
        """Return the new datagrams, shape (n, new_size)."""
        out = np.empty((len(datagrams), self.new_size), np.uint8)
        at = 0
        for first, stop in self.pieces:
            out[:, at : at + stop - first] = datagrams[:, first:stop]
            at += stop - first
        for place, value in self.extents:
            out[:, place : place + 4] = np.frombuffer(value.to_bytes(4, "little"), np.uint8)
        return out
