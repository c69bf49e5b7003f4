"""Raw images of a detector that is read out in pieces, as stacks for the native code."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from psanacli.dark.frames import Frames, Stack
from psanacli.detector import SegmentedJungfrau, find_detector
from psanacli.errors import NotFoundError
from psanacli.run import Run


class JoinedFrames(Frames):
    """The images that the pieces of a detector make together; see `Frames`.

    A row is an event that has any of the pieces; it is `stored` when all of them are there, are of one frame and can be
    read.

    Parameters
    ----------
    run : Run
        Whose images.
    detector : SegmentedJungfrau
        Which detector.
    """

    def __init__(self, run: Run, detector: SegmentedJungfrau) -> None:
        self.run = run
        self.source = detector.name
        self.detector: SegmentedJungfrau = detector
        if not detector.shape:
            raise NotFoundError(f"run {run.number} has no images of {detector.name}")
        self.shape = tuple(detector.shape)
        self._pieces = [(piece.first, Frames(run, piece.name)) for piece in detector.pieces]
        self.numbers = np.unique(np.concatenate([frames.numbers for _, frames in self._pieces]))
        self.stored = np.ones(len(self.numbers), bool)
        self._rows = []
        for _, frames in self._pieces:
            rows = np.full(len(self.numbers), -1, np.int64)
            rows[np.searchsorted(self.numbers, frames.numbers)] = np.arange(len(frames.numbers))
            self._rows.append(rows)
            self.stored &= (rows >= 0) & frames.stored[rows]
        self.apart = detector.apart
        self.stored &= ~np.isin(self.numbers, self.apart)
        self.absent = np.zeros(detector.modules, np.bool_)
        self.absent[list(detector.absent)] = True

    def remarks(self, rows: NDArray[np.integer]) -> list[str]:
        """Return which pieces are missing, and in how many events."""
        counts = [int(np.count_nonzero(mine[rows] < 0)) for mine in self._rows]
        apart = int(np.count_nonzero(np.isin(self.numbers[rows], self.apart)))
        told = [f"the pieces are of different frames in {apart} event{'s' * (apart > 1)}; left out"] if apart else []
        return told + [
            f"{piece.name} is missing in {count} event{'s' * (count > 1)} that other pieces have; left out"
            for piece, count in zip(self.detector.pieces, counts, strict=True)
            if count
        ]

    def _read(self, rows: NDArray[np.integer], out: Stack | None = None) -> Stack:
        stack = np.empty((len(rows), self.pixels), np.uint16) if out is None else out
        images = stack.reshape(len(rows), *self.shape)
        good = np.ones(len(rows), bool)
        for (first, frames), mine in zip(self._pieces, self._rows, strict=True):
            read, broken = frames.read(mine[rows])
            if broken:  # which ones is told by reading each alone
                for place, row in enumerate(mine[rows].tolist()):
                    one, broken = frames.read(np.array([row]))
                    good[place] &= not broken
                    images[place, first : first + frames.shape[0]] = 0 if broken else one.reshape(frames.shape)
            else:
                images[:, first : first + frames.shape[0]] = read.reshape(len(rows), *frames.shape)
        images[:, self.absent] = 0
        return stack if good.all() else stack[good]


def frames_of(run: Run, source: str) -> Frames:
    """Return the raw images of a detector, put together where it comes in pieces."""
    found = find_detector(run, source)
    return JoinedFrames(run, found) if isinstance(found, SegmentedJungfrau) else Frames(run, source)
