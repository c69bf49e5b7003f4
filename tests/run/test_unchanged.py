"""What is made of a run is made of the files that were opened, or is an error that names the file."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import psanacli
from psanacli.commands.main import run as psana
from psanacli.demo import Sample, write_sample
from psanacli.errors import DataError
from psanacli.hdf5 import fill
from psanacli.run import Run, index
from psanacli.xtc import facility


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return write_sample(tmp_path_factory.mktemp("original"), events=24)


@pytest.fixture
def file(original: Sample, tmp_path: Path) -> Path:
    """The first file of a copy of the sample."""
    shutil.copytree(original.root, tmp_path / "data")
    return tmp_path / "data" / original.paths[0].relative_to(original.root)


@pytest.fixture
def run(original: Sample, file: Path, tmp_path: Path) -> Iterator[Run]:
    with psanacli.open_run(original.datasource, roots=[tmp_path / "data"]) as opened:
        yield opened


def replaced(file: Path) -> None:
    """Another file of the same size and time takes its name."""
    other = file.with_suffix(".other")
    shutil.copy2(file, other)
    os.replace(other, file)


def written(file: Path) -> None:
    with open(file, "r+b") as target:
        target.seek(200)
        target.write(b"\0")


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 5)


def longer(file: Path) -> None:
    """Something else, which is longer, is copied over it."""
    content = file.read_bytes()
    file.write_bytes(content[:400] + b"another" + content[400:])


CHANGES: dict[Callable[[Path], None], str] = {
    replaced: "another file has its name now",
    written: "somebody wrote to it at 20",
    cut: "bytes, and has",
    longer: "the datagram at offset",
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("read_before", [True, False])
def test_a_file_that_changes(run: Run, file: Path, change: Callable[[Path], None], read_before: bool) -> None:
    """Also one of which nothing was read yet, and never will be."""
    if read_before:
        run.column("EBeam.ebeamCharge")
    run.check_unchanged()
    change(file)
    with pytest.raises(DataError, match=CHANGES[change]) as told:
        run.check_unchanged()
    assert str(file) in str(told.value)


def at_rest(file: Path, seconds: float = 7200) -> float:
    """Let nobody have written to a file for two hours; return its time."""
    then = time.time() - seconds
    os.utime(file, (then, then))
    return then


def patched_in_the_middle(file: Path) -> None:
    """The header of a datagram somewhere, and its time as it was before."""
    with psanacli.open_run(str(file)) as run:
        offset = int(run.table.datagrams["offset"][len(run.table.datagrams) // 2])
    before = file.stat()
    with open(file, "r+b") as target:
        target.seek(offset)
        target.write(b"\x01\x02\x03\x04")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))


def the_last_byte(file: Path) -> None:
    with open(file, "r+b") as target:
        target.seek(-1, os.SEEK_END)
        last = target.read(1)[0]
        target.seek(-1, os.SEEK_END)
        target.write(bytes([last ^ 1]))


@pytest.mark.parametrize("now", [True, False])
def test_a_file_at_rest_may_be_touched(original: Sample, file: Path, tmp_path: Path, now: bool) -> None:
    """By a user, or by a program that copies times behind the files; what was read of it is right."""
    then = at_rest(file)
    with psanacli.open_run(original.datasource, roots=[tmp_path / "data"]) as run:
        run.column("EBeam.ebeamCharge")
        os.utime(file, None if now else (then - 86400, then - 86400))
        run.check_unchanged()
        run.rest()
        assert run.column("EBeam.ebeamCharge").count() == 24


@pytest.mark.parametrize(
    ("change", "message"),
    [(written, "somebody wrote to it"), (the_last_byte, "somebody wrote"), (patched_in_the_middle, "datagram at")],
)
def test_a_file_at_rest_that_is_written_to(
    original: Sample, file: Path, tmp_path: Path, change: Callable[[Path], None], message: str
) -> None:
    at_rest(file)
    with psanacli.open_run(original.datasource, roots=[tmp_path / "data"]) as run:
        change(file)
        with pytest.raises(DataError, match=message):
            run.check_unchanged()


def test_a_file_that_may_still_be_copied_must_not_be_touched(original: Sample, file: Path, tmp_path: Path) -> None:
    """Its headers may all be there, and its payloads come later: only its time tells."""
    then = at_rest(file, 600)
    with psanacli.open_run(original.datasource, roots=[tmp_path / "data"]) as run:
        os.utime(file, (then, then + 1))
        with pytest.raises(DataError, match="somebody wrote to it"):
            run.check_unchanged()


@pytest.mark.parametrize("kind", ["run", "idx", "smd"])
@pytest.mark.parametrize("change", [written, cut])
def test_no_index_is_made_of_two_states(
    original: Sample,
    file: Path,
    tmp_path: Path,
    kind: str,
    change: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    changed = []

    def after(real: Callable[..., Any]) -> Callable[..., Any]:
        def made(*words: Any, **more: Any) -> Any:
            result = real(*words, **more)
            if not changed:
                changed.append(change(file))
            return result

        return made

    monkeypatch.setattr(index.Identity, "of", after(index.Identity.of))
    monkeypatch.setattr(facility.BigFile, "of", after(facility.BigFile.of))
    before = set(file.parent.rglob("*.*"))
    (tmp_path / "made").mkdir()
    code = psana(["index", "build", *words(original, tmp_path, "--format", kind, "-o", tmp_path / "made")])
    message = capsys.readouterr().err
    assert changed and code == 4, message
    assert str(file) in message and ("changed while it was read" in message or kind == "smd")
    made = {path.name for path in (tmp_path / "made").iterdir()}
    assert not any(name.startswith((file.name.removesuffix(".xtc"), ".")) for name in made)
    assert kind != "run" or not made
    assert set(file.parent.rglob("*.*")) == before


def test_a_file_that_is_another_when_it_is_first_read(run: Run, file: Path) -> None:
    replaced(file)
    with pytest.raises(DataError, match=f"{file} changed while it was read"):
        run.column("EBeam.ebeamCharge")


def test_what_happens_to_live_files_is_no_change(original: Sample, file: Path, tmp_path: Path) -> None:
    """They grow, and get their final names."""
    writing = file.with_name(file.name + ".inprogress")
    content = file.read_bytes()
    writing.write_bytes(content[: len(content) // 2])
    file.unlink()
    with psanacli.open_run(f"{original.datasource}:live", roots=[tmp_path / "data"]) as run:
        assert any(each.path == writing for each in run.table.files)
        with open(writing, "ab") as more:
            more.write(content[len(content) // 2 :])
        run.check_unchanged()
        assert run.column("EBeam.ebeamCharge").count() > 6
        os.rename(writing, file)
        run.check_unchanged()


def words(original: Sample, here: Path, *more: object) -> list[str]:
    return [original.datasource, "--root", str(here / "data"), "-q", *map(str, more)]


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_is_translated_of_two_states(
    original: Sample,
    file: Path,
    tmp_path: Path,
    change: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real, changed = fill.Worker.__call__, []

    def work(self: fill.Worker, block: Any) -> Any:
        result = real(self, block)
        if not changed:
            changed.append(change(file))
        return result

    monkeypatch.setattr(fill.Worker, "__call__", work)
    (tmp_path / "out").mkdir()
    assert psana(["translate", *words(original, tmp_path, "-o", tmp_path / "out/out.h5")]) == 4
    assert str(file) in capsys.readouterr().err
    assert os.listdir(tmp_path / "out") == []


def test_nothing_is_extracted_of_two_states(
    original: Sample,
    file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from psanacli.run import extract

    real = extract.write_provenance
    monkeypatch.setattr(extract, "write_provenance", lambda *a, **k: (real(*a, **k), written(file)))
    assert psana(["extract", *words(original, tmp_path, "--events", "0:9", "-o", tmp_path / "tree")]) == 4
    assert f"{file} changed while it was read" in capsys.readouterr().err
    assert not (tmp_path / "tree").exists()


def test_no_translation_goes_on_with_another_file(
    original: Sample, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Though it has the size and the time of the one before."""
    out = tmp_path / "out.h5"
    program = (
        "import os, sys; from psanacli.hdf5 import output; from psanacli.commands.main import run;"
        "output.CHECKPOINT_SECONDS = 0; real = output.Output.checkpoint;"
        "output.Output.checkpoint = lambda *words: (real(*words), os.kill(os.getpid(), 9)); run(sys.argv[1:])"
    )
    command = ["translate", *words(original, tmp_path, "-o", out)]
    assert subprocess.run([sys.executable, "-c", program, *command]).returncode == -signal.SIGKILL
    replaced(file)
    command.remove("-q")
    assert psana([*command, "--resume"]) == 0
    assert f"began anew: what is there was made from another state of {file}" in capsys.readouterr().err
