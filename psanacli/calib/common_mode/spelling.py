"""Common modes from texts, and from the numbers of the original."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

from psanacli.calib.common_mode.averages import BLOCK, BinnedMedian, Histogram, Mean, Unbonded
from psanacli.calib.common_mode.base import COMMON_MODES, CommonMode, Off
from psanacli.calib.common_mode.medians import GoodMedian, Median, PnccdMedian
from psanacli.calib.kinds import KINDS
from psanacli.errors import UsageError, did_you_mean


def from_numbers(numbers: Sequence[float], detector: str) -> CommonMode:
    """Return the common mode of a list of numbers as the original has them: the algorithm, then its parameters.

    Parameters that are missing have the defaults of the algorithm; the original reads whatever lies in memory there
    (traps T5, T49).  Numbers behind the last parameter do not count.

    Raises
    ------
    UsageError
        There is no such algorithm, or a number is not finite.
    """
    values = [float(number) for number in numbers]
    if not values or not all(math.isfinite(value) for value in values):
        hint = "expected an algorithm and its parameters: 1,25,25,100"
        raise UsageError(f"{_listed(values)} is not a common mode", hint)
    number, rest = values[0], values[1:]
    kind = next((kind for kind in COMMON_MODES.values() if kind.number == number), None)
    if kind is None:
        known = ", ".join(f"{kind.number} {word}" for word, kind in COMMON_MODES.items())
        raise UsageError(f"there is no common mode {number:g}", f"there are {known}")
    given: dict[str, Any] = {}
    if kind is Histogram:
        given = dict(zip(("max_mean", "max_sigma", "min_peak"), rest, strict=False))
        tail = rest[3:]
        if detector in ("Cspad", "Cspad2x2"):
            given |= {"unbonded": tail[0] > 0.1} if tail else {}
        elif tail:
            counts = [int(value) for value in tail]
            given |= {"regions": max(counts[0], 1), "length": counts[1] if len(counts) > 1 else 0}
            given |= {"stride": max(counts[2], 1)} if len(counts) > 2 else {}
    elif kind in (Mean, BinnedMedian):
        given = dict(zip(("threshold", "max_correction", "length"), rest, strict=False))
        if "length" in given:
            given["length"] = int(given["length"]) if given["length"] >= 100 else BLOCK
    elif kind is Unbonded:
        given = dict(zip(("max_correction",), rest, strict=False))
    elif kind is Median:
        names = ("rows", "columns") if detector == "Fccd960" else ("banks", "rows", "columns")
        given = {**_switched(rest, names), **dict(zip(("half_range", "max_correction"), rest[1:], strict=False))}
    elif kind is GoodMedian:
        given.update(_switched(rest, ("rows", "columns", "banks")))
        given.update(zip(("max_correction", "min_pixels"), rest[1:], strict=False))
    elif kind is PnccdMedian:
        given.update(_switched(rest, ("bank_rows", "rows", "columns", "banks")))
        given.update(zip(("max_correction",), rest[1:], strict=False))
    if "min_pixels" in given:
        given["min_pixels"] = int(given["min_pixels"])
    return kind(**given)


def _switched(rest: Sequence[float], names: Sequence[str]) -> dict[str, bool]:
    return {name: bool(int(rest[0]) >> bit & 1) for bit, name in enumerate(names)} if rest else {}


def _listed(values: Iterable[float]) -> str:
    return ",".join(f"{value:g}" for value in values) or "nothing"


def parse_common_mode(text: str, detector: str) -> CommonMode:
    """Return the common mode that a text names: ``1,25,25,100``, ``histogram``, ``mean:threshold=30,length=256``.

    Raises
    ------
    UsageError
        It names none, or a parameter that the algorithm does not have.
    """
    text = text.strip()
    word, _, rest = text.partition(":")
    kind = COMMON_MODES.get(word.strip().lower().replace("_", "-"))
    if kind is None:
        try:
            numbers = [float(part) for part in text.replace(",", " ").split()]
        except ValueError:
            hint = did_you_mean(word, COMMON_MODES, f"there are {', '.join(COMMON_MODES)}, or numbers as 1,25,25,100")
            raise UsageError(f"there is no common mode {word!r}", hint) from None
        return from_numbers(numbers, detector)
    known = {field.name: field for field in fields(kind)}
    given: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in rest.split(","))):
        name, equals, value = part.partition("=")
        name = name.strip().replace("-", "_")
        if name not in known or not equals:
            hint = did_you_mean(name, known, f"there are {', '.join(known) or 'none'}")
            raise UsageError(f"common mode {kind.word} has no parameter {part!r}", hint)
        given[name] = _value(kind, name, value.strip(), getattr(kind, name))
    return kind(**given)


_SWITCHES = {"yes": True, "no": False, "1": True, "0": False, "true": True, "false": False, "on": True, "off": False}


def _value(kind: type[CommonMode], name: str, text: str, default: Any) -> bool | int | float:
    """Return a parameter as its default is: a switch, a whole number, a number."""
    expected = {bool: "yes or no", int: "a whole number"}.get(type(default), "a number")
    try:
        if isinstance(default, bool):
            return _SWITCHES[text.lower()]
        value = int(text) if isinstance(default, int) else float(text)
        if math.isfinite(value):
            return value
    except (KeyError, ValueError):
        pass
    raise UsageError(f"{name}={text} of common mode {kind.word}: expected {expected}")


def default_common_mode(detector: str) -> CommonMode:
    """Return what is done for a kind of detector when nothing is said and the store has no file.

    It is what takes effect in the original (5.6), see `DetectorKind.common_mode_in_effect`.
    """
    kind = KINDS.get(detector)
    return Off() if kind is None else from_numbers(kind.common_mode_in_effect, detector)
