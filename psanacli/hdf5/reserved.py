"""Reserved places: large rows of an uncompressed file are written by workers, without HDF5.

The place of such a row does not depend on what is in it.  So all places are taken when the file is made, before
anything is written, and whoever has a row puts it there; most rows are copied from file to file and never seen.  A
place belongs to its row, so what an interrupted process left there is written over when the translation goes on.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any

import numpy as np
from h5py import h5d
from numpy.typing import NDArray

from psanacli.errors import OutputError
from psanacli.hdf5.output import Output
from psanacli.hdf5.tables import Plan
from psanacli.run import Places, Run

Ints = NDArray[np.int64]


class Reserved:
    """The reserved places of an output file.

    Parameters
    ----------
    plan : Plan
    output : Output
        Begun; has the datasets without rows if it is new.
    """

    def __init__(self, plan: Plan, output: Output) -> None:
        self._path = output.path
        self._places: dict[int, Ints] = {}
        assert output.file is not None
        with output.told(), output.evicting():
            for number, dataset in enumerate(plan.datasets):
                if plan.reserved(dataset):
                    found = h5d.open(output.file, os.fsencode(dataset.path))
                    found.set_extent((dataset.rows,))
                    self._places[number] = places_of(found, dataset.rows)
                    found._close()
            output.make_room(0)
            output.share()
            self._descriptor = os.open(output.part, os.O_WRONLY | os.O_CLOEXEC) if self._places else -1

    def __contains__(self, dataset: int) -> bool:
        return dataset in self._places

    def copy(self, run: Run, places: Places, within: Ints, sizes: Ints, dataset: int, rows: Ints) -> None:
        """Copy stretches of payloads to rows of a dataset; see `psanacli.run.Run.copy`.

        Raises
        ------
        OutputError
            The file cannot be written.
        """
        to = self._places[dataset][rows, None] + np.cumsum(sizes, axis=1) - sizes
        try:
            run.copy(places, within, sizes, self._descriptor, to)
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be written: {error.strerror}") from error

    def __enter__(self) -> Reserved:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        if kind is None:
            # Some file systems take bytes first and find no room for them later: here they tell whoever wrote them.
            try:
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
            except OSError as trouble:
                raise OutputError(f"{self._path}: cannot be written: {trouble.strerror}") from trouble
        else:
            # A worker that nobody waits for may still write: nowhere, and not to a file that gets the same number.
            nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            os.dup2(nowhere, descriptor, inheritable=False)
            os.close(nowhere)


def places_of(dataset: Any, rows: int) -> Ints:
    """Return the address of each row of a dataset whose chunks are one row each, and are all allocated.

    All in one pass: HDF5 goes through all chunks for the address of one.
    """
    places = np.full(rows, -1, np.int64)

    def note(chunk: Any) -> None:
        places[chunk.chunk_offset[0]] = chunk.byte_offset

    if hasattr(dataset, "chunk_iter"):
        dataset.chunk_iter(note)
    else:  # an HDF5 that cannot
        for index in range(rows):
            note(dataset.get_chunk_info_by_coord((index,)))
    if (places < 0).any():
        raise RuntimeError(f"row {int(np.argmin(places))} has no place (without --resume it begins anew)")
    return places
