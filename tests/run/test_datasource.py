"""What a data source means: words, experiments and roots, directories, and the errors that help."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psanacli.errors import NotFoundError, PsanaError, UsageError
from psanacli.run import Experiment, RunFiles, XtcFile, explain, parse_datasource, resolve

TABLE = "301 XPP xppsim15\nsome words that mean nothing here\n302 CXI cximul16\n303 XPP xppold01\n304 XCS xppold01\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two experiments: one whose files have numbers, one whose files have its name."""
    sim = tmp_path / "XPP" / "xppsim15" / "xtc"
    new = tmp_path / "CXI" / "cxilu0917" / "xtc"
    fill(sim, ["e301-r0001-s00-c00.xtc", "e301-r0001-s01-c00.xtc", "e301-r0001-s80-c00.xtc", "e301-r0003-s00-c00.xtc"])
    fill(sim, ["e301-r0004-s00-c01.xtc", "e301-r0005-s00-c00.xtc.inprogress", "notes.txt", "e301.xtc.zip"])
    fill(sim / "smalldata", ["e301-r0001-s00-c00.smd.xtc", "e301-r0001-s01-c00.smd.xtc"])
    fill(new, ["cxilu0917-r0012-s00-c00.xtc", "cxilu0917-r0012-s00-c01.xtc"])
    (tmp_path / "ExpNameDb").mkdir()
    (tmp_path / "ExpNameDb" / "experiment-db.dat").write_text(TABLE)
    return tmp_path


