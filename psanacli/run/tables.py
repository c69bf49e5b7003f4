"""The tables of a run: datagrams of all files, groups, events, transitions and steps.

`build_groups` joins the datagrams of all streams by the rules of the format (`_build` is the native core), `nest` gives
the order of runs, steps and events.  Nothing here reads a payload.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from psanacli import large
from psanacli.errors import UsageError
from psanacli.run import _build, by_time
from psanacli.run._build import EVENT, GROUP
from psanacli.run.actions import Action, EventFlag
from psanacli.run.files import FIRST_CONTROL_STREAM
from psanacli.xtc import DATAGRAM

Rows = NDArray[Any]

MAX_CLOCK_DIFFERENCE = 85
"""Seconds by which the clocks of two streams may differ in one event; fiducials repeat after 364 s."""


class Joining(enum.StrEnum):
    """The two ways to form events."""

    STREAMS = "streams"
    """The streams are merged, and neighbours joined: what sequential reading delivers (format, 10.3-10.5)."""
    TIMES = "times"
    """What has equal time and fiducial is one event: what the index mode (``idx``) delivers (10.9)."""


TRANSITION = np.dtype([("kind", "u1"), ("given", "?"), ("group", "<i8"), ("event", "<i8"), ("run", "<u4")])
"""A row of the list of transitions: an `Action`, whether the data have it (else it was supplied to make the nesting
complete), the group that caused it (-1: the end of the data), the number of events before it, the run number."""

STEP = np.dtype([("first", "<i8"), ("stop", "<i8"), ("group", "<i8"), ("part", "<i4"), ("run", "<u4")])
"""A row of the step table: events ``first:stop``, the group of its BeginCalibCycle (-1 when there is none), the number
of the BeginRun it belongs to, the run number."""


@dataclass(frozen=True)
class Rules:
    """How a run is put together.

    Attributes
    ----------
    first_control_stream : int
        Streams from this number on are control streams, matched with the others by fiducials.
    first_control_content : int or None
        The same for the order in which contents are stored and for the level-3 trigger; None: as the former.
    max_clock_difference : int
        Seconds by which the clocks of datagrams of one event may differ.
    l3_accept_only : bool
        Leave out events whose DAQ data were all trimmed by the level-3 trigger.
    skip_epics_only : bool
        Leave out events with nothing but EPICS records in them.
    skip_events, max_events : int, int or None
        Leave out the first ones; end after so many more.
    store_out_of_order : bool
        Show objects with the damage OutOfOrder alone.
    store_user_ebeam : bool
        Show EBeam objects with user damage, which says which of its values are bad.
    joining : Joining
        Which datagrams are one event.  By ``TIMES`` nothing is left out, so the options that do so have no effect, and
        those that count events are errors.  A data source with ``idx`` sets it.
    """

    first_control_stream: int = FIRST_CONTROL_STREAM
    first_control_content: int | None = None
    max_clock_difference: int = MAX_CLOCK_DIFFERENCE
    l3_accept_only: bool = True
    skip_epics_only: bool = True
    skip_events: int = 0
    max_events: int | None = None
    store_out_of_order: bool = False
    store_user_ebeam: bool = True
    joining: Joining = Joining.STREAMS

    def __post_init__(self) -> None:
        if not 0 < self.max_clock_difference < 32760:
            raise UsageError(f"max_clock_difference is {self.max_clock_difference}; expected 1 to 32759 seconds")
        if (
            self.first_control_stream < 0
            or self.skip_events < 0
            or (self.max_events is not None and self.max_events < 0)
        ):
            raise UsageError("stream numbers and numbers of events cannot be negative")
        if self.joining not in [*Joining]:
            raise UsageError(f"joining is {self.joining!r}", f"there are {' and '.join(Joining)}")
        object.__setattr__(self, "joining", Joining(self.joining))
        if self.joining is Joining.TIMES and (self.skip_events or self.max_events is not None):
            raise UsageError(
                "skip_events and max_events count events as they come; by index (idx) any can be reached",
                "take some of the events: run.events[10:20]",
            )

    @property
    def control_content(self) -> int:
        """Streams from this number on count as control streams when contents are stored."""
        return self.first_control_stream if self.first_control_content is None else self.first_control_content


DEFAULT_RULES = Rules()


@dataclass
class Counters:
    """What was irregular in a run; all zero for a perfect one.

    Attributes
    ----------
    late : int
        Datagrams that stood later in their stream than their clock says, and were put in their place.
    split : int
        Second parts of split events.
    repeated : int
        Datagrams of DAQ streams with the clock of another one of the same stream, both kept.
    dropped : int
        Datagrams of control streams with equal clocks in pairs, none of which is kept.
    bad_fiducials : int
        Datagrams of events whose fiducial is unknown; left out.
    repeated_transitions : int
        Transitions with the clock of the one before of the same kind; left out.
    unmatched_control, unmatched_daq : int
        Events with datagrams of control streams only (by index such datagrams, no event); of DAQ streams only.
    trimmed, epics_only, skipped : int
        Events left out: failed by the level-3 trigger, with nothing but EPICS, by the option ``skip_events``.
    damaged_datagrams, damaged_contributions, dropped_contributions : int
        With a damage word in the header; in the header of a contribution; contributions that are missing.
    damage_kinds : dict
        Number of damaged contributions by name of the damage bit.
    truncated_files, missing_chunks : int
        Files that end before their last datagram does; gaps in the chunks of a stream.
    """

    late: int = 0
    split: int = 0
    repeated: int = 0
    dropped: int = 0
    bad_fiducials: int = 0
    repeated_transitions: int = 0
    unmatched_control: int = 0
    unmatched_daq: int = 0
    trimmed: int = 0
    epics_only: int = 0
    skipped: int = 0
    damaged_datagrams: int = 0
    damaged_contributions: int = 0
    dropped_contributions: int = 0
    damage_kinds: dict[str, int] = field(default_factory=dict)
    truncated_files: int = 0
    missing_chunks: int = 0


@dataclass(frozen=True, eq=False)
class Built:
    """What `build_groups` gives.

    Attributes
    ----------
    members : ndarray of int32
        Rows of the datagram table, group by group, in a group by stream.
    groups : ndarray of `GROUP`
        Slices of the members.
    events : ndarray of `EVENT`
        Those groups that are events, steps excepted.
    counts : dict of str to int
        What was irregular.
    """

    members: NDArray[np.int32]
    groups: Rows
    events: Rows
    counts: dict[str, int]


def build_groups(
    datagrams: Rows,
    starts: NDArray[np.int64],
    numbers: NDArray[np.uint32],
    only_epics: NDArray[np.uint8],
    rules: Rules = DEFAULT_RULES,
    number: int = 0,
) -> Built:
    """Join the datagrams of all streams of a run to groups, in the order in which they are delivered.

    Parameters
    ----------
    datagrams : ndarray of `DATAGRAM`
        All rows, stream after stream, chunk after chunk.
    starts : ndarray of int64, shape (number of streams + 1,)
        Stream ``s`` has the rows ``starts[s]:starts[s + 1]``.
    numbers : ndarray of uint32
        Numbers of the streams, ascending.
    only_epics : ndarray of uint8
        For each pattern: whether it has nothing but containers and EPICS records.
    rules : Rules
        How to join.
    number : int
        Run number of events without one of their own.

    Returns
    -------
    Built
        A group is a transition of all streams with its clock, or an event: DAQ and control datagrams with the
        same fiducial.
    """
    if rules.joining is Joining.TIMES:
        return Built(*by_time.build(datagrams, starts, numbers, rules.first_control_stream, number))
    members, groups, events, counts = _build.build(
        np.ascontiguousarray(datagrams, DATAGRAM),
        np.ascontiguousarray(starts, np.int64),
        np.ascontiguousarray(numbers, np.uint32),
        np.ascontiguousarray(only_epics, np.uint8),
        max_difference=rules.max_clock_difference,
        first_control=rules.first_control_stream,
        first_control_content=rules.control_content,
        accept_only=rules.l3_accept_only,
        skip_epics=rules.skip_epics_only,
        skip=rules.skip_events,
        limit=-1 if rules.max_events is None else rules.max_events,
        run_number=number,
        room=large.empty,
    )
    return Built(members, groups, events, counts)


@dataclass(frozen=True, eq=False)
class Assembly:
    """How the datagrams of a run are joined: groups and events, in steps.

    Attributes
    ----------
    members, groups, events, counts
        As in `Built`, with the steps of the events.
    transitions : ndarray of `TRANSITION`
        In complete nesting.
    steps : ndarray of `STEP`
    """

    members: NDArray[np.int32]
    groups: Rows
    events: Rows
    counts: dict[str, int]
    transitions: Rows
    steps: Rows

    @classmethod
    def of(cls, built: Built) -> Self:
        """Add steps."""
        transitions = nest(built.groups)
        steps = steps_of(transitions)
        for step in range(len(steps)):
            built.events["step"][steps["first"][step] : steps["stop"][step]] = step
        return cls(built.members, built.groups, built.events, built.counts, transitions, steps)


def times_of(rows: Rows) -> NDArray[np.datetime64]:
    """Return the times of rows with ``seconds`` and ``nanoseconds``, datetime64[ns], UTC."""
    return np.asarray(rows["seconds"].astype(np.int64) * 1_000_000_000 + rows["nanoseconds"]).astype("datetime64[ns]")


def nest(groups: Rows) -> Rows:
    """Return the transitions of a run in complete nesting: ``(run (step)* )*``; what is missing is supplied.

    An event outside of a step opens run and step; a BeginRun or BeginCalibCycle inside of one closes it first; at the
    end of the data what is open is closed.  An end without a beginning is left out.
    """
    found: list[tuple[int, bool, int, int, int]] = []
    running = stepping = False
    for group, event in _turns(groups):
        kind = Action(int(groups["action"][group]))
        run = int(groups["run"][group])

        def add(what: Action, given: bool = False, group: int = group, event: int = event, run: int = run) -> None:
            found.append((what, given, group, event, run))

        if kind in (Action.BEGIN_RUN, Action.BEGIN_STEP, Action.END_RUN, Action.LIMIT) and stepping:
            add(Action.END_STEP)
            stepping = False
        if kind in (Action.BEGIN_RUN, Action.END_RUN, Action.LIMIT) and running:
            add(Action.END_RUN, kind is Action.END_RUN)
            running = False
        if kind is Action.END_STEP and stepping:
            add(Action.END_STEP, True)
            stepping = False
        if kind in (Action.BEGIN_RUN, Action.BEGIN_STEP, Action.EVENT) and not running:
            add(Action.BEGIN_RUN, kind is Action.BEGIN_RUN)
            running = True
        if kind in (Action.BEGIN_STEP, Action.EVENT) and not stepping:
            add(Action.BEGIN_STEP, kind is Action.BEGIN_STEP)
            stepping = True
    run = found[-1][4] if found else 0
    events = int(np.count_nonzero(groups["action"] == Action.EVENT))
    if stepping:
        found.append((Action.END_STEP, False, -1, events, run))
    if running:
        found.append((Action.END_RUN, False, -1, events, run))
    return np.array(found, TRANSITION)


_TURNING = (Action.BEGIN_RUN, Action.BEGIN_STEP, Action.END_STEP, Action.END_RUN, Action.LIMIT)
_PART = 1 << 18


def _turns(groups: Rows) -> Iterator[tuple[int, int]]:
    """Give the groups that can change the nesting, with the number of events before each.

    Of the events only the first after a transition can.  Groups are looked at part by part: there may be millions.
    """
    events, after_event = 0, False
    for begin in range(0, len(groups), _PART):
        action = groups["action"][begin : begin + _PART]
        is_event = action == Action.EVENT
        before = events + np.cumsum(is_event) - is_event
        follows = np.concatenate(([after_event], is_event[:-1]))
        for place in np.flatnonzero(np.isin(action, _TURNING) | (is_event & ~follows)).tolist():
            yield begin + place, int(before[place])
        events, after_event = int(before[-1]) + int(is_event[-1]), bool(is_event[-1])


def steps_of(transitions: Rows) -> Rows:
    """Return the step table of the transitions of a run."""
    begins = transitions[transitions["kind"] == Action.BEGIN_STEP]
    ends = transitions[transitions["kind"] == Action.END_STEP]
    steps = np.zeros(len(begins), STEP)
    steps["first"] = begins["event"]
    steps["stop"] = ends["event"]
    steps["group"] = np.where(begins["given"], begins["group"], -1)
    parts = np.cumsum(transitions["kind"] == Action.BEGIN_RUN) - 1
    steps["part"] = parts[transitions["kind"] == Action.BEGIN_STEP]
    steps["run"] = begins["run"]
    return steps


__all__ = [
    "EVENT",
    "GROUP",
    "STEP",
    "TRANSITION",
    "Action",
    "Assembly",
    "Built",
    "Counters",
    "EventFlag",
    "Joining",
    "Rules",
    "build_groups",
    "nest",
    "steps_of",
]
