from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.xtc.headers import Buffer

COPY: np.dtype[np.void]
KINDS: dict[str, int]

def reach(copies: NDArray[Any]) -> tuple[int, int]: ...
def gather(
    buffer: Buffer, starts: NDArray[np.int64], sizes: NDArray[np.int64], copies: NDArray[Any], rows: NDArray[np.uint8]
) -> int: ...
def shuffle(data: Buffer | NDArray[np.uint8], item: int, out: NDArray[np.uint8]) -> None: ...
