"""Tables of text: exact times and values, and messages with the line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from psanacli.errors import DataError, NotFoundError, PsanaError, UsageError
from psanacli.outside import OutsideTable, ReadOptions, read_table

T0 = 1_436_200_000  # 2015-07-06 16:26:40 UTC


def table(directory: Path, text: str | bytes, name: str = "table.csv", **options: Any) -> OutsideTable:
    path = directory / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_table(path, ReadOptions(**options))


def ns(found: OutsideTable) -> list[int]:
    """Times in ns since T0."""
    return (found.times.astype(np.int64) - T0 * 10**9).tolist()


def values(found: OutsideTable, name: str) -> list[Any]:
    """Values of a column, None where a row is no sample or holds no value."""
    field = found.columns[name]
    held = np.ones(len(found), bool)
    for flags in (field.present, field.valid):
        held &= True if flags is None else flags
    return [value if ok else None for value, ok in zip(field.values.tolist(), held.tolist(), strict=True)]


# ---- forms ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "time,a,b\n1436200000.5,1,x\n1436200001,2,y\n",
        "time;a;b\n1436200000.5;1;x\n1436200001;2;y",
        "time\ta\tb\r\n1436200000.5\t1\tx\r\n1436200001\t2\ty\r\n",
        "time   a b\n 1436200000.5  1 x\n1436200001\t2 y \n",
        "# time a b\n1436200000.5 1 x\n1436200001 2 y\n",
        '"time","a","b"\n"1436200000.5","1","x"\n"1436200001","2","y"\n',
        "\ufefftime,a,b\r1436200000.5,1,x\r1436200001,2,y\r",
        "# a comment\n\n% another\ntime, a, b,\n1436200000.5, 1, x,\n#1436200000.7,9,z,\n\n1436200001, 2, y,\n",
        "time,a,b\n1436200000.5,1,x\n1436200001,2,y\n".encode("utf-16"),
    ],
    ids=["comma", "semicolon", "tab", "blanks", "header in a comment", "quotes", "mac", "comments", "utf-16"],
)
def test_separators_comments_and_quotes(tmp_path: Path, text: str | bytes) -> None:
    found = table(tmp_path, text)
    assert ns(found) == [500_000_000, 10**9]
    assert {name: values(found, name) for name in found.columns} == {"a": [1, 2], "b": ["x", "y"]}


def test_a_table_without_a_header_has_numbered_columns(tmp_path: Path) -> None:
    found = table(tmp_path, "7,1436200000\n8,1436200001\n", time="c2")
    assert ns(found) == [0, 10**9] and values(found, "c1") == [7, 8]
    with pytest.raises(UsageError, match="no column has the name of a time"):
        table(tmp_path, "7,1436200000\n")


def test_types_of_columns(tmp_path: Path) -> None:
    found = table(
        tmp_path,
        "time,whole,real,big,switch,word,gaps\n"
        "1436200000,1,1.5,18446744073709551615,true,ok,\n"
        "1436200001,-2,-2e-3,0,FALSE,,3\n"
        "1436200002,+3,NaN,1,true,n/a,N/A\n",
    )
    assert values(found, "whole") == [1, -2, 3] and found.columns["whole"].values.dtype == np.int64
    assert values(found, "real") == [1.5, -0.002, None]
    assert values(found, "big") == [2**64 - 1, 0, 1]
    assert values(found, "switch") == [True, False, True] and found.columns["switch"].state
    assert values(found, "word") == ["ok", None, "n/a"] and found.columns["word"].state
    assert values(found, "gaps") == [None, 3, None]
    assert found.columns["gaps"].present.tolist() == [False, True, True]  # an empty cell is no sample, N/A is one


def test_units_and_names(tmp_path: Path) -> None:
    found = table(tmp_path, "time [ms],chamber pressure (mbar)\n1436200000001,3\n")
    assert ns(found) == [1_000_000]
    assert list(found.columns) == ["chamber_pressure"] and found.columns["chamber_pressure"].units == "mbar"


def test_origin_says_which_content_it_was(tmp_path: Path) -> None:
    found = table(tmp_path, "date,time,a\n2015-07-06,16:26:40,1\n", zone="UTC").origin
    assert (found.format, found.size, found.time, found.zone) == ("csv", 34, "date+time", "UTC")
    assert found.path == str(tmp_path / "table.csv") and len(found.checksum) == 64 and found.mtime_ns > 0


# ---- rows ----------------------------------------------------------------------------------------------------------


def test_shuffled_rows_duplicates_and_gaps(tmp_path: Path) -> None:
    found = table(
        tmp_path,
        "time,a,b\n1436200003,30,x\n1436200001,10,\n,99,z\n1436200002,20,y\n1436200001,11,\n1436200003,31,\n",
    )
    assert ns(found) == [10**9, 2 * 10**9, 3 * 10**9]
    assert values(found, "a") == [11, 20, 31]  # the last of a time wins
    assert values(found, "b") == [None, "y", "x"]  # but an empty cell is no sample
    assert (found.counts.rows, found.counts.used) == (6, 3)
    assert (found.counts.duplicates, found.counts.without_time) == (2, 1)


# ---- times ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "time"),
    [
        ("1436200000.123456789", 123_456_789),
        ("1436200000.1234567894", 123_456_789),
        ("1436200000.1234567895", 123_456_790),
        ("1436200000.", 0),
        ("1.436200000000000001e9", 1),
        ("1436200000123", 123_000_000),
        ("1436200000123.456789", 123_456_789),
        ("1436200000123456.789", 123_456_789),
        ("1436200000123456789", 123_456_789),
        ("2015-07-06T16:26:40.123456789Z", 123_456_789),
        ("2015-07-06 16:26:40,5 UTC", 500_000_000),
        ("2015-07-06T18:26:40+02:00", 0),
        ("2015-07-06T09:26:40-0700", 0),
        ("2015-07-06T09:26:40.25-07", 250_000_000),
        ("20150706T162640Z", 0),
        ("20150706_162640Z", 0),
        ("20150706 16:26:40Z", 0),
        ("2015/7/6 16:26:40Z", 0),
        ("06.07.2015 16:26:40Z", 0),
        ("6-Jul-2015 16:26:40.5Z", 500_000_000),
        ("Jul 6, 2015 4:26:40 PM UTC", 0),
        ("Monday, July 6, 2015 16:26:40 GMT", 0),
        ("Mon Jul  6 16:26:40 UTC 2015", 0),
        ("Mon, 06 Jul 2015 16:26:40 +0000", 0),
        ("2015-07-06T16:26Z", -40 * 10**9),
        ("2015-07-06T16:26:60Z", 20 * 10**9),
    ],
)
def test_forms_of_times(tmp_path: Path, cell: str, time: int) -> None:
    found = table(tmp_path, f'time;a\n"{cell}";1\n')
    assert ns(found) == [time] and found.origin.zone == "UTC"


def test_dates_whose_order_shows(tmp_path: Path) -> None:
    assert ns(table(tmp_path, "time,a\n07/06/2015 16:26:40Z,1\n07/13/2015 16:26:40Z,1\n"))[0] == 0
    assert ns(table(tmp_path, "time,a\n06/07/2015 16:26:40Z,1\n13/07/2015 16:26:40Z,1\n"))[0] == 0
    with pytest.raises(UsageError, match=r"table\.csv, line 2: .*either") as failure:
        table(tmp_path, "time,a\n07/06/2015 16:26:40Z,1\n")
    assert "dates=mdy" in failure.value.hint
    assert ns(table(tmp_path, "time,a\n06/07/2015 16:26:40Z,1\n", dates="dmy")) == [0]
    with pytest.raises(UsageError, match="both orders"):
        table(tmp_path, "time,a\n13/06/2015 16:26Z,1\n06/13/2015 16:26Z,1\n")


def test_seconds_and_nanoseconds(tmp_path: Path) -> None:
    assert ns(table(tmp_path, "secs,nanos,a\n1436200000,5,1\n1436200001,999999999,2\n")) == [5, 1_999_999_999]
    assert ns(table(tmp_path, "x y a\n1436200000 5 1\n", time="x+y")) == [5]
    with pytest.raises(DataError, match="line 3"):
        table(tmp_path, "secs,nanos,a\n1436200000,5,1\n1436200001,1000000000,2\n")


@pytest.mark.parametrize("number", ["0.5", "3519044800", "805047999", "42191.685", "14362000001234"])
def test_numbers_that_could_be_anything_are_not_guessed(tmp_path: Path, number: str) -> None:
    with pytest.raises(UsageError, match="no times of 2005 to 2050") as failure:
        table(tmp_path, f"time,a\n{number},1\n")
    assert "unit=" in failure.value.hint and "epoch=" in failure.value.hint


def test_numbers_that_count_from_elsewhere(tmp_path: Path) -> None:
    assert ns(table(tmp_path, "time,a\n805048000.000000001,1\n", epoch="epics")) == [1]
    assert ns(table(tmp_path, "time,a\n3519044800.25,1\n", epoch="labview")) == [250_000_000]
    assert table(tmp_path, "time,a\n0.5,1\n", unit="s").times[0] == np.datetime64("1970-01-01T00:00:00.5")


def test_a_single_number_that_does_not_fit_is_damage(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 3: 0 in column 'time'"):
        table(tmp_path, "time,a\n1436200000,1\n0,2\n1436200001,2\n1436200002,2\n")


# ---- zones ---------------------------------------------------------------------------------------------------------


def test_local_times_need_a_zone(tmp_path: Path) -> None:
    text = "time,a\n2015-07-06 09:26:40,1\n"
    with pytest.raises(UsageError, match=r"line 2: .* have no zone") as failure:
        table(tmp_path, text)
    assert "zone=America/Los_Angeles" in failure.value.hint
    assert ns(table(tmp_path, text, zone="America/Los_Angeles")) == [0]
    assert ns(table(tmp_path, text, zone="-07:00")) == [0]
    assert ns(table(tmp_path, text, zone="UTC")) == [-7 * 3600 * 10**9]
    # In the same column other rows may say their zone.
    mixed = table(tmp_path, "time,a\n2015-07-06 09:26:40,1\n2015-07-06 16:26:41Z,2\n", zone="America/Los_Angeles")
    assert ns(mixed) == [0, 10**9]
    with pytest.raises(UsageError, match="Los_Angelos"):
        table(tmp_path, text, zone="America/Los_Angelos")


def test_numbers_have_no_other_zone_than_utc(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="count in UTC"):
        table(tmp_path, "time,a\n1436200000,1\n", zone="Europe/Berlin")


AUTUMN = np.datetime64("2015-11-01T08:00:00").astype("datetime64[ns]").astype(np.int64)  # 01:00 PDT


@pytest.mark.parametrize("way", [1, -1])
def test_the_hour_that_came_twice_is_told_by_the_order_of_rows(tmp_path: Path, way: int) -> None:
    local = ["00:59:59", "01:00:00", "01:30:00", "01:59:59", "01:00:00", "01:30:00", "02:00:00"][::way]
    text = "time,a\n" + "".join(f"2015-11-01 {clock},{number}\n" for number, clock in enumerate(local))
    found = table(tmp_path, text, zone="America/Los_Angeles")
    assert ((found.times.astype(np.int64) - AUTUMN) // 10**9).tolist() == [-1, 0, 1800, 3599, 3600, 5400, 7200]
    assert values(found, "a") == list(range(7))[::way]
    assert found.counts.twofold == 0


@pytest.mark.parametrize(
    "local", [["01:30", "02:30"], ["02:30", "01:30", "01:20", "00:10"], ["01:30", "01:20", "01:10", "02:00"]]
)
def test_rows_of_that_hour_are_left_out_where_nothing_tells(tmp_path: Path, local: list[str]) -> None:
    text = "time,a\n" + "".join(f"2015-11-01 {clock}:00,{clock[:2]}\n" for clock in local)
    found = table(tmp_path, text, zone="America/Los_Angeles")
    twice = sum(clock.startswith("01") for clock in local)
    if local[0] == "02:30":  # newest first: 01:30, then 01:20 is no step back of the clock
        assert values(found, "a") == [0, 2]
    assert found.counts.twofold == twice and len(found) == len(local) - twice


def test_the_name_of_the_clock_tells_it_too(tmp_path: Path) -> None:
    text = "time,a\n2015-11-01 01:30:00 PST,2\n2015-11-01 01:30:00 PDT,1\n"
    found = table(tmp_path, text, zone="America/Los_Angeles")
    assert ((found.times.astype(np.int64) - AUTUMN) // 10**9).tolist() == [1800, 5400] and values(found, "a") == [1, 2]
    with pytest.raises(UsageError, match="which zone is PST"):
        table(tmp_path, text)
    with pytest.raises(UsageError, match="Europe/Berlin has no such clock"):
        table(tmp_path, text, zone="Europe/Berlin")


def test_the_hour_that_never_was(tmp_path: Path) -> None:
    text = "time,a\n2015-03-08 01:59:59,1\n2015-03-08 02:30:00,2\n2015-03-08 03:00:00,3\n"
    found = table(tmp_path, text, zone="America/Los_Angeles")
    assert values(found, "a") == [1, 3] and found.counts.impossible == 1
    assert np.diff(found.times).astype(np.int64).tolist() == [10**9]


@given(
    st.lists(st.integers(1_420_000_000, 1_500_000_000), min_size=1, max_size=30).map(sorted),
    st.sampled_from(["America/Los_Angeles", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe"]),
)
def test_local_times_come_back_as_datetime_has_them(seconds: list[int], zone: str) -> None:
    import datetime
    import zoneinfo

    from psanacli.outside import parse_zone

    info = zoneinfo.ZoneInfo(zone)
    moments = [datetime.datetime.fromtimestamp(second, info) for second in seconds]
    local = [int(moment.replace(tzinfo=datetime.UTC).timestamp()) * 10**9 for moment in moments]
    found = parse_zone(zone).to_utc(np.array(local, np.int64))
    assert not found.impossible.any()
    for time, second, unknown, moment in zip(found.times, seconds, found.twofold, moments, strict=True):
        other = moment.replace(fold=1 - moment.fold).utcoffset()
        assert unknown <= (other != moment.utcoffset())
        assert unknown or time == second * 10**9


# ---- damage --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("time,a\n1436200000,1\n1436200001\n", DataError, "line 3: 1 cell, where there are 2 columns"),
        ("time,a\n1436200000,1\n\n# x\n1436200001,2,3\n", DataError, "line 5: 3 cells"),
        ("time a\n1436200000 1\n1436200001 2 3\n", DataError, "line 3: 3 cells"),
        ('time,a\n1436200000,"x\n1436200001,y\n', DataError, "line 2"),
        ('time,a\n1436200000,"x"\n1436200001\n', DataError, "line 3: 1 cell"),
        ("time,a\n1436200000,1\nlater,2\n", DataError, "line 3: 'later' in column 'time' is no number"),
        ("time,a\n2015-07-06T16:26:40Z,1\nlater,2\n", DataError, "line 3: 'later' in column 'time' is no time"),
        ("time,a\n2015-07-06T16:26:40Z,1\n2015-07-32T16:26:40Z,2\n", DataError, "line 3: '2015-07-32"),
        ("time,a\n2015-02-29T16:26:40Z,1\n", UsageError, "line 2"),
        ("time,a\nyesterday,1\n", UsageError, "line 2: 'yesterday' in column 'time' is no time"),
        (
            "time,a\n" + "".join(f"14362000{n},1\n" for n in range(10, 40)) + "1436200050,oops\n",
            DataError,
            "line 32: 'oops'",
        ),
        (
            "time;a\n" + "".join(f"14362000{n};1\n" for n in range(10, 40)) + "1436200050;1,5\n",
            DataError,
            "decimal point",
        ),
        (b"time,a\n1436200000,\xff\n", DataError, "line 2: byte 0xff is no text"),
        (b"time,a\n1436200000,\0\n", DataError, "line 2: there is a zero byte"),
        ("time,a,a\n1436200000,1,2\n", UsageError, "two columns have the name 'a'"),
        ("time,timestamp\n1436200000,1\n", UsageError, "time and timestamp could be the time"),
        ("# nothing\n\n", UsageError, "there is no table in it"),
        ("", UsageError, "is empty"),
        ("time,a\n1e400,1\n", DataError, "line 2: the time in column 'time' is out of range"),
    ],
)
def test_malformed_tables(tmp_path: Path, text: str | bytes, kind: type[PsanaError], message: str) -> None:
    with pytest.raises(kind, match=None) as failure:
        table(tmp_path, text)
    assert message in str(failure.value) and "table.csv" in str(failure.value)
    assert failure.value.exit_code == (4 if kind is DataError else 2)


def test_a_file_or_column_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such file"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(NotFoundError, match="no column 'tiem'") as failure:
        table(tmp_path, "time,a\n1436200000,1\n", time="tiem")
    assert "time" in failure.value.hint


_PIECES = st.sampled_from(
    [b"time", b",", b";", b"\t", b" ", b"\n", b"\r\n", b'"', b"#", b"1436200000", b"1436200001.5", b"2015-07-06",
     b"16:26:40", b"T", b"Z", b"nan", b"-", b"e", b"1", b"secs", b"nanos", b"\xff", b"\0", b"[", b"{", b"}", b"]", b":",
     b"PDT", b"+07:00", b"01/02/2015", b"date", b"1e999", b"\x89HDF\r\n\x1a\n", b'"meta"', b'"data"', b'"secs"']
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.lists(_PIECES, max_size=40).map(b"".join), st.booleans())
@example(b"time,a\n" + b"9" * 400 + b",1\n", True)
def test_any_bytes_are_a_table_or_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, zone: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes.csv"
    path.write_bytes(data)
    try:
        found = read_table(path, ReadOptions(zone="America/Los_Angeles" if zone else ""))
    except PsanaError as error:
        assert "bytes.csv" in str(error)
    else:
        times = found.times.astype(np.int64)
        assert (np.diff(times) > 0).all()
        assert all(len(field.values) == len(found) for field in found.columns.values())
