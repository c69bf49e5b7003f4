"""``psana calib revert``: take back a deployment."""

from __future__ import annotations

import click

from psanacli.commands import common, console
from psanacli.commands.asked import Asked, asked


@common.verb(
    examples=[
        ("psana calib revert exp=xpptut15:run=54 -d cspad --type pedestals --run 54-end", "what was there before"),
        ("psana calib revert --calib-dir /data/calib -d CxiDs1.0:Cspad.0 --type pedestals --run 1-end", "without data"),
    ]
)
@asked()
@click.option("--run", "runs", required=True, metavar="A-B|A-end", help="The range of the file.")
@click.option("--force", is_flag=True, help="Also when somebody has changed the file since.")
@common.json_output
@common.talk
def command(wanted: Asked, runs: str, force: bool, as_json: bool) -> None:
    """Take back the last deployment of a file.

    What it replaced comes back; a file that was new goes. What is taken away is kept as a backup beside the others.
    """
    from psanacli.calib import RunRange, revert

    source, kind = wanted.source_and_type()
    record = revert(wanted.store, source, kind, RunRange.parse(runs), force=force)
    path = wanted.store.type_directory(source, kind) / record.file
    if as_json:
        document = {"format": "psana calib revert", "version": 1, "detector": source, "type": kind, "file": path}
        restored = record.values["copy_of"] or None
        console.print_json({**document, "restored": restored, "kept": path.with_name(record.values["replaced"])})
        return
    what = f"{record.values['copy_of']} is {path} again" if record.values["copy_of"] else f"{path} is gone"
    console.note(f"{what}; what was there is kept as {record.values['replaced']}")
