"""What a join is asked for, as it is written on a command line: ``NAME=FILE,zone=...,how=...``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from psanacli.errors import UsageError, did_you_mean
from psanacli.outside.matching import checked_how, parse_tolerance
from psanacli.outside.times import ReadOptions

KEYS = ("time", "zone", "how", "tolerance", "unit", "epoch", "dates", "group", "states")
"""What can be said of a file, behind it."""
NAME = r"[A-Za-z_]\w*"
"""A name of joined values, as expressions have it."""


@dataclass(frozen=True)
class Request:
    """A table to join.

    Attributes
    ----------
    name : str
        Of the joined values.
    path : str
        The file.
    options : ReadOptions
        How it is read.
    how, tolerance : str
        As of `match` and `parse_tolerance`; empty for the default.
    """

    name: str
    path: str
    options: ReadOptions = field(default_factory=ReadOptions)
    how: str = ""
    tolerance: str = ""


def parse_request(text: str) -> Request:
    """Return the request ``NAME=FILE[,KEY=VALUE...]``.

    Raises
    ------
    UsageError
        It has another form, a key that does not exist, or a value that a key cannot have.

    Examples
    --------
    >>> parse_request("laser=energy.csv,zone=UTC,how=previous").path
    'energy.csv'
    """
    name, equals, rest = text.partition("=")
    if not equals or not rest or not re.fullmatch(NAME, name.strip(), re.ASCII):
        raise UsageError(
            f"{text!r} does not say what to join",
            "write NAME=FILE, such as laser=energy.csv,zone=UTC; the name has letters, digits and _ only",
        )
    words = rest.split(",")
    values: dict[str, str] = {}
    # A comma may be in the name of the file: what is behind it begins with a key.
    while len(words) > 1 and (found := re.fullmatch(r"\s*([a-z_]+)\s*=(.*)", words[-1], re.ASCII)):
        key, value = found[1], found[2].strip()
        if key not in KEYS:
            hint = did_you_mean(key, KEYS, f"there are {', '.join(KEYS)}")
            raise UsageError(f"{text!r}: there is no {key}=", hint)
        if key in values:
            raise UsageError(f"{text!r}: {key}= is there twice")
        if not value:
            raise UsageError(f"{text!r}: {key}= is empty")
        values[key] = value
        words.pop()
    path = ",".join(words).strip()
    if not path:
        raise UsageError(f"{text!r} names no file", "write NAME=FILE")
    how, tolerance = values.pop("how", ""), values.pop("tolerance", "")
    if how:
        checked_how(how)
    if tolerance:
        parse_tolerance(tolerance)
    states = tuple(word.strip() for word in values.pop("states", "").split("+") if word.strip())
    return Request(name.strip(), path, ReadOptions(**values, states=states), how, tolerance)
