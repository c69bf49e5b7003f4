"""`psana dump --json` of every file agrees with what the facility's own accessors say, value by value."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import pytest

from psanacli.commands.main import run

LCLS1 = Path(__file__).resolve().parents[3] / "shared" / "lcls1"
EXPECTED = sorted(
    path for pattern in ("*.xtc.json", "*.xtc.json.gz") for path in LCLS1.rglob(pattern) if "random" not in path.parts
)
DEEP = "e306-r0016-s00-c00.xtc"
"""3000 containers inside one another: the facility's list stops there, nothing contradicts the format."""


def compare(ours, theirs, path, tally):
    """Compare two JSON values; count single values and array elements."""
    if isinstance(theirs, dict):
        assert isinstance(ours, dict), path
        assert ours.keys() == theirs.keys(), path
        for key in theirs:
            compare(ours[key], theirs[key], f"{path}/{key}", tally)
        if {"shape", "dtype", "sum", "crc32"} <= theirs.keys():
            tally["dump: array elements"] += math.prod(theirs["shape"])
    elif isinstance(theirs, list):
        assert isinstance(ours, list), path
        assert len(ours) == len(theirs), path
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            compare(one, other, f"{path}[{number}]", tally)
    else:
        assert ours == theirs, path
        assert isinstance(ours, str) == isinstance(theirs, str), path
        tally["dump: values"] += 1


def unpacked(path: Path, tmp_path: Path) -> Path:
    """Return the data file beside an expectation, unpacked if need be."""
    data = path.with_name(path.name.split(".json")[0])
    if data.exists():
        return data
    target = tmp_path / data.name
    target.write_bytes(gzip.decompress(data.with_name(data.name + ".gz").read_bytes()))
    return target


@pytest.mark.parametrize("expected", EXPECTED, ids=lambda path: path.name.split(".json")[0])
def test_every_value(shared, expected, tmp_path, capsys, tally):
    raw = expected.read_bytes()
    theirs = json.loads(gzip.decompress(raw) if expected.suffix == ".gz" else raw)
    data = unpacked(expected, tmp_path)
    code = run(["dump", str(data), "--json"])
    ours = json.loads(capsys.readouterr().out)
    if data.name == DEEP:
        assert len(ours["dgrams"]) == 12
        assert len(ours["dgrams"][6]["xtcs"]) >= 3000
        ours["dgrams"] = ours["dgrams"][:6]
        ours["end"] = theirs["end"]
    compare(ours, theirs, data.name, tally)
    assert code == (0 if ours["end"] == theirs["size"] or data.name == DEEP else 4)
    tally["dump: files"] += 1


def test_all_files_are_here(shared):
    assert len(EXPECTED) == 55
    files = {path.name.removesuffix(".gz") for path in LCLS1.rglob("*.xtc*") if "random" not in path.parts}
    data = {name for name in files if name.endswith(".xtc")}
    without = {name for name in data if f"{name}.json" not in files}
    assert all(name.startswith("e306-") and name.endswith(".smd.xtc") for name in without)


def cases(shared):
    about = json.loads((shared / "lcls1/damaged/README.json").read_text())
    return about["files"] + about["extra_files"]


def test_damaged_files(shared, capsys, tally):
    for case in cases(shared):
        path = shared / "lcls1/damaged" / case["file"]
        code = run(["dump", str(path), "--json"])
        out, err = capsys.readouterr()
        found = json.loads(out)["dgrams"]
        if case["kind"] == "corrupt":
            assert code == 4, case
            assert len(found) == case["whole_datagrams_before"], case
            (line,) = err.splitlines()
            assert line.startswith("psana: error: ")
            assert case["file"] in line
            assert "at offset " in line
        else:
            assert code == 0, case
            assert len(found) == case["whole_datagrams"], case
            assert "error" not in err
            if case["kind"] == "incomplete":
                assert case["file"] in err
        tally["dump: damaged files"] += 1


def test_small_data_of_damaged_files(shared, capsys):
    """Whatever the facility's tools made of them: never a bug."""
    for path in sorted((shared / "lcls1/damaged/smalldata").glob("*.xtc")):
        assert run(["dump", str(path)]) in (0, 4)
    assert "bug" not in capsys.readouterr().err


def test_objects_in_place_of_their_proxies(shared, capsys, tally):
    big = shared / "lcls1/area/xtc/e304-r0017-s00-c00.xtc"
    small = shared / "lcls1/area/xtc/smalldata/e304-r0017-s00-c00.smd.xtc"
    objects = []
    for path in (big, small):
        assert run(["dump", str(path), "--json", "--expand"]) == 0
        dgrams = json.loads(capsys.readouterr().out)["dgrams"]
        objects.append(
            [
                (item["src"], item["class"], item["extent"], item["data"])
                for dgram in dgrams
                for item in dgram["xtcs"]
                if "class" in item and not item["class"].startswith("SmlData")
            ]
        )
    assert objects[0] == objects[1]
    assert len(objects[0]) >= 28
    tally["dump: objects behind proxies"] += len(objects[1])
