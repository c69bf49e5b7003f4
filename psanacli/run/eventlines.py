"""The forms in which a line of a list of events is understood."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, NoReturn

from psanacli.errors import UsageError
from psanacli.run.times import parse_time

EXPECTED = "a line is like: xpptut15 r54 1436954400.123456789 f12345 (see psana help events)"
_NANO = 1_000_000_000
_SHOWN = 60  # letters of a line in a message


class Line(NamedTuple):
    """One event of a list; -1, or an empty name, is what the line does not tell."""

    experiment: str = ""
    run: int = -1
    seconds: int = -1
    nanoseconds: int = -1
    fiducials: int = -1
    number: int = -1


_EVENT = re.compile(
    r"(?:(?!r\d+\s)(?:[A-Za-z]{3}/)?(?P<experiment>[A-Za-z][\w-]*)\s+)?(?:r(?P<run>\d{1,9})\s+)?"
    r"(?:(?P<seconds>\d{1,10})\.(?P<nanoseconds>\d{9})|(?P<time>\d{4}-\d\d-\d\d[T ]\S+))"
    r"(?:\s+f(?P<fiducials>\d{1,6}))?",
    re.ASCII,
)
_NUMBERS = re.compile(r"[(\[]*\s*\d+\s*[)\]]*(?:[\s,;]+[(\[]*\s*\d+\s*[)\]]*){0,2}[)\],;\s]*", re.ASCII)
_IDX_TIME = re.compile(r"(?:psana\.)?EventTime\(\s*(\d{1,20})\s*,\s*(\d{1,6})\s*\)", re.ASCII)
_XTC_ID = re.compile(
    r"XtcEventId\(\s*run=(?P<run>\d{1,9}),\s*time=(?P<time>[^,]*),\s*fiducials=(?P<fiducials>\d{1,6})\b[^)]*\)",
    re.ASCII,
)
_COLUMNS = ("experiment", "run", "number", "event", "time", "seconds", "nanoseconds", "fiducials", "id")


class _Reader:
    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.number = 0
        self.text = ""
        self.header: list[str] | None = None

    def fail(self, what: str, hint: str = EXPECTED) -> NoReturn:
        shown = self.text if len(self.text) <= _SHOWN else self.text[:_SHOWN] + "..."
        raise UsageError(f"{self.origin}, line {self.number}: {what}: {shown!r}", hint)

    def checked(self, line: Line) -> Line:
        if line.seconds >= 1 << 32 or line.nanoseconds >= _NANO:
            self.fail("no time of the data", "seconds are below 4294967296, nanoseconds below 1000000000")
        if line.fiducials >= 1 << 17:
            self.fail("no fiducials", "they are below 131072")
        if line.number >= 1 << 62 or line.run >= 1 << 32:
            self.fail("the number is too large")
        return line

    def time(self, text: str) -> tuple[int, int]:
        try:
            return divmod(parse_time(text), _NANO)
        except UsageError as error:
            self.fail("no time", error.hint)

    def line(self, text: str) -> Line:
        """Return the event of a line."""
        found = _EVENT.fullmatch(text)
        if found:
            experiment, run, seconds, nanoseconds, time, fiducials = found.groups()
            second, nanosecond = self.time(time) if time else (int(seconds), int(nanoseconds))
            return Line(experiment or "", int(run or -1), second, nanosecond, int(fiducials or -1))
        if _NUMBERS.fullmatch(text):
            return self.numbers([int(word) for word in re.findall(r"\d+", text)])
        found = _IDX_TIME.search(text)
        if found:
            return self.numbers([int(found[1]), int(found[2])])
        found = _XTC_ID.search(text)
        if found:
            time = re.sub(r"([+-]\d\d)$", r"\1:00", found["time"].strip())
            return Line("", int(found["run"]), *self.time(time), int(found["fiducials"]))
        self.fail("no event")

    def numbers(self, numbers: list[int]) -> Line:
        """Return the event of one number, of the two of an EventTime, or of three."""
        if len(numbers) == 1:
            return Line(number=numbers[0])
        if len(numbers) == 3:
            return Line("", -1, *numbers)
        time, fiducials = numbers
        if not 1 << 32 <= time < 1 << 64:
            self.fail("no event", f"two numbers are the time and the fiducials of an EventTime; {EXPECTED}")
        return Line("", -1, time >> 32, time & 0xFFFFFFFF, fiducials)

    def named(self, values: dict[str, Any]) -> Line:
        """Return the event of named values: of an object of JSON, or of a row of a table."""
        known = {name: values[name] for name in _COLUMNS if values.get(name) not in (None, "")}
        if "id" in known:
            return self.line(str(known["id"]))
        experiment = str(known.get("experiment", ""))
        run, fiducials = self.whole(known, "run"), self.whole(known, "fiducials")
        if "seconds" in known and "nanoseconds" in known:
            return Line(experiment, run, self.whole(known, "seconds"), self.whole(known, "nanoseconds"), fiducials)
        if "time" in known:
            return Line(experiment, run, *self.time(str(known["time"])), fiducials)
        number = self.whole(known, "number" if "number" in known else "event")
        if number < 0:
            self.fail("nothing tells which event", "it has to have id, number, time, or seconds and nanoseconds")
        return Line(experiment, run, number=number)

    def whole(self, values: dict[str, Any], name: str) -> int:
        value = values.get(name)
        if value is None:
            return -1
        if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 20:
            return int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63:
            return value
        self.fail(f"{name} is no number")

    def json(self, text: str) -> Line:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            self.fail("no JSON", "an object has to stand in one line: jq -c prints it so")
        if not isinstance(value, dict):
            self.fail("no object of JSON")
        return self.named(value)

    def is_header(self, text: str) -> bool:
        names = text.split("\t")
        return any(name.strip() in _COLUMNS for name in names) and not any(name.strip().isdecimal() for name in names)


def read_lines(text: str, origin: str) -> Iterator[Line]:
    """Give the events of a text, line by line.

    Raises
    ------
    UsageError
        A line is no event; with the line and what was expected.
    """
    reader = _Reader(origin)
    first = True
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip("\r") if reader.header else raw.strip()
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        reader.number, reader.text = number, line.strip()
        if first and reader.is_header(line):
            reader.header = [name.strip() for name in line.split("\t")]
        else:
            yield reader.checked(_parser(reader, line)(line))
        first = False


def _parser(reader: _Reader, line: str) -> Callable[[str], Line]:
    if line.lstrip().startswith("{"):
        return reader.json
    if reader.header is None:
        return lambda text: reader.line(text.partition("#")[0].rstrip())
    names = reader.header

    def row(text: str) -> Line:
        words = [word.strip() for word in text.split("\t")]
        if len(words) != len(names):
            reader.fail(f"{len(words)} columns", f"the first line names {len(names)}")
        return reader.named(dict(zip(names, words, strict=True)))

    return row
