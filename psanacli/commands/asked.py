"""Which constants a verb of `psana calib` is asked for: the options that choose them, and what they mean together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import click

from psanacli.commands import common

if TYPE_CHECKING:
    from psanacli.calib import Store
    from psanacli.commands.constants import Target


@dataclass(frozen=True)
class Asked:
    """The values of the options; the store is looked at, and the run opened, only when they are needed."""

    datasource: tuple[str, ...]
    detector: str | None
    calib_dir: str | None
    root: tuple[str, ...]
    kind: str | None = None
    run: int | None = None

    @cached_property
    def target(self) -> Target:
        """The store and the run."""
        from psanacli.commands.constants import Target

        return Target(self.datasource, self.root, self.calib_dir, self.run)

    @property
    def store(self) -> Store:
        """The store."""
        return self.target.store

    def named(self) -> str:
        """Return the detector as it was named, which it has to be."""
        if self.detector is None:
            there = self._there()
            raise click.UsageError("which detector? Say -d NAME" + (f"; there are {', '.join(there)}" if there else ""))
        return self.detector

    def _there(self) -> list[str]:
        """Return the names of the detectors that may be meant."""
        from psanacli.detector import those_with_pixels
        from psanacli.run import open_runs

        if not self.datasource:
            return self.store.sources()
        with open_runs(list(self.datasource), roots=self.root)[0] as run:
            return those_with_pixels(run)

    def source(self) -> str:
        """Return the full name of the detector, which has to be named."""
        return self.target.source(self.named())

    def source_and_type(self) -> tuple[str, str]:
        """Return the full name of the detector and the type, which have to be named; a geometry is no type here."""
        if self.detector is None or self.kind is None:
            raise click.UsageError("say which detector and type: -d NAME --type TYPE")
        self.check_type(geometry=False)
        return self.source(), self.kind

    def types(self, source: str) -> list[str]:
        """Return the type that is named, else all that a detector has in the store."""
        return [self.kind] if self.kind else self.store.types(source)

    def directories(self) -> Iterator[tuple[str, str]]:
        """Yield detectors and types of the store, with or without a run that has them."""
        for source in [self.target.source(self.detector)] if self.detector else self.store.sources():
            for name in self.types(source):
                yield source, name

    def check_type(self, *, geometry: bool = True) -> None:
        """Fail when there is no such type."""
        from psanacli.commands.constants import check_type

        check_type(self.kind, geometry=geometry)


def asked(*, data: bool = False, kind: bool = True, run: bool = False) -> Callable[[common.Command], common.Command]:
    """Return the decorator that gives a verb the options of `Asked`, and their values as its argument `wanted`.

    Parameters
    ----------
    data : bool
        Whether there has to be a data source.
    kind, run : bool
        Whether there are options for the type, and for the number of the run.
    """
    options = [
        common.datasource if data else common.datasource_or_not,
        common.detector,
        *([common.constants_type] if kind else []),
        *([common.run_number] if run else []),
        common.calib_dir,
        common.root,
    ]
    return common.together(Asked, "wanted", *options)
