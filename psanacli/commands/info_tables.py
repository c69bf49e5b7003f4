"""What ``psana info`` shows to people: sections of the overview, and lists."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from psanacli.commands import console
from psanacli.outside import tolerance_text

if TYPE_CHECKING:
    from psanacli.run import DetectorSummary, EpicsSummary, Events, Presence, Run, RunSummary, StepSummary, TypeSummary

FEW = 10
"""Rows of a section in the overview; the options of `psana info` show all."""
MOST_VALUES = 4
"""Columns of values of the scan in the overview."""

IRREGULAR = {
    "late": "datagrams late in their stream, put in their place",
    "split": "second parts of split events",
    "repeated": "datagrams repeated in their stream, both kept",
    "dropped": "datagrams of control streams with equal clocks, not used",
    "bad_fiducials": "datagrams without fiducials, left out",
    "repeated_transitions": "transitions repeated, left out",
    "unmatched_control": "events with control data only",
    "unmatched_daq": "events without control data",
    "trimmed": "events trimmed by the level-3 trigger, left out",
    "epics_only": "events with nothing but EPICS, left out",
    "skipped": "events skipped on request",
    "damaged_datagrams": "damaged datagrams",
    "damaged_contributions": "damaged contributions",
    "dropped_contributions": "contributions that were dropped",
    "truncated_files": "files that end early",
    "missing_chunks": "chunks that are missing",
}
"""The counters in words."""


def title(run: Run) -> None:
    """Print whose run it is."""
    number = f" (experiment {run.experiment.number})" if run.experiment.number else ""
    click.echo(f"{run.experiment} run {run.number}{number}")


def overview(summary: RunSummary) -> None:
    """Print everything, long lists cut."""
    for name, text in _facts(summary):
        click.echo(f"  {name:<9} {text}")
    _streams(summary)
    _cut(steps, summary.steps, "--steps", summary)
    _detectors_short(summary)
    if summary.codes:
        gap()
        click.echo("event codes (in how many events)")
        codes = [f"{code}: {count}" for code, count in summary.codes.items()]
        click.echo(
            click.wrap_text("  ".join(codes).replace(": ", ":\u00a0"), _width(), "  ", "  ").replace("\u00a0", " ")
        )
    _cut(epics, summary.epics, "--epics", summary)
    _irregular(summary)


def _facts(summary: RunSummary) -> list[tuple[str, str]]:
    rates = [
        f"{rate:.4g} Hz {what}" for rate, what in ((summary.event_rate, "mean"), (summary.usual_rate, "usual")) if rate
    ]
    where = f"{len(summary.files)} file{'s' * (len(summary.files) != 1)}, {console.bytes_text(summary.bytes)}"
    facts = [
        ("time", f"{_time(summary.start)} to {_time(summary.end)} UTC, {console.duration_text(summary.duration)}"),
        (
            "events",
            ", ".join([f"{summary.events} in {len(summary.steps)} step{'s' * (len(summary.steps) != 1)}", *rates]),
        ),
        ("data", f"{where}, {summary.mode} of {summary.directory}"),
    ]
    return facts if summary.start is not None else [("time", "no data"), *facts[1:]]


def _cut(section: Callable[..., None], rows: tuple[Any, ...], option: str, summary: RunSummary) -> None:
    if rows:
        section(summary, FEW if len(rows) > FEW + 2 else len(rows))
        if len(rows) > FEW + 2:
            click.echo(f"... {len(rows) - FEW} more, see {option}")


def _streams(summary: RunSummary) -> None:
    rows = [
        (
            stream.stream,
            stream.kind,
            _chunks(stream.chunks),
            console.bytes_text(stream.bytes),
            stream.datagrams,
            stream.events,
        )
        for stream in summary.streams
    ]
    gap()
    console.table(("stream", "kind", "chunks", "size", "datagrams", "in events"), rows, align="><>>>>")


def _chunks(chunks: tuple[int, ...]) -> str:
    return str(chunks[0]) if len(chunks) == 1 else f"{chunks[0]}-{chunks[-1]}"


def steps(summary: RunSummary, limit: int | None = None) -> None:
    """Print the steps: first event, events, start, duration, values of the scan."""
    chosen = summary.steps[:limit]
    names = list(dict.fromkeys(name for step in summary.steps for name in (*step.values, *step.labels)))
    columns = names[:MOST_VALUES] if limit is not None else names
    rows: list[tuple[object, ...]] = []
    for step in chosen:
        first = () if limit is not None else (step.first,)
        lasts = console.duration_text(step.duration)
        rows.append((step.step, *first, step.events, _clock(step.start), lasts, *_values(step, columns)))
    gap()
    console.table(("step", *(() if limit is not None else ("first",)), "events", "start", "lasts", *columns), rows)
    if len(columns) < len(names):
        click.echo(f"... {len(names) - len(columns)} more values of each step, see --steps")


def _values(step: StepSummary, names: list[str]) -> list[str | None]:
    values = {name: f"{value:g}" for name, value in step.values.items()} | step.labels
    return [values.get(name) for name in names]


def _detectors_short(summary: RunSummary) -> None:
    """Print a row for every type of object in events; sources with nothing but configuration are left out."""
    rows = []
    for detector in summary.detectors:
        for number, kind in enumerate(found for found in detector.types if not found.config):
            head = (detector.name, detector.alias) if number == 0 else ("", "")
            rows.append((*head, *_type_cells(kind, summary.events)))
    if rows:
        gap()
        # A column that is empty in most runs is shown in the others only.
        columns = ["detector", "alias", "type", "array", "events"] + ["damaged"] * any(row[5] for row in rows)
        console.table(columns, [row[: len(columns)] for row in rows], align="<<<<>>"[: len(columns)])


def detectors(summary: RunSummary) -> None:
    """Print every source with all its objects, configuration included."""
    rows = [row for detector in summary.detectors for row in _detector_rows(detector, summary.events)]
    gap()
    head = ("detector", "alias", "type", "array", "events", "damaged", "size", "damage")
    console.table(head, rows, align="<<<<>>><")


def _detector_rows(detector: DetectorSummary, events: int) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    if not detector.types:
        what = "(the scan)" if detector.alias else "(EPICS)"
        return [(detector.name, detector.alias, "", what, None, None, "", "")]
    for number, kind in enumerate(detector.types):
        head = (detector.name, detector.alias) if number == 0 else ("", "")
        damage = ", ".join(f"{name} {count}" for name, count in kind.damage.items())
        rows.append((*head, *_type_cells(kind, events), console.bytes_text(kind.bytes), damage))
    return rows


def _type_cells(kind: TypeSummary, events: int) -> tuple[object, ...]:
    if not kind.known:
        return kind.type, "(type is not known)", None, None
    if kind.config:
        return kind.type, "(configuration)", None, None
    array = f"{'x'.join(map(str, kind.shape))} {kind.dtype}" if kind.shape is not None else kind.dtype
    return kind.type, array, "all" if kind.present == events else kind.present, kind.damaged or None


def epics(summary: RunSummary, limit: int | None = None) -> None:
    """Print the EPICS variables: what they were at the end, and how often they changed."""
    chosen = summary.epics[:limit]
    rows = [
        (variable.name, variable.alias, _value(variable), variable.units, _alarm(variable), variable.updates)
        for variable in chosen
    ]
    gap()
    console.table(("EPICS variable", "alias", "at the end", "units", "alarm", "updates"), rows, align="<<<<<>")


def _value(variable: EpicsSummary) -> str:
    if isinstance(variable.value, list):
        shown = ", ".join(_number(item) for item in variable.value[:4])
        return f"[{shown}{', ...' if len(variable.value) > 4 else ''}]"
    text = "" if variable.value is None else _number(variable.value)
    return f"{text} ({variable.text})" if variable.text else text


def _number(value: object) -> str:
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def _alarm(variable: EpicsSummary) -> str:
    if variable.severity in ("", "NO_ALARM"):
        return ""
    return variable.severity if variable.status == variable.severity else f"{variable.severity} {variable.status}"


def _irregular(summary: RunSummary) -> None:
    # Events without control data say nothing where there are no control streams.
    rows = [(count, IRREGULAR.get(name, name)) for name, count in summary.counters.items() if count]
    if not any(stream.kind == "control" for stream in summary.streams):
        rows = [row for row in rows if row[1] != IRREGULAR["unmatched_daq"]]
    if rows:
        gap()
        click.echo("irregular")
        console.table(("", ""), rows, align="><")
    if summary.damage:
        kinds = "  ".join(f"{name} {count}" for name, count in summary.damage.items())
        click.echo(click.wrap_text(f"damage: {kinds}", _width(), "", "  "))
    for note in summary.notes:
        click.echo(click.wrap_text(f"note: {note}", _width(), "", "  "))


def events(chosen: Events) -> None:
    """Print events, a row each."""
    from psanacli.run import event_values

    rows = (
        (
            row["event"],
            row["time"][:23].replace("T", " "),
            row["fiducials"],
            row["step"],
            " ".join(map(str, row["codes"])),
            " ".join(row["flags"]),
        )
        for row in event_values(chosen)
    )
    gap()
    console.table(("event", "time (UTC)", "fiducials", "step", "codes", "flags"), rows, align="><>><<")


def missing(presence: Presence) -> None:
    """Print the picture of what is absent where, a row an object."""
    left = max(map(len, presence.labels), default=0)
    bins = presence.binned(max(_width() - left - 21, 10))
    colour = console.is_terminal() and not os.environ.get("NO_COLOR")
    click.echo()
    rows = zip(presence.labels, bins.rows(), bins.damaged, presence.shares(), strict=True)
    for number, (label, row, bad, share) in enumerate(rows):
        cells = [click.style(cell, fg="red") if red and colour else cell for cell, red in zip(row, bad, strict=True)]
        count = presence.damaged(number)
        click.echo(f"{label:<{left}} {''.join(cells)} {share:>7}{f'  {count} damaged' if count else ''}")
    click.echo(f"{'':<{left}} {bins.scale()}")
    click.echo(f"{bins.LEGEND}{'; red: damaged' if colour else ''}")


def joined(run: Run) -> None:
    """Print what was joined from outside: for each field how many events have a value, and why others have none."""
    for found in run.joined.values():
        rows = []
        for name, counts in found.counts.items():
            reasons = (counts.outside, counts.before, counts.after, counts.no_value)
            share = "all" if counts.joined == counts.events else counts.joined
            rows.append(
                (f"{found.name}.{name}", found.units[name], found.hows[name], share, *(n or None for n in reasons))
            )
        gap()
        where = f"{found.origin.path}, {found.rows.used} rows, within {tolerance_text(found.tolerance)}"
        head = ("joined", "units", "how", "events", "outside", "before", "after", "no value")
        console.table(head, rows, title=where, align="<<<>>>>>")


def gap() -> None:
    """Print an empty line, where tables do not have one above and below."""
    if not console.is_terminal():
        click.echo()


def _time(time: np.datetime64 | None) -> str:
    return "" if time is None else str(time.astype("datetime64[ms]")).replace("T", " ")


def _clock(time: np.datetime64 | None) -> str:
    return _time(time).partition(" ")[2]


def _width() -> int:
    return shutil.get_terminal_size((100, 24)).columns


SECTIONS: dict[str, Callable[[RunSummary], None]] = {"detectors": detectors, "epics": epics, "steps": steps}
"""The lists that options ask for."""
