"""Pages of the manual that are about no verb: what `psana help TOPIC` prints, and `docs/generate.py` makes pages of."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Item = str | tuple[str, str]
"""A paragraph, or a term with what it means; a paragraph that begins with ``\\b`` keeps its lines."""


@dataclass(frozen=True)
class Page:
    """A page of the manual.

    Attributes
    ----------
    topic : str
        Its name behind ``psana help``.
    summary : str
    sections : tuple of (str, tuple of items)
    """

    topic: str
    summary: str
    sections: tuple[tuple[str, tuple[Item, ...]], ...]

    def lines(self, width: int) -> Iterator[str]:
        """Return the page as text."""
        yield from textwrap.wrap(f"{self.topic} - {self.summary}", width)
        for heading, items in self.sections:
            yield from ("", heading)
            for number, item in enumerate(items):
                if isinstance(item, tuple):
                    term, meaning = item
                    yield f"  {term}"
                    yield from textwrap.wrap(meaning, width, initial_indent="      ", subsequent_indent="      ")
                    continue
                if number:
                    yield ""
                if item.startswith("\b"):
                    yield from (f"    {line}" for line in item.removeprefix("\b").strip("\n").splitlines())
                else:
                    yield from textwrap.wrap(item, width, initial_indent="  ", subsequent_indent="  ")


def expressions() -> Page:
    """Return the page of the language for choosing events."""
    from psanacli.run.expressions import EVENT_COLUMNS, FUNCTIONS, LOOKUPS, SHIFT_MEANING, SHIFT_USAGE

    functions = {name: (each.usage, each.meaning) for name, each in FUNCTIONS.items()}
    of_events = ("absent", "missing", "present", "default", "where")
    return Page(
        "expressions",
        "the language for choosing events, and for values made of several",
        (
            (
                "DESCRIPTION",
                (
                    "An expression says for each event of a run whether it is chosen (--where, run.events.select), or "
                    "what a column shows (--columns, run.evaluate). It is the same in all commands and in the API.",
                    "\bcode(140) and not code(162)\n"
                    "damaged(cspad) or absent(cspad)\n"
                    "step == 3 and EBeam.ebeamPhotonEnergy > 9.49e3\n"
                    "9480 < EBeam.ebeamPhotonEnergy < 9510\n"
                    "epics('CXI:SC1:MMS:01.RBV') > 0.5\n"
                    "time >= '2015-07-15 10:00'\n"
                    "any(det('XppSb2Ipm.1:Ipimb.0/IpmFex').channel > 2) and shift(code(162), -1)\n"
                    "sum(opal_1.data16[100:200, 50:80]) > 1e6",
                    "Operators are, from weak to strong: or; and; not; < <= > >= == != in, not in (a list such as [1, "
                    "2]); + -; * / // %; a sign; **. Comparisons may be chained. Words and names of functions may be "
                    "in capitals.",
                ),
            ),
            (
                "NAMES",
                (
                    "DETECTOR.FIELD is the value of a field of a detector. The detector is called as everywhere: by "
                    "the name of the data acquisition (opal_1), by its source, or by a part of it; case, and - for _, "
                    "do not matter. psana info shows the detectors; a wrong name is answered with the nearest.",
                    "A name that has other letters than a to z, digits and _ is written det('...') or in backticks: "
                    "det('XppEndstation.0:Opal1000.1').data16, `ipm3/IpmFex`.sum. In a shell with double quotes around "
                    "the expression only det('...') works. Elements of an array follow in brackets: channel[0], "
                    "data16[10:20, 5]. What the option --with joins is called NAME.FIELD too, and goes first.",
                    "Quantities of the event itself are:",
                    *((name, meaning[0].upper() + meaning[1:] + ".") for name, meaning in EVENT_COLUMNS.items()),
                ),
            ),
            (
                "LOOKED UP BY NAME OR NUMBER",
                (*((each.usage, each.meaning) for each in LOOKUPS.values()), (SHIFT_USAGE, SHIFT_MEANING)),
            ),
            ("ABSENT VALUES", tuple(functions[name] for name in of_events)),
            ("FUNCTIONS", tuple(pair for name, pair in functions.items() if name not in of_events)),
            (
                "WHAT IS ABSENT",
                (
                    "An event may lack a value: the detector is not in it, or damaged, or there is no such event to "
                    "shift to. What is calculated from an absent value is absent, and a condition that is absent does "
                    "not choose the event: neither EBeam.x > 1 nor EBeam.x != 1 nor not (EBeam.x > 1) holds where "
                    "EBeam is absent. Ask for it with absent(EBeam), or fill in with default(EBeam.x, 0). and, or "
                    "know the answer where one side decides alone: absent and False is False, absent or True is True.",
                    "A number that is there but not a number (NaN) compares as IEEE 754 says: it equals nothing, not "
                    "even itself; != holds, everything else does not, so not (x > 1) does. Ask with isnan(x).",
                ),
            ),
            (
                "NUMBERS, TIMES AND TEXTS",
                (
                    "Whole numbers are counted in 64 bits and nothing wraps around; where they do not fit, and with /, "
                    "** and fractions, double precision is used. Division by zero gives infinity or NaN. Values are "
                    "compared exactly: a field of 32 bits that shows as 0.1 is not equal to 0.1.",
                    "Times are UTC, or have a zone: '2015-07-15 10:00-07:00'. A time minus a time is a number of "
                    "seconds; a time plus a number of seconds is a time. Texts, such as labels of a scan, are compared "
                    "with == and in; an EPICS enumeration can be compared with its texts.",
                    "A function over the elements of an array, such as sum, gives a value an event; nothing goes over "
                    "the events of a run.",
                ),
            ),
            (
                "LIMITS",
                (
                    "Nothing is executed but what stands here. An expression has 20 000 letters, 40 open brackets and "
                    "200 levels at most; many single events are better given as a list to --events.",
                ),
            ),
        ),
    )


def events() -> Page:
    """Return the page of lists of events."""
    return Page(
        "events",
        "how events are named in commands and in lists",
        (
            (
                "DESCRIPTION",
                (
                    "--events takes a slice as in Python (0:100, ::10, -5:), the number of one event, the name of a "
                    "file with a list of events, or - for a list on standard input. Numbers count from 0 in each run. "
                    "--where takes an expression, see psana help expressions; both together mean events that are in "
                    "the one and satisfy the other.",
                    "A list has one event a line: experiment, run, seconds and nanoseconds since 1970 (UTC), and "
                    "fiducials. It can be edited, mailed, and kept for years: time and fiducials name an event for "
                    "ever, whatever files it is in. Everything behind # is a remark. Order and repetitions stay, but "
                    "a translated file has events in the order of the run, and each once.",
                    "\b# good shots of the morning\n"
                    "xpptut15 r54 1436954400.123456789 f12345\n"
                    "xpptut15 r55 1436955000.987654321 f54321   # the best one",
                ),
            ),
            (
                "FORMS OF A LINE",
                (
                    (
                        "[EXPERIMENT] [rRUN] SECONDS.NANOSECONDS [fFIDUCIALS]",
                        "What psana eventid select prints. What is left out is not compared; the nanoseconds have "
                        "nine digits. The time may also be written 2015-07-15T10:00:00.123456789.",
                    ),
                    ("NUMBER", "The number of an event, when the data are one run."),
                    ("SECONDS NANOSECONDS FIDUCIALS", "Three numbers; brackets and commas do not matter."),
                    (
                        "EventTime(TIME, FIDUCIALS), XtcEventId(...)",
                        "What scripts of the facility's software save and print.",
                    ),
                    (
                        '{"run": 54, "seconds": 1436954400, "nanoseconds": 123456789, "fiducials": 12345}',
                        "An object of JSON, such as psana eventid list --json prints; with time, or with number, in "
                        "place of seconds and nanoseconds as well. Other names do not count.",
                    ),
                    (
                        "A table with tabs",
                        "Its first line names the columns, as psana eventid list --tsv prints it: experiment, run, "
                        "number, time, seconds, nanoseconds, fiducials, id; others do not count.",
                    ),
                ),
            ),
            (
                "WHAT IS MISSING",
                (
                    "An event of a list that is in none of the runs is an error, unless --missing-ok is given; it is "
                    "counted then. psana eventid check tells which they are. The name of an experiment is not compared "
                    "with the prefix of files (e158), when only that is known.",
                ),
            ),
        ),
    )


def masks() -> Page:
    """Return the page of the expression that says which pixels are bad."""
    from psanacli.calib import MASK_TERMS, PIXEL_TYPES

    numbers = [name for name in PIXEL_TYPES if name != "pixel_mask"]
    return Page(
        "masks",
        "the expression that says which pixels are bad",
        (
            (
                "DESCRIPTION",
                (
                    "psana calib mask --bad EXPR takes an expression that is true for bad pixels. Its grammar is that "
                    "of psana help expressions; the names are others.",
                    "\bstatus or edges(1) or unbonded\n"
                    "status(1, 2) and not (panel == 3)\n"
                    "pixel_rms > 5 * median(pixel_rms) or gain < 0.5\n"
                    "near(status, 2, 'disc') or disc(3, 90, 40, 12) or file('beamstop.npy')\n"
                    "panel in [4, 5] and row < 10",
                    "A result is 0 where the expression is true and 1 elsewhere. Constants with an array for each gain "
                    "range make a pixel bad when it is so in any range; pedestals[2] is those of range 2 alone.",
                ),
            ),
            ("SETS OF BAD PIXELS", tuple((usage, meaning + ".") for usage, meaning in MASK_TERMS.values())),
            (
                "NUMBERS OF PIXELS",
                (
                    ("panel, row, column", "Where the pixel is; all count from 0."),
                    (", ".join(numbers), "Constants that apply to the run; pixel_ may be left out, as in rms > 20."),
                    ("median(X), mean(X), std(X)", "Of all pixels, for each gain range."),
                    ("abs(X)", "Without sign."),
                ),
            ),
        ),
    )


PAGES: dict[str, Callable[[], Page]] = {"expressions": expressions, "events": events, "masks": masks}
