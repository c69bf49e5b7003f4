from typing import Any

import numpy as np
from numpy.typing import NDArray

class Steps:
    size: int
    needs_good: bool
    def __init__(
        self,
        size: int,
        methods: list[tuple[int, float, float, float, float, float, int, int]],
        regions: NDArray[np.int64],
        method: NDArray[np.int64],
        spans: NDArray[np.int64],
        bounds: NDArray[np.int64],
    ) -> None: ...
    def apply(self, values: NDArray[Any], good: NDArray[np.uint8] | None) -> NDArray[np.float64]: ...

def correct(
    raw: NDArray[Any],
    pedestals: NDArray[np.float32],
    before: NDArray[np.float64] | None,
    factor: NDArray[np.float32],
    mask: NDArray[np.uint8],
    out: NDArray[np.float32],
    steps: Steps | None,
    good: NDArray[np.uint8] | None,
) -> None: ...
def correct_ranged(
    raw: NDArray[np.uint16],
    clear: NDArray[np.uint8] | None,
    set: NDArray[np.uint8] | None,
    pedestals: NDArray[np.float32],
    factor: NDArray[np.float32],
    mask: NDArray[np.uint8],
    out: NDArray[np.float32],
    steps: Steps | None,
    low_ranges: int,
) -> None: ...
