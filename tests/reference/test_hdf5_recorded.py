"""`psana translate` of the runs that the original translated, compared with its files: everything a reader can see.

What may differ is listed in `ALLOWED`; an entry that nothing needs any more fails the test, as any other difference
does.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hdf5.comparison import Difference, attributes, compare, entries, space_of, type_text

from psanacli.calib import NewConstants, RunRange, Store, deploy, plan_deployment
from psanacli.hdf5 import Compression, TranslateOptions, outputs, translate
from psanacli.parallel import Team
from psanacli.run import open_run

SOURCES = {
    "simple": "exp=xppsim15:run=1:dir={}/simple/xtc",
    "simple-smd": "exp=xppsim15:run=1:smd:dir={}/simple/xtc",
    "multi": "exp=cximul16:run=7:dir={}/multi/xtc",
    "multi-smd": "exp=cximul16:run=7:smd:dir={}/multi/xtc",
    "multi-daq": "exp=cximul16:run=7:stream=0-79:dir={}/multi/xtc",
    "types-1": "exp=amotyp14:run=1:dir={}/types/xtc",
    "types-2": "exp=amotyp14:run=2:dir={}/types/xtc",
    "types-4": "exp=amotyp14:run=4:dir={}/types/xtc",
    "area": "exp=cxiarea17:run=17:dir={}/area/xtc",
    "compressed-1": "exp=xppcmp16:run=1:dir={}/compressed/xtc",
    "compressed-2": "exp=xppcmp16:run=2:dir={}/compressed/xtc",
    "compressed-3": "exp=xppcmp16:run=3:dir={}/compressed/xtc",
    "compressed-4": "exp=xppcmp16:run=4:dir={}/compressed/xtc",
}

UPDATES = {"epics": "updates"}
NO_EPICS = {"epics": "no"}

#: Recorded file -> data source, and our spelling of the options it was made with (README.md beside it). ``updates`` is
#: what the original's default did (deviation D1).
RECORDED: dict[str, tuple[str, dict[str, Any]]] = {
    "simple-r1": ("simple", UPDATES),
    "simple-r1-smd": ("simple-smd", UPDATES),
    "multi-r7": ("multi", UPDATES),
    "multi-r7-smd": ("multi-smd", UPDATES),
    "types-r1": ("types-1", UPDATES | {"exclude": ("UsdUsbFex",)}),
    "types-r2": ("types-2", NO_EPICS | {"exclude": ("Spectrometer", "Cspad", "Cspad2x2", "Timepix", "UsdUsbFex")}),
    "types-r4": ("types-4", UPDATES | {"exclude": ("Frame",)}),
    "variants/multi-r7-daq": ("multi-daq", UPDATES),
    "variants/simple-r1-epics-always": ("simple", {"epics": "always"}),
    "variants/simple-r1-epics-no": ("simple", NO_EPICS),
    "variants/simple-r1-type_filter": ("simple", NO_EPICS | {"include": ("Evr", "Frame")}),
    "variants/simple-r1-type_exclude": ("simple", NO_EPICS | {"exclude": ("AcqWaveform", "Evr")}),
    "variants/simple-r1-src_filter": ("simple", NO_EPICS | {"exclude": ("XppEndstation.0:Opal1000.1", "EBeam")}),
    "variants/simple-r1-eventkey_filter": (
        "simple",
        NO_EPICS | {"exclude": ("Frame__XppEndstation.0:Opal1000.1", "AcqTdc__XppLas.0:AcqTDC.0")},
    ),
    "variants/simple-r1-uncompressed": (
        "simple",
        UPDATES | {"compression": Compression("none"), "events": slice(0, 4)},
    ),
    "variants/simple-r1-chunks": ("simple", UPDATES),
    "variants/simple-r1-noconfigdata": (
        "simple",
        UPDATES | {"configure_events": False, "events": slice(3, 15)},
    ),
}

#: Recorded files that need modules between reader and translator; they belong to the work on modules.
NEED_MODULES = {
    "variants/simple-r1-do_not_translate": "a module marks events",
    "variants/simple-r1-src_do_not_translate": "a module marks sources of events",
    "variants/simple-r1-skip": "a module skips events",
    "variants/simple-r1-modules": "a module adds objects",
    "variants/simple-r1-key_filter": "a module adds objects, and a filter of their keys",
}
#: Corrected as the facility's module did it, with the constants that the recorded file has in its CalibStore.
CALIBRATED = "variants/types-r1-calibrated"

SPLIT = {
    "variants/split/multi-r7": ("multi-daq", UPDATES, ("", "_cc0000", "_cc0001", "_cc0002")),
    "variants/split_subdir/simple-r1": ("simple-smd", UPDATES, ("",)),
}


class Allowed:
    """Differences of one kind that have a reason; `docs/deviations.md` has the same list."""

    def __init__(self, reason: str, what: str, path: str, detail: str = "") -> None:
        self.reason = reason
        self.what = what
        self.path = re.compile(path)
        self.detail = re.compile(detail)
        self.used = 0

    def covers(self, difference: Difference) -> bool:
        found = (
            difference.what in self.what.split("|")
            and self.path.search(difference.path)
            and self.detail.search(difference.detail)
        )
        self.used += bool(found)
        return bool(found)


NEW_TYPES = (
    r"/(Archon::ConfigV[1234]|Bld::BldDataPhaseCavityV1|ControlData::ConfigV4|Epix::(ArrayV1|Config10ka\w+)|"
    r"Jungfrau::(ConfigV[234]|ElementV2)|Pixis::\w+|QuadAdc::\w+|Streak::\w+|TimeTool::(Config|Data)V3|Uxi::\w+|"
    r"Vimba::\w+|Zyla::\w+|iStar::\w+)(/|$)"
)
SHARED_ADC = r"/Acqiris::(ConfigV1|DataDescV1)(/MEC-LAS-EM-01(/|$)|$)"

#: Every difference that is left, with its reason; mirrored in docs/deviations.md.
ALLOWED = [
    Allowed("Q1: an EndData group without content is left out", "group", r"/EndData$", "only theirs"),
    Allowed("D3: text ends where its field does", "value", r"/L3T::ConfigV1/Event/config$", r"^module_id\."),
    Allowed("D7: types that the original could not write", "group|dataset", NEW_TYPES, "only ours"),
    Allowed("D7: shared digitizers are written as their parts", "group|dataset", SHARED_ADC, "only ours"),
]
#: The same for corrected images.
ALLOWED_CALIBRATED = [
    Allowed("Q1: an EndData group without content is left out", "group", r"/EndData$", "only theirs"),
    Allowed(
        "constants tell where they came from", "attribute", r"/CalibStore/.*@(file|range|run|sha256)$", "^None != "
    ),
]
#: The same for files of a split.
ALLOWED_IN_SPLIT = [
    Allowed("Q1: an EndData group without content is left out", "group|link", r"/EndData$", ""),
    Allowed("the master has the time of Configure, not of BeginRun", "attribute", r"^/Configure:0000@start\.", ""),
    Allowed("so have its control records", "value", r"^/Configure:0000/Epics::EpicsPv/.*/time$", ""),
    Allowed("D1: a file of a later step knows the values from before", "shape", r"/Epics::EpicsPv/.*/(data|time)$", ""),
]


def translated(
    shared: Path,
    source: str,
    options: dict[str, Any],
    path: Path,
    team: Team | None = None,
    calib_dir: Path | None = None,
) -> dict[str, Path]:
    """Translate a run; return the files by name."""
    made = {}
    team = team or Team()
    with open_run(SOURCES[source].format(shared / "lcls1"), calib_dir=calib_dir) as run:
        for out, plan in outputs(run, TranslateOptions(**options), path, team):
            translate(run, plan, out, team)
            made[out.name] = out
    return made


def judged(differences: Iterable[Difference], allowed: list[Allowed]) -> list[Difference]:
    """Return the differences that no entry covers."""
    return [difference for difference in differences if not any([entry.covers(difference) for entry in allowed])]


def test_everything_recorded_is_compared(shared: Path) -> None:
    base = shared / "psana1/hdf5"
    files = {path.relative_to(base).with_suffix("").as_posix() for path in base.rglob("*.h5")}
    split = {f"{name}{part}" for name, (_, _, parts) in SPLIT.items() for part in parts}
    rest = {name for name in files if name.startswith("variants/split_subdir/simple-r1_ccfiles/")}
    assert files == RECORDED.keys() | NEED_MODULES.keys() | split | rest | {CALIBRATED}


def test_files_are_the_same(shared: Path, tmp_path: Path, tally: Counter[str]) -> None:
    left = {}
    for name, (source, options) in RECORDED.items():
        made = translated(shared, source, options, tmp_path / f"{name.replace('/', '-')}.h5")
        differences = compare(shared / f"psana1/hdf5/{name}.h5", *made.values(), tally, "HDF5")
        if unexplained := judged(differences, ALLOWED):
            left[name] = unexplained
    assert not left
    assert [entry.reason for entry in ALLOWED if not entry.used] == []


@pytest.mark.parametrize(
    ("manifest", "source"),
    [("area-r17", "area"), *(("compressed-r1", f"compressed-{run}") for run in (1, 2, 3, 4))],
)
def test_manifests_are_the_same(shared: Path, tmp_path: Path, tally: Counter[str], manifest: str, source: str) -> None:
    recorded = json.loads(gzip.decompress((shared / f"psana1/hdf5/{manifest}.manifest.json.gz").read_bytes()))
    (path,) = translated(shared, source, UPDATES, tmp_path / "out.h5").values()
    with h5py.File(path) as file:
        objects, links = entries(file)
        new = re.compile(f"/psanacli|{NEW_TYPES}")
        objects = {name: item for name, item in objects.items() if not new.search(name)}
        groups = {name: item for name, item in objects.items() if isinstance(item, h5py.Group)}
        assert groups.keys() == {name for name in recorded["groups"] if not name.endswith("/EndData")}
        assert objects.keys() - groups.keys() == recorded["datasets"].keys()
        assert dict(links) == dict(recorded["links"])
        for name, group in groups.items():
            assert {key: value for key, (_, _, value) in attributes(group).items()} == recorded["groups"][name]
        for name, entry in recorded["datasets"].items():
            dataset = objects[name]
            assert type_text(dataset.id.get_type()) == recorded["types"][entry["type"]], name
            space = space_of(dataset)
            assert (space and list(space[0])) == entry["shape"], name
            if space is not None:
                content = packed(dataset[()])
                assert (len(content), zlib.crc32(content)) == (entry["bytes"], entry["crc32"]), name
                tally["HDF5: bytes by checksum"] += len(content)


def test_corrected_images_are_the_same(shared: Path, tmp_path: Path, tally: Counter[str]) -> None:
    """The store is made of what the recorded file has in its CalibStore; so nothing but the file is needed."""
    source = "CxiSc2.0:Cspad2x2.0"
    store = Store(tmp_path / "calib")
    recorded = shared / f"psana1/hdf5/{CALIBRATED}.h5"
    with h5py.File(recorded) as file:
        constants = file["Configure:0000/CalibStore"]
        pedestals = constants[f"pdscalibdata::CsPad2x2PedestalsV1/{source}/pedestals"][()]
        common_mode = constants[f"pdscalibdata::CsPadCommonModeSubV1/{source}/data"][()]
    numbers = np.array([common_mode["mode"], *common_mode["data"][:3]])
    for kind, array in (("pedestals", pedestals), ("common_mode", numbers)):
        deploy(store, plan_deployment(store, source, kind, RunRange.parse("0-end"), NewConstants(array, "recorded")))
    options = NO_EPICS | {"include": ("Cspad2x2",), "calib": ("Cspad2x2",), "calib_form": "in-type"}
    made = translated(shared, "types-1", options, tmp_path / "out.h5", calib_dir=store.directory)
    differences = compare(recorded, *made.values(), tally, "HDF5, corrected")
    assert not judged(differences, ALLOWED_CALIBRATED)
    assert [entry.reason for entry in ALLOWED_CALIBRATED if not entry.used] == []


def packed(values: Any) -> bytes:
    """Return the bytes of values without padding, member by member, as the manifests count them."""
    values = np.asarray(values)
    if values.dtype.names:
        return b"".join(packed(values[name]) for name in values.dtype.names)
    if values.dtype == object:
        return b"".join(_packed_one(value) for value in values.ravel())
    return np.ascontiguousarray(values).tobytes()


def _packed_one(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value + b"\0"
    return len(value).to_bytes(8, "little") + packed(value)


def test_splits_are_the_same(shared: Path, tmp_path: Path, tally: Counter[str]) -> None:
    for name, (source, options, parts) in SPLIT.items():
        stem = Path(name).name
        directory = tmp_path / Path(name).parent.name
        directory.mkdir()
        made = translated(shared, source, {**options, "split": True}, directory / f"{stem}.h5")
        for part in parts:
            path = made[f"{stem}{part}.h5"]
            differences = compare(shared / f"psana1/hdf5/{name}{part}.h5", path, tally, "HDF5")
            if "subdir" in name:  # the original put the steps into a directory of their own
                differences = (each for each in differences if each.what != "link" or "CalibCycle" not in each.path)
            assert not judged(differences, ALLOWED_IN_SPLIT), part
        with h5py.File(made[f"{stem}.h5"]) as master:
            steps = master["Configure:0000/Run:0000"]
            assert len(steps) == len(made) - 1
            assert all(len(steps[step]) for step in steps)  # the links lead somewhere
    assert [entry.reason for entry in ALLOWED_IN_SPLIT if not entry.used] == []


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
def test_threads_do_not_matter(shared: Path, tmp_path: Path, tally: Counter[str], threads: int) -> None:
    (one,) = translated(shared, "multi", {}, tmp_path / "one.h5").values()
    (other,) = translated(shared, "multi", {}, tmp_path / "other.h5", Team(threads=threads)).values()
    assert list(compare(one, other, tally, "HDF5, by threads")) == []
