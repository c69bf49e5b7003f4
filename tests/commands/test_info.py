"""`psana info`: what people and programs see."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from psanacli.commands import console
from psanacli.commands.info import command
from psanacli.errors import DataError, NotFoundError, UsageError

SNAPSHOTS = Path(__file__).parent / "snapshots"
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def info(*words: str | Path, ok: bool = True, **environ: str) -> Result:
    result = CliRunner().invoke(command, [str(word) for word in words], env={"COLUMNS": "100", **environ})
    if ok and result.exception:
        raise result.exception
    return result


def same_as_snapshot(name: str, text: str, shared: Path) -> None:
    """Compare with a stored text; a missing one is written, and fails."""
    text = "\n".join(line.rstrip() for line in text.replace(str(shared), "SHARED").splitlines()) + "\n"
    path = SNAPSHOTS / f"{name}.txt"
    if not path.exists():
        path.write_text(text)
        pytest.fail(f"{path} is new: look at it")
    assert text == path.read_text()


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("name", ["simple", "multi"])
def test_the_overview_on_a_terminal(shared: Path, name: str, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "is_terminal", lambda stream=None: True)
    shown = info(shared / "lcls1" / name, COLUMNS=str(columns), TERM="xterm", NO_COLOR="1").stdout
    lines = ESCAPES.sub("", shown).splitlines()
    same_as_snapshot(f"info-{name}-{columns}", "\n".join(lines), shared)
    assert max(len(line.rstrip()) for line in lines if str(shared) not in line and "time " not in line) <= columns


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("plain", []),
        ("detectors", ["--detectors"]),
        ("lists", ["--epics", "--steps"]),
        ("events", ["--events", "27:33"]),
        ("missing", ["--missing"]),
    ],
)
def test_what_is_no_terminal_gets_plain_text(shared: Path, name: str, options: list[str]) -> None:
    shown = info(shared / "lcls1" / "multi", *options).stdout
    assert "\x1b" not in shown and "─" not in shown
    same_as_snapshot(f"info-multi-{name}", shown, shared)


def test_damage_is_red_where_colour_can_be(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "is_terminal", lambda stream=None: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    runner = CliRunner()
    shown = runner.invoke(command, [str(shared / "lcls1" / "multi"), "--missing"], color=True, env={"COLUMNS": "140"})
    assert "\x1b[31m" in shown.stdout and "red: damaged" in shown.stdout
    monkeypatch.setenv("NO_COLOR", "1")
    shown = runner.invoke(command, [str(shared / "lcls1" / "multi"), "--missing"], color=True, env={"COLUMNS": "140"})
    assert "\x1b" not in shown.stdout


def test_json_has_the_documented_names(shared: Path) -> None:
    """Every name that the output has stands in its part of docs/json.md, and the other way round."""
    page = (Path(__file__).parents[2] / "docs" / "json.md").read_text()
    documented = page.partition("## `psana info --json`")[2].partition("\n## ")[0]
    found = json.loads(info(shared / "lcls1" / "multi", shared / "lcls1" / "simple", "--json", "--missing").stdout)
    assert {key: found[key] for key in ("format", "version")} == {"format": "psana info", "version": 1}
    multi, simple = found["runs"]
    names = {
        *found,
        *multi,
        *(name for key in ("steps", "streams", "files", "detectors", "epics") for name in multi[key][0]),
    }
    names |= {name for detector in multi["detectors"] for kind in detector["types"] for name in kind}
    assert {name for name in names if f"`{name}`" not in documented and f'"{name}"' not in documented} == set()
    assert (simple["experiment"], simple["run"], simple["events"]) == ("xppsim15", 1, 20)
    assert simple["start"] == "2015-07-06T16:26:40.123456789"
    assert simple["steps"][1]["values"] == {"XPP:SCAN:DELAY": 1.5, "XPP:SCAN:ARR[2]": -0.25}
    assert multi["missing"]["xtdcam"]["absent"][0] == [0, 2]
    assert [variable["value"] for variable in multi["epics"] if variable["name"] == "CXI:SC1:MMS:01.RBV"] == ["inf"]
    table = documented.split("\n| `")
    top = [row.split(" | ")[0].strip("` ") for row in table[1:]]
    wanted = {name.strip("`") for row in top for name in row.split(", ")}
    assert wanted <= names


def test_events_are_lines_of_json(shared: Path) -> None:
    lines = info(shared / "lcls1" / "simple", "--json", "--events", "18:").stdout.splitlines()
    assert [json.loads(line)["event"] for line in lines] == [18, 19]
    assert json.loads(lines[1]) == {
        "run": 1,
        "event": 19,
        "time": "2015-07-06T16:26:42.540123449",
        "seconds": 1436200002,
        "nanoseconds": 540123449,
        "fiducials": 17004,
        "vector": 57,
        "step": 1,
        "codes": [140, 41],
        "flags": ["daq"],
    }
    assert len(info(shared / "lcls1" / "simple", "--json", "--events").stdout.splitlines()) == 20


def test_the_picture_is_written_whole(shared: Path, tmp_path: Path) -> None:
    path = tmp_path / "missing.png"
    result = info(shared / "lcls1" / "multi", "--png", path)
    assert result.stdout == "" and f"wrote {path}" in result.stderr
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert info(shared / "lcls1" / "multi", "--png", tmp_path / "no" / "x.png", ok=False).exception.exit_code == 5
    assert (
        info(shared / "lcls1" / "random" / "r0001", shared / "lcls1" / "multi", "--png", path, ok=False).exit_code == 2
    )


def test_explain_shows_what_was_tried(shared: Path) -> None:
    shown = info(f"exp=xppsim15:run=1:dir={shared}/lcls1/simple/xtc", "--explain").stdout
    assert "experiment xppsim15: XPP/xppsim15, number 301" in shown
    assert "e301-r0001-s01-c00.xtc" in shown.splitlines()[-1]
    lines = json.loads(info("exp=nosuch:run=1", "--root", "/nowhere", "--explain", "--json").stdout)["explain"]
    assert lines[-2].startswith("error: no experiment nosuch under /nowhere")


def test_damaged_files_end_with_an_error_after_all_is_shown(shared: Path) -> None:
    result = info(f"{shared}/lcls1/damaged:run=2,11", ok=False)
    assert isinstance(result.exception, DataError)
    assert "e306-r0002-s00-c00.xtc at offset 1424" in str(result.exception)
    assert "run 2" in result.stdout and "run 11" in result.stdout
    assert info(f"{shared}/lcls1/damaged:run=7,8,11-14,16,19").exit_code == 0


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["exp=xppsim15:run=2"], NotFoundError),
        (["exp=xppsim15:runs=1"], UsageError),
        (["no/such/file.xtc"], NotFoundError),
    ],
)
def test_a_miss_is_an_error_of_ours(words: list[str], error: type[Exception]) -> None:
    assert isinstance(info(*words, "--root", "/nowhere", ok=False).exception, error)


def test_an_option_before_the_data_source_says_where_it_belongs(shared: Path) -> None:
    result = info("--events", shared / "lcls1" / "simple", ok=False)
    assert result.exit_code == 2 and "behind the data source" in result.output


@pytest.mark.parametrize("words", [["--events", "20"], ["--events", "25:30", "--json"]])
def test_events_behind_the_last(shared: Path, words: list[str]) -> None:
    result = info(shared / "lcls1" / "simple", *words, ok=False)
    assert isinstance(result.exception, NotFoundError)
    assert (result.stdout, result.exception.exit_code) == ("", 3)
    assert result.exception.message.startswith("there is no event 2")
    assert result.exception.hint == "run 1 has 20 events"
