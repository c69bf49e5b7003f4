"""`psana translate` and outputs that cannot be written: a full disk, a limit, something in the way."""

from __future__ import annotations

import functools
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from commands.cluster import OFTEN, PSANA, Process, contents, environment, finish, hidden, inside, psana, ranks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = os.geteuid() == 0 and _run("mount", "-t", "tmpfs", "-o", "size=3m", "none", str(place))
    if not mounted:
        pytest.skip("only root can make a small file system")
    try:
        yield place
    finally:
        assert _run("umount", str(place)) or _run("umount", "-l", str(place))


def _run(*words: str) -> bool:
    try:
        return subprocess.run(words, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


@pytest.fixture(scope="module")
def whole(demo_run: list[str], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """What is in the file where there is room, by its compression."""

    @functools.cache
    def whole(compression: str) -> dict[str, Any]:
        out = tmp_path_factory.mktemp("whole") / "out.h5"
        assert inside("translate", *demo_run, "-o", out, "--compression", compression)[0] == 0
        return contents(out)

    return whole


@pytest.mark.parametrize("manner", ["serial", "-j 2", "ranks"])
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_full_disk(
    demo_run: list[str], small_disk: Path, whole: Callable[[str], dict[str, Any]], manner: str, compression: str
) -> None:
    """One message with the file and the reason; with room again, the same file as ever."""
    out = small_disk / "out.h5"
    words = ["translate", *demo_run, "-o", out, "--compression", compression, "-j", 2 if manner == "-j 2" else 1]
    process = Process([*ranks(3 if manner == "ranks" else 0), *OFTEN, *words])
    code, _, errors = finish(process)
    assert code == 5, errors
    assert errors.count("psana: error: ") == 1
    assert str(out) in errors and "No space left on device" in errors
    assert not out.exists()
    assert process.none_left()
    assert _run("mount", "-o", "remount,size=60m", str(small_disk))
    code, _, errors = inside(*words, "--resume")
    assert code == 0, errors
    assert contents(out) == whole(compression)
    assert hidden(small_disk) == set()


def test_a_full_disk_and_no_checkpoint_leaves_nothing(demo_run: list[str], small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(bytes(2_000_000))
    code, _, errors = psana("translate", *demo_run, "-o", small_disk)
    assert (code, errors.count("psana: error: ")) == (5, 1)
    assert [path.name for path in small_disk.iterdir()] == ["ballast"]


@pytest.mark.parametrize("manner", [["-j", 1], ["-j", 2], ["--compression", "none"]])
@pytest.mark.parametrize("limit", [20_000, 300_000, 2_000_000])
def test_a_limit_of_the_size_of_files(here: Path, demo_run: list[str], manner: list[object], limit: int) -> None:
    """Such as a quota: some limits are met when the structure is made, others in the middle."""
    words = [str(word) for word in ("translate", *demo_run, "-o", "out.h5", *manner)]
    program = f"import resource, os; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}));"
    program += f"os.execv({sys.executable!r}, {[*PSANA, *words]!r})"
    code, _, errors = finish(Process([sys.executable, "-c", program], cwd=here))
    assert (code, errors.count("psana: error: ")) == (5, 1), errors
    assert "out.h5" in errors and "File too large" in errors
    assert list(here.iterdir()) == []
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    assert inside(*words)[0] == 0


def test_the_picture_of_info_is_whole_or_not_there(demo_run: list[str], small_disk: Path) -> None:
    picture = small_disk / "missing.png"
    assert psana("info", *demo_run, "--png", picture)[0] == 0
    before = picture.read_bytes()
    assert before.endswith(b"IEND\xaeB`\x82")
    (small_disk / "ballast").write_bytes(bytes(os.statvfs(small_disk).f_bavail * 4096))
    code, _, errors = psana("info", *demo_run, "--png", picture)
    assert code == 5
    assert f"{picture} cannot be written: No space left on device" in errors
    assert picture.read_bytes() == before
    assert hidden(small_disk) == set()


def test_the_demo_on_a_full_disk(small_disk: Path) -> None:
    code, _, errors = psana("demo", small_disk / "demo")
    assert (code, errors.count("psana: error: ")) == (5, 1), errors
    assert "No space left on device" in errors
    assert not [path for path in small_disk.rglob("*") if path.is_file()]


@pytest.fixture(scope="module")
def broken_disk(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A library whose writes fail, see ``broken_disk.c``."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler here")
    library = tmp_path_factory.mktemp("library") / "broken_disk.so"
    source = Path(__file__).with_name("broken_disk.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    return str(library)


@pytest.mark.parametrize("manner", [["-j", 1], ["--compression", "none", "-j", 2]])
def test_a_disk_that_breaks(here: Path, demo_run: list[str], broken_disk: str, manner: list[object]) -> None:
    """HDF5 does not survive a write that fails; we do, at the first, one in the middle, and one of the last.

    That is of the metadata. Now and then a single write fails, and all others would work.
    """
    words = [*PSANA, "translate", *demo_run, "-o", "out.h5", "--events", "0:30", *manner]
    wishes = {"LD_PRELOAD": broken_disk, "BROKEN_FILE": ".out.h5.part"}
    code, _, errors = finish(Process(words, cwd=here, env=environment(**wishes, BROKEN_COUNT=str(here / "count"))))
    assert code == 0, errors
    count = int((here / "count").read_text())
    for path in here.iterdir():
        path.unlink()
    assert count > 50
    for after in (0, count // 2, count - 2):
        once = {"BROKEN_FOR": "1"} if after % 2 else {}
        process = Process(words, cwd=here, env=environment(**wishes, **once, BROKEN_AFTER=str(after)))
        code, _, errors = finish(process)
        assert (code, errors.count("psana: error: ")) == (5, 1), (after, count, errors)
        assert "out.h5: cannot be written: Input/output error" in errors
        assert list(here.iterdir()) == []
