"""``psana index check``: what in a run is not as it should be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from psanacli.commands import common, console
from psanacli.errors import CheckFailed

if TYPE_CHECKING:
    from psanacli.run import Run
    from psanacli.run.checks import Check, Finding

MOST = 20
"""Findings of one check in one run that are shown without ``--all``."""
READ_ANYHOW = 1 << 30
"""Bytes of payloads of one detector that are read without ``--deep``."""


@common.verb(
    examples=[
        ("psana index check exp=xpptut15:run=54", "silent when all is well"),
        ("psana index check --list", "what is checked"),
        ("psana index check /data/xtc --only gap --only duplicate", "of all runs in a directory"),
        ("psana index check exp=xpptut15:run=54 --skip damage --skip trimmed", "what is known is left out"),
        ("psana index check exp=xpptut15:run=54 --json | jq '.runs[0].findings[].check'", "for programs"),
    ]
)
@click.argument("datasource", nargs=-1, shell_complete=common.complete_files, metavar="DATASOURCE...")
@click.option("--list", "listed", is_flag=True, help="List all checks, and stop.")
@click.option("--only", multiple=True, metavar="NAME", help="Only this check; may be repeated.")
@click.option("--skip", multiple=True, metavar="NAME", help="Not this check; may be repeated.")
@click.option("--quick", is_flag=True, help="Look at headers only, read no payload.")
@click.option("--deep", is_flag=True, help="Read payloads whatever it takes; else at most a gigabyte of a detector.")
@click.option("--all", "everything", is_flag=True, help=f"Show every finding; else {MOST} of a kind.")
@common.root
@common.json_output
@common.talk
def command(
    datasource: tuple[str, ...],
    listed: bool,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    quick: bool,
    deep: bool,
    everything: bool,
    root: tuple[str, ...],
    as_json: bool,
) -> None:
    """Check a run and its indexes.

    Silent, with exit code 0, when data and indexes agree and nothing is irregular. Else a line for each finding (file,
    offset, event, what was found, what was expected), and exit code 7. What is usual in good runs is no finding.
    """
    from psanacli.run import open_runs
    from psanacli.run.checks import CHECKS, choose

    if listed:
        _list(CHECKS, as_json)
        return
    if not datasource:
        raise click.UsageError("Missing argument 'DATASOURCE...'.")
    if quick and deep:
        raise click.UsageError("--quick and --deep exclude each other")
    checks = choose(only, skip, quick=quick)
    found = 0
    results = []
    for run in open_runs(datasource, roots=root, index=False):  # what the files say now
        with run:
            result = _check(
                run, checks, None if deep else READ_ANYHOW, None if everything or as_json else MOST, as_json
            )
        found += result.pop("count")
        results.append(result)
    if as_json:
        console.print_json({"format": "psana index check", "version": 1, "runs": results})
    if found:
        raise CheckFailed(f"{found} finding{'s' * (found > 1)} in {len(results)} run{'s' * (len(results) > 1)}")


def _list(checks: tuple[Check, ...], as_json: bool) -> None:
    if as_json:
        console.print_json([{"name": c.name, "finds": c.sentence, "reads_payloads": c.reads} for c in checks])
        return
    console.table(("check", "finds"), [(check.name, check.sentence) for check in checks])


def _check(
    run: Run, checks: tuple[Check, ...], most_bytes: int | None, most: int | None, as_json: bool
) -> dict[str, Any]:
    """Make the checks, print what they find unless it is kept for JSON."""
    from psanacli.run.checks import Evidence, check_run

    evidence = Evidence(run, most_bytes)
    kept: list[dict[str, Any]] = []
    counts: dict[str, int] = {}
    for check, finding in check_run(run, checks, evidence):
        count = counts[check.name] = counts.get(check.name, 0) + 1
        if as_json:
            kept.append(_plain(check, finding))
        elif most is None or count <= most:
            click.echo(f"{check.name}: {finding}")
    for name, count in counts.items():
        if most is not None and count > most:
            click.echo(f"{name}: {count - most} more in run {run.number}; --all shows them")
    for note in evidence.notes:
        console.note(f"{note}; --deep reads them")
    return {
        "experiment": str(run.experiment),
        "run": run.number,
        "files": [str(file.path) for file in run.table.files],
        "checks": [check.name for check in checks],
        "findings": kept,
        "not_read": evidence.notes,
        "count": sum(counts.values()),
    }


def _plain(check: Check, finding: Finding) -> dict[str, Any]:
    return {
        "check": check.name,
        "file": None if finding.path is None else str(finding.path),
        "offset": finding.offset,
        "event": finding.event,
        "time": finding.time,
        "count": finding.count,
        "found": finding.found,
        "expected": finding.expected or None,
    }
