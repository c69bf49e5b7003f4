"""``psana index show``: what is in the index of a run."""

from __future__ import annotations

from typing import Any

import click

from psanacli.commands import common, console


@common.verb(
    examples=[
        ("psana index show exp=xpptut15:run=54", "files, sizes, events, and whether it is still right"),
        ("psana index show exp=xpptut15:run=54 --json | jq '.indexes[0].valid'", "for programs"),
    ]
)
@common.datasource
@common.root
@common.json_output
@common.talk
def command(datasource: tuple[str, ...], root: tuple[str, ...], as_json: bool) -> None:
    """Show what the index of a run has: files, events, sizes, age, and whether it is still right.

    The data are not read. Where there is no index, or one that cannot be used, the reason is shown.
    """
    from psanacli.run import describe_index, parse_datasource, resolve

    found = [describe_index(run) for run in resolve(parse_datasource(datasource, roots=root))]
    if as_json:
        console.print_json({"format": "psana index show", "version": 1, "indexes": found})
        return
    for index in found:
        _print(index)


def _print(index: dict[str, Any]) -> None:
    click.echo(f"run {index['run']} of {index['experiment']}: {index['path'] or 'no index'}")
    for line in index["notes"]:
        click.echo(f"  {line}")
    if index["path"] is None:
        return
    each = f", {index['bytes_an_event']:.1f} an event" if index["events"] else ""
    rows = [
        ("valid", "yes" if index["valid"] else "no"),
        ("written", f"{index['written'][:19].replace('T', ' ')} UTC"),
        ("size", f"{console.bytes_text(index['bytes'])}{each}, of {console.bytes_text(index['data_bytes'])} of data"),
        ("events", f"{index['events']} in {index['steps']} steps"),
        ("datagrams", f"{index['datagrams']} with {index['patterns']} patterns of {index['keys']} sources and types"),
        ("event codes", ", ".join(f"{code} in {count}" for code, count in index["codes"].items()) or "none"),
    ]
    console.table(("", ""), rows, align="<<")
    files = [
        (file["name"], console.bytes_text(file["bytes"]), file["datagrams"], file["patterns"], file["state"])
        for file in index["files"]
    ]
    console.table(("file", "bytes", "datagrams", "patterns", "state"), files, align="<>>><")
