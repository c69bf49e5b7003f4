"""What a run gives by name: the objects of events and their fields, under all names of their detectors."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from psanacli.errors import NotFoundError
from psanacli.run.columns import MAX_BYTES, Column
from psanacli.run.config import aliases_of
from psanacli.run.joined import Joined, JoinedColumn, joined_column
from psanacli.run.names import DetectorNames, ambiguous
from psanacli.run.payloads import Payloads
from psanacli.run.pieces import WholeColumn, WholeReader, Wholes
from psanacli.run.readers import Reader, Readers, ReadersByKey
from psanacli.run.unknown import unknown_types
from psanacli.xtc import Source


class Named:
    """The side of a `Run` that is asked by name.

    Parameters
    ----------
    payloads : Payloads
        What reads the objects of the run.

    Attributes
    ----------
    payloads : Payloads
    by_name : dict
        What `reader` gave, by name.
    joined : dict of str to Joined
        What was joined from outside, by name.
    """

    def __init__(self, payloads: Payloads) -> None:
        self.payloads = payloads
        self.by_name: dict[str, Reader | Readers | WholeReader] = {}
        self.joined: dict[str, Joined] = {}

    @cached_property
    def aliases(self) -> dict[str, Source]:
        """Sources by the names that the data acquisition gave them."""
        return aliases_of(self.payloads.table.config, self.payloads.config)

    @cached_property
    def names(self) -> DetectorNames:
        """All names of its detectors."""
        keys = [(key.xtc_type.name, key.source) for key in self.readers]  # no object is looked for yet
        return DetectorNames(keys, self.aliases)

    @cached_property
    def wholes(self) -> Wholes:
        """Detectors that come in pieces, each a source of its own, by full name."""
        return Wholes(self.payloads, self.readers, self.names, self.aliases)

    @cached_property
    def all_names(self) -> DetectorNames:
        """All names of its sources: also of those that have nothing but configuration, or types that are not known."""
        keys = [(key.xtc_type.name, key.source) for key in self.readers]
        keys += [
            (history.key.xtc_type.name, history.key.source) for history in self.payloads.table.config.histories.values()
        ]
        keys += [(unknown.name, unknown.source) for unknown in unknown_types(self.payloads.table)]
        return DetectorNames(keys, self.aliases)

    @cached_property
    def readers(self) -> ReadersByKey:
        """What gives the objects of events, by type and source, in the order of sources and types."""
        return ReadersByKey(self.payloads)

    def reader(self, name: str) -> Reader | Readers | WholeReader:
        """Return what gives the object of a name in any event.

        Raises
        ------
        NotFoundError
            No event has it, with the nearest names.
        UsageError
            The name fits several sources, or several types of one source.
        """
        known: Reader | Readers | WholeReader | None = self.by_name.get(name)
        if known is None:
            try:
                readers = self._readers_of(name)
            except NotFoundError:
                known = self.wholes.find(name)
                if known is None:
                    raise
                self.by_name[name] = known
                return known
            kinds = {_kind(reader.key.xtc_type.name) for reader in readers}
            if len(kinds) > 1:
                bare = name.rpartition("/")[0] or name
                raise ambiguous("object", name, (f"{bare}/{reader.key.xtc_type.name}" for reader in readers))
            known = self.by_name[name] = readers[0] if len(readers) == 1 else Readers(readers)
        return known

    def _readers_of(self, name: str) -> list[Reader]:
        found = self.names.find(name)
        readers = [
            self.readers[key]
            for key in self.readers
            if key.source.same_as(found.source) and key.xtc_type.name in found.types
        ]
        if not readers:
            raise NotFoundError(f"no event of the run has an object of {name!r}")
        return readers

    def column(self, name: str, *, max_bytes: int = MAX_BYTES) -> np.ma.MaskedArray[Any, Any]:
        """Return the values of a field in all events as one array.

        Parameters
        ----------
        name : str
            Detector and field: ``"EBeam.ebeamPhotonEnergy"``, ``"ipm3/IpmFex.sum"``, ``"opal_1.data16"``.  A detector
            alone, such as ``"EBeam"``, gives all its stored fields as a structured array.  Of joined values
            ``"NAME.field"``.
        max_bytes : int
            Larger arrays are an error; go through `blocks` instead.

        Returns
        -------
        masked array, shape (events, ...)
            Masked where an event does not have it.

        Raises
        ------
        NotFoundError
            The run has no such detector, or the detector no such field.
        DataError
            The shape is not the same in all events.
        """
        return self._column(name).read(0, len(self.payloads.table.events), max_bytes)

    def _column(self, name: str) -> Column | WholeColumn | JoinedColumn:
        joined = joined_column(self.joined, name)
        return self.field(name) if joined is None else joined

    def field(self, name: str) -> Column | WholeColumn:
        """Return what reads a field of a detector in any events; names as for `column`."""
        try:
            _, path = self.names.find_field(name)
        except NotFoundError:
            whole = self.wholes.find_field(name)
            if whole is None:
                raise
            return whole[0].column(whole[1])
        base = name[: -len(path) - 1] if path else name
        return Column(self.payloads, self._readers_of(base), path)


def _kind(type_name: str) -> str:
    return type_name.rstrip("0123456789").removesuffix("V")
