"""Which files come out of a run: one, or with a split one a step and a master file with links to them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from psanacli.errors import UsageError
from psanacli.hdf5 import outside
from psanacli.hdf5.names import CONFIGURE
from psanacli.hdf5.options import TranslateOptions
from psanacli.hdf5.tables import Plan
from psanacli.hdf5.translate import plan
from psanacli.parallel import Team
from psanacli.run import Run

DEFAULT_NAME = "{exp}-r{run:04d}.h5"
_FIELD = re.compile(r"\{(?:(exp)|run(?::(0?\d?d))?)\}")


def output_path(run: Run, output: str | None, *, several: bool = False) -> Path:
    """Return the file for a run.

    Parameters
    ----------
    run : Run
        The run.
    output : str or None
        A file, a directory, or a name with ``{exp}`` and ``{run}`` in it; None: the default name in this directory.
    several : bool
        Whether the same `output` is for several runs.

    Raises
    ------
    UsageError
        One file for several runs, a name with something else in braces, or a directory that does not exist.
    """
    pattern = output or DEFAULT_NAME
    if output and Path(output).is_dir():
        pattern = str(Path(output) / DEFAULT_NAME)
    elif several and output and "{run" not in output:
        hint = "name a directory, or put {run:04d} into the name"
        raise UsageError(f"{output}: several runs go to several files", hint)
    if "{" in pattern:
        name = _FIELD.sub(lambda field: f"{run.experiment.name if field[1] else run.number:{field[2] or ''}}", pattern)
        if "{" in name:
            raise UsageError(f"{output}: only {{exp}} and {{run}} can be in a name", "such as '{exp}-r{run:04d}.h5'")
        pattern = name
    path = Path(pattern)
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent}: no such directory, so {path.name} cannot be written there")
    return path


def job_name(sources: Sequence[str]) -> str:
    """Return the job name of a data source, as it stands in the file: without directories and the last suffix."""
    name = str(sources[0]).rpartition("/")[2] if sources else ""
    return name.rpartition(".")[0] or name


def outputs(
    run: Run, options: TranslateOptions, path: Path, team: Team, *, job: str = "", command: str = ""
) -> Iterator[tuple[Path, Plan]]:
    """Give the files of a run with their plans, one after the other; the same in all ranks of a team.

    Parameters
    ----------
    run : Run
        The run.
    options : TranslateOptions
        What to translate, and how.
    path : Path
        The file, or the master file of a split.
    team : Team
        Who works; its root makes the plans.
    job, command : str
        See `plan`.
    """

    def make(chosen: TranslateOptions) -> Plan:
        return team.once(lambda: plan(run, chosen, job=job, command=command))

    if not options.split:
        yield path, make(options)
        return
    known = range(len(run.table.steps)) if options.steps is None else options.steps
    whole = replace(options, split=False, missing_ok=True)
    links = replace(whole, steps=(), configure_events=False, missing_ok=options.missing_ok)
    master = team.once(lambda: _master(run, links, options, known, job, command))
    for number in known:
        part = path.with_name(f"{path.stem}_cc{number:04d}{path.suffix}")
        step = make(replace(whole, steps=(number,)))
        step.attributes["split_mode"] = "MPIWorker"
        _without_end(step)
        for group in step.groups:
            if "/CalibCycle:" in group and group.count("/") == 2:
                master.external.append((group, part.name, f"/{group}"))
        yield part, step
    master.attributes["split_mode"] = "MPIMaster"
    _without_end(master)
    yield path, master


def _master(
    run: Run, links: TranslateOptions, options: TranslateOptions, known: Iterable[int], job: str, command: str
) -> Plan:
    """Return the plan of the master file: no events, but what was joined to all that are in the others."""
    made = plan(run, links, job=job, command=command)
    events = np.arange(len(run.table.events))[options.events]
    outside.add(made, run, events[np.isin(run.table.events["step"][events], list(known))])
    return made


def _without_end(made: Plan) -> None:
    """Take out the end of the run, which stood in none of these files: their writers did not see it."""
    for group, attributes in made.groups.items():
        if group.startswith(f"{CONFIGURE}/Run:") and group.count("/") == 1:
            for name in ("end.seconds", "end.nanoseconds"):
                attributes.pop(name, None)
