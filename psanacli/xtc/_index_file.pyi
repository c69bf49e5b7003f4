import numpy as np
from numpy.typing import NDArray

class EventVisitor:
    contradictions: int

    def __init__(self, descriptor: int, types: int) -> None: ...
    def visit(
        self, offsets: NDArray[np.uint64], extents: NDArray[np.uint32], masks: NDArray[np.uint32]
    ) -> tuple[int, int]: ...
    def found(self) -> tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint32]]: ...

def inversions(keys: NDArray[np.uint64]) -> int: ...

