"""What verbs print: tables, JSON, notes, progress.

Results go to stdout, everything else to stderr. A terminal gets colour and rich tables, anything else plain text with
aligned columns; `NO_COLOR` is honoured. rich is loaded only when a terminal shows a table or a bar.
"""

from __future__ import annotations

import math
import os
import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TextIO

import click

if TYPE_CHECKING:
    from rich.console import Console

QUIET = "psanacli.quiet"
VERBOSE = "psanacli.verbose"
WORDS = "psanacli.words"

Align = Literal["<", ">"]


def _asked(key: str) -> bool:
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(key))


def quiet() -> bool:
    """Whether the user said ``-q``."""
    return _asked(QUIET)


def verbose() -> bool:
    """Whether the user said ``-v``."""
    return _asked(VERBOSE)


def command_line() -> str:
    """Return the command line that is being run, as it would be typed."""
    return shlex.join(click.get_current_context().meta.get(WORDS, ("psana",)))


# --- terminal -------------------------------------------------------------------------------------------------------


def is_terminal(stream: TextIO | None = None) -> bool:
    """Whether `stream` (default stdout) is a terminal that can do more than print lines."""
    stream = stream or sys.stdout
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def _coloured(text: str, stream: TextIO, **style: Any) -> str:
    return click.style(text, **style) if is_terminal(stream) and not os.environ.get("NO_COLOR") else text


def rich_console(stream: TextIO | None = None) -> Console:
    """Return a rich console on `stream` (default stdout)."""
    from rich.console import Console

    return Console(file=stream or sys.stdout, highlight=False, soft_wrap=False)


def _say(kind: str, colour: str, text: str, hint: str = "") -> None:
    if sys.stderr is None:
        return
    head = _coloured(kind, sys.stderr, fg=colour, bold=True)
    lines = [f"psana: {head}: {text}"] + [f"  {line}" for line in hint.splitlines()]
    click.echo("\n".join(lines), file=sys.stderr)


def error(text: str, hint: str = "") -> None:
    """Say on stderr why the command failed, and what to do next."""
    _say("error", "red", text, hint)


def warn(text: str, hint: str = "") -> None:
    """Say on stderr what the user must know although the command goes on; ``-q`` does not hide it."""
    _say("warning", "yellow", text, hint)


def note(text: str) -> None:
    """Say something useful on stderr, unless the user said ``-q``."""
    if not quiet() and sys.stderr is not None:
        click.echo(text, file=sys.stderr)


# --- tables ---------------------------------------------------------------------------------------------------------


def table(
    headers: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    title: str = "",
    align: str | None = None,
) -> None:
    """Print a table to stdout.

    Parameters
    ----------
    headers : sequence of str
        Names of the columns; all empty for a table without a head.
    rows : iterable of sequences
        The cells; None shows as nothing, all else as `str` gives it.
    title : str
        A line above the table.
    align : str, optional
        A character for each column: ``<`` left, ``>`` right. Default: a column of numbers to the right.
    """
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    align = align or "".join(_natural_align([row[k] for row in cells]) for k in range(len(headers)))
    if is_terminal():
        _rich_table(headers, cells, title, align)
    else:
        _plain_table(headers, cells, title, align)


def _natural_align(column: Sequence[str]) -> Align:
    def like_number(cell: str) -> bool:
        return cell[:1].isdigit() or (cell[:1] in "+-." and cell[1:2].isdigit())

    filled = [cell for cell in column if cell]
    return ">" if filled and all(map(like_number, filled)) else "<"


def _plain_table(headers: Sequence[str], rows: list[list[str]], title: str, align: str) -> None:
    if title:
        click.echo(title)
    lines = [list(headers), *rows] if any(headers) else rows
    widths = [max((len(line[k]) for line in lines), default=0) for k in range(len(headers))]
    for line in lines:
        row = (f"{cell:{way}{width}}" for cell, way, width in zip(line, align, widths, strict=True))
        click.echo("  ".join(row).rstrip())


def _rich_table(headers: Sequence[str], rows: list[list[str]], title: str, align: str) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shown = Table(
        box=box.SIMPLE_HEAD,
        show_header=any(headers),
        pad_edge=False,
    )
    for name, way in zip(headers, align, strict=True):
        shown.add_column(Text(name), justify="right" if way == ">" else "left", overflow="fold")
    for row in rows:
        shown.add_row(*map(Text, row))
    console = rich_console()
    if title:  # a title of the table would be folded to its width
        console.print(Text(title, style="bold"))
    console.print(shown)


def bytes_text(count: float) -> str:
    """Return a number of bytes for people: ``276 MB`` (powers of ten, three digits).

    >>> bytes_text(276_000_000), bytes_text(1234), bytes_text(12)
    ('276 MB', '1.23 kB', '12 B')
    """
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 999.5 or unit == "TB":
            break
        count /= 1000
    return f"{count:.3g} {unit}" if count < 999.5 else f"{count:.0f} {unit}"


