"""Which source is absent in which event: a table of presence, binned honestly, as text and as a picture.

A bin that is shown as complete has the object in every one of its events, one that is shown as empty in none; whatever
lies between is shown as partial, however large the bin.  Damage in one event of a bin shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from psanacli.run.picture import GLYPH_HEIGHT, GLYPH_WIDTH, Canvas, Colour

if TYPE_CHECKING:
    from psanacli.run.run import Run

ABSENT, PRESENT, DAMAGED, LOST = 0, 1, 2, 3
"""States of an object in an event; damaged: it can be had, with damage; lost: its damage is such that it cannot."""

EMPTY, COMPLETE, NOTHING_BUT_LOST = "·", "█", "!"
_PARTS = "▁▂▃▄▅▆▇"

_INK: Colour = (40, 84, 138)
_DAMAGE: Colour = (200, 40, 40)
_PAPER: Colour = (255, 255, 255)
_GREY: Colour = (150, 150, 150)
_ROW, _GAP = 11, 2


@dataclass(frozen=True)
class Presence:
    """Where the objects of a run are.

    Attributes
    ----------
    labels : tuple of str
        A name for each object.
    states : ndarray of uint8, shape (objects, events)
        `ABSENT`, `PRESENT`, `DAMAGED` or `LOST`.
    steps : tuple of int
        The first event of every step.
    """

    labels: tuple[str, ...]
    states: NDArray[np.uint8]
    steps: tuple[int, ...] = ()

    @property
    def events(self) -> int:
        """Number of events."""
        return int(self.states.shape[1])

    def damaged(self, number: int) -> int:
        """Return in how many events there is damage to an object."""
        return int(np.count_nonzero(self.states[number] >= DAMAGED))

    def shares(self) -> list[str]:
        """Return for each object in how many of the events it can be had, in percent."""
        return [shown_share(int(np.count_nonzero(_there(row))), self.events) for row in self.states]

    def gaps(self) -> dict[str, dict[str, list[list[int]]]]:
        """Return for each object the events without it, and those with damage, as lists of ``[first, stop]``."""
        return {
            label: {"absent": _stretches(row == ABSENT), "damaged": _stretches(row >= DAMAGED)}
            for label, row in zip(self.labels, self.states, strict=True)
        }

    def binned(self, bins: int) -> Bins:
        """Count presence in at most `bins` bins of (nearly) equal numbers of events."""
        count = max(min(bins, self.events), 0)
        edges = np.arange(count + 1, dtype=np.int64) * self.events // max(count, 1)
        if not count:
            nothing = np.zeros((len(self.labels), 0), np.int64)
            return Bins(np.zeros(1, np.int64), nothing, nothing)

        def counted(chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
            return np.add.reduceat(chosen, edges[:-1], axis=1, dtype=np.int64)

        return Bins(edges, counted(_there(self.states)), counted(self.states >= DAMAGED))

    def png(self, *, width: int = 1200) -> bytes:
        """Draw it as PNG: an object a row, events from left to right.

        Parameters
        ----------
        width : int
            Dots for the events; fewer events get several dots each, more share one.

        Returns
        -------
        bytes
            The PNG file.  Dark blue is present in all events of the dot, white in none, between the two in some; red
            means damage.  Grey marks show the beginnings of steps.
        """
        return _png(self, width)


def _stretches(chosen: NDArray[np.bool_]) -> list[list[int]]:
    turns = np.flatnonzero(np.diff(np.concatenate(([False], chosen, [False])).astype(np.int8)))
    return [[int(first), int(stop)] for first, stop in turns.reshape(-1, 2)]


def _there(states: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.asarray((states == PRESENT) | (states == DAMAGED))


@dataclass(frozen=True)
class Bins:
    """Presence in bins of events.

    Attributes
    ----------
    edges : ndarray of int64, shape (bins + 1,)
        Bin ``b`` has the events ``edges[b]:edges[b + 1]``; there is at least one in each.
    present, damaged : ndarray of int64, shape (objects, bins)
        In how many events of the bin the object can be had; in how many there is damage to it.
    """

    edges: NDArray[np.int64]
    present: NDArray[np.int64]
    damaged: NDArray[np.int64]

    LEGEND = (
        f"{COMPLETE} in all events of the bin, {_PARTS} in some, {EMPTY} in none, {NOTHING_BUT_LOST} lost by damage"
    )
    """The words below the rows."""

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Number of events in each bin."""
        return np.diff(self.edges)

    def levels(self, count: int) -> NDArray[np.int64]:
        """Return how full each bin is, from 0 (in no event) to `count` (in all); what is partial is never either."""
        if count < 2:
            raise ValueError(f"{count} levels cannot tell partial from empty and complete")
        partial = 1 + self.present * (count - 1) // np.maximum(self.sizes, 1)
        inner = np.clip(partial, 1, count - 1)
        return np.where(self.present == 0, 0, np.where(self.present == self.sizes, count, inner))

    def rows(self) -> list[str]:
        """Return a row of characters for each object, as `LEGEND` says."""
        letters = np.array([EMPTY, *_PARTS, COMPLETE])
        rows = letters[self.levels(len(letters) - 1)]
        rows[(self.present == 0) & (self.damaged > 0)] = NOTHING_BUT_LOST
        return ["".join(row) for row in rows]

    def scale(self) -> str:
        """Return the line below: numbers of events where they are."""
        row = [" "] * len(self.sizes)
        free = 0
        for place in range(0, len(row), 20):
            text = f"╵{self.edges[place]}"
            if place >= free and place + len(text) <= len(row):
                row[place : place + len(text)] = text
                free = place + len(text) + 1
        return "".join(row).rstrip()


