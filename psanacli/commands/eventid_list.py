"""``psana eventid list``: events with columns."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from psanacli.commands import common, console, files
from psanacli.commands.following import Following
from psanacli.commands.joining import Joining
from psanacli.errors import UsageError

if TYPE_CHECKING:
    from psanacli.run import Batch, Events, EventTable

_FIRST_ROWS = 1000  # that decide the widths of columns
ABSENT = "-"


@common.verb(
    examples=[
        ("psana eventid list exp=xpptut15:run=54", "time, fiducials, step, codes and damage of all events"),
        ("psana eventid list exp=xpptut15:run=54 --where 'code(140) and not code(162)'", "only some of them"),
        (
            "psana eventid list exp=xpptut15:run=54 --columns number,time,EBeam.ebeamPhotonEnergy --tsv",
            "values of a detector, for a spreadsheet",
        ),
        (
            "psana eventid list exp=xpptut15:run=54 --where 'absent(cspad)' --columns 'number,why(cspad)'",
            "why a detector is absent",
        ),
        (
            "psana eventid list exp=xpptut15:run=54 --with cryo=lakeshore.csv,zone=UTC --columns number,cryo.temp",
            "values of a table that is not in the data",
        ),
        ("psana eventid list exp=xpptut15:run=54 --follow --where 'code(162)'", "of a run that is being written"),
        ("psana eventid list exp=xpptut15:run=54 --json | jq -c 'select(.step == 3)'", "for programs, a line an event"),
    ]
)
@common.datasource
@common.events
@common.number
@common.where
@common.missing_ok
@common.outside
@click.option(
    "--columns",
    multiple=True,
    metavar="LIST",
    help="What to show of each event, with commas between: expressions, codes, damage, experiment. Default: "
    "run,number,time,fiducials,step,codes,damage.",
)
@common.follow
@click.option("--tsv", is_flag=True, help="Print columns with tabs between, and a line with their names.")
@common.root
@common.json_output
@common.talk
def command(
    datasource: tuple[str, ...],
    events: slice | str | None,
    number: int | None,
    where: str | None,
    missing_ok: bool,
    joining: Joining,
    columns: tuple[str, ...],
    following: Following,
    tsv: bool,
    root: tuple[str, ...],
    as_json: bool,
) -> None:
    """List events with any columns.

    Times are UTC. A column is any expression of `psana help expressions`, such as EBeam.ebeamPhotonEnergy, or codes,
    damage or experiment. What is absent shows as - in a table, as nothing between tabs, as null in JSON. What --tsv
    and --json print is accepted as a list of events by --events, when it has times or numbers in it. With --follow the
    events of a run that is being written are listed as soon as nothing can change them.
    """
    from psanacli.run import DEFAULT_COLUMNS, EventTable, open_runs, split_columns

    if tsv and as_json:
        raise click.UsageError("--tsv and --json exclude each other")
    names = split_columns(columns) if columns else DEFAULT_COLUMNS
    names = _with_identity(names) if as_json else names
    show = _print_json if as_json else _print_tsv if tsv else _print_table
    source, follow = following.parsed(datasource, root)
    if follow:
        if events is not None or number is not None or joining.requests:
            excluded = "--events, -n and --with are for runs that are there"
            raise UsageError("--follow lists all events that come, or those of --where", excluded)
        _follow(following.batches(source), where, names, show)
        return
    runs = open_runs(source)
    joining.join_to(runs)
    chosen = common.choose(runs, common.first_events(events, number), where, missing_ok)
    tables = [EventTable(run, names) for run in runs]
    for place, (run, table) in enumerate(zip(runs, tables, strict=True)):
        with run:
            show(table, chosen.events[place], head=not place)
    files.fail_if_corrupt([problem for run in runs for problem in run.problems], "the events before it are listed")


def _with_identity(names: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of JSON lines, which always tell which event it is."""
    identity = ("experiment", "run", "number", "time", "seconds", "nanoseconds", "fiducials")
    return (*identity, *(name for name in names if name not in identity))


def text(value: Any, nothing: str) -> str:
    """Return a value as one word of a table."""
    if value is None:
        return nothing
    if isinstance(value, dict):
        return ";".join(f"{name}:{'+'.join(words)}" for name, words in value.items()) or nothing
    if isinstance(value, list):
        return ",".join(text(item, nothing) for item in value) or nothing
    return str(value)


def _follow(batches: Iterable[Batch], where: str | None, names: Sequence[str], show: Callable[..., None]) -> None:
    """List the events of a run that is being written as they become known."""
    from psanacli.run import EventTable

    head = True
    for batch in batches:
        chosen = batch.events.select(where) if where and len(batch) else batch.events
        if len(chosen):
            show(EventTable(batch.run, names), chosen, head=head)
            sys.stdout.flush()
            head = False


def _print_json(table: EventTable, events: Events, head: bool) -> None:
    for row in table.rows(events):
        console.print_json_line(dict(zip(table.names, row, strict=True)))


def _print_tsv(table: EventTable, events: Events, head: bool) -> None:
    if head:
        sys.stdout.write("\t".join(table.names) + "\n")
    for row in table.rows(events):
        words = (text(value, "").replace("\t", " ").replace("\n", " ") for value in row)
        sys.stdout.write("\t".join(words) + "\n")


def _print_table(table: EventTable, events: Events, head: bool) -> None:
    """Print aligned columns; the first rows decide how wide they are, as nobody waits for millions of rows."""
    names, rows = table.names, table.rows(events)
    first = [[text(value, ABSENT) for value in row] for row in itertools.islice(rows, _FIRST_ROWS)]
    kinds = ["<" if all(_is_text(word) for word in column) else ">" for column in zip(*first, strict=True)] or ["<"]
    widths = [max(map(len, column)) for column in zip(names, *first, strict=True)]

    def line(words: Sequence[str]) -> str:
        return "  ".join(f"{w:{k}{n}}" for w, k, n in zip(words, kinds, widths, strict=False)).rstrip() + "\n"

    if head:
        sys.stdout.write(line(names) if first else "  ".join(names) + "\n")
    for words in itertools.chain(first, ([text(value, ABSENT) for value in row] for row in rows)):
        sys.stdout.write(line(words))


def _is_text(word: str) -> bool:
    return not (word == ABSENT or word.replace(".", "", 1).replace("-", "", 1).isdecimal())
