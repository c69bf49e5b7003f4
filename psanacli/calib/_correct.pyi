from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.calib.common_mode.regions import Method

class Steps:
    size: int
    needs_good: bool
    def __init__(
        self,
        size: int,
        methods: list[Method],
        regions: NDArray[np.int64],
        method: NDArray[np.int64],
        spans: NDArray[np.int64],
        bounds: NDArray[np.int64],
    ) -> None: ...
    def apply(self, values: NDArray[Any], good: NDArray[np.uint8] | None) -> NDArray[np.float64]: ...
    def within(self, length: int) -> bool: ...

class Doubled:
    size: int
    others: int
    def __init__(
        self, pedestals: NDArray[np.float32], good: NDArray[np.uint8], factor: NDArray[np.float32]
    ) -> None: ...

class Gains:
    size: int
    def __init__(self, factors: NDArray[np.float64], moderate: bool) -> None: ...

class Switch:
    size: int
    planes: int
    def __init__(self, clear: NDArray[np.uint8], set: NDArray[np.uint8]) -> None: ...

class PiecesInFile:
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    def __init__(
        self, descriptor: int, offset: int, step: int, shape: tuple[int, int], dtype: np.dtype[Any]
    ) -> None: ...

def correct(
    raws: list[NDArray[Any] | PiecesInFile],
    pedestals: NDArray[np.float32],
    gains: Gains | None,
    factor: NDArray[np.float32],
    mask: NDArray[np.uint8] | None,
    out: NDArray[np.float32],
    steps: Steps | None,
    good: NDArray[np.uint8] | None,
    doubled: Doubled | None,
) -> tuple[int, int]: ...
def correct_ranged(
    raws: list[NDArray[np.uint16]],
    switch: Switch | None,
    pedestals: NDArray[np.float32],
    factor: NDArray[np.float32],
    mask: NDArray[np.uint8],
    out: NDArray[np.float32],
    steps: Steps | None,
    counting: int,
) -> None: ...
