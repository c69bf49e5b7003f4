"""The index of a run: what comes out of it is what went in, and whatever does not match is not used."""

import os
from pathlib import Path

import numpy as np
import pytest
from run.runs import write_run

import psanacli
from psanacli.errors import NotFoundError, OutputError, UsageError
from psanacli.run import IndexFault, RunIndex, build_index, find_index, index_paths, indexfile, save_index
from psanacli.xtc import walk_file

TABLES = ("datagrams", "start", "contributions", "keys", "members", "groups", "events", "transitions", "steps")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """No test meets the cache of whoever runs it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def xtc(tmp_path):
    """The directory of a run of two streams."""
    directory = tmp_path / "xtc"
    write_run(directory)
    return directory


def build(directory: Path, **options) -> Path:
    """Build the index of the run in a directory, and return where it is."""
    with psanacli.open_run(directory, index=False) as run:
        return save_index(build_index(run.files, **options), run.files.files)[0]


def assert_equal(one, other):
    """Compare all tables of two runs, bit by bit."""
    for name in TABLES:
        a, b = getattr(one.table, name), getattr(other.table, name)
        assert a.dtype == b.dtype, name
        np.testing.assert_array_equal(a, b, err_msg=name)
    assert one.table.sizes == other.table.sizes
    assert one.problems == other.problems
    assert one.counters == other.counters
    for name in ("number", "list_start", "list_values", "starts", "values"):
        np.testing.assert_array_equal(getattr(one.codes, name), getattr(other.codes, name), err_msg=name)
    assert list(one.epics) == list(other.epics)
    for name in one.epics:
        a, b = one.epics[name], other.epics[name]
        for moment in [*one.events, None]:  # first one by one, then all at once
            assert repr(a.at(moment)) == repr(b.at(None if moment is None else moment.group))
        np.testing.assert_array_equal(a.times, b.times)
        np.testing.assert_array_equal(a.group, b.group)
        assert a.values.tolist() == b.values.tolist()
        assert [repr(a.at(group)) for group in range(len(one.table.groups))] == [
            repr(b.at(group)) for group in range(len(one.table.groups))
        ]


def test_a_run_opened_with_its_index_is_the_same(xtc):
    with psanacli.open_run(xtc) as run:
        assert run.index.path is None
        path = build(xtc)
        with psanacli.open_run(xtc) as indexed, psanacli.open_run(xtc, index=False) as plain:
            assert (indexed.index.path, indexed.index.whole, indexed.index.notes) == (path, True, ())
            assert plain.index.path is None
            assert_equal(run, indexed)
            assert_equal(run, plain)
            assert [event.codes for event in indexed.events] == [event.codes for event in run.events]
            assert repr(indexed.epics.at(indexed.events[5])) == repr(run.epics.at(run.events[5]))


def test_mapped_tables_are_the_same_as_those_that_are_read(xtc):
    path = build(xtc)
    read, mapped = indexfile.read(path), indexfile.read(path, mapped=1)
    assert read.about == mapped.about
    for name, array in read.arrays.items():
        np.testing.assert_array_equal(array, mapped.arrays[name])
        assert not array.flags.writeable
        assert not mapped.arrays[name].flags.writeable
        assert not len(array) or mapped.arrays[name].base is not None


def test_where_an_index_is(xtc, cache):
    with psanacli.open_run(xtc) as run:
        beside, cached = index_paths(run.files.files)
    assert beside == xtc / "index" / "e301-r0001.psana"
    assert cached.is_relative_to(cache / "psanacli" / "index")
    assert cached.name == beside.name


def test_other_rules_and_single_files_take_the_headers_from_the_index(xtc, monkeypatch):
    build(xtc)
    monkeypatch.setattr("psanacli.run.indexes.walk_file", None)  # nothing may be walked
    monkeypatch.setattr("psanacli.run.headers.walk_file", None)
    with psanacli.open_run(xtc, skip_events=3) as run:
        assert (len(run.events), run.index.whole) == (9, False)
        assert run.index.path is not None
    with psanacli.open_run(xtc / "e301-r0001-s01-c00.xtc") as run:
        one = run.table.datagrams
        assert run.index.path is not None
        assert run.index.notes == ()
    monkeypatch.undo()
    np.testing.assert_array_equal(one, walk_file(xtc / "e301-r0001-s01-c00.xtc").datagrams)


def test_a_value_at_an_event_is_read_alone(xtc, monkeypatch):
    build(xtc)
    seen = []
    with psanacli.open_run(xtc) as run:
        variable = run.epics["sample_x"]
        read = variable._epics._payloads.read
        monkeypatch.setattr(
            variable._epics._payloads, "read", lambda places, rows: seen.append(len(rows)) or read(places, rows)
        )
        assert variable.at(run.events[6]).value == 2.5
        assert variable.at(run.events[11]).value == 5.5
    assert seen == [1, 1]


# --- what does not match --------------------------------------------------------------------------------------------


def test_every_truncation_is_noticed(xtc):
    path = build(xtc)
    data = path.read_bytes()
    assert RunIndex.load(path).number == 1
    for size in reversed(range(len(data))):
        os.truncate(path, size)
        with pytest.raises(IndexFault):
            indexfile.read(path)
    path.write_bytes(data + b"\0")
    with pytest.raises(IndexFault, match="bytes long"):
        indexfile.read(path)


def test_every_flipped_bit_is_noticed(tmp_path):
    write_run(tmp_path / "xtc", events=1, streams=1)
    path = build(tmp_path / "xtc")
    data = bytearray(path.read_bytes())
    with open(path, "r+b", buffering=0) as file:
        for bit in range(8 * len(data)):
            at, value = bit >> 3, data[bit >> 3] ^ 1 << (bit & 7)
            os.pwrite(file.fileno(), bytes([value]), at)
            with pytest.raises(IndexFault):
                indexfile.read(path)
            os.pwrite(file.fileno(), data[at : at + 1], at)
    assert RunIndex.load(path).number == 1


def test_a_damaged_index_is_ignored_and_said(xtc):
    path = build(xtc)
    data = bytearray(path.read_bytes())
    data[-1] ^= 4
    path.write_bytes(data)
    with psanacli.open_run(xtc) as run, psanacli.open_run(xtc, index=False) as plain:
        assert run.index.path is None
        assert run.index.notes == (f"{path} was not used: its table epics_kinds is damaged",)
        assert_equal(run, plain)


def test_another_version_is_ignored(xtc, monkeypatch):
    monkeypatch.setattr(indexfile, "VERSION", 2)
    build(xtc)
    monkeypatch.undo()
    with psanacli.open_run(xtc) as run:
        assert "it has version 2, this program reads version 1" in run.index.notes[0]


@pytest.mark.parametrize(("name", "dtype"), [("members", "<u4"), ("start", "<i4"), ("keys", "V12")])
def test_tables_of_another_type_are_ignored(xtc, name, dtype):
    path = build(xtc)
    kept = indexfile.read(path)
    indexfile.write(path, kept.about, kept.arrays | {name: np.zeros(3, dtype)})
    with pytest.raises(IndexFault, match=f"its table {name} has the type"):
        RunIndex.load(path)


@pytest.mark.parametrize("name", ["event_flags", "code_list", "rows"])
def test_tables_that_do_not_fit_together_are_ignored(xtc, name):
    path = build(xtc)
    kept = indexfile.read(path)
    indexfile.write(path, kept.about, kept.arrays | {name: kept.arrays[name][:-1]})
    with pytest.raises(IndexFault, match="do not fit together"):
        RunIndex.load(path)


def test_a_newer_file_is_walked_again(xtc):
    build(xtc)
    os.utime(xtc / "e301-r0001-s01-c00.xtc", ns=(1, 1))
    with psanacli.open_run(xtc) as run, psanacli.open_run(xtc, index=False) as plain:
        assert run.index.notes == ("e301-r0001-s01-c00.xtc was changed since",)
        assert run.index.path is not None
        assert_equal(run, plain)


def test_another_file_of_the_same_size_and_time_is_walked_again(xtc):
    build(xtc)
    file = xtc / "e301-r0001-s00-c00.xtc"
    times = file.stat()
    data = bytearray(file.read_bytes())
    data[4] ^= 1  # the clock of the first datagram
    file.write_bytes(data)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    with psanacli.open_run(xtc) as run, psanacli.open_run(xtc, index=False) as plain:
        assert run.index.notes == ("e301-r0001-s00-c00.xtc is another file",)
        assert_equal(run, plain)


def test_a_shorter_file_is_walked_again(xtc):
    build(xtc)
    file = xtc / "e301-r0001-s00-c00.xtc"
    os.truncate(file, file.stat().st_size - 100)
    with psanacli.open_run(xtc) as run, psanacli.open_run(xtc, index=False) as plain:
        assert run.index.notes == ("e301-r0001-s00-c00.xtc is shorter than it was",)
        assert_equal(run, plain)


def test_a_stream_that_is_gone_is_gone(xtc):
    build(xtc)
    (xtc / "e301-r0001-s01-c00.xtc").unlink()
    with psanacli.open_run(xtc) as run, psanacli.open_run(xtc, index=False) as plain:
        assert (run.index.whole, run.index.notes) == (False, ())
        assert_equal(run, plain)


# --- growth ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", ["a datagram", "in a header", "in a payload", "nothing", "all"])
def test_a_grown_file_table_is_that_of_a_new_walk(xtc, cut):
    file = xtc / "e301-r0001-s00-c00.xtc"
    data = file.read_bytes()
    offset = int(walk_file(file).datagrams["offset"][9])
    size = {"a datagram": offset, "in a header": offset + 17, "in a payload": offset + 60, "nothing": 0}.get(
        cut, len(data)
    )
    file.write_bytes(data[:size])
    before = walk_file(file)
    file.write_bytes(data)
    grown, whole = before.grown(), walk_file(file)
    assert (grown.end, grown.size, grown.problems) == (whole.end, whole.size, whole.problems)
    for a, b in [
        (grown.datagrams, whole.datagrams),
        (grown.patterns.start, whole.patterns.start),
        (grown.patterns.contributions, whole.patterns.contributions),
        (grown.keys, whole.keys),
    ]:
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("share", [0.1, 0.4, 0.8])
def test_a_grown_index_is_byte_for_byte_that_of_a_new_one(xtc, share):
    files = sorted(xtc.glob("*.xtc"))
    whole = [file.read_bytes() for file in files]
    for file, data in zip(files, whole, strict=True):
        file.write_bytes(data[: int(len(data) * share)])
    build(xtc)
    for file, data in zip(files, whole, strict=True):
        file.write_bytes(data)
    with psanacli.open_run(xtc) as run, psanacli.open_run(xtc, index=False) as plain:
        assert set(run.index.notes) == {f"{file.name} has grown" for file in files}
        assert_equal(run, plain)
    path = build(xtc)
    grown = path.read_bytes()
    assert build(xtc, overwrite=True) == path
    assert path.read_bytes() == grown


def test_new_streams_and_chunks_join(xtc):
    second = (xtc / "e301-r0001-s01-c00.xtc").rename(xtc / "later")
    build(xtc)
    second = (xtc / "later").rename(xtc / "e301-r0001-s01-c00.xtc")
    path = build(xtc)
    grown = path.read_bytes()
    build(xtc, overwrite=True)
    assert path.read_bytes() == grown
    with psanacli.open_run(xtc) as run:
        assert run.index.whole
        assert [file.path for file in run.table.files][1] == second


@pytest.mark.parametrize("streams", [(0,), (0, 1)])
def test_a_chunk_that_appears_later_joins(xtc, streams):
    """The index was saved when there was only the first chunk of a stream, or of both."""
    later = {}
    for stream in streams:
        first = xtc / f"e301-r0001-s{stream:02d}-c00.xtc"
        data = first.read_bytes()
        cut = int(walk_file(first).datagrams["offset"][9])
        first.write_bytes(data[:cut])
        later[xtc / f"e301-r0001-s{stream:02d}-c01.xtc"] = data[cut:]
    build(xtc)
    for path, data in later.items():
        path.write_bytes(data)
    with psanacli.open_run(xtc) as run, psanacli.open_run(xtc, index=False) as plain:
        assert run.index.notes == tuple(f"{path.name} is not in the index" for path in later)
        assert run.index.path is not None
        assert len(run.events) == 12
        assert_equal(run, plain)
    path = build(xtc)
    grown = path.read_bytes()
    assert build(xtc, overwrite=True) == path
    assert path.read_bytes() == grown
    with psanacli.open_run(xtc) as run:
        assert run.index.whole


# --- writing --------------------------------------------------------------------------------------------------------


def test_an_index_goes_to_the_cache_where_the_data_may_not_be_changed(xtc, cache, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: not str(path).startswith(str(xtc)))
    path = build(xtc)
    assert path.is_relative_to(cache)
    assert not (xtc / "index").exists()
    with psanacli.open_run(xtc) as run:
        assert run.index.path == path
        assert run.index.whole


def test_the_one_beside_the_data_counts_and_a_damaged_one_lets_the_cache_answer(xtc, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("os.access", lambda path, mode: False)
        cached = build(xtc)
    beside = build(xtc, overwrite=True)
    with psanacli.open_run(xtc) as run:
        assert run.index.path == beside
        files = run.files.files
    beside.write_bytes(b"PSANA")
    _, path, faults = find_index(files)
    assert path == cached
    assert faults == [f"{beside} was not used: it is cut off"]


def test_what_cannot_be_written_leaves_the_old_one(xtc, monkeypatch):
    path = build(xtc)
    before = path.read_bytes()

    def no_room(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", no_room)
    with pytest.raises(OutputError, match="No space left"):
        build(xtc, overwrite=True)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_files_in_several_directories_have_no_index(xtc, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    moved = (xtc / "e301-r0001-s01-c00.xtc").rename(other / "e301-r0001-s01-c00.xtc")
    with psanacli.open_run(xtc / "e301-r0001-s00-c00.xtc", moved) as run, pytest.raises(UsageError, match="several"):
        build_index(run.files)


def test_a_file_that_is_gone(xtc):
    with psanacli.open_run(xtc) as run:
        (xtc / "e301-r0001-s01-c00.xtc").unlink()
        with pytest.raises(NotFoundError, match="No such file"):
            build_index(run.files)


def test_what_killed_writers_left_is_taken_away(xtc):
    path = build(xtc)
    old, new = path.parent / f".{path.name}.old", path.parent / f".{path.name}.new"
    for left in (old, new):
        left.write_bytes(b"half")
    os.utime(old, (1, 1))
    build(xtc, overwrite=True)
    assert not old.exists()
    assert new.exists()  # somebody may have begun it just now
