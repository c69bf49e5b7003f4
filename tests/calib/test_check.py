"""A look through a store, comparison of constants, and which camera it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from psanacli.calib import (
    NewConstants,
    RunRange,
    SeenDetector,
    Store,
    check,
    compare,
    deploy,
    identity,
    plan_deployment,
)
from psanacli.calib.sheet import drawn, labels
from psanacli.errors import ConstantsError

SOURCE = "XppGon.0:Opal1000.0"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def write(store: Store, name: str, text: str = "1 2\n3 4\n", source: str = SOURCE) -> Path:
    path = store.source_directory(source) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def found(store: Store, **options: object) -> set[tuple[str, str, str]]:
    return {(each.level, each.path.name, each.what) for each in check(store, **options)}  # type: ignore[arg-type]


def test_a_store_in_order_has_no_findings(store: Store) -> None:
    for name in ("pedestals/0-end.data", "pixel_status/0-end.data", "pixel_rms/0-end.data", "common_mode/0-end.data"):
        write(store, name)
    assert found(store) == set()


def test_what_is_wrong_is_found(store: Store) -> None:
    write(store, "pedestals/0-end.data", "1 2\n3\n")
    write(store, "pedestals/5-9.data")
    write(store, "pedestals/5-7.data")
    write(store, "pedestals/8-9.data")
    write(store, "pedestals/20-10.data")
    write(store, "pedestals/3-x.data")
    write(store, "pixel_gain/4-end.data", "1 nan\n3 4\n")
    write(store, "pixel_status/2-3.data", "# DTYPE uint16_t\n1 2\n")
    write(store, "pedestal/0-end.data")
    write(store, "tilt/0-end.data")
    write(store, "pedestals/0-end.data", source="XppGon.0:Epix100a.0")
    (store.directory / "CsPad::CalibV1/XppGon.0:Opal1000.0/pedestals").mkdir(parents=True)
    told = found(store)
    assert ("error", "0-end.data", "line 2 has 1 numbers, the lines before have 2") in told
    assert ("warning", "20-10.data", "the range is reversed: it is never used") in told
    assert ("warning", "5-9.data", "is never used: other files hide all its runs") in told
    assert any(name == "3-x.data" and "is never used" in what for _, name, what in told)
    assert ("warning", "4-end.data", "1 values are NaN") in told
    assert any(level == "note" and name == "2-3.data" and "psana-1" in what for level, name, what in told)
    assert ("note", "pixel_status", "no file for runs after 3") in told
    assert any(name == "pedestal" and "no type of constants; did you mean pedestals" in what for _, name, what in told)
    assert any(name == "tilt" and "2014" in what for _, name, what in told)
    assert any(level == "warning" and "there are no pixel_rms" in what for level, _, what in told)
    assert any(
        level == "error" and "pedestals of Epix100a have the shape (704, 768)" in what for level, _, what in told
    )
    assert any(level == "warning" and "group and device do not agree" in what for level, _, what in told)


def test_shapes_are_compared_with_those_of_runs(store: Store) -> None:
    for name in ("pedestals/0-end.data", "pixel_status/0-end.data", "pixel_rms/0-end.data"):
        write(store, name)
    assert found(store, seen={SOURCE: [SeenDetector(3, (2, 2))]}) == set()
    told = found(store, seen={SOURCE: [SeenDetector(3, (3, 2))]})
    assert sum("have the shape (3, 2), 6 values" in what for _, _, what in told) == 3
    missing = found(store, seen={"XppGon.0:Opal1000.1": [SeenDetector(3, (3, 2))]})
    assert missing == set()  # a camera that nobody calibrates


def test_constants_that_were_made_for_another_camera(store: Store) -> None:
    for name in ("pedestals", "pixel_status", "pixel_rms"):
        write(store, f"{name}/0-end.data")
    runs = [SeenDetector(1, (2, 2), "serial-1"), SeenDetector(7, (2, 2), "serial-2")]
    told = found(store, seen={SOURCE: runs})
    assert (
        "error",
        "0-end.data",
        f"is older than the camera: {SOURCE} is serial-2 since run 7, it was serial-1 before",
    ) in told
    assert len(told) == 1
    new = NewConstants(np.ones((2, 2)), "x")
    plan = plan_deployment(store, SOURCE, "pedestals", RunRange(7), new, values={"detid": "serial-3"})
    deploy(store, plan)
    told = found(store, seen={SOURCE: runs})
    assert ("error", "7-end.data", f"was made for serial-3; in run 7 {SOURCE} is serial-2") in told


def test_identities() -> None:
    card = dict(digitalCardId0=3, digitalCardId1=4, analogCardId0=5, analogCardId1=6)
    epix = dict(version=1, carrierId0=2, carrierId1=20, **card)
    assert identity(epix) == "0000000001-0000000002-0000000020-0000000003-0000000004-0000000005-0000000006"
    modules = [dict(serialNumber=255, moduleVersion=1, firmwareVersion=16)] * 8
    assert identity(dict(numberOfModules=2, moduleConfig=modules)) == "1-10-ff_1-10-ff"
    assert identity(dict(serialNumber=b"DEV_1\0\0")) == "DEV_1"
    assert identity(dict(gain=1)) == ""


@pytest.mark.parametrize(
    ("shape", "first", "last", "count"),
    [
        ((32, 185, 388), ("0", 0, 0), ("31", 3 * 389, 7 * 186), 32),
        ((185, 388, 2), ("0", 0, 0), ("1", 0, 186), 2),
        ((3, 2, 512, 1024), ("0.0", 0, 0), ("2.1", 1025 // 2, 2 * 513 // 2), 6),
    ],
)
def test_panels_in_a_picture_have_numbers(
    shape: tuple[int, ...], first: tuple[str, int, int], last: tuple[str, int, int], count: int
) -> None:
    """Each stands at the corner of its panel, also when the picture is made smaller."""
    found = labels(shape)
    assert (found[0], found[-1], len(found)) == (first, last, count)
    array = np.zeros(shape)
    array[(-1, *([0] * (len(shape) - 1))) if shape[-1] != 2 else (0, 0, -1)] = 7  # the corner of the last panel
    if len(shape) > 3:
        array[:] = 0
        array[-1, -1, 0, 0] = 7
    image, _ = drawn(array)
    assert image[last[2], last[1]] == 7
    assert labels((704, 768)) == []


def test_comparison() -> None:
    first = np.array([[1, 2], [3, np.nan]], "f4")
    second = np.array([[1, 2.5], [3, np.nan]], "f4")
    difference = compare(first, second, "x")
    assert (difference.changed, difference.same) == (1, False)
    numbers = difference.numbers()
    assert (numbers["max"], numbers["min"], numbers["largest_at"]) == (0.5, 0.0, [0, 1])
    assert compare(first, first, "x").same
    status = compare(np.array([0, 65535], "u2"), np.array([1, 65534], "u2"), "x")
    assert status.delta.tolist() == [1, -1]
    big = compare(np.array([2**64 - 1], "u8"), np.array([2**64 - 2], "u8"), "x")
    assert (big.changed, big.delta.tolist()) == (1, [-1])
    with pytest.raises(ConstantsError, match="the shapes differ"):
        compare(first, first[0], "x")


@pytest.mark.parametrize("shape", [(5,), (40, 30), (4, 40, 30), (3, 2, 40, 30), (185, 388, 2), (3000, 4000)])
def test_the_picture_shows_a_single_changed_pixel(shape: tuple[int, ...]) -> None:
    import struct
    import zlib

    first, second = np.zeros(shape), np.zeros(shape)
    second[(1,) * (len(shape) - 1) + (-1,)] = 7
    png = compare(first, second, "x").png("title")
    width, height = struct.unpack(">II", png[16:24])
    start = png.index(b"IDAT")
    rows = np.frombuffer(
        zlib.decompress(png[start + 4 : start + 4 + struct.unpack(">I", png[start - 4 : start])[0]]), "u1"
    )
    pixels = rows.reshape(height, 1 + 3 * width)[:, 1:].reshape(height, width, 3)
    assert (pixels == (200, 30, 30)).all(axis=2).sum() == 1
    assert max(width, height) < 2000
