"""One lookup by the names that users know."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from run.runs import write_run

from psanacli.detector import AreaDetector
from psanacli.errors import NotFoundError, UsageError
from psanacli.run import Run, open_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with open_run(write_run(tmp_path_factory.mktemp("xtc"))) as run:
        yield run


@pytest.mark.parametrize(
    "name", ["opal_1", "OPAL-1", "XppEndstation.0:Opal1000.1", "DetInfo(XppEndstation.0:Opal1000.1)", "Opal1000"]
)
def test_a_camera_has_many_names(run: Run, name: str) -> None:
    camera = run.detector(name)
    assert isinstance(camera, AreaDetector)
    assert (camera.name, camera.alias) == ("XppEndstation.0:Opal1000.1", "opal_1")
    image = camera.raw(run.events[2])
    assert image is not None
    assert image.tolist() == (np.arange(24).reshape(4, 6) + 200).tolist()


def test_an_absent_image_is_none(run: Run) -> None:
    camera = run.detector("opal_1")
    assert isinstance(camera, AreaDetector)
    assert camera.raw(run.events[7]) is None
    assert camera.calib(run.events[7]) is None
    assert camera.present.nonzero()[0].tolist() == [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11]


def test_a_miss_shows_the_nearest(run: Run) -> None:
    with pytest.raises(NotFoundError) as caught:
        run.detector("opall_1")
    assert "opal_1" in caught.value.hint
    with pytest.raises(UsageError, match="is text, not 3"):
        run.detector(3)  # type: ignore[arg-type]
