from typing import Any

from numpy.typing import NDArray

KINDS: dict[str, int]
REASONS: tuple[str, ...]
MOST_COMMENTS: int

def read_numbers(text: bytes, dtype: str) -> tuple[NDArray[Any], list[bytes], dict[str, Any]]: ...
def write_numbers(values: NDArray[Any]) -> bytes: ...
