"""``psana calib dark``: constants from dark runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from psanacli.calib import spelled
from psanacli.commands import common, console, dark_output, files
from psanacli.commands.asked import Asked, asked
from psanacli.commands.deploying import Deploying, deploying

if TYPE_CHECKING:
    from psanacli.calib import Deployment
    from psanacli.commands.constants import Target
    from psanacli.dark import DarkPlan, DarkResult

_DEPLOYED = ("pedestals", "pixel_rms", "pixel_status")
_JUNGFRAU_TOO = ("dark_min", "dark_max")


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
@asked(data=True, kind=False)
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
@click.option(
    "--gate-sigmas", type=float, metavar="X", help="Half the width of what is averaged, in sigmas.  [default: 6]"
)
@click.option("--missing-ok", is_flag=True, help="Missing gain ranges, or events of a list, are no error.")
@click.option(
    "--injection",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="ePix10ka: derive pedestals of AHL-L and AML-L, and gains, from the charge injection of this repository.",
)
@common.output
@click.option("--png", type=click.Path(dir_okay=False), metavar="FILE", help="Draw the result as PNG.")
@deploying(
    runs="With --deploy: for these runs.  [default: from the last of the dark runs on]",
    force="With --deploy: also if it replaces or hides other files, more than a tenth of the pixels are bad, or the "
    "events are fewer than 20.",
)
@common.dry_run
@common.overwrite
@common.jobs
@common.json_output
@common.talk
def command(
    wanted: Asked,
    deploying: Deploying,
    method: str,
    events: slice | str | None,
    where: str | None,
    number: int | None,
    skip: int,
    missing_ok: bool,
    injection: str | None,
    output: str | None,
    png: str | None,
    dry_run: bool,
    overwrite: bool,
    jobs: int,
    as_json: bool,
    **limits: Any,
) -> None:
    """Make pedestals, rms and status of a detector from dark runs.

    One pass over any number of events. A Jungfrau needs its three gains, in one run or several; an ePix10ka its five
    dark steps. -n and --skip count events with the detector, in each gain. -o is a directory: a text file for each type
    of constants, a picture, and the report. --deploy puts pedestals, pixel_rms and pixel_status into the store; for a
    Jungfrau also dark_min and dark_max; for a pnCCD the common_mode that its noise asks for; for an ePix10ka
    pixel_gain, that of --injection or else the nominal one, which does not replace any.
    """
    from psanacli.calib import DarkOptions
    from psanacli.commands.constants import whole_name
    from psanacli.dark import plan_dark, process, with_low_gain
    from psanacli.errors import DataError
    from psanacli.parallel import Team
    from psanacli.run import open_runs

    name = wanted.named()
    options = DarkOptions(**{name: value for name, value in limits.items() if value is not None})
    team = Team.from_options(jobs)
    runs = open_runs(list(wanted.datasource), roots=wanted.root)
    source = whole_name(runs[0], name)
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
    root = deploying.deploy and team.is_root
    place = Place(wanted.target, deploying, plan, injection is not None) if root else None
    paths = dark_output.paths(output, png, plan) if team.is_root else {}
    files.check_new(paths.values(), overwrite)
    for kind, file in place.kept.items() if place else ():
        console.note(f"{kind}: {file} applies, and is kept")
    if dry_run:
        if team.is_root:
            dark_output.show_plan(plan, place.files() if place else [], paths, as_json)
        return
    with console.progress(source, plan.events) as progress:
        result = process(plan, team, advance=progress.advance)
    if result is None:
        return
    if injection is not None:
        result = with_low_gain(result, Path(injection))
    deployments = place.plan(result) if place else []
    dark_output.show(result, deployments, as_json)
    dark_output.write(result, paths)
    if place:
        place.deploy(result, deployments)
    files.fail_if_corrupt([problem for run in runs for problem in run.problems], "all else was used")
    if result.broken:
        raise DataError(
            f"{result.broken} images cannot be read, though their damage words do not say so; all else was used"
        )


class Place:
    """Where the constants go: the store, and the runs they are for.

    Parameters
    ----------
    target : Target
    deploying : Deploying
    plan : DarkPlan
    measured_gains : bool
        Whether gains come from charge injection: then they are deployed in place of those that there are.
    """

    def __init__(self, target: Target, deploying: Deploying, plan: DarkPlan, measured_gains: bool = False) -> None:
        from psanacli.calib import RunRange, kind_of
        from psanacli.dark import further_types

        self.target = target
        self.measured_gains = measured_gains
        self.deploying = deploying
        self.source = plan.source
        self.kind = kind_of(plan.source)
        self.runs = deploying.runs or RunRange(plan.run, None)
        self.kept = self._kept()
        further = [name for name in further_types(self.source) if name not in self.kept]
        self.types = (*_DEPLOYED, *(_JUNGFRAU_TOO if self.kind.device == "Jungfrau" else ()), *further)

    def _kept(self) -> dict[str, Path]:
        """Return the files that are better than what a dark run tells: gains that somebody measured."""
        from psanacli.dark import further_types

        if "pixel_gain" not in further_types(self.source) or self.measured_gains:
            return {}
        file = self.target.store.which(self.source, "pixel_gain", self.runs.begin).file
        return {} if file is None else {"pixel_gain": file}

    def files(self) -> list[dict[str, Any]]:
        """Return what a deployment would do to the store, before there are any constants."""
        found = []
        for name in self.types:
            listing = self.target.store.files(self.source, name)
            hides = [f"{entry.name} for runs {spelled(runs)}" for entry, runs in listing.hidden_by(self.runs)]
            path = self.target.store.type_directory(self.source, name) / f"{self.runs}.data"
            found.append({"file": path, "exists": path.exists(), "hides": hides})
        return found

    def plan(self, result: DarkResult) -> list[Deployment]:
        """Return the plans of the deployment of all types."""
        from psanacli.calib import NewConstants, plan_deployment

        values = self.deploying.circumstances(self.target, self.target.look(self.source))
        values["run"] = str(result.plan.run)
        runs = ",".join(str(frames.run.number) for frames in result.plan.frames)
        origin = f"dark events of run {runs}, method {result.plan.method}"
        return [
            plan_deployment(
                self.target.store,
                self.source,
                name,
                self.runs,
                NewConstants(result.file_array(name), origin),
                raw_shape=() if self.kind.shape else result.plan.shape,
                values=values,
            )
            for name in self.types
            if name in result.constants
        ]

    def deploy(self, result: DarkResult, plans: list[Deployment]) -> None:
        """Deploy all types or none."""
        from psanacli.errors import ConstantsError

        objections = result.objections()
        if objections and not self.deploying.force:
            raise ConstantsError(
                f"not deployed: {'; '.join(objections)}",
                "look at the picture (--png FILE); --force deploys them",
            )
        self.deploying.carry_out(self.target.store, *plans)
