"""Deployment: what is deployed is what is read, the history is complete, and a failure leaves the store as it was."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from psanacli.calib import (
    NewConstants,
    RunRange,
    Store,
    deploy,
    format_text,
    history,
    place,
    plan_deployment,
    read_array,
    revert,
)
from psanacli.errors import ConstantsError, NotFoundError, OutputError

SOURCE = "XppGon.0:Opal1000.0"
SHAPE = (30, 40)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Store(tmp_path / "calib")


def array(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(1000, 50, SHAPE).astype("f4")


def put(store: Store, runs: str, values: np.ndarray, kind: str = "pedestals", *, force: bool = False, **more: str):
    new = NewConstants(values, "here")
    return deploy(store, plan_deployment(store, SOURCE, kind, RunRange.parse(runs), new, values=more), force=force)


def directory(store: Store, kind: str = "pedestals") -> Path:
    return store.type_directory(SOURCE, kind)


def snapshot(root: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None for path in sorted(root.rglob("*"))
    }


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("pedestals", array()),
        ("pixel_gain", np.array([[1e-30, 1 / 3], [3.4e38, -0.0]], "f4")),
        ("pixel_status", np.arange(1200).reshape(SHAPE).astype("u2")),
        ("status_extra", np.array([[2**64 - 1, 2**53 + 1], [0, 1]], "u8")),
        ("common_mode", np.array([1, 25, 25, 100.5])),
        ("pixel_mask", np.array([[True, False], [False, True]])),
    ],
)
def test_what_is_deployed_is_read_bit_for_bit(store: Store, kind: str, values: np.ndarray) -> None:
    record = put(store, "5-end", values, kind, comment="a: comment with user:me in it", exp="xpptut15")
    found = store.get(SOURCE, kind, 7)
    assert found.array.tobytes() == values.astype(found.dtype).tobytes()
    assert found.checksum == record.values["sha256"] == hashlib.sha256(found.file.read_bytes()).hexdigest()
    (read,) = history.read(directory(store, kind))
    assert read.values == {key: value for key, value in record.values.items() if value}
    assert read.comment == "a: comment with user:me in it"
    assert (read.file, read.command, read.ours) == ("5-end.data", "deploy", True)
    assert {"user", "host", "cptime", "zone", "copy_of", "exp"} <= set(read.values)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5", ".txt"])
def test_formats(store: Store, tmp_path: Path, suffix: str) -> None:
    path, values = tmp_path / f"new{suffix}", array()
    if suffix == ".npy":
        np.save(path, values)
    elif suffix == ".npz":
        np.savez(path, ped=values)
    elif suffix == ".h5":
        import h5py

        with h5py.File(path, "w") as file:
            file["a/ped"] = values
    else:
        path.write_bytes(format_text(values, comments=["mine"]))
    new = read_array(path, "ped" if suffix == ".npz" else "")
    deploy(store, plan_deployment(store, SOURCE, "pedestals", RunRange(1), new))
    found = store.get(SOURCE, "pedestals", 1)
    assert np.array_equal(found.array, values)
    if suffix == ".txt":
        assert found.file.read_bytes() == path.read_bytes()


def test_files_that_are_no_arrays(tmp_path: Path) -> None:
    for suffix in (".npy", ".npz", ".h5", ".txt"):
        for data in (b"", b"no array\n", b"\x93NUMPY\x01\0", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n" + bytes(100)):
            path = tmp_path / f"bad{suffix}"
            path.write_bytes(data)
            if suffix == ".txt" and not data:
                continue  # an array without values, which no detector has
            with pytest.raises(ConstantsError, match=r"bad\."):
                read_array(path)
    np.savez(tmp_path / "two.npz", a=array(), b=array())
    with pytest.raises(ConstantsError, match="has 2 arrays: a, b"):
        read_array(tmp_path / "two.npz")
    with pytest.raises(ConstantsError, match="no array 'aa'"):
        read_array(tmp_path / "two.npz", "aa")
    np.save(tmp_path / "objects.npy", np.array([{}, 1], object), allow_pickle=True)
    with pytest.raises(ConstantsError):
        read_array(tmp_path / "objects.npy")


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("pedestals", np.full(SHAPE, np.nan), r"1200 values are not finite, the first is nan at \[0, 0\]"),
        ("pedestals", np.full(SHAPE, 1e300), "too large for float32"),
        ("pedestals", np.zeros((0, 4)), "0 values of float64 are no constants"),
        ("pedestals", np.full(SHAPE, "x"), "are no constants"),
        ("pixel_status", np.full(SHAPE, 70_000), "70000 does not fit into uint16"),
        ("pixel_status", np.full(SHAPE, 1.5), "1.5 does not fit into uint16"),
        ("pixel_status", np.full(SHAPE, -1), "-1 does not fit into uint16"),
        ("pixel_mask", np.full(SHAPE, 2), "values 0 and 1 only"),
        ("pixel_rms", np.full(SHAPE, -1.0), "1200 values are negative"),
    ],
)
def test_values_that_are_refused(store: Store, kind: str, values: np.ndarray, message: str) -> None:
    with pytest.raises(ConstantsError, match=message):
        put(store, "1-end", values, kind)
    assert not store.directory.exists()


def test_shapes_are_those_of_the_detector(store: Store) -> None:
    with pytest.raises(ConstantsError, match=r"has the shape \(30, 40\), 1200 values; pedestals of Epix100a have"):
        new = NewConstants(array(), "here")
        plan_deployment(store, "XppGon.0:Epix100a.0", "pedestals", RunRange(1), new)
    with pytest.raises(ConstantsError, match=r"have the shape \(3, 1, 512, 1024\)"):
        new = NewConstants(array(), "here")
        plan_deployment(store, "XppGon.0:Jungfrau.0", "pedestals", RunRange(1), new, raw_shape=(1, 512, 1024))
    plan = plan_deployment(
        store, SOURCE, "pedestals", RunRange(1), NewConstants(array().ravel(), "here"), raw_shape=SHAPE
    )
    assert plan.array.shape == SHAPE
    assert plan.notes == ["the shape (1200,) is taken as (30, 40)"]


def test_nothing_is_replaced_or_hidden_by_accident(store: Store) -> None:
    put(store, "10-end", array(1))
    put(store, "20-end", array(2))  # the usual way on
    put(store, "12-14", array(3))
    before = snapshot(store.directory)
    for runs, message in (
        ("10-end", "10-end.data exists and would be replaced"),
        ("10-15", "10-end.data would no longer apply to 10-11, 15-15"),
        ("13-end", "12-14.data would no longer apply to 13-14"),
        ("12-13", "12-14.data would no longer apply to 12-13"),
    ):
        with pytest.raises(ConstantsError, match=message):
            put(store, runs, array(4))
        assert snapshot(store.directory) == before
    put(store, "10-end", array(4), force=True)
    assert np.array_equal(store.get(SOURCE, "pedestals", 10).array, array(4))


def test_a_range_that_never_applies_is_refused(store: Store) -> None:
    put(store, "5-6", array(1))
    put(store, "6-7", array(1), force=True)
    with pytest.raises(ConstantsError, match="5-7 would apply to no run: others hide it"):
        put(store, "5-7", array(2))


def test_the_same_again_changes_nothing(store: Store) -> None:
    new = NewConstants(array(), "text", format_text(array()))
    for _ in range(2):
        record = deploy(store, plan_deployment(store, SOURCE, "pedestals", RunRange(1), new))
    assert not record.values
    assert len(history.read(directory(store))) == 1


def test_revert_brings_back_every_state(store: Store) -> None:
    states = []
    for seed in range(3):
        put(store, "1-end", array(seed), force=True)
        states.append((directory(store) / "1-end.data").read_bytes())
    for expected in (states[1], states[0]):
        revert(store, SOURCE, "pedestals", RunRange(1))
        assert (directory(store) / "1-end.data").read_bytes() == expected
    revert(store, SOURCE, "pedestals", RunRange(1))
    assert not (directory(store) / "1-end.data").exists()
    with pytest.raises(NotFoundError):
        revert(store, SOURCE, "pedestals", RunRange(1))
    records = history.read(directory(store))
    assert [record.command for record in records] == ["deploy"] * 3 + ["revert"] * 3
    kept = {path.read_bytes() for path in directory(store).iterdir() if path.name.startswith("1-end.data-")}
    assert kept >= set(states)  # nothing was destroyed
    assert store.files(SOURCE, "pedestals").entries == ()


def test_revert_of_a_file_that_somebody_changed(store: Store) -> None:
    put(store, "1-end", array(1))
    put(store, "1-end", array(2), force=True)
    (directory(store) / "1-end.data").write_text("1 2 3\n")
    with pytest.raises(ConstantsError, match="is not what was deployed last"):
        revert(store, SOURCE, "pedestals", RunRange(1))
    revert(store, SOURCE, "pedestals", RunRange(1), force=True)
    assert np.array_equal(store.get(SOURCE, "pedestals", 1).array, array(1))


def test_revert_of_a_deployment_by_the_original(store: Store) -> None:
    """It keeps backups with a date, and no checksum."""
    directory(store).mkdir(parents=True)
    (directory(store) / "1-end.data").write_text("2 2\n")
    (directory(store) / "1-end.data-2015-01-02T03:04:05").write_text("1 1\n")
    (directory(store) / "HISTORY").write_text("file:1-end.data     copy_of:/x  exp:e  user:u\n")
    revert(store, SOURCE, "pedestals", RunRange(1))
    assert store.get(SOURCE, "pedestals", 1).array.tolist() == [1, 1]


HISTORY_FORMS = [
    "file:0-end.data      copy_of:/a b/c  exp:xppn4116  run:0137  comment:calibrun-dark  user:u  host:h  "
    "cptime:2024-05-31T10:03:41  zone:PDT",
    "file:0-end.data      copy_of:/a b/c ctype:geometry user:u host:h cptime:2024-05-31T10:03:42 cwd:/x "
    "cmt:some text: a",
    "file:0-end.data      copy_of:/a b/c  exp:xppn4116  run:0137  app:calibman  user:u  host:h  "
    "cptime:2024-05-31T10:03:41  zone:PDT  comment:c d",
    "file:0-end.data      cmd:rm    comment:file-manager  user:u  host:h  cptime:2024-05-31T10:03:41  zone:PDT",
]


def test_history_in_all_forms_of_the_original(tmp_path: Path) -> None:
    (tmp_path / "HISTORY").write_text("\n".join(HISTORY_FORMS) + "\n")
    records = history.read(tmp_path)
    assert [record.file for record in records] == ["0-end.data"] * 4
    assert [record.command for record in records] == ["deploy"] * 3 + ["rm"]
    assert [record.comment for record in records] == ["calibrun-dark", "some text: a", "c d", "file-manager"]
    assert [record.values.get("copy_of") for record in records] == ["/a b/c"] * 3 + [None]
    assert all(record.values["cptime"].startswith("2024-05-31T10:03:4") for record in records)
    assert [record.values.get("zone") for record in records] == ["PDT", None, "PDT", "PDT"]


def test_concurrent_deployments(store: Store) -> None:
    """Four processes, two into the same file, three times each: all whole, and each has its line in the history."""
    program = """
