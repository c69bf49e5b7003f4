"""The examples of docs/outside.md do what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from run.runs import write_run

from psanacli import open_run
from psanacli.commands.main import run as psana
from psanacli.outside import KEYS, ReadOptions, read_table

PAGE = (Path(__file__).parents[2] / "docs" / "outside.md").read_text()
FIRST = np.datetime64("2015-07-06T16:26:40.400")


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for kind, name in (("csv", "lakeshore.csv"), ("json", "archiver.json")):
        (content,) = re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)
        (tmp_path / name).write_text(content)
    write_run(tmp_path / "xtc")
    return tmp_path


def test_the_tables(work: Path) -> None:
    table = read_table("lakeshore.csv", ReadOptions(zone="America/Los_Angeles"))
    assert (table.times - FIRST).astype("timedelta64[s]").astype(int).tolist() == [0, 1, 2]
    assert table.columns["temp"].units == "K" and table.columns["temp"].values[:2].tolist() == [77.25, 77.5]
    assert table.columns["valve"].present.tolist() == [True, False, True]
    assert (read_table("archiver.json").times[0] - FIRST).astype(int) == 0


def test_the_command_lines(work: Path) -> None:
    lines = [line.strip() for line in PAGE.splitlines() if line.startswith("    psana ")]
    assert len(lines) == 2
    for line in lines:
        assert psana(line.replace("DATASOURCE", "xtc").split()[1:]) == 0


def test_the_python(work: Path) -> None:
    code = [line.strip() for line in PAGE.splitlines() if line.startswith("    run.")]
    assert len(code) == 3
    with open_run("xtc") as run:
        for line in code:
            value = eval(line, {"run": run})
        assert value.joined == len(run.events)
        assert float(run.column("cryo.temp")[0]) == 77.25
        run.join("archiver.json", name="pv")
        assert (
            run.column("pv.CXI:TEMP").tolist() == run.column("pv.CXI_TEMP").tolist() == run.column("pv.value").tolist()
        )


def test_the_forms_of_times(tmp_path: Path) -> None:
    listed = re.search(r"Times may be\n(.*?)- two columns", PAGE, re.DOTALL)
    assert listed
    texts = [text for text in re.findall(r"`([^`]+)`", listed[1]) if text != "pm"]
    assert len(texts) == 10
    for text in texts:
        (tmp_path / "time.csv").write_text(f'time;a\n"{text}";1\n')
        number = text.replace(".", "").isdigit()
        options = ReadOptions(zone="" if number else "UTC", dates="" if number else "mdy")
        table = read_table(tmp_path / "time.csv", options)
        assert table.times[0].astype("datetime64[s]") == np.datetime64("2015-07-06T16:26:40"), text


def test_every_key_is_there() -> None:
    rows = re.findall(r"^\| (`.*?`) \|", PAGE, re.MULTILINE)
    named = {key for row in rows for key in re.findall(r"`(\w+)=", row)}
    assert named == set(KEYS)
