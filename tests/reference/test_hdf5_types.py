"""Every type that can be in XTC, also those that the original could not write: the file has what `decode` gives.

The expected values come from single records, read accessor by accessor; nothing of the way of columns is used.
"""

from __future__ import annotations

import gzip
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from psanacli.hdf5 import TranslateOptions, outputs, translate
from psanacli.hdf5.layout import DatasetLayout, TypeLayout, compound_members, type_layout, type_names
from psanacli.hdf5.names import CONFIGURE, source_group, step_group
from psanacli.parallel import Team
from psanacli.run import Run, open_run
from psanacli.xtc import Record, Source

SPECIAL = {
    "sections": lambda record: sections_of(record),
    "_mode_int": lambda record: record.slope | record.mode << 31,
    "processId": lambda record: Source(record.log, record.phy).process,
    "detector": lambda record: Source(record.log, record.phy).detector,
    "detId": lambda record: Source(record.log, record.phy).det_id,
    "device": lambda record: Source(record.log, record.phy).device,
    "devId": lambda record: Source(record.log, record.phy).dev_id,
}


def sections_of(record: Record) -> np.ndarray:
    found = np.full((4, 8), -1, np.int8)
    read = [(quad, section) for quad in range(4) for section in range(8) if record.roiMask(quad) >> section & 1]
    for number, place in enumerate(read):
        found[place] = number
    return found


def value_of(record: Record, accessor: str) -> Any:
    """Return what a record gives for an accessor of the layout."""
    if match := re.fullmatch(r"(\w+)\[(\d+)\]", accessor):
        return getattr(record, match[1])[int(match[2])]
    if match := re.fullmatch(r"(\w+)\((\d+)\)", accessor):
        return getattr(record, match[1])(int(match[2]))
    if accessor in SPECIAL and accessor not in record.xtc_type.members:
        return SPECIAL[accessor](record)
    if record.xtc_type.name == "Acqiris.TdcChannel" and accessor == "_mode_int":
        return SPECIAL[accessor](record)
    return record.values_of(accessor)


class Checker:
    """Compares values and counts them."""

    def __init__(self, tally: Counter[str]) -> None:
        self.tally = tally

    def check(self, form: str, found: Any, value: Any, where: str) -> None:
        if form.startswith("vlen<"):
            assert len(found) == len(value), where
            for a, b in zip(found, value, strict=True):
                self.check(form[5:-1], a, b, where)
        elif match := re.fullmatch(r"(.+)\[([\d,]+)\]", form):
            found = np.asarray(found)
            assert found.shape == tuple(int(size) for size in match[2].split(",")), where
            self.array(match[1], found, value, where)
        elif form.startswith("@"):
            for member in compound_members(form[1:]):
                self.check(member.form, found[member.name], value_of(value, member.accessor), f"{where}.{member.name}")
        elif form == "str" or form.startswith("S"):
            self.tally["HDF5: texts of all types"] += 1
            assert found == (value if isinstance(value, bytes) else str(value).encode("latin-1")), where
        else:
            self.numbers(np.asarray(found), np.asarray(value), where)

    def array(self, form: str, found: np.ndarray, value: Any, where: str) -> None:
        if form.startswith("@") or form.startswith("S"):
            flat = found.reshape(-1)
            assert len(flat) == len(value), where
            for a, b in zip(flat, value, strict=True):
                self.check(form, a, b, where)
        else:
            self.numbers(found, np.asarray(value), where)

    def numbers(self, found: np.ndarray, value: np.ndarray, where: str) -> None:
        with np.errstate(over="ignore"):
            whole = value.dtype.kind in "iub"
            wanted = value.astype(np.int64).astype(found.dtype) if whole else value.astype(found.dtype)
            if value.dtype == np.uint64 or (value.dtype == object):
                wanted = np.array([int(x) & 0xFFFFFFFFFFFFFFFF for x in value.ravel()], np.uint64).reshape(value.shape)
                wanted = wanted.astype(found.dtype)
        assert found.shape == wanted.shape, (where, found.shape, wanted.shape)
        assert np.array_equal(found, wanted, equal_nan=found.dtype.kind == "f"), where
        self.tally["HDF5: values of all types"] += found.size

    def dataset(self, layout: DatasetLayout, found: Any, record: Record, where: str) -> None:
        """Compare one row of a dataset (or one that is stored once) with an object."""
        if layout.each:
            inner = list(getattr(record, layout.each)) if not isinstance(getattr(record, layout.each), Record) else None
            if inner is None:
                self.one(layout, found, getattr(record, layout.each), where)
            elif layout.indexed:  # common mode: one for each section, none in raw data
                sections = [len(each.data) for each in inner]
                count = sum(sections) if layout.chain else sections[0]
                wanted = np.zeros(count if layout.chain else (len(inner), count), np.float32)
                self.numbers(np.asarray(found), wanted, where)
            elif layout.chain:
                parts = [np.asarray(value_of(each, layout.value)) for each in inner]
                self.numbers(np.asarray(found), np.concatenate(parts), where)
            else:
                assert len(found) == len(inner), where
                for a, each in zip(found, inner, strict=True):
                    self.one(layout, a, each, where)
        else:
            self.one(layout, found, record, where)

    def one(self, layout: DatasetLayout, found: Any, record: Record, where: str) -> None:
        if layout.members:
            for member in layout.members:
                value = value_of(record, member.accessor)
                self.check(member.form, found[member.name], value, f"{where}.{member.name}")
            return
        value = record if not layout.value else value_of(record, layout.value)
        if value is None and layout.otherwise:
            value = value_of(record, layout.otherwise[1])
        if layout.form.startswith("@") and isinstance(value, Record):
            self.check(layout.form, found, value, where)
        elif layout.rank and not layout.form.startswith("vlen"):
            self.array(layout.form, np.asarray(found), value, where)
        else:
            self.check(layout.form, found, value, where)


