"""Detectors whose modules are read out apart: which sources are pieces of which detector.

A Jungfrau may come as several sources, each with one to four of its modules (`Source.segment`).  How they go together
is the rule of the facility's data acquisition: the modules of a piece stand at its index in the whole, all pieces tell
the same number of modules, and no module is in two of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from psanacli.errors import DataError
from psanacli.xtc import Segment, Source


class Whole(NamedTuple):
    """A detector that is read out in pieces.

    Attributes
    ----------
    source : Source
        Of the whole: ``CxiEndstation.0:Jungfrau.0``.
    pieces : tuple of (Source, Segment)
        Those that there are, by their first module.
    """

    source: Source
    pieces: tuple[tuple[Source, Segment], ...]

    @property
    def modules(self) -> int:
        """Number of its modules, also of those that are in no piece.

        Raises
        ------
        DataError
            The pieces contradict each other.
        """
        totals = sorted({segment.total for _, segment in self.pieces})
        if len(totals) > 1:
            told = "; ".join(f"{source.name} says {segment.total}" for source, segment in self.pieces)
            raise DataError(f"the pieces of {self.source.name} do not agree how many modules it has: {told}")
        taken: dict[int, Source] = {}
        for source, segment in self.pieces:
            for module in range(segment.first, segment.first + segment.modules):
                other = taken.setdefault(module, source)
                if other is not source:
                    raise DataError(
                        f"module {module} of {self.source.name} is in {other.name} and in {source.name}",
                        "each piece is a detector too; choose streams (stream=) so that one of them is left out",
                    )
        # Four bits tell the number, so that of 16 modules is 0.
        total = totals[0] or max(taken) + 1
        if max(taken) >= total:
            raise DataError(
                f"{taken[max(taken)].name} has module {max(taken)} of {self.source.name}, which has {total} modules"
            )
        return total

    @property
    def absent(self) -> tuple[int, ...]:
        """The modules that are in no piece."""
        there = {
            module for _, segment in self.pieces for module in range(segment.first, segment.first + segment.modules)
        }
        return tuple(module for module in range(self.modules) if module not in there)


def wholes(sources: Iterable[Source]) -> dict[str, Whole]:
    """Return the detectors that some sources are pieces of, by their full names.

    A source that has data under the name of the whole is no whole: it was put together when it was recorded.
    """
    every = list(sources)
    found: dict[tuple[int, int], tuple[Source, list[tuple[Source, Segment]]]] = {}
    for source in every:
        segment = source.segment
        if segment is not None:
            found.setdefault(segment.whole.identity, (segment.whole, []))[1].append((source, segment))
    recorded = {source.identity for source in every}
    return {
        whole.name: Whole(whole, tuple(sorted(pieces, key=lambda piece: (piece[1].first, piece[0].name))))
        for identity, (whole, pieces) in found.items()
        if identity not in recorded
    }