def _png(presence: Presence, width: int) -> bytes:
    labels = [label if len(label) <= 60 else label[:57] + "..." for label in presence.labels]
    percent = presence.shares()
    bins = presence.binned(width)
    dots = max(width // max(len(bins.sizes), 1), 1)
    left = GLYPH_WIDTH * (max(map(len, labels), default=0) + 2)
    right = GLYPH_WIDTH * (max(map(len, percent), default=0) + 2)
    top, pitch = 2 * GLYPH_HEIGHT, _ROW + _GAP
    across = dots * len(bins.sizes)
    bottom = top + pitch * len(labels)
    legend = "blue: present  pale: in some events  white: absent  red: damaged  grey marks: steps"
    canvas = Canvas(max(left + across + right, GLYPH_WIDTH * (len(legend) + 4)), bottom + 4 * GLYPH_HEIGHT)
    canvas.write(left, GLYPH_HEIGHT // 2, f"{presence.events} events in {len(presence.steps)} steps")
    if across:
        for first in presence.steps:  # behind the rows, of which they hide nothing
            x = left + dots * int(np.searchsorted(bins.edges, first, "left"))
            canvas.fill(min(x, left + across - 1), top - 5, 1, bottom - top + 5, _GREY)
        _draw_rows(canvas, bins, dots, left, top)
    for k, (label, share) in enumerate(zip(labels, percent, strict=True)):
        canvas.write(left - GLYPH_WIDTH * (len(label) + 1), top + k * pitch + 1, label)
        canvas.write(left + across + GLYPH_WIDTH, top + k * pitch + 1, share)
    free = 0
    for place in range(0, across, 100):
        text = str(bins.edges[place // dots])
        if place >= free and place + len(text) * GLYPH_WIDTH <= across:
            canvas.fill(left + place // dots * dots, bottom + 2, 1, 4, _GREY)
            canvas.write(left + place // dots * dots, bottom + 8, text)
            free = place + (len(text) + 1) * GLYPH_WIDTH
    canvas.write(GLYPH_WIDTH, bottom + 8 + 3 * GLYPH_HEIGHT // 2, legend, _GREY)
    return canvas.png()


def _draw_rows(canvas: Canvas, bins: Bins, dots: int, left: int, top: int) -> None:
    paper = np.array(_PAPER, np.float64)
    depth = bins.levels(20)[..., None] / 20
    # A partial bin differs visibly from white and from dark blue.
    shade = np.where((depth > 0) & (depth < 1), 0.3 + 0.45 * depth, depth)
    ink = np.where(bins.damaged[..., None] > 0, np.array(_DAMAGE, np.float64), np.array(_INK, np.float64))
    shade = np.where(bins.damaged[..., None] > 0, np.maximum(shade, 0.5), shade)
    colours = np.rint(paper + (ink - paper) * shade).astype(np.uint8)
    for k, row in enumerate(colours):
        y = top + k * (_ROW + _GAP)
        canvas.place(left, y, np.broadcast_to(np.repeat(row, dots, axis=0), (_ROW, len(row) * dots, 3)))


def shown_share(part: int, whole: int) -> str:
    """Return a share in percent that says 0 % and 100 % only for nothing and everything.

    >>> shown_share(59_999, 60_000), shown_share(0, 5), shown_share(1, 60_000)
    ('99.9 %', '0 %', '0.1 %')
    """
    if whole == 0 or part in (0, whole):
        return f"{100 if part else 0} %"
    return f"{min(max(100 * part / whole, 0.1), 99.9):.1f} %"


def presence(run: Run) -> Presence:
    """Return where the objects of the events of a run are: a row for every type and source."""
    table = run.table
    keys = table.object_keys()
    states = np.full((len(keys), len(table.events)), ABSENT, np.uint8)
    sources = [key.source.identity for key in keys]
    labels = []
    for row, key in zip(states, keys, strict=True):
        objects = table.objects(key.xtc_type, key.source)
        row[objects.event[objects.stored]] = PRESENT
        damaged = objects.damage != 0
        row[objects.event[damaged]] = np.where(objects.stored[damaged], DAMAGED, LOST)
        name = next((alias for alias, known in run.aliases.items() if known.same_as(key.source)), key.source.name)
        several = sources.count(key.source.identity) > 1
        labels.append(f"{name} {key.xtc_type.name.partition('.')[2]}" if several else name)
    return Presence(tuple(labels), states, tuple(table.steps["first"].tolist()))
