"""Common mode, photons and masks: the results of the original on panels that are made from a seed."""

from __future__ import annotations

import functools
import importlib.util
import json
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from psanacli.calib import masks
from psanacli.calib.common_mode import QuietMedian, from_numbers
from psanacli.calib.common_mode.regions import MEDIAN, Method, Pass, below, compiled, tiles
from psanacli.calib.photons import photons
from psanacli.errors import UsageError

DETECTORS = {
    "cspad": "Cspad", "cspad2x2": "Cspad2x2", "pnccd": "pnCCD", "epix100a": "Epix100a", "fccd960": "Fccd960",
    "princeton": "Princeton", "andor": "Andor",
}  # fmt: skip

CALLS = {"common mode": 91, "photons": 24}
"""How many calls are recorded of them."""

SLIPS = {
    ("common_mode_2d_hsplit_nbanks", "epix100a", "8"),
    ("common_mode_pnccd", "pnccd", "[8, 8, 30]"),
    ("common_mode_pnccd", "pnccd", "[8, 15, 30]"),
}
"""Without a mask the original takes rows where banks are meant (trap T16); we take banks."""


@pytest.fixture(scope="module")
def panels(shared: Path) -> Any:
    """The maker of the panels."""
    place = importlib.util.spec_from_file_location("make_panels", shared / "tools" / "make_panels.py")
    assert place is not None and place.loader is not None
    module = importlib.util.module_from_spec(place)
    place.loader.exec_module(module)
    module.make = functools.cache(module.make)
    return module


@pytest.fixture(scope="module")
def calls(shared: Path) -> list[dict[str, Any]]:
    """The recorded calls."""
    return json.loads((shared / "psana1" / "detectors" / "algorithms.json").read_text())["calls"]


def crc(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array + 0 if array.dtype.kind == "f" else array).tobytes())


def median_of_parts(call: dict[str, Any], shape: tuple[int, int]) -> Any:
    """Return the steps of one of the functions that take medians of parts of a panel."""
    values = call["parameters"]
    limit, least, banks = below(values["cormax"]), values["npix_min"], values.get("nbanks", 1)
    height, width = shape
    area = Method(MEDIAN, limit, least=least, only_good=True)
    one_line = area._replace(least=least + 1)
    method, rows, columns = {
        "common_mode_rows": (one_line, 1, width),
        "common_mode_cols": (one_line, height, 1),
        "common_mode_2d": (area, height, width),
        "common_mode_rows_hsplit_nbanks": (one_line, 1, width // banks),
        "common_mode_2d_hsplit_nbanks": (area, height, width // banks),
    }[call["function"]]
    return compiled([Pass(method, tiles(shape, rows, columns))], height * width)


def quiet_median(call: dict[str, Any]) -> QuietMedian:
    names = {"maxCorr": "max_correction", "histoRange": "half_range", "minFrac": "min_fraction", "normAll": "level"}
    given = {names[name]: value for name, value in call["parameters"].items() if name in names}
    if "colrow" in call["parameters"]:
        bits = call["parameters"]["colrow"]
        given |= {"columns": bool(bits & 1), "rows": bits >= 2}
    return QuietMedian(**given)


def test_common_mode(panels: Any, calls: list[dict[str, Any]], tally: Counter[str]) -> None:
    """Every pixel of every recorded correction is the same to the last bit."""
    compared = pixels = 0
    slips = set()
    for call in calls:
        name = call.get("function", "")
        if "algorithm" not in call and not name.startswith("common_mode"):
            continue
        kind = call["kind"]
        detector = DETECTORS[kind]
        data, status = panels.make(kind)
        values = data.astype(call.get("dtype", "f4"), copy=True)
        good = (status == 0).astype(np.uint8).reshape(-1)
        if call.get("algorithm") == 6:
            mode = quiet_median(call)
            quiet = mode.quiet(values, np.full(values.shape, call["rms"], np.float32))
            if mode.level:
                values[quiet] -= values[quiet].mean(dtype=np.float64)
            steps, good = mode.steps(detector, values.shape), quiet.astype(np.uint8).reshape(-1)
        elif name and name != "common_mode_pnccd":
            steps = median_of_parts(call, values.shape)
        else:
            steps = from_numbers(call["parameters"]["cmp"] if name else call["parameters"], detector).steps(
                detector, values.shape
            )
        if "mask" in call and call["mask"] is None:
            good = None
        if steps is not None:
            found = steps.apply(values.reshape(-1), good)
            if "correction_per_region" in call["result"] and len(found) == len(call["result"]["correction_per_region"]):
                assert found == pytest.approx(call["result"]["correction_per_region"], abs=1e-4)
        same = crc(values) == call["result"]["crc32"]
        slip = (name, kind, str(call["parameters"].get("cmp", call["parameters"].get("nbanks")))) if name else None
        if slip in SLIPS and call["mask"] is None and not same:
            slips.add(slip)
        else:
            assert same, {key: value for key, value in call.items() if key != "result"}
        compared, pixels = compared + 1, pixels + values.size
    assert slips == SLIPS
    assert compared == CALLS["common mode"]
    tally["calls of common mode"] += compared
    tally["pixels of common mode"] += pixels


def test_photons(panels: Any, calls: list[dict[str, Any]], tally: Counter[str]) -> None:
    """Counts are those of the original; the mask, which it ignores, does what it was made for."""
    compared = 0
    for call in calls:
        if call.get("function") != "photons":
            continue
        values, mask = panels.photon_panel()
        values = values.astype(call["dtype"])
        if "[1]" in call["input"]:
            values, mask = values[1], mask[1]
        before = values.copy()
        if "masked pixels" in call["input"]:
            found = photons(values, threshold=call["thr_fraction"], mask=mask)
        else:
            found = photons(values, threshold=call["thr_fraction"])
        assert crc(found) == call["result"]["crc32"], call["input"]
        assert np.array_equal(values, before)
        compared += 1
    assert compared == CALLS["photons"]
    tally["calls of photon counting"] += compared


def test_masks(panels: Any, calls: list[dict[str, Any]], tally: Counter[str]) -> None:
    """Neighbours, surroundings and edges; with these all that is recorded of functions of arrays was compared."""
    _, status = panels.make("cspad")
    forms = {"r": "diamond", "c": "disc", "s": "square"}
    compared = 0
    for call in calls:
        name, _, rest = call.get("function", "").partition("(")
        if not name.startswith("mask"):
            continue
        mask = (status == 0).astype(np.uint8)[1 if "[1]" in call["input"] else slice(3)]
        words = rest.rstrip(")").split(",")
        compared += 1
        if "error" in call["result"]:
            with pytest.raises(UsageError, match="does not fit"):
                masks.edges(mask.shape, *map(int, words))
            continue
        if name == "mask_neighbors":
            found = masks.with_neighbours(mask, words[0].endswith("True"))
        elif name == "mask_edges":
            found = masks.combined(mask, masks.edges(mask.shape, *map(int, words)))
        else:
            given = dict(word.split("=") for word in words)
            found = masks.with_surroundings(mask, int(given["rad"]), forms[given["ptrn"]])
        assert crc(found) == call["result"]["crc32"], call["function"]
    tally["calls of masks"] += compared
    assert compared == 18 and compared + CALLS["common mode"] + CALLS["photons"] == len(calls)