def unpacked(shared: Path, run: int, tmp_path: Path) -> list[Path]:
    """Return the files of a run of the set ``types``."""
    files = []
    for path in sorted((shared / "lcls1/types/xtc").glob(f"e303-r{run:04d}-*.xtc*")):
        if path.name.endswith(".xtc.gz"):
            with gzip.open(path) as packed, open(tmp_path / path.name.removesuffix(".gz"), "wb") as plain:
                shutil.copyfileobj(packed, plain)
            files.append(tmp_path / path.name.removesuffix(".gz"))
        elif path.suffix == ".xtc":
            files.append(path)
    return files


def layouts_of(layout: TypeLayout, record: Record) -> list[DatasetLayout]:
    if layout.name != "Generic1D.DataV0":
        return list(layout.datasets)
    names = ("u8", "u16", "u32", "f32", "f64")
    codes = ("u1", "u2", "u4", "f4", "f8")
    found = []
    for channel in range(len(record.values_of("data_u8"))):
        kind = next((i for i, name in enumerate(names) if getattr(record, f"data_{name}")(channel) is not None), None)
        if kind is None:
            break
        value = f"data_{names[kind]}({channel})"
        found.append(DatasetLayout(f"channel:{channel:02d}", codes[kind], value=value, rank=1))
    return found


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_values_of_all_types(shared: Path, tmp_path: Path, tally: Counter[str], number: int) -> None:
    files = unpacked(shared, number, tmp_path)
    checker = Checker(tally)
    seen: set[str] = set()
    with open_run(files) as run:
        out = tmp_path / "out.h5"
        for path, plan in outputs(run, TranslateOptions(), out, Team()):
            summary = translate(run, plan, path, Team())
        assert summary is not None and not summary.broken
        with h5py.File(out) as file:
            seen |= check_events(run, file, checker)
            seen |= check_configuration(run, file, checker)
    assert len(seen) >= {1: 100, 2: 100, 3: 9, 4: 2}[number]
    tally["HDF5: types compared with decode"] += len(seen)


def check_events(run: Run, file: h5py.File, checker: Checker) -> set[str]:
    seen = set()
    for key, reader in run.readers.items():
        layout = type_layout(key.xtc_type.name)
        if layout is None:
            continue
        rows: Counter[str] = Counter()
        largest: dict[str, int] = {}
        for event in reader.objects.event.tolist():
            record = reader.get(event)
            assert record is not None
            path = f"{step_group(0, int(run.table.events['step'][event]))}/{layout.group}/{source_group(key.source)}"
            for dataset in layouts_of(layout, record):
                if dataset.name not in file[path]:
                    continue
                stored = file[path][dataset.name]
                found = stored[rows[path]]
                whole = stored.dtype.shape if stored.dtype.subdtype else stored.shape[1:]
                value = None
                if not dataset.members and not dataset.each:
                    value = np.asarray(value_of(record, dataset.value or dataset.name))
                if value is not None and value.shape != whole and dataset.rank and value.dtype != object:
                    # A shape that changes: padded with zeros to the largest.
                    found = found[tuple(slice(0, size) for size in value.shape)]
                    largest[path] = 1
                checker.dataset(dataset, found, record, f"{path}/{dataset.name}")
            rows[path] += 1
            seen.add(layout.name)
    return seen


def check_configuration(run: Run, file: h5py.File, checker: Checker) -> set[str]:
    seen = set()
    first = run.config.at(int(np.flatnonzero(run.table.groups["action"] == 1)[0]))
    taken = set()
    for key in first:
        layout = type_layout(key.xtc_type.name)
        path = "" if layout is None else f"{CONFIGURE}/{layout.group}/{source_group(key.source)}"
        if layout is None or path in taken:
            continue
        taken.add(path)
        for dataset in layout.datasets:
            if dataset.nonempty:
                assert dataset.name not in file[path]
                continue
            stored = file[path][dataset.name]
            if stored.shape is None:
                continue
            checker.dataset(dataset, stored[()], first[key], f"{path}/{dataset.name}")
        seen.add(layout.name)
    return seen


def test_every_type_has_a_layout() -> None:
    assert len(type_names()) > 170
    assert all(type_layout(name) is not None for name in type_names())
