"""Building events: each rule an example, on tables of headers made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psanacli.errors import UsageError
from psanacli.run import DELIVERED, Action, Built, EventFlag, Rules, build_groups, nest
from psanacli.xtc import DATAGRAM, MAX_FIDUCIALS, Transition

L1 = Transition.L1Accept
NO_CONTENT, FULL, EPICS_ONLY = 0, 1, 2
ONLY_EPICS = np.array([1, 0, 1], np.uint8)  # for each of the three patterns


def head(service: Transition, clock: float, fiducials: int = 0x1FFFF, **words: Any) -> dict[str, Any]:
    """A header; `clock` in seconds with up to nine digits."""
    seconds, nanoseconds = divmod(round(clock * 1_000_000_000), 1_000_000_000)
    return {
        "seconds": seconds, "nanoseconds": nanoseconds, "stamp_low": service << 24, "stamp_high": fiducials,
        "pattern": FULL, **words
    }  # fmt: skip


def event(clock: float, fiducials: int, **words: Any) -> dict[str, Any]:
    return head(L1, clock, fiducials, **words)


def transitions(*clocks: tuple[Transition, float]) -> list[dict[str, Any]]:
    return [head(service, clock) for service, clock in clocks]


BEGIN = transitions((Transition.Configure, 1), (Transition.BeginRun, 2), (Transition.BeginCalibCycle, 3))
END = transitions((Transition.EndCalibCycle, 900), (Transition.EndRun, 901), (Transition.Unconfigure, 902))


def table_of(streams: dict[int, list[dict[str, Any]]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows = [row for heads in streams.values() for row in heads]
    table = np.zeros(len(rows), DATAGRAM)
    for i, row in enumerate(rows):
        for name, value in row.items():
            table[name][i] = value
    starts = np.cumsum([0, *(len(heads) for heads in streams.values())]).astype(np.int64)
    return table, starts, np.array(list(streams), np.uint32)


class Result:
    """What was built, in words."""

    def __init__(self, streams: dict[int, list[dict[str, Any]]], rules: Rules) -> None:
        self.table, self.starts, self.numbers = table_of(dict(sorted(streams.items())))
        self.built: Built = build_groups(self.table, self.starts, self.numbers, ONLY_EPICS, rules)

    def streams_of(self, group: np.void) -> tuple[int, ...]:
        members = self.built.members[group["first"] : group["first"] + group["count"]]
        return tuple(int(self.numbers[np.searchsorted(self.starts, row, side="right") - 1]) for row in members)

    @property
    def events(self) -> list[tuple[float, int, tuple[int, ...]]]:
        """Clock, fiducials and streams of each event."""
        groups = self.built.groups[self.built.events["group"]]
        return [
            (row["seconds"] + row["nanoseconds"] / 1e9, int(row["fiducials"]), self.streams_of(group))
            for row, group in zip(self.built.events, groups, strict=True)
        ]

    @property
    def fiducials(self) -> list[int]:
        return [fiducials for _, fiducials, _ in self.events]

    @property
    def actions(self) -> list[Action]:
        return [Action(int(action)) for action in self.built.groups["action"]]


def build(streams: dict[int, list[dict[str, Any]]], **rules: Any) -> Result:
    return Result(streams, replace(Rules(), **rules))


def run_of(*events: dict[str, Any]) -> list[dict[str, Any]]:
    return [*BEGIN, *events, *END]


def test_streams_take_turns() -> None:
    result = build({0: run_of(event(10, 30), event(12, 90)), 1: run_of(event(11, 60), event(13, 120))})
    assert result.events == [(10, 30, (0,)), (11, 60, (1,)), (12, 90, (0,)), (13, 120, (1,))]
    assert result.actions[:3] == [Action.BEGIN_JOB, Action.BEGIN_RUN, Action.BEGIN_STEP]
    assert result.streams_of(result.built.groups[0]) == (0, 1)


def test_a_late_datagram_is_put_in_its_place() -> None:
    result = build({0: run_of(event(10, 30), event(12, 90), event(11, 60))})
    assert result.fiducials == [30, 60, 90]
    assert result.built.counts["late"] == 1


def test_what_is_more_than_the_queue_too_late_stays() -> None:
    later = [event(20 + i, 300 + 3 * i) for i in range(25)]
    result = build({0: run_of(*later[:19], event(10, 30), *later[19:])})
    assert result.fiducials[0] == 30, "19 places are within the queue of 20"
    result = build({0: run_of(*later, event(10, 30))})
    assert result.fiducials[:6] == [300, 303, 306, 309, 312, 315], "what has left the queue is out of reach"
    assert result.fiducials[6] == 30
    result = build({80: run_of(*later, event(10, 30))})
    assert result.fiducials[0] == 30, "a control stream has a queue of 40"


def test_a_late_event_does_not_pass_a_transition() -> None:
    step = transitions((Transition.EndCalibCycle, 50), (Transition.BeginCalibCycle, 51))
    result = build({0: [*BEGIN, event(40, 300), *step, event(39, 297), *END]})
    assert result.fiducials == [300, 297]


def test_the_second_part_of_a_split_event_comes_before_the_first() -> None:
    result = build(
        {0: run_of(event(10, 30), event(11, 60), event(10, 30, damage=2, pattern=EPICS_ONLY))}, skip_epics_only=False
    )
    assert result.fiducials == [30, 30, 60]
    assert result.built.counts["split"] == 1
    assert [bool(flags & EventFlag.SPLIT) for flags in result.built.events["flags"]] == [True, False, False]


def test_equal_clocks_in_a_daq_stream_are_two_events() -> None:
    result = build({0: run_of(event(10, 30), event(10, 33), event(11, 60))})
    assert result.fiducials == [30, 33, 60]
    assert result.built.counts["repeated"] == 1


def test_equal_clocks_in_a_control_stream_go_both() -> None:
    """Followed as recorded: when the equal one is not the last, the one behind it goes in its place."""
    result = build({80: run_of(event(10, 30), event(10, 30), event(11, 60))})
    assert result.fiducials == [60]
    assert result.built.counts["dropped"] == 2
    result = build({80: run_of(event(10, 30), event(11, 60), event(10, 30))})
    assert result.fiducials == [30]


def test_control_streams_join_by_fiducials_whatever_their_clocks() -> None:
    daq, slow, fast = event(100, 500), event(99, 500), event(103, 500)
    result = build({0: run_of(daq), 80: run_of(fast), 81: run_of(slow)})
    assert result.events == [(100, 500, (0, 80, 81))]


def test_clocks_further_apart_than_allowed_are_two_events() -> None:
    """Fiducials repeat after 364 seconds."""
    streams = {0: run_of(event(100, 500)), 80: run_of(event(185, 500))}
    assert len(build(streams).events) == 2
    assert len(build(streams, max_clock_difference=86).events) == 1


def test_daq_streams_are_never_joined() -> None:
    result = build({0: run_of(event(10, 30)), 5: run_of(event(10, 30))})
    assert result.events == [(10, 30, (0,)), (10, 30, (5,))]


def test_a_control_stream_joins_any_of_two_daq_datagrams_beside_it() -> None:
    result = build({0: run_of(event(10, 30)), 80: run_of(event(10, 30)), 81: run_of(event(10, 30))})
    assert result.events == [(10, 30, (0, 80, 81))]


def test_an_event_of_control_data_alone() -> None:
    result = build({0: run_of(event(10, 30)), 80: run_of(event(11, 60))})
    assert [streams for _, _, streams in result.events] == [(0,), (80,)]
    assert result.built.counts["unmatched_control"] == 1
    assert result.built.counts["unmatched_daq"] == 1


def test_fiducials_wrap() -> None:
    last = MAX_FIDUCIALS - 3
    result = build(
        {0: run_of(event(10, last)), 1: run_of(event(10.008, 0)), 80: run_of(event(10, last), event(10.1, 0))}
    )
    assert [(fiducials, streams) for _, fiducials, streams in result.events] == [(last, (0, 80)), (0, (1, 80))]


@pytest.mark.parametrize("fiducials", [0x1FFFF, 0x1FFE0, 0x1FFF0])
def test_an_event_without_fiducial_is_left_out(fiducials: int) -> None:
    result = build({0: run_of(event(10, 30), event(11, fiducials), event(12, 90))})
    assert result.fiducials == [30, 90]
    assert result.built.counts["bad_fiducials"] == 1


def test_enable_and_disable_never_are_given_out() -> None:
    pause = transitions((Transition.Disable, 20), (Transition.Enable, 21))
    result = build({0: [*BEGIN, event(10, 30), *pause, event(22, 90), *END]})
    assert not set(result.built.groups["service"]) & {Transition.Enable, Transition.Disable}


def test_within_a_block_transitions_come_before_events() -> None:
    """A stream without steps is in the first block to its end."""
    lacking = [BEGIN[0], BEGIN[1], event(60, 300), END[1]]
    steps = transitions((Transition.EndCalibCycle, 50), (Transition.BeginCalibCycle, 51))
    result = build({0: [*BEGIN, event(40, 200), *steps, event(61, 303), *END], 80: lacking})
    assert [streams for _, _, streams in result.events] == [(0,), (80,), (0,)]
    assert Action.BEGIN_STEP in result.actions


def test_repeated_ends_of_a_step_count_once() -> None:
    twice = transitions(
        (Transition.EndCalibCycle, 50), (Transition.EndCalibCycle, 50.5), (Transition.BeginCalibCycle, 51)
    )
    once = transitions((Transition.EndCalibCycle, 50), (Transition.BeginCalibCycle, 51))
    result = build(
        {0: [*BEGIN, event(40, 200), *twice, event(60, 300), *END], 1: [*BEGIN, *once, event(61, 303), *END]}
    )
    assert result.fiducials == [200, 300, 303]


def test_a_repeated_transition_is_acted_on_once() -> None:
    once = build({0: [*BEGIN[:2], BEGIN[1], BEGIN[2], event(10, 30), *END], 1: run_of(event(11, 60))})
    assert once.actions.count(Action.BEGIN_RUN) == 1
    assert once.streams_of(once.built.groups[1]) == (0, 0, 1), "side by side they are one group"
    later = build({0: [*BEGIN, event(10, 30), END[0], BEGIN[2], event(11, 60), *END[1:]]})
    assert later.actions.count(Action.BEGIN_STEP) == 1
    assert later.built.counts["repeated_transitions"] == 1


def test_map_is_skipped_and_a_second_configure_is_not_delivered() -> None:
    start = transitions((Transition.Map, 0.5), *((Transition(h["stamp_low"] >> 24), h["seconds"]) for h in BEGIN))
    result = build({0: [*start, event(10, 30), *transitions((Transition.Configure, 20)), event(30, 90), *END]})
    assert result.actions == [
        Action.NOTHING, Action.BEGIN_JOB, Action.BEGIN_RUN, Action.BEGIN_STEP, Action.EVENT, Action.CONFIGURE,
        Action.EVENT,        Action.END_STEP, Action.END_RUN, Action.NOTHING,
    ]  # fmt: skip


def test_the_run_number_is_that_of_begin_run() -> None:
    begin = [BEGIN[0], head(Transition.BeginRun, 2, env=54), BEGIN[2]]
    result = build({0: [*begin, event(10, 30), *END, event(950, 60)]})
    assert result.built.events["run"].tolist() == [54, 0], "the end of the run forgets it"


TRIMMED = 1 << 31


def test_events_that_the_trigger_trimmed() -> None:
    streams = {0: run_of(event(10, 30, env=TRIMMED), event(11, 60)), 80: run_of(event(10, 30), event(12, 90))}
    result = build(streams)
    assert result.fiducials == [60, 90], "control streams do not count, unless they are alone"
    assert result.actions.count(Action.TRIMMED) == 1
    assert build(streams, l3_accept_only=False).fiducials == [30, 60, 90]


def test_events_with_nothing_but_epics() -> None:
    streams = {0: run_of(event(10, 30, pattern=EPICS_ONLY), event(11, 60, pattern=NO_CONTENT), event(12, 90))}
    assert build(streams).fiducials == [90]
    assert build(streams, skip_epics_only=False).fiducials == [30, 60, 90]


def test_some_events_only() -> None:
    streams = {0: run_of(*(event(10 + i, 30 * i) for i in range(1, 9)))}
    assert build(streams, skip_events=2).fiducials == [90, 120, 150, 180, 210, 240]
    result = build(streams, skip_events=2, max_events=3)
    assert result.fiducials == [90, 120, 150]
    assert Action.LIMIT in result.actions
    assert build(streams, max_events=0).fiducials == []


def test_which_streams_are_control_streams_can_be_said() -> None:
    streams = {0: run_of(event(10, 30)), 5: run_of(event(14, 30))}
    assert len(build(streams).events) == 2
    assert build(streams, first_control_stream=5).events == [(10, 30, (0, 5))]


@pytest.mark.parametrize("wrong", [{"max_clock_difference": 0}, {"max_clock_difference": 40000}, {"skip_events": -1}])
def test_wrong_rules_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        Rules(**wrong)


def test_nothing_at_all() -> None:
    result = build({})
    assert len(result.built.groups) == len(result.events) == 0
    assert len(nest(result.built.groups)) == 0


def test_nesting_supplies_what_is_missing() -> None:
    result = build({0: [BEGIN[0], event(10, 30), *transitions((Transition.BeginRun, 20)), event(21, 60)]})
    kinds = [(Action(int(row["kind"])).name, bool(row["given"])) for row in nest(result.built.groups)]
    assert kinds == [
        ("BEGIN_RUN", False), ("BEGIN_STEP", False), ("END_STEP", False), ("END_RUN", False), ("BEGIN_RUN", True),
        ("BEGIN_STEP", False), ("END_STEP", False), ("END_RUN", False),
    ]  # fmt: skip


HEADS = st.builds(
    lambda service, seconds, nanoseconds, fiducials, damage, env, pattern: {
        "seconds": seconds, "nanoseconds": nanoseconds, "stamp_low": service << 24, "stamp_high": fiducials,
        "damage": damage,        "env": env, "pattern": pattern,
    },
    st.sampled_from([12] * 12 + list(range(16))),
    st.one_of(st.integers(0, 300), st.integers(0, 0xFFFFFFFF)),
    st.integers(0, 2),
    st.one_of(st.integers(0, 12), st.integers(0, 0xFFFFFFFF)),
    st.sampled_from([0, 0, 0, 2, 0xFFFFFFFF]),
    st.sampled_from([0, 1, TRIMMED]),
    st.integers(0, 2),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.integers(0, 100), st.lists(HEADS, max_size=60), max_size=9),
    st.integers(1, 100),
    st.integers(0, 100),
    st.integers(0, 5),
    st.one_of(st.none(), st.integers(0, 20)),
)
def test_whatever_the_headers_say(
    streams: dict[int, list[dict[str, Any]]], difference: int, control: int, skip: int, limit: int | None
) -> None:
    rules = {
        "max_clock_difference": difference,
        "first_control_stream": control,
        "skip_events": skip,
        "max_events": limit,
    }
    result = build(streams, **rules)
    groups, members = result.built.groups, result.built.members
    assert len(np.unique(members)) == len(members), "no datagram is in two groups"
    assert groups["count"].sum() == len(members)
    assert (groups["count"] > 0).all()
    counts = result.built.counts
    lost = int(np.isin(result.table["stamp_low"] >> 24, (10, 11)).sum()) + counts["dropped"] + counts["bad_fiducials"]
    assert len(result.table) - lost <= len(members) <= len(result.table)
    events = result.built.events
    assert (groups["event"][events["group"]] == np.arange(len(events))).all()
    if limit is not None:
        assert len(events) <= limit
    for group in groups:
        numbers = result.streams_of(group)
        assert list(numbers) == sorted(numbers)
    listed = nest(groups)
    depth = 0
    for row in listed:
        depth += {Action.BEGIN_RUN: 1, Action.BEGIN_STEP: 1, Action.END_STEP: -1, Action.END_RUN: -1}[
            Action(int(row["kind"]))
        ]
        assert 0 <= depth <= 2
    assert depth == 0
    assert Action.EVENT in DELIVERED
