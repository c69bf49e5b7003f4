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

import functools
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from psanacli.commands import console
from psanacli.commands.following import Following
from psanacli.commands.joining import Joining
from psanacli.errors import NotFoundError, did_you_mean

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from psanacli.outside import Request
    from psanacli.parallel import Team
    from psanacli.run import Chosen, Run

Command = Callable[..., Any]
F = TypeVar("F", bound=Command)


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
            # One letter is near to nothing.
            hint = did_you_mean(error.option_name, known) if error.option_name.startswith("--") else ""
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


def together(kind: Callable[..., Any], name: str, *options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Return the decorator that adds several options to a verb, and gives it their values as one.

    Parameters
    ----------
    kind : class
        What is made of the values; its arguments have the names of the options' own.
    name : str
        Of the argument of the verb.
    *options
        What is added, in this order.
    """

    def decorated(function: Command) -> Command:
        @functools.wraps(function)
        def command(*args: Any, **values: Any) -> Any:
            return function(*args, **{name: kind(**{each: values.pop(each) for each in names})}, **values)

        before = len(getattr(command, "__click_params__", ()))
        added: Command = command
        for option in reversed(options):
            added = option(added)
        names = [parameter.name for parameter in added.__click_params__[before:]]  # type: ignore[attr-defined]
        return added

    return decorated


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


_SLICE = re.compile(r"[\d:\s+-]*:[\d:\s+-]*|\s*[+-]?\d+\s*|\s*", re.ASCII)


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


def events_of(text: str) -> slice | str:
    """Return the slice of ``a:b:c`` or of a number; of all else the text, which names a list of events.

    Raises
    ------
    click.BadParameter
        It looks like a slice, and is none.
    """
    return event_slice(text) if _SLICE.fullmatch(text) else text


def first_events(events: slice | str | None, number: int | None) -> slice | str | None:
    """Return the events that ``--events`` or ``-n`` mean.

    Raises
    ------
    click.UsageError
        Both are given.
    """
    if number is None:
        return events
    if events is not None:
        raise click.UsageError("--events and -n exclude each other")
    return slice(0, number)


def choose(runs: Sequence[Run], events: slice | str | None, where: str | None, missing_ok: bool = False) -> Chosen:
    """Return the events of runs that ``--events`` and ``--where`` choose.

    A list is read here, not when options are parsed: under MPI only rank 0 has standard input.
    """
    from psanacli.run import Choice, EventList

    listed = EventList.read(events) if isinstance(events, str) else events
    choice = Choice(listed, where, missing_ok)
    with console.progress("choosing", sum(len(run.events) for run in runs) if listed is None else 0) as progress:
        chosen = choice.among(runs, progress.advance)
    if len(chosen.missing):
        console.warn(f"{len(chosen.missing)} of {len(listed)} events of the list are not in the data")  # type: ignore[arg-type]
    return chosen


def numbers(
    team: Team, runs: list[Run], events: slice | str | None, where: str | None, missing_ok: bool
) -> list[NDArray[np.int64] | None]:
    """Return for each run the numbers of the events of a list, or for which a condition holds; None: no such thing.

    The root alone reads the list, which may come from its standard input, and evaluates the condition.

    Raises
    ------
    NotFoundError
        No event is chosen.
    """
    if where is None and not isinstance(events, str):
        return [None] * len(runs)

    def find() -> list[NDArray[np.int64] | None]:
        import numpy as np

        found = choose(runs, events, where, missing_ok)
        if not len(found):
            raise NotFoundError("no event is chosen, so there is nothing to do", "psana eventid list shows events")
        return [np.asarray(some.indices, np.int64) for some in found.events]

    return team.once(find)


datasource = click.argument(
    "datasource", nargs=-1, required=True, shell_complete=complete_files, metavar="DATASOURCE..."
)
datasource_or_not = click.argument("datasource", nargs=-1, shell_complete=complete_files, metavar="[DATASOURCE]...")
"""A data source that may be left out when ``--calib-dir`` tells the directory."""
root = click.option(
    "--root",
    multiple=True,
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="Look for experiments under DIR (else PSANA_ROOT or SIT_PSDM_DATA tells where); may be repeated.",
)
calib_dir = click.option(
    "--calib-dir",
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="The directory of constants, instead of calib of the experiment; {instr} and {exp} in it are put in.",
)
detector = click.option(
    "-d", "--detector", metavar="NAME", help="The detector: its alias, or full name such as CxiDs1.0:Cspad.0."
)
constants_type = click.option(
    "--type", "kind", metavar="TYPE", help="The type of constants: pedestals, pixel_status, common_mode, ..."
)
run_number = click.option(
    "--run", "run", type=click.IntRange(min=0), metavar="N", help="For run N, instead of that of the data source."
)
explain = click.option(
    "--explain", is_flag=True, help="Show every directory and pattern tried to find the data, and stop."
)
output = click.option("-o", "--output", metavar="PATH", type=click.Path(), help="Where the result goes.")
number = click.option("-n", "--number", type=click.IntRange(min=0), metavar="N", help="Only the first N events.")
events = click.option(
    "--events",
    type=events_of,
    metavar="A:B:C|N|LIST|-",
    help="Only these events: a Python slice, one number, or the ids of a list in a file or on standard input (-).",
)
include = click.option(
    "--include",
    multiple=True,
    metavar="PATTERN",
    help="Only this: type, source, alias or TYPE__SOURCE; may be repeated.",
)
exclude = click.option(
    "--exclude",
    multiple=True,
    metavar="PATTERN",
    help="Not this: type, source, alias or TYPE__SOURCE; may be repeated.",
)
missing_ok = click.option("--missing-ok", is_flag=True, help="Events of a list that are not in the data are no error.")
any_missing_ok = click.option(
    "--missing-ok",
    is_flag=True,
    help="A pattern that matches nothing in the run, or an event of a list that is not in the data, is no error.",
)
"""For verbs that have patterns too."""
where = click.option(
    "--where",
    metavar="EXPR",
    help="Only events for which this holds, such as 'code(140) and EBeam.ebeamPhotonEnergy > 9490'; "
    "see psana help expressions.",
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


outside = together(Joining, "joining", _with, _how, _tolerance)
"""``--with``, ``--how`` and ``--tolerance``: values from outside."""


_follow = click.option(
    "--follow", is_flag=True, help="Follow a run that is being written to its end (as live in a data source)."
)
_timeout = click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="With --follow: give up when nothing new comes for so long.  [default: 120]",
)


follow = together(Following, "following", _follow, _timeout)
"""``--follow`` and ``--timeout``: a run that is being written."""


def talk(function: F) -> F:
    """Add ``-q`` and ``-v``, which `console` obeys by itself."""
    return _quiet(_verbose(function))
