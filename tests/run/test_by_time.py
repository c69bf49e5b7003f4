"""Events by index: what has equal time and fiducial is one event, and its neighbours in time are its neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from psanacli.errors import UsageError
from psanacli.run import Action, Joining, Rules, build_groups
from psanacli.run.tables import Built, nest, steps_of
from psanacli.xtc import DATAGRAM, Transition

SPLIT = 2


def built(*streams: tuple[int, list[tuple[Any, ...]]]) -> Built:
    """Build events of streams: number, and datagrams (transition, seconds, fiducials, damage)."""
    rows = [datagram for _, datagrams in streams for datagram in datagrams]
    table = np.zeros(len(rows), DATAGRAM)
    for row, (kind, seconds, fiducials, *damage) in zip(table, rows, strict=True):
        row["seconds"], row["stamp_low"], row["stamp_high"] = seconds, kind << 24, fiducials
        row["damage"] = damage[0] if damage else 0
    starts = np.cumsum([0, *(len(datagrams) for _, datagrams in streams)])
    numbers = np.array([number for number, _ in streams], np.uint32)
    return build_groups(table, starts, numbers, np.zeros(1, np.uint8), Rules(joining=Joining.TIMES), 7)


def event(seconds: int, fiducials: int, damage: int = 0) -> tuple[Any, ...]:
    return Transition.L1Accept, seconds, fiducials, damage


def members(found: Built) -> list[list[int]]:
    chosen = found.groups[found.groups["action"] == Action.EVENT]
    return [found.members[group["first"] : group["first"] + group["count"]].tolist() for group in chosen]


CONFIGURE = (Transition.Configure, 1, 0x1FFFF)
RUN = (Transition.BeginRun, 2, 0x1FFFF)


def test_split_and_late_events_are_joined_and_sorted() -> None:
    found = built(
        (0, [CONFIGURE, RUN, event(12, 30), event(10, 10), event(10, 10, SPLIT)]), (1, [event(11, 20), event(12, 30)])
    )
    assert members(found) == [[3, 4], [5], [2, 6]]
    assert found.events["seconds"].tolist() == [10, 11, 12]
    assert found.events["run"].tolist() == [7, 7, 7]
    assert (found.counts["late"], found.counts["split"], found.counts["repeated"]) == (1, 1, 0)


def test_control_streams_join_by_fiducial_within_five_seconds() -> None:
    found = built(
        (0, [CONFIGURE, event(100, 10), event(104, 10), event(110, 20)]),
        (80, [CONFIGURE, event(103, 10), event(105, 20), event(104, 20), event(115, 20)]),
    )
    assert members(found) == [[1], [2, 5], [3, 6, 8]]
    assert found.counts["unmatched_control"] == 1
    lonely = found.groups[found.groups["action"] == Action.UNMATCHED]
    assert found.members[lonely["first"]].tolist() == [7]
    place = np.flatnonzero(found.groups["action"] == Action.UNMATCHED)[0]
    assert place == found.events["group"][-1] + 1, "behind the last of its stream that has an event"


def test_without_fiducial_there_is_no_event_and_the_next_one_is_found() -> None:
    found = built((0, [CONFIGURE, event(10, 0x1FFFF), event(11, 5)]))
    assert members(found) == [[2]]
    assert found.counts["bad_fiducials"] == 1


def test_an_event_belongs_to_the_last_begin_before_it() -> None:
    begins = [(Transition.BeginCalibCycle, seconds, 0x1FFFF) for seconds in (10, 20, 20, 30)]
    ends = [(Transition.EndCalibCycle, seconds, 0x1FFFF) for seconds in (18, 28)]
    first = [CONFIGURE, RUN, begins[0], event(9, 1), event(19, 2), ends[0], begins[1], begins[2], event(20, 3), ends[1]]
    found = built((0, [*first, begins[3]]), (1, [event(21, 4), event(31, 5)]))
    steps = steps_of(nest(found.groups))
    assert [(step["first"], step["stop"]) for step in steps] == [(0, 3), (3, 4), (4, 5)]
    assert found.counts["repeated_transitions"] == 1


@pytest.mark.parametrize("kinds", [[], [CONFIGURE], [RUN, CONFIGURE], [(Transition.Map, 0, 0x1FFFF), CONFIGURE, RUN]])
def test_missing_transitions_do_not_matter(kinds: list[tuple[Any, ...]]) -> None:
    found = built((0, kinds), (3, [event(5, 1), event(6, 4)]), (81, [CONFIGURE, event(5, 1)]))
    assert len(found.events) == 2
    assert len(steps_of(nest(found.groups))) == 1


def test_no_datagrams_no_events() -> None:
    for streams in ([], [(0, [])], [(80, [])]):
        found = built(*streams)
        assert (len(found.events), len(found.groups), len(found.members)) == (0, 0, 0)
    assert len(built((80, [event(1, 2)])).events) == 1, "a run of control streams only"


def test_options_that_count_events_as_they_come_are_errors() -> None:
    with pytest.raises(UsageError, match=r"run\.events"):
        Rules(joining=Joining.TIMES, max_events=5)
    with pytest.raises(UsageError, match="there are streams and times"):
        Rules(joining="sideways")  # type: ignore[arg-type]
    assert Rules(joining="times").joining is Joining.TIMES  # type: ignore[arg-type]
