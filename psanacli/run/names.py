"""Names that people give: of detectors, of their types and fields, of EPICS variables.

Case and ``-`` for ``_`` never matter, unless two things differ in nothing else.  A name that fits several things is an
error that lists them; one that fits nothing is an error that shows the nearest.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Generic, NamedTuple, TypeVar

from psanacli.errors import NotFoundError, UsageError, did_you_mean, fold
from psanacli.xtc import Source, SourceMatch

T = TypeVar("T", bound=Hashable)
_SHOWN = 8  # candidates in a message


class Names(Generic[T]):
    """Things by their names; each may have several.

    Parameters
    ----------
    kind : str
        What they are, for messages: ``"EPICS variable"``.

    Examples
    --------
    >>> variables = Names[str]("EPICS variable")
    >>> variables.add("XPP:GON:MMS:01.RBV", "XPP:GON:MMS:01.RBV", "gon_x")
    >>> variables.find("Gon-X")
    'XPP:GON:MMS:01.RBV'
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._exact: dict[str, T] = {}
        self._folded: dict[str, dict[T, str]] = {}

    def add(self, thing: T, *names: str) -> None:
        """Name a thing; a name that is taken stays with its first owner."""
        for name in names:
            if name and self._exact.setdefault(name, thing) == thing:
                self._folded.setdefault(fold(name), {}).setdefault(thing, name)

    def get(self, name: str) -> T | None:
        """Return what has this name, None when nothing has.

        Raises
        ------
        UsageError
            When several things have it, apart from case and ``-``/``_``.
        """
        name = name.strip()
        if name in self._exact:
            return self._exact[name]
        found = self._folded.get(fold(name), {})
        if len(found) > 1:
            raise ambiguous(self.kind, name, found.values())
        return next(iter(found), None)

    def find(self, name: str, otherwise: str = "") -> T:
        """Return what has this name.

        Raises
        ------
        NotFoundError
            When nothing has; with the nearest names, or `otherwise` when none is near.
        UsageError
            When several things have it.
        """
        found = self.get(name)
        if found is None:
            raise NotFoundError(f"no {self.kind} {name!r}", did_you_mean(name, self._exact, otherwise))
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._exact)

    def __len__(self) -> int:
        return len(self._exact)


class FoundDetector(NamedTuple):
    """What the name of a detector stands for: its source, and those of its types that the name allows."""

    source: Source
    types: tuple[str, ...]


