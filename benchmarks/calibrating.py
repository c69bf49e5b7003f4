"""How fast images come from the file to a corrected array, on one core: a full CSPAD, event by event.

``python benchmarks/calibrating.py`` prints each figure and its limit, in processor time.  The reference reads the bytes
of the image into memory that is there already, and does ``(raw - pedestals) * gain`` in numpy; it knows no mask.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from measure import at_least, at_most, cspad_run, fastest, finish, in_memory

import psanacli
from psanacli.calib import Store, format_text
from psanacli.demo import Sample
from psanacli.detector import AreaDetector
from psanacli.run import Run

CSPAD = (32, 185, 388)


def constants_of(sample: Sample, directory: Path) -> None:
    """Write constants that fit to the images of a run, as those of a dark run do."""
    random = np.random.default_rng(3)
    with psanacli.open_run(sample.datasource, roots=[sample.root]) as run:
        detector = detector_of(run)
        dark = detector.images(detector.event_numbers[:6], calib=False).mean(axis=0)
    constants = {
        "pedestals": (dark.astype("f4"), "%.3f"),
        "pixel_gain": (random.normal(1, 0.05, CSPAD).astype("f4"), "%.4f"),
        "pixel_status": ((random.random(CSPAD) < 0.01).astype("u2"), "%d"),
    }
    for constants_type, (array, form) in constants.items():
        home = Store(directory).type_directory(detector.name, constants_type)
        home.mkdir(parents=True)
        (home / "0-end.data").write_bytes(format_text(array, fmt=form))


def detector_of(run: Run) -> AreaDetector:
    detector = run.detector("cspad")
    assert isinstance(detector, AreaDetector)
    return detector


def each(run: Run, function: Callable[[int], object]) -> Callable[[], object]:
    """Return what calls a function with the number of the next event."""
    numbers = itertools.cycle(range(len(run.events)))
    return lambda: function(next(numbers))


def main() -> None:
    """A full CSPAD, event by event, from the file to a new corrected array."""
    with in_memory() as directory:
        os.environ["XDG_CACHE_HOME"] = str(directory / "cache")
        sample = cspad_run(directory, 24)
        constants_of(sample, directory / "calib")
        with (
            psanacli.open_run(sample.datasource, roots=[sample.root], calib_dir=directory / "calib") as run,
            open(sample.paths[0], "rb", buffering=0) as file,
        ):
            detector = detector_of(run)
            pedestals, gain = detector.pedestals, detector.gain
            assert gain is not None
            reference, raw = np.empty(CSPAD, np.float32), np.empty(CSPAD, np.int16)
            (key,) = (key for key in run.readers if key.xtc_type.name == "CsPad.DataV2")
            offsets = run.readers[key].objects.offset.tolist()

            def numpy_does(number: int) -> None:
                os.preadv(file.fileno(), [memoryview(raw).cast("B")], offsets[number])
                np.subtract(raw, pedestals, out=reference)
                np.multiply(reference, gain, out=reference)

            plain, without, common = fastest(
                each(run, numpy_does),
                each(run, lambda number: detector.calib(run.events[number], common_mode=False)),
                each(run, lambda number: detector.calib(run.events[number])),
                rounds=24,
            )
    at_most("CSPAD from file, no common mode / numpy from file", without / plain, 1.2, f"{plain * 1e3:.2f} ms of numpy")
    at_least("CSPAD from file, no common mode, events/s", 1 / without, 300, f"{without * 1e3:.2f} ms")
    at_least("CSPAD from file, with common mode, events/s", 1 / common, 250, f"{common * 1e3:.2f} ms")
    finish()


if __name__ == "__main__":
    main()
