"""``psana eventid check``: which events of a list exist, and where."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from psanacli.commands import common, console, files
from psanacli.errors import CheckFailed

if TYPE_CHECKING:
    from psanacli.run import EventList, Run


@common.verb(
    examples=[
        ("psana eventid check good.txt exp=xpptut15:run=54", "which of them the run has"),
        ("psana eventid check good.txt exp=xpptut15:run=50-60 -q", "only the exit code: 7 when some are not there"),
        ("psana eventid check good.txt exp=xpptut15:run=54 --json | jq -c 'select(.found | not)'", "what is missing"),
    ]
)
@click.argument("listed", metavar="LIST")
@common.datasource
@common.root
@common.json_output
@common.talk
def command(listed: str, datasource: tuple[str, ...], root: tuple[str, ...], as_json: bool) -> None:
    """Tell which events of a list exist, and where: run, number of the event, and step.

    Of an event that does not exist, the one that is nearest in time is told. The exit code is 7 when some do not
    exist. With -q only these are printed.
    """
    from psanacli.run import EventList, open_runs

    wanted = EventList.read(listed)
    runs = open_runs(datasource, roots=root)
    places = [wanted.resolve(run) for run in runs]
    missing = 0
    with console.progress("checking", len(wanted)) as progress:
        for row in range(len(wanted)):
            found = [(run, int(numbers[row])) for run, numbers in zip(runs, places, strict=True) if numbers[row] >= 0]
            missing += not found
            if as_json:
                console.print_json_line(_record(wanted, row, runs, found))
            elif not found or not console.quiet():
                sys.stdout.write(f"{wanted.line(row)}\t{_text(wanted, row, runs, found)}\n")
            if not console.is_terminal(sys.stdout):  # where the lines themselves tell how far it is
                progress.advance(1)
    for run in runs:
        run.close()
    files.fail_if_corrupt([problem for run in runs for problem in run.problems], "events before it were looked for")
    if missing:
        raise CheckFailed(f"{missing} of {len(wanted)} events of {wanted.origin} do not exist")


def _record(wanted: EventList, row: int, runs: list[Run], found: list[tuple[Run, int]]) -> dict[str, Any]:
    id_values = next(iter(wanted[[row]].records()))
    where = [
        {"experiment": run.experiment.name, "run": run.number, "number": number, "step": _step(run, number)}
        for run, number in found
    ]
    near = None if found else _nearest(wanted, row, runs)
    nearest = None if near is None else {"run": near[0].number, "number": near[1], "seconds_away": near[2]}
    return {**id_values, "found": bool(found), "where": where, "nearest": nearest}


def _text(wanted: EventList, row: int, runs: list[Run], found: list[tuple[Run, int]]) -> str:
    if found:
        return "; ".join(f"event {number} of run {run.number}, step {_step(run, number)}" for run, number in found)
    near = _nearest(wanted, row, runs)
    if near is None:
        return "not there"
    run, number, away = near
    return f"not there; the nearest is event {number} of run {run.number}, {away:.9g} s away"


def _step(run: Run, number: int) -> int:
    return int(run.table.events["step"][number])


def _nearest(wanted: EventList, row: int, runs: list[Run]) -> tuple[Run, int, float] | None:
    """Return run, event and distance in s of the event that is nearest in time."""
    seconds, nanoseconds = int(wanted.rows["seconds"][row]), int(wanted.rows["nanoseconds"][row])
    best: tuple[Run, int, float] | None = None
    for run in runs:
        number = run.finder.nearest(seconds, nanoseconds) if seconds >= 0 else -1
        if number < 0:
            continue
        there = run.table.events[number]
        away = abs(int(there["seconds"]) - seconds + (int(there["nanoseconds"]) - nanoseconds) / 1e9)
        if best is None or away < best[2]:
            best = run, number, away
    return best
