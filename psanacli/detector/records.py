"""Detectors whose data are records: everything that is no image.

`RecordDetector` alone serves the beam-line data (``EBeam``, ``FEEGasDetEnergy``, ``PhaseCavity``, ``GMD``, ...) and all
sources that nothing more is known of; detectors with values of their own derive from it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from psanacli.errors import UsageError, did_you_mean, fold
from psanacli.run import Detector, Event, Key, Reader
from psanacli.xtc import Record

if TYPE_CHECKING:
    from psanacli.run import Run


class RecordDetector(Detector):
    """A source whose objects are records.

    Examples
    --------
    >>> beam = run.detector("EBeam")                                    # doctest: +SKIP
    >>> beam.get(event).ebeamPhotonEnergy                               # doctest: +SKIP
    >>> beam.values(event)["ebeamCharge"]                               # doctest: +SKIP
    """

    main: ClassVar[tuple[str, ...]] = ()
    """Types without version (``Lusi.IpmFex``), in the order in which `get` looks for them; then come all others."""

    def get(self, event: Event, type: str = "") -> Record | None:
        """Return its object in an event.

        Parameters
        ----------
        event : Event
            Which event.
        type : str
            Which of its types: ``"Ipimb.DataV2"``, ``"Ipimb.Data"``, ``"DataV2"``, ``"Data"``.  Default is the main
            one, of several versions the newest that the event has.

        Returns
        -------
        Record or None
            Fields are attributes, arrays views; None when the event has none.

        Raises
        ------
        UsageError
            The source has no such type.
        """
        return self._first(self._chosen(type), event)

    def raw(self, event: Event) -> Any:
        """Return its largest array as it was stored; None when the event has none, or no event has data of it.

        Raises
        ------
        UsageError
            Its objects have no arrays.
        """
        return super().raw(event) if self.types else None

    def values(self, event: Event, type: str = "") -> dict[str, Any] | None:
        """Return all fields of its object in an event by name, None when the event has none; see `get`."""
        record = self.get(event, type)
        return None if record is None else record.asdict()

    def config(self, event: Event | None = None, type: str = "") -> Record | None:
        """Return its configuration object in force at an event (default: at the first one), None when it has none.

        Parameters
        ----------
        event : Event, optional
            Which event.
        type : str
            Which of its types, as for `get`; default is the first of them, of several versions the newest.
        """
        if event is not None:
            self._index(event)
        return newest_config(self._run, self._configs(type), event)

    def __call__(self, event: Event) -> Any:
        """Return what most people want of it in an event: here `get`."""
        return self.get(event)

    def _typed(self, event: Event, type: str) -> Record | None:
        """Return its object of a type in an event, None also when it never has one."""
        return self._first(self._of_type(type), event)

    def _first(self, readers: list[Reader], event: Event) -> Record | None:
        index = self._index(event)
        for reader in readers:
            record = reader.get(index)
            if record is not None:
                return record
        return None

    def _chosen(self, type: str) -> list[Reader]:
        """Return the readers that `get` asks, one after the other."""
        found = self._of_type(type)
        if type and not found:
            hint = did_you_mean(type, self.types, f"its types are {', '.join(self.types)}")
            raise UsageError(f"{self.name} has no objects of type {type!r} in events", hint)
        kinds = {_bare(reader.key.xtc_type.name) for reader in found}
        if len(kinds) > 1 and not kinds & set(self.main):
            raise UsageError(
                f"{self.name} has objects of several types", f"say which: {', '.join(sorted(kinds))}; get(event, TYPE)"
            )
        return found

    def _of_type(self, type: str) -> list[Reader]:
        """Return the readers of a type, or of the main one, the newest version first."""
        if type not in self._by_type:
            readers = {reader.key: reader for reader in self._readers}
            newest = [readers[key] for key in newest_first(readers)]
            self._by_type[type] = (
                [reader for reader in newest if _is_called(reader.key.xtc_type.name, type)]
                if type
                else [reader for main in self.main for reader in newest if _bare(reader.key.xtc_type.name) == main]
                or newest
            )
        return self._by_type[type]

    def _configs(self, type: str) -> list[Key]:
        """Return its configuration objects of a type, or all, the newest version first."""
        if type not in self._by_config_type:
            mine = (
                history.key
                for history in self._run.config.timeline.histories.values()
                if history.key.source.same_as(self.source) and (not type or _is_called(history.key.xtc_type.name, type))
            )
            self._by_config_type[type] = newest_first(mine)
        return self._by_config_type[type]

    @cached_property
    def _by_config_type(self) -> dict[str, list[Key]]:
        return {}

    @cached_property
    def _by_type(self) -> dict[str, list[Reader]]:
        return {}


def newest_first(keys: Iterable[Key]) -> list[Key]:
    """Return types of a source with the newest versions first, else in their order."""
    return sorted(keys, key=lambda key: key.xtc_type.version or 0, reverse=True)


def newest_config(run: Run, keys: Iterable[Key], event: Event | None) -> Record | None:
    """Return the first of some configuration objects that is in force at an event (None: at the first one)."""
    config = run.config
    now = config.start if event is None else config.at(event)
    for key in keys:
        number = now.number_of(key.xtc_type.name, key.source)
        if number >= 0:
            return config.record(number)
    return None


def _bare(type_name: str) -> str:
    return type_name.rstrip("0123456789").removesuffix("V")


def _is_called(type_name: str, wanted: str) -> bool:
    cls = type_name.partition(".")[2]
    return fold(wanted) in map(fold, (type_name, cls, _bare(type_name), _bare(cls)))
