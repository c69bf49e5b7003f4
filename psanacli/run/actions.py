"""What the groups of a run do, and what events are made of."""

from __future__ import annotations

import enum


class Action(enum.IntEnum):
    """What a group does.  The first eight are *delivered*: they are seen by whoever goes through a run."""

    NOTHING = 0
    BEGIN_JOB = 1
    CONFIGURE = 2
    BEGIN_RUN = 3
    BEGIN_STEP = 4
    EVENT = 5
    END_STEP = 6
    END_RUN = 7
    TRIMMED = 8
    EPICS_ONLY = 9
    SKIPPED = 10
    LIMIT = 11
    UNMATCHED = 12


class EventFlag(enum.IntFlag):
    """What an event is made of; the field ``flags`` of `EVENT`."""

    DAQ = 1
    """Has a datagram of a DAQ stream."""
    CONTROL = 2
    """Has a datagram of a control stream."""
    TRIMMED = 4
    """A DAQ datagram was trimmed: detector data were removed because the level-3 trigger said fail."""
    DAMAGED = 8
    """A datagram has a damage word."""
    SPLIT = 16
    """A DAQ datagram is marked as part of a split event."""


__all__ = ["Action", "EventFlag"]
