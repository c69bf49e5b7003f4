"""`psana calib`: what each verb says, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands.cluster import inside as psana

from psanacli.calib import Store, format_text
from psanacli.demo import write_sample

SHAPE = (32, 185, 388)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A run with a CSPAD, in an experiment of its own."""
    made = write_sample(tmp_path_factory.mktemp("calib"), events=2, chosen=["cspad"], streams=1)
    return [made.datasource, "--root", str(made.root)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "calib")


def source_of(sample: list[str]) -> str:
    import psanacli

    with psanacli.open_run(sample[0], roots=[sample[2]]) as run:
        (name,) = (name for name in run.detectors if ":Cspad." in name)
    return name


def test_from_deployment_to_revert(sample: list[str], store: Store, tmp_path: Path) -> None:
    pedestals = np.round(np.random.default_rng(1).normal(1300, 60, SHAPE), 2).astype("f4")
    np.save(tmp_path / "ped.npy", pedestals)
    here = ["--calib-dir", store.directory]
    source = source_of(sample)
    words = ["-d", source, "--type", "pedestals", *here]
    deploy = ["calib", "deploy", tmp_path / "ped.npy", *sample, *words, "--run", "1-end", "--comment", "a first try"]
    code, out, errors = psana(*deploy, "--dry-run", "--json")
    assert code == 0, errors
    told = json.loads(out)
    assert (told["shape"], told["applies_to"], told["objections"]) == (list(SHAPE), ["1-end"], [])
    assert not store.directory.exists()
    assert psana(*deploy)[0] == 0
    assert psana(*deploy)[2].count("was there already") == 1
    assert np.array_equal(store.get(source, "pedestals", 3).array, pedestals)

    code, out, errors = psana("calib", "show", *sample, *words, "--json")
    assert code == 0, errors
    (shown,) = json.loads(out)["constants"]
    assert shown["file"].endswith("pedestals/1-end.data")
    assert shown["statistics"]["max"] == pytest.approx(float(pedestals.max()))
    assert "1-end.data" in psana("calib", "show", *sample, *here)[1]
    assert "a first try" in psana("calib", "history", *sample, *words)[1]
    assert "1-end" in psana("calib", "list", *here)[1]
    code, out, _ = psana("calib", "which", *sample, *words)
    assert code == 0 and "->  1-end.data  applies" in out

    np.save(tmp_path / "ped.npy", pedestals + 1)
    code, _, errors = psana(*deploy)
    assert code == 6 and "1-end.data exists and would be replaced" in errors and "--force" in errors
    code, _, errors = psana(*deploy, "--force")
    assert code == 0 and "psana calib revert" in errors
    code, out, _ = psana("calib", "revert", *sample, *words, "--run", "1-end", "--json")
    reverted = json.loads(out)
    path = store.type_directory(source, "pedestals") / "1-end.data"
    assert (code, reverted["type"], reverted["file"]) == (0, "pedestals", str(path))
    assert Path(reverted["kept"]).exists()
    assert reverted["restored"].startswith("1-end.data-")
    assert np.array_equal(store.get(source, "pedestals", 3).array, pedestals)

    for name in ("out.npz", "out.h5", "out.txt"):
        code, out, _ = psana("calib", "export", *sample, *words, "-o", tmp_path / name, "--json")
        assert (code, [row["type"] for row in json.loads(out)["constants"]]) == (0, ["pedestals"])
        assert psana("calib", "diff", tmp_path / name, tmp_path / "ped.npy")[0] in (6, 7)
    with np.load(tmp_path / "out.npz") as file:
        assert np.array_equal(file["pedestals"], pedestals)
        assert json.loads(str(file["about"]))[0]["range"] == "1-end"
    assert psana("calib", "export", *sample, *words, "-o", tmp_path / "out.npz")[0] == 5


def put(store: Store, name: str, values: np.ndarray, source: str = "XppGon.0:Opal1000.0") -> Path:
    path = store.source_directory(source) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(format_text(values))
    return path


def test_differences_end_with_7(store: Store, tmp_path: Path) -> None:
    one = put(store, "pedestals/1-5.data", np.arange(6.0).reshape(2, 3))
    put(store, "pedestals/6-end.data", np.arange(6.0).reshape(2, 3) + np.array([0, 0, 1]))
    words = ["--calib-dir", store.directory, "-d", "XppGon.0:Opal1000.0"]
    code, out, errors = psana("calib", "diff", 2, 7, *words, "--json", "--png", tmp_path / "x.png")
    assert code == 7, errors
    (told,) = json.loads(out)["types"]
    assert (told["changed"], told["max"]) == (2, 1.0)
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    code, _, errors = psana("calib", "diff", 2, 3, *words, "--png", tmp_path / "x.png")
    assert code == 5 and "--overwrite" in errors
    assert psana("calib", "diff", 2, 3, *words, "--png", tmp_path / "x.png", "--overwrite")[0] == 0
    assert psana("calib", "diff", one, 3, *words, "--type", "pedestals")[0] == 0
    assert psana("calib", "diff", one, one)[0] == 0


