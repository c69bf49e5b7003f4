"""Translating a run: plan, build, fill, finish."""

from __future__ import annotations

import datetime
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from psanacli.errors import OutputError
from psanacli.hdf5 import _filters, names
from psanacli.hdf5.build import build
from psanacli.hdf5.fill import Worker
from psanacli.hdf5.options import TranslateOptions
from psanacli.hdf5.output import Output, finished
from psanacli.hdf5.placing import Placer
from psanacli.hdf5.plan import Planner
from psanacli.hdf5.reserved import Invitation, Reserved
from psanacli.hdf5.tables import Block, Plan
from psanacli.parallel import Team, run_ordered
from psanacli.run import Run
from psanacli.version import __version__

Advance = Callable[[int, int], None]
"""Told the number of events and of payload bytes that were placed."""


@dataclass
class Summary:
    """What came of a translation.

    Attributes
    ----------
    path : Path
    events, bytes : int
        Events translated, and size of the file.
    seconds : float
    damage : dict of str to int
        Number of blank rows (damaged or missing contributions) by group.
    changed, broken : Counter
        By group: arrays of another shape than their dataset, padded or cut; objects that are damaged or do not fit into
        their payload, left blank.
    notes : list of str
    resumed : str
        Where an interrupted translation went on, or why it did not, or that the file was complete; empty when that was
        not asked for.
    """

    path: Path
    events: int
    bytes: int
    seconds: float
    damage: dict[str, int] = field(default_factory=dict)
    changed: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    resumed: str = ""

    @property
    def damaged_data(self) -> bool:
        """Whether something is damaged that no damage word tells of."""
        return bool(self.broken)

    def remarks(self) -> list[str]:
        """Return in words what the user should know, damage first."""
        lines = _counted(self.broken, "objects are damaged, do not fit into their payloads or together, and are blank")
        lines += _counted(self.damage, "damaged or missing contributions are blank")
        lines += _counted(self.changed, "arrays have another shape than their dataset, and were padded or cut")
        return lines + self.notes

    def asdict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        values = dict(vars(self), path=str(self.path))
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in values.items()}


def _counted(counts: dict[str, int], what: str) -> list[str]:
    """Return one line for all steps of each type and source."""
    sums: Counter[str] = Counter()
    for group, count in counts.items():
        sums["/".join(group.split("/")[-2:])] += count
    return [f"{group}: {count} {what}" for group, count in sums.items()]


def plan(run: Run, options: TranslateOptions, *, job: str = "", command: str = "") -> Plan:
    """Return the plan of translating a run.

    Parameters
    ----------
    run : Run
        The run.
    options : TranslateOptions
        What to translate, and how.
    job : str
        Name of the job in the file (``jobName``); default is the experiment and run.
    command : str
        The command line, for the provenance.

    Raises
    ------
    NotFoundError
        A pattern or a step of the options is not in the run.
    UsageError
        This machine cannot make the compression.
    """
    options.compression.check()
    made = Planner(run, options).make()
    made.attributes = _attributes(run, job)
    made.provenance |= {
        "version": __version__,
        "command": command,
        "created": made.attributes["created"],
        "sources": _sources(run),
        "options": options.record(),
    }
    return made


