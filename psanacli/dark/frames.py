"""Raw images of one detector in a run, as stacks for the native code."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.detector import AreaDetector, find_detector, those_with_pixels
from psanacli.errors import DataError, NotFoundError, UsageError
from psanacli.run import Objects, PayloadError, Run
from psanacli.xtc import Batch

Array = NDArray[Any]
Stack = NDArray[np.uint16]

_CSPAD = "CsPad.Data"
_QUADS = "quads.data"


def _with_images(run: Run) -> str:
    """Return the sentence that names the detectors that can have dark runs."""
    names = ", ".join(those_with_pixels(run))
    return f"in this run {names} can have one" if names else "no detector of this run has images"


class Frames:
    """The raw images of a detector in a run.

    Parameters
    ----------
    run : Run
    source : str
        Its full name.

    Attributes
    ----------
    shape : tuple of int
        Of an image, panels first.
    objects : Objects
        Its contributions: a row an event, damaged ones included.
    numbers : ndarray of int64
        For each row its event.
    stored : ndarray of bool
        Which rows can be read.
    absent : ndarray of bool, shape (panels,)
        Panels that are not read out (CSPAD), whose pixels are 0; empty for other detectors.

    Raises
    ------
    NotFoundError
        The run has no images of it.
    UsageError
        It is no area detector.
    """

    def __init__(self, run: Run, source: str) -> None:
        self.run = run
        self.source = source
        found = find_detector(run, source)
        if not isinstance(found, AreaDetector):
            called = f"{source} ({found.alias})" if found.alias else source
            what = f"its objects are {', '.join(found.types)}" if found.types else "no event has an object of it"
            raise UsageError(f"{called} has no images, and so no dark: {what}", _with_images(run))
        self.detector: AreaDetector = found
        keys = found.image_keys
        if not keys or not found.shape:
            raise NotFoundError(f"run {run.number} has no images of {source}", _with_images(run))
        self.objects: Objects = run.table.objects(keys[0].xtc_type, keys[0].source)
        self.numbers: NDArray[np.int64] = np.asarray(self.objects.event, np.int64)
        self.stored: NDArray[np.bool_] = self.objects.stored
        if len(keys) > 1 and len(found.event_numbers) > np.count_nonzero(self.stored):
            raise UsageError(f"the images of {source} change their type: {', '.join(map(str, keys))}")
        self.shape = tuple(found.shape)
        if found.dtype is None or found.dtype.kind not in "iu" or found.dtype.itemsize > 2:
            raise UsageError(f"{source} has images of {found.dtype}; dark processing takes whole numbers of 16 bits")
        self.absent = self._absent()
        self._field = self._whole_field()
        self._dtype = found.dtype
        self._stored = (4, self.shape[0] // 4, *self.shape[1:]) if self._field == _QUADS else self.shape
        if found.dtype.itemsize != np.dtype(np.uint16).itemsize:
            self._field = ""

    def remarks(self, rows: NDArray[np.integer]) -> list[str]:
        """Return what should be said of the rows that cannot be read, beside their number."""
        return []

    @property
    def pixels(self) -> int:
        """Number of pixels of an image."""
        return int(np.prod(self.shape))

    @property
    def nbytes(self) -> int:
        """Bytes of an image in a stack."""
        return 2 * self.pixels

    def read(self, rows: NDArray[np.integer], out: Stack | None = None) -> tuple[Stack, int]:
        """Read some images.

        Parameters
        ----------
        rows : ndarray of int
            Rows of `objects`, stored ones.
        out : ndarray of uint16, shape (len(rows), pixels), optional
            Where to put them; C-contiguous.

        Returns
        -------
        stack : ndarray of uint16, shape (n, pixels)
            Those that could be read; of signed values the same bits.
        broken : int
            How many could not: damaged in a way that their damage words do not tell, or of another shape.
        """
        try:
            stack = self._read(rows, out)
        except PayloadError:
            stack = np.concatenate([self._read_one(row) for row in rows.tolist()])
        if out is not None and not np.shares_memory(stack, out):
            out[: len(stack)] = stack
            stack = out[: len(stack)]
        return stack, len(rows) - len(stack)

    def _read_one(self, row: int) -> Stack:
        try:
            return self._read(np.array([row]))
        except PayloadError:
            return np.empty((0, self.pixels), np.uint16)

    def _read(self, rows: NDArray[np.integer], out: Stack | None = None) -> Stack:
        payload = self.run.payloads.read(self.objects, rows)
        configs = self.objects.config[rows]
        stacks = []
        for config in np.unique(configs).tolist():
            same = configs == config
            layout = self.run.payloads.layout(self.objects, config)
            starts, sizes = payload.starts[same], payload.sizes[same]
            fits = layout.fits(payload.buffer, starts, sizes)
            place = out if out is not None and len(out) == np.count_nonzero(fits) else None
            stacks.append(self._stack(layout.batch(payload.buffer, starts[fits], sizes[fits]), place))
        return stacks[0] if len(stacks) == 1 else np.concatenate(stacks)

    def _stack(self, batch: Batch, out: Stack | None) -> Stack:
        """Return the images of objects; what has another shape is left out."""
        if self._field:
            try:
                into = None if out is None else out.view(self._dtype).reshape(len(batch), *self._stored)
                images = batch.column(self._field, into)
            except (ValueError, DataError):  # of different shapes
                images = np.empty(0)
            if images.size == len(batch) * self.pixels:
                return _words(images).reshape(len(batch), self.pixels)
        stack, count = np.empty((len(batch), self.pixels), np.uint16), 0
        for record in batch:
            image = self.detector.assembled(record)
            if image.shape == self.shape:
                stack[count] = _words(image).ravel()
                count += 1
        return stack[:count]

    def _whole_field(self) -> str:
        """Return the field whose values are the image, so that many are gathered at once; empty: there is none."""
        if self.objects.key.xtc_type.name.startswith(_CSPAD):
            return "" if self.absent.any() else _QUADS
        return self.detector.image_field

    def _absent(self) -> NDArray[np.bool_]:
        """Return which panels of a CSPAD are not read out."""
        if not self.objects.key.xtc_type.name.startswith(_CSPAD):
            return np.zeros(0, np.bool_)
        row = int(np.flatnonzero(self.objects.stored)[0])
        payload = self.run.payloads.read(self.objects, np.array([row]))
        layout = self.run.payloads.layout(self.objects, int(self.objects.config[row]))
        absent = np.ones((4, self.shape[0] // 4), np.bool_)
        for quad in layout.batch(payload.buffer, payload.starts, payload.sizes)[0].quads:
            absent[quad.quad] = quad.sectionMask >> np.arange(absent.shape[1]) & 1 == 0
        return absent.ravel()


def _words(images: Array) -> Stack:
    """Return values as uint16; signed ones have the same bits."""
    images = np.ascontiguousarray(images)
    return images.view(np.uint16) if images.dtype.itemsize == 2 else images.astype(np.uint16)
