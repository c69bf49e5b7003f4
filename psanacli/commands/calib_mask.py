"""``psana calib mask``: which pixels are bad, said in one expression."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from psanacli.commands import common, console, files

if TYPE_CHECKING:
    from psanacli.calib import Deployment, Masked

TYPE = "pixel_mask"


@common.verb(
    examples=[
        ("psana calib mask exp=xpptut15:run=54 -d cspad", "pixels with a bad status, counted"),
        ("psana calib mask exp=xpptut15:run=54 -d cspad --bad 'status or edges(1) or unbonded' -o mask.npy", "a file"),
        ("psana calib mask exp=xpptut15:run=54 -d cspad --bad 'status or disc(3, 90, 40, 12)' --png m.png", "drawn"),
        ("psana calib mask exp=xpptut15:run=54 -d cspad --bad 'pixel_rms > 5*median(pixel_rms)' --dry-run", "a look"),
        ("psana calib mask exp=xpptut15:run=54 -d cspad --bad status --deploy --run 54-end", "into the store"),
    ]
)
@common.datasource_or_not
@common.detector
@click.option(
    "--bad",
    "expression",
    default="status",
    show_default=True,
    metavar="EXPR",
    help="Which pixels are bad: status, status(BITS), pixel_mask, edges(N), central(N), unbonded, neighbours(SET), "
    "near(SET, RADIUS), disc(PANEL, ROW, COLUMN, RADIUS), square(...), file('NAME'), comparisons of constants and of "
    "panel, row and column; with and, or, not. See psana help masks.",
)
@common.output
@click.option("--png", type=click.Path(dir_okay=False), metavar="FILE", help="Draw the mask as PNG.")
@click.option("--deploy", "deployed", is_flag=True, help="Deploy it as pixel_mask for the runs of --run.")
@click.option("--run", "runs", metavar="A-B|A-end", help="With --deploy: the runs to which the mask applies.")
@click.option("--comment", default="", metavar="TEXT", help="With --deploy: for the history.")
@click.option("--force", is_flag=True, help="With --deploy: also if it replaces or hides another file.")
@common.dry_run
@common.overwrite
@common.calib_dir
@common.root
@common.json_output
@common.talk
def command(
    datasource: tuple[str, ...],
    detector: str | None,
    expression: str,
    output: str | None,
    png: str | None,
    deployed: bool,
    runs: str | None,
    comment: str,
    force: bool,
    dry_run: bool,
    overwrite: bool,
    calib_dir: str | None,
    root: tuple[str, ...],
    as_json: bool,
) -> None:
    """Make a mask: 1 for good pixels, 0 for bad ones.

    The parts of an outermost `or` are counted one by one. The name of the file tells its format: .npy, .npz, .h5, all
    else is text.
    """
    from psanacli.calib import (
        Constants,
        NewConstants,
        RunRange,
        export,
        format_of,
        kind_of,
        mask_of,
        mask_png,
        plan_deployment,
        type_of,
    )
    from psanacli.commands import calib_deploy
    from psanacli.commands.constants import Target
    from psanacli.detector import DetectorConstants
    from psanacli.errors import ConstantsError, OutputError

    if detector is None:
        raise click.UsageError("which detector? Say -d NAME")
    if deployed and runs is None:
        raise click.UsageError("for which runs? Say --run A-B or --run A-end")
    if not deployed and (runs is not None or force or comment):
        raise click.UsageError("--run, --force and --comment go with --deploy")
    wanted = RunRange.parse(runs) if runs else None
    for path in filter(None, (output, png)):
        if Path(path).exists() and not overwrite and not dry_run:
            raise OutputError(f"{path} exists", "choose another name, or say --overwrite")
    target = Target(datasource, root, calib_dir, None if datasource or wanted is None else wanted.begin)
    source = target.source(detector)
    seen = target.look(source)
    raw = seen.shape if seen else ()
    shape = kind_of(source).file_shape(type_of(TYPE), raw)
    if not shape:
        raise ConstantsError(f"the shape of {source} is not known", "give a data source with a run that has it")

    constants = DetectorConstants(target.store, source, target.the_run(), lambda: raw)
    made = mask_of(expression, source, shape, constants)
    plan = None
    if wanted is not None:
        plan = plan_deployment(
            target.store,
            source,
            TYPE,
            wanted,
            NewConstants(made.mask, f"bad: {expression}"),
            raw_shape=raw,
            values=calib_deploy.circumstances(target, seen, comment),
        )
    _show(source, expression, made, plan, as_json, dry_run)
    if dry_run:
        return
    if output:
        found = Constants(made.mask, source, TYPE, target.number or 0, comments=(f"bad: {expression}",))
        export([found], Path(output), format_of(Path(output)))
        console.note(f"wrote {output}")
    if png:
        files.write_whole(Path(png), mask_png(made.mask, f"{source}: {made.bad} of {made.mask.size} pixels are bad"))
        console.note(f"wrote {png}")
    if plan is not None:
        calib_deploy.carry_out(target.store, plan, force)


def _show(source: str, expression: str, made: Masked, plan: Deployment | None, as_json: bool, dry_run: bool) -> None:
    from psanacli.commands import calib_deploy

    if as_json:
        console.print_json(
            {
                "format": "psana calib mask",
                "version": 1,
                "dry_run": dry_run,
                "detector": source,
                "expression": expression,
                "shape": list(made.mask.shape),
                "pixels": made.mask.size,
                "bad": made.bad,
                "causes": [{"expression": part, "bad": count} for part, count in made.causes],
                "constants": made.files,
                "deployment": None if plan is None else calib_deploy.told(plan, dry_run),
            }
        )
        return
    size = made.mask.size
    rows = [*made.causes, ("together", made.bad)]
    table = [(part, count, f"{100 * count / size:.4g} %") for part, count in (rows if len(rows) > 2 else rows[:1])]
    shape = "x".join(map(str, made.mask.shape))
    console.table(("bad", "pixels", ""), table, title=f"mask of {source}, {shape}", align="<>>")
    if plan is not None:
        click.echo()
        calib_deploy.show(plan, False, dry_run)
