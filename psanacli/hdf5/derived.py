"""Values that the file has and the catalogue has not, or not for many objects at once.

What stands here are the few types that need code: quadrants of a CSPAD in the order of their numbers, event codes as
flags, corrected spectra, names of detectors.  All else is a column of `psanacli.xtc`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError
from psanacli.xtc import Batch, Source

Array = NDArray[Any]
_ELEMENT = re.compile(r"([\w.]+)\[(:?)(\d+)\]")


def column(batch: Batch, accessor: str) -> Array:
    """Return the values of an accessor for all objects, shape ``(n, ...)``.

    An accessor with an index gives the values for all indices; ``a[2]`` is one element of an array, ``a[:2]`` the
    first two.  Those that an array does not have are zero: damaged objects may say that it is empty.
    """
    special = _COLUMNS.get((batch.layout.xtc_type.name, accessor))
    if special:
        return special(batch)
    if match := _ELEMENT.fullmatch(accessor):
        values: Array = batch.column(match[1])
        lacking = int(match[3]) + (not match[2]) - values.shape[1]
        if lacking > 0:
            values = np.pad(values, [(0, 0), (0, lacking), *[(0, 0)] * (values.ndim - 2)])
        return values[:, : int(match[3])] if match[2] else values[:, int(match[3])]
    return batch.column(accessor)


def is_special(batch: Batch, accessor: str) -> bool:
    """Whether the values of an accessor are made here, and not by the catalogue alone."""
    return (batch.layout.xtc_type.name, accessor) in _COLUMNS or _ELEMENT.fullmatch(accessor) is not None


def ragged(batch: Batch, accessor: str) -> tuple[NDArray[np.int64], Array]:
    """Return lengths and rows of an array that differs in length from object to object."""
    special = _COLUMNS.get((batch.layout.xtc_type.name, accessor))
    if special is _common_mode:
        lengths = batch.shapes("data")[:, 0]
        return lengths, np.zeros(int(lengths.sum()), np.float32)
    return batch.ragged(accessor)


def shape_inside(batch: Batch, accessor: str) -> tuple[int, ...]:
    """Return the shape that an array of objects has in every object.

    Raises
    ------
    DataError
        It is not the same in all.
    """
    shapes = batch._where(accessor)[1]
    if len(shapes) and (shapes != shapes[0]).any():
        raise DataError(f"{batch.layout.xtc_type.name}: the number of {accessor} changes")
    return tuple(int(size) for size in shapes[0]) if len(shapes) else ()


def elements(batch: Batch, accessor: str) -> Batch:
    """Return the elements of an array of objects; quadrants of a CSPAD in the order of their numbers.

    The file has the quadrants in their order of arrival; the facility's reader shows them sorted.
    """
    inner = batch.elements(accessor)
    if accessor != "quads" or not batch.layout.xtc_type.name.startswith("CsPad.") or not len(batch):
        return inner
    numbers = inner.column("quad").reshape(len(batch), -1)
    if (numbers[:, 1:] >= numbers[:, :-1]).all():
        return inner
    order = np.argsort(numbers, axis=1, kind="stable") + numbers.shape[1] * np.arange(len(batch))[:, None]
    return inner.take(order.reshape(-1))


def _common_mode(batch: Batch) -> Array:
    """Return the common mode that was subtracted: none, in data as they were taken."""
    sections = 2 if batch.layout.xtc_type.name == "CsPad2x2.ElementV1" else batch.column("data").shape[1]
    return np.zeros((len(batch), sections), np.float32)


def _section_mask(batch: Batch) -> Array:
    """Return the mask of sections of quadrants, from the region of interest in the configuration."""
    config = batch.layout.config
    if config is None:
        raise DataError("a quadrant of a CSPAD without its configuration object")
    masks = np.array([config.roiMask(quad) for quad in range(4)], np.uint32)
    return masks[batch.column("quad")]


def _sections(batch: Batch) -> Array:
    """Return the running number of each section of the 4 quadrants among all that are read out, -1 for the others."""
    masks = np.array([[record.roiMask(quad) for quad in range(4)] for record in batch], np.int64).reshape(-1, 4, 1)
    read = masks >> np.arange(8) & 1
    number = np.cumsum(read.reshape(-1, 32), axis=1).reshape(-1, 4, 8) - 1
    return np.where(read, number, -1).astype(np.int8)


def _present(batch: Batch) -> Array:
    """Return for each event code up to 255 whether it occurs."""
    lengths, codes = batch.ragged("fifoEvents.eventCode")
    places = np.repeat(256 * np.arange(len(batch)), lengths) + codes
    found = np.zeros(256 * len(batch), np.uint8)
    found[places if codes.max(initial=0) < 256 else places[codes < 256]] = 1
    return found.reshape(-1, 256)


def _corrected(batch: Batch) -> Array:
    """Return spectra divided by the polynomial of non-linearity of the spectrometer."""
    counts = batch.column("data").astype(np.int64)
    if batch.layout.xtc_type.name == "OceanOptics.DataV1":
        counts ^= 0x2000  # the first version of the board has one bit inverted
    if batch.layout.config is None:
        raise DataError("a spectrum without its configuration object")
    counts = counts.astype(np.float64)
    sums = np.zeros_like(counts)
    for coefficient in reversed(batch.layout.config.nonlinCorrect.tolist()):
        sums = coefficient + counts * sums
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return counts / sums


def _sources(name: str) -> Callable[[Batch], Array]:
    def values(batch: Batch) -> Array:
        words = zip(batch.column("log").tolist(), batch.column("phy").tolist(), strict=True)
        return np.array([_SOURCE[name](Source(log, phy)) for log, phy in words])

    return values


def _tdc_mode(batch: Batch) -> Array:
    """Return the word with slope and mode alone; the file has zeros in place of its unused bits."""
    return batch.column("_mode_int") & np.uint32(0x80000001)


_SOURCE: dict[str, Callable[[Source], Any]] = {
    "processId": lambda source: source.process,
    "detector": lambda source: source.detector.encode(),
    "detId": lambda source: source.det_id,
    "device": lambda source: source.device.encode(),
    "devId": lambda source: source.dev_id,
}

_COLUMNS: dict[tuple[str, str], Callable[[Batch], Array]] = {
    ("CsPad.ElementV1", "common_mode"): _common_mode,
    ("CsPad.ElementV2", "common_mode"): _common_mode,
    ("CsPad2x2.ElementV1", "common_mode"): _common_mode,
    ("CsPad.ElementV2", "sectionMask"): _section_mask,
    **{(f"CsPad.ConfigV{version}", "sections"): _sections for version in (2, 3, 4, 5)},
    ("EvrData.DataV4", "present"): _present,
    ("Acqiris.TdcChannel", "_mode_int"): _tdc_mode,
    **{(f"OceanOptics.DataV{version}", "nonlinerCorrected"): _corrected for version in (1, 2, 3)},
    **{("Pds.DetInfo", name): _sources(name) for name in _SOURCE},
}
