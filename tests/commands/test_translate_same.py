"""`psana translate` gives the same file however many workers there are."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import pytest
from commands.cluster import contents, inside, psana

MANNERS = [("-j", 2), ("-j", 3), ("-j", 4), ("ranks", 1), ("ranks", 2), ("ranks", 3), ("ranks", 5), ("ranks, -j 2", 3)]


def translate(run: list[str], out: Path, manner: str, count: int) -> dict[str, Any]:
    threads = {"-j": count, "ranks": 1, "ranks, -j 2": 2}[manner]
    words = ["translate", *run, "-o", out, "-j", threads]
    code, _, errors = inside(*words) if manner == "-j" else psana(*words, ranks_=count)
    assert code == 0, errors
    assert errors.count("events,") == 1, "one summary, whatever the number of ranks"
    return contents(out)


@pytest.fixture(scope="module")
def demo_alone(demo_run: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return translate(demo_run, tmp_path_factory.mktemp("alone") / "demo.h5", "-j", 1)


@pytest.fixture(scope="module")
def types_run(shared: Path) -> list[str]:
    return [f"exp=amotyp14:run=1:dir={shared}/lcls1/types/xtc"]


@pytest.fixture(scope="module")
def types_alone(types_run: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return translate(types_run, tmp_path_factory.mktemp("alone") / "types.h5", "-j", 1)


@pytest.mark.parametrize(("manner", "count"), MANNERS)
def test_the_sample_run(
    demo_run: list[str], demo_alone: dict[str, Any], tmp_path: Path, manner: str, count: int, tally: Counter[str]
) -> None:
    assert len(demo_alone) > 200
    assert translate(demo_run, tmp_path / "out.h5", manner, count) == demo_alone
    tally["objects and attributes, any number of workers"] += len(demo_alone)


@pytest.mark.parametrize(("manner", "count"), [("-j", 4), ("ranks", 3)])
def test_every_type(
    types_run: list[str], types_alone: dict[str, Any], tmp_path: Path, manner: str, count: int, tally: Counter[str]
) -> None:
    assert len(types_alone) > 1000
    assert translate(types_run, tmp_path / "out.h5", manner, count) == types_alone
    tally["objects and attributes, any number of workers"] += len(types_alone)


@pytest.mark.parametrize(("manner", "count"), [("-j", 2), ("ranks", 2), ("ranks", 3), ("ranks, -j 2", 3)])
def test_many_blocks(long_run: list[str], long_alone: dict[str, Any], tmp_path: Path, manner: str, count: int) -> None:
    assert translate(long_run, tmp_path / "out.h5", manner, count) == long_alone


@pytest.fixture(scope="module")
def long_alone(long_run: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return translate(long_run, tmp_path_factory.mktemp("alone") / "long.h5", "-j", 1)


@pytest.mark.parametrize("options", [["--aligned"], ["--split", "steps"], ["--compression", "none"]])
def test_other_layouts(demo_run: list[str], tmp_path: Path, options: list[str]) -> None:
    alone, ranks = tmp_path / "alone", tmp_path / "ranks"
    for directory in (alone, ranks):
        directory.mkdir()
        words = ["translate", *demo_run, "-o", directory, *options]
        code, _, errors = inside(*words) if directory == alone else psana(*words, ranks_=3)
        assert code == 0, errors
    names = sorted(path.name for path in alone.iterdir())
    assert names == sorted(path.name for path in ranks.iterdir())
    assert len(names) == (5 if "--split" in options else 1)
    for name in names:
        assert contents(alone / name) == contents(ranks / name)


def test_the_comparison_sees_what_differs(demo_run: list[str], demo_alone: dict[str, Any], tmp_path: Path) -> None:
    """A single byte of an image, an attribute, a name: each shows."""
    out = tmp_path / "out.h5"
    translate(demo_run, out, "-j", 1)
    place = "Configure:0000/Run:0000/CalibCycle:0001/Bld::BldDataEBeamV7/EBeam/data"
    with h5py.File(out, "r+") as file:
        rows = file[place][()]
        rows["fEbeamPhotonEnergy"][3] += 1
        file[place][...] = rows
        file.attrs["experiment"] = "another"
    found = contents(out)
    assert {name for name in found if found[name] != demo_alone[name]} == {f"/{place}", "/@experiment"}