def test_missing_and_wrong_constants_end_with_6(store: Store) -> None:
    put(store, "pedestals/5-9.data", np.ones((2, 2)))
    put(store, "pixel_rms/0-end.data", np.ones((2, 2))).write_text("1 2\n3 x\n")
    words = ["--calib-dir", store.directory, "-d", "XppGon.0:Opal1000.0", "--run", "10"]
    for verb in ("show", "which"):
        code, _, errors = psana("calib", verb, *words, "--type", "pedestals")
        assert code == 6
        assert "XppGon.0:Opal1000.0, run 10: no pedestals; looked in" in errors
        assert "5-9.data (ends before run 10)" in errors
    code, _, errors = psana("calib", "show", *words, "--type", "pixel_rms")
    assert code == 6
    assert "line 2, number 2: 'x' is no number" in errors
    code, out, errors = psana("calib", "check", "--calib-dir", store.directory)
    assert code == 7 and "1 errors" in errors and "'x' is no number" in out


def test_wrong_words(store: Store, tmp_path: Path) -> None:
    (tmp_path / "ped.txt").write_text("1 2\n")
    put(store, "pedestals/5-9.data", np.ones((2, 2)))
    here = ["--calib-dir", store.directory]
    deploy = ["calib", "deploy", tmp_path / "ped.txt", *here, "--run", "1-end"]
    for words, code, message in (
        (["calib", "show"], 2, "give a data source, or the directory of constants"),
        (["calib", "show", *here], 2, "which run?"),
        (["calib", "shwo", *here], 2, "did you mean show"),
        (["calib", "show", *here, "--run", 1, "--type", "pedestal"], 2, "did you mean pedestals"),
        (["calib", "show", *here, "--run", 1, "-d", "opal"], 3, "XppGon.0:Opal1000.0"),
        (["calib", "which", *here, "--run", 1], 2, "which detector? Say -d NAME; there are XppGon.0:Opal1000.0"),
        ([*deploy, "--type", "pedestals"], 2, "which detector and type"),
        ([*deploy[:-1], "9-1", "--type", "pedestals", "-d", "XppGon.0:Opal1000.0"], 2, "did you mean 1-9"),
        ([*deploy, "--type", "pedestals", "-d", "XppGon.0:Opal1000.0", "--format", "%s %s"], 2, "--format"),
        ([*deploy, "--type", "geometry", "-d", "XppGon.0:Opal1000.0"], 2, "no array of constants"),
        ([*deploy, "--type", "pedestals", "-d", "XppGon.0:Epix100a.0"], 6, "have the shape (704, 768)"),
        (["calib", "list", "--calib-dir", tmp_path / "nowhere"], 3, "nowhere does not exist"),
        (["calib", "history", *here], 3, "has no history"),
        (["calib", "history", *here, "--json"], 3, "has no history"),
        (
            ["calib", "deploy", tmp_path / "pad.txt", *deploy[3:], "--type", "pedestals", "-d", "XppGon.0:Opal1000.0"],
            3,
            "did you mean ped.txt",
        ),
        (["calib", "check", "--calib-dir", tmp_path / "nowhere"], 3, "does not exist"),
        (["calib", "diff", 1, 2, *here], 2, "which detector?"),
        (["calib", "diff", 1, 2, *here, "-d", "XppGon.0:Opal1000.0"], 3, "apply to run 1 in"),
        ([*deploy, "--type", "pedestals", "-d", "XppLas.0:Acqiris.0"], 2, "XppLas.0:Acqiris.0 has no pixels"),
    ):
        got, _, errors = psana(*words)
        assert (got, message in errors) == (code, True), (words, got, errors)


