"""``psana eventid select``: ids of the events for which a condition holds."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from psanacli.commands import common, console, files
from psanacli.commands.following import Following
from psanacli.commands.joining import Joining


@common.verb(
    examples=[
        (
            "psana eventid select exp=xpptut15:run=54 --where 'code(140) and EBeam.ebeamPhotonEnergy > 9490'",
            "their ids",
        ),
        ("psana eventid select exp=xpptut15:run=54-60 --where 'damaged(cspad)' -o damaged.txt", "of several runs"),
        (
            "psana eventid select exp=xpptut15:run=54 --where 'step == 3' | "
            "psana translate exp=xpptut15:run=54 --events -",
            "translate only these",
        ),
        ("psana eventid select exp=xpptut15:run=54 --events old.txt --where 'present(cspad)'", "choose from a list"),
    ]
)
@common.datasource
@common.where
@common.events
@common.number
@common.missing_ok
@common.outside
@common.output
@common.overwrite
@common.follow
@common.root
@common.json_output
@common.talk
def command(
    datasource: tuple[str, ...],
    where: str | None,
    events: slice | str | None,
    number: int | None,
    missing_ok: bool,
    joining: Joining,
    output: str | None,
    overwrite: bool,
    following: Following,
    root: tuple[str, ...],
    as_json: bool,
) -> None:
    """Print the ids of the events for which a condition holds, one a line.

    What is printed is a list of events: --events takes it, from a file or from standard input. psana help expressions
    tells the language of conditions, psana help events the form of lists. With --follow it waits for the end of a run
    that is being written; psana eventid list --follow lists events as they come.
    """
    from psanacli.run import EventList, open_runs

    if output is not None and as_json:
        raise click.UsageError("-o writes a list, --json prints; they exclude each other")
    if output is not None:
        files.check_new([Path(output)], overwrite)
    end = following.wait_for_end(datasource, root)
    runs = open_runs(end.datasource)
    joining.join_to(runs)
    chosen = common.choose(runs, common.first_events(events, number), where, missing_ok)
    lists = [EventList.of(some) for some in chosen.events]
    if output is not None:
        EventList.joined(lists).write(output, remarks=[console.command_line()])
    else:
        for listed in lists:
            for line in listed.records() if as_json else listed.lines():
                console.print_json_line(line) if not isinstance(line, str) else sys.stdout.write(f"{line}\n")
    total = sum(len(run.events) for run in runs)
    if not len(chosen) or output is not None:
        console.note(f"{len(chosen)} of {total} events are chosen" + (f", see {output}" if output else ""))
    for run in runs:
        run.close()
    end.check()
    files.fail_if_corrupt([problem for run in runs for problem in run.problems], "events before it were looked at")
