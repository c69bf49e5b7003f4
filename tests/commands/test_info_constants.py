"""`psana info` tells which constants apply to the detectors of a run."""

from __future__ import annotations

import json
from pathlib import Path

from commands.cluster import psana

import psanacli
from psanacli.calib import Store
from psanacli.demo import write_sample


def test_info_tells_which_constants_apply(tmp_path: Path) -> None:
    """Beside the directory of the data stands that of constants; types without a file for the run are told too."""
    made = write_sample(tmp_path, events=2, chosen=["cspad"], streams=1)
    sample = [made.datasource, "--root", str(made.root)]
    code, out, errors = psana("info", *sample, "--json")
    assert code == 0, errors
    (run,) = json.loads(out)["runs"]
    assert "constants" not in run
    store = Store(Path(run["directory"]).parent / "calib")
    with psanacli.open_run(made.datasource, roots=[made.root]) as opened:
        (source,) = (name for name in opened.detectors if ":Cspad." in name)
    for name in ("pedestals/1-end.data", "pedestals/0-5.data", "pixel_gain/90-99.data", "geometry/0-end.data"):
        path = store.source_directory(source) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1\n")
    (store.source_directory("XppGon.0:Opal1000.7") / "pedestals").mkdir(parents=True)
    (run,) = json.loads(psana("info", *sample, "--json")[1])["runs"]
    assert [(row["detector"], row["type"], row["range"]) for row in run["constants"]] == [
        (source, "geometry", "0-end"),
        (source, "pedestals", "1-end"),
        (source, "pixel_gain", None),
    ]
    assert run["constants"][1]["file"].endswith("pedestals/1-end.data") and run["constants"][2]["file"] is None
    out = psana("info", *sample, "--detectors")[1]
    assert f"constants in {store.directory}" in out and "none applies" in out
    assert "geometry, pedestals" in psana("info", *sample)[1]
    elsewhere = tmp_path / "XPP" / "mine"
    store.directory.rename(elsewhere)
    assert "geometry, pedestals" not in psana("info", *sample)[1]
    assert "geometry, pedestals" in psana("info", *sample, "--calib-dir", tmp_path / "{instr}" / "mine")[1]
