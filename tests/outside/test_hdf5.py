"""Tables in HDF5: groups, compounds, frames of pandas."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psanacli.errors import DataError, NotFoundError, PsanaError, UsageError
from psanacli.outside import OutsideTable, ReadOptions, read_table

T0 = 1_436_200_000
SECONDS = T0 + np.array([0.0, 1.0, 2.5])
NS = (SECONDS * 1e9).astype(np.int64)


def read(path: Path, **options: Any) -> OutsideTable:
    return read_table(path, ReadOptions(**options))


def ns(found: OutsideTable) -> list[int]:
    return (found.times.astype(np.int64) - T0 * 10**9).tolist()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "table.h5"


WANTED = [0, 10**9, 2_500_000_000]


@pytest.mark.parametrize(
    ("times", "units", "zone"),
    [
        (SECONDS, "", ""),
        (NS, "ns", ""),
        (NS, "", ""),
        ((SECONDS * 1e3).astype("i8"), "milliseconds", ""),
        (SECONDS - T0, "seconds since 2015-07-06 16:26:40", ""),
        (SECONDS - T0, "seconds since 2015-07-06T16:26:40Z", ""),
        (np.array(["2015-07-06T16:26:40Z", "2015-07-06T16:26:41Z", "2015-07-06T16:26:42.5Z"], "S"), "", ""),
        (["2015-07-06 09:26:40", "2015-07-06 09:26:41", "2015-07-06 09:26:42.5"], "", "America/Los_Angeles"),
    ],
)
def test_a_group_of_datasets(path: Path, times: Any, units: str, zone: str) -> None:
    with h5py.File(path, "w") as file:
        group = file.create_group("log/lab")
        group["time"] = times
        if units:
            group["time"].attrs["units"] = units
        if zone:
            group["time"].attrs["zone"] = zone
        group["temp"] = np.array([1, 2, 3], ">i2")
        group["temp"].attrs["units"] = "K"
        group["trace"] = np.arange(6.0).reshape(3, 2)
        group.create_dataset("mode", data=[0, 1, 0], dtype=h5py.enum_dtype({"OFF": 0, "ON": 1}))
        group["word"] = ["a", "b", "ü"]
        group["title"] = np.arange(7)
        file["version"] = 3
    found = read(path)
    assert ns(found) == WANTED
    assert found.columns["temp"].values.tolist() == [1, 2, 3] and found.columns["temp"].units == "K"
    assert found.columns["trace"].values.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert found.columns["word"].values.tolist() == ["a", "b", "ü"]
    assert [name for name, field in found.columns.items() if field.state] == ["mode", "word"]
    assert found.notes == ("/log/lab: left out, as their length is another: title",)
    assert found.origin.path == f"{path}:/log/lab" and found.origin.zone == (zone or "UTC")


def test_a_compound_dataset(path: Path) -> None:
    rows = np.zeros(3, [("secs", "u4"), ("nanos", "u4"), ("x", "f4"), ("w", "S3")])
    rows["secs"], rows["nanos"], rows["x"], rows["w"] = T0, [3, 1, 2], [1.5, np.nan, 2.5], [b"a", b"b", b"c"]
    with h5py.File(path, "w") as file:
        file["table"] = rows
    found = read(path)
    assert ns(found) == [1, 2, 3]
    np.testing.assert_array_equal(found.columns["x"].values, np.array([np.nan, 2.5, 1.5], "f4"))
    assert found.columns["w"].values.tolist() == ["b", "c", "a"]


def test_what_translate_writes_can_be_joined_again(path: Path) -> None:
    time = np.zeros(2, [("seconds", "u4"), ("nanoseconds", "u4"), ("ticks", "u4"), ("fiducials", "u4")])
    time["seconds"], time["nanoseconds"] = T0, [7, 9]
    with h5py.File(path, "w") as file:
        file["Outside/lab/time"] = time
        file["Outside/lab/x"] = [1, 2]
    assert ns(read(path, group="/Outside/lab")) == [7, 9]


def test_which_table(path: Path) -> None:
    with h5py.File(path, "w") as file:
        for name in ("a", "b"):
            file[f"{name}/time"], file[f"{name}/x"] = NS, [1, 2, 3]
    with pytest.raises(UsageError, match="several tables: /a, /b") as failure:
        read(path)
    assert "group=" in failure.value.hint
    assert ns(read(path, group="b")) == WANTED
    with pytest.raises(NotFoundError, match="no group or dataset '/c'"):
        read(path, group="/c")
    with pytest.raises(UsageError, match="is no table"):
        read(path, group="/a/x")


@pytest.mark.parametrize("zone", ["", "UTC"])
def test_a_fixed_frame_of_pandas(path: Path, zone: str) -> None:
    with h5py.File(path, "w") as file:
        group = file.create_group("frame")
        group.attrs["pandas_type"], group.attrs["nblocks"] = np.bytes_(b"frame"), 2
        group["axis0"] = np.array([b"x", b"y", b"n"])
        group["axis1"] = NS
        group["axis1"].attrs["kind"] = np.bytes_(b"datetime64")
        if zone:
            group["axis1"].attrs["tz"] = zone
        group["block0_items"], group["block0_values"] = np.array([b"x", b"y"]), np.arange(6.0).reshape(3, 2)
        group["block1_items"], group["block1_values"] = np.array([b"n"]), np.array([[1], [2], [3]])
    if not zone:
        with pytest.raises(UsageError, match="have no zone"):
            read(path)
    found = read(path, zone="" if zone else "UTC")
    assert ns(found) == WANTED
    assert {name: field.values.tolist() for name, field in found.columns.items()} == {
        "x": [0, 2, 4], "y": [1, 3, 5], "n": [1, 2, 3]
    }  # fmt: skip


def test_a_frame_of_pandas_as_a_table(path: Path) -> None:
    rows = np.zeros(3, [("index", "<i8"), ("values_block_0", "<f8", (2,)), ("n", "<i8")])
    rows["index"], rows["values_block_0"], rows["n"] = NS, np.arange(6).reshape(3, 2), [1, 2, 3]
    with h5py.File(path, "w") as file:
        group = file.create_group("frame")
        group.attrs["pandas_type"] = np.bytes_(b"frame_table")
        group["table"] = rows
        group["table"].attrs["index_kind"] = np.bytes_(b"datetime64")
        group["table"].attrs["values_block_0_kind"] = np.void(pickle.dumps(["x", "y"], 0))
    found = read(path, zone="UTC")
    assert ns(found) == WANTED and found.columns["y"].values.tolist() == [1, 3, 5]
    assert found.columns["n"].values.tolist() == [1, 2, 3]


class _Evil:
    def __reduce__(self) -> Any:
        return exec, ("raise SystemExit('executed')",)


def test_pickled_attributes_are_not_executed(path: Path) -> None:
    with h5py.File(path, "w") as file:
        group = file.create_group("frame")
        group.attrs["pandas_type"] = np.bytes_(b"frame_table")
        group["table"] = np.zeros(1, [("index", "<i8"), ("values_block_0", "<f8", (1,))])
        group["table"].attrs["values_block_0_kind"] = np.void(pickle.dumps(_Evil(), 0))
    with pytest.raises(PsanaError):
        read(path)


def test_no_table(path: Path, tmp_path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["x"] = [1, 2, 3]
    with pytest.raises(UsageError, match="no table in it"):
        read(path)
    (tmp_path / "text.h5").write_text("time,a\n1436200000,1\n")
    with pytest.raises(DataError, match=r"text\.h5"):
        read(tmp_path / "text.h5")


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=20), st.integers(0, 10_000)
)
def test_broken_files_are_clear_errors(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], cut: int
) -> None:
    base = tmp_path_factory.getbasetemp()
    whole = base / "whole.h5"
    if not whole.exists():
        with h5py.File(whole, "w") as file:
            file["time"], file["temp"] = NS, [1.0, 2.0, 3.0]
            file["word"] = ["a", "b", "c"]
            file["time"].attrs["units"] = "ns"
    data = bytearray(whole.read_bytes())
    for at, byte in changes:
        data[at % len(data)] = byte
    if cut % 2:
        del data[cut % len(data) :]
    (base / "broken.h5").write_bytes(data)
    try:
        found = read(base / "broken.h5")
    except PsanaError as error:
        assert "broken.h5" in str(error)
    else:
        assert all(len(field.values) == len(found) for field in found.columns.values())
