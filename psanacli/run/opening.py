"""Opening runs: from what a user names to `Run`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

from psanacli.errors import UsageError, did_you_mean
from psanacli.run.datasource import DataSource, parse_datasource
from psanacli.run.resolving import resolve
from psanacli.run.run import Run
from psanacli.run.tables import Rules


def datasource_of(
    sources: Sequence[DataSource | str | os.PathLike[str] | Iterable[str | os.PathLike[str]]],
    roots: Iterable[str | os.PathLike[str]] = (),
) -> DataSource:
    """Return the data source that arguments stand for: strings, paths, lists of these, or one that is understood."""
    words: list[str] = []
    for source in sources:
        if isinstance(source, DataSource):
            if len(sources) > 1:
                raise UsageError("a parsed data source stands alone")
            return source
        words += [os.fspath(source)] if isinstance(source, (str, os.PathLike)) else [os.fspath(each) for each in source]
    return parse_datasource(words, roots=roots)


def open_runs(
    *sources: DataSource | str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    roots: Iterable[str | os.PathLike[str]] = (),
    index: bool = True,
    calib_dir: str | os.PathLike[str] | None = None,
    **options: Any,
) -> list[Run]:
    """Open all runs of a data source.

    Parameters
    ----------
    *sources : str, path, a list of these, or DataSource
        A data source (``"exp=xpptut15:run=54,60-62:smd"``), files or directories.
    roots : iterable of path
        Where experiments are looked for: directories with ``INSTRUMENT/EXPERIMENT/xtc``.
    index : bool
        Use the indexes of the runs, where they have some that still are right.
    calib_dir : path, optional
        Directory of the calibration constants; ``{instr}`` and ``{exp}`` in it stand for instrument and experiment.
        Default is ``calib`` beside the directory ``xtc``.
    **options
        How the events are built: fields of `Rules` (``l3_accept_only=False``, ``first_control_stream=80``, ...).

    Returns
    -------
    list of Run
        In the order of their numbers.

    Raises
    ------
    UsageError, NotFoundError
        The data source is wrong, or something it names does not exist.
    """
    rules = _rules(options)
    found = resolve(datasource_of(sources, roots))
    return [Run(files, rules, index=index, calib_dir=calib_dir) for files in found]


def open_run(
    *sources: DataSource | str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    roots: Iterable[str | os.PathLike[str]] = (),
    index: bool = True,
    calib_dir: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Run:
    """Open the one run of a data source; arguments as for `open_runs`.

    Raises
    ------
    UsageError
        The data source has several runs.

    Examples
    --------
    >>> run = open_run("exp=xpptut15:run=54")                  # doctest: +SKIP
    >>> run = open_run("/data/xtc/e301-r0001-s00-c00.xtc")     # doctest: +SKIP
    """
    rules = _rules(options)
    found = resolve(datasource_of(sources, roots))
    if len(found) > 1:
        numbers = ", ".join(str(files.run) for files in found[:10])
        raise UsageError(f"the data source has {len(found)} runs: {numbers}", "name one, or use open_runs")
    return Run(found[0], rules, index=index, calib_dir=calib_dir)


def _rules(options: dict[str, Any]) -> Rules:
    known = [field.name for field in fields(Rules)]
    for name in options:
        if name not in known:
            raise UsageError(f"there is no option {name!r}", did_you_mean(name, known, f"there are {', '.join(known)}"))
    return Rules(**options)


__all__ = ["datasource_of", "open_run", "open_runs"]