def _attributes(run: Run, job: str) -> dict[str, Any]:
    """Return the attributes of the file."""
    experiment = run.experiment
    now = time.time_ns()
    local = datetime.datetime.fromtimestamp(now // 1_000_000_000).astimezone()
    return {
        ":schema:version": np.uint32(names.SCHEMA_VERSION),
        ":schema:timestamp-format": "full",
        ":schema:bld-shared-split": np.uint32(1),
        ":schema:bld-config-as-evt": np.uint32(1),
        "UUID": str(uuid.uuid4()),
        "origin": "psana-translator",
        "created": f"{local:%Y-%m-%d %H:%M:%S}.{now % 1_000_000_000:09d}{local:%z}",
        "split_mode": "NoSplit",
        "expNum": np.uint32(experiment.number),
        "experiment": experiment.name,
        "instrument": experiment.instrument,
        "jobName": job or f"exp={experiment.name}:run={run.number}",
    }


def _sources(run: Run) -> list[dict[str, Any]]:
    """Return name, size and time of change of the files of a run, as they were when it was opened."""
    states = ((file.path, run.states.get(file.path)) for file in run.table.files)
    return [{"path": str(path), "bytes": state.bytes, "mtime_ns": state.mtime_ns} for path, state in states if state]


def translate(
    run: Run,
    made: Plan,
    path: Path,
    team: Team,
    *,
    overwrite: bool = False,
    resume: bool = False,
    advance: Advance = lambda events, size: None,
) -> Summary | None:
    """Write the file of a plan; all ranks of a team call it.

    Parameters
    ----------
    run : Run
        Where the payloads are read.
    made : Plan
        The same in all ranks.
    path : Path
        Final name of the file.
    team : Team
        Who works.
    overwrite, resume : bool
        See `Output`.  With `resume` a file that is complete already, made from the same in the same way, is kept; one
        that was made otherwise is an error.
    advance : callable
        Told how far it is.

    Returns
    -------
    Summary or None
        None in all ranks but the root.

    Raises
    ------
    OutputError
        The file cannot be written.
    DataError
        A file of the run was replaced or written to meanwhile.
    """
    begun = time.monotonic()
    _filters.keep_freed_memory()
    worker = Worker(made, run)
    if not team.is_root:
        with Reserved.accept(team.once(_nothing)) as worker.reserved:
            run_ordered((), worker, lambda block, filled: None, team)
        team.all_here()
        return None
    differs = finished(path, _origin(made)) if resume else None
    if differs and not overwrite:
        message = f"{path} exists, and was made {differs}"
        raise OutputError(message, "--overwrite makes it anew; with another name in -o both are kept")
    if differs == "":
        team.once(_nothing)
        run_ordered((), worker, lambda block, filled: None, team)
        team.all_here()
        advance(made.count, sum(block.bytes for block in made.blocks))
        size, seconds = path.stat().st_size, time.monotonic() - begun
        kept = "was complete, and is kept"
        return Summary(path, made.count, size, seconds, made.damage, notes=made.notes, resumed=kept)
    with Output(path, _identity(made, run), overwrite=overwrite, resume=resume) as output:
        done = output.begin()
        place = Placer(made, output)
        if done:
            place.go_on(done)

        def create() -> None:
            if output.file is None:
                output.create(lambda file: build(made, file))

        def placed(block: Block, filled: Any) -> None:
            place(block, filled)
            advance(block.stop - block.first, block.bytes)

        for block in made.blocks[:done]:
            advance(block.stop - block.first, block.bytes)
        if made.reserves:
            create()  # workers write to it; else it is made while they are busy with the first blocks
        with Reserved.reserve(made, output) as reserved:
            team.once(reserved.invitation)
            worker.reserved = reserved
            run_ordered(made.blocks[done:], worker, placed, team, create)
            team.all_here()  # and what they wrote is on the disk
        run.check_unchanged()
        place.end()
    return Summary(
        path,
        made.count,
        path.stat().st_size,
        time.monotonic() - begun,
        made.damage,
        place.changed,
        place.broken,
        made.notes,
        output.resumed,
    )


def _nothing() -> Invitation | None:
    """Invite nobody, as there is nothing to be done."""
    return None


def _identity(made: Plan, run: Run) -> dict[str, Any]:
    """Return what has to be the same for an interrupted translation to go on.

    A finished file is compared by its provenance alone: copies of the data are the same data, but whoever goes on has
    read one half already.
    """
    inodes = {str(path): state.inode for path, state in run.states.items()}
    sources = [source | {"inode": inodes.get(source["path"])} for source in made.provenance["sources"]]
    return _origin(made) | {"sources": sources, "blocks": len(made.blocks)}


def _origin(made: Plan) -> dict[str, Any]:
    """Return what a file is made from, and how."""
    told = {name: made.provenance[name] for name in ("version", "sources", "options")}
    return told | {name: made.provenance.get(name, []) for name in ("joined", "calib")}
