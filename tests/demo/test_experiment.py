"""The sample experiment is a real one: it can be walked, and holds what it says."""

from pathlib import Path

import numpy as np
import pytest

from psanacli.demo import write_sample
from psanacli.errors import OutputError, UsageError
from psanacli.xtc import Transition, find, service, walk_file


def test_the_sample_is_small_and_whole(tmp_path: Path) -> None:
    sample = write_sample(tmp_path)
    assert sample.datasource == "exp=xppdemo26:run=1"
    assert 2e6 < sample.size < 12e6
    tables = [walk_file(path) for path in sample.paths]
    assert not any(table.problems for table in tables)
    assert sum(table.end for table in tables) == sample.size
    services = np.concatenate([service(table.datagrams) for table in tables])
    assert np.count_nonzero(services == Transition.L1Accept) == sample.events == 120
    assert np.count_nonzero(services == Transition.BeginCalibCycle) == 4 * len(tables)


def test_what_is_asked_for_has_its_full_size_in_every_event(tmp_path: Path) -> None:
    sample = write_sample(tmp_path, events=3, streams=1, chosen=["cspad"])
    table = walk_file(sample.paths[0])
    names = {getattr(find(word & 0xFFFF, word >> 16), "name", "EPICS") for word in table.keys["type"].tolist()}
    assert {"CsPad.DataV2", "EvrData.DataV4"} <= names
    assert "Camera.FrameV1" not in names
    assert sample.size > 3 * 32 * 185 * 388 * 2


def test_what_cannot_be_made_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean cspad"):
        write_sample(tmp_path, chosen=["cspat"])
    with pytest.raises(UsageError, match="0 events"):
        write_sample(tmp_path, events=0)
    (tmp_path / "XPP").write_text("in the way")
    with pytest.raises(OutputError):
        write_sample(tmp_path)
