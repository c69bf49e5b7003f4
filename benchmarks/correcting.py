"""How fast images are corrected on one core: a full CSPAD beside plain numpy, and a Jungfrau.

``python benchmarks/correcting.py`` prints each figure and its limit.  The reference is ``(raw - pedestals) * gain`` in
numpy with an output that is there already; it knows no mask.  Each is called again and again with another image, as in
a loop over events.
"""

from __future__ import annotations

import itertools

import numpy as np
from measure import at_least, at_most, fastest, finish

from psanacli.calib import RangedRecipe, Recipe, default_common_mode

CSPAD, JUNGFRAU = (32, 185, 388), (2, 512, 1024)
MEGAPIXEL = JUNGFRAU[0] * JUNGFRAU[1] * JUNGFRAU[2] / 1e6


def cspad() -> None:
    random = np.random.default_rng(1)
    pedestals, gain = random.normal(1300, 60, CSPAD).astype("f4"), random.normal(1, 0.05, CSPAD).astype("f4")
    hits = (random.random(CSPAD) < 0.02) * random.uniform(0, 200, CSPAD)
    raws = itertools.cycle([(pedestals + random.normal(3, 6, CSPAD) + hits).astype("i2") for _ in range(5)])
    mask = (random.random(CSPAD) > 0.01).astype(np.uint8)
    gain_map = np.where(random.random(CSPAD) < 0.5, 6.85, 1.0)
    mode = default_common_mode("Cspad")
    out, reference = np.empty(CSPAD, np.float32), np.empty(CSPAD, np.float32)

    def numpy_does() -> None:
        np.subtract(next(raws), pedestals, out=reference)
        np.multiply(reference, gain, out=reference)

    recipes = [
        Recipe("Cspad", pedestals, gain, mask=mask),
        Recipe("Cspad", pedestals, gain, gain_map, mask=mask),
        Recipe("Cspad", pedestals, gain, mask=mask, good=mask, common_mode=mode),
        Recipe("Cspad", pedestals, gain, gain_map, mask=mask, good=mask, common_mode=mode),
    ]
    plain, simple, mapped, common, all_of_it = fastest(
        numpy_does, *(lambda recipe=recipe: recipe(next(raws), out) for recipe in recipes)
    )
    detail = f"{simple * 1e3:.2f} and {plain * 1e3:.2f} ms"
    at_most("CSPAD: pedestals, gain, mask / numpy without mask", simple / plain, 0.6, detail)
    at_most("CSPAD: the same and the gain map / numpy", mapped / plain, 1.1, f"{mapped * 1e3:.2f} ms")
    at_most("CSPAD: pedestals, common mode, gain, mask, ms", common * 1e3, 3.0, f"{common / plain:.2f} x numpy")
    at_most("CSPAD: all of it / numpy without common mode", all_of_it / plain, 1.8, f"{all_of_it * 1e3:.2f} ms")


def jungfrau() -> None:
    random = np.random.default_rng(2)
    pedestals = random.normal(3000, 50, (3, *JUNGFRAU)).astype("f4")
    gain = random.normal(40, 3, pedestals.shape).astype("f4")
    mask = (random.random(JUNGFRAU) > 0.01).astype(np.uint8)
    raw = random.integers(2000, 4000, JUNGFRAU).astype("u2")
    switched = raw | (random.choice([0, 0, 0, 1, 3], JUNGFRAU) << 14).astype("u2")
    out = np.empty(JUNGFRAU, np.float32)
    recipe = RangedRecipe("Jungfrau", pedestals, gain, mask)
    common = RangedRecipe("Jungfrau", pedestals, gain, mask, common_mode=default_common_mode("Jungfrau"))
    one, mixed = fastest(lambda: recipe(raw, out), lambda: recipe(switched, out))
    rows = fastest(lambda: common(raw, out), rounds=20)[0]
    for what, seconds, limit in (
        ("Jungfrau 1M: all in one range, Gpixel/s", one, 0.4),
        ("Jungfrau 1M: two in five pixels switched, Gpixel/s", mixed, 0.2),
        ("Jungfrau 1M: common mode of rows too, Gpixel/s", rows, 0.1),
    ):
        at_least(what, MEGAPIXEL / 1e3 / seconds, limit, f"{seconds * 1e3:.2f} ms")


if __name__ == "__main__":
    cspad()
    jungfrau()
    finish()
