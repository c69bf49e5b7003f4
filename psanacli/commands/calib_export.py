"""``psana calib export``: the constants of a run as one file."""

from __future__ import annotations

from pathlib import Path

import click

from psanacli.commands import common, console


@common.verb(
    examples=[
        ("psana calib export exp=xpptut15:run=54 -d cspad -o constants.npz", "all types of a detector"),
        ("psana calib export exp=xpptut15:run=54 -o constants.h5", "of all detectors"),
        ("psana calib export exp=xpptut15:run=54 -d cspad --type pedestals -o ped.txt", "one type as text"),
    ]
)
@common.datasource_or_not
@common.detector
@common.constants_type
@common.run_number
@common.output
@common.overwrite
@common.calib_dir
@common.root
@common.talk
def command(
    datasource: tuple[str, ...],
    detector: str | None,
    kind: str | None,
    number: int | None,
    output: str | None,
    overwrite: bool,
    calib_dir: str | None,
    root: tuple[str, ...],
) -> None:
    """Write the constants that apply to a run to one file, with their origin.

    The name of the file tells the format: .npz, .h5, .hdf5, anything else is text.
    """
    from psanacli.calib import TYPES, export
    from psanacli.commands.constants import Target, check_type
    from psanacli.errors import NotFoundError, OutputError

    if output is None:
        raise click.UsageError("where to? Say -o FILE")
    check_type(kind)
    path = Path(output)
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists", "choose another name, or say --overwrite")
    target = Target(datasource, root, calib_dir, number)
    run = target.the_run()
    found = []
    for source in target.sources(detector):
        seen = target.look(source)
        for name in [kind] if kind else target.store.types(source):
            if name in TYPES and (kind or target.store.which(source, name, run).file):
                found.append(target.store.get(source, name, run, raw_shape=seen.shape if seen else ()))
    if not found:
        raise NotFoundError(f"{target.store.directory} has no constants for run {run}")
    how = {".npz": "npz", ".h5": "h5", ".hdf5": "h5"}.get(path.suffix.lower(), "text")
    export(found, path, how)
    console.note(f"wrote {len(found)} arrays to {path}")
