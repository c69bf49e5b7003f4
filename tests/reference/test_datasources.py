"""The data sources that were tried with the original: the same runs and streams, errors, or a known deviation."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from psanacli.errors import NotFoundError, PsanaError, UsageError
from psanacli.run import RunFiles, explain, open_runs, parse_datasource, resolve

Found = list[tuple[int, list[int]]]
SIMPLE: Found = [(1, [0, 1])]
MULTI: Found = [(7, [0, 1, 2, 5, 80, 81])]

# What the text of the original's exception (or its end by a signal) becomes with us.
KINDS: list[tuple[str, type[PsanaError]]] = [
    ("not recognized", NotFoundError),
    ("directory is missing", NotFoundError),
    ("EmptyInput", NotFoundError),
    ("FileOpenException", NotFoundError),
    ("NoRunsInDataset", UsageError),
    ("invalid stream range", UsageError),
    ("invalid run number", UsageError),
    ("bad lexical cast", UsageError),
    ("MixedSmallInDataset", UsageError),
    ("DeprecatedFeature", UsageError),
    ("DatasetSpecError", UsageError),
    ("expects at least one argument", UsageError),
    ("More than one input source", UsageError),
    ("Live mode not supported", UsageError),
    ("hdf5", UsageError),  # nor is h5
]

# The deviations: what we do, and why.
DEVIATIONS: dict[tuple[str, ...], tuple[Found | type[PsanaError], str]] = {
    ("exp=xpp/xppsim15:run=1",): (SIMPLE, "case of instruments does not matter"),
    ("exp=xppsim15:run=1:rax",): (SIMPLE, "any event can be reached in every mode: read as xtc"),
    ("exp=xppsim15:run=1:live",): (SIMPLE, "live needs no service of the facility"),
    ("exp=xppsim15:run=1:smd:live",): (SIMPLE, "live needs no service of the facility"),
    ("exp=xppsim15:run=1:noidx:foo=bar",): (UsageError, "unknown keys are errors"),
    ("exp=xppsim15:run=1:h5",): (UsageError, "HDF5 files are read with h5py"),
    ("exp = xppsim15 : run = 1",): (SIMPLE, "blanks are tolerated"),
    ("exp=xppsim15:run= 1",): (SIMPLE, "blanks are tolerated"),
    ("exp=nosuch:exp=xppsim15:run=1",): (SIMPLE, "of a repeated key the last counts, for the experiment too"),
    ("EXP=xppsim15:run=1",): (SIMPLE, "case of keys does not matter"),
    ("exp=xppsim15:RUN=1",): (SIMPLE, "case of keys does not matter"),
    ("exp=xppsim15:run=1,2",): (NotFoundError, "a run that is named has to be there"),
    ("run=1",): (UsageError, "no experiment, no directory"),
    ("run=1:dir=DATA/simple/xtc",): (SIMPLE, "with dir= the experiment is that of the files"),
    ("exp=xppsim15:run=1:smd:dir=DATA/simple/xtc/smalldata",): (SIMPLE, "dir= may name smalldata itself"),
    ("exp=xppsim15:run=1:dir=DATA/simple",): (SIMPLE, "dir= may name the directory above xtc"),
    ("DATA/simple/xtc/e301-r0001-s00-c00.xtc", "DATA/simple/xtc/e301-r0001-s00-c00.xtc"): (
        [(1, [0])],
        "a file named twice is read once",
    ),
    ("exp=xppsim15:run=1", "exp=cximul16:run=7"): (SIMPLE + MULTI, "all data sources are read"),
    ("exp=xppsim15:run=1", "exp=xppsim15:run=1:h5"): (UsageError, "all data sources are read, h5 is not offered"),
    ("DATA/simple/xtc/e301-r0001-s00-c00.xtc:smd",): (UsageError, "options behind a file: an error that says so"),
    ("DATA/multi/xtc/e302-r0007-s00-c01.xtc",): ([(7, [0])], "the run is known from the name of the file"),
}

# These recordings are about options; of the data source we compare what it gives without them.
OPTIONS_THAT_FAIL = {"psana.events": "x", "psana.modules": "psana.NoSuchModule", "mergeMode": "bad"}


def expected(case: dict[str, Any]) -> Found | type[PsanaError]:
    options = {key.rpartition("Module.")[2]: value for key, value in case.get("options", {}).items()}
    if options.items() & OPTIONS_THAT_FAIL.items() or "mergeMode" in options:
        return SIMPLE
    if tuple(case["strings"]) in DEVIATIONS:
        return DEVIATIONS[tuple(case["strings"])][0]
    if "runs" in case:
        return [(run["run"], run["streams"]) for run in case["runs"]]
    if case.get("timeout"):
        return UsageError  # it waited for a server of shared memory
    texts = [case.get("error", {}).get("text", ""), *(text for _, _, text in case.get("messages", ()))]
    kinds = [kind for fragment, kind in KINDS if any(fragment in text for text in texts)]
    assert kinds, case
    return kinds[0]


@pytest.fixture(scope="module")
def cases(shared: Path) -> list[dict[str, Any]]:
    recorded = json.loads((shared / "psana1" / "api" / "core_api.json").read_text())["data_sources"]
    assert len(recorded) == 118
    return list(recorded)


@pytest.fixture(scope="module")
def environment(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A tree INSTRUMENT/EXPERIMENT/xtc of links to the test sets, and the table of numbers."""
    root = tmp_path_factory.mktemp("root")
    table = (shared / "lcls1" / "experiment-db.dat").read_text()
    sets = ["simple", "multi", "types", "area", "compressed", "damaged", "dark"]
    for name, line in zip(sets, table.splitlines(), strict=False):
        _, instrument, experiment = line.split()
        directory = root / instrument / experiment
        directory.mkdir(parents=True)
        data = shared / "lcls1" / name
        (directory / "xtc").symlink_to(data / "xtc" if (data / "xtc").is_dir() else data)
    (root / "data" / "ExpNameDb").mkdir(parents=True)
    (root / "data" / "ExpNameDb" / "experiment-db.dat").write_text(table)
    return {"SIT_PSDM_DATA": str(root), "SIT_DATA": str(root / "data")}


