"""`psana info` tells which constants apply to the detectors of a run."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

import psanacli
from psanacli.calib import Store
from psanacli.commands.info import command
from psanacli.demo import write_sample


def info(*words: str | Path) -> str:
    result = CliRunner().invoke(command, [str(word) for word in words])
    if result.exception:
        raise result.exception
    return result.stdout


def test_info_tells_which_constants_apply(tmp_path: Path) -> None:
    """Beside the directory of the data stands that of constants; types without a file for the run are told too."""
    made = write_sample(tmp_path, events=2, chosen=["cspad"], streams=1)
    sample = [made.datasource, "--root", str(made.root)]
    (run,) = json.loads(info(*sample, "--json"))["runs"]
    assert "constants" not in run
    store = Store(Path(run["directory"]).parent / "calib")
    with psanacli.open_run(made.datasource, roots=[made.root]) as opened:
        (source,) = (name for name in opened.detectors if ":Cspad." in name)
    for name in ("pedestals/1-end.data", "pedestals/0-5.data", "pixel_gain/90-99.data", "geometry/0-end.data"):
        path = store.source_directory(source) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1\n")
    (store.source_directory("XppGon.0:Opal1000.7") / "pedestals").mkdir(parents=True)
    (run,) = json.loads(info(*sample, "--json"))["runs"]
    assert [(row["detector"], row["type"], row["range"]) for row in run["constants"]] == [
        (source, "geometry", "0-end"),
        (source, "pedestals", "1-end"),
        (source, "pixel_gain", None),
    ]
    assert run["constants"][1]["file"].endswith("pedestals/1-end.data") and run["constants"][2]["file"] is None
    out = info(*sample, "--detectors")
    assert f"constants in {store.directory}" in out and "none applies" in out
    assert "geometry, pedestals" in info(*sample)
    elsewhere = tmp_path / "XPP" / "mine"
    store.directory.rename(elsewhere)
    assert "geometry, pedestals" not in info(*sample)
    assert "geometry, pedestals" in info(*sample, "--calib-dir", tmp_path / "{instr}" / "mine")
