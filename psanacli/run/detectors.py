"""Detectors of a run: what one source gives, under all its names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import NotFoundError, UsageError
from psanacli.run.event import index_in
from psanacli.run.names import FoundDetector
from psanacli.run.readers import Reader
from psanacli.xtc import Batch, Record, Records, Source

if TYPE_CHECKING:
    from psanacli.run.event import Event
    from psanacli.run.run import Run

_SMALLEST_ARRAY = 2


def main_array(record: Record) -> tuple[str, NDArray[Any]] | None:
    """Return name and value of the largest array of numbers in a record, nested objects included, or None.

    ``quads.data`` is the array ``data`` of all the objects ``quads``.
    """
    found: list[tuple[int, str, NDArray[Any]]] = []
    for name in record.xtc_type.accessors:
        value = record.values_of(name) if not callable(getattr(record, name)) else None
        if isinstance(value, Records) and len(value):
            inner = main_array(value[0])
            if inner is not None and inner[1].size >= _SMALLEST_ARRAY:
                found.append((inner[1].size * len(value), f"{name}.{inner[0]}", inner[1]))
        elif isinstance(value, Record):
            inner = main_array(value)
            if inner is not None:
                found.append((inner[1].size, f"{name}.{inner[0]}", inner[1]))
        elif isinstance(value, np.ndarray) and value.dtype.kind in "iuf" and value.size >= _SMALLEST_ARRAY:
            found.append((value.size, name, value))
    if not found:
        return None
    _, name, array = max(found, key=lambda entry: entry[0])
    return name, array


def place_in(record: Record, array: NDArray[Any]) -> int:
    """Return where in the payload of a record an array of it is, in bytes."""
    buffer = np.frombuffer(record._buffer_, np.uint8)
    begin: int = buffer.__array_interface__["data"][0] + record._start_
    return int(array.__array_interface__["data"][0]) - begin


class Detector:
    """One source of a run.

    Attributes
    ----------
    source : Source
    name : str
        Full name: ``XppEndstation.0:Opal1000.1``, ``EBeam``.
    alias : str
        Name that the data acquisition gave it; empty when there is none.
    types : tuple of str
        Types of its objects in events.
    """

    def __init__(self, run: Run, found: FoundDetector) -> None:
        self._run = run
        self.source: Source = found.source
        self.name = found.source.name
        self.alias = run.names.alias(found.source)
        self._readers = [run.readers[key] for key in run.readers if _is_of(key, found)]
        self.types = tuple(reader.key.xtc_type.name for reader in self._readers)

    def _index(self, event: Event) -> int:
        """Return the number of an event, which has to be one of its own run."""
        return index_in(self._run, event, self.name)

    def get(self, event: Event) -> Record | None:
        """Return its object in an event, None when the event has none; see `Event.get`."""
        name = self.name if len(self.types) != 1 else f"{self.name}/{self.types[0]}"
        record: Record | None = self._run.reader(name).get(self._index(event))  # type: ignore[assignment]
        return record

    @cached_property
    def _sample(self) -> tuple[Reader, str, NDArray[Any]] | None:
        """The reader with the largest array, its name, and the array of the first event that has it."""
        best: tuple[Reader, str, NDArray[Any]] | None = None
        for reader in self._readers:
            record = reader.get(int(reader.objects.event[0])) if len(reader) else None
            array = main_array(record) if record is not None else None
            if array is not None and (best is None or array[1].size > best[2].size):
                best = reader, *array
        return best

    @property
    def array(self) -> str:
        """Name of the field with its largest array, such as ``data16``; empty when it has no arrays."""
        return self._sample[1] if self._sample else ""

    @cached_property
    def _first_raw(self) -> NDArray[Any] | None:
        if self._sample is None:
            return None
        event = int(self._sample[0].objects.event[0])
        return self._raw_of(event)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of what `raw` gives in the first event that has it; ``()`` when it has no arrays."""
        return self._first_raw.shape if self._first_raw is not None else ()

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """Dtype of what `raw` gives; None when it has no arrays."""
        return self._first_raw.dtype if self._first_raw is not None else None

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which events have an object of it, shape (events,)."""
        mask = np.zeros(len(self._run.events), bool)
        for reader in self._readers:
            mask[reader.objects.event] = True
        return mask

    def raw(self, event: Event) -> NDArray[Any] | None:
        """Return its largest array as it was stored, None when the event has none.

        Pieces of a segmented detector are stacked along the first axis (CSPAD: quadrants by number).

        Raises
        ------
        UsageError
            It has no arrays.
        """
        index = self._index(event)
        if self._sample is None:
            raise UsageError(f"{self.name} has no arrays", f"its types are {', '.join(self.types)}; use get(event)")
        return self._raw_of(index)

    def _raw_of(self, index: int) -> NDArray[Any] | None:
        assert self._sample is not None
        reader, path, _ = self._sample
        record = reader.get(index)
        if record is None:
            return None
        if "." not in path:
            value = getattr(record, path)
            if value is None:
                found = main_array(record)  # such as data8 after data16
                value = found[1] if found else None
            array: NDArray[Any] | None = value
            return array
        start, stop = record._start_, record._end_
        batch = Batch(record._layout_, record._buffer_, np.array([start]), np.array([stop - start]))
        lengths = batch.ragged(path)
        head = path.split(".", maxsplit=1)[0]
        values = lengths[1]
        inner = getattr(record, head)
        if isinstance(inner, Records) and len(inner) and len(values) % len(inner) == 0:
            try:
                return np.asarray(batch.column(path)[0])
            except ValueError:
                return values  # pieces of different size: all rows one after the other
        return values

    def blocks(self, **options: Any) -> Iterator[Any]:
        """Go through its images by blocks; see `psanacli.detector.AreaDetector.blocks`.

        Raises
        ------
        UsageError
            It has no images.
        """
        raise UsageError(f"{self.name} has no images", "run.blocks takes names of fields: NAME.FIELD")

    def __repr__(self) -> str:
        alias = f" ({self.alias})" if self.alias else ""
        what = f", {self.array} {self.shape} {self.dtype}" if self.array else ""
        return (
            f"<Detector {self.name}{alias}: {', '.join(self.types)}; in {np.count_nonzero(self.present)} events{what}>"
        )


def _is_of(key: Any, found: FoundDetector) -> bool:
    return key.source.same_as(found.source) and key.xtc_type.name in found.types


class Detectors(Mapping[str, Detector]):
    """The detectors of a run, by any of their names."""

    def __init__(self, run: Run) -> None:
        self._run = run
        names = [key.source for key in run.readers]
        self._sources = list(dict.fromkeys([*(source.name for source in names), *run.wholes]))

    def __getitem__(self, name: str) -> Detector:
        return self._run.detector(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)

    def __contains__(self, name: object) -> bool:
        try:
            return isinstance(name, str) and bool(self[name].types)
        except NotFoundError:
            return False

    def _ipython_key_completions_(self) -> list[str]:
        return [*self._sources, *self._run.aliases]

    def __repr__(self) -> str:
        lines = [f"<Detectors: {len(self)}"]
        for name in self:
            detector = self[name]
            lines.append(f"  {name:<36} {detector.alias:<14} {', '.join(detector.types)}")
        return "\n".join(lines) + ">"
