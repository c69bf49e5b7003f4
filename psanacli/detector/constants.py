"""The constants of one detector in one run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.calib import COMMON_MODE, TYPES, Choice, Constants, Store, kind_of
from psanacli.errors import ConstantsError, UsageError, did_you_mean


class DetectorConstants:
    """The constants of a detector in a run, each read when it is first asked for, and then kept.

    Parameters
    ----------
    store : Store or None
        The calibration directory; None when no such directory is known.
    source : str
        ``CxiDs1.0:Cspad.0``
    run : int
        Number of the run.
    raw_shape : function
        Gives the shape of the raw images; asked for when constants are read.
    """

    def __init__(self, store: Store | None, source: str, run: int, raw_shape: Callable[[], tuple[int, ...]]) -> None:
        self.store = store
        self.source = source
        self.run = run
        self.kind = kind_of(source)
        self._raw_shape = raw_shape
        self._lock = threading.Lock()
        self._known: dict[str, Constants | None] = {}

    def get(self, constants_type: str) -> Constants | None:
        """Return the constants of a type as they are in the file.

        Parameters
        ----------
        constants_type : str
            ``pedestals``, ``pixel_status``, ``pixel_gain``, ...; see `psanacli.calib.TYPES`.

        Returns
        -------
        Constants or None
            None when no file applies to the run.

        Raises
        ------
        ConstantsError
            The file that applies cannot be read, or has another shape than the detector; the message names detector,
            run and file.
        UsageError
            There is no such type.
        """
        if constants_type not in TYPES:
            raise UsageError(f"there is no type of constants {constants_type!r}", did_you_mean(constants_type, TYPES))
        with self._lock:
            if constants_type not in self._known:
                self._known[constants_type] = self._read(constants_type)
            return self._known[constants_type]

    def need(self, constants_type: str) -> Constants:
        """Return the constants of a type.

        Raises
        ------
        ConstantsError
            No file applies; the message names detector, run, directory, and the files that are there.
        """
        found = self.get(constants_type)
        if found is None:
            choice = self.which(constants_type)
            error = choice.missing()
            hint = error.hint or "psana calib list shows what there is; --calib-dir (calib_dir=) is another store"
            raise ConstantsError(error.message, hint)
        return found

    def array(self, constants_type: str) -> NDArray[Any] | None:
        """Return an array in the order of the raw images: gain ranges first, then panels; None when there is no file.

        Detectors of a fixed shape have zeros or ones then, as in the original.
        """
        found = self.get(constants_type)
        if found is not None:
            return self.oriented(found.array)
        assumed = self.kind.default(TYPES[constants_type])
        return None if assumed is None or constants_type == COMMON_MODE else self.oriented(assumed)

    def oriented(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return an array of a file in the order of the raw images, read-only."""
        if self.kind.interleaved and array.ndim == 3:
            array = np.ascontiguousarray(np.moveaxis(array, -1, 0))
        raw = self._raw_shape()
        if raw and array.size == np.prod(raw) and not self.kind.ranges:
            array = array.reshape(raw)
        array.setflags(write=False)
        return array

    def which(self, constants_type: str) -> Choice:
        """Return which file applies, and which others there are.

        Raises
        ------
        ConstantsError
            No calibration directory is known.
        """
        return self._directory().which(self.source, constants_type, self.run)

    def _directory(self) -> Store:
        if self.store is None:
            raise ConstantsError(
                f"{self.source}, run {self.run}: no calibration directory is known",
                "give it with --calib-dir (calib_dir=)",
            )
        return self.store

    def _read(self, constants_type: str) -> Constants | None:
        if self.store is None or self.which(constants_type).file is None:
            return None
        return self.store.get(self.source, constants_type, self.run, raw_shape=self._raw_shape())

    @property
    def used(self) -> tuple[Constants, ...]:
        """What was read so far, with files, ranges and checksums."""
        return tuple(found for found in self._known.values() if found is not None)

    def __repr__(self) -> str:
        where = self.store.directory if self.store else "no directory"
        types = self.store.types(self.source) if self.store else []
        return f"<Constants of {self.source}, run {self.run}, in {where}: {', '.join(types) or 'none'}>"
