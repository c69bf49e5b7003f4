"""Raw images of one detector in a run, as stacks for the native code."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError, NotFoundError, UsageError
from psanacli.run import Objects, PayloadError, Run
from psanacli.run.detectors import main_array
from psanacli.xtc import Batch, Record

Array = NDArray[Any]
Stack = NDArray[np.uint16]

_CSPAD = (32, 185, 388)
_SECTIONS = 8
_TYPES_FIRST = ("PNCCD.FramesV1",)  # the links, not the picture that is made of them


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
        Of an image, as constants have it: panels first.
    objects : Objects
        Its contributions: a row an event, damaged ones included.
    absent : ndarray of bool, shape (panels,)
        Panels that are not read out (CSPAD); their pixels are 0.

    Raises
    ------
    NotFoundError
        The run has no images of it.
    """

    def __init__(self, run: Run, source: str) -> None:
        self.run = run
        self.source = source
        found = [key for key in run.table.object_keys() if key.source.name == source]
        found.sort(key=lambda key: key.xtc_type.name not in _TYPES_FIRST)
        self.objects: Objects
        self._path = ""
        for key in found:
            objects = run.table.objects(key.xtc_type, key.source)
            sample = self._sample(objects)
            if sample is not None:
                self.objects, (self._path, first) = objects, sample
                break
        else:
            raise NotFoundError(
                f"run {run.number} has no images of {source}",
                f"its types are {', '.join(key.xtc_type.name for key in found)}" if found else "",
            )
        self.is_cspad = self.objects.key.xtc_type.name.startswith("CsPad.Data")
        self.absent = np.zeros(0, np.bool_)
        if self.is_cspad:
            self.shape: tuple[int, ...] = _CSPAD
            self.absent = ~self._sections(first)
        else:
            image = self._images(first._layout_.batch(first._buffer_, *_place(first)))[0]
            if image.ndim < 2 or image.dtype.kind not in "iu" or image.dtype.itemsize > 2:
                raise UsageError(f"{source} has no images, but {image.shape} {image.dtype}")
            self.shape = image.shape

    @property
    def pixels(self) -> int:
        """Number of pixels of an image."""
        return int(np.prod(self.shape))

    @property
    def nbytes(self) -> int:
        """Bytes of an image in a stack."""
        return 2 * self.pixels

    def _sample(self, objects: Objects) -> tuple[str, Record] | None:
        """Return path and record of the first image; None when the objects have none."""
        for row in np.flatnonzero(objects.stored)[:20].tolist():
            try:
                record = self._record(objects, row)
            except DataError:
                continue
            found = main_array(record)
            if found is not None and found[1].ndim >= 2:
                return found[0], record
        return None

    def _record(self, objects: Objects, row: int) -> Record:
        payload = self.run.read(objects, np.array([row]))
        layout = self.run.layout(objects, int(objects.config[row]))
        return layout.batch(payload.buffer, payload.starts, payload.sizes)[0]

    def read(self, rows: NDArray[np.integer]) -> tuple[Stack, int]:
        """Read some images.

        Parameters
        ----------
        rows : ndarray of int
            Rows of `objects`, stored ones.

        Returns
        -------
        stack : ndarray of uint16, shape (n, pixels)
            Those that could be read.
        broken : int
            How many could not: damaged in a way that their damage words do not tell, or of another shape.
        """
        try:
            return self._read(rows)
        except PayloadError:
            stacks, broken = [], 0
            for row in rows.tolist():
                try:
                    stack, unread = self._read(np.array([row]))
                except PayloadError:
                    stack, unread = np.zeros((0, self.pixels), np.uint16), 1
                stacks.append(stack)
                broken += unread
            return np.concatenate(stacks), broken

    def _read(self, rows: NDArray[np.integer]) -> tuple[Stack, int]:
        payload = self.run.read(self.objects, rows)
        configs = self.objects.config[rows]
        stacks = []
        for config in np.unique(configs).tolist():
            same = configs == config
            layout = self.run.layout(self.objects, config)
            starts, sizes = payload.starts[same], payload.sizes[same]
            fits = layout.fits(payload.buffer, starts, sizes)
            batch = layout.batch(payload.buffer, starts[fits], sizes[fits])
            try:
                images = [self._images(batch)]
            except (ValueError, DataError):  # of different shapes
                images = [image for k in range(len(batch)) for image in self._one(batch, k)]
            stacks += [_flat(some) for some in images if some.shape[1:] == self.shape and len(some)]
        stack = stacks[0] if len(stacks) == 1 else np.concatenate([np.zeros((0, self.pixels), np.uint16), *stacks])
        return stack, len(rows) - len(stack)

    def _one(self, batch: Batch, k: int) -> list[Array]:
        one = Batch(batch.layout, batch.data, batch.starts[k : k + 1], (batch.limits - batch.starts)[k : k + 1])
        try:
            return [self._images(one)]
        except (ValueError, DataError):
            return []

    def _images(self, batch: Batch) -> Array:
        """Return the images of some objects, shape (n, ...)."""
        if self.is_cspad:
            return self._cspad(batch)
        images = batch.column(self._path)
        if images.shape[-1] == 2 and images.ndim == 4:  # CSPAD 2x2: the two panels are the last axis
            return np.moveaxis(images, -1, 1)
        if images.ndim > 4:
            return images.reshape(len(images), -1, *images.shape[-2:])
        return images

    def _cspad(self, batch: Batch) -> Array:
        """Return CSPAD images with all 32 panels."""
        if not self.absent.any():
            return batch.column(self._path).reshape(len(batch), *_CSPAD)
        images = np.zeros((len(batch), *_CSPAD), np.int16)
        for image, record in zip(images, batch, strict=True):
            there = self._sections(record)
            image[there] = np.concatenate([quad.data for quad in record.quads])
        return images

    @staticmethod
    def _sections(record: Record) -> NDArray[np.bool_]:
        """Return which of the 32 panels a CSPAD object has; its quadrants are in the order of their numbers."""
        there = np.zeros(_CSPAD[0], np.bool_)
        config: Any = record._layout_.config
        for quad in record.quads:
            mask = config.roiMask(quad.quad) if "roiMask" in dir(config) else (1 << _SECTIONS) - 1
            there[_SECTIONS * quad.quad :][:_SECTIONS] = [mask >> section & 1 for section in range(_SECTIONS)]
        return there


def _place(record: Record) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.array([record._start_]), np.array([record._end_ - record._start_])


def _flat(images: Array) -> Stack:
    """Return images as rows of uint16; signed values have the same bits."""
    rows = np.ascontiguousarray(images).reshape(len(images), -1)
    return rows.view(np.uint16) if rows.dtype.itemsize == 2 else rows.astype(np.uint16)