def duration_text(seconds: float) -> str:
    """Return a duration for people.

    >>> duration_text(3.21), duration_text(75), duration_text(7265)
    ('3.2 s', '1:15', '2:01:05')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


# --- JSON -----------------------------------------------------------------------------------------------------------


def json_text(value: object, *, indent: int | None = None, ascii_only: bool = False) -> str:
    """Return `value` as JSON, complete and valid.

    numpy scalars and arrays become numbers and nested lists; NaN and infinities, which JSON lacks, the strings
    ``"nan"``, ``"inf"`` and ``"-inf"``; bytes text (Latin-1); enumerations their numbers; times (`datetime64`) ISO
    text; mappings, tuples and other iterables objects and lists.
    """
    import json

    return json.dumps(_plain(value), indent=indent, ensure_ascii=ascii_only, allow_nan=False)


def print_json(value: object) -> None:
    """Print one JSON object to stdout, indented."""
    click.echo(json_text(value, indent=2, ascii_only=_ascii_only()))


def print_json_line(value: object) -> None:
    """Print one line of JSON to stdout: for lists that are long, or of which people want the beginning soon."""
    sys.stdout.write(json_text(value, ascii_only=_ascii_only()) + "\n")


def _ascii_only() -> bool:
    """Whether stdout is not known to print every letter."""
    return (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return _plain_float(value)
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    numpy = sys.modules.get("numpy")  # if it is not loaded, the value is none of its own
    if numpy is not None and isinstance(value, numpy.ndarray | numpy.generic):
        return _plain_numpy(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Iterable):
        return [_plain(item) for item in value]
    raise TypeError(f"no JSON for {type(value).__name__}")


def _plain_float(value: float) -> float | str:
    if math.isfinite(value):
        return float(value)
    return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"


def _plain_numpy(value: Any) -> Any:
    kind = value.dtype.kind
    if kind in "biu":
        return value.tolist()
    if kind == "f":
        import numpy as np

        return value.tolist() if np.isfinite(value).all() else _plain(value.tolist())
    if kind == "M":
        return _plain(value.astype("datetime64[ns]").astype(str).tolist())
    if kind == "V" and value.dtype.names:
        if value.ndim:
            return [_plain_numpy(row) for row in value]
        return {name: _plain_numpy(value[name]) for name in value.dtype.names}
    return _plain(value.tolist())


# --- progress -------------------------------------------------------------------------------------------------------


class Progress:
    """How far a command is: on a terminal a bar, else a line now and then; made by `progress`.

    Attributes
    ----------
    done, bytes : int
        What `advance` added up.
    """

    #: Seconds before anything shows: who finishes sooner needs no progress.
    PATIENCE = 2.0
    #: Seconds between two lines where there is no terminal.
    LINE_EVERY = 10.0
    #: Seconds between two pictures of a bar.
    BAR_EVERY = 0.1

    def __init__(self, what: str, total: int, unit: str) -> None:
        self.what = what
        self.total = total
        self.unit = unit
        self.done = 0
        self.bytes = 0
        self._start = time.monotonic()
        self._next = self._start + self.PATIENCE
        self._hidden = quiet() or sys.stderr is None
        self._bar = not self._hidden and is_terminal(sys.stderr)
        self._shown = False

    def advance(self, count: int, size: int = 0) -> None:
        """Count `count` more units, made of `size` bytes."""
        self.done += count
        self.bytes += size
        now = time.monotonic()
        if self._hidden or now < self._next:
            return
        self._next = now + (self.BAR_EVERY if self._bar else self.LINE_EVERY)
        self._shown = True
        if self._bar:
            sys.stderr.write(f"\r\x1b[K{self._line(now, bar=True)}")
            sys.stderr.flush()
        else:
            click.echo(self._line(now), file=sys.stderr)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar and self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def _line(self, now: float, bar: bool = False) -> str:
        import shutil

        elapsed = max(now - self._start, 1e-9)
        share = min(1.0, self.done / self.total) if self.total else 0.0
        parts = [f"{self.done}/{self.total} {self.unit}" if self.total else f"{self.done} {self.unit}"]
        parts.append(f"{self.done / elapsed:.3g}/s")
        if self.bytes:
            parts.append(f"{bytes_text(self.bytes / elapsed)}/s")
        if 0 < share < 1:
            parts.append(f"{duration_text(elapsed / share - elapsed)} left")
        text = "  ".join(parts)
        if not bar or not self.total:
            return f"{self.what}: {text}"
        width = shutil.get_terminal_size().columns - len(self.what) - len(text) - 5
        if width < 10:
            return f"{self.what}: {text}"[: shutil.get_terminal_size().columns - 1]
        full = round(share * width)
        filled = _coloured("━" * full, sys.stderr, fg="green")
        return f"{self.what} {filled}{'─' * (width - full)} {text}"


@contextmanager
def progress(what: str, total: int, unit: str = "events") -> Iterator[Progress]:
    """Show how far a command is while the body calls `advance`.

    Parameters
    ----------
    what : str
        A word or two before the bar.
    total : int
        How much there is to do; 0 if nobody knows.
    unit : str
        What is counted.
    """
    shown = Progress(what, total, unit)
    try:
        yield shown
    finally:
        shown.close()
