from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Bytes: TypeAlias = NDArray[np.uint8] | bytes | memoryview
Places: TypeAlias = NDArray[np.int64]

class Program:
    steps: int
    dimensions: int
    def __init__(self, code: Sequence[int], block: int) -> None: ...
    def place(self, data: Bytes, start: int, limit: int) -> tuple[int, ...]: ...
    def locate(self, data: Bytes, starts: Places, limits: Places) -> tuple[Places, Places, Places]: ...
    def elements(
        self, data: Bytes, places: Places, counts: Places, limits: Places
    ) -> tuple[Places, Places, Places]: ...

def gather(data: Bytes, places: Places, size: int, out: NDArray[Any]) -> None: ...
def move(data: Bytes, places: Places, moves: NDArray[np.int64], item: int, out: NDArray[Any]) -> None: ...
def gather_ragged(data: Bytes, places: Places, sizes: Places, out: NDArray[Any]) -> None: ...

class View:
    _layout_: Any
    _buffer_: memoryview
    _start_: int
    _end_: int
    _places_: tuple[int, ...]
    _head_: tuple[Any, ...]
    _bound_: dict[str, Any] | None
    def __init__(self, layout: Any, buffer: memoryview, start: int, end: int, places: tuple[int, ...]) -> None: ...

class Number:
    def __init__(self, index: int) -> None: ...

class BitField(Number):
    def __init__(self, index: int, shift: int, mask: int) -> None: ...
