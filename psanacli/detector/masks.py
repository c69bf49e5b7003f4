"""Masks of a detector: of its status, its constants, its shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from psanacli.calib import mask_of, masks, type_of
from psanacli.detector.constants import DetectorConstants
from psanacli.errors import UsageError

Mask = NDArray[np.uint8]
ALL_BITS = masks.ALL_BITS


@dataclass(frozen=True, eq=False)
class Masks:
    """What makes masks of a detector: everywhere 1 is good, 0 is bad.

    Attributes
    ----------
    constants : DetectorConstants
    device : str
    shape : tuple of int
        Of its raw images, panels first.
    """

    constants: DetectorConstants
    device: str
    shape: tuple[int, ...]

    def status(
        self,
        bits: int = ALL_BITS,
        *,
        extra: int = ALL_BITS,
        data: int = ALL_BITS,
        neighbours: Literal[0, 4, 8] = 0,
        ranges: Sequence[int] | None = None,
    ) -> Mask | None:
        """Return the mask of the status of pixels.

        Parameters
        ----------
        bits, extra, data : int
            Bits that count of `pixel_status`, `status_extra` and `status_data`; 0: none of it.
        neighbours : {0, 4, 8}
            How many neighbours of a bad pixel are bad too, on the same panel.
        ranges : sequence of int, optional
            Of detectors that switch gains: a pixel has to be good in all of these ranges.  Default is all that have
            darks of their own: 0 to 2 of a Jungfrau, 0 to 4 of an ePix10ka.

        Returns
        -------
        ndarray of uint8, in the shape of the raw image, or None
            None when there is no status at all.
        """
        found: Mask | None = None
        for constants_type, chosen in (("pixel_status", bits), ("status_extra", extra), ("status_data", data)):
            array = self.constants.array(constants_type)
            if array is not None:
                found = masks.combined(found, self._merged(masks.from_status(array, chosen), ranges))
        if found is not None and neighbours:
            found = masks.with_neighbours(found, neighbours == 8)
        return found

    def _merged(self, mask: Mask, ranges: Sequence[int] | None) -> Mask:
        """Return the mask of what is good in all ranges."""
        count = self.constants.kind.ranges
        if count and mask.ndim > 1 and mask.shape[0] == count:
            mask = masks.over_ranges(mask, masks.RANGES_OF_STATUS.get(count) if ranges is None else ranges)
        return mask.reshape(self.shape) if mask.size == np.prod(self.shape) else mask

    def pixel_mask(self) -> Mask | None:
        """Return the mask of the constants."""
        found = self.constants.array("pixel_mask")
        return None if found is None else self._merged(np.asarray(found != 0, np.uint8), None)

    def expressed(self, expression: str) -> Mask:
        """Return the mask of what an expression calls bad, ``status or edges(2)``; see `psana help masks`.

        Raises
        ------
        ExpressionError
            It is wrong; the hint shows where.
        ConstantsError
            There are no constants of a type that it names.
        """
        shape = self.constants.kind.file_shape(type_of("pixel_mask"), self.shape) or self.shape
        found = mask_of(expression, self.constants.source, shape, self.constants).mask
        return self.constants.oriented(found).reshape(self.shape)

    def combined(
        self,
        *,
        status: bool | int = True,
        pixel_mask: bool = False,
        edges: int | tuple[int, int] = 0,
        central: int = 0,
        unbonded: bool = False,
        unbonded_neighbours: Literal[0, 4, 8] = 0,
        around: int = 0,
        form: Literal["diamond", "disc", "square"] = "diamond",
        user: NDArray[Any] | None = None,
    ) -> Mask:
        """Return a mask of what is good in every respect that is chosen.

        Parameters
        ----------
        status : bool or int
            The status of pixels; a number: the bits of `pixel_status` that count.
        pixel_mask : bool
            The mask of the constants.
        edges : int or (int, int)
            Width of the rim of each panel that is bad; rows and columns.
        central : int
            Width of what is bad on both sides of the borders between ASICs.
        unbonded : bool
            Pixels of a CSPAD that are bonded to nothing.
        unbonded_neighbours : {0, 4, 8}
            With so many of their neighbours.
        around : int
            All within so many pixels of one that is bad by its status or unbonded, on the same panel.
        form : {"diamond", "disc", "square"}
            What within means.
        user : ndarray, optional
            One more mask.

        Returns
        -------
        ndarray of uint8, in the shape of the raw image
            Read-only; all 1 when nothing is bad, or nothing is known.

        Raises
        ------
        UsageError
            A width does not fit, or `user` has another shape.
        """
        shape = self.shape
        found: Mask | None = None
        if status is not False:
            found = self.status() if status is True else self.status(int(status))
        if unbonded or unbonded_neighbours:
            found = masks.combined(found, masks.unbonded(shape, self.device, unbonded_neighbours))
        if around and found is not None:
            found = masks.with_surroundings(found, around, form)
        if edges:
            rows, columns = (edges, edges) if isinstance(edges, int) else edges
            found = masks.combined(found, masks.edges(shape, rows, columns))
        if central:
            found = masks.combined(found, masks.central(shape, self.device, central))
        if pixel_mask:
            found = masks.combined(found, self.pixel_mask())
        if user is not None:
            if np.size(user) != np.prod(shape):
                raise UsageError(f"the mask has the shape {np.shape(user)}, images of {self.device} have {shape}")
            found = masks.combined(found, np.asarray(np.reshape(user, shape) != 0, np.uint8))
        result = masks.good_everywhere(shape) if found is None else found
        result.setflags(write=False)
        return result
