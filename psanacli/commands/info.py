"""``psana info``: what is in a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from psanacli.commands import common, console, files, info_constants, info_tables
from psanacli.commands.following import Following
from psanacli.commands.joining import Joining

if TYPE_CHECKING:
    from psanacli.run import Events, Run

ALL_EVENTS = ":"
SECTIONS = ("detectors", "epics", "steps")


def _listed(ctx: click.Context, param: click.Parameter, value: str | None) -> slice | str | None:
    try:
        if value is not None and (Path(value).is_dir() or "=" in value or value.endswith(".xtc")):
            raise click.BadParameter(f"{value!r} is no list of events")
        return None if value is None else common.events_of(value)
    except click.BadParameter as error:
        raise click.BadParameter(f"{error.message}; write --events behind the data source") from error


@common.verb(
    examples=[
        ("psana info exp=xpptut15:run=54", "the overview"),
        ("psana info /data/xtc", "of all runs in a directory"),
        ("psana info exp=xpptut15:run=54 --epics", "all EPICS variables"),
        ("psana info exp=xpptut15:run=54 --events 0:100", "the first hundred events"),
        ("psana info exp=xpptut15:run=54 --where 'code(140) and absent(EBeam)'", "the events for which this holds"),
        ("psana info exp=xpptut15:run=54 --missing --png missing.png", "which source is absent where"),
        ("psana info exp=xpptut15:run=54 --with cryo=lakeshore.csv,zone=UTC", "how well other values fit"),
        ("psana info exp=xpptut15:run=54 --json | jq '.runs[0].codes'", "for programs"),
    ]
)
@common.datasource
@click.option("--detectors", is_flag=True, help="List all detectors with their objects, and the constants that apply.")
@click.option("--epics", is_flag=True, help="List the EPICS variables: value, units, alarm, updates.")
@click.option("--steps", is_flag=True, help="List the steps and the values of the scan.")
@click.option(
    "--events",
    is_flag=False,
    flag_value=ALL_EVENTS,
    callback=_listed,
    metavar="[A:B:C|N|LIST|-]",
    help="List the events (or these of them): time, fiducials, step, codes, flags.",
)
@click.option("--where", metavar="EXPR", help="List the events for which this holds; see psana help expressions.")
@common.missing_ok
@click.option("--missing", is_flag=True, help="Show which source is absent in which events.")
@click.option("--png", type=click.Path(dir_okay=False), metavar="FILE", help="Write the picture of --missing as PNG.")
@common.outside
@common.follow
@common.calib_dir
@common.root
@common.explain
@common.json_output
@common.talk
def command(
    datasource: tuple[str, ...],
    events: slice | str | None,
    where: str | None,
    missing_ok: bool,
    missing: bool,
    png: str | None,
    joining: Joining,
    following: Following,
    calib_dir: str | None,
    root: tuple[str, ...],
    explain: bool,
    as_json: bool,
    **sections: bool,
) -> None:
    """Tell what is in a run: experiment, time, events, steps, streams, detectors, EPICS, event codes.

    Times are UTC. Without options an overview of everything; --detectors, --epics, --steps, --events and --missing
    show these in full, and only these.
    """
    from psanacli.errors import check_events
    from psanacli.run import explain as explanation
    from psanacli.run import open_runs, parse_datasource

    if explain:
        lines = explanation(parse_datasource(datasource, roots=root))
        console.print_json({"explain": lines}) if as_json else click.echo("\n".join(lines))
        return
    end = following.wait_for_end(datasource, root)
    runs = open_runs(end.datasource, calib_dir=calib_dir)
    files.note_indexes(runs)
    joining.join_to(runs)
    if isinstance(events, slice):
        for run in runs:
            check_events(events, len(run.events), f"run {run.number}")
    if png and len(runs) > 1:
        raise click.UsageError(f"--png takes one run, the data source has {len(runs)}")
    chosen = [name for name in SECTIONS if sections[name]]
    listed: list[Events | None] = [None] * len(runs)
    if events is not None or where is not None:
        listed = [*common.choose(runs, events, where, missing_ok).events]
    if as_json:
        _print_json(runs, listed, missing)
    elif chosen or missing or any(some is not None for some in listed) or not png:
        for run, some in zip(runs, listed, strict=True):
            _print(run, chosen, some, missing)
    if png:
        _write_png(runs[0], Path(png))
    problems = [problem for run in runs for problem in run.problems]
    end.check()
    files.fail_if_corrupt(problems, "everything before it, and other files, are shown")


def _print(run: Run, chosen: list[str], events: Events | None, missing: bool) -> None:
    """Show what was asked for, else the overview."""
    from psanacli.run import presence, summarise

    info_tables.title(run)
    if chosen or not (missing or events is not None):
        summary = summarise(run)
        for name in chosen:
            info_tables.SECTIONS[name](summary)
        if not chosen:
            info_tables.overview(summary)
            info_constants.short(run)
        elif "detectors" in chosen:
            info_constants.table(run)
    info_tables.joined(run)
    if events is not None:
        info_tables.events(events)
    if missing:
        info_tables.missing(presence(run))


def _print_json(runs: list[Run], listed: list[Events | None], missing: bool) -> None:
    """Print one object, or with ``--events`` or ``--where`` a line for each event."""
    from psanacli.run import event_values, presence, summarise

    if any(events is not None for events in listed):
        for events in listed:
            for row in event_values(events) if events is not None else ():
                console.print_json_line(row)
        return
    found: list[dict[str, Any]] = []
    for run in runs:
        more: dict[str, Any] = {"missing": presence(run).gaps()} if missing else {}
        applying = info_constants.constants(run)
        if applying is not None:
            more["constants"] = applying
        if run.joined:
            more["joined"] = [joined.asdict() for joined in run.joined.values()]
        found.append(summarise(run).asdict() | more)
    console.print_json({"format": "psana info", "version": 1, "runs": found})


def _write_png(run: Run, path: Path) -> None:
    from psanacli.run import presence

    files.write_whole(path, presence(run).png())
    console.note(f"wrote {path}")
