"""What `psana calib dark` prints, and the files that it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from psanacli.calib import DARK_BITS, format_text, kind_of, spelled
from psanacli.commands import console, files
from psanacli.commands.deploying import told
from psanacli.errors import OutputError

if TYPE_CHECKING:
    from psanacli.calib import Deployment
    from psanacli.dark import DarkPlan, DarkResult

_WRITTEN = ("pedestals", "pixel_rms", "pixel_status", "pixel_mask", "dark_max", "dark_min")


def paths(output: str | None, png: str | None, plan: DarkPlan) -> dict[str, Path]:
    """Return the files to be written, by what is in them."""
    from psanacli.dark import further_types

    found: dict[str, Path] = {}
    if output is not None:
        experiment = plan.frames[-1].run.experiment.name or "dark"
        stem = f"{experiment}-r{plan.run:04d}-{plan.source.replace(':', '-')}"
        types = (*_WRITTEN, *further_types(plan.source))
        found = {name: Path(output) / f"{stem}-{name}.data" for name in types}
        found |= {"png": Path(output) / f"{stem}.png", "json": Path(output) / f"{stem}.json"}
    if png is not None:
        found["picture"] = Path(png)
    return found


def write(result: DarkResult, paths: dict[str, Path]) -> None:
    """Write constants as text, picture and report."""
    from psanacli.dark import further_types, picture

    plan = result.plan
    kind = kind_of(plan.source)
    for name, path in paths.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{path.parent} cannot be made: {error.strerror}") from error
        if name in ("png", "picture"):
            data = picture(result)
        elif name == "json":
            data = (json.dumps(_report(result, []), indent=2, default=str) + "\n").encode()
        elif name in further_types(plan.source) and name not in result.constants:
            console.warn(f"no pixel is good, so there is no {name} to write")
            continue
        else:
            runs = ",".join(str(frames.run.number) for frames in plan.frames)
            comments = [
                f"DATASET exp={plan.frames[-1].run.experiment.name}:run={runs}",
                f"STATISTICS {plan.events}",
                f"ARR_TYPE {name}",
                f"SOURCE {plan.source}",
                f"METHOD {plan.method}",
            ]
            metadata = not kind.device.startswith("Cspad")  # as the original's writer does it
            data = format_text(result.file_array(name), comments=comments, metadata=metadata, name=path.name)
        files.write_whole(path, data)
        console.note(f"wrote {path}")


def show_plan(plan: DarkPlan, deployed: list[dict[str, Any]], paths: dict[str, Path], as_json: bool) -> None:
    """Print what would be done."""
    if as_json:
        document = {"format": "psana calib dark", "version": 1, "dry_run": True, **plan.asdict()}
        console.print_json({**document, "writes": sorted(map(str, paths.values())), "deploys": deployed})
        return
    rows = [(each.mode.name or "dark", each.events, len(each.method.sample(each.events))) for each in plan.modes]
    console.table(("gain", "events", "sample"), rows, title=_title(plan), align="<>>")
    for path in paths.values():
        console.note(f"would write {path}")
    for file in deployed:
        console.note(f"would {'replace' if file['exists'] else 'deploy'} {file['file']}")
        for hidden in file["hides"]:
            console.note(f"  which hides {hidden}")
    _tell(plan)


def _report(result: DarkResult, deployments: list[Deployment]) -> dict[str, Any]:
    report = {"format": "psana calib dark", "version": 1, "dry_run": False, **result.asdict()}
    return {**report, "deploys": [told(plan, False) for plan in deployments]}


def show(result: DarkResult, deployments: list[Deployment], as_json: bool) -> None:
    """Print what came out."""
    if as_json:
        console.print_json(_report(result, deployments))
        return
    plan = result.plan
    rows = []
    for each in result.modes:
        numbers = each.asdict()
        found = [numbers[name] or {} for name in ("pedestals", "rms")]
        rows.append(
            (
                each.mode.name or "dark",
                each.dark.events,
                f"{each.dark.bad} ({100 * each.dark.bad / each.dark.status.size:.2f} %)",
                *(f"{values.get(key, float('nan')):.6g}" for values in found for key in ("p05", "median", "p95")),
            )
        )
    head = ("gain", "events", "bad pixels", "pedestal 5 %", "median", "95 %", "rms 5 %", "median", "95 %")
    console.table(head, rows, title=_title(plan), align="<>>>>>>>>")
    bits = [
        (each.mode.name or "dark", int(bit), count, DARK_BITS[bit])
        for each in result.modes
        for bit, count in each.dark.counts().items()
    ]
    if bits:
        click.echo()
        console.table(("gain", "bit", "pixels", "why they are bad"), bits, align="<>><")
    _tell(plan)
    for note in result.notes:
        console.warn(note)
    for each in result.modes:
        for note in each.dark.notes:
            console.warn(f"{each.mode.name}: {note}" if each.mode.name else note)
    for file in deployments:
        hides = "".join(f", hides {name} for runs {spelled(runs)}" for name, runs in file.hides)
        console.note(f"{file.type}: {file.path.name} applies to runs {spelled(file.reach) or 'none'}{hides}")
        for note in file.notes:
            console.note(f"{file.type}: {note}")


def _title(plan: DarkPlan) -> str:
    runs = ", ".join(str(frames.run.number) for frames in plan.frames)
    shape = "x".join(map(str, plan.shape))
    return f"{plan.source} {shape}, run {runs}: {plan.events} of {plan.chosen} events, method {plan.method}"


def _tell(plan: DarkPlan) -> None:
    """Say what is missing."""
    if plan.absent:
        console.note(f"{plan.absent} of {plan.chosen} events do not have {plan.source}")
    if plan.damaged:
        counted = "event has" if plan.damaged == 1 else "events have"
        console.warn(f"{plan.damaged} {counted} {plan.source} damaged; left out")
    for note in plan.notes:
        console.warn(note)
