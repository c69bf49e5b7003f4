import numpy as np
from numpy.typing import NDArray

from psanacli.xtc.headers import Buffer

def keep_freed_memory() -> None: ...
def shuffle(data: Buffer | NDArray[np.uint8], item: int, out: NDArray[np.uint8]) -> None: ...
