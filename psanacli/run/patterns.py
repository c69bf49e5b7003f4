"""Patterns that choose sources and types: what `--include` and `--exclude` mean everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from psanacli.errors import NotFoundError, UsageError, did_you_mean, fold
from psanacli.xtc import Source, SourceMatch


class Patterns:
    """Decides which types and sources are taken.

    A pattern is a glob (``*``, ``?``, ``[...]``; case and ``-``/``_`` do not matter). It is compared with the names of
    the type, with the source (full name, DAQ alias, or a source string such as ``DetInfo(:Opal1000)``), and with both
    as ``TYPE__SOURCE``.

    Parameters
    ----------
    include, exclude : iterable of str
        With `include` nothing else is taken; `exclude` is taken away from that.
    aliases : mapping of str to Source
        DAQ aliases of the run.
    """

    def __init__(self, include: Iterable[str], exclude: Iterable[str], aliases: Mapping[str, Source]) -> None:
        self._include = tuple(include)
        self._exclude = tuple(exclude)
        self._aliases = {alias.identity: name for name, alias in aliases.items()}
        self._sources = {
            pattern: match
            for pattern in (*self._include, *self._exclude)
            if (match := _source_match(pattern, aliases)) is not None
        }
        self._used: set[str] = set()
        self._seen: set[str] = set()

    def accepts(self, types: list[str], source: Source, *names: str) -> bool:
        """Return whether objects of a type, by any of its names, and of a source are taken; `names` are more of it."""
        sources = self._spellings(source, names)
        self._seen.update((types[0], source.name, *filter(None, (self._aliases.get(source.identity),))))
        included = [pattern for pattern in self._include if self._matches(pattern, types, sources, source)]
        excluded = [pattern for pattern in self._exclude if self._matches(pattern, types, sources, source)]
        self._used.update(included, excluded)
        return not excluded and (bool(included) or not self._include)

    def excluded(self, types: list[str], source: Source) -> bool:
        """Return whether an exclusion says that they are not taken."""
        sources = self._spellings(source, ())
        return any(self._matches(pattern, types, sources, source) for pattern in self._exclude)

    def _spellings(self, source: Source, names: Iterable[str]) -> list[str]:
        alias = self._aliases.get(source.identity)
        return [source.name, source.daq_name, *names, *([alias] if alias else [])]

    def _matches(self, pattern: str, types: list[str], sources: list[str], source: Source) -> bool:
        wanted = fold(pattern)
        names: Iterable[str] = [*types, *sources]
        if "__" in pattern:
            names = (f"{kind}__{name}" for kind in types for name in sources)
        if any(fnmatchcase(fold(name), wanted) for name in names):
            return True
        match = self._sources.get(pattern)
        return match is not None and match.matches(source)

    def check(self, none: str = "nothing in the run", otherwise: str = "psana info shows what is in the run") -> None:
        """Raise if a pattern matched nothing; `none` is what the message calls that.

        With `otherwise` as the hint where no name is near.

        Raises
        ------
        NotFoundError
            With the names that are near to the first such pattern.
        """
        for pattern in (*self._include, *self._exclude):
            if pattern not in self._used:
                near = did_you_mean(pattern, sorted(self._seen), otherwise)
                raise NotFoundError(f"{none} matches {pattern!r}", f"{near} (--missing-ok to go on)")


def _source_match(pattern: str, aliases: Mapping[str, Source]) -> SourceMatch | None:
    if "__" in pattern or pattern == "*":
        return None
    try:
        return SourceMatch.parse(pattern, aliases)
    except UsageError:
        return None
