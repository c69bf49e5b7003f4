"""What lies beside the data is checked against them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from psanacli.run import build_index, open_run, save_index
from psanacli.run.checks import check_run, choose
from psanacli.xtc import index_file_of, small_file_of, write_index, write_small

from .runs import write_run

BESIDE = choose(["run-index", "facility-index", "small-data", "proxy"])


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """A run with everything beside it."""
    paths = write_run(tmp_path)
    for path in paths:
        for place in (small_file_of(path), index_file_of(path)):
            place.parent.mkdir(exist_ok=True)
        write_small(path, small_file_of(path), threshold=64)
        write_index(path, index_file_of(path))
    with open_run(tmp_path, index=False) as run:
        save_index(build_index(run.files), run.files.files)
    return paths


def found(paths: list[Path]) -> list[tuple[str, str | None]]:
    with open_run(paths, index=False) as run:
        return [(check.name, finding.path and finding.path.name) for check, finding in check_run(run, BESIDE)]


def changed(path: Path, offset: int, value: bytes) -> None:
    data = bytearray(path.read_bytes())
    data[offset : offset + len(value)] = value
    path.write_bytes(data)


def test_what_agrees_is_silent(paths: list[Path]) -> None:
    assert found(paths) == []


def test_what_is_not_there_is_silent(paths: list[Path]) -> None:
    shutil.rmtree(paths[0].parent / "index")
    shutil.rmtree(paths[0].parent / "smalldata")
    assert found(paths) == []


def test_an_index_with_a_wrong_offset(paths: list[Path]) -> None:
    changed(index_file_of(paths[1]), 60 + 36 * 2 + 12, b"\x07")
    assert found(paths) == [("facility-index", index_file_of(paths[1]).name)]


def test_an_index_that_is_none(paths: list[Path]) -> None:
    index_file_of(paths[0]).write_bytes(b"hello")
    assert found(paths) == [("facility-index", index_file_of(paths[0]).name)]


def test_small_data_that_end_early(paths: list[Path]) -> None:
    small = small_file_of(paths[0])
    small.write_bytes(small.read_bytes()[:-100])
    assert ("small-data", small.name) in found(paths)


def test_small_data_of_another_run(paths: list[Path], tmp_path: Path) -> None:
    others = write_run(tmp_path / "other", events=6)
    small = small_file_of(paths[0])
    write_small(others[0], small, threshold=64)
    assert ("small-data", small.name) in found(paths)


def test_a_proxy_for_something_else(paths: list[Path]) -> None:
    small = small_file_of(paths[0])
    data = small.read_bytes()
    word = (1 << 16 | 91).to_bytes(4, "little")
    at = data.index(word)
    changed(small, at + 8, (int.from_bytes(data[at + 8 : at + 16], "little") + 4).to_bytes(8, "little"))
    assert found(paths) == [("proxy", small.name)]


def test_a_file_that_has_grown_since_the_index(paths: list[Path]) -> None:
    tail = paths[0].read_bytes()[:400]
    with open(paths[0], "ab") as file:
        file.write(tail)
    assert [name for name, _ in found(paths)][:1] == ["run-index"]