def fill(directory: Path, names: Iterable[str]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name in names:
        (directory / name).write_bytes(b"")


def find(*strings: str, roots: Iterable[str | Path] = (), **environ: str) -> list[RunFiles]:
    return resolve(parse_datasource(strings, roots=roots, environ=environ))


def streams(runs: list[RunFiles]) -> list[tuple[int, tuple[int, ...]]]:
    return [(run.run, run.streams) for run in runs]


@pytest.mark.parametrize(
    ("name", "prefix", "place", "small"),
    [
        ("e301-r0001-s80-c02.xtc", "e301", (1, 80, 2), False),
        ("cxi-lu-09-r12-s1-c0.smd.xtc", "cxi-lu-09", (12, 1, 0), True),
        ("cxilu0917-r0012-s00-c01.xtc.inprogress", "cxilu0917", (12, 0, 1), False),
        ("e301-r0001-s00-c00.smd.xtc.inprogress", "e301", (1, 0, 0), True),
        ("test.xtc", "test", (0, 0, 0), False),
        ("e301-r0001-s00.xtc", "e301-r0001-s00", (0, 0, 0), False),
        ("x-r1-s1-c1.xtc", "x-r1-s1-c1", (0, 0, 0), False),
    ],
)
def test_a_name_says_what_a_file_is(name: str, prefix: str, place: tuple[int, int, int], small: bool) -> None:
    file = XtcFile.of(Path("/data") / name)
    assert (file.prefix, file.place, file.small) == (prefix, place, small)


@pytest.mark.parametrize(
    "text", ["exp=xppsim15:run=1", "exp=XPP/xppsim15:run=1", "exp=301:run=1", "exp=xpp/XPPSIM15:run=1"]
)
def test_an_experiment_is_found_by_name_number_and_any_case(root: Path, text: str) -> None:
    (run,) = find(text, roots=[root])
    assert run.experiment == Experiment("xppsim15", "XPP", 301)
    assert (run.run, run.streams, run.mode) == (1, (0, 1, 80), "xtc")
    assert run.directory == root / "XPP" / "xppsim15" / "xtc"


def test_files_may_be_named_by_the_experiment(root: Path) -> None:
    (run,) = find("exp=cxilu0917:run=12", roots=[root])
    assert run.experiment == Experiment("cxilu0917", "CXI", 0)
    assert [file.chunk for file in run.files] == [0, 1]


def test_of_both_namings_the_number_is_taken_and_the_other_left_out(root: Path) -> None:
    data = root / "XPP" / "xppsim15" / "xtc"
    fill(data, ["xppsim15-r0001-s00-c00.xtc", "xppsim15-r0009-s00-c00.xtc"])
    assert streams(find("exp=xppsim15:run=1,9", roots=[root])) == [(1, (0, 1, 80)), (9, (0,))]
    lines = explain(parse_datasource(["exp=xppsim15:run=1"], roots=[root], environ={}))
    assert "xppsim15-r0001-s00-c00.xtc: left out, the run has files named by number" in lines


def test_an_experiment_in_no_table_owns_the_numbered_files_of_its_directory(root: Path) -> None:
    (root / "ExpNameDb" / "experiment-db.dat").unlink()
    (run,) = find("exp=xppsim15:run=1", roots=[root])
    assert run.experiment == Experiment("xppsim15", "XPP", 0)
    assert run.files[0].prefix == "e301"
    (lone,) = find(str(run.files[0].path))
    assert lone.experiment == Experiment("xppsim15", "XPP", 301)  # from the directories above it


@pytest.mark.parametrize("variable", ["PSANA_ROOT", "SIT_PSDM_DATA"])
def test_roots_come_from_the_environment(root: Path, variable: str) -> None:
    assert streams(find("exp=xppsim15:run=3", **{variable: str(root)})) == [(3, (0,))]


def test_named_roots_hide_those_of_the_environment(root: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="empty"):
        find("exp=xppsim15:run=3", roots=[tmp_path / "empty"], PSANA_ROOT=str(root), SIT_DATA=str(root))


def test_all_roots_are_tried(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "XPP" / "xppsim15" / "hdf5").mkdir(parents=True)
    assert find("exp=xppsim15:run=3", roots=[other, root])[0].directory.is_relative_to(root / "XPP")
    assert find("exp=xppsim15:run=3", PSANA_ROOT=f"{other}:{root}")[0].directory.is_relative_to(root / "XPP")


def test_moved_data_are_found_under_their_old_names(root: Path) -> None:
    moved = f"/reg/d/psdm={root}"
    assert streams(find("exp=xppsim15:run=3", roots=[moved])) == [(3, (0,))]
    assert streams(find("exp=301:run=3:dir=/reg/d/psdm/XPP/xppsim15/xtc", PSANA_ROOT=moved)) == [(3, (0,))]
    assert streams(find("/reg/d/psdm/XPP/xppsim15/xtc/e301-r0003-s00-c00.xtc", roots=[moved])) == [(3, (0,))]
    with pytest.raises(UsageError, match="OLD=NEW"):
        find("exp=301:run=3", roots=["/reg="])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("exp=301:run=1:stream=0-79", [(1, (0, 1))]),
        ("exp=301:run=1:stream=80", [(1, (80,))]),
        ("exp=301:run=0-3", [(1, (0, 1, 80)), (3, (0,))]),
        ("exp=301:run=3,1", [(1, (0, 1, 80)), (3, (0,))]),
        ("exp=301:run=1:stream=", [(1, (0, 1, 80))]),
        ("exp=301:run=1:smd", [(1, (0, 1))]),
        ("exp=301:run=1:idx", [(1, (0, 1, 80))]),
        ("exp=301 : run = 1 , 3 : stream = 0 - 1", [(1, (0, 1)), (3, (0,))]),
    ],
)
def test_runs_and_streams_are_chosen(root: Path, text: str, expected: list[tuple[int, tuple[int, ...]]]) -> None:
    assert streams(find(text, roots=[root])) == expected


def test_a_directory_stands_for_all_its_runs(root: Path) -> None:
    data = root / "XPP" / "xppsim15" / "xtc"
    everything = [(1, (0, 1, 80)), (3, (0,)), (4, (0,))]
    for directory in (data, data.parent):
        assert streams(find(str(directory))) == everything
        assert streams(find(f"{directory}:smd")) == [(1, (0, 1))]
        assert streams(find(f"dir={directory}:run=3-4")) == everything[1:]
    (small,) = find(str(data / "smalldata"))
    assert (small.mode, small.directory) == ("smd", data)
    for file in data.glob("*.xtc"):
        file.unlink()
    (data / "e301-r0005-s00-c00.xtc.inprogress").unlink()
    assert find(str(data))[0].mode == "smd"


