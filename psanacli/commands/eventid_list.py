"""``psana eventid list``: events with columns."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from psanacli.commands import common, console, files, joins

if TYPE_CHECKING:
    from psanacli.outside import Request

    pass

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
        ("psana eventid list exp=xpptut15:run=54 --json | jq -c 'select(.step == 3)'", "for programs, a line an event"),
    ]
)
@common.datasource
@common.events
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
@click.option("--tsv", is_flag=True, help="Print columns with tabs between, and a line with their names.")
@common.root
@common.json_output
@common.talk
def command(
    datasource: tuple[str, ...],
    events: slice | str | None,
    where: str | None,
    missing_ok: bool,
    requests: tuple[Request, ...],
    how: str | None,
    tolerance: str | None,
    columns: tuple[str, ...],
    tsv: bool,
    root: tuple[str, ...],
    as_json: bool,
) -> None:
    """List events with any columns.

    Times are UTC. A column is any expression of `psana help expressions`, such as EBeam.ebeamPhotonEnergy, or codes,
    damage or experiment. What is absent shows as - in a table, as nothing between tabs, as null in JSON. What --tsv
    and --json print is accepted as a list of events by --events, when it has times or numbers in it.
    """
    from psanacli.run import DEFAULT_COLUMNS, EventTable, open_runs, split_columns

    if tsv and as_json:
        raise click.UsageError("--tsv and --json exclude each other")
    names = split_columns(columns) if columns else DEFAULT_COLUMNS
    runs = open_runs(datasource, roots=root)
    joins.join_all(runs, requests, how, tolerance)
    chosen = common.choose(runs, events, where, missing_ok)
    tables = [EventTable(run, _with_identity(names) if as_json else names) for run in runs]
    for place, (run, table) in enumerate(zip(runs, tables, strict=True)):
        with run:
            rows = table.rows(chosen.events[place])
            if as_json:
                for row in rows:
                    console.print_json_line(dict(zip(table.names, row, strict=True)))
            elif tsv:
                _print_tsv(names, rows, head=not place)
            else:
                _print_table(names, rows, head=not place)
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


def _print_tsv(names: Sequence[str], rows: Iterator[tuple[Any, ...]], head: bool) -> None:
    if head:
        sys.stdout.write("\t".join(names) + "\n")
    for row in rows:
        words = (text(value, "").replace("\t", " ").replace("\n", " ") for value in row)
        sys.stdout.write("\t".join(words) + "\n")


def _print_table(names: Sequence[str], rows: Iterator[tuple[Any, ...]], head: bool) -> None:
    """Print aligned columns; the first rows decide how wide they are, as nobody waits for millions of rows."""
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
