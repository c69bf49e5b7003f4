"""Runs that the tests of whole processes share, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from psanacli.demo import Sample, write_sample


def _shared(factory: pytest.TempPathFactory, name: str, **options: object) -> Sample:
    return write_sample(factory.mktemp(name), **options)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def demo_run(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The run of `psana demo`, as words of a command line: 120 events, 6 MB, every kind of detector."""
    return words(_shared(tmp_path_factory, "demo"))


@pytest.fixture(scope="session")
def long_run(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """20 000 small events in two streams, 50 MB."""
    return words(_shared(tmp_path_factory, "long", events=20_000, chosen=["small"]))


@pytest.fixture(scope="session")
def image_run(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """24 full CSPAD images, 110 MB."""
    return words(_shared(tmp_path_factory, "images", events=24, chosen=["cspad"], streams=1))


def words(sample: Sample) -> list[str]:
    """Return the data source and where it is."""
    return [sample.datasource, "--root", str(sample.root)]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
