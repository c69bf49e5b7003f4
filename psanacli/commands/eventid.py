"""``psana eventid``: lists of events."""

from __future__ import annotations

from psanacli.commands import groups
from psanacli.commands.groups import Entry


@groups.group(
    {
        "list": Entry("List events with any columns: time, codes, damage, values of detectors."),
        "select": Entry("Print the ids of the events for which a condition holds."),
        "show": Entry("Tell all about one event: files, sources, damage, codes, scan, EPICS."),
        "save": Entry("Add events to a list in a file."),
        "combine": Entry("Print what two lists have in common, or together, or not in common."),
        "check": Entry("Tell which events of a list exist, and where."),
    },
    examples=[
        ("psana eventid select exp=xpptut15:run=54 --where 'code(140) and not damaged(EBeam)'", "events of interest"),
        ("psana eventid list exp=xpptut15:run=54 --columns number,EBeam.ebeamPhotonEnergy --tsv", "with values"),
        ("psana eventid save good.txt exp=xpptut15:run=54 --events 17", "remember an event"),
        ("psana eventid list exp=xpptut15:run=54 --events good.txt", "lists are understood wherever events are chosen"),
    ],
)
def command() -> None:
    """Find events, save their ids, and come back to them years later.

    A list is plain text, one event a line: experiment, run, time and fiducials. psana help events tells all of it, and
    psana help expressions the language of conditions.
    """
