"""``psana calib mask``: which pixels are bad, said in one expression."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from psanacli.commands import common, console, files
from psanacli.commands.asked import Asked, asked
from psanacli.commands.deploying import Deploying, deploying, show, told

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
@asked(kind=False)
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
@deploying(
    runs="With --deploy: the runs to which the mask applies.",
    force="With --deploy: also if it replaces or hides another file.",
)
@common.dry_run
@common.overwrite
@common.json_output
@common.talk
def command(
    wanted: Asked,
    deploying: Deploying,
    expression: str,
    output: str | None,
    png: str | None,
    dry_run: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Make a mask: 1 for good pixels, 0 for bad ones.

    The parts of an outermost `or` are counted one by one. The name of the file tells its format: .npy, .npz, .h5, all
    else is text.
    """
    from psanacli.calib import (
        Constants,
        NewConstants,
        export,
        format_of,
        kind_of,
        mask_of,
        mask_png,
        plan_deployment,
        type_of,
    )
    from psanacli.detector import DetectorConstants
    from psanacli.errors import ConstantsError

    wanted.named()
    runs = deploying.runs
    if deploying.deploy and runs is None:
        raise click.UsageError("for which runs? Say --run A-B or --run A-end")
    if not dry_run:
        files.check_new(map(Path, filter(None, (output, png))), overwrite)
    if runs is not None and not wanted.datasource:
        wanted = replace(wanted, run=runs.begin)
    target, source = wanted.target, wanted.source()
    target.check_pixels(source)
    seen = target.look(source)
    raw = seen.shape if seen else ()
    shape = kind_of(source).file_shape(type_of(TYPE), raw)
    if not shape:
        raise ConstantsError(f"the shape of {source} is not known", "give a data source with a run that has it")

    constants = DetectorConstants(target.store, source, target.the_run(), lambda: raw)
    made = mask_of(expression, source, shape, constants)
    plan = None
    if runs is not None:
        plan = plan_deployment(
            target.store,
            source,
            TYPE,
            runs,
            NewConstants(made.mask, f"bad: {expression}"),
            raw_shape=raw,
            values=deploying.circumstances(target, seen),
        )
    for part in made.without_effect:
        console.warn(f"{part}: no pixel of {source} is meant by it")
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
        deploying.carry_out(target.store, plan)


def _show(source: str, expression: str, made: Masked, plan: Deployment | None, as_json: bool, dry_run: bool) -> None:
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
                "without_effect": made.without_effect,
                "constants": made.files,
                "deployment": None if plan is None else told(plan, dry_run),
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
        show(plan, False, dry_run)
