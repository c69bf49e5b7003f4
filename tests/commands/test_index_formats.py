"""``psana index build --format idx`` and ``smd``: the facility's files of whole runs."""

import json
import shutil

import pytest

from psanacli.commands import main
from psanacli.demo import write_sample
from psanacli.run import open_run
from psanacli.xtc import IndexFile, plain_record, walk_file, write_index, write_small


@pytest.fixture(scope="module")
def sample_files(tmp_path_factory):
    """A run of two streams, to be copied."""
    return write_sample(tmp_path_factory.mktemp("sample"), events=24, streams=2).paths


@pytest.fixture
def xtc(sample_files, tmp_path):
    directory = tmp_path / "xtc"
    directory.mkdir()
    for path in sample_files:
        shutil.copy2(path, directory)
    return directory


def run(capsys, *words):
    code = main.run(["index", "build", *map(str, words)])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize(("kind", "place", "suffix"), [("idx", "index", ".xtc.idx"), ("smd", "smalldata", ".smd.xtc")])
def test_a_file_for_each_file_of_the_run(xtc, capsys, tmp_path, kind, place, suffix):
    code, out, err = run(capsys, xtc, "--format", kind, "-j", 2)
    assert (code, out) == (0, "")
    what = {"idx": "index files", "smd": "small-data files"}[kind]
    assert err.startswith(f"{xtc / place}: 2 {what}; 24 events, ")
    bigs = sorted(xtc.glob("*.xtc"))
    assert sorted(path.name for path in (xtc / place).iterdir()) == [f"{big.stem}{suffix}" for big in bigs]
    for big in bigs:
        (write_index if kind == "idx" else write_small)(big, tmp_path / "one")
        assert (xtc / place / f"{big.stem}{suffix}").read_bytes() == (tmp_path / "one").read_bytes()


def test_small_data_have_the_objects_of_the_big_files(xtc, capsys):
    assert run(capsys, xtc, "--format", "smd", "--threshold", 100)[0] == 0
    compared = 0
    with open_run(str(xtc)) as big, open_run(f"{xtc}:smd") as small:
        assert len(big.events) == len(small.events) == 24
        for one, other in zip(big.events, small.events, strict=True):
            assert one.id == other.id and one.keys() == other.keys()
            for key in one.keys():
                values = [run.readers[key].get(event.index) for run, event in ((big, one), (small, other))]
                assert plain_record(values[0]) == plain_record(values[1])
                compared += 1
    assert compared > 100


def test_a_threshold(xtc, capsys):
    run(capsys, xtc, "--format", "smd")
    sizes = [path.stat().st_size for path in (xtc / "smalldata").iterdir()]
    assert run(capsys, xtc, "--format", "smd", "--threshold", 1_000_000_000, "--overwrite")[0] == 0
    assert sum(path.stat().st_size for path in (xtc / "smalldata").iterdir()) > 2 * sum(sizes)
    code, _, err = run(capsys, xtc, "--format", "idx", "--threshold", 100)
    assert code == 2 and "--threshold is for --format smd only" in err


def test_json(xtc, capsys):
    code, out, _ = run(capsys, xtc, "--format", "smd", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and [row["file"] for row in rows] == [str(path) for path in sorted(xtc.glob("*.xtc"))]
    assert list(rows[0]) == [
        "file", "path", "bytes", "events", "left_out", "proxies", "contradictions", "complete"
    ]  # fmt: skip
    assert sum(row["events"] for row in rows) == 24 and all(row["complete"] for row in rows)


def test_what_exists_is_not_replaced_unasked(xtc, capsys):
    run(capsys, xtc, "--format", "idx")
    first = sorted((xtc / "index").iterdir())[0]
    first.write_bytes(b"mine")
    code, _, err = run(capsys, xtc, "--format", "idx")
    assert code == 5 and f"{first} exists" in err and "--overwrite" in err and first.read_bytes() == b"mine"
    assert run(capsys, xtc, "--format", "idx", "--overwrite")[0] == 0
    assert len(IndexFile.read(first).events) == 12


def test_another_directory(xtc, capsys, tmp_path):
    out = tmp_path / "elsewhere"
    code, _, err = run(capsys, xtc, "--format", "idx", "-o", out)
    assert code == 0 and len(list(out.iterdir())) == 2 and not (xtc / "index").exists() and "warning" not in err
    code, _, err = run(capsys, xtc, "--format", "smd", "-o", out)
    assert code == 0 and f"large objects cannot be found from {out}" in err
    code, _, err = run(capsys, xtc, "--format", "smd", "-o", tmp_path / "no" / "such")
    assert code == 5 and "cannot be made" in err


def test_damaged_files(xtc, capsys):
    big = sorted(xtc.glob("*.xtc"))[0]
    big.write_bytes(big.read_bytes()[:-1000])
    code, _, err = run(capsys, xtc, "--format", "smd")
    assert code == 4 and str(big) in err and "all else is in the small-data files" in err
    assert len(list((xtc / "smalldata").iterdir())) == 2


def test_a_type_that_nobody_knows(xtc, capsys):
    big = sorted(xtc.glob("*.xtc"))[0]
    table = walk_file(big)
    data = bytearray(big.read_bytes())
    event = table.datagrams[next(k for k, row in enumerate(table.datagrams) if row["stamp_low"] >> 24 & 15 == 12)]
    item = table.patterns[event["pattern"]][0]
    data[int(event["offset"] + item["offset"]) + 13] = 0x77
    big.write_bytes(data)
    code, _, err = run(capsys, xtc, "--format", "smd")
    assert code == 4 and f"{big}: headers that cannot be, in 1 containers of 1 files" in err


def test_small_data_of_small_data(xtc, capsys):
    run(capsys, xtc, "--format", "smd")
    code, _, err = run(capsys, f"{xtc}:smd", "--format", "idx")
    assert code == 2 and "is small data itself" in err
