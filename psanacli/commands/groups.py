"""Verbs that have verbs of their own: `psana` itself, and groups such as `psana index` with ``build`` and ``show``.

A group is a static table; the module of a member is loaded when the member is called.  The members of `psana` are the
modules ``commands/VERB.py``, those of a group ``commands/GROUP_VERB.py``, each with its click command ``command``.  The
group is itself the command of ``commands/GROUP.py``, which imports nothing but this::

    @groups.group(
        {"build": Entry("Build the index of runs.", parallel=True), "show": Entry("Show what is in an index.")},
        examples=[("psana index build exp=xpptut15:run=54", "build the index of a run")],
    )
    def command() -> None:
        '''Build and show the indexes of runs.'''

In the table of `psana` it says ``Entry(..., group=True)``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem

from psanacli.commands.common import WithExamples
from psanacli.errors import did_you_mean


class Entry(NamedTuple):
    """What is known of a verb before it is loaded.

    Attributes
    ----------
    help : str
        One line for the list of verbs.
    parallel : bool
        Whether it knows what to do with several ranks.
    group : bool
        Whether it is a group with verbs of its own.
    """

    help: str
    parallel: bool = False
    group: bool = False


class Verbs(WithExamples, click.Group):
    """A group whose members are loaded only when they are called.

    Attributes
    ----------
    verbs : mapping of str to Entry
        In the order of the work.
    prefix : str
        What stands before the names of their modules: empty for `psana`, ``index_`` for `psana index`.
    """

    def __init__(self, *args: Any, verbs: Mapping[str, Entry], prefix: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.verbs = verbs
        self.prefix = prefix

    def load(self, name: str) -> click.Command:
        """Return the command of a verb."""
        module = f"psanacli.commands.{self.prefix}{name.replace('-', '_')}"
        command = importlib.import_module(module).command
        assert isinstance(command, click.Command)
        return command

    def is_parallel(self, words: Sequence[str]) -> bool:
        """Return whether the verb that `words` begin with knows what to do with several ranks."""
        entry = self.verbs.get(words[0]) if words else None
        if entry is None or not entry.group:
            return entry is not None and entry.parallel
        inner = self.load(words[0])
        assert isinstance(inner, Verbs)
        return inner.is_parallel(words[1:])

    def walk(self, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
        """Load and return all verbs with their contexts, those of a group behind it; `context` is that of this one."""
        for name in self.verbs:
            command = self.load(name)
            inner = click.Context(command, info_name=name, parent=context)
            yield command, inner
            if isinstance(command, Verbs):
                yield from command.walk(inner)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of the work."""
        return list(self.verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load the module of a verb."""
        return self.load(cmd_name) if cmd_name in self.verbs else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb that `args` begin with; a miss names the nearest."""
        name = args[0]
        if name not in self.verbs and not name.startswith("-") and not ctx.resilient_parsing:
            hint = did_you_mean(name, self.verbs, f"the verbs are {', '.join(self.verbs)}")
            where = f" of {ctx.command_path}" if self.prefix else ""
            raise click.UsageError(f"there is no verb {name!r}{where}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs with their help, without loading them."""
        with formatter.section("Verbs"):
            formatter.write_dl([(name, entry.help) for name, entry in self.verbs.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a verb without loading it."""
        fitting = [(name, entry) for name, entry in self.verbs.items() if name.startswith(incomplete)]
        items = [CompletionItem(name, help=entry.help) for name, entry in fitting]
        return items or click.Command.shell_complete(self, ctx, incomplete)


def group(
    verbs: Mapping[str, Entry], *, examples: Sequence[tuple[str, str]], **kwargs: Any
) -> Callable[[Callable[..., Any]], Verbs]:
    """Return the decorator that makes a function the command of a group of verbs.

    The name of its module is that of the group.  The function itself has nothing to do; its text is the description.

    Parameters
    ----------
    verbs : mapping of str to Entry
        The members, in the order of the work.
    examples : sequence of (str, str)
        Command lines that work as they are, and what each does.
    **kwargs
        As of `click.group`.
    """

    def decorate(function: Callable[..., Any]) -> Verbs:
        name = function.__module__.rpartition(".")[2]
        made = click.group(
            name,
            cls=Verbs,
            verbs=verbs,
            prefix=f"{name}_",
            examples=examples,
            subcommand_metavar="VERB ...",
            options_metavar="[-h]",
            **kwargs,
        )(function)
        assert isinstance(made, Verbs)
        return made

    return decorate


__all__ = ["Entry", "Verbs", "group"]
