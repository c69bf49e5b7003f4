from typing import Any

import numpy as np
from numpy.typing import NDArray

GROUP: np.dtype[Any]
EVENT: np.dtype[Any]

def build(
    datagrams: NDArray[Any],
    starts: NDArray[np.int64],
    numbers: NDArray[np.uint32],
    only_epics: NDArray[np.uint8],
    *,
    max_difference: int,
    first_control: int,
    first_control_content: int,
    accept_only: bool,
    skip_epics: bool,
    skip: int,
    limit: int,
    run_number: int,
) -> tuple[NDArray[np.int32], NDArray[Any], NDArray[Any], dict[str, int]]: ...
