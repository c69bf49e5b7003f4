"""``psana index list``: the runs of an experiment and the state of their indexes."""

from __future__ import annotations

import re

import click

from psanacli.commands import common, console

_NO_RUN = re.compile(r"(?=.*\bexp=)(?!.*\brun=)")


@common.verb(
    examples=[
        ("psana index list exp=xpptut15", "all runs of an experiment"),
        ("psana index list /data/xtc --events", "also count the events of runs without an index"),
        ("psana index list exp=xpptut15 --json | jq '.runs[] | select(.index != \"valid\").run'", "runs without one"),
    ]
)
@common.datasource
@click.option("--events", is_flag=True, help="Count the events of runs without an index, too: their headers are read.")
@common.root
@common.json_output
@common.talk
def command(datasource: tuple[str, ...], events: bool, root: tuple[str, ...], as_json: bool) -> None:
    """List runs: streams, files, sizes, events, and whether they have an index that is right.

    A data source without a run means all runs of the experiment. The number of events comes from the index; without
    one it is not shown, unless --events asks for it.
    """
    from psanacli.run import list_runs, parse_datasource, resolve

    words = [f"{word}:run=0-999999999" if _NO_RUN.match(word) else word for word in datasource]
    runs = resolve(parse_datasource(words, roots=root))
    rows = []
    with console.progress("runs", len(runs), "runs") as progress:
        for run in sorted(runs, key=lambda run: (str(run.experiment), run.run)):
            rows.append(list_runs(run, count=events))
            progress.advance(1, rows[-1]["bytes"])
    if as_json:
        console.print_json({"format": "psana index list", "version": 1, "runs": rows})
        return
    cells = [
        (
            row["run"],
            row["experiment"],
            len(row["streams"]),
            len(row["files"]),
            console.bytes_text(row["bytes"]),
            row["events"],
            row["index"],
            row["why"],
        )
        for row in rows
    ]
    console.table(("run", "experiment", "streams", "files", "bytes", "events", "index", ""), cells, align="><>>>><<")
