from typing import Any

import numpy as np
from numpy.typing import NDArray

class Tables:
    def __init__(self, datagrams: NDArray[Any], groups: NDArray[Any], members: NDArray[np.int32]) -> None: ...
    def find(
        self, owners: NDArray[np.int64], actions: int, first: int, stop: int
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]: ...
    def patterns(self, count: int, actions: int) -> tuple[NDArray[np.int64], int]: ...
