"""How many images a second come corrected from their file, on one core: a full CSPAD, and a Jungfrau of one megapixel.

``python benchmarks/detectors.py`` writes two runs and constants into a temporary directory, and prints each figure and
its limit.  The files are in the page cache.  The original made 51 images of a CSPAD a second with common mode, and 82
to 147 without.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import numpy as np
from measure import at_least, finish

from psanacli.calib import format_text
from psanacli.detector import AreaDetector
from psanacli.run import Run, open_run
from psanacli.xtc import Container, Contribution, RunWriter, Source, node
from psanacli.xtc.encode import encode

NODE = node("172.21.38.10", 5000)
EVENTS = 60
ROUNDS = 10
"""How often all images are corrected; the best counts, as others on the machine take memory and cores for a while."""


def cspad_in_two_gains(directory: Path, events: int) -> Source:
    """Write a run of a CSPAD that has every second ASIC in low gain."""
    return cspad(directory, events, 0x5555)


def cspad(directory: Path, events: int, high_gain: int = 0xFFFF) -> Source:
    """Write a run of a CSPAD that is read out whole; the bits of `high_gain` are ASICs of each quadrant."""
    source, random = Source.parse("CxiDs1.0:Cspad.0"), np.random.default_rng(1)
    gain_map = {"gainMap": np.full((185, 194), high_gain, "u2")}
    quads = [{"gm": gain_map}] * 4
    values = {"asicMask": 0xF, "quadMask": 0xF, "roiMasks": 0xFFFFFFFF, "quads": quads}
    config = encode("CsPad.ConfigV5", values)
    pixels = random.normal(1303, 6, (4, 8, 185, 388)).astype("i2")
    element = np.zeros(32, np.uint8)
    parts = []
    for quad in range(4):
        element[4:8].view("u4")[0] = quad << 24
        parts.append(element.tobytes() + pixels[quad].tobytes() + bytes(4))
    payload = b"".join(parts)
    write(directory, source, ("CsPad.ConfigV5", config), ("CsPad.DataV2", payload), events)
    constants(directory, "CsPad", source, (32, 185, 388), random, (1300.0,))
    return source


def jungfrau(directory: Path, events: int) -> Source:
    """Write a run of a Jungfrau with two modules."""
    source, random = Source.parse("CxiEndstation.0:Jungfrau.0"), np.random.default_rng(2)
    shape = {"numberOfModules": 2, "numberOfRowsPerModule": 512, "numberOfColumnsPerModule": 1024}
    config = encode("Jungfrau.ConfigV3", shape)
    pixels = random.normal(3003, 6, (2, 512, 1024)).astype("u2")
    payload = bytes(16 + 2 * 20) + pixels.tobytes()
    write(directory, source, ("Jungfrau.ConfigV3", config), ("Jungfrau.ElementV2", payload), events)
    constants(directory, "Jungfrau", source, (2, 512, 1024), random, (3000.0, 9000.0, 9100.0))
    return source


def write(directory: Path, source: Source, config: tuple[str, bytes], data: tuple[str, bytes], events: int) -> None:
    with RunWriter(directory / "xtc", "e301", 1) as run:
        run.configure([Container(NODE, [Contribution(config[0], source, config[1])])])
        run.begin_step([])
        for _ in range(events):
            run.event([Container(NODE, [Contribution(data[0], source, data[1])])])


def constants(
    directory: Path,
    group: str,
    source: Source,
    shape: tuple[int, ...],
    random: np.random.Generator,
    levels: tuple[float, ...],
) -> None:
    full = (len(levels), *shape) if len(levels) > 1 else shape
    level = np.reshape(levels, (-1, *[1] * len(shape))) if len(levels) > 1 else levels[0]
    status = (random.random(full) < 0.01).astype("u2")
    arrays = {
        "pedestals": (level + random.normal(0, 4, full)).astype("f4"),
        "pixel_gain": random.normal(1, 0.05, full).astype("f4"),
        "pixel_status": status,
    }
    for name, array in arrays.items():
        place = directory / "calib" / f"{group}::CalibV1" / source.name / name
        place.mkdir(parents=True)
        (place / "0-end.data").write_bytes(format_text(array, fmt="%d" if array.dtype.kind == "u" else "%.2f"))


def rate(run: Run, detector: AreaDetector, common_mode: object) -> tuple[float, float]:
    """Return images a second of processor time: one by one, and by blocks."""
    best = [float("inf")] * 2
    out = np.empty(detector.shape, np.float32)
    for _ in range(ROUNDS):
        began = time.process_time()
        for event in run.events:
            detector.calib(event, common_mode=common_mode, out=out)  # type: ignore[arg-type]
        middle = time.process_time()
        for _ in run.blocks(detector, common_mode=common_mode):
            pass
        best = [min(best[0], middle - began), min(best[1], time.process_time() - middle)]
    return EVENTS / best[0], EVENTS / best[1]


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        os.environ["XDG_CACHE_HOME"] = name
        for what, make, modes in (
            ("CSPAD", cspad, ((None, 250.0), (False, 250.0))),
            ("CSPAD in two gains", cspad_in_two_gains, ((None, 250.0), (False, 250.0))),
            ("Jungfrau 1M", jungfrau, ((False, 400.0), (None, 0.0))),
        ):
            top = Path(name) / make.__name__
            (top / "xtc").mkdir(parents=True)
            source = make(top, EVENTS)
            with open_run(top / "xtc", calib_dir=top / "calib") as run:
                detector = run.detector(source.name)
                assert isinstance(detector, AreaDetector)
                for mode, limit in modes:
                    single, blocks = rate(run, detector, mode)
                    with_mode = "with" if mode is None else "without"
                    megapixels = single * np.prod(detector.shape) / 1e6
                    detail = f"{megapixels:.0f} Mpixel/s; by blocks {blocks:.0f} images/s"
                    at_least(f"{what}: images/s from file, {with_mode} common mode", single, limit, detail)


if __name__ == "__main__":
    main()
    finish()
