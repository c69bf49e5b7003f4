"""``psana eventid show``: all about one event."""

from __future__ import annotations

from typing import Any

import click

from psanacli.commands import common, console, files
from psanacli.errors import NotFoundError, UsageError


@common.verb(
    examples=[
        ("psana eventid show 17 exp=xpptut15:run=54", "the event with this number"),
        ("psana eventid show 'xpptut15 r54 1436954400.123456789 f12345' exp=xpptut15:run=54", "by its id"),
        ("psana eventid show 1436954400.123456789 exp=xpptut15:run=54 --json | jq .sources", "by its time"),
    ]
)
@click.argument("wanted", metavar="ID")
@common.datasource
@common.root
@common.json_output
@common.talk
def command(wanted: str, datasource: tuple[str, ...], root: tuple[str, ...], as_json: bool) -> None:
    """Tell all about one event: where it is, what is in it, what is damaged or absent and why, codes, scan, EPICS.

    ID is a number of the run, or the id of an event as in a list of events; quote it when it has spaces.
    """
    from psanacli.run import EventList, describe_event, open_runs

    one = EventList.parse(wanted, "the command line")
    if len(one) != 1:
        raise UsageError(f"{wanted!r} is {len(one)} events", "name one: its number, or its id")
    runs = open_runs(datasource, roots=root)
    if one.numbered[0] and len(runs) > 1:
        raise UsageError(f"which run? The data source has {len(runs)}", "give the id of the event, not its number")
    for run in runs:
        number = int(one.resolve(run)[0])
        if number >= 0:
            break
    else:
        raise NotFoundError(f"no event {one.line(0)}", "psana eventid check tells which one is near")
    with run:
        described = describe_event(run.events[number])
    if as_json:
        console.print_json({"format": "psana eventid show", "version": 1, **described})
    else:
        _print(described)
    files.fail_if_corrupt(run.problems, "the event is shown all the same")


def _print(event: dict[str, Any]) -> None:
    flags = ", ".join(event["flags"])
    codes = ", ".join(map(str, event["codes"])) or "none"
    rows: list[tuple[str, object]] = [
        ("id", event["id"]),
        ("event", f"{event['number']} of run {event['run']} of {event['experiment']}"),
        ("time", f"{event['time']} UTC"),
        ("fiducials", event["fiducials"]),
        ("ticks, vector", f"{event['ticks']}, {event['vector']}"),
        ("made of", flags),
        ("codes", codes),
        ("step", event["step"]["number"]),
        *((f"  {name}", value) for name, value in (event["step"]["values"] | event["step"]["labels"]).items()),
    ]
    console.table(("", ""), rows, align="<<")
    click.echo()
    console.table(
        ("stream", "file", "offset", "bytes", "time", "damage"),
        [
            (d["stream"], d["file"], d["offset"], d["size"], d["time"], "+".join(d["damage"]))
            for d in event["datagrams"]
        ],
        title="Datagrams",
    )
    click.echo()
    console.table(
        ("source", "alias", "type", "state", "why"),
        [(s["source"], s["alias"], s["type"], s["state"], s["why"]) for s in event["sources"]],
        title="Sources",
        align="<<<<<",
    )
    if event["epics"]:
        click.echo()
        console.table(
            ("name", "value", "unit", "alarm", "time"),
            [(v["name"], v["value"], v["units"], v["alarm"], v["time"]) for v in event["epics"]],
            title="EPICS variables",
            align="<<<<<",
        )
