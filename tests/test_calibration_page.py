"""`docs/calibration.md`: what stands there works, line by line, and gives what it says."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from psanacli.commands.main import run
from psanacli.run import open_run

PAGE = Path(__file__).resolve().parents[1] / "docs/calibration.md"
CAMERA = "XppEndstation.0:Opal1000.1"


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A directory in which everything on the page was done, in its order, and what was printed by each block."""
    place = tmp_path_factory.mktemp("page")
    printed: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.delenv("PSANA_ROOT", raising=False)
        for language, block in re.findall(r"```(sh|python)\n(.*?)```", PAGE.read_text(), re.DOTALL):
            told = io.StringIO()
            with contextlib.redirect_stdout(told):
                if language == "python":
                    exec(compile(block, str(PAGE), "exec"), {})
                for line in block.splitlines() if language == "sh" else ():
                    words = shlex.split(line)
                    if words[0] == "export":
                        patch.setenv(*words[1].split("=", 1))
                        continue
                    assert words[0] == "psana", line
                    assert run(words[1:]) == 0, line
            printed.append(told.getvalue())
        yield place, printed


def test_every_line_works(followed: tuple[Path, list[str]]) -> None:
    place, printed = followed
    assert {path.name for path in place.iterdir()} == {
        "sample", "dark", "dark.png", "mask.png", "gain.npy", "corrected.h5",
    }  # fmt: skip
    assert printed[-2].startswith("(29, 96, 128) float32 1-end ")
    assert "(96, 128) float32" in printed[-1] and "pedestals" in printed[-1]


def test_the_corrected_images_are_right(followed: tuple[Path, list[str]]) -> None:
    """By plain arithmetic from what is in the file alone; the gain was taken back."""
    place, _ = followed
    with (
        open_run("exp=xppdemo26:run=1", roots=[place / "sample"]) as opened,
        h5py.File(place / "corrected.h5") as file,
    ):
        camera: Any = opened.detector(CAMERA)
        store = file["Configure:0000/CalibStore"]
        pedestals = store[f"pedestals/{CAMERA}/data"][()]
        mask = store[f"recipe/{CAMERA}/mask"][()]
        raw = np.stack([camera.raw(event) for event in opened.events[:10]]).astype(np.float32)
        group = file[f"Configure:0000/Run:0000/CalibCycle:0000/ndarray_float32_2/{CAMERA}"]
        assert np.array_equal(group["data"][:10], (raw - pedestals) * mask)
        rim = np.ones((96, 128), bool)
        rim[2:-2, 2:-2] = False
        assert not mask[rim].any() and not mask[48, 64] and 0.8 < mask.mean() < 1
        assert "pixel_gain" not in store
        assert abs(pedestals.mean() - 15.5) < 0.2