def found(runs: list[RunFiles]) -> Found:
    return [(run.run, list(run.streams)) for run in runs]


def test_every_recorded_data_source(
    cases: list[dict[str, Any]], environment: dict[str, str], shared: Path, tally: Counter[str]
) -> None:
    wrong = []
    for number, case in enumerate(cases):
        strings = [text.replace("DATA", str(shared / "lcls1")) for text in case["strings"]]
        nowhere = "/nowhere/" in case.get("error", {}).get("text", "")
        environ = environment | {"SIT_PSDM_DATA": "/nowhere"} if nowhere else environment
        wanted = expected(case)
        try:
            runs: Found | PsanaError = found(resolve(parse_datasource(strings, environ=environ)))
        except PsanaError as error:
            runs = error
        if isinstance(wanted, list) and isinstance(runs, list):
            # Recordings with idx name no streams.
            same = [(run, streams or dict(runs).get(run)) for run, streams in wanted] == runs
        else:
            same = isinstance(wanted, type) and isinstance(runs, wanted) and bool(runs.message)
        tally["data sources of the original"] += 1
        if not same:
            wrong.append(f"{number} {case['strings']}: wanted {wanted}, got {runs!r}")
    assert not wrong, "\n".join(wrong)


RULES = {"psana.events": "max_events", "events": "max_events", "psana.skip-events": "skip_events"}


def test_the_events_of_every_recorded_data_source(
    cases: list[dict[str, Any]],
    environment: dict[str, str],
    shared: Path,
    tally: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Number of events and steps, and the first event, wherever both the original and we read the same files."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PSANA_ROOT", raising=False)
    compared = 0
    for case in cases:
        wanted = expected(case)
        options = case.get("options", {})
        if not isinstance(wanted, list) or "runs" not in case or any("mergeMode" in name for name in options):
            continue
        if len(wanted) != len(case["runs"]):
            continue  # a deviation: more runs, or a file that is named twice
        if any(text.endswith(":rax") for text in case["strings"]):
            assert [run["events"] for run in case["runs"]] == [0]  # a deviation: nothing comes there without a jump
            continue
        # In index mode the original takes no limits, and multiplies steps when a data source is named twice.
        index = any(":idx" in text for text in case["strings"])
        rules = {} if index else {RULES[name]: int(value) for name, value in options.items() if name in RULES}
        strings = [text.replace("DATA", str(shared / "lcls1")) for text in case["strings"]]
        for run, recorded in zip(open_runs(strings, **rules), case["runs"], strict=True):
            first = run.events[0].id
            assert len(run.events) == recorded["events"], case
            assert [first.seconds, first.nanoseconds, first.fiducials] == recorded["first"], case
            if not (index and len(strings) > 1):
                assert len(run.steps) == recorded["steps"], case
            assert run.experiment.name == case["experiment"] or "psana.experiment" in options, case
            compared += 1
            tally["runs of the data sources of the original"] += 1
    assert compared > 40


def test_no_deviation_is_idle(cases: list[dict[str, Any]]) -> None:
    recorded = {tuple(case["strings"]) for case in cases}
    assert recorded.issuperset(DEVIATIONS)


def test_every_error_can_be_explained(cases: list[dict[str, Any]], environment: dict[str, str], shared: Path) -> None:
    explained = 0
    for case in cases:
        try:
            source = parse_datasource(
                [text.replace("DATA", str(shared / "lcls1")) for text in case["strings"]], environ=environment
            )
        except PsanaError:
            continue
        lines = explain(source)
        assert lines[0].startswith("roots: ")
        assert any(line.startswith(("run ", "error: ")) for line in lines)
        explained += 1
    assert explained > 60