def test_several_data_sources_are_all_read_once(root: Path) -> None:
    data = root / "XPP" / "xppsim15" / "xtc"
    one, two = str(data / "e301-r0001-s01-c00.xtc"), str(data / "e301-r0001-s00-c00.xtc")
    assert streams(find(one, two, one)) == [(1, (0, 1))]
    both = find("exp=cxilu0917:run=12", "exp=301:run=3", "exp=301:run=3", one, roots=[root])
    assert streams(both) == [(12, (0,)), (3, (0,)), (1, (1,))]


def test_gaps_and_unfinished_files_are_noted(root: Path) -> None:
    (run,) = find("exp=301:run=4", roots=[root])
    assert run.notes == ("stream 0: chunk 0 is missing",)
    fill(root / "XPP" / "xppsim15" / "xtc", ["e301-r0003-s01-c00.xtc.inprogress", "e301-r0003-s00-c00.xtc.inprogress"])
    (run,) = find("exp=301:run=3", roots=[root])
    assert run.notes == ("e301-r0003-s01-c00.xtc.inprogress is still being written and was left out",)


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        ("exp=xppsim15:run=2", NotFoundError, "no run 2 .* runs there: 1,3-4"),
        ("exp=xppsim15:run=5", NotFoundError, "run 5 is still being written"),
        ("exp=xppsim15:run=10-20", NotFoundError, "no run 10-20"),
        ("exp=xppsim15", UsageError, "no run is named.*runs there: 1,3-4"),
        ("exp=xppsim15:run=1:stream=7", NotFoundError, "no stream 7.*streams there: 0-1,80"),
        ("exp=xppsim15:run=1:stream=7-9", NotFoundError, "no run has a stream of 7-9"),
        ("exp=xppsim51:run=1", NotFoundError, "did you mean xppsim15"),
        ("exp=cxilu0971:run=1", NotFoundError, "did you mean cxilu0917"),
        ("exp=CXI/xppsim15:run=1", NotFoundError, "did you mean exp=XPP/xppsim15"),
        ("exp=330:run=1", NotFoundError, r"no experiment has the number 330.*303 \(XPP/xppold01\)"),
        ("exp=xppsim15:runs=1", UsageError, "unknown key 'runs'.*did you mean run"),
        ("exp=xppsim15:run=3-1", UsageError, "3-1 is reversed.*did you mean 1-3"),
        ("exp=xppsim15:run=one", UsageError, "'one' is no number"),
        ("exp=xppsim15:run=1-3-5", UsageError, "is no number"),
        ("exp=xppsim15:run=99999999999", UsageError, "is no number"),
        ("exp=xppsim15:run=1:smd:xtc", UsageError, "smd and xtc exclude each other"),
        ("exp=xppsim15:run=1:smd=yes", UsageError, "takes no value"),
        ("exp=xppsim15:run=1:live=yes", UsageError, "takes no value"),
        ("exp=xppsim15:run=1:h5", UsageError, "h5py"),
        ("exp=cxilu0917:run=12:smd", NotFoundError, "no small data.*leave smd out"),
        ("exp=xppsim15:run=1:dir=/no/such/place", NotFoundError, "no directory /no/such/place"),
        ("xppsim15", UsageError, "no file or directory 'xppsim15'"),
        ("run=1", UsageError, "no experiment is named"),
        ("no/such.xtc", NotFoundError, "no file no/such.xtc"),
        ("some.h5\0", UsageError, "NUL"),
    ],
)
def test_an_error_says_what_there_is_instead(root: Path, text: str, kind: type[PsanaError], says: str) -> None:
    with pytest.raises(kind, match=f"(?s){says}"):
        find(text, roots=[root])


