"""Values from outside that a verb joins to its runs: the options ``--with``, ``--how`` and ``--tolerance``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from psanacli.commands import console
from psanacli.errors import UsageError

if TYPE_CHECKING:
    from psanacli.outside import Request
    from psanacli.run import Run


@dataclass(frozen=True)
class Joining:
    """The values of the options.

    Attributes
    ----------
    requests : sequence of Request
        What ``--with`` asks for.
    how, tolerance : str or None
        For requests that do not say theirs; None: the defaults.
    """

    requests: Sequence[Request]
    how: str | None
    tolerance: str | None

    def join_to(self, runs: Sequence[Run]) -> None:
        """Read each table once, join it to all runs, and say which events have no value.

        Raises
        ------
        PsanaError
            Of a table, or of a name that is taken.
        """
        from psanacli.outside import DEFAULT_TOLERANCE, HOWS, parse_tolerance, read_table

        for option, value in (("--how", self.how), ("--tolerance", self.tolerance)):
            if value is not None and not self.requests:
                raise click.UsageError(f"{option} is for values that --with joins")
        if self.tolerance is not None:
            parse_tolerance(self.tolerance)
        names = [request.name for request in self.requests]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"--with joins two tables by the name {name}", "give each a name of its own")
        for request in self.requests:
            table = read_table(request.path, request.options)
            for run in runs:
                joined = run.join(
                    table,
                    name=request.name,
                    how=request.how or self.how or HOWS[0],
                    tolerance=request.tolerance or self.tolerance or DEFAULT_TOLERANCE,
                )
                which = f"run {run.number}: " if len(runs) > 1 else ""
                for remark in joined.remarks():
                    console.note(f"{which}{remark}")
