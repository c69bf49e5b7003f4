"""``psana calib history``: what was deployed when, by whom, and from where."""

from __future__ import annotations

from psanacli.commands import common, console


@common.verb(
    examples=[
        ("psana calib history exp=xpptut15:run=54 -d cspad --type pedestals", "of one type"),
        ("psana calib history --calib-dir /data/calib", "of a whole store, newest last"),
    ]
)
@common.datasource_or_not
@common.detector
@common.constants_type
@common.calib_dir
@common.root
@common.json_output
@common.talk
def command(
    datasource: tuple[str, ...],
    detector: str | None,
    kind: str | None,
    calib_dir: str | None,
    root: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show the history of constants, newest last, whichever program wrote it."""
    from psanacli.calib import history
    from psanacli.commands.constants import Target, check_type
    from psanacli.errors import NotFoundError

    check_type(kind, geometry=True)
    target = Target(datasource, root, calib_dir)
    store = target.store
    found = []
    for source in [target.source(detector)] if detector else store.sources():
        for name in [kind] if kind else store.types(source):
            records = history.read(store.type_directory(source, name))
            found += [(record.values.get("cptime", ""), source, name, record) for record in records]
    found.sort(key=lambda row: row[0])
    if as_json:
        for _, source, name, record in found:
            console.print_json_line({"detector": source, "type": name, "line": record.line, **record.values})
        return
    rows = [
        (when, source, name, record.command, record.file, record.values.get("user"), record.comment)
        for when, source, name, record in found
    ]
    console.table(("when", "detector", "type", "what", "file", "user", "comment"), rows)
    if not found:
        raise NotFoundError(f"{store.directory} has no history")
