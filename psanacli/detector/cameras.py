"""Cameras whose frames come as `Camera.FrameV1`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.detector.area import AreaDetector
from psanacli.run import Event
from psanacli.xtc import Record


class Camera(AreaDetector):
    """A camera: images of 8 bits (uint8) or up to 16 (uint16), of a region of the sensor or all of it."""

    def assembled(self, record: Record) -> NDArray[Any]:
        """Return the raw image."""
        image: NDArray[Any] = record.data8 if record.depth <= 8 else record.data16
        return image

    def frame_offset(self, event: Event) -> int | None:
        """Return what the camera says that it adds to each pixel, ADU; None when the event has no image."""
        record = self._record(self._index(event))
        return None if record is None else int(record.offset)


class Fccd960(Camera):
    """The FCCD of 960 x 960 pixels: bits 13 and 14 of a pixel say by how many bits the other 13 are shifted."""

    def assembled(self, record: Record) -> NDArray[Any]:
        """Return the raw image, uint16."""
        stored = super().assembled(record).astype(np.uint16, copy=False)
        shifts = np.array([0, 2, 16, 3], np.uint16)[stored >> 13 & 3]
        return np.where(shifts < 16, (stored & 0x1FFF) << shifts, 0).astype(np.uint16)
