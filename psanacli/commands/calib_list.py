"""``psana calib list``: the files of a store, and where each applies."""

from __future__ import annotations

from psanacli.commands import common, console
from psanacli.commands.asked import Asked, asked


@common.verb(
    examples=[
        ("psana calib list exp=xpptut15:run=54", "the store of an experiment"),
        ("psana calib list --calib-dir /data/calib -d CxiDs1.0:Cspad.0", "one detector"),
    ]
)
@asked()
@common.json_output
@common.talk
def command(wanted: Asked, as_json: bool) -> None:
    """List the files of a store of constants, and the runs to which each applies."""
    from psanacli.calib import spelled
    from psanacli.commands.constants import no_constants

    wanted.check_type()
    store = wanted.store
    found = []
    for source, name in wanted.directories():
        listing = store.files(source, name)
        stretches = listing.stretches()
        for entry in listing.entries:
            path = store.type_directory(source, name) / entry.name
            try:
                size = path.stat().st_size
            except OSError:
                size = None
            runs = [runs for runs, other in stretches if other is entry]
            found.append((source, name, entry.name, spelled(runs), size, str(path)))
    if as_json:
        keys = ("detector", "type", "name", "applies_to", "bytes", "file")
        rows = [dict(zip(keys, row, strict=True)) for row in found]
        console.print_json({"format": "psana calib list", "version": 1, "directory": store.directory, "files": rows})
    elif found:
        console.table(
            ("detector", "type", "file", "applies to runs", "size"),
            [(*row[:3], row[3] or "none", "" if row[4] is None else console.bytes_text(row[4])) for row in found],
            title=str(store.directory),
        )
    if not found:
        raise no_constants(store, f"of {wanted.detector}" if wanted.detector else "")
