"""``--with``: values from outside in `psana info` and `psana translate`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from run.runs import EVENTS, write_run

from psanacli import open_run
from psanacli.commands.main import run

TEMP = [None, 21, 22, 23, 24, 25, None, 27, None, None, None, None]
"""What events get of the table: no row is near event 0, that of event 6 has no value, it ends with event 7."""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a run in ``xtc`` and the table ``lab.csv``, in local time and shuffled."""
    monkeypatch.chdir(tmp_path)
    with open_run(write_run(tmp_path / "xtc")) as opened:
        times = opened.events.times - np.timedelta64(7, "h")
    temps = [*range(20, 26), "nan", 27]
    rows = [f"{time},{temp},{'ab'[n % 2]}" for n, (time, temp) in enumerate(zip(times[:8], temps, strict=True)) if n]
    (tmp_path / "lab.csv").write_text("\n".join(["when,temp [K],w/o", *rows[::2], *rows[1::2]]) + "\n")
    return tmp_path


LAB = "lab=lab.csv,time=when,zone=America/Los_Angeles,tolerance=1ms"


def test_info_tells_how_well_they_fit(work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["info", "xtc", "--with", LAB]) == 0
    out, err = capfd.readouterr()
    lines = [line.split() for line in out.splitlines()]
    assert ["lab.temp", "K", "nearest", "6", "1", "4", "1"] in lines
    assert "lab: 6 of 12 events have no temp: before the first row: 1, after the last row: 4" in err
    assert run(["info", "xtc", "--with", LAB, "--json"]) == 0
    (joined,) = json.loads(capfd.readouterr().out)["runs"][0]["joined"]
    assert joined["fields"][0] == {
        "field": "temp", "units": "K", "how": "nearest", "dtype": "int64", "shape": [], "events": 12, "joined": 6,
        "outside": 0, "before": 1, "after": 4, "no_value": 1,
    }  # fmt: skip
    assert joined["tolerance"] == "1ms" and joined["origin"]["zone"] == "America/Los_Angeles"


