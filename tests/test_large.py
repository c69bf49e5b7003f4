"""Arrays that may be as long as a run: what is in memory and what is in a file is the same."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest

from psanacli import large
from psanacli.xtc import DATAGRAM


def some(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, count * DATAGRAM.itemsize, np.uint8).view(DATAGRAM)


def in_a_file(array: np.ndarray) -> bool:
    """Whether the bytes of an array are in a map of a file that has no name."""
    address = array.__array_interface__["data"][0]
    for line in open("/proc/self/maps"):
        first, last = (int(word, 16) for word in line.split()[0].split("-"))
        if first <= address < last:
            return "(deleted)" in line and "/dev/zero" not in line
    return False


@pytest.mark.parametrize("most", [1, 100 * DATAGRAM.itemsize, 1 << 30])
def test_rows_in_pieces_are_one_array(most: int) -> None:
    pieces = [some(count, count) for count in (0, 7, 60, 1, 90, 0, 33)]
    rows = large.Rows(DATAGRAM, large=most)
    for piece in pieces:
        rows.add(piece)
    found = rows.array()
    assert found.tobytes() == b"".join(piece.tobytes() for piece in pieces)
    assert in_a_file(found) == (most < 1 << 30)
    found["file"] = 3  # can be changed
    assert set(found["file"].tolist()) == {3}


def test_one_piece_is_not_copied() -> None:
    rows, piece = large.Rows(DATAGRAM), some(5)
    rows.add(piece)
    assert rows.array() is piece
    assert len(large.Rows(DATAGRAM).array()) == 0


@pytest.mark.parametrize("after", [0, 1, 3])
def test_where_there_is_no_room_on_the_disk_rows_stay_in_memory(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    wrote = []

    def full(descriptor: int, data: memoryview, offset: int) -> int:
        wrote.append(len(data))
        if len(wrote) > after:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[: len(data) // 2 or 1], offset)

    write = os.pwrite
    monkeypatch.setattr("os.pwrite", full)
    pieces = [some(count, count) for count in (9, 1, 4)]
    rows = large.Rows(DATAGRAM, large=1)
    for piece in pieces:
        rows.add(piece)
    found = rows.array()
    assert found.tobytes() == b"".join(piece.tobytes() for piece in pieces)
    assert not in_a_file(found) and len(wrote) == after + 1  # and nothing more is tried


def test_an_array_to_be_filled(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    assert in_a_file(large.empty(1000, "<u4", large=4000))
    assert not in_a_file(large.empty(999, "<u4", large=4000))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "absent"))
    assert len(large.empty(1000, "<u4", large=4000)) == 1000  # in memory then
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert in_a_file(large.empty(1000, "<u4", large=4000))
    assert list(tmp_path.iterdir()) == []