@pytest.mark.parametrize(("name", "content", "code", "message"), [
    ("nan.npy", np.full((30, 40), np.nan), 6, "1200 values are not finite"),
    ("shape.npy", np.ones((3, 4)), 6, "have the shape (704, 768)"),
    ("words.txt", b"1 2\n3 four\n", 6, "line 2, number 2: 'four' is no number"),
    ("uneven.txt", b"1 2\n3\n", 6, "uneven.txt"),
    ("damaged.npz", b"PK\x03\x04 and no more", 6, "is no npz file of numbers"),
    ("good.npy", np.ones((704, 768)), 5, "cannot be written"),
])  # fmt: skip
def test_a_deployment_that_fails_leaves_the_store_as_it_was(
    store: Store, tmp_path: Path, name: str, content: np.ndarray | bytes, code: int, message: str
) -> None:
    """Files and history; exit code 6 for what is wrong with the constants, 5 where they cannot be put."""
    source = "XppGon.0:Epix100a.0" if name in ("shape.npy", "good.npy") else "XppGon.0:Opal1000.0"
    old = put(store, "pedestals/0-end.data", np.ones((704, 768) if "Epix" in source else (30, 40)), source)
    (old.parent / "HISTORY").write_text("file:0-end.data     copy_of:/x  exp:e  user:u\n")
    kind = "pedestals"
    if code == 5:
        kind = "pixel_gain"
        (old.parent.parent / kind).write_text("a file where a directory has to be\n")
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)
    before = {path: path.read_bytes() for path in store.directory.rglob("*") if path.is_file()}
    words = ["--calib-dir", store.directory, "-d", source, "--type", kind, "--run", "5-end"]
    got, _, errors = psana("calib", "deploy", path, *words)
    assert got == code and message in errors, errors
    assert {path: path.read_bytes() for path in store.directory.rglob("*") if path.is_file()} == before


def test_the_default_directory_is_that_of_the_experiment(sample: list[str], tmp_path: Path) -> None:
    import psanacli

    with psanacli.open_run(sample[0], roots=[sample[2]]) as run:
        assert run.calib_dir.name == "calib"
        assert (run.calib_dir.parent / "xtc").is_dir()
        assert str(run.calib_dir.parent.parent.parent) == sample[2]
    with psanacli.open_run(sample[0], roots=[sample[2]], calib_dir=tmp_path / "{instr}/{exp}") as run:
        assert run.calib_dir == tmp_path / run.instrument / run.experiment.name


def test_a_mask_is_shown_written_drawn_and_deployed(sample: list[str], store: Store, tmp_path: Path) -> None:
    source = source_of(sample)
    status = np.zeros(SHAPE, "u2")
    status[3, 10:20, 30] = 1
    put(store, "pixel_status/1-end.data", status, source)
    words = ["calib", "mask", *sample, "-d", source, "--calib-dir", store.directory]
    code, out, errors = psana(*words)
    assert code == 0, errors
    assert "10" in out and "mask of" in out
    code, out, errors = psana(*words, "--bad", "pixel_gain > 2")
    assert code == 6 and "psana calib list" in errors and "allow-uncalibrated" not in errors
    bad = ["--bad", "status or disc(5, 90, 40, 3) or unbonded"]
    code, out, errors = psana(*words, *bad, "-o", tmp_path / "m.npy", "--png", tmp_path / "m.png", "--json")
    assert code == 0, errors
    told = json.loads(out)
    assert [cause["bad"] for cause in told["causes"]] == [10, 29, 1216] and told["constants"] == [
        str(store.type_directory(source, "pixel_status") / "1-end.data")
    ]
    mask = np.load(tmp_path / "m.npy")
    assert mask.shape == SHAPE and mask.dtype == np.uint8 and np.count_nonzero(mask == 0) == told["bad"]
    assert (tmp_path / "m.png").read_bytes().startswith(b"\x89PNG")
    assert psana(*words, *bad, "-o", tmp_path / "m.npy")[0] == 5

    code, out, errors = psana(*words, *bad, "--deploy", "--run", "1-end", "--dry-run")
    assert code == 0 and "applies to runs" in out, errors
    assert "pixel_mask" not in store.types(source)
    code, out, errors = psana(*words, *bad, "--deploy", "--run", "1-end")
    assert code == 0, errors
    assert np.array_equal(store.get(source, "pixel_mask", 7).array, mask)
    code, out, errors = psana(*words, "--bad", "pixel_mask", "--json")
    assert json.loads(out)["bad"] == told["bad"], errors

    assert psana(*words, "--deploy")[0] == 2
    assert psana(*words, "--run", "1-end")[0] == 2
    code, _, errors = psana(*words, "--bad", "pixel_rms > 3")
    assert code == 6 and "no pixel_rms" in errors and "^^^^" in errors
    code, _, errors = psana(*words, "--bad", "stat")
    assert code == 2 and "did you mean status" in errors
