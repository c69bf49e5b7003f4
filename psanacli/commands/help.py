"""``psana help``: the help of a verb, or a page of the manual."""

from __future__ import annotations

import shutil

import click

from psanacli.commands import common, manual
from psanacli.commands.groups import Verbs
from psanacli.errors import UsageError, did_you_mean


@common.verb(
    examples=[
        ("psana help", "all verbs"),
        ("psana help expressions", "the language of --where and --columns"),
        ("psana help events", "how events are named in --events and in lists"),
        ("psana help masks", "the expression that says which pixels are bad"),
        ("psana help eventid list", "the same as psana eventid list --help"),
    ]
)
@click.argument("topic", nargs=-1, metavar="[VERB | TOPIC]...")
@click.pass_context
def command(context: click.Context, topic: tuple[str, ...]) -> None:
    """Show the help of a verb, or a page of the manual.

    Topics of the manual are expressions, events and masks.
    """
    if len(topic) == 1 and topic[0] in manual.PAGES:
        width = min(shutil.get_terminal_size().columns, 100)
        click.echo("\n".join(manual.PAGES[topic[0]]().lines(width)))
        return
    assert context.parent is not None
    inner = context.parent
    for word in topic:
        group = inner.command
        if not isinstance(group, Verbs) or word not in group.verbs:
            known = [*(group.verbs if isinstance(group, Verbs) else ()), *manual.PAGES]
            raise UsageError(f"there is no help for {' '.join(topic)!r}", did_you_mean(word, known, ", ".join(known)))
        inner = click.Context(group.load(word), info_name=word, parent=inner)
    click.echo(inner.get_help())
