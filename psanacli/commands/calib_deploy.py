"""``psana calib deploy``: constants from a file into the store."""

from __future__ import annotations

from pathlib import Path

import click

from psanacli.commands import common
from psanacli.commands.asked import Asked, asked
from psanacli.commands.deploying import Deploying, deploying, show


@common.verb(
    examples=[
        ("psana calib deploy ped.npy exp=xpptut15:run=54 -d cspad --type pedestals --run 54-end", "from run 54 on"),
        ("psana calib deploy dark.h5 exp=xpptut15:run=54 --dataset ped -d cspad --type pedestals --run 54-60", "HDF5"),
        ("psana calib deploy p.txt --calib-dir /data/calib -d CxiDs1.0:Cspad.0 --type pedestals --run 1-9", "no data"),
        ("psana calib deploy ped.npy exp=xpptut15:run=54 -d cspad --type pedestals --run 54-end --dry-run", "a look"),
    ]
)
@click.argument("file", type=click.Path(path_type=Path), shell_complete=common.complete_files)
@asked()
@deploying(
    runs="The runs to which the constants apply.",
    force="Also if it replaces or hides another file, or is hidden itself.",
    always=True,
)
@click.option("--dataset", default="", metavar="NAME", help="The array of an npz or HDF5 file.")
@click.option("--format", "fmt", metavar="FORMAT", help="Write numbers like %.2f; default keeps every bit.")
@common.dry_run
@common.json_output
@common.talk
def command(
    wanted: Asked,
    file: Path,
    deploying: Deploying,
    dataset: str,
    fmt: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Deploy constants from a file of text, npy, npz or HDF5.

    Shape, dtype and values are checked against the detector. A file that exists is replaced only with --force, and kept
    as a backup; so is a range that would hide others by accident. The store is as before or whole, whatever happens.
    """
    from psanacli.calib import plan_deployment, read_array

    source, kind = wanted.source_and_type()
    check_format(fmt)
    assert deploying.runs is not None
    target = wanted.target
    target.check_pixels(source)
    seen = target.look(source)
    plan = plan_deployment(
        target.store,
        source,
        kind,
        deploying.runs,
        read_array(file, dataset),
        raw_shape=seen.shape if seen else (),
        fmt=fmt,
        values=deploying.circumstances(target, seen),
    )
    show(plan, as_json, dry_run)
    if not dry_run:
        deploying.carry_out(target.store, plan)


def check_format(fmt: str | None) -> None:
    """Fail when numbers cannot be written with a format."""
    if fmt is None:
        return
    try:
        float(fmt % 1.0)
    except (ValueError, TypeError) as error:
        raise click.UsageError(f"--format {fmt!r} is no format of one number, such as %.2f") from error
