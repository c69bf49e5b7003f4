"""``psana eventid combine``: lists of events as sets."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import cast

import click

from psanacli.commands import common, console, files
from psanacli.errors import did_you_mean

OPERATORS = ("and", "or", "minus")


@common.verb(
    examples=[
        ("psana eventid combine laser.txt and hits.txt", "events that are in both lists"),
        ("psana eventid combine monday.txt or tuesday.txt -o both.txt", "events of both"),
        ("psana eventid combine hits.txt minus damaged.txt", "events that are not in the second"),
        ("psana eventid combine a.txt or b.txt minus c.txt", "one after the other, from the left"),
    ]
)
@click.argument("words", nargs=-1, required=True, metavar="LIST [and|or|minus LIST]...")
@common.output
@common.overwrite
@common.json_output
@common.talk
def command(words: tuple[str, ...], output: str | None, overwrite: bool, as_json: bool) -> None:
    """Print what two lists of events have in common (and), together (or), or what only the first has (minus).

    The order of the first list stays; with or, what only the second has comes behind. Events are the same when
    experiment, run, time and fiducials are; what one list does not tell is not compared.
    """
    from psanacli.run import EventList, Operator

    if len(words) % 2 == 0:
        raise click.UsageError("lists and words between them: LIST and LIST, LIST or LIST minus LIST")
    if words.count("-") > 1:
        raise click.UsageError("standard input can be one list only")
    for word in words[1::2]:
        if word not in OPERATORS:
            hint = did_you_mean(word, OPERATORS, f"it is one of {', '.join(OPERATORS)}")
            raise click.UsageError(f"{word!r} stands where and, or or minus was expected; {hint}")
    if output is not None and as_json:
        raise click.UsageError("-o writes a list, --json prints; they exclude each other")
    if output is not None:
        files.check_new([Path(output)], overwrite)
    found = EventList.read(words[0])
    for operator, path in zip(words[1::2], words[2::2], strict=True):
        found = found.combined(cast("Operator", operator), EventList.read(path))
    if output is not None:
        found.write(output, remarks=[console.command_line()])
        console.note(f"{output}: {len(found)} events")
        return
    for line in found.records() if as_json else found.lines():
        console.print_json_line(line) if not isinstance(line, str) else sys.stdout.write(f"{line}\n")