def test_a_run_is_read_in_one_way(root: Path) -> None:
    with pytest.raises(UsageError, match="asked for as xtc and as smd"):
        find("exp=301:run=1", "exp=301:run=1:smd", roots=[root])
    copy = root / "copy"
    fill(copy, ["e301-r0003-s00-c00.xtc"])
    with pytest.raises(UsageError, match="are both stream 0, chunk 0 of run 3"):
        find("exp=301:run=3", str(copy / "e301-r0003-s00-c00.xtc"), roots=[root])


def test_a_file_that_is_no_data_file_says_what_to_do(root: Path) -> None:
    fill(root, ["a.h5", "b.xtc.gz", "c.xtc.idx"])
    for name, says in [("a.h5", "h5py"), ("b.xtc.gz", "gunzip"), ("c.xtc.idx", r"name the \.xtc file")]:
        with pytest.raises(UsageError, match=says):
            find(str(root / name))
    with pytest.raises(NotFoundError, match=r"did you mean a\.h5"):
        find(str(root / "a.h55"))
    with pytest.raises(UsageError, match="options cannot follow a file"):
        find(f"{root / 'a.h5'}:smd")


def test_the_explanation_names_what_was_tried(root: Path) -> None:
    lines = explain(parse_datasource(["exp=301:run=1:stream=0"], roots=[root], environ={}))
    text = "\n".join(lines)
    assert f"roots: {root}" in lines
    assert f"table of experiments {root}/ExpNameDb/experiment-db.dat: 4 experiments" in lines
    assert "experiment number 301: XPP/xppsim15" in lines
    assert f"{root}/XPP/xppsim15/xtc/*-r*-s*-c*.xtc: 5 files; left out: 1 being written, 3 others" in lines
    assert "run 3: left out, not asked for" in lines
    assert "run 1: streams 1,80 left out, not asked for" in lines
    assert lines[-1] == f"  stream 0 chunk 0: {root}/XPP/xppsim15/xtc/e301-r0001-s00-c00.xtc"
    assert "error" not in text


def test_the_last_row_of_a_name_counts(root: Path) -> None:
    fill(root / "XCS" / "xppold01" / "xtc", ["e304-r0001-s00-c00.xtc"])
    assert find("exp=xppold01:run=1", roots=[root])[0].experiment == Experiment("xppold01", "XCS", 304)


@given(st.text(alphabet=st.sampled_from("exprunsteamdi=:-,/. 0123456789*\n\té"), max_size=40))
def test_no_text_is_answered_by_anything_but_our_errors(text: str) -> None:
    try:
        find(text, roots=["/nowhere"])
    except PsanaError as error:
        assert error.message


def test_streams_and_chunks_that_other_files_show_are_said(root: Path) -> None:
    xtc = root / "XPP" / "xppsim15" / "xtc"
    fill(xtc / "index", ["e301-r0001-s00-c00.xtc.idx", "e301-r0001-s00-c01.xtc.idx", "e301-r0001-s05-c00.xtc.idx"])
    (run,) = find("exp=xppsim15:run=1", roots=[root])
    assert run.notes == (
        "stream 0: chunk 1 is missing, but index/e301-r0001-s00-c01.xtc.idx is there",
        "stream 5 is missing, but index/e301-r0001-s05-c00.xtc.idx is there",
    )
    (run,) = find("exp=xppsim15:run=1:stream=1", roots=[root])
    assert run.notes == ()
    (run,) = find("exp=xppsim15:run=1:stream=0-1:smd", roots=[root])
    assert run.notes == ("stream 0: chunk 1 is missing, but index/e301-r0001-s00-c01.xtc.idx is there",)
    (run,) = find("exp=xppsim15:run=1:smd", roots=[root])
    assert "stream 80 is missing, but e301-r0001-s80-c00.xtc is there" in run.notes
