"""A small run of several detectors, made with our writer."""

from __future__ import annotations

from pathlib import Path

import pytest

from psanacli.demo import Sample, write_sample


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """40 events in 4 steps, 2 streams, all detectors of the sample experiment."""
    return write_sample(tmp_path_factory.mktemp("sample"), events=40)


@pytest.fixture(scope="session")
def here() -> Path:
    return Path(__file__).resolve().parent
