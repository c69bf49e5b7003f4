"""Standard streams that are closed, full, or speak ASCII only: nothing crashes, and nobody is told of a traceback."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from commands.cluster import PSANA, contents, environment, psana


def shell(line: str, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a line of the shell with pipefail, where ``"$@"`` is `psana` with these words."""
    command = ["bash", "-c", f"set -o pipefail; {line}", "bash", *PSANA, *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment(**more), timeout=60)


@pytest.mark.parametrize(
    "words",
    [["info", "--events", ":"], ["info", "--json"], ["info", "--events", ":", "--json"], ["info", "--detectors"]],
    ids=" ".join,
)
def test_a_reader_that_has_seen_enough(demo_run: list[str], words: list[str]) -> None:
    done = shell('"$@" | head -1', words[0], *demo_run, *words[1:])
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)


@pytest.mark.parametrize("words", [["dump"], ["dump", "--json"], ["dump", "--headers"]], ids=" ".join)
def test_dump_to_a_reader_that_has_seen_enough(demo_run: list[str], words: list[str]) -> None:
    files = sorted(str(path) for path in Path(demo_run[2]).rglob("*.xtc"))
    done = shell('"$@" | head -1', *words, *files)
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)


def test_translate_with_nobody_reading(here: Path, demo_run: list[str]) -> None:
    done = shell('"$@" | true', "translate", *demo_run, "-o", "out.h5", "--json", "-q")
    assert done.returncode == 0
    assert "Traceback" not in done.stderr and "bug" not in done.stderr
    assert len(contents(here / "out.h5")) > 100


@pytest.fixture(scope="module")
def whole(demo_run: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("whole") / "out.h5"
    assert psana("translate", *demo_run, "-o", out)[0] == 0
    return contents(out)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("words", [["translate", "--json"], ["info", "--json"], ["info", "--events", "0:3", "--json"]])
def test_closed_streams(here: Path, demo_run: list[str], whole: dict[str, Any], words: list[str], closed: str) -> None:
    """A file that is made then must not get the number of a stream: whatever is printed would go into it."""
    output = ["-o", "out.h5"] if words[0] == "translate" else []
    done = shell(f'"$@" {closed}', words[0], *demo_run, *output, *words[1:])
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "bug" not in done.stderr
    if output:
        assert contents(here / "out.h5") == whole


@pytest.mark.parametrize(
    "more",
    [
        {"LANG": "C", "LC_ALL": "C"},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONUTF8": "0", "LC_ALL": "POSIX"},
        {"NO_COLOR": "1", "TERM": "xterm"},
        {"TERM": "dumb"},
    ],
    ids=str,
)
def test_poor_terminals(here: Path, demo_run: list[str], more: dict[str, str]) -> None:
    """A name that ASCII does not know is shown somehow, and JSON stays JSON."""
    strange = here / "µ-\udcff"
    strange.mkdir()
    file = strange / next(Path(demo_run[2]).rglob("*s00*.xtc")).name
    os.symlink(next(Path(demo_run[2]).rglob("*s00*.xtc")), file)
    shown = (["info"], ["info", "--json"], ["info", "--missing"], ["dump", "--events", "0"], ["translate", "--json"])
    for words in shown:
        output = ["-o", strange / "out.h5", "--overwrite"] if words[0] == "translate" else []
        command = [*PSANA, words[0], file, *output, *words[1:]]
        done = subprocess.run(command, capture_output=True, env=environment(**more), timeout=60)
        assert done.returncode == 0, (words, done.stderr)
        assert b"Traceback" not in done.stderr
        assert b"\x1b" not in done.stdout + done.stderr
        if "--json" in words:
            text = done.stdout.decode(more.get("PYTHONIOENCODING", "utf-8"), "surrogateescape")
            assert "out.h5" in text or json.loads(text)["runs"]
            json.loads(text)


def test_input_is_never_asked_for(here: Path, demo_run: list[str]) -> None:
    """A batch job has no terminal; nothing waits for an answer."""
    code, _, errors = psana("translate", *demo_run, "-o", "out.h5", stdin=subprocess.DEVNULL)
    assert code == 0, errors
    code, _, errors = psana("translate", *demo_run, "-o", "out.h5", stdin=subprocess.DEVNULL)
    assert code == 5 and "--overwrite" in errors
