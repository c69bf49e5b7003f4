"""``psana index build`` and ``show``."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands.cluster import psana

from psanacli.commands import main
from psanacli.demo import write_sample

PSANA = [sys.executable, "-c", "from psanacli.commands.main import main; main()"]


@pytest.fixture(scope="module")
def sample_files(tmp_path_factory):
    """A run of two streams, to be copied."""
    return [Path(path) for path in write_sample(tmp_path_factory.mktemp("sample"), events=24, streams=2).paths]


@pytest.fixture
def xtc(sample_files, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    directory = tmp_path / "xtc"
    directory.mkdir()
    for file in sample_files:
        if file.parent.name == "xtc":
            shutil.copy2(file, directory)
    return directory


def run(capsys, *words):
    code = main.run(["index", *map(str, words)])
    out, err = capsys.readouterr()
    return code, out, err


def index_of(xtc):
    (path,) = (xtc / "index").iterdir()
    return path


def test_build_and_show(xtc, capsys):
    code, out, err = run(capsys, "build", xtc)
    path = index_of(xtc)
    assert (code, out) == (0, "")
    assert err.startswith(f"{path}: built in ")
    assert "; 24 events, " in err
    code, out, err = run(capsys, "show", xtc)
    assert (code, err) == (0, "")
    assert f": {path}\n" in out
    assert "valid        yes\n" in out
    assert "events       24 in " in out
    assert out.count("as it was") == len(list(xtc.glob("*.xtc")))


def test_build_again_is_up_to_date_unless_told_otherwise(xtc, capsys):
    run(capsys, "build", xtc)
    stamp = index_of(xtc).stat().st_mtime_ns
    assert ": up to date; 24 events" in run(capsys, "build", xtc)[2]
    assert index_of(xtc).stat().st_mtime_ns == stamp
    assert ": built in" in run(capsys, "build", xtc, "--overwrite")[2]
    assert index_of(xtc).stat().st_mtime_ns > stamp


def test_build_brings_up_to_date(xtc, capsys):
    run(capsys, "build", xtc)
    first = sorted(xtc.glob("*.xtc"))[0]
    os.utime(first)
    code, out, _ = run(capsys, "show", xtc)
    assert (code, "valid        no\n" in out) == (0, True)
    assert f"{first.name} was changed since" in out
    assert ": brought up to date in" in run(capsys, "build", xtc, "-j", 2)[2]
    assert "valid        yes\n" in run(capsys, "show", xtc)[1]


def test_three_ranks_write_what_one_process_writes(xtc, capsys):
    run(capsys, "build", xtc)
    path = index_of(xtc)
    alone = path.read_bytes()
    path.unlink()
    code, out, err = psana("index", "build", xtc, "--json", ranks_=3)
    assert code == 0, err
    assert json.loads(out)["state"] == "built"  # said once, by one of them
    assert index_of(xtc).read_bytes() == alone


def test_json(xtc, capsys):
    code, out, err = run(capsys, "build", xtc, "--json")
    built = json.loads(out)
    assert (code, err, built["state"], built["events"]) == (0, "", "built", 24)
    assert built["bytes"] == Path(built["path"]).stat().st_size
    shown = json.loads(run(capsys, "show", xtc, "--json")[1])
    (index,) = shown["indexes"]
    assert (shown["format"], index["valid"], index["path"], index["events"]) == (
        "psana index show",
        True,
        built["path"],
        24,
    )
    assert sum(file["datagrams"] for file in index["files"]) == index["datagrams"]


def test_show_says_where_an_index_is_looked_for(xtc, capsys):
    code, out, _ = run(capsys, "show", xtc)
    assert code == 0
    assert ": no index\n" in out
    assert str(xtc / "index") in out


def test_output_goes_where_it_is_told(xtc, tmp_path, capsys):
    assert run(capsys, "build", xtc, "-o", tmp_path / "out")[0] == 0
    assert len(list((tmp_path / "out").iterdir())) == 1
    assert not (xtc / "index").exists()


def test_a_truncated_file_is_indexed_up_to_its_end(xtc, capsys):
    first = sorted(xtc.glob("*.xtc"))[0]
    os.truncate(first, first.stat().st_size - 10)
    code, _, err = run(capsys, "build", xtc)
    assert code == 4
    assert "bytes into a datagram header" in err
    assert "everything before it" in err
    assert index_of(xtc).exists()


def test_what_verbs_say_of_an_index_they_do_not_use(xtc, capsys):
    run(capsys, "build", xtc)
    index_of(xtc).write_bytes(b"PSANAIDX")
    assert main.run(["info", str(xtc), "-v"]) == 0
    assert "was not used: it is cut off" in capsys.readouterr().err
    assert main.run(["info", str(xtc)]) == 0
    assert capsys.readouterr().err == ""


def test_a_full_disk(xtc, capsys):
    """No byte of a file beyond 4 kB can be written: what happens is what happens when a disk is full."""
    program = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096));"
        "from psanacli.commands.main import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", program, "index", "build", xtc], capture_output=True, text=True)
    assert done.returncode == 5
    assert "cannot be written: File too large" in done.stderr
    assert list((xtc / "index").iterdir()) == []


def test_builders_at_the_same_time(xtc):
    words = [*PSANA, "index", "build", str(xtc), "--overwrite"]
    builders = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)]
    for builder in builders:
        _, err = builder.communicate(timeout=120)
        assert builder.returncode == 0, err
    assert index_of(xtc).suffix == ".psana"  # and nothing else


def test_a_killed_builder_leaves_the_old_index(xtc, capsys):
    run(capsys, "build", xtc)
    path = index_of(xtc)
    before = path.read_bytes()
    program = (
        "import os, signal; from psanacli.run import indexfile;"
        "indexfile.os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL);"
        "from psanacli.commands.main import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", program, "index", "build", xtc, "--overwrite"], capture_output=True)
    assert done.returncode == -9
    (part,) = (xtc / "index").glob(".*")
    assert path.read_bytes() == before
    os.utime(part, (1, 1))
    assert run(capsys, "build", xtc, "--overwrite")[0] == 0
    assert index_of(xtc).read_bytes() == before  # and nothing else is there


# --- list -----------------------------------------------------------------------------------------------------------


def test_list_reads_no_big_file_unless_asked(xtc, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("psanacli.run.headers.walk_file", None)
        code, out, err = run(capsys, "list", xtc, "--json")
        assert (code, err) == (0, "")
        (row,) = json.loads(out)["runs"]
        assert (row["index"], row["events"], row["why"]) == ("none", None, "")
        assert row["bytes"] == sum(file.stat().st_size for file in xtc.glob("*.xtc"))
    (row,) = json.loads(run(capsys, "list", xtc, "--json", "--events")[1])["runs"]
    assert (row["index"], row["events"]) == ("none", 24)


def test_list_tells_the_state_of_indexes(xtc, capsys):
    run(capsys, "build", xtc)
    out = run(capsys, "list", xtc)[1]
    assert out.splitlines()[0].split() == ["run", "experiment", "streams", "files", "bytes", "events", "index"]
    assert out.splitlines()[1].split()[-2:] == ["24", "valid"]
    os.utime(sorted(xtc.glob("*.xtc"))[0])
    (row,) = json.loads(run(capsys, "list", xtc, "--json")[1])["runs"]
    assert (row["index"], row["events"]) == ("stale", None)
    assert "was changed since" in row["why"]
    index_of(xtc).write_bytes(b"")
    (row,) = json.loads(run(capsys, "list", xtc, "--json")[1])["runs"]
    assert row["index"] == "damaged"


def test_list_takes_an_experiment_without_a_run(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    sample = write_sample(tmp_path, events=6)
    experiment = sample.datasource.partition(":")[0]
    code, out, _ = run(capsys, "list", experiment, "--root", sample.root, "--json")
    assert code == 0
    assert [row["run"] for row in json.loads(out)["runs"]] == [1]
