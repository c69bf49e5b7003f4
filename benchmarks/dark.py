"""How fast a dark run is processed: 40 full CSPAD images, by one thread; numpy's own mean and rms beside.

``python benchmarks/dark.py`` prints each figure and its limit.  The run is in memory files.  Writing the constants as
text is told apart.
"""

from __future__ import annotations

import numpy as np
from measure import at_least, at_most, cspad_run, finish, in_memory, in_turn, median

from psanacli.calib import format_text
from psanacli.dark import Frames, plan_dark, process
from psanacli.parallel import Team
from psanacli.run import open_run

EVENTS = 40


def main() -> None:
    with in_memory() as directory, open_run(cspad_run(directory, EVENTS).paths) as run:
        (source,) = (name for name in run.detectors if ":Cspad." in name)

        def dark(method: str) -> None:
            assert process(plan_dark([run], source, method=method), Team()) is not None

        def robust() -> None:
            dark("robust")

        def numpy_alone() -> None:
            frames = Frames(run, source)
            stack = frames.read(np.flatnonzero(frames.objects.stored))[0] & np.uint16(0x3FFF)
            low, high = np.percentile(stack, (5, 95), axis=0)
            inside = np.where((stack >= low) & (stack <= high), stack, np.nan)
            np.nanmean(inside, axis=0), np.nanstd(inside, axis=0)

        at_most("dark run, method robust, s", median(robust, 3), 1, f"{EVENTS} full CSPAD images, 1 thread")
        at_most("dark run, method psana, s", median(lambda: dark("psana"), 3), 1)
        result = process(plan_dark([run], source), Team())
        assert result is not None

        def text() -> None:
            for name in ("pedestals", "pixel_rms", "pixel_status"):
                format_text(result.file_array(name), metadata=False)

        size = sum(len(format_text(result.file_array(name))) for name in ("pedestals", "pixel_rms", "pixel_status"))
        at_most("writing pedestals, rms and status as text, s", median(text, 3), 0.3, f"{size / 1e6:.0f} MB")
        pair = in_turn(numpy_alone, robust, 1)
        at_least(
            "gates, mean and rms by numpy / dark run", pair.ratio, 5, f"{pair.first:.1f} s and {pair.second:.2f} s"
        )
    finish()


if __name__ == "__main__":
    main()
