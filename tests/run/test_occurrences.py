"""Where contributions occur: the native scan next to its twin in numpy, and tables that lead nowhere."""

import numpy as np
import pytest

from psanacli.run import GROUP, _occurrences
from psanacli.xtc import DATAGRAM


def tables(seed: int, groups: int = 200, patterns: int = 7) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return datagrams, groups and members of random groups."""
    random = np.random.default_rng(seed)
    counts = random.integers(0, 4, groups)
    total = int(counts.sum())
    datagrams = np.zeros(total, DATAGRAM)
    datagrams["pattern"] = random.integers(0, patterns, total)
    datagrams["damage"] = random.integers(0, 2, total)
    table = np.zeros(groups, GROUP)
    table["count"], table["first"] = counts, np.cumsum(counts) - counts
    table["action"] = random.integers(0, 12, groups)
    return datagrams, table, random.permutation(total).astype(np.int32)


def twin(datagrams, groups, members, owners, actions, first, stop):
    """Return the same with a loop for each level."""
    found = []
    for group in range(first, stop):
        row = groups[group]
        for member in range(row["first"], row["first"] + row["count"]) if actions >> int(row["action"]) & 1 else ():
            pattern = datagrams["pattern"][members[member]]
            found += [(member, group, index) for index, owner in enumerate(owners.tolist()) if owner == pattern]
    return np.array(found, np.int32).reshape(-1, 3).T


@pytest.mark.parametrize("seed", range(5))
def test_the_scan_finds_what_a_plain_loop_finds(seed):
    made = tables(seed)
    owners = np.array([1, 1, 3, 6, 9], np.int64)  # two contributions of one pattern, and one that no datagram has
    scan = _occurrences.Tables(*made)
    for actions, first, stop in ((1 << 5, 0, 200), (0xFFF, 17, 90), (0xAA, 90, 90)):
        found = np.array(scan.find(owners, actions, first, stop))
        np.testing.assert_array_equal(found, twin(*made, owners, actions, first, stop))


@pytest.mark.parametrize("seed", range(3))
def test_places_of_occurrences(seed):
    datagrams, groups, members = tables(seed)
    datagrams["offset"] = np.arange(len(datagrams)) * 1000
    groups["event"] = np.arange(len(groups)) * 3
    owners, shifts = np.array([1, 1, 3, 6, 9], np.int64), np.array([20, 40, 60, 80, 100])
    scan = _occurrences.Tables(datagrams, groups, members)
    for actions, first, stop in ((0xFFF, 0, 200), (1 << 5, 17, 90), (0, 0, 200)):
        member, group, index = twin(datagrams, groups, members, owners, actions, first, stop)
        found = scan.place(owners, shifts, actions, first, stop)
        rows = members[member]
        wanted = member, index, rows, groups["event"][group], datagrams["offset"][rows].astype(np.int64) + shifts[index]
        for some, expected in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(some, expected)
    with pytest.raises(ValueError, match="a shift for each"):
        scan.place(owners, shifts[:3], 0xFFF, 0, 200)


def test_groups_that_share_members_are_an_error():
    datagrams, groups, members = tables(4)
    groups["first"], groups["count"], groups["action"] = 0, len(members), 5
    with pytest.raises(ValueError, match="outside"):
        _occurrences.Tables(datagrams, groups, members).find(np.arange(7), 1 << 5, 0, 200)


def test_patterns_in_groups_are_counted():
    datagrams, groups, members = tables(7)
    inside = np.repeat(groups["action"] == 5, groups["count"])
    used, damaged = _occurrences.Tables(datagrams, groups, members).patterns(7, 1 << 5)
    np.testing.assert_array_equal(used, np.bincount(datagrams["pattern"][members[inside]], minlength=7))
    assert damaged == np.count_nonzero(datagrams["damage"][members[inside]])


def test_nothing_to_look_for_or_in():
    made = tables(3)
    assert [len(each) for each in _occurrences.Tables(*made).find(np.zeros(0, np.int64), 0xFFF, 0, 200)] == [0, 0, 0]
    empty = _occurrences.Tables(*(each[:0] for each in made))
    assert len(empty.find(np.arange(3), 0xFFF, 0, 0)[0]) == 0
    assert empty.patterns(2, 0xFFF)[0].tolist() == [0, 0]


@pytest.mark.parametrize("seed", range(3))
def test_the_next_group_that_does_something(seed):
    datagrams, groups, members = tables(seed)
    scan = _occurrences.Tables(datagrams, groups, members)
    wanted = np.flatnonzero(np.isin(groups["action"], (5, 7)))
    mixed = np.random.default_rng(seed).integers(0, 200, 50)
    for numbers in (np.arange(200), mixed, np.repeat(np.arange(0, 200, 3), 2)):
        found = scan.following(numbers, 1 << 5 | 1 << 7)
        np.testing.assert_array_equal(found, np.append(wanted, 200)[np.searchsorted(wanted, numbers)])


def test_weights_of_patterns_are_summed_by_group():
    datagrams, groups, members = tables(5)
    weights = np.array([1, 10, 100, 1000, 0, 0, 7])
    numbers = np.array([0, 3, 3, 199], np.int32)
    sums = _occurrences.Tables(datagrams, groups, members).weigh(weights, numbers)
    rows = [members[row["first"] : row["first"] + row["count"]] for row in groups[numbers]]
    assert sums.tolist() == [int(weights[datagrams["pattern"][row]].sum()) for row in rows]


@pytest.mark.parametrize("broken", ["members", "groups", "range"])
def test_tables_that_lead_outside_are_an_error(broken):
    datagrams, groups, members = tables(4)
    if broken == "members":
        members[:] = len(datagrams)
    elif broken == "groups":
        groups["first"] += 1000
    scan = _occurrences.Tables(datagrams, groups, members)
    with pytest.raises(ValueError, match="outside"):
        scan.find(np.arange(7), 0xFFF, 0, 201 if broken == "range" else 200)
