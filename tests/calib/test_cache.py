"""The cache of arrays: it gives what the text says, or is not asked."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from psanacli.calib import Store, cache, format_text, read_text

SHAPE = (300, 400)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/psanacli/constants"


def write(path: Path, array: np.ndarray, *, settled: bool = True) -> None:
    path.write_bytes(format_text(array, fmt="%.2f"))
    if settled:
        monday = time.time() - 1e6
        os.utime(path, (monday, monday))


@pytest.fixture
def settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files be old at once; the system alone sets the time of the last change of an inode."""
    monkeypatch.setattr(cache, "_SETTLED", -1.0)


@pytest.fixture
def array() -> np.ndarray:
    return np.round(np.random.default_rng(1).normal(1000, 50, SHAPE), 2).astype("f4")


def entries(place: Path) -> list[Path]:
    return sorted(place.iterdir()) if place.is_dir() else []


def test_the_second_reading_comes_from_the_cache(
    place: Path, tmp_path: Path, array: np.ndarray, settle: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "0-end.data"
    write(path, array)
    first = read_text(path, "f4")
    assert len(entries(place)) == 1
    monkeypatch.setattr("psanacli.calib.constants.parse_text", None)  # whoever reads the text now fails
    second = read_text(path, "f4")
    assert np.array_equal(first.text.values, array) and np.array_equal(second.text.values, array)
    assert second.checksum == first.checksum
    assert second.text.comments == first.text.comments
    assert second.text.values.dtype == np.float32


def test_a_changed_file_is_read_anew(place: Path, tmp_path: Path, array: np.ndarray, settle: None) -> None:
    path = tmp_path / "0-end.data"
    write(path, array)
    read_text(path, "f4")
    status = path.stat()
    text = bytearray(path.read_bytes())
    text[len(text) // 2 : len(text) // 2 + 200] = text[len(text) // 2 : len(text) // 2 + 200].replace(b"1", b"2")
    with open(path, "r+b") as file:  # in place, same size, same time: only the inode knows
        file.write(text)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert not np.array_equal(read_text(path, "f4").text.values, array)


def test_a_file_that_may_still_change_is_not_stored(place: Path, tmp_path: Path, array: np.ndarray) -> None:
    path = tmp_path / "0-end.data"
    write(path, array, settled=False)
    assert np.array_equal(read_text(path, "f4").text.values, array)
    assert entries(place) == []


def test_small_files_are_not_stored(place: Path, tmp_path: Path, settle: None) -> None:
    path = tmp_path / "0-end.data"
    write(path, np.ones((10, 10)))
    read_text(path, "f4")
    assert entries(place) == []


def test_an_entry_with_any_flipped_or_missing_byte_is_not_believed(
    place: Path, tmp_path: Path, array: np.ndarray, settle: None
) -> None:
    path = tmp_path / "0-end.data"
    write(path, array)
    read_text(path, "f4")
    (entry,) = entries(place)
    good = entry.read_bytes()
    pick = np.random.default_rng(7)
    places = [*range(0, 700, 5), *pick.integers(700, len(good), 40).tolist(), len(good) - 1]
    for k in places:
        entry.write_bytes(good[:k] + bytes([good[k] ^ 1 << int(pick.integers(8))]) + good[k + 1 :])
        assert np.array_equal(read_text(path, "f4").text.values, array), k
    for k in (0, 5, 30, 400, 5000, len(good) - 1):
        entry.write_bytes(good[:k])
        assert np.array_equal(read_text(path, "f4").text.values, array), k
    entry.write_bytes(good + b"more")
    assert np.array_equal(read_text(path, "f4").text.values, array)


def test_dtypes_do_not_mix(place: Path, tmp_path: Path, settle: None) -> None:
    path = tmp_path / "0-end.data"
    write(path, np.full(SHAPE, 3.0))
    for _ in range(2):
        for dtype in ("f4", "f8", "u2", None):
            values = read_text(path, dtype).text.values
            assert values.dtype == np.dtype(dtype or "f8")
            assert (values == 3).all()
    assert len(entries(place)) == 4


def test_a_file_in_place_of_the_cache_is_no_error(place: Path, tmp_path: Path, array: np.ndarray, settle: None) -> None:
    path = tmp_path / "0-end.data"
    write(path, array)
    place.parent.mkdir(parents=True)
    place.write_text("in the way")
    for _ in range(2):
        assert np.array_equal(read_text(path, "f4").text.values, array)


def test_a_cache_that_may_not_be_written_is_no_error(
    array: np.ndarray,
    settle: None,
    as_user: Callable[[Callable[[Path], None]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read(place: Path) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(place / "cache"))
        write(place / "0-end.data", array)
        (place / "cache").mkdir(mode=0o500)
        for _ in range(2):
            assert np.array_equal(read_text(place / "0-end.data", "f4").text.values, array)
        assert not list((place / "cache").iterdir())
        (place / "cache").chmod(0o700)  # and with the permission there is one
        read_text(place / "0-end.data", "f4")
        assert list((place / "cache").rglob("*.array"))

    as_user(read)


def test_old_entries_go(
    place: Path, tmp_path: Path, array: np.ndarray, settle: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "MOST_BYTES", 2 * array.nbytes + 5000)
    for k in range(4):
        path = tmp_path / f"{k}-end.data"
        write(path, array)
        read_text(path, "f4")
        for age, entry in enumerate(sorted(entries(place), key=lambda entry: -entry.stat().st_mtime)):
            os.utime(entry, (1e9 - age, 1e9 - age))
    assert len(entries(place)) == 2


def test_constants_cannot_be_written_to(place: Path, tmp_path: Path, settle: None) -> None:
    path = tmp_path / "Camera::CalibV1/XppGon.0:Opal1000.0/pedestals/0-end.data"
    path.parent.mkdir(parents=True)
    write(path, np.full(SHAPE, 3.0))
    for _ in range(2):
        found = Store(tmp_path).get("XppGon.0:Opal1000.0", "pedestals", 1)
        with pytest.raises(ValueError, match="read-only"):
            found.array[0, 0] = 1
