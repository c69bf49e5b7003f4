"""``psana demo``: a sample experiment, and what can be done with it."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from psanacli.commands import common, console
from psanacli.errors import OutputError

if TYPE_CHECKING:
    from psanacli.demo import Sample
    from psanacli.run import Run


@common.verb(
    examples=[
        ("psana demo", "a run of a few MB in ./psana-demo, its HDF5 file, and what to try next"),
        ("psana demo big --detector cspad --events 60 --streams 1", "full images of 4.6 MB, to measure speed"),
        ("psana demo --dark", "with a dark run, to try psana calib"),
        ("psana demo many --detector small --events 60000 --no-translate", "many small events"),
    ]
)
@click.argument("directory", metavar="[DIR]", default="psana-demo", type=click.Path(file_okay=False))
@click.option(
    "-d",
    "--detector",
    multiple=True,
    metavar="NAME",
    help="Only this detector, at its full size, in every event; may be repeated. timing, ebeam, gas, cavity, monitor, "
    "digitizer, camera, cspad, or small for all but images.",
)
@click.option("--events", type=click.IntRange(min=1), metavar="N", help="Number of events.  [default: 120]")
@click.option(
    "--streams", type=click.IntRange(1, 79), default=2, show_default=True, metavar="N", help="Number of DAQ streams."
)
@click.option("--dark", is_flag=True, help="Write a dark run of the images too, run 2: for psana calib.")
@click.option("--no-translate", is_flag=True, help="Write the run only, not its HDF5 file.")
@common.overwrite
@common.jobs
@common.talk
def command(
    directory: str,
    detector: tuple[str, ...],
    events: int | None,
    streams: int,
    dark: bool,
    no_translate: bool,
    overwrite: bool,
    jobs: int,
) -> None:
    """Make a sample experiment in DIR, translate it, and show what to try next.

    The run has a scan of four steps, beam-line data, timing, a digitizer, a camera, a CSPAD with rings of a powder, and
    EPICS variables: real XTC files, in the directories of the facility.
    """
    from psanacli.demo import EXPERIMENT, INSTRUMENT, write_sample
    from psanacli.run import open_run

    root = Path(directory)
    home = root / INSTRUMENT / EXPERIMENT
    if home.exists() and not overwrite:
        raise OutputError(f"{home} exists", "--overwrite replaces the sample in it, or name another directory")
    begin = time.perf_counter()
    with console.progress("writing", events or 120) as progress:
        told = 0

        def advance(count: int) -> None:
            nonlocal told
            progress.advance(count - told)
            told = count

        sample = write_sample(root, events=events, streams=streams, chosen=detector, dark=dark, progress=advance)
    made = [*sample.paths, *sample.dark_paths]
    with open_run(sample.datasource, roots=[root]) as run:
        if not no_translate:
            made.append(_translate(run, home / "hdf5", jobs))
        contents = [(item.name, item.alias, ", ".join(item.types)) for item in run.detectors.values()]
    rows = [(str(path), console.bytes_text(path.stat().st_size)) for path in made]
    took = console.duration_text(time.perf_counter() - begin)
    and_dark = f", and a dark run of {sample.dark_events}" if sample.dark else ""
    title = f"{sample.events} events in {sample.steps} steps{and_dark}, written in {took}"
    console.table(("file", "size"), rows, title=title, align="<>")
    click.echo()
    console.table(("detector", "alias", "types"), contents)
    click.echo("\nTry next:")
    for line, meaning in _next(sample, made):
        click.echo(f"  {line}\n      {meaning}")


def _translate(run: Run, directory: Path, jobs: int) -> Path:
    """Translate the run, as ``psana translate`` does."""
    from psanacli.hdf5 import TranslateOptions, output_path, plan, translate
    from psanacli.parallel import Team

    directory.mkdir(exist_ok=True)
    path = output_path(run, str(directory))
    made = plan(run, TranslateOptions())
    with console.progress("translating", made.count) as progress:
        translate(run, made, path, Team.from_options(jobs), overwrite=True, advance=progress.advance)
    return path


def _next(sample: Sample, made: list[Path]) -> list[tuple[str, str]]:
    """Return command lines that work as they are, and what each does."""
    run = f"{sample.datasource} --root {shlex.quote(str(sample.root))}"
    first = shlex.quote(str(sample.paths[0]))
    lines = [
        (f"psana info {run}", "what is in the run"),
        (f"psana info {run} --missing", "which detector is absent in which events"),
        (f"psana dump {first} --events 0:1", "everything in the first event"),
        (f"psana translate {run} --aligned -o aligned.h5", "tables with one row an event, for analysis"),
    ]
    if made[-1].suffix == ".h5":
        lines.insert(
            3, (f"h5ls -r {shlex.quote(str(made[-1]))}", "what is in the HDF5 file (of the package hdf5-tools)")
        )
    if sample.dark:
        source = f"{sample.dark} --root {shlex.quote(str(sample.root))}"
        image = sample.dark_detectors[0]
        deploy = f"psana calib dark {source} -d {image} --deploy --run 1-end"
        lines += [
            (
                f"psana calib dark {source} -d {image}",
                "which pixels are bad in the dark run, and why",
            ),
            (deploy, "its constants for all runs, into the store of the sample"),
            (f"psana calib show {run}", "which constants apply to the run"),
            (
                f"psana translate {run} --calib {image} -o corrected.h5",
                "corrected images, after that",
            ),
        ]
    code = f"run = psanacli.open_run('{sample.datasource}', roots=['{sample.root}']); print(run, run.detectors)"
    lines.append((f'python -c "import psanacli; {code}"', "the same run in Python"))
    return lines
