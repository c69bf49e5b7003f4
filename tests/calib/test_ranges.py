"""Which of several ranges applies, which are hidden, and what a new one would hide."""

from __future__ import annotations

import random

import pytest

from psanacli.calib import Listing, RunRange
from psanacli.errors import UsageError


def listing(*ranges: str) -> Listing:
    return Listing.of([f"{text}.data" for text in ranges])


def chosen(found: Listing, run: int) -> str | None:
    entry = found.choose(run)
    return entry and entry.name.removesuffix(".data")


def test_the_table_of_the_rule() -> None:
    """The examples of the description of the format."""
    assert [chosen(listing("0-end", "10-20"), run) for run in (5, 10, 20, 21)] == ["0-end", "10-20", "10-20", "0-end"]
    assert [chosen(listing("0-end", "0-100"), run) for run in (0, 100, 101)] == ["0-100", "0-100", "0-end"]
    assert [chosen(listing("10-20", "15-end"), run) for run in (9, 14, 15, 99)] == [None, "10-20", "15-end", "15-end"]
    assert [chosen(listing("5-end"), run) for run in (4, 5)] == [None, "5-end"]


def test_of_two_names_of_a_range_the_plain_one_applies() -> None:
    """The original takes the one that the directory lists last, which nobody knows."""
    assert chosen(listing("001-end", "1-end"), 3) == "1-end"
    assert chosen(listing("01-end", "001-end"), 3) == "001-end"
    assert chosen(listing("5-end", "5-9999"), 9999) == "5-9999"
    assert chosen(listing("5-end", "5-9999"), 10_000) == "5-end"


def test_stretches_agree_with_the_rule_for_every_run() -> None:
    pick = random.Random(4)
    for _ in range(300):
        names = set()
        for _ in range(pick.randint(0, 7)):
            begin = pick.randint(0, 12)
            names.add(f"{begin}-{pick.choice(['end', pick.randint(0, 15)])}")
        found = listing(*names)
        by_run = {}
        for runs, entry in found.stretches():
            for run in range(runs.begin, min(runs.last, 30) + 1):
                assert run not in by_run
                by_run[run] = entry
        assert by_run == {run: found.choose(run) for run in range(31) if found.choose(run)}
        unreachable = {entry.name for entry in found.unreachable()}
        assert unreachable == {entry.name for entry in found.entries} - {entry.name for entry in by_run.values()}


def test_what_a_new_range_hides_is_what_changes() -> None:
    pick = random.Random(5)
    for _ in range(300):
        names = {f"{pick.randint(0, 9)}-{pick.choice(['end', 12, pick.randint(0, 15)])}" for _ in range(4)}
        begin = pick.randint(0, 9)
        new = RunRange(begin, pick.choice([None, begin + pick.randint(0, 5)]))
        before, after = listing(*names), listing(*{*names, str(new)})
        lost = {}
        for run in range(31):
            old, now = before.choose(run), after.choose(run)
            if old and now and old.name != now.name:
                lost.setdefault(old.name, []).append(run)
        told = {
            entry.name: [run for runs in ranges for run in range(runs.begin, min(runs.last, 30) + 1)]
            for entry, ranges in before.hidden_by(new)
        }
        assert told == lost
        reached = [run for runs in before.reach(new) for run in range(runs.begin, min(runs.last, 30) + 1)]
        assert reached == [run for run in range(31) if chosen(after, run) == str(new)]


def test_every_file_is_explained() -> None:
    found = listing("0-end", "0-100", "10-20", "30-end", "20-10", "010-20", "0-5")
    assert {entry.name: why for entry, why in found.explain(15)} == {
        "30-end.data": "begins behind run 15",
        "20-10.data": "the range is reversed: it never applies",
        "10-20.data": "applies",
        "010-20.data": "another name of the range of 10-20.data: the name without leading zeros wins",
        "0-5.data": "ends before run 15",
        "0-100.data": "begins at 0, 10-20.data at 10: the later begin wins",
        "0-end.data": "begins at 0, 10-20.data at 10: the later begin wins",
    }
    assert dict((e.name, why) for e, why in listing("0-9", "0-end").explain(1))["0-end.data"] == (
        "begins where 0-9.data does: the narrower range wins"
    )


def test_ranges_in_words() -> None:
    assert [str(RunRange.parse(text)) for text in ("5-end", "007-9", "12")] == ["5-end", "7-9", "12-12"]
    for wrong in ("", "-", "5-", "a-b", "1-2-3", "-5", "5-End", "٣-end", "1.5-3", "12345678901"):
        with pytest.raises(UsageError, match="is not a range of runs"):
            RunRange.parse(wrong)
    with pytest.raises(UsageError, match="reversed"):
        RunRange.parse("20-10")
