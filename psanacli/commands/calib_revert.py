"""``psana calib revert``: take back a deployment."""

from __future__ import annotations

import click

from psanacli.commands import common, console


@common.verb(
    examples=[
        ("psana calib revert exp=xpptut15:run=54 -d cspad --type pedestals --run 54-end", "what was there before"),
        ("psana calib revert --calib-dir /data/calib -d CxiDs1.0:Cspad.0 --type pedestals --run 1-end", "without data"),
    ]
)
@common.datasource_or_not
@common.detector
@common.constants_type
@click.option("--run", "runs", required=True, metavar="A-B|A-end", help="The range of the file.")
@click.option("--force", is_flag=True, help="Also when somebody has changed the file since.")
@common.calib_dir
@common.root
@common.talk
def command(
    datasource: tuple[str, ...],
    detector: str | None,
    kind: str | None,
    runs: str,
    force: bool,
    calib_dir: str | None,
    root: tuple[str, ...],
) -> None:
    """Take back the last deployment of a file.

    What it replaced comes back; a file that was new goes. What is taken away is kept as a backup beside the others.
    """
    from psanacli.calib import RunRange, revert
    from psanacli.commands.constants import Target, check_type

    if detector is None or kind is None:
        raise click.UsageError("say which detector and type: -d NAME --type TYPE")
    check_type(kind)
    wanted = RunRange.parse(runs)
    target = Target(datasource, root, calib_dir)
    record = revert(target.store, target.source(detector), kind, wanted, force=force)
    what = (
        f"{record.values['copy_of']} is {record.file} again" if record.values["copy_of"] else f"{record.file} is gone"
    )
    console.note(f"{what}; what was there is kept as {record.values['replaced']}")
