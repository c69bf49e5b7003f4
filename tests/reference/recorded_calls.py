"""What the tests of recorded calls share: recordings, and how a result is compared with one."""

from __future__ import annotations

import gzip
import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from psanacli.run import Run, open_run
from psanacli.xtc import Record

DIRECTORIES = {"xppsim15": "simple", "cximul16": "multi", "amotyp14": "types", "cxiarea17": "area"}


def recorded(shared: Path, name: str) -> dict[str, Any]:
    text = gzip.decompress((shared / "psana1" / "api" / f"{name}.json.gz").read_bytes())
    found: dict[str, Any] = json.loads(text)
    return found


def opened(shared: Path, dataset: str) -> Run:
    experiment = dataset.partition("=")[2].partition(":")[0]
    return open_run(f"{dataset}:dir={shared / 'lcls1' / DIRECTORIES[experiment] / 'xtc'}")


class Same:
    """Compares results with recorded ones, and counts the values."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, mine: Any, theirs: Any) -> bool:
        match theirs:
            case {"t": "tuple", "r": list() as items}:
                return self(list(mine), items) if mine is not None else False
            case {"crc32": int() as crc, "shape": shape, "dtype": dtype}:
                self.count += math.prod(shape)
                array = np.asarray(mine)
                same = array.shape == tuple(shape) and array.dtype == np.dtype(dtype)
                return same and zlib.crc32(np.ascontiguousarray(array).tobytes()) == crc
            case {"enum": _, "int": value}:
                return self(int(mine), value)
            case dict() if isinstance(mine, Record):
                return all(self(mine.values_of(name), value) for name, value in theirs.items())
            case list():
                items = [] if mine is None else list(mine)
                return len(items) == len(theirs) and all(map(self, items, theirs))
            case float() | str() if isinstance(mine, (float, np.floating)):
                self.count += 1
                return mine == float(theirs) or (math.isnan(mine) and math.isnan(float(theirs)))
            case _:
                self.count += 1
                return mine is None if theirs is None else bool(mine == theirs)


def is_case(key: tuple[str, ...], case: tuple[str, ...]) -> bool:
    return all(pattern in ("*", text) for pattern, text in zip(key, case, strict=True))
