"""The command `psana index check`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from psanacli.commands.main import run as psana
from tests.run.runs import write_run


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    write_run(tmp_path)
    return tmp_path


def test_silent_when_all_is_well(damaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert psana(["index", "check", str(damaged), "--skip", "damage"]) == 0
    assert capsys.readouterr() == ("", "")


def test_a_line_for_each_finding_and_exit_code_7(damaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert psana(["index", "check", str(damaged)]) == 7
    out, err = capsys.readouterr()
    (line,) = out.splitlines()
    assert line.startswith("damage: ") and "event 5: " in line and "at offset" in line
    assert "1 finding in 1 run" in err


def test_json_has_all_of_it(damaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert psana(["index", "check", str(damaged), "--json"]) == 7
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    (finding,) = run["findings"]
    assert (finding["check"], finding["event"], finding["count"]) == ("damage", 5, 1)
    assert Path(finding["file"]).is_file() and finding["offset"] > 0


def test_the_list_of_checks_needs_no_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert psana(["index", "check", "--list"]) == 0
    assert "duplicate" in capsys.readouterr().out


def test_wrong_usage(damaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert psana(["index", "check"]) == 2
    assert psana(["index", "check", str(damaged), "--only", "gaps"]) == 3
    assert "gap" in capsys.readouterr().err
    assert psana(["index", "check", str(damaged), "--quick", "--deep"]) == 2


def test_many_of_a_kind_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in write_run(tmp_path, events=60):
        data = bytearray(path.read_bytes())
        offset = 0
        while offset < len(data):
            if data[offset + 11] & 0xF == 12:
                data[offset + 12 : offset + 16] = (0x1FFFF).to_bytes(4, "little")
            offset += 20 + int.from_bytes(data[offset + 36 : offset + 40], "little")
        path.write_bytes(data)
    assert psana(["index", "check", str(tmp_path), "--only", "bad-fiducial"]) == 7
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 21 and lines[-1] == "bad-fiducial: 40 more in run 1; --all shows them"
    assert psana(["index", "check", str(tmp_path), "--only", "bad-fiducial", "--all"]) == 7
    assert len(capsys.readouterr().out.splitlines()) == 60