class DetectorNames:
    """The sources of a run by all their names.

    A name is an alias (``opal_1``), a full name (``XppEndstation.0:Opal1000.1``, ``EBeam``), another spelling of it
    (``DetInfo(...)``, ``XppEndstation-0|Opal1000-1``), a part that fits one source only (``Opal1000``,
    ``:Opal1000.1``), or one of these with a type: ``EBeam/Bld.BldDataEBeamV7``, ``opal_1/Frame``.

    Parameters
    ----------
    keys : iterable of (str, Source)
        Types (``Camera.FrameV1``) and sources of all objects of the run.
    aliases : mapping of str to Source
        The aliases of the run.
    """

    def __init__(self, keys: Iterable[tuple[str, Source]], aliases: Mapping[str, Source]) -> None:
        self._types: dict[tuple[int, int], list[str]] = {}
        self._sources: dict[tuple[int, int], Source] = {}
        self._aliases = dict(aliases)
        self._names = Names[tuple[int, int]]("detector")
        self._parts: dict[str, list[tuple[int, int]]] = {}
        for type_name, source in keys:
            self._sources.setdefault(source.identity, source)
            types = self._types.setdefault(source.identity, [])
            if type_name not in types:
                types.append(type_name)
        for alias, source in self._aliases.items():
            self._names.add(source.identity, alias)
        for identity, source in self._sources.items():
            self._names.add(identity, source.name, source.text, source.daq_name)
            for part in {word for half in source.name.split(":") for word in (half, half.rpartition(".")[0])}:
                self._parts.setdefault(fold(part), []).append(identity)

    @property
    def sources(self) -> tuple[Source, ...]:
        """All sources of the run."""
        return tuple(self._sources.values())

    @property
    def known(self) -> tuple[str, ...]:
        """All names but parts, for those that nearly are one."""
        return (*self._names, *(source.device for source in self._sources.values() if ":" in source.name))

    def alias(self, source: Source) -> str:
        """Return the first alias of a source, empty when it has none."""
        return next((alias for alias, known in self._aliases.items() if known.same_as(source)), "")

    def find(self, name: str) -> FoundDetector:
        """Return the detector of this name.

        Raises
        ------
        NotFoundError
            When the run has none, with the nearest names.
        UsageError
            When several have it.
        """
        found = self._get(name)
        if found is None and "/" in name:
            base, _, type_name = name.rpartition("/")
            found = self._get(base)
            if found is not None:
                return FoundDetector(self._sources[found], self._of_type(found, base, type_name))
        if found is None:
            shown = ", ".join(self._shown(identity) for identity in [*self._sources][:_SHOWN])
            otherwise = f"the run has {shown}" if shown else "the run has no detectors"
            raise NotFoundError(f"no detector {name!r} in the run", did_you_mean(name, self.known, otherwise))
        return FoundDetector(self._sources[found], tuple(self._types[found]))

    def find_field(self, name: str) -> tuple[FoundDetector, str]:
        """Return the detector and the field of a name like ``EBeam.ebeamPhotonEnergy`` or ``opal_1/Frame.width``.

        The detector is the longest beginning that names one, as names of detectors have dots too; the rest is the
        path of the field, not looked into, and empty when `name` is that of a detector.
        """
        if self._known(name):
            return self.find(name), ""
        cuts = [place for place, letter in enumerate(name) if letter == "."]
        for cut in reversed(cuts):
            base = name[:cut]
            if self._known(base):
                return self.find(base), name[cut + 1 :]
        self.find(name[: cuts[-1]] if cuts else name)
        raise UsageError(f"{name!r} names no field", "write DETECTOR.FIELD")

    def _known(self, name: str) -> bool:
        if self._get(name) is not None:
            return True
        base, slash, type_name = name.rpartition("/")
        found = self._get(base) if slash else None
        return found is not None and bool(self._types_like(found, type_name))

    def _get(self, name: str) -> tuple[int, int] | None:
        found = self._names.get(name)
        if found is not None and found not in self._sources:
            source = self._aliases.get(name.strip()) or Source(found[0] << 24, found[1] & 0xFFFFFFFF)
            raise NotFoundError(f"{name!r} is the alias of {source.text}, of which the run has no data")
        if found is None:
            several = self._parts.get(fold(name.strip()), []) or self._matching(name)
            if len(several) > 1:
                raise ambiguous("detector", name, map(self._shown, several))
            found = several[0] if several else None
        return found

    def _matching(self, name: str) -> list[tuple[int, int]]:
        match = SourceMatch.understood(name)
        if match is None or match.anything:
            return []
        return [identity for identity, source in self._sources.items() if match.matches(source)]

    def _of_type(self, identity: tuple[int, int], base: str, wanted: str) -> tuple[str, ...]:
        chosen = self._types_like(identity, wanted)
        if not chosen:
            types = self._types[identity]
            hint = did_you_mean(wanted, types, f"its types are {', '.join(types)}")
            raise NotFoundError(f"{base!r} has no type {wanted!r}", hint)
        return chosen

    def _types_like(self, identity: tuple[int, int], wanted: str) -> tuple[str, ...]:
        spelled = fold(wanted.strip())
        return tuple(name for name in self._types[identity] if spelled in map(fold, _type_spellings(name)))

    def _shown(self, identity: tuple[int, int]) -> str:
        source = self._sources[identity]
        alias = self.alias(source)
        return f"{source.name} ({alias})" if alias else source.name


def _type_spellings(name: str) -> tuple[str, ...]:
    """Return ``Camera.FrameV1`` also as ``FrameV1``, ``Camera.Frame`` and ``Frame``."""
    package, _, cls = name.partition(".")
    bare = re.sub(r"V[0-9]+$", "", cls)
    return name, cls, f"{package}.{bare}", bare


def ambiguous(kind: str, name: str, candidates: Iterable[str]) -> UsageError:
    """Return the error that a name fits several things."""
    names = sorted(candidates)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return UsageError(f"{kind} {name!r} is ambiguous", f"it may be {', '.join(names[:_SHOWN])}{more}")
