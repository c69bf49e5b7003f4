from typing import Any

import numpy as np
from numpy.typing import NDArray

def count(
    images: NDArray[Any], mask: NDArray[np.uint8] | None, scale: float, threshold: float
) -> NDArray[np.uint16]: ...
