"""What a translation is asked for: a value that the command line fills, and that is kept in the file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from psanacli.errors import NotFoundError, UsageError, did_you_mean, fold
from psanacli.hdf5.compression import Compression
from psanacli.hdf5.layout import TypeLayout
from psanacli.hdf5.names import source_group
from psanacli.xtc import Source, SourceMatch

EPICS_MODES = ("calib-repeat", "updates", "always", "no")


@dataclass(frozen=True, kw_only=True)
class TranslateOptions:
    """What to translate, and how.

    Attributes
    ----------
    include, exclude : tuple of str
        Patterns, see `Selection`. With `include` nothing else is translated; `exclude` is taken away from that.
    missing_ok : bool
        A pattern that matches nothing in the run is no error.
    epics : str
        ``calib-repeat``: each step begins with the values in force, then as ``updates``; ``updates``: a row for each
        event that brought a new record (the first event of the run has all that are known); ``always``: a row for
        each event; ``no``: nothing.
    compression : Compression
        Filters of the datasets.
    events : slice
        Which events of the run, in order.
    steps : tuple of int or None
        Which steps, counted from 0 in the run; None for all.
    configure_events : bool
        Also translate the event data of the Configure transition, which are no measurements.
    aligned : bool
        Same rows for all detectors: one a event, with a mask where a detector is absent.
    split : bool
        One file a step, and a master file with links to them.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    missing_ok: bool = False
    epics: str = "calib-repeat"
    compression: Compression = field(default_factory=Compression)
    events: slice = field(default_factory=lambda: slice(None))
    steps: tuple[int, ...] | None = None
    configure_events: bool = True
    aligned: bool = False
    split: bool = False

    def __post_init__(self) -> None:
        if self.epics not in EPICS_MODES:
            raise UsageError(
                f"EPICS values cannot be stored as {self.epics!r}",
                did_you_mean(self.epics, EPICS_MODES, f"one of {', '.join(EPICS_MODES)}"),
            )
        if self.aligned and self.split:
            raise UsageError("an aligned file has no steps, so it cannot be split by steps")

    def record(self) -> dict[str, Any]:
        """Return the options as plain values, for the provenance and the fingerprint of a resumed translation."""
        values = asdict(self)
        values["events"] = [self.events.start, self.events.stop, self.events.step]
        values["compression"] = str(self.compression)
        return values


class Selection:
    """Decides which types and sources are translated.

    A pattern is a glob (``*``, ``?``, ``[...]``; case and ``-``/``_`` do not matter). It is compared with the name of
    the type (``Camera.FrameV1``, ``Camera::FrameV1``, or its short name in filters, ``Frame``), with the source (full
    name, DAQ alias, or a source string such as ``DetInfo(:Opal1000)``), and with both as ``TYPE__SOURCE``.

    Parameters
    ----------
    options : TranslateOptions
    aliases : mapping of str to Source
        DAQ aliases of the run.
    """

    def __init__(self, options: TranslateOptions, aliases: Mapping[str, Source]) -> None:
        self._include = options.include
        self._exclude = options.exclude
        self._aliases = {(alias.level, alias.phy): name for name, alias in aliases.items()}
        self._sources = {
            pattern: match
            for pattern in (*self._include, *self._exclude)
            if (match := _source_match(pattern, aliases)) is not None
        }
        self._used: set[str] = set()
        self._seen: set[str] = set()

    def accepts(self, layout: TypeLayout, source: Source) -> bool:
        """Return whether objects of this type and source are translated."""
        types = [layout.name, layout.name.replace(".", "::"), layout.group, *([layout.alias] if layout.alias else [])]
        sources = [source.name, source_group(source), source.daq_name]
        if alias := self._aliases.get((source.level, source.phy)):
            sources.append(alias)
        self._seen.update((layout.alias or layout.name, source.name))
        included = [pattern for pattern in self._include if self._matches(pattern, types, sources, source)]
        excluded = [pattern for pattern in self._exclude if self._matches(pattern, types, sources, source)]
        self._used.update(included, excluded)
        return not excluded and (bool(included) or not self._include)

    def _matches(self, pattern: str, types: list[str], sources: list[str], source: Source) -> bool:
        wanted = fold(pattern)
        names: Iterable[str] = [*types, *sources]
        if "__" in pattern:
            names = (f"{kind}__{name}" for kind in types for name in sources)
        if any(fnmatchcase(fold(name), wanted) for name in names):
            return True
        match = self._sources.get(pattern)
        return match is not None and match.matches(source)

    def check(self) -> None:
        """Raise if a pattern matched nothing.

        Raises
        ------
        NotFoundError
            With the names that are near to the first such pattern.
        """
        for pattern in (*self._include, *self._exclude):
            if pattern not in self._used:
                near = did_you_mean(pattern, sorted(self._seen), "psana info shows what is in the run")
                raise NotFoundError(f"nothing in the run matches {pattern!r}", f"{near} (--missing-ok to go on)")


def _source_match(pattern: str, aliases: Mapping[str, Source]) -> SourceMatch | None:
    if "__" in pattern or pattern == "*":
        return None
    try:
        match = SourceMatch.parse(pattern, aliases)
    except UsageError:
        return None
    return match
