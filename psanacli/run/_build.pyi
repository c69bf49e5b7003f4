from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

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
    room: Callable[[int, DTypeLike], NDArray[Any]],
) -> tuple[NDArray[np.int32], NDArray[Any], NDArray[Any], dict[str, int]]: ...
def expand(
    datagrams: NDArray[Any],
    members: NDArray[np.int32],
    first: NDArray[np.int32],
    actions: NDArray[np.uint8],
    run_groups: NDArray[np.int64],
    run_numbers: NDArray[np.uint32],
    flags: NDArray[np.uint8],
    step_first: NDArray[np.int64],
    step_stop: NDArray[np.int64],
    number: int,
    groups_array: NDArray[Any],
    events_array: NDArray[Any],
) -> None: ...
