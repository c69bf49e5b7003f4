"""``psana extract``: a reduced run as real XTC files."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from psanacli.commands import common, console, files
from psanacli.commands.following import Following
from psanacli.errors import UsageError

if TYPE_CHECKING:
    from psanacli.parallel import Team
    from psanacli.run.extract import Extraction


@common.verb(
    examples=[
        ("psana extract exp=xpptut15:run=54 --events 0:100 -o home", "the first hundred events"),
        ("psana extract exp=xpptut15:run=54 --events 0:100 -o home --dry-run", "how much that would be"),
        ("psana extract exp=xpptut15:run=54 --events good.txt -o home", "the events of a list"),
        ("psana extract exp=xpptut15:run=54 --include '*Opal*' --include EBeam -o home", "two detectors, all events"),
        ("psana extract exp=xpptut15:run=50-60 --events ::100 -o home --calib -j 4", "every hundredth of several runs"),
    ]
)
@common.datasource
@common.output
@common.events
@common.where
@common.number
@common.include
@common.exclude
@common.any_missing_ok
@click.option("--calib", is_flag=True, help="Copy the calibration directory of the experiment along.")
@click.option("--calib-dir", type=click.Path(file_okay=False), metavar="DIR", help="With --calib: copy this directory.")
@click.option(
    "--threshold",
    type=click.IntRange(min=0, max=0xFFFFFFFF),
    default=1024,
    show_default=True,
    metavar="BYTES",
    help="Objects of so many bytes stay out of the small data, which has proxies for them.",
)
@common.dry_run
@common.overwrite
@common.jobs
@common.follow
@common.root
@common.json_output
@common.talk
def command(
    datasource: tuple[str, ...],
    output: str | None,
    events: slice | str | None,
    where: str | None,
    number: int | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    missing_ok: bool,
    calib: bool,
    calib_dir: str | None,
    threshold: int,
    dry_run: bool,
    overwrite: bool,
    jobs: int,
    following: Following,
    root: tuple[str, ...],
    as_json: bool,
) -> None:
    """Extract chosen events into a reduced run, as XTC files with small data and indexes.

    -o is a new directory; in it is INSTRUMENT/EXPERIMENT/xtc, so it can be given as --root. All transitions are there,
    and what of other events the chosen ones need: EPICS and configuration are at each event what they are in the full
    run. With --include and --exclude event data of other sources are left out; timing stays unless it is excluded. The
    directory is there whole or not at all. With --follow it waits for the end of a run that is being written.
    """
    from psanacli.parallel import Team
    from psanacli.run import open_runs
    from psanacli.run.extract import plan_extraction

    events = common.first_events(events, number)
    if output is None and not dry_run:
        raise click.UsageError("-o DIR is missing: the directory of the extracted run")
    if calib_dir and not calib:
        raise click.UsageError("--calib-dir goes with --calib")
    team = Team.from_options(jobs)
    chosen = events if isinstance(events, slice) else slice(None)
    end = team.once(lambda: following.wait_for_end(datasource, root))
    with ExitStack() as closing:
        runs = [closing.enter_context(run) for run in open_runs(end.datasource)]
        found = common.numbers(team, runs, events, where, missing_ok)
        plans: list[Extraction] = []
        for run, some in zip(runs, found, strict=True):
            if some is None or len(some):
                which = chosen if some is None else some
                plan = plan_extraction(run, which, include=include, exclude=exclude, missing_ok=missing_ok)
                closing.callback(plan.run.close)
                plans.append(plan)
        _refuse_equal_names(plans)
        if not dry_run and output is not None:
            calibration = Path(calib_dir) if calib_dir else None
            _write(Path(output), plans, team, threshold, calib, calibration, overwrite)
        if team.is_root:
            _show(plans, output, dry_run, as_json)
            end.check()
            problems = [problem for plan in plans for problem in plan.run.problems]
            files.fail_if_corrupt(problems, "what is behind it is not in the extracted run")


def _refuse_equal_names(plans: list[Extraction]) -> None:
    """Files of one name from different directories cannot be in one."""
    from psanacli.run.extract import xtc_directory

    seen: set[Path] = set()
    for plan in plans:
        for file in plan.files:
            place = xtc_directory(Path(), plan) / file.path.name
            if place in seen:
                raise UsageError(f"two files are called {file.path.name}", "extract them into different directories")
            seen.add(place)


def _write(
    root: Path,
    plans: list[Extraction],
    team: Team,
    threshold: int,
    calib: bool,
    calib_dir: Path | None,
    overwrite: bool,
) -> None:
    """Write the tree; files are dealt among the workers, the largest first."""
    from psanacli.parallel import run_ordered
    from psanacli.run.extract import (
        calibration_of,
        copy_calibration,
        new_tree,
        write_provenance,
        write_run_index,
        write_table,
        write_with_companions,
        xtc_directory,
    )

    jobs = [(which, number) for which, plan in enumerate(plans) for number in range(len(plan.files))]
    jobs.sort(key=lambda job: -plans[job[0]].file_bytes[job[1]])
    total = sum(sum(plan.file_bytes) for plan in plans)
    if not team.is_root:
        part = team.once(Path)
        run_ordered(
            jobs,
            lambda job: write_with_companions(plans[job[0]], job[1], xtc_directory(part, plans[job[0]]), threshold),
            lambda job, size: None,
            team,
        )
        return
    calibrations = [calibration_of(plan, calib_dir) for plan in plans] if calib else []
    with new_tree(root, plans, overwrite=overwrite) as part, console.progress(root.name, total, "bytes") as progress:
        directory = team.once(lambda: part)
        run_ordered(
            jobs,
            lambda job: write_with_companions(
                plans[job[0]], job[1], xtc_directory(directory, plans[job[0]]), threshold
            ),
            lambda job, size: progress.advance(plans[job[0]].file_bytes[job[1]]),
            team,
        )
        for plan in plans:
            write_run_index(plan, part)
        for plan, calibration in zip(plans, calibrations, strict=False):
            copy_calibration(calibration, part, plan)
        write_table(part, plans)
        write_provenance(part, plans, command=console.command_line(), threshold=threshold)
        for plan in plans:
            plan.run.check_unchanged()


def _show(plans: list[Extraction], output: str | None, dry_run: bool, as_json: bool) -> None:
    """Print what was or would be written."""
    if as_json:
        out: dict[str, Any] = {"format": "psana extract", "version": 1, "directory": output, "dry_run": dry_run}
        console.print_json({**out, "runs": [plan.asdict() for plan in plans]})
    for plan in plans:
        size, whole = sum(plan.file_bytes), sum(plan.run.table.sizes)
        text = (
            f"run {plan.run.number}: {len(plan.events)} of {len(plan.run.table.events)} events, "
            f"{console.bytes_text(size)} of {console.bytes_text(whole)} in {len(plan.files)} files"
        )
        if dry_run and not as_json:
            rows = [
                (file.path.name, console.bytes_text(part), console.bytes_text(of))
                for file, part, of in zip(plan.files, plan.file_bytes, plan.run.table.sizes, strict=True)
            ]
            console.table(("file", "bytes", "of"), rows, title=text, align="<>>")
        else:
            console.note(text)
        for note in plan.notes:
            console.note(f"run {plan.run.number}: {note}")