import sys
import numpy as np
from psanacli.calib import NewConstants, RunRange, Store, deploy, plan_deployment
store, number = Store(sys.argv[1]), int(sys.argv[2])
for k in range(3):
    new = NewConstants(np.full((200, 300), 10.0 * number + k), str(number))
    while True:
        try:
            plan = plan_deployment(store, "XppGon.0:Opal1000.0", "pedestals", RunRange(number // 2), new)
            deploy(store, plan, force=True)
            break
        except Exception as error:
            if "somebody else" not in str(error):
                raise
"""
    words = [sys.executable, "-c", program, str(store.directory)]
    children = [subprocess.Popen([*words, str(k)], stderr=subprocess.PIPE) for k in range(4)]
    errors = [child.communicate(timeout=300)[1] for child in children]
    assert [child.returncode for child in children] == [0] * 4, errors
    assert len(history.read(directory(store))) == 12
    for run in (0, 1):
        values = store.get(SOURCE, "pedestals", run).array
        assert (values == values[0, 0]).all()
        last = [r for r in history.read(directory(store)) if r.file == f"{run}-end.data"][-1]
        assert store.get(SOURCE, "pedestals", run).checksum == last.values["sha256"]
    assert not [path for path in directory(store).iterdir() if path.name.endswith(".part")]


@pytest.mark.parametrize("step", ["fsync", "link", "replace", "write"])
@pytest.mark.parametrize("first", [True, False])
def test_a_failure_of_the_disk_at_any_step_leaves_the_store_as_it_was(
    store: Store, monkeypatch: pytest.MonkeyPatch, step: str, first: bool
) -> None:
    if not first:
        put(store, "1-end", array(1))
    before = snapshot(store.directory) if store.directory.exists() else {}
    real, calls = getattr(os, step), []

    def fail(*args: object, **kwargs: object) -> object:
        calls.append(args)
        if len(calls) == fail_at:
            raise OSError(28, "No space left on device")
        return real(*args, **kwargs)

    for fail_at in (1, 2, 3):
        calls.clear()
        with monkeypatch.context() as patch:
            patch.setattr(place.os, step, fail)
            try:
                put(store, "1-end", array(2), force=True)
            except OutputError as error:
                assert error.exit_code == 5
                assert "No space left on device" in str(error)
            else:
                break
        if fail_at == 3 and step == "fsync":
            break  # the directory is synced when all is done
        assert (snapshot(store.directory) if store.directory.exists() else {}) == before, (step, fail_at)
    assert calls or (first and step == "replace")  # which nothing needs that is new


def test_a_disk_that_takes_half_a_line_of_the_history(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, "1-end", array(1))
    before = snapshot(store.directory)
    real = os.write
    with monkeypatch.context() as patch:
        patch.setattr(place.os, "write", lambda file, data: real(file, data[: len(data) // 2]))
        with pytest.raises(OutputError, match="No space left on device"):
            put(store, "2-end", array(2))
    assert snapshot(store.directory) == before
    put(store, "2-end", array(2))
    assert [record.file for record in history.read(directory(store))] == ["1-end.data", "2-end.data"]


@pytest.mark.parametrize("limit", [100, 3000, 20_000])
def test_a_limit_of_the_size_of_files(store: Store, limit: int) -> None:
    put(store, "1-end", np.ones((2, 2)))
    before = snapshot(store.directory)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, old[1]))
    try:
        with pytest.raises(OutputError, match="File too large"):
            put(store, "1-end", np.random.default_rng(1).normal(size=(100, 100)), force=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert snapshot(store.directory) == before


@pytest.mark.parametrize("step", ["mkstemp", "fsync", "write", "link", "replace"])
def test_a_killed_deployment(store: Store, step: str) -> None:
    """SIGKILL before any step: readers see the old file or the new one, and the next deployment clears up."""
    put(store, "1-end", array(1))
    program = f"""
import os, signal, sys, tempfile
import numpy as np
from psanacli.calib import NewConstants, RunRange, Store, deploy, plan_deployment, place
module = tempfile if {step!r} == "mkstemp" else os
real = getattr(module, {step!r})
def kill(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)
store = Store(sys.argv[1])
plan = plan_deployment(store, {SOURCE!r}, "pedestals", RunRange(1), NewConstants(np.full({SHAPE}, 5.0), "x"))
setattr(module, {step!r}, kill)
deploy(store, plan, force=True)
"""
    child = subprocess.run([sys.executable, "-c", program, str(store.directory)], capture_output=True, timeout=120)
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert np.array_equal(store.get(SOURCE, "pedestals", 1).array, array(1))
    put(store, "1-end", array(3), force=True)
    assert np.array_equal(store.get(SOURCE, "pedestals", 1).array, array(3))
    assert not [path for path in directory(store).iterdir() if path.name.endswith(".part")]
    revert(store, SOURCE, "pedestals", RunRange(1))
    assert np.array_equal(store.get(SOURCE, "pedestals", 1).array, array(1))


@pytest.mark.parametrize("closed", ["the type", "the store", "the history"])
def test_read_only_directories(as_user: Callable[[Callable[[Path], None]], None], closed: str) -> None:
    def deploy_and_fail(home: Path) -> None:
        store = Store(home / "calib")
        put(store, "1-end", array(1))
        before = snapshot(store.directory)
        kind = "pixel_rms" if closed == "the store" else "pedestals"
        path = {"the type": directory(store), "the store": directory(store).parent}.get(closed)
        path = path or directory(store) / "HISTORY"
        path.chmod(0o500)
        with pytest.raises(OutputError, match="Permission denied") as raised:
            put(store, "2-end", array(2), kind)
        assert raised.value.exit_code == 5
        path.chmod(0o700)
        assert snapshot(store.directory) == before
        put(store, "2-end", array(2), kind)
        assert np.array_equal(store.get(SOURCE, kind, 2).array, array(2))

    as_user(deploy_and_fail)


def test_something_in_the_way(store: Store) -> None:
    store.directory.mkdir()
    (store.directory / "Camera::CalibV1").write_text("a file\n")
    with pytest.raises(OutputError, match=r"cannot be written"):
        put(store, "1-end", array(1))
    (store.directory / "Camera::CalibV1").unlink()
    directory(store).mkdir(parents=True)
    (directory(store) / "1-end.data").mkdir()
    with pytest.raises(ConstantsError, match="Is a directory"):
        put(store, "1-end", array(1))


def test_permissions_are_those_of_the_facility_only_where_its_group_exists(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = os.umask(0o077)
    try:
        put(store, "1-end", array(1))
        assert (directory(store) / "1-end.data").stat().st_mode & 0o777 == 0o600
        monkeypatch.setattr(place, "facility_group", os.getgid)
        put(store, "1-end", array(1), "pixel_rms")
    finally:
        os.umask(mask)
    made = directory(store, "pixel_rms")
    assert made.stat().st_mode & 0o7777 == 0o2775
    assert {path.name: path.stat().st_mode & 0o777 for path in made.iterdir()} == {
        "1-end.data": 0o664,
        "HISTORY": 0o664,
    }
