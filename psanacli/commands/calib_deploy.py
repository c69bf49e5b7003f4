"""``psana calib deploy``: constants from a file into the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from psanacli.commands import common, console

if TYPE_CHECKING:
    from psanacli.calib import Deployment, SeenDetector, Store
    from psanacli.commands.constants import Target


@common.verb(
    examples=[
        ("psana calib deploy ped.npy exp=xpptut15:run=54 -d cspad --type pedestals --run 54-end", "from run 54 on"),
        ("psana calib deploy dark.h5 exp=xpptut15:run=54 --dataset ped -d cspad --type pedestals --run 54-60", "HDF5"),
        ("psana calib deploy p.txt --calib-dir /data/calib -d CxiDs1.0:Cspad.0 --type pedestals --run 1-9", "no data"),
        ("psana calib deploy ped.npy exp=xpptut15:run=54 -d cspad --type pedestals --run 54-end --dry-run", "a look"),
    ]
)
@click.argument("file", type=click.Path(path_type=Path), shell_complete=common.complete_files)
@common.datasource_or_not
@common.detector
@common.constants_type
@click.option("--run", "runs", required=True, metavar="A-B|A-end", help="The runs to which the constants apply.")
@click.option("--dataset", default="", metavar="NAME", help="The array of an npz or HDF5 file.")
@click.option("--format", "fmt", metavar="FORMAT", help="Write numbers like %.2f; default keeps every bit.")
@click.option("--comment", default="", metavar="TEXT", help="For the history.")
@click.option("--force", is_flag=True, help="Also if it replaces or hides another file, or is hidden itself.")
@common.dry_run
@common.calib_dir
@common.root
@common.json_output
@common.talk
def command(
    file: Path,
    datasource: tuple[str, ...],
    detector: str | None,
    kind: str | None,
    runs: str,
    dataset: str,
    fmt: str | None,
    comment: str,
    force: bool,
    dry_run: bool,
    calib_dir: str | None,
    root: tuple[str, ...],
    as_json: bool,
) -> None:
    """Deploy constants from a file of text, npy, npz or HDF5.

    Shape, dtype and values are checked against the detector. A file that exists is replaced only with --force, and kept
    as a backup; so is a range that would hide others by accident. The store is as before or whole, whatever happens.
    """
    from psanacli.calib import RunRange, plan_deployment, read_array
    from psanacli.commands.constants import Target, check_type

    if detector is None or kind is None:
        raise click.UsageError("say which detector and type: -d NAME --type TYPE")
    check_type(kind)
    check_format(fmt)
    wanted = RunRange.parse(runs)
    target = Target(datasource, root, calib_dir)
    source = target.source(detector)
    seen = target.look(source)
    plan = plan_deployment(
        target.store,
        source,
        kind,
        wanted,
        read_array(file, dataset),
        raw_shape=seen.shape if seen else (),
        fmt=fmt,
        values=circumstances(target, seen, comment),
    )
    show(plan, as_json, dry_run)
    if not dry_run:
        carry_out(target.store, plan, force)


def circumstances(target: Target, seen: SeenDetector | None, comment: str) -> dict[str, str]:
    """Return what the history tells of a deployment beyond the file."""
    return {
        "exp": target.experiment,
        "command": console.command_line(),
        "comment": comment,
        "run": "" if target.number is None else str(target.number),
        "detid": seen.identity if seen else "",
    }


def carry_out(store: Store, plan: Deployment, force: bool) -> None:
    """Deploy, and say what was done."""
    from psanacli.calib import deploy

    record = deploy(store, plan, force=force)
    if not record.values:
        console.note(f"{plan.path} was there already with the same values, bit for bit: nothing changed")
        return
    if record.values.get("replaced"):
        console.note(f"the file before is kept as {record.values['replaced']}; psana calib revert brings it back")
    console.note(f"deployed {plan.path}")


def check_format(fmt: str | None) -> None:
    """Fail when numbers cannot be written with a format."""
    if fmt is None:
        return
    try:
        float(fmt % 1.0)
    except (ValueError, TypeError) as error:
        raise click.UsageError(f"--format {fmt!r} is no format of one number, such as %.2f") from error


def told(plan: Deployment, dry_run: bool) -> dict[str, object]:
    """Return what a deployment does, as ``--json`` tells it."""
    return {
        "format": "psana calib deploy",
        "version": 1,
        "dry_run": dry_run,
        "file": plan.path,
        "detector": plan.source,
        "type": plan.type,
        "range": str(plan.range),
        "shape": list(plan.array.shape),
        "dtype": str(plan.array.dtype),
        "bytes": len(plan.data),
        "sha256": plan.checksum,
        "applies_to": [str(runs) for runs in plan.reach],
        "hides": [{"name": name, "runs": [str(each) for each in runs]} for name, runs in plan.hides],
        "replaces": plan.replaces or None,
        "unchanged": plan.unchanged,
        "objections": plan.objections(),
        "notes": plan.notes,
    }


def show(plan: Deployment, as_json: bool, dry_run: bool) -> None:
    """Print what a deployment does."""
    from psanacli.calib import spelled

    if as_json:
        console.print_json(told(plan, dry_run))
        return
    rows: list[tuple[str, object]] = [
        ("file", plan.path),
        ("values", f"{'x'.join(map(str, plan.array.shape))} {plan.array.dtype}, {console.bytes_text(len(plan.data))}"),
        ("range", f"min {plan.array.min():.6g}, max {plan.array.max():.6g}"),
        ("applies to runs", spelled(plan.reach) or "none: other files hide it"),
        *(("hides", f"{name} for runs {spelled(runs)}") for name, runs in plan.hides),
    ]
    if plan.replaces:
        rows.append(("replaces", "the same file" if plan.unchanged else f"a file with sha256 {plan.replaces[:16]}..."))
    console.table(("", ""), rows, title=f"{plan.type} of {plan.source}", align="<<")
    for note in plan.notes:
        console.note(note)
    if dry_run:
        for objection in plan.objections():
            console.warn(objection, "needs --force")
