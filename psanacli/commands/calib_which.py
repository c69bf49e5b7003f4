"""``psana calib which``: which file applies, and why not the others."""

from __future__ import annotations

from psanacli.commands import common, console
from psanacli.commands.asked import Asked, asked


@common.verb(
    examples=[
        ("psana calib which exp=xpptut15:run=54 -d cspad --type pedestals", "why this file?"),
        ("psana calib which --calib-dir /data/calib --run 54 -d CxiDs1.0:Cspad.0", "all types, without data"),
    ]
)
@asked(run=True)
@common.json_output
@common.talk
def command(wanted: Asked, as_json: bool) -> None:
    """Tell which file applies to a run, and of every other file why it does not.

    Of the files whose range has the run, the one with the largest begin applies; among equal begins that with the
    smallest end.
    """
    wanted.check_type()
    wanted.named()
    run, source = wanted.target.the_run(), wanted.source()
    choices = [wanted.store.which(source, name, run) for name in wanted.types(source)]
    if as_json:
        console.print_json(
            {
                "format": "psana calib which",
                "version": 1,
                "run": run,
                "detector": source,
                "types": [
                    {
                        "type": choice.type,
                        "directory": choice.directory,
                        "file": choice.file,
                        "files": [
                            {"name": entry.name, "applies": entry is choice.entry, "why": why}
                            for entry, why in choice.listing.explain(run)
                        ],
                        "ignored": [{"name": name, "why": why} for name, why in choice.listing.ignored],
                    }
                    for choice in choices
                ],
            }
        )
    else:
        for choice in choices:
            rows = [
                ("->" if entry is choice.entry else "", entry.name, why) for entry, why in choice.listing.explain(run)
            ]
            rows += [("", name, f"ignored: {why}") for name, why in choice.listing.ignored]
            console.table(("", "", ""), rows, title=f"{choice.type}, run {run}: {choice.file or 'no file applies'}")
    missing = [choice for choice in choices if choice.file is None]
    if wanted.kind and missing:
        raise missing[0].missing()
    if not choices:
        raise wanted.store.which(source, "pedestals", run).missing()
