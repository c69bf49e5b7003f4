"""``psana calib check``: whether a store is in order."""

from __future__ import annotations

from collections import Counter

from psanacli.commands import common, console
from psanacli.commands.asked import Asked, asked


@common.verb(
    examples=[
        ("psana calib check --calib-dir /data/calib", "every file of a store"),
        ("psana calib check exp=xpptut15:run=50-60", "also against the detectors of these runs"),
        ("psana calib check exp=xpptut15:run=54 -d cspad --json", "one detector, for programs"),
    ]
)
@asked(kind=False)
@common.json_output
@common.talk
def command(wanted: Asked, as_json: bool) -> None:
    """Look through a store of constants for what is wrong.

    Errors are files that cannot be read, of a wrong shape, or made for another camera than that of the run; warnings
    are files that are never used and types that are missing. Ends with 7 when there is either; with notes alone, 0.
    """
    from psanacli.calib import ERROR, NOTE, WARNING, check
    from psanacli.errors import CheckFailed

    target = wanted.target
    source = wanted.source() if wanted.detector else ""
    seen = target.seen() if wanted.datasource else {}
    with console.progress("check", 0, "files") as progress:
        found = list(check(target.store, source=source, seen=seen, advance=progress.advance))
    counts = Counter(finding.level for finding in found)
    if as_json:
        rows = [{"level": each.level, "path": each.path, "what": each.what} for each in found]
        document = {"format": "psana calib check", "version": 1, "directory": target.store.directory}
        console.print_json({**document, "files": progress.done, "findings": rows})
    else:
        order = [ERROR, WARNING, NOTE]
        rows_ = sorted(found, key=lambda each: order.index(each.level))
        table = [(each.level, _within(str(each.path), str(target.store.directory)), each.what) for each in rows_]
        title = f"{target.store.directory}: {progress.done} files, {counts[ERROR]} errors, {counts[WARNING]} warnings"
        console.table(("", "", ""), table, title=title)
    if counts[ERROR] or counts[WARNING]:
        raise CheckFailed(f"{target.store.directory}: {counts[ERROR]} errors, {counts[WARNING]} warnings")


def _within(path: str, directory: str) -> str:
    return path.removeprefix(directory).lstrip("/") or path
