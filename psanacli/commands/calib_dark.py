"""``psana calib dark``: constants from dark runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from psanacli.calib import DARK_BITS, spelled
from psanacli.commands import common, console, files

if TYPE_CHECKING:
    from psanacli.calib import Deployment, RunRange, Store
    from psanacli.dark import DarkPlan, DarkResult

_DEPLOYED = ("pedestals", "pixel_rms", "pixel_status")
_JUNGFRAU_TOO = ("dark_min", "dark_max")
_WRITTEN = (*_DEPLOYED, "pixel_mask", "dark_max", "dark_min")


def _pair(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, float] | None:
    """Return the numbers of ``LOW,HIGH``."""
    if value is None:
        return None
    try:
        low, high = (float(word) for word in value.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not LOW,HIGH, two numbers") from error
    return low, high


def _pair_option(name: str, metavar: str, text: str) -> Callable[[common.F], common.F]:
    return click.option(name, callback=_pair, metavar=metavar, help=text)


@common.verb(
    examples=[
        ("psana calib dark exp=xpptut15:run=54 -d cspad", "a look: how many pixels are bad, and why"),
        ("psana calib dark exp=xpptut15:run=54 -d cspad -o dark/", "constants as text, and a picture, in a directory"),
        ("psana calib dark exp=xpptut15:run=54 -d cspad --deploy", "for run 54 and all that follow"),
        ("psana calib dark exp=xpptut15:run=54 -d cspad --deploy --run 50-60 --dry-run", "what that would do"),
        ("psana calib dark exp=cxitut13:run=8 exp=cxitut13:run=9 exp=cxitut13:run=10 -d jungfrau", "three gains"),
        ("psana calib dark exp=xpptut15:run=54 -d cspad --method psana -n 1000", "as psana-1 does it"),
    ]
)
@common.datasource
@common.detector
@click.option(
    "--method",
    type=click.Choice(["robust", "psana"]),
    default="robust",
    show_default=True,
    help="robust: medians, and nothing cut off; psana: the algorithm of psana-1 with its oddities.",
)
@common.events
@common.where
@common.number
@click.option("--skip", type=click.IntRange(min=0), default=0, metavar="N", help="Leave out the first N events.")
@_pair_option("--values", "LOW,HIGH", "Good raw values, ADU.  [default: 1,16000; with 16 bits: 1,65534]")
@_pair_option("--rms", "LOW,HIGH", "Good rms, ADU.  [default: 0.001,16000]")
@click.option(
    "--share",
    type=click.FloatRange(0, 1),
    metavar="X",
    help="A pixel may be beyond its limits in this share of the events.  [default: 0.1]",
)
@_pair_option("--value-sigmas", "LOW,HIGH", "Pedestals so many sigmas from the others are bad; 0: no.  [default: 6,6]")
@_pair_option("--rms-sigmas", "LOW,HIGH", "The same of the rms.  [default: 6,6]")
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    metavar="N",
    help="So many events tell where the values of a pixel are.  [default: robust 64, psana 50 or 500]",
)
@_pair_option("--quantiles", "LOW,HIGH", "With psana: of the sample, what is averaged.  [default: 0.05,0.95]")
@click.option("--gate-sigmas", type=float, metavar="X", help="Half the width of what is averaged.  [default: 6]")
@click.option("--missing-ok", is_flag=True, help="Missing gain ranges, or events of a list, are no error.")
@click.option(
    "--injection",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="ePix10ka: derive pedestals of AHL-L and AML-L from constants of charge injection in this repository.",
)
@common.output
@click.option("--png", type=click.Path(dir_okay=False), metavar="FILE", help="Draw the result as PNG.")
@click.option("--deploy", "do_deploy", is_flag=True, help="Put the constants into the store.")
@click.option("--run", "span", metavar="A-B|A-end", help="With --deploy: for these runs.  [default: last run-end]")
@click.option("--comment", default="", metavar="TEXT", help="For the history.")
@click.option("--force", is_flag=True, help="Also if it replaces or hides other files, or most pixels are bad.")
@common.dry_run
@common.overwrite
@common.jobs
@common.calib_dir
@common.root
@common.json_output
@common.talk
def command(
    datasource: tuple[str, ...],
    detector: str | None,
    method: str,
    events: slice | str | None,
    where: str | None,
    number: int | None,
    skip: int,
    missing_ok: bool,
    injection: str | None,
    output: str | None,
    png: str | None,
    do_deploy: bool,
    span: str | None,
    comment: str,
    force: bool,
    dry_run: bool,
    overwrite: bool,
    jobs: int,
    calib_dir: str | None,
    root: tuple[str, ...],
    as_json: bool,
    **limits: Any,
) -> None:
    """Make pedestals, rms and status of a detector from dark runs.

    One pass over any number of events. A Jungfrau needs its three gains, in one run or several; an ePix10ka its five
    dark steps. -n and --skip count events with the detector, in each gain. -o is a directory: a text file for each type
    of constants, a picture, and the report. --deploy puts pedestals, pixel_rms and pixel_status into the store, and for
    a Jungfrau dark_min and dark_max.
    """
    from psanacli.calib import DarkOptions, RunRange
    from psanacli.dark import plan_dark, process, with_low_gain
    from psanacli.errors import DataError
    from psanacli.parallel import Team
    from psanacli.run import open_runs

    if detector is None:
        raise click.UsageError("which detector? Say -d NAME")
    if not do_deploy and (span is not None or comment or force):
        raise click.UsageError("--run, --comment and --force belong to --deploy")
    options = DarkOptions(**{name: value for name, value in limits.items() if value is not None})
    wanted = RunRange.parse(span) if span is not None else None
    team = Team.from_options(jobs)
    runs = open_runs(list(datasource), roots=root)
    source = runs[0].names.find(detector).source.name
    numbers = common.numbers(team, runs, events, where, missing_ok)
    plan = plan_dark(
        runs,
        source,
        method=method,
        options=options,
        chosen=[events if some is None and isinstance(events, slice) else some for some in numbers],
        skip=skip,
        number=number,
        missing_ok=missing_ok,
    )
    wanted = wanted or RunRange(plan.run, None)
    place = Place(datasource, root, calib_dir, plan, wanted) if do_deploy and team.is_root else None
    paths = _paths(output, png, plan, overwrite) if team.is_root else {}
    if dry_run:
        if team.is_root:
            _show_plan(plan, place, paths, as_json)
        return
    with console.progress(source, plan.events) as progress:
        result = process(plan, team, advance=progress.advance)
    if result is None:
        return
    if injection is not None:
        result = with_low_gain(result, Path(injection))
    deployments = place.plan(result, comment) if place else []
    _show(result, deployments, as_json)
    _write(result, paths)
    if place:
        place.deploy(result, deployments, force)
    files.fail_if_corrupt([problem for run in runs for problem in run.problems], "all else was used")
    if result.broken:
        raise DataError(
            f"{result.broken} images cannot be read, though their damage words do not say so; all else was used"
        )


class Place:
    """Where the constants go: the store, and the runs they are for.

    Parameters
    ----------
    datasource, root, calib_dir
        As on the command line.
    plan : DarkPlan
    runs : RunRange
    """

    def __init__(
        self,
        datasource: tuple[str, ...],
        root: tuple[str, ...],
        calib_dir: str | None,
        plan: DarkPlan,
        runs: RunRange,
    ) -> None:
        from psanacli.calib import kind_of
        from psanacli.commands.constants import Target

        self.kind = kind_of(plan.source)
        self.target = Target(datasource, root, calib_dir)
        self.store: Store = self.target.store
        self.source = plan.source
        self.runs = runs
        self.types = (*_DEPLOYED, *(_JUNGFRAU_TOO if self.kind.device == "Jungfrau" else ()))

    def files(self) -> list[dict[str, Any]]:
        """Return what a deployment would do to the store, before there are any constants."""
        found = []
        for name in self.types:
            listing = self.store.files(self.source, name)
            hides = [f"{entry.name} for runs {spelled(runs)}" for entry, runs in listing.hidden_by(self.runs)]
            path = self.store.type_directory(self.source, name) / f"{self.runs}.data"
            found.append({"file": path, "exists": path.exists(), "hides": hides})
        return found

    def plan(self, result: DarkResult, comment: str) -> list[Deployment]:
        """Return the plans of the deployment of all types."""
        from psanacli.calib import NewConstants, plan_deployment

        seen = self.target.look(self.source)
        values = {
            "exp": self.target.experiment,
            "run": str(result.plan.run),
            "command": console.command_line(),
            "comment": comment,
            "detid": seen.identity if seen else "",
        }
        runs = ",".join(str(frames.run.number) for frames in result.plan.frames)
        origin = f"dark events of run {runs}, method {result.plan.method}"
        return [
            plan_deployment(
                self.store,
                self.source,
                name,
                self.runs,
                NewConstants(result.file_array(name), origin),
                raw_shape=() if self.kind.shape else result.plan.shape,
                values=values,
            )
            for name in self.types
        ]

    def deploy(self, result: DarkResult, plans: list[Deployment], force: bool) -> None:
        """Deploy all types or none."""
        from psanacli.calib import deploy_together
        from psanacli.errors import ConstantsError

        objections = result.objections()
        if objections and not force:
            raise ConstantsError(
                f"not deployed: {'; '.join(objections)}",
                "look at the picture (--png FILE); --force deploys them",
            )
        for plan, record in zip(plans, deploy_together(self.store, plans, force=force), strict=True):
            if not record.values:
                console.note(f"{plan.path} was there already with the same values")
            elif record.values.get("replaced"):
                console.note(f"deployed {plan.path}; the file before is kept as {record.values['replaced']}")
            else:
                console.note(f"deployed {plan.path}")


def _paths(output: str | None, png: str | None, plan: DarkPlan, overwrite: bool) -> dict[str, Path]:
    """Return the files to be written, by what is in them.

    Raises
    ------
    OutputError
        One of them exists, and is not to be replaced, or its directory cannot be written: told before hours of work.
    """
    from psanacli.errors import OutputError

    paths: dict[str, Path] = {}
    if output is not None:
        experiment = plan.frames[-1].run.experiment.name or "dark"
        stem = f"{experiment}-r{plan.run:04d}-{plan.source.replace(':', '-')}"
        paths = {name: Path(output) / f"{stem}-{name}.data" for name in _WRITTEN}
        paths |= {"png": Path(output) / f"{stem}.png", "json": Path(output) / f"{stem}.json"}
    if png is not None:
        paths["picture"] = Path(png)
    there = [str(path) for path in paths.values() if path.exists()]
    if there and not overwrite:
        raise OutputError(f"{there[0]} exists", "--overwrite replaces it, or choose another place")
    for path in paths.values():
        files.check_directory(path.parent)
    return paths


def _write(result: DarkResult, paths: dict[str, Path]) -> None:
    """Write constants as text, picture and report."""
    import json

    from psanacli.calib import format_text, kind_of
    from psanacli.dark import picture
    from psanacli.errors import OutputError

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


def _show_plan(plan: DarkPlan, place: Place | None, paths: dict[str, Path], as_json: bool) -> None:
    """Print what would be done."""
    stored = place.files() if place else []
    if as_json:
        told = {"format": "psana calib dark", "version": 1, "dry_run": True, **plan.asdict()}
        console.print_json({**told, "writes": sorted(map(str, paths.values())), "deploys": stored})
        return
    rows = [(each.mode.name or "dark", each.events, len(each.method.sample(each.events))) for each in plan.modes]
    console.table(("gain", "events", "sample"), rows, title=_title(plan), align="<>>")
    for path in paths.values():
        console.note(f"would write {path}")
    for file in stored:
        console.note(f"would {'replace' if file['exists'] else 'deploy'} {file['file']}")
        for hidden in file["hides"]:
            console.note(f"  which hides {hidden}")
    _tell(plan)


def _report(result: DarkResult, deployments: list[Deployment]) -> dict[str, Any]:
    from psanacli.commands.calib_deploy import told

    report = {"format": "psana calib dark", "version": 1, "dry_run": False, **result.asdict()}
    return {**report, "deploys": [told(plan, False) for plan in deployments]}


def _show(result: DarkResult, deployments: list[Deployment], as_json: bool) -> None:
    """Print what came out."""
    if as_json:
        console.print_json(_report(result, deployments))
        return
    plan = result.plan
    rows = []
    for each in result.modes:
        told = each.asdict()
        found = [told[name] or {} for name in ("pedestals", "rms")]
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
