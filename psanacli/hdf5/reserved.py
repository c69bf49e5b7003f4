"""Reserved places: large rows of an uncompressed file are written by workers, without HDF5.

The place of such a row does not depend on what is in it.  So all places are taken when the file is made, before
anything is written, and whoever has a row puts it there; most rows are copied from file to file and never seen.  A
place belongs to its row, so what an interrupted process left there is written over when the translation goes on.

A rank on the same machine opens the file and does likewise.  On another machine it does not, even if it sees the file:
network file systems promise nothing to two machines that write to one file.  It sends its rows, as other rows are sent.
(Rank 0 could copy them itself, but then it reads alone, and that is what many machines are for.)
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from h5py import h5d
from numpy.typing import NDArray

from psanacli.errors import OutputError
from psanacli.hdf5.output import Output
from psanacli.hdf5.tables import Plan
from psanacli.run import Places, Run

Ints = NDArray[np.int64]


class Invitation(NamedTuple):
    """What another process needs to write to reserved places, if it can; `Reserved.accept` takes it."""

    path: Path
    part: Path
    machine: str
    device: int
    inode: int
    places: dict[int, Ints]


class Reserved:
    """The reserved places of an output file, as far as this process can write to it; `reserve` and `accept` make it.

    Parameters
    ----------
    path : Path
        Final name of the file.
    part : Path
        Its name until then.
    descriptor : int
        Of that, open for writing, and ours; -1 if there are no places.
    places : dict of int to ndarray of int64
        Where each row is in the file, by number of the dataset in the plan.
    """

    def __init__(self, path: Path, part: Path, descriptor: int, places: dict[int, Ints]) -> None:
        self._path = path
        self._part = part
        self._descriptor = descriptor
        self._places = places

    @classmethod
    def reserve(cls, plan: Plan, output: Output) -> Reserved:
        """Take the places, if there are any, in an output that has the datasets, without rows if it is new."""
        places: dict[int, Ints] = {}
        if not plan.reserves:
            return cls(output.path, output.part, -1, places)
        assert output.file is not None
        with output.told(), output.evicting():
            for number, dataset in enumerate(plan.datasets):
                if plan.reserved(dataset):
                    found = h5d.open(output.file, os.fsencode(dataset.path))
                    found.set_extent((dataset.rows,))
                    places[number] = places_of(found, dataset.rows)
                    found._close()
            output.make_room(0)
            output.share()
            return cls(output.path, output.part, _open(output.part), places)

    def invitation(self) -> Invitation:
        """Return what another rank needs to write there too."""
        status = os.fstat(self._descriptor) if self._places else None
        file = (status.st_dev, status.st_ino) if status else (0, 0)
        return Invitation(self._path, self._part.absolute(), _machine(), *file, self._places)

    @classmethod
    def accept(cls, invited: Invitation | None) -> Reserved:
        """Return the places of another process; none if this is another machine, or does not see the same file."""
        if invited is None or not invited.places or _machine() != invited.machine or not invited.machine:
            return cls(Path(), Path(), -1, {})
        nothing = cls(invited.path, invited.part, -1, {})
        try:
            descriptor = _open(invited.part)
        except OSError:
            return nothing
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) != (invited.device, invited.inode):
            os.close(descriptor)
            return nothing
        return cls(invited.path, invited.part, descriptor, invited.places)

    def __contains__(self, dataset: int) -> bool:
        return dataset in self._places

    @property
    def empty(self) -> bool:
        """Whether there are none."""
        return not self._places

    def copy(self, run: Run, places: Places, within: Ints, sizes: Ints, dataset: int, rows: Ints) -> None:
        """Copy stretches of payloads to rows of a dataset; see `psanacli.run.Run.copy`.

        Raises
        ------
        OutputError
            The file cannot be written.
        """
        to = self._places[dataset][rows, None] + np.cumsum(sizes, axis=1) - sizes
        try:
            run.payloads.copy(places, within, sizes, self._descriptor, to)
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


def _open(part: Path) -> int:
    return os.open(part, os.O_WRONLY | os.O_CLOEXEC)


def _machine() -> str:
    """Return what tells this machine, as long as it runs, from all others; empty if nothing does.

    Names do not: containers have their own, and share the memory in which the system keeps files.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


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
