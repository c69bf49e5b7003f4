"""``psana calib export``: the constants of a run as one file."""

from __future__ import annotations

from pathlib import Path

import click

from psanacli.commands import common, console, files
from psanacli.commands.asked import Asked, asked


@common.verb(
    examples=[
        ("psana calib export exp=xpptut15:run=54 -d cspad -o constants.npz", "all types of a detector"),
        ("psana calib export exp=xpptut15:run=54 -o constants.h5", "of all detectors"),
        ("psana calib export exp=xpptut15:run=54 -d cspad --type pedestals -o ped.txt", "one type as text"),
    ]
)
@asked(run=True)
@common.output
@common.overwrite
@common.json_output
@common.talk
def command(wanted: Asked, output: str | None, overwrite: bool, as_json: bool) -> None:
    """Write the constants that apply to a run to one file, with their origin.

    The name of the file tells the format: .npy, .npz, .h5, .hdf5, anything else is text.
    """
    from psanacli.calib import TYPES, export, format_of
    from psanacli.commands.constants import about, no_constants

    if output is None:
        raise click.UsageError("where to? Say -o FILE")
    wanted.check_type(geometry=False)
    path = Path(output)
    files.check_new([path], overwrite)
    target, kind = wanted.target, wanted.kind
    run = target.the_run()
    found = []
    for source in target.sources(wanted.detector):
        seen = target.look(source)
        for name in wanted.types(source):
            if name in TYPES and (kind or target.store.which(source, name, run).file):
                found.append(target.store.get(source, name, run, raw_shape=seen.shape if seen else ()))
    if not found:
        raise no_constants(target.store, f"for run {run}")
    export(found, path, format_of(path))
    if as_json:
        document = {"format": "psana calib export", "version": 1, "file": path, "run": run}
        console.print_json({**document, "constants": [about(each, statistics=False) for each in found]})
    console.note(f"wrote {len(found)} arrays to {path}")
