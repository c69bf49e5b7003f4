import numpy as np
from numpy.typing import NDArray

def read_pieces(
    descriptors: NDArray[np.int32],
    offsets: NDArray[np.int64],
    sizes: NDArray[np.int64],
    places: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> tuple[int, int]: ...
def stretches(
    order: NDArray[np.int64],
    files: NDArray[np.int64],
    offsets: NDArray[np.int64],
    sizes: NDArray[np.int64],
    gap: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]: ...
def read_piece(descriptor: int, offset: int, out: NDArray[np.uint8]) -> int: ...
def unused(rooms: list[NDArray[np.uint8]], size: int) -> int: ...
def copy_pieces(
    descriptors: NDArray[np.int32],
    offsets: NDArray[np.int64],
    sizes: NDArray[np.int64],
    target: int,
    places: NDArray[np.int64],
) -> tuple[int, int, bool]: ...
