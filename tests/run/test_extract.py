"""An extracted run: chosen events as they were, with everything that they need."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from psanacli.errors import DataError, NotFoundError, OutputError, UsageError
from psanacli.run import Run, open_run
from psanacli.run.extract import PROVENANCE, extract, plan_extraction, writing, xtc_directory
from psanacli.xtc import walk_file

from .runs import EVENTS, write_run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    write_run(tmp_path / "full")
    return open_run(tmp_path / "full")


def extracted(run: Run, numbers: Any, root: Path, mode: str = "", **options: Any) -> Run:
    extraction = extract(run, numbers, root, **options)
    directory = xtc_directory(root, extraction)
    return open_run(directory / "smalldata" if mode == "smd" else directory)


def shown(run: Run, number: int) -> dict[str, Any]:
    event = run.events[number]
    objects = {str(key): repr(event.get(str(key)).asdict()) for key in event.keys() if event.get(str(key))}
    return {
        "id": event.id,
        "objects": objects,
        "epics": {name: repr(value) for name, value in run.epics.at(event).items()},
        "step": dict(event.step.values),
        "codes": list(event.codes),
    }


@pytest.mark.parametrize("mode", ["", "smd"])
@pytest.mark.parametrize("numbers", [[0], [3, 8], [11], list(range(EVENTS)), []])
def test_chosen_events_are_what_they_were(run: Run, tmp_path: Path, numbers: list[int], mode: str) -> None:
    with extracted(run, numbers, tmp_path / "out", mode) as small:
        assert len(small.events) == len(numbers)
        assert [shown(small, place) for place in range(len(numbers))] == [shown(run, number) for number in numbers]
        assert len(small.steps) == len(run.steps)


def test_an_extracted_run_has_its_index(run: Run, tmp_path: Path) -> None:
    with extracted(run, [3, 8], tmp_path / "out") as small:
        assert small.index.whole
        assert small.index.path is not None and tmp_path / "out" in small.index.path.parents


def test_everything_chosen_is_the_same_files(run: Run, tmp_path: Path) -> None:
    extraction = extract(run, slice(None), tmp_path / "out")
    for file in extraction.files:
        assert (xtc_directory(tmp_path / "out", extraction) / file.path.name).read_bytes() == file.path.read_bytes()


def test_files_are_as_large_as_planned(run: Run, tmp_path: Path) -> None:
    extraction = plan_extraction(run, [2, 9])
    assert sum(extraction.file_bytes) < sum(run.table.sizes)
    extract(run, [2, 9], tmp_path / "out")
    directory = xtc_directory(tmp_path / "out", extraction)
    assert [(directory / file.path.name).stat().st_size for file in extraction.files] == extraction.file_bytes


def test_epics_of_events_left_out_are_in_datagrams_that_are_no_events(run: Run, tmp_path: Path) -> None:
    with extracted(run, [8], tmp_path / "out") as small:
        assert len(small.events) == 1
        assert small.counters.epics_only == 2  # of events 3 and 7, in force when the next steps begin; no others
        assert small.epics["sample_x"].at(small.events[0]).value == run.epics["sample_x"].at(run.events[8]).value == 3.5


def test_only_chosen_sources(run: Run, tmp_path: Path) -> None:
    with extracted(run, slice(None), tmp_path / "out", include=["EBeam"]) as small:
        assert {str(key).partition("/")[0] for key in small.readers} == {
            "BldInfo(EBeam)", "DetInfo(NoDetector.0:Evr.0)",
        }  # fmt: skip
        assert len(small.events) == EVENTS
        for number in range(EVENTS):
            before, after = shown(run, number), shown(small, number)
            assert after["epics"] == before["epics"] and after["codes"] == before["codes"]
            assert after["objects"].items() <= before["objects"].items()
        assert not small.problems


def test_timing_goes_when_it_is_excluded(run: Run, tmp_path: Path) -> None:
    with extracted(run, slice(None), tmp_path / "out", include=["opal_1"], exclude=["EvrData*"]) as small:
        assert {str(key).partition("/")[0] for key in small.readers} == {"DetInfo(XppEndstation.0:Opal1000.1)"}
        assert len(small.events) == EVENTS - 1  # event 7 has no camera frame
    assert (
        "1 events have none of the chosen sources"
        in plan_extraction(run, slice(None), include=["opal_1"], exclude=["EvrData*"]).notes[0]
    )


def test_a_pattern_that_matches_nothing(run: Run) -> None:
    with pytest.raises(NotFoundError, match="EBeem"):
        plan_extraction(run, [1], include=["EBeem"])
    assert plan_extraction(run, [1], include=["EBeem"], missing_ok=True)


def test_events_that_do_not_exist(run: Run) -> None:
    with pytest.raises(UsageError, match="no event 12: run 1 has 12"):
        plan_extraction(run, [3, 12])


def test_extraction_of_an_extraction(run: Run, tmp_path: Path) -> None:
    with extracted(run, [1, 4, 5, 8, 10], tmp_path / "one") as one, extracted(one, [1, 3], tmp_path / "two") as two:
        assert [shown(two, place) for place in range(2)] == [shown(run, 4), shown(run, 8)]


def test_from_small_data(run: Run, tmp_path: Path) -> None:
    extract(run, slice(None), tmp_path / "all")
    directory = xtc_directory(tmp_path / "all", plan_extraction(run, slice(None)))
    with open_run(directory / "smalldata") as small, extracted(small, [2, 6], tmp_path / "out") as out:
        assert [shown(out, place) for place in range(2)] == [shown(run, 2), shown(run, 6)]
        assert not any(file.small for file in out.table.files)


def test_provenance_says_what_and_from_where(run: Run, tmp_path: Path) -> None:
    extract(run, [2, 3, 4, 9], tmp_path / "out")
    record = json.loads((tmp_path / "out" / PROVENANCE).read_text())
    assert record["runs"][0]["event_numbers"] == [[2, 5], [9, 10]]
    assert [entry["path"] for entry in record["runs"][0]["files"]] == [str(file.path) for file in run.table.files]


def test_nothing_is_replaced_unless_asked_and_only_extractions_are(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    extract(run, [1], out)
    with pytest.raises(UsageError, match="not empty"):
        extract(run, [2], out)
    with extracted(run, [2, 3], out, overwrite=True) as small:
        assert len(small.events) == 2
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    with pytest.raises(UsageError, match="is no extraction"):
        extract(run, [1], tmp_path / "mine", overwrite=True)
    with pytest.raises(UsageError, match="has the data"):
        extract(run, [1], tmp_path / "full", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "mine", "out"]


def test_a_full_disk_leaves_nothing(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*words: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing.os, "sendfile", full)
    with pytest.raises(OutputError, match="No space left"):
        extract(run, [1], tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_a_kernel_that_cannot_copy(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(*words: Any) -> int:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(writing.os, "sendfile", cannot)
    with extracted(run, [5], tmp_path / "out") as small:
        assert shown(small, 0) == shown(run, 5)


def test_a_file_that_became_shorter_is_an_error(run: Run, tmp_path: Path) -> None:
    path = run.table.files[0].path
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match="changed while it was read: it had"):
        extract(run, [5], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_rewritten_containers_fit(run: Run, tmp_path: Path) -> None:
    extraction = extract(run, [8, 9], tmp_path / "out", include=["Ipimb*"])
    for file in extraction.files:
        table = walk_file(xtc_directory(tmp_path / "out", extraction) / file.path.name)
        assert not table.problems
        assert int(table.datagrams["extent"].sum(dtype=np.int64)) + 20 * len(table.datagrams) == table.size
