"""Constants by the maker of the reference data, written as it writes them, sooner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def types(maker: Any) -> tuple[str, ...]:
    """Return the types that the tests use: all but geometries."""
    return tuple(kind for kind in maker.TYPES if kind != "geometry")


def write(maker: Any, detector: dict[str, Any], arrays: dict[str, np.ndarray], directory: Path) -> None:
    """Write the constants of a detector below a directory, each in the dialect of text that the maker gives it."""
    source = detector["source"]
    for constants_type, array in arrays.items():
        place = directory / maker.group(source) / source / constants_type
        place.mkdir(parents=True)
        if constants_type == "common_mode":
            text = " ".join(f"{value:g}" for value in array).encode() + b"\n"
        else:
            head = maker.header(array, constants_type, maker.device(source))
            text = head.encode() + rows(array, maker.FORMATS[constants_type])
        (place / "0-end.data").write_bytes(text)


def rows(array: np.ndarray, fmt: str) -> bytes:
    """Return an array as lines of its last axis, with the decimals of the format; each number is formatted once."""
    decimals = 0 if fmt == "%d" else int(fmt[2:-1])
    keys = np.rint(array * np.float64(10**decimals)).astype(np.int64).reshape(-1)
    keys -= keys.min()
    values = np.zeros(keys.max() + 1, array.dtype)
    values[keys] = array.reshape(-1)
    assert np.array_equal(values[keys], array.reshape(-1)), "more decimals than the format"
    there = np.zeros(len(values), bool)
    there[keys] = True
    words = np.array([b"%s " % (fmt % value).encode() for value in values[there].tolist()])
    number = (np.cumsum(there, dtype=np.int32) - 1)[keys]
    table = np.char.ljust(words, words.itemsize)[number].reshape(-1, array.shape[-1])
    text = table.view(np.uint8).reshape(len(table), -1)
    text[:, -1] = ord("\n")
    return text.tobytes()
