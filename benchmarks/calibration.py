"""How fast constants are read: text, the cache of arrays, and the bytes alone; numpy's own reading beside.

``python benchmarks/calibration.py`` prints each figure and its limit.  The file is a CSPAD pedestal file of 18 MB, in
the cache of the system.
"""

from __future__ import annotations

import os
import time

import numpy as np
from measure import at_least, at_most, finish, in_memory, in_turn, median

from psanacli.calib import format_text, read_text

SHAPE = (32, 185, 388)


def main() -> None:
    with in_memory() as directory:
        os.environ["XDG_CACHE_HOME"] = str(directory / "cache")
        path = directory / "0-end.data"
        pedestals = np.round(np.random.default_rng(1).normal(1300, 60, SHAPE), 2).astype("f4")
        path.write_bytes(format_text(pedestals, fmt="%.2f", metadata=False))
        size = path.stat().st_size / 1e6

        def text() -> None:
            assert read_text(path, "f4", use_cache=False).text.values.size == pedestals.size

        def text_and_entry() -> None:
            assert read_text(path, "f4").text.values.size == pedestals.size

        def first() -> None:
            for entry in (directory / "cache").rglob("*.array"):
                entry.unlink()
            text_and_entry()

        def numpy_reads() -> None:
            np.loadtxt(path, dtype="f4")

        time.sleep(2.5)  # a file that has just been written gets no entry
        detail = f"{size:.0f} MB"
        at_most("reading the text the first time, entry written, s", median(first), 0.2, detail)
        assert list((directory / "cache").rglob("*.array"))
        at_most("reading it again, s", median(text_and_entry), 0.02, detail)
        pair = in_turn(numpy_reads, text, 3)
        at_least(
            "numpy.loadtxt / reading the text", pair.ratio, 5, f"{pair.first:.2f} s and {pair.second * 1e3:.0f} ms"
        )
        pair = in_turn(text, path.read_bytes)
        at_most("reading the text / reading its bytes", pair.ratio, 40, f"{pair.second * 1e3:.1f} ms for the bytes")
        pair = in_turn(text_and_entry, path.read_bytes)
        at_most("reading it again / reading the bytes of the text", pair.ratio, 3)
    finish()


if __name__ == "__main__":
    main()
