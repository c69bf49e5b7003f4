"""The store of constants compared with what the original did: which file, how text is read and written, defaults."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from reference import made_constants

from psanacli.calib import Listing, Store, format_text, kind_of, parse_text, type_of
from psanacli.errors import ConstantsError

REFUSED_THERE = {"10000-end.data", "0-12345.data"}  # runs above 9999: the original fails, here they are runs
IGNORED_HERE = {"3-x.data", "-5.data", "0-.data", "-.data"}  # no ranges: the original fails, here they are ignored
WRAPPED = "# DTYPE uint16\n1.7 -2\n3 70000\n"
CPP = "# DTYPE uint16_t\n1 2\n3 4\n"


@pytest.fixture(scope="module")
def calls(shared):
    found = json.loads((shared / "psana1/api/store/store.json").read_text())["calls"]
    return lambda name: [call for call in found if call["call"] == name]


def test_the_file_that_applies(calls, tally):
    for call in calls("select file"):
        listing = Listing.of(call["files"])
        if "error" in call["result"]:
            assert (REFUSED_THERE | IGNORED_HERE) & set(call["files"])
            continue
        for run, wanted in call["result"].items():
            if int(run) > 9999:
                continue  # this function of the original is never called with such runs, see the next test
            chosen = listing.choose(int(run))
            assert (chosen and chosen.name) == wanted, (call["files"], run)
            tally["constants: chosen files"] += 1


def test_names_at_which_the_original_fails_do_no_harm():
    """One wrong name makes every look-up of the original in that directory fail (T3)."""
    assert Listing.of(["0-end.data", "3-x.data"]).choose(5).name == "0-end.data"
    assert Listing.of(["-5.data", "0-.data", "-.data"]).entries == ()
    assert Listing.of(["0-end.data", "10000-end.data"]).choose(10000).name == "10000-end.data"
    assert Listing.of(["0-end.data", "0-12345.data"]).choose(12346).name == "0-end.data"


def test_constants_of_a_camera(calls, tmp_path, tally):
    """The recorded look-ups through the whole store, run 20000 included, made again from files like those."""
    types = tmp_path / "Camera::CalibV1/XppGon.0:Opal1000.0"
    files = {
        "pedestals/1-2.data": "1 2 3\n4 5 6\n",
        "pedestals/3-end.data": "1.5 2.5 3.5\n4.5 5.5 6.5\n",
        "pixel_status/0-end.data": CPP,
        "common_mode/0-end.data": "2 10 20 128\n",
    }
    for name, text in files.items():
        (types / name).parent.mkdir(parents=True, exist_ok=True)
        (types / name).write_text(text)
    for call in calls("constants of a camera with small files"):
        for name, wanted in call["result"].items():
            arguments = (call["source"], name, call["run"])
            if wanted["loading_status"] == "LOADED":
                same(Store(tmp_path).get(*arguments).array, wanted["value"], tally)
            elif wanted["loading_status"] == "UNREADABLE":  # C++ names of types, which are understood here
                assert Store(tmp_path).get(*arguments).array.tolist() == [[1, 2], [3, 4]]
            else:
                with pytest.raises(ConstantsError, match=f"run {call['run']}: no {name}; looked in"):
                    Store(tmp_path).get(*arguments)


def same(array, wanted, tally):
    assert list(array.shape) == wanted["shape"]
    assert str(array.dtype) == wanted["dtype"]
    assert array.ravel()[: len(wanted["first"])].tolist() == wanted["first"]
    assert array.sum(dtype=np.float64) == wanted["sum"]
    tally["constants: values"] += array.size


def test_what_is_assumed_without_files(calls, tmp_path, tally):
    for call in calls("constants without any file"):
        for name, wanted in call["result"].items():
            if wanted["value"] is None:
                assert kind_of(call["source"]).default(type_of(name)) is None
                with pytest.raises(ConstantsError):
                    Store(tmp_path).get(call["source"], name, 1, assume=True)
                tally["constants: values"] += 1
            else:
                found = Store(tmp_path).get(call["source"], name, 1, assume=True)
                assert found.assumed and found.file is None
                array = found.array
                if name == "common_mode":  # the original fills up with zeros to 16 numbers, for most detectors
                    array = np.pad(array, (0, wanted["value"]["shape"][0] - len(array)))
                same(array, wanted["value"], tally)


def test_a_file_of_the_wrong_size_is_an_error_and_not_a_default(calls, tmp_path):
    """The original takes zeros, silently (T2)."""
    (call,) = calls("constants of a fixed-shape detector with a file of the wrong size")
    assert call["result"]["pedestals"]["loading_status"] == "DEFAULT"
    path = tmp_path / "Epix100a::CalibV1" / call["source"] / "pedestals/0-end.data"
    path.parent.mkdir(parents=True)
    path.write_text("1 2\n3 4\n")
    with pytest.raises(ConstantsError, match=re.escape(f"run 1, pedestals: {path}: has the shape (2, 2), 4 values")):
        Store(tmp_path).get(call["source"], "pedestals", 1)


def test_text_that_is_read(calls, tally):
    for call in calls("read text array"):
        text, wanted = call["text"].encode(), call["result"]
        if text.decode() == CPP:
            assert parse_text(text, "x").values.tolist() == [[1, 2], [3, 4]]
            assert parse_text(text, "x").foreign
            continue
        if text.decode() == WRAPPED:
            with pytest.raises(ConstantsError, match=r"line 2, number 1: 1\.7 is no whole number"):
                parse_text(text, "x")
        if "error" in wanted:
            with pytest.raises(ConstantsError, match=r"^x: "):
                parse_text(text, "x")
            tally["constants: texts read"] += 1
            continue
        found = parse_text(text, "x", cast="wrap")
        assert list(found.values.shape) == wanted["shape"], text
        assert str(found.values.dtype) == wanted["dtype"], text
        assert np.array_equal(found.values.ravel(), np.array(wanted["values"], float), equal_nan=True), text
        tally["constants: texts read"] += 1


def test_text_that_is_written(calls, tally):
    for call in calls("write text array"):
        array = np.array(call["array"], call["dtype"])
        options = call["arguments"]
        text = format_text(
            array,
            fmt=options.get("fmt", "%.1f"),
            comments=options.get("cmts", ()),
            metadata=options.get("addmetad", True),
            name="/somewhere/x.txt",
        ).decode()
        words = "HOST|WORK_DIR|FILE_NAME|DATE_TIME|UID"
        ours = [re.sub(f"^# ({words}) .*", r"# \1 ...", line) for line in text.split("\n")]
        assert ours == call["result"]
        assert list(parse_text(text.encode(), "x").values.shape) == call["read_back"]
        tally["constants: lines written"] += len(ours)


@pytest.mark.parametrize("name", ["area", "area2"])
def test_constants_of_the_maker(shared, tmp_path, monkeypatch, name, tally):
    """Every type of every detector as the maker of constants means it, bit for bit, from its text."""
    monkeypatch.syspath_prepend(str(shared / "tools"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    import make_constants as maker

    store = Store(tmp_path / "calib")
    for detector in maker.table(name):
        if np.prod(detector["shape"]) > 1.2e6:
            continue  # as large as they are slow
        arrays = maker.constants(detector, made_constants.types(maker))
        made_constants.write(maker, detector, arrays, store.directory)
        for constants_type, wanted in arrays.items():
            found = store.get(detector["source"], constants_type, 7, raw_shape=detector["shape"])
            assert found.array.dtype == type_of(constants_type).dtype
            assert np.array_equal(found.array.ravel(), wanted.ravel())
            if constants_type != "common_mode":
                assert found.shape == wanted.shape, (detector["source"], constants_type)
            assert not found.array.flags.writeable
            tally["constants: values"] += wanted.size


def test_the_sample_store(shared, tally):
    store = Store(shared / "psana1/calib")
    assert len(store.sources()) == 9
    for source in store.sources():
        for constants_type in store.types(source):
            choice = store.which(source, constants_type, 1)
            assert choice.file == Path(choice.directory / "0-end.data")
            if constants_type == "common_mode":
                assert store.get(source, constants_type, 1).array.ndim == 1
            tally["constants: chosen files"] += 1
