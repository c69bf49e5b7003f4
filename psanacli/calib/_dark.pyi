import numpy as np
from numpy.typing import NDArray

def ranks(frames: NDArray[np.uint16], bits: int, wanted: NDArray[np.int64], out: NDArray[np.uint16]) -> None: ...

class Sums:
    count: NDArray[np.uint32]
    below: NDArray[np.uint32]
    above: NDArray[np.uint32]
    wrong: NDArray[np.uint32]
    sum: NDArray[np.uint64]
    squares: NDArray[np.uint64]
    least: NDArray[np.uint16]
    largest: NDArray[np.uint16]
    def __init__(self, pixels: int) -> None: ...
    def arrays(self) -> dict[str, NDArray[np.unsignedinteger]]: ...
    def add(
        self,
        frames: NDArray[np.uint16],
        gate_low: NDArray[np.uint16],
        gate_high: NDArray[np.uint16],
        rules: tuple[int, int, int, bool, int, int],
    ) -> None: ...

def moments(
    count: NDArray[np.uint32],
    values: NDArray[np.uint32],
    total: NDArray[np.uint64],
    squares: NDArray[np.uint64],
    gate_low: NDArray[np.uint16],
    gate_high: NDArray[np.uint16],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
