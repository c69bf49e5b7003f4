"""What verbs have in common about files: what is wrong with those they read, and small ones they write."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from psanacli.commands import console
from psanacli.errors import DataError, OutputError
from psanacli.whole import whole_file

if TYPE_CHECKING:
    from psanacli.run import FileProblem, Run

MOST_PROBLEMS = 20


def fail_if_corrupt(problems: Iterable[FileProblem], hint: str) -> None:
    """Say what is wrong with the files that were read; if it is more than loose bytes at an end, the verb fails.

    Called after all that could be done, with `hint` to say what that is.

    Raises
    ------
    DataError
        With the first problem, its file and offset; the others are warnings.
    """
    from psanacli.xtc import ProblemKind

    found = list(problems)
    corrupt = [problem for problem in found if problem.kind is not ProblemKind.LOOSE_BYTES]
    others = [problem for problem in found if problem not in corrupt[:1]]
    for problem in others[:MOST_PROBLEMS]:
        console.warn(str(problem))
    if len(others) > MOST_PROBLEMS:
        console.warn(f"{len(others) - MOST_PROBLEMS} more problems in the files", "psana dump shows them")
    if corrupt:
        raise DataError(str(corrupt[0]), hint)


def note_indexes(runs: Iterable[Run]) -> None:
    """Say at ``-v`` which indexes were not used, or not for all files, and why."""
    for run in runs if console.verbose() else ():
        if run.index.path is not None:
            console.note(f"run {run.number}: opened with {run.index.path}")
        for line in run.index.notes:
            console.note(f"run {run.number}: {line}")


def check_new(paths: Iterable[Path], overwrite: bool) -> None:
    """Fail when files that are to be written are there already, or cannot be: told before hours of work.

    Raises
    ------
    OutputError
        One of them exists, and is not to be replaced, or its directory cannot be written.
    """
    for path in paths:
        if path.exists() and not overwrite:
            raise OutputError(f"{path} exists", "--overwrite replaces it, or choose another place")
        check_directory(path.parent)


def check_directory(directory: Path) -> None:
    """Fail when files cannot be written into a directory, or when it does not exist and cannot be made.

    Raises
    ------
    OutputError
        It is no directory, or is not ours to write.
    """
    nearest = next(each for each in (directory, *directory.parents) if each.exists())
    if not nearest.is_dir():
        raise OutputError(f"{nearest} is no directory", "choose another place")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise OutputError(f"{nearest} cannot be written: Permission denied", "choose another place")


def write_whole(path: Path, data: bytes) -> None:
    """Write a small file whole or not at all; it takes the place of an older one.

    Raises
    ------
    OutputError
        It cannot be written; nothing has changed then.
    """
    with whole_file(path) as file:
        file.write(data)
