"""``psana calib history``: what was deployed when, by whom, and from where."""

from __future__ import annotations

from psanacli.commands import common, console
from psanacli.commands.asked import Asked, asked


@common.verb(
    examples=[
        ("psana calib history exp=xpptut15:run=54 -d cspad --type pedestals", "of one type"),
        ("psana calib history --calib-dir /data/calib", "of a whole store, newest last"),
    ]
)
@asked()
@common.json_output
@common.talk
def command(wanted: Asked, as_json: bool) -> None:
    """Show the history of constants, newest last, whichever program wrote it."""
    from psanacli.calib import history
    from psanacli.commands.constants import no_constants
    from psanacli.errors import NotFoundError

    wanted.check_type()
    found = []
    for source, name in wanted.directories():
        records = history.read(wanted.store.type_directory(source, name))
        found += [(record.values.get("cptime", ""), source, name, record) for record in records]
    found.sort(key=lambda row: row[0])
    if not found:
        of = f"of {wanted.detector}" if wanted.detector else ""
        if not wanted.store.directory.is_dir():
            raise no_constants(wanted.store, of)
        raise NotFoundError(
            f"{wanted.store.directory} has no history{of and ' '}{of}",
            "psana calib list shows the files",
        )
    if as_json:
        for _, source, name, record in found:
            console.print_json_line({"detector": source, "type": name, "line": record.line, **record.values})
        return
    rows = [
        (when, source, name, record.command, record.file, record.values.get("user"), record.comment)
        for when, source, name, record in found
    ]
    console.table(("when", "detector", "type", "what", "file", "user", "comment"), rows)
