"""Make the man pages and the shell completions from the commands.

``python docs/generate.py [DIR]`` writes ``man`` and ``completions`` in DIR, which is this checkout unless given.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from psanacli.commands.common import WithExamples
from psanacli.commands.groups import Verbs
from psanacli.commands.main import psana
from psanacli.commands.manual import PAGES, Page
from psanacli.version import __version__

#: Shell to the name under which it finds the completion of `psana`.
SHELLS = {"bash": "psana", "zsh": "_psana", "fish": "psana.fish"}

EXIT_STATUS = {
    0: "Done.",
    1: "A bug; please report it.",
    2: "Wrong usage.",
    3: "Not found: experiment, run, file, detector, event.",
    4: "Damaged or inconsistent data. What could be done was done.",
    5: "An output could not be written.",
    6: "Constants or a geometry are missing or wrong.",
    7: "A check said no.",
    130: "Interrupted.",
}

ENVIRONMENT = {
    "PSANA_ROOT": "Directories with experiments, separated by colons; the option --root goes before it.",
    "SIT_PSDM_DATA": "The directory with experiments if neither is given, as in the facility's own software.",
    "SIT_DATA": "Directories with a table of experiments, separated by colons.",
    "PSANA_DEBUG": "If set, errors show their traceback.",
    "NO_COLOR": "If set, nothing is coloured.",
}


def escape(text: str) -> str:
    """Return text as roff shows it: no dash becomes a hyphen, and no line a request."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"(?m)^(?=[.'])", r"\\&", text)


def paragraphs(text: str) -> Iterator[str]:
    r"""Return the lines of a docstring as roff; a paragraph that begins with ``\b`` keeps its lines."""
    for number, paragraph in enumerate(re.split(r"\n\s*\n", text.strip())):
        if number:
            yield ".PP"
        if paragraph.startswith("\b"):
            yield from (".nf", escape(paragraph.removeprefix("\b").strip("\n")), ".fi")
        else:
            yield escape(" ".join(paragraph.split()))


def man_page(command: click.Command, context: click.Context) -> str:
    """Return the man page of a command."""
    path = context.command_path
    name = path.replace(" ", "-")
    help_text = inspect.cleandoc(command.help or "")
    summary, _, rest = help_text.partition("\n\n")
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [
        '.\\" Made by docs/generate.py.',
        f'.TH "{name.upper()}" "1" "" "psanacli {__version__}" "psanacli"',
        ".SH NAME",
        f"{escape(name)} \\- {escape(' '.join(summary.split()).rstrip('.'))}",
        ".SH SYNOPSIS",
        f".B {escape(path)}",
        escape(usage),
    ]
    if rest:
        lines += [".SH DESCRIPTION", *paragraphs(rest)]
    if isinstance(command, WithExamples) and command.examples:
        lines.append(".SH EXAMPLES")
        for line, meaning in command.examples:
            lines += [".TP", f"\\fB{escape(line)}\\fP", escape(meaning)]
    options = [parameter for parameter in command.get_params(context) if isinstance(parameter, click.Option)]
    lines.append(".SH OPTIONS")
    for spelling, meaning in filter(None, (option.get_help_record(context) for option in options)):
        lines += [".TP", f"\\fB{escape(spelling)}\\fP", escape(" ".join(meaning.split()))]
    if isinstance(command, Verbs):
        lines.append(".SH VERBS")
        for verb, entry in command.verbs.items():
            lines += [".TP", f"\\fB{escape(f'{name}-{verb}')}\\fP(1)", escape(entry.help)]
    lines.append(".SH EXIT STATUS")
    for code, meaning in EXIT_STATUS.items():
        lines += [".TP", f"\\fB{code}\\fP", escape(meaning)]
    lines.append(".SH ENVIRONMENT")
    for variable, meaning in ENVIRONMENT.items():
        lines += [".TP", f"\\fB{variable}\\fP", escape(meaning)]
    others = [other for other in relatives(command, context) if other != name]
    lines += [".SH SEE ALSO", ",\n".join(f".BR {escape(other)} (1)" for other in others)]
    return "\n".join(lines).replace("(1),\n", "(1) ,\n") + "\n"


def manual_page(page: Page) -> str:
    """Return the man page of a page of the manual."""
    name = f"psana-{page.topic}"
    lines = [
        '.\\" Made by docs/generate.py.',
        f'.TH "{name.upper()}" "7" "" "psanacli {__version__}" "psanacli"',
        ".SH NAME",
        f"{escape(name)} \\- {escape(page.summary)}",
    ]
    for heading, items in page.sections:
        lines.append(f".SH {heading}")
        for number, item in enumerate(items):
            if isinstance(item, tuple):
                lines += [".TP", f"\\fB{escape(item[0])}\\fP", escape(item[1])]
            else:
                lines += [*([".PP"] if number else []), *paragraphs(item)]
    return "\n".join([*lines, ".SH SEE ALSO", ".BR psana (1)"]) + "\n"


def relatives(command: click.Command, context: click.Context) -> Iterator[str]:
    """Return the names of the pages of `psana`, the group of a command and its members, and the members of a group."""
    at: click.Context | None = context
    groups = []
    while at is not None:
        if isinstance(at.command, Verbs):
            groups.append((at.command_path.replace(" ", "-"), at.command.verbs))
        at = at.parent
    for page, verbs in reversed(groups):
        if page == "psana":
            yield page
        yield from (f"{page}-{verb}" for verb in verbs)


def man_pages() -> Iterator[tuple[str, str]]:
    """Return name and text of every man page; a verb of a group has one of its own, ``psana-GROUP-VERB.1``."""
    top = click.Context(psana, info_name="psana", **psana.context_settings)
    for command, context in [(psana, top), *psana.walk(top)]:
        yield f"{context.command_path.replace(' ', '-')}.1", man_page(command, context)
    for page in PAGES.values():
        yield f"psana-{page().topic}.7", manual_page(page())


def completions() -> Iterator[tuple[str, str]]:
    """Return shell and name, and text, of every completion. They ask `psana` itself, so they need no news of verbs."""
    for shell, name in SHELLS.items():
        kind = get_completion_class(shell)
        assert kind is not None
        yield f"{shell}/{name}", kind(psana, {}, "psana", "_PSANA_COMPLETE").source().rstrip("\n") + "\n"


def main(directory: Path) -> None:
    """Write all files under `directory`."""
    files = [*((f"man/{name}", text) for name, text in man_pages())]
    files += ((f"completions/{name}", text) for name, text in completions())
    for name, text in files:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent)
