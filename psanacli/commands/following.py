"""Runs that are being written: ``--follow`` of verbs that work on whole runs, and of those that list events."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from psanacli.commands import console

if TYPE_CHECKING:
    from psanacli.errors import PsanaError
    from psanacli.run import Batch, DataSource

_WARN_EVERY = 10.0


@dataclass
class End:
    """How following ended.

    Attributes
    ----------
    datasource : DataSource
        What to open now: with the files that still have provisional names, if the run was followed.
    error : PsanaError or None
        Why it did not end well; all data that there are can be used.
    """

    datasource: DataSource
    error: PsanaError | None = None

    def check(self) -> None:
        """Raise the error, once everything that could be done was done."""
        if self.error is not None:
            raise self.error


@dataclass(frozen=True)
class Following:
    """The values of the options.

    Attributes
    ----------
    follow : bool
        Whether a run is followed that the data source does not call live.
    timeout : float or None
        Seconds to wait for something new; None: the default.
    """

    follow: bool
    timeout: float | None

    def parsed(self, datasource: Sequence[str], root: Sequence[str]) -> tuple[DataSource, bool]:
        """Return the data source, and whether it is to be followed.

        Raises
        ------
        click.UsageError
            A timeout for nothing.
        """
        from psanacli.run import parse_datasource

        source = parse_datasource(datasource, roots=root)
        if self.follow or source.live:
            return source.followed(), True
        if self.timeout is not None:
            raise click.UsageError("--timeout is for --follow, or for live in the data source")
        return source, False

    def batches(self, source: DataSource) -> Iterator[Batch]:
        """Yield the events of a run that is being written as they become known; tell when reading is behind."""
        from psanacli.run import LAG, TIMEOUT, LiveRun

        warned = 0.0
        revised = 0
        with LiveRun(source, timeout=self.timeout or TIMEOUT) as live:
            if console.verbose():
                console.note(f"following {source}")
            for batch in live.batches():
                yield batch
                now = time.monotonic()
                if batch.behind > LAG and now - warned > _WARN_EVERY:
                    console.warn(f"reading is {batch.behind:.0f} s behind the newest data")
                    warned = now
                if live.revised > revised:
                    console.warn(
                        f"{live.revised - revised} events changed after they were given out: a silent stream came late"
                    )
                    revised = live.revised

    def wait_for_end(self, datasource: Sequence[str], root: Sequence[str]) -> End:
        """Follow a run to its end, if that was asked for, with progress; else return at once.

        A run that is abandoned is no reason not to use what there is: its error is raised by `End.check`.

        Raises
        ------
        NotFoundError
            The run did not begin in time.
        """
        from psanacli.errors import DataError

        source, follow = self.parsed(datasource, root)
        if not follow:
            return End(source)
        error: PsanaError | None = None
        with console.progress("following", 0) as progress:
            try:
                for batch in self.batches(source):
                    progress.advance(len(batch))
            except DataError as stalled:
                error = stalled
        return End(source, error)