def test_every_name_in_the_json_is_documented(work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    documented = (Path(__file__).parents[2] / "docs" / "json.md").read_text()
    assert run(["info", "xtc", "--with", LAB, "--json"]) == 0
    (joined,) = json.loads(capfd.readouterr().out)["runs"][0]["joined"]
    names = {"joined", *joined, *joined["origin"], *joined["rows"], *joined["fields"][0]}
    assert {name for name in names if f"`{name}`" not in documented} == set()


@pytest.mark.parametrize(
    ("where", "numbers"),
    [
        ("lab.temp > 23", [4, 5, 7]),
        ("lab.temp > 21 and step == 0", [2, 3]),
        ("absent(lab.temp)", [0, 6, 8, 9, 10, 11]),
        ("lab.temp > 20 and lab.w_o == 'b' and not code(162)", [1, 5, 7]),
    ],
)
def test_a_condition_has_what_was_joined(
    work: Path, capfd: pytest.CaptureFixture[str], where: str, numbers: list[int]
) -> None:
    times = open_run("xtc").events[numbers].times.astype("datetime64[s]").tolist()
    assert run(["eventid", "list", "xtc", "--with", LAB, "--where", where, "--columns", "number", "--tsv"]) == 0
    assert [int(word) for word in capfd.readouterr().out.split()[1:]] == numbers
    assert run(["eventid", "select", "xtc", "--with", LAB, "--where", where]) == 0
    assert len(capfd.readouterr().out.splitlines()) == len(times) == len(numbers)
    assert run(["info", "xtc", "--with", LAB, "--where", where, "--json"]) == 0
    assert [json.loads(line)["event"] for line in capfd.readouterr().out.splitlines()] == numbers
    assert run(["translate", "xtc", "-o", "out.h5", "-q", "--with", LAB, "--where", where]) == 0
    assert stored(work / "out.h5", "temp") == [TEMP[number] for number in numbers]


def stored(path: Path, field: str) -> list[object]:
    with h5py.File(path) as file:
        group = file["Outside/lab"][field]
        held = group["_mask"][()] != 0
        return [value if ok else None for value, ok in zip(group["data"][()].tolist(), held.tolist(), strict=True)]


@pytest.mark.parametrize("form", [[], ["--aligned"]])
def test_translate_has_them_beside_the_detectors(work: Path, form: list[str]) -> None:
    assert run(["translate", "xtc", "-o", "out.h5", "-q", "--with", LAB, *form]) == 0
    assert stored(work / "out.h5", "temp") == TEMP
    assert stored(work / "out.h5", "w_o") == [b"ab"[n % 2 : n % 2 + 1] if 0 < n < 8 else None for n in range(EVENTS)]
    with h5py.File(work / "out.h5") as file:
        group = file["Outside/lab"]
        assert group["time"]["fiducials"].tolist() == open_run("xtc").events.table["fiducials"].tolist()
        about = {name: group.attrs[name] for name in group.attrs}
        assert (about["file"], about["zone"], about["how"]) == ("lab.csv", "America/Los_Angeles", "nearest")
        assert (about["tolerance"], about["time_column"], about["rows.used"]) == ("1ms", "when", 7)
        assert about["size"] == (work / "lab.csv").stat().st_size and about["checksum"].startswith("sha256:")
        counts = group["temp"].attrs
        assert (counts["joined"], counts["run.before"], counts["run.after"], counts["run.no_value"]) == (6, 1, 4, 1)
        assert (counts["units"], counts["name"], group["w_o"].attrs["name"]) == ("K", "temp", "w/o")
        assert json.loads(file["psanacli"].attrs["joined"])[0]["origin"]["path"] == "lab.csv"


def test_a_selection_and_a_split_have_the_rows_of_their_events(work: Path) -> None:
    more = ["-q", "--with", LAB, "--events", "1:10:2"]
    assert run(["translate", "xtc", "-o", "out.h5", *more]) == 0
    assert stored(work / "out.h5", "temp") == TEMP[1:10:2]
    assert run(["translate", "xtc", "-o", "s.h5", "--split", "steps", *more]) == 0
    assert stored(work / "s.h5", "temp") == TEMP[1:10:2]
    parts = [stored(path, "temp") for path in sorted(work.glob("s_cc*.h5"))]
    assert parts == [TEMP[1:4:2], TEMP[5:8:2], TEMP[9:10]]


def test_a_translation_does_not_go_on_with_other_values(work: Path) -> None:
    """What is joined belongs to what makes an interrupted translation the same."""
    from psanacli.hdf5 import TranslateOptions, plan
    from psanacli.hdf5.translate import _identity

    with open_run("xtc") as opened:
        opened.join("lab.csv", name="lab", time="when", zone="-07:00", tolerance="1ms")
        first = _identity(plan(opened, TranslateOptions()), opened)
        opened.join("lab.csv", name="lab", time="when", zone="-07:00", tolerance="2ms")
        assert _identity(plan(opened, TranslateOptions()), opened) != first


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--with", "lab"], 2, "NAME=FILE"),
        (["--with", "a b=lab.csv"], 2, "NAME=FILE"),
        (["--with", "lab=lab.csv,zon=UTC"], 2, "did you mean zone"),
        (["--with", "lab=lab.csv,zone=UTC,zone=UTC"], 2, "twice"),
        (["--with", "lab=lab.csv,how=last"], 2, "joined by 'last'"),
        (["--with", "lab=lab.csv,time=when,tolerance=1"], 2, "is no tolerance"),
        (["--with", LAB, "--tolerance", "x"], 2, "is no tolerance"),
        (["--with", "lab=lab.csv"], 2, "no column has the name of a time"),
        (["--with", "lab=lab.csv,time=when"], 2, "lab.csv, line 2: the times in column 'when' have no zone"),
        (["--with", "lab=lab.csv,time=wen,zone=UTC"], 3, "did you mean when"),
        (["--with", "lab=lab2.csv"], 3, "lab2.csv: there is no such file"),
        (["--with", "lab=bad.csv"], 4, "bad.csv, line 3: 1 cell, where there are 2 columns"),
        (["--with", LAB, "--with", LAB], 2, "two tables by the name lab"),
        (["--with", LAB.replace("lab=", "ebeam=")], 2, "'ebeam' is the detector EBeam"),
        (["--how", "linear"], 2, "--how is for values that --with joins"),
        (["--tolerance", "1s"], 2, "--tolerance is for values that --with joins"),
    ],
)
@pytest.mark.parametrize("verb", ["info", "translate"])
def test_what_is_wrong_is_said(
    work: Path, capfd: pytest.CaptureFixture[str], verb: str, words: list[str], code: int, message: str
) -> None:
    (work / "bad.csv").write_text("time,a\n1436200000,1\n1436200001\n")
    assert run([verb, "xtc", *words]) == code
    assert message in capfd.readouterr().err
    assert sorted(os.listdir(work)) == ["bad.csv", "lab.csv", "xtc"]  # no output


def test_a_comma_may_be_in_the_name_of_a_file(work: Path) -> None:
    os.rename("lab.csv", "lab,a=1,b.csv")
    assert run(["info", "xtc", "-q", "--with", LAB.replace("lab.csv", "lab,a=1,b.csv")]) == 0
