"""The tree of an expression: numbers, texts, names and calls, each with its place; and errors that point there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from psanacli.errors import PsanaError, UsageError

_WIDTH = 100  # letters of the expression that an error shows

Span = tuple[int, int]


class Place(NamedTuple):
    """A part of the text of an expression."""

    text: str
    span: Span

    def shown(self) -> str:
        """Return the text with a line of carets below the part; of a long one the piece around it."""
        start, stop = self.span
        first = 0 if len(self.text) <= _WIDTH else max(0, min(start - _WIDTH // 3, len(self.text) - _WIDTH))
        piece = self.text[first : first + _WIDTH].replace("\n", " ").replace("\t", " ")
        before, after = "..." if first else "", "..." if first + _WIDTH < len(self.text) else ""
        width = max(1, min(stop, first + _WIDTH) - start)
        return f"{before}{piece}{after}\n{' ' * (len(before) + start - first)}{'^' * width}"


class ExpressionError(UsageError):
    """An expression is wrong; the hint shows where.

    Attributes
    ----------
    place : Place
    """

    def __init__(self, message: str, place: Place, hint: str = "") -> None:
        self.place = place
        super().__init__(message, place.shown() + (f"\n{hint}" if hint else ""))


def pointed(error: PsanaError, place: Place) -> PsanaError:
    """Return an error with the place in the expression that it is about; kind and exit code stay."""
    return type(error)(error.message, place.shown() + (f"\n{error.hint}" if error.hint else ""))


@dataclass(frozen=True)
class Node:
    """A part of an expression; two that are spelled alike are equal wherever they stand."""

    span: Span = field(compare=False)
    level: int = field(compare=False)


@dataclass(frozen=True)
class Constant(Node):
    """A number, a text, or True or False."""

    value: int | float | str | bool
    kind: str


@dataclass(frozen=True)
class Name(Node):
    """A name: its parts between the dots."""

    parts: tuple[str, ...]

    @property
    def text(self) -> str:
        """The name with dots."""
        return ".".join(self.parts)


@dataclass(frozen=True)
class Call(Node):
    """A function and its arguments."""

    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True)
class Operation(Node):
    """An operator of numbers with one or two operands."""

    operator: str
    operands: tuple[Node, ...]


@dataclass(frozen=True)
class Comparison(Node):
    """``a < b``, ``a < b <= c``; the right side of ``in`` is a `Listing`."""

    operators: tuple[str, ...]
    operands: tuple[Node, ...]


@dataclass(frozen=True)
class Logic(Node):
    """``and`` or ``or`` of two or more, ``not`` of one."""

    operator: str
    operands: tuple[Node, ...]


@dataclass(frozen=True)
class Listing(Node):
    """What stands in ``[...]`` or ``(..., ...)`` behind ``in``."""

    items: tuple[Node, ...]


@dataclass(frozen=True)
class Element(Node):
    """``x[2]``, ``x[0, 10:20]``: some of the elements that a value has in each event."""

    value: Node
    index: tuple[int | tuple[int | None, int | None, int | None], ...]

    def as_index(self) -> tuple[int | slice, ...]:
        """Return what indexes the array of one event."""
        return tuple(slice(*each) if isinstance(each, tuple) else each for each in self.index)
