"""``psana eventid save``: events added to a list."""

from __future__ import annotations

from pathlib import Path

import click

from psanacli.commands import common, console, files
from psanacli.commands.following import Following
from psanacli.commands.joining import Joining


@common.verb(
    examples=[
        ("psana eventid save good.txt exp=xpptut15:run=54 --events 17 --remark 'ice ring'", "remember an event"),
        ("psana eventid save good.txt exp=xpptut15:run=55 --where 'sum(opal_1.data16) > 1e7'", "add those of a run"),
        ("psana eventid save times.txt exp=xpptut15:run=54 --events numbers.txt", "make times of numbers of events"),
    ]
)
@click.argument("listed", metavar="LIST", type=click.Path(dir_okay=False))
@common.datasource
@common.events
@common.where
@common.missing_ok
@common.outside
@click.option("--remark", metavar="TEXT", help="A line of remarks above the events.")
@click.option("--overwrite", is_flag=True, help="Begin the list anew.")
@common.follow
@common.root
@common.talk
def command(
    listed: str,
    datasource: tuple[str, ...],
    events: slice | str | None,
    where: str | None,
    missing_ok: bool,
    joining: Joining,
    remark: str | None,
    overwrite: bool,
    following: Following,
    root: tuple[str, ...],
) -> None:
    """Add events to a list in a file, which is made when it does not exist.

    What is in the list stays as it is, remarks included. Events that it has already are not added again. With
    --follow it waits for the end of a run that is being written.
    """
    from psanacli.run import EventList, open_runs

    path = Path(listed)
    before = EventList.read(path) if path.exists() and not overwrite else EventList()
    end = following.wait_for_end(datasource, root)
    runs = open_runs(end.datasource)
    joining.join_to(runs)
    chosen = common.choose(runs, events, where, missing_ok)
    found = EventList.joined(EventList.of(some) for some in chosen.events)
    new = found - before if len(before) else found
    head = path.read_text("utf-8", "surrogateescape") if len(before) or (path.exists() and not overwrite) else ""
    if head and not head.endswith("\n"):
        head += "\n"
    new.write(path, head=head, remarks=[remark] if remark else [])
    console.note(f"{path}: {len(new)} events added" + (f", {len(found) - len(new)} were there" if before else ""))
    for run in runs:
        run.close()
    end.check()
    files.fail_if_corrupt([problem for run in runs for problem in run.problems], "events before it were saved")
