"""Files of a run, written anew bit by bit as a data acquisition writes them."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from psanacli.run import XtcFile

IN_PROGRESS = ".inprogress"


class Replay(threading.Thread):
    """Writes copies of files into a directory, all streams side by side, chunk after chunk.

    Parameters
    ----------
    paths : sequence of Path
        Whole files.
    directory : Path
        Where they grow.
    seed : int
        Of the sizes of the pieces; a piece may end anywhere.
    pieces : int
        Into about how many each file is cut.
    pause : float
        Seconds between pieces.
    in_progress : bool
        Whether the names are provisional until a file is whole.
    stop_after : dict of stream to float
        Part of the bytes of a stream after which its writer is killed.
    late : dict of stream to int
        Rounds after which a stream begins.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        directory: Path,
        *,
        seed: int = 1,
        pieces: int = 25,
        pause: float = 0.004,
        in_progress: bool = True,
        stop_after: dict[int, float] | None = None,
        late: dict[int, int] | None = None,
    ) -> None:
        super().__init__(daemon=True)
        self.directory = directory
        self.random = random.Random(seed)
        self.pieces, self.pause, self.in_progress = pieces, pause, in_progress
        self.stop_after, self.late = stop_after or {}, late or {}
        self.streams: dict[int, list[Path]] = {}
        for path in sorted(paths, key=lambda each: XtcFile.of(each).place):
            self.streams.setdefault(XtcFile.of(path).stream, []).append(path)

    def run(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        writers = {stream: self.write(stream, paths) for stream, paths in self.streams.items()}
        turn = 0
        while writers:
            for stream in list(writers):
                if turn >= self.late.get(stream, 0) and next(writers[stream], None) is None:
                    del writers[stream]
            turn += 1
            time.sleep(self.pause)

    def write(self, stream: int, paths: list[Path]):
        """Yield after each piece."""
        left = int(self.stop_after.get(stream, 2.0) * sum(path.stat().st_size for path in paths))
        for path in paths:
            data = path.read_bytes()
            name = self.directory / (path.name + IN_PROGRESS * self.in_progress)
            at = 0
            with open(name, "wb", buffering=0) as file:
                while at < len(data):
                    size = min(self.random.randint(1, max(2, 2 * len(data) // self.pieces)), len(data) - at, left)
                    if size <= 0:
                        return
                    file.write(data[at : at + size])
                    at, left = at + size, left - size
                    yield True
            if self.in_progress:
                os.rename(name, self.directory / path.name)
