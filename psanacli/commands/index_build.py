"""``psana index build``: make the indexes of runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from psanacli.commands import common, console, files, index_formats
from psanacli.commands.following import Following

if TYPE_CHECKING:
    from psanacli.parallel import Team
    from psanacli.run import FileProblem, IndexBuilder, RunFiles, RunIndex
    from psanacli.xtc import FileTable


@common.verb(
    examples=[
        ("psana index build exp=xpptut15:run=54", "the index of a run"),
        ("psana index build exp=xpptut15:run=50-60 -j 0", "of several runs, with all cores"),
        ("mpirun -n 16 psana index build exp=xpptut15:run=54", "with the ranks of an MPI job"),
        ("psana index build /data/xtc --overwrite", "from nothing, even if there is a good one"),
        ("psana index build exp=xpptut15:run=54 --format idx", "the facility's index files, for its own software"),
        ("psana index build exp=xpptut15:run=54 --format smd -j 0", "the facility's small data"),
    ]
)
@common.datasource
@click.option(
    "--format",
    "kind",
    type=click.Choice(["run", "idx", "smd"]),
    default="run",
    show_default=True,
    help="The index of the run; or for each of its files the facility's index (xtc.idx) or small data (smd.xtc).",
)
@click.option(
    "--threshold",
    type=click.IntRange(0, 0xFFFFFFFF),
    metavar="BYTES",
    help="In small data, objects of this size or more stay in the big file.  [default: 1024]",
)
@click.option("-o", "--output", metavar="DIR", type=click.Path(file_okay=False), help="Write the files into DIR.")
@common.overwrite
@common.jobs
@common.follow
@common.root
@common.json_output
@common.talk
def command(
    datasource: tuple[str, ...],
    kind: str,
    threshold: int | None,
    output: str | None,
    overwrite: bool,
    jobs: int,
    following: Following,
    root: tuple[str, ...],
    as_json: bool,
) -> None:
    """Build the index of runs, or bring it up to date.

    What an index that is there knows of files that have not changed is kept; of those that have grown only the new part
    is read. --overwrite builds it anew. It is written whole or not at all, beside the data in index/, or else in the
    user's cache.

    With --format idx and smd the files are those that the facility's own programs make: one for each file of the run,
    in index/ or smalldata/ beside it. One that exists is replaced with --overwrite only. With --follow it waits for the
    end of a run that is being written.
    """
    from psanacli.parallel import Team
    from psanacli.run import resolve

    team = Team.from_options(jobs)
    end = team.once(lambda: following.wait_for_end(datasource, root))
    runs = team.once(lambda: resolve(end.datasource))
    directory = Path(output) if output else None
    if kind != "run":
        index_formats.write_files(runs, kind, directory, threshold, overwrite, team, as_json)
        end.check()
        return
    if threshold is not None:
        raise click.UsageError("--threshold is for --format smd only")
    problems: list[FileProblem] = []
    for run in runs:
        problems += _build(run, directory, overwrite, team, as_json)
    end.check()
    if team.is_root:
        files.fail_if_corrupt(problems, "everything before it, and other files, are in the index")


def _build(run: RunFiles, directory: Path | None, overwrite: bool, team: Team, as_json: bool) -> list[FileProblem]:
    """Build one index; all ranks walk files, rank 0 does the rest."""
    from psanacli.parallel import run_ordered
    from psanacli.run import IndexBuilder, walk_piece

    begin = time.monotonic()
    builder = IndexBuilder(run, overwrite=overwrite) if team.is_root else None
    tables: list[FileTable] = []
    pieces = builder.pieces if builder else []
    with console.progress(f"run {run.run}", len(pieces), "files") as progress:

        def place(piece: object, table: FileTable) -> None:
            tables.append(table)
            progress.advance(1, table.size)

        run_ordered(pieces, walk_piece, place, team)
    return _finish(builder, tables, directory, begin, as_json) if builder else []


def _finish(
    builder: IndexBuilder, tables: list[FileTable], directory: Path | None, begin: float, as_json: bool
) -> list[FileProblem]:
    from psanacli.run import FileProblem, save_index

    index = builder.finish(tables)
    if builder.use.whole and directory is None and builder.use.path is not None:
        path, size, state = builder.use.path, index.size, "up to date"
    else:
        path, size = save_index(index, builder.run.files, directory)
        state = "brought up to date" if builder.use.path else "built"
    if console.verbose():
        for line in builder.use.notes:
            console.note(line)
    _say(builder, index, path, size, state, time.monotonic() - begin, as_json)
    found = []
    for file, problems in zip(
        sorted(builder.run.files, key=lambda file: file.place), index.headers.problems, strict=True
    ):
        found += [FileProblem(file.path, each.offset, each.kind, each.message) for each in problems.listed]
    return found


def _say(
    builder: IndexBuilder, index: RunIndex, path: Path, size: int, state: str, seconds: float, as_json: bool
) -> None:
    events = len(index.assembly.events)
    data = sum(index.headers.sizes)
    if as_json:
        row: dict[str, Any] = {"run": builder.run.run, "path": str(path), "state": state, "events": events}
        console.print_json_line({**row, "bytes": size, "data_bytes": data, "seconds": round(seconds, 3)})
        return
    each = f", {size / events:.0f} bytes an event" if events else ""
    took = f" in {console.duration_text(seconds)}" if state != "up to date" else ""
    console.note(f"{path}: {state}{took}; {events} events, {console.bytes_text(size)}{each}")
