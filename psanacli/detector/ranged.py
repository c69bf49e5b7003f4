"""Detectors whose pixels switch their gain: Jungfrau and ePix10ka."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from psanacli.calib import EPIX10KA_HIGH, JUNGFRAU_HIGH, CommonMode, RangedRecipe, Ranges, epix10ka_ranges
from psanacli.detector.area import AreaDetector, ArrayChoice
from psanacli.errors import ConstantsError, UsageError
from psanacli.run import Event
from psanacli.xtc import Record


class RangedDetector(AreaDetector):
    """A detector whose pixels say in two bits which gain range they are in."""

    high: ClassVar[int]
    """Bits of the ranges whose pixels take part in the common mode."""

    def _make(
        self,
        config: Record | None,
        mode: CommonMode | None,
        mask: ArrayChoice,
        gain: ArrayChoice,
        gain_map: ArrayChoice,
    ) -> RangedRecipe:
        if gain_map not in (None, False):
            raise UsageError(f"{self.name} has gain ranges, no gain map", "give gain=, with an array for each range")
        pedestals = self.pedestals
        shape = (pedestals.shape[0], *self.shape)
        pedestals = pedestals.reshape(shape)
        offset = self.offset
        if offset is not None:
            pedestals = pedestals + offset.reshape(shape)
        return RangedRecipe(
            self.device,
            pedestals,
            gain=self._chosen(gain, self.gain, "gain"),
            mask=self._chosen(mask, self.status_as_mask(), "mask"),
            ranges=self._ranges_of(config),
            common_mode=self.common_mode if mode is None else mode,
            high=self.high,
        )

    def _ranges_of(self, config: Record | None) -> Ranges | None:
        return None

    def gain_ranges(self, event: Event) -> NDArray[np.uint8] | None:
        """Return the gain range of each pixel, None when the event has no image; 255: none.

        Returns
        -------
        ndarray of uint8, in the shape of the raw image
            Row of the constants.
        """
        raw = self.raw(event)
        if raw is None:
            return None
        ranges = self._ranges_of(self.config(event))
        found: NDArray[np.uint8]
        if ranges is None:
            found = np.array([0, 1, 255, 2], np.uint8)[raw >> 14]
        else:
            found = np.where(raw & 0x4000 != 0, ranges.set, ranges.clear)
        return found


class Jungfrau(RangedDetector):
    """A Jungfrau: modules of 512 x 1024 pixels, with gain ranges 0 (high), 1 and 2."""

    high: ClassVar[int] = JUNGFRAU_HIGH


class Epix10ka(RangedDetector):
    """An ePix10ka of 1, 4 or 16 panels of 352 x 384 pixels, with seven gain ranges; see `epix10ka_ranges`."""

    config_types: ClassVar[tuple[str, ...]] = ("Epix.Config10ka",)
    high: ClassVar[int] = EPIX10KA_HIGH

    def assembled(self, record: Record) -> NDArray[Any]:
        """Return the raw image, uint16, shape (panels, 352, 384)."""
        frame = super().assembled(record)
        return frame if frame.ndim > 2 else frame[np.newaxis]

    def _ranges_of(self, config: Record | None) -> Ranges:
        if config is None:
            raise ConstantsError(
                f"{self.name}, run {self._run.number}: without its configuration the gain ranges are unknown"
            )
        panels: Sequence[Record] = config.elemCfg if "elemCfg" in config.xtc_type.accessors else [config]
        bits = np.stack([panel.asicPixelConfigArray for panel in panels])
        trbits = np.array([[asic.trbit for asic in panel.asics] for panel in panels])
        return epix10ka_ranges(bits, trbits)
