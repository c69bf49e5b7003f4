"""``psana translate``: runs to HDF5 files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from psanacli.commands import common, console, files
from psanacli.commands.following import Following
from psanacli.commands.joining import Joining
from psanacli.errors import DataError, UsageError

if TYPE_CHECKING:
    from psanacli.hdf5 import Plan, Summary
    from psanacli.run import FileProblem, Run


MOST_STEPS = 1_000_000


def _steps(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """Return the numbers of ``0,2-4``."""
    if value is None:
        return None
    numbers: list[int] = []
    for word in value.split(","):
        first, _, last = word.partition("-")
        if not first.isdecimal() or not (last or first).isdecimal() or int(last or first) < int(first):
            raise click.BadParameter(f"{value!r} is not a list of steps like 0,2-4")
        if int(last or first) > MOST_STEPS:
            raise click.BadParameter(f"{word} is more steps than a run can have")
        numbers += range(int(first), int(last or first) + 1)
    return tuple(sorted(set(numbers)))


@common.verb(
    examples=[
        ("psana translate exp=xpptut15:run=54", "to xpptut15-r0054.h5 here"),
        ("psana translate exp=xpptut15:run=54 -o out.h5 -j 0", "with all cores"),
        ("mpirun -n 16 psana translate exp=xpptut15:run=54 -o out.h5", "with the ranks of an MPI job"),
        ("psana translate exp=xpptut15:run=50-60 -o '{exp}-r{run:04d}.h5'", "several runs, a file each"),
        ("psana translate exp=xpptut15:run=54 --dry-run", "what would come out"),
        ("psana translate exp=xpptut15:run=54 --include 'EBeam' --include '*Ipm*' --aligned", "for analysis"),
        ("psana translate exp=xpptut15:run=54 --with cryo=lakeshore.csv,zone=America/Los_Angeles", "with other values"),
        ("psana translate exp=xpptut15:run=54 --where 'code(140) and present(cspad)'", "the events that matter"),
        ("psana translate exp=xpptut15:run=54 --calib cspad", "corrected images too, with their constants"),
        ("psana translate exp=xpptut15:run=54 --calib '*' --calib-form instead", "corrected ones only"),
        ("psana translate exp=xpptut15:run=54 --exclude 'Frame__*Opal*' --events 0:1000", "less"),
    ]
)
@common.datasource
@common.output
@common.include
@common.exclude
@common.any_missing_ok
@click.option(
    "--epics",
    type=click.Choice(["calib-repeat", "updates", "always", "no"]),
    default="calib-repeat",
    show_default=True,
    help="Values of EPICS variables: when updated and at the begin of each step, when updated, in every event, none.",
)
@click.option(
    "--compression",
    default="gzip:1",
    show_default=True,
    metavar="NAME[:LEVEL]",
    help="none, gzip, bitshuffle-lz4 or zstd.",
)
@common.outside
@common.events
@common.where
@common.number
@click.option("--steps", callback=_steps, metavar="LIST", help="Only these steps, such as 0,2-4.")
@click.option("--split", type=click.Choice(["steps"]), help="One file a step, and one with links to all of them.")
@click.option("--aligned", is_flag=True, help="One table a detector with one row an event, blank where it is absent.")
@click.option("--no-configure-events", is_flag=True, help="Leave out the event data of the Configure transition.")
@click.option(
    "--calib",
    multiple=True,
    metavar="DET[,DET...]",
    help="Write corrected images (float32) of these area detectors: name, alias or pattern; may be repeated.",
)
@click.option(
    "--calib-form",
    type=click.Choice(["beside", "instead", "in-type"]),
    default="beside",
    show_default=True,
    help="Corrected images beside the raw ones, in their place, or as int16 in the type of the raw ones (CSPAD).",
)
@click.option(
    "--common-mode",
    metavar="MODE",
    help="Common mode that --calib subtracts: median:rows=yes, or numbers such as 1,25,25,100, or none.  "
    "[default: as the constants say]",
)
@click.option(
    "--bad",
    metavar="EXPR",
    help="With --calib: which pixels are 0, such as 'status or pixel_mask or edges(1)'; see psana help masks.  "
    "[default: status]",
)
@click.option("--allow-uncalibrated", is_flag=True, help="With --calib: without pedestals images stay uncorrected.")
@common.calib_dir
@common.dry_run
@common.overwrite
@click.option("--resume", is_flag=True, help="Go on where an interrupted translation stopped.")
@common.jobs
@common.follow
@common.root
@common.json_output
@common.talk
def command(
    datasource: tuple[str, ...],
    output: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    missing_ok: bool,
    epics: str,
    compression: str,
    joining: Joining,
    events: slice | str | None,
    where: str | None,
    number: int | None,
    steps: tuple[int, ...] | None,
    split: str | None,
    aligned: bool,
    no_configure_events: bool,
    calib: tuple[str, ...],
    calib_form: str,
    common_mode: str | None,
    bad: str | None,
    allow_uncalibrated: bool,
    calib_dir: str | None,
    dry_run: bool,
    overwrite: bool,
    resume: bool,
    jobs: int,
    following: Following,
    root: tuple[str, ...],
    as_json: bool,
) -> None:
    """Translate runs to the standard HDF5 files of LCLS-I.

    A file is written whole or not at all. Patterns are globs; case and - or _ do not matter. -o is a file, a directory,
    or a name with {exp} and {run} in it. What --with joins is in /Outside/NAME. Whatever the order of a list of events,
    the file has them in the order of the run, and each once. What --calib corrects is in groups ndarray_float32_N, with
    the constants and where they came from in Configure:0000/CalibStore. With --follow it waits for the end of a run
    that is being written.
    """
    from psanacli.hdf5 import Compression, TranslateOptions, job_name, output_path, outputs, translate
    from psanacli.parallel import Team
    from psanacli.run import open_runs

    events = common.first_events(events, number)
    options = TranslateOptions(
        include=include,
        exclude=exclude,
        missing_ok=missing_ok,
        epics=epics,
        compression=Compression.parse(compression),
        events=events if isinstance(events, slice) else slice(None),
        steps=steps,
        configure_events=not no_configure_events,
        aligned=aligned,
        split=split is not None,
        calib=tuple(name.strip() for names in calib for name in names.split(",") if name.strip()),
        calib_form=calib_form,
        common_mode=common_mode,
        bad=bad,
        allow_uncalibrated=allow_uncalibrated,
    )
    team = Team.from_options(jobs)
    end = team.once(lambda: following.wait_for_end(datasource, root))
    runs = open_runs(end.datasource, calib_dir=calib_dir)
    if team.is_root:
        files.note_indexes(runs)
    paths = [output_path(run, output, several=len(runs) > 1) for run in runs]
    if len(set(paths)) < len(paths):
        hint = "put {run} into the name: '{exp}-r{run:04d}.h5'"
        raise UsageError(f"several runs would be written to {paths[0]}", hint)
    team.once(lambda: joining.join_to(runs))
    numbers = common.numbers(team, runs, events, where, missing_ok)
    words = {"job": job_name(datasource), "command": console.command_line()}
    problems: list[FileProblem] = []
    damaged = False
    for run, path, some in zip(runs, paths, numbers, strict=True):
        with run:
            chosen = options if some is None else replace(options, events=some)
            if some is not None and not len(some) and len(runs) > 1:
                if team.is_root:
                    console.warn(f"run {run.number}: no event is chosen, so {path} is not written")
                continue
            if team.is_root and not len(run.table.datagrams):
                files.fail_if_corrupt(run.problems, "there is not one whole datagram; is it an XTC file?")
            for out, plan in outputs(run, chosen, path, team, **words):
                if dry_run:
                    _show_plan(out, plan, as_json)
                    continue
                with console.progress(out.name, plan.count) as progress:
                    summary = translate(
                        run, plan, out, team, overwrite=overwrite, resume=resume, advance=progress.advance
                    )
                if summary is not None:
                    _show_summary(run, summary, as_json)
                    damaged |= summary.damaged_data
            problems += run.problems
    end.check()
    if team.is_root:
        files.fail_if_corrupt(problems, "the plan is made without it" if dry_run else "all else was translated")
    if damaged:
        raise DataError("some data are damaged beyond what their damage words say; all else was translated")


def _show_plan(path: Path, plan: Plan, as_json: bool) -> None:
    """Print what would be written."""
    if as_json:
        console.print_json({"path": str(path), **plan.asdict()})
        return
    rows = [
        (group, datasets, rows, "x".join(map(str, shape)), console.bytes_text(size))
        for group, datasets, rows, shape, size in plan.overview()
    ]
    size = console.bytes_text(plan.bytes)
    title = f"{path}: {plan.count} events, {len(plan.datasets)} datasets, {size} uncompressed"
    console.table(("group", "datasets", "rows", "largest", "bytes"), rows, title=title, align="<>><>")
    for told in plan.provenance.get("calib", ()):
        used = ", ".join(f"{each['type']} {Path(each['file']).name}" for each in told["constants"])
        mode = told["common_mode"] or "none"
        console.note(f"{told['source']} is corrected with {used or 'nothing'}; common mode {mode}")
    for note in plan.notes:
        console.note(note)


def _show_summary(run: Run, summary: Summary, as_json: bool) -> None:
    """Say what came of it."""
    if as_json:
        console.print_json_line(summary.asdict())
        return
    made = f"{summary.path}: {summary.events} events, {console.bytes_text(summary.bytes)}"
    if summary.resumed:
        console.note(f"{made}; {summary.resumed}")  # only a part was done now, so there is no rate
    else:
        rate = console.bytes_text(sum(run.table.sizes) / max(summary.seconds, 1e-9))
        console.note(f"{made} in {console.duration_text(summary.seconds)} ({rate}/s)")
    for line in (*run.remarks, *summary.remarks()):
        console.warn(line)
