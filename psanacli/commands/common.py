"""What verbs share: their class, the argument DATASOURCE, and the options that mean the same everywhere.

A verb takes what it needs, and nothing of its own spells these options again::

    @verb(examples=[("psana info exp=xpptut15:run=54", "what is in the run")])
    @common.datasource
    @common.root
    @common.json_output
    @common.talk
    def command(datasource: tuple[str, ...], root: tuple[str, ...], as_json: bool) -> None:
        '''Tell what is in a run.'''
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from psanacli.commands import console
from psanacli.errors import did_you_mean

if TYPE_CHECKING:
    from psanacli.outside import Request

F = TypeVar("F", bound=Callable[..., Any])


class WithExamples(click.Command):
    """A command with examples at the top of its help, and an answer to options that do not exist.

    Attributes
    ----------
    examples : list of (str, str)
        Command lines, and what each does.
    """

    def __init__(self, *args: Any, examples: Sequence[tuple[str, str]] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = list(examples)

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the description, then the examples."""
        super().format_help_text(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                for line, meaning in self.examples:
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")
                    formatter.write(f"{'':{formatter.current_indent}}    {meaning}\n")

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; an unknown option names the nearest."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            known = [name for parameter in self.get_params(ctx) for name in parameter.opts if name.startswith("--")]
            hint = did_you_mean(error.option_name, known)
            raise click.UsageError(
                f"there is no option {error.option_name}" + (f"; {hint}" if hint else ""), ctx
            ) from error


class Verb(WithExamples):
    """A command that does something: the class of all verbs that are not groups of others."""


def verb(*, examples: Sequence[tuple[str, str]], **kwargs: Any) -> Callable[[Callable[..., Any]], Verb]:
    """Return the decorator that makes a function the command of a verb.

    Parameters
    ----------
    examples : sequence of (str, str)
        Command lines that work as they are, and what each does.
    **kwargs
        As of `click.command`.
    """
    return click.command(cls=Verb, examples=examples, **kwargs)


def complete_files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Let the shell complete files and directories."""
    return [CompletionItem(incomplete, type="file")]


def event_slice(text: str) -> slice:
    """Return the slice of ``a:b:c`` as in Python, or of one number for one event.

    Raises
    ------
    click.BadParameter
        The text is neither, or the step is not positive.
    """
    try:
        numbers = [int(word) if word.strip() else None for word in text.split(":")]
    except ValueError:
        numbers = []
    if len(numbers) == 1 and numbers[0] is not None:
        return slice(numbers[0], numbers[0] + 1 or None)
    if len(numbers) not in (2, 3) or (len(numbers) == 3 and numbers[2] is not None and numbers[2] < 1):
        raise click.BadParameter(f"{text!r} is not START:STOP[:STEP] with a STEP of 1 or more, nor one number")
    first, stop = numbers[:2]
    if stop and (first or 0) >= stop and (first or 0) * stop > 0:
        raise click.BadParameter(f"{text!r} is empty: it begins at its end or behind it")
    return slice(*numbers)


def _meta(key: str) -> Callable[[click.Context, click.Parameter, bool], None]:
    def remember(ctx: click.Context, param: click.Parameter, value: bool) -> None:
        if value:
            ctx.meta[key] = True

    return remember


def _requests(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> tuple[Request, ...]:
    """Return what ``--with`` asks for."""
    if not values:
        return ()
    from psanacli.outside import parse_request

    return tuple(map(parse_request, values))


datasource = click.argument(
    "datasource", nargs=-1, required=True, shell_complete=complete_files, metavar="DATASOURCE..."
)
root = click.option(
    "--root",
    multiple=True,
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="Look for experiments under DIR (else PSANA_ROOT or SIT_PSDM_DATA tells where); may be repeated.",
)
explain = click.option(
    "--explain", is_flag=True, help="Show every directory and pattern tried to find the data, and stop."
)
output = click.option("-o", "--output", metavar="PATH", type=click.Path(), help="Where the result goes.")
number = click.option("-n", "--number", type=click.IntRange(min=0), metavar="N", help="Only the first N events.")
events = click.option(
    "--events", type=event_slice, metavar="A:B:C", help="Only these events, as a Python slice, or one number."
)
jobs = click.option(
    "-j",
    "--jobs",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    metavar="N",
    help="Threads that work; 0 takes all cores. Under mpirun, threads of each rank.",
)
json_output = click.option("--json", "as_json", is_flag=True, help="Print JSON, complete and stable.")
dry_run = click.option("--dry-run", is_flag=True, help="Show the plan and stop.")
overwrite = click.option("--overwrite", is_flag=True, help="Replace an output that exists.")
_with = click.option(
    "--with",
    "requests",
    multiple=True,
    callback=_requests,
    shell_complete=complete_files,
    metavar="NAME=FILE[,KEY=VALUE...]",
    help="Join the values of a table by time, as NAME.FIELD: text (CSV, TSV), HDF5, or the JSON of an EPICS archiver. "
    "Keys: time=COLUMN, zone=ZONE of local times, how=, tolerance=, unit=, epoch=, dates=, group=, states=. May be "
    "repeated.",
)
_how = click.option(
    "--how",
    type=click.Choice(["nearest", "previous", "linear"]),
    help="Which value of --with an event gets: of the row nearest in time (default), of the row before, or linear "
    "between both.",
)
_tolerance = click.option(
    "--tolerance",
    metavar="TIME",
    help="How far away a row of --with may be: 20ms, 3us, any. Events beyond have no value.  [default: 1s]",
)
_quiet = click.option(
    "-q", "--quiet", is_flag=True, expose_value=False, callback=_meta(console.QUIET), help="No notes, no progress."
)
_verbose = click.option(
    "-v", "--verbose", is_flag=True, expose_value=False, callback=_meta(console.VERBOSE), help="Say more on stderr."
)


def outside(function: F) -> F:
    """Add ``--with``, ``--how`` and ``--tolerance``: values from outside, for `joins.join_all`."""
    return _with(_how(_tolerance(function)))


_follow = click.option(
    "--follow", is_flag=True, help="Follow a run that is being written to its end (as live in a data source)."
)
_timeout = click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="With --follow: give up when nothing new comes for so long.  [default: 120]",
)


def follow(function: F) -> F:
    """Add ``--follow`` and ``--timeout``; `psanacli.commands.following` does what they say."""
    return _follow(_timeout(function))


def talk(function: F) -> F:
    """Add ``-q`` and ``-v``, which `console` obeys by itself."""
    return _quiet(_verbose(function))
