"""What the store knows of detectors and of types of constants: names of directories, shapes, dtypes, defaults.

The tables are facts of the facility's software (PSCalib): which directory a detector has, what its files hold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike, NDArray

from psanacli.errors import UsageError, did_you_mean

VERSION = "::CalibV1"


@dataclass(frozen=True)
class ConstantsType:
    """A type of constants.

    Attributes
    ----------
    name : str
        As its directory is called.
    dtype : numpy dtype
        Of the array that is handed out.
    default : float
        The value of all pixels when a detector of known shape has no file.
    meaning : str
    per_range : bool
        Whether detectors that switch gains have one array for each gain range.
    """

    name: str
    dtype: np.dtype[np.generic]
    default: float
    meaning: str
    per_range: bool = True


def _type(name: str, dtype: DTypeLike, default: float, meaning: str, per_range: bool = True) -> ConstantsType:
    return ConstantsType(name, np.dtype(dtype), default, meaning, per_range)


COMMON_MODE = "common_mode"
GEOMETRY = "geometry"
PIXEL_TYPES = {
    found.name: found
    for found in (
        _type("pedestals", "f4", 0, "dark average, ADU"),
        _type("pixel_status", "u2", 0, "bits of bad pixels, 0 is good"),
        _type("status_extra", "u8", 0, "further status bits"),
        _type("status_data", "u2", 0, "further status bits"),
        _type("pixel_rms", "f4", 1, "dark rms, ADU"),
        _type("pixel_gain", "f4", 1, "factor, or ADU per keV (Jungfrau, ePix10ka)"),
        _type("pixel_offset", "f4", 0, "added to the pedestal (Jungfrau), ADU"),
        _type("pixel_mask", "u1", 1, "1 good, 0 bad", False),
        _type("pixel_bkgd", "f4", 0, "background, ADU", False),
        _type("dark_min", "f4", 0, "smallest dark value, ADU"),
        _type("dark_max", "f4", 0, "largest dark value, ADU"),
    )
}
"""Types with a value for each pixel."""

TYPES = {**PIXEL_TYPES, COMMON_MODE: _type(COMMON_MODE, "f8", 0, "common mode: algorithm and its parameters")}
"""All types that are arrays."""

OLD_TYPES = frozenset(
    "center center_corr center_global offset offset_corr marg_gap_shift quad_rotation quad_tilt rotation tilt"
    " beam_vector beam_intersect filter".split()
)
"""Types of before 2014 that nothing reads any more."""


@dataclass(frozen=True)
class DetectorKind:
    """A kind of detectors, by the name of its device.

    Attributes
    ----------
    device : str
        As in sources: ``Cspad``.
    group : str
        Name of its directory: ``CsPad::CalibV1``.
    shape : tuple of int
        Of one array in a file, without gain ranges; empty when the data decide.
    ranges : int
        Gain ranges with constants of their own; 0 for detectors that do not switch.
    common_mode : tuple of float
        Algorithm and parameters when there is no file, as the original hands them out.
    corrected_by : tuple of float
        Those that it corrects by then, where they are others (trap T13); for Princeton cameras it would correct the
        first 128 pixels of an image (T14), and nothing is done.
    interleaved : bool
        The two panels stand in the last axis of files, and in the first of arrays.
    divides : bool
        `pixel_gain` divides, where others multiply.
    pixels : bool
        Whether it is a detector of images; the store has directories for a few others too, which nothing reads.
    """

    device: str
    group: str
    shape: tuple[int, ...] = ()
    ranges: int = 0
    common_mode: tuple[float, ...] = (0,)
    corrected_by: tuple[float, ...] = ()
    interleaved: bool = False
    divides: bool = False
    pixels: bool = True

    @property
    def common_mode_in_effect(self) -> tuple[float, ...]:
        """Algorithm and parameters of what is done when there is no file."""
        return self.corrected_by or self.common_mode

    @property
    def has_defaults(self) -> bool:
        """Whether the original takes zeros or ones for constants that are missing."""
        return bool(self.shape) and not self.ranges

    def file_shape(
        self, constants: ConstantsType, raw: tuple[int, ...] = (), size: int | None = None
    ) -> tuple[int, ...]:
        """Return the shape that the array of a file has to have; ``()`` when nothing is known.

        Parameters
        ----------
        constants : ConstantsType
            What is in the file.
        raw : tuple of int
            Shape of the raw data of the detector, if they are known; counts where the kind has no fixed shape.
        size : int, optional
            Number of values of the file: what does not depend on the gain range may be there once, or for each.
        """
        if constants.name == COMMON_MODE:
            return ()
        shape = self.shape or tuple(raw)
        if not (self.ranges and shape):
            return shape
        panels = shape if len(shape) > 2 else (1, *shape)
        full = (self.ranges, *panels)
        return full if constants.per_range or size == math.prod(full) else panels

    def default(self, constants: ConstantsType) -> NDArray[np.generic] | None:
        """Return what the original takes when there is no file, None when it takes nothing."""
        if constants.name == COMMON_MODE:
            return np.array(self.common_mode, constants.dtype)
        return np.full(self.shape, constants.default, constants.dtype) if self.has_defaults else None


_CAMERAS = (
    "Opal1000 Opal2000 Opal4000 Opal8000 Tm6740 OrcaFl40 Fccd Fccd960 Quartz4A150 Rayonix Zyla iStar Alvium StreakC7700"
    " Archon ControlsCamera"
)
_EPIX10KA = (7.0, 2.0, 10.0, 10.0)
_BANDS = (2.0, 10.0, 10.0, 0.0)
KINDS = {
    kind.device: kind
    for kind in (
        DetectorKind("Cspad", "CsPad", (32, 185, 388), common_mode=(1, 25, 25, 100)),
        DetectorKind("Cspad2x2", "CsPad2x2", (185, 388, 2), common_mode=(1, 25, 25, 100), interleaved=True),
        DetectorKind("pnCCD", "PNCCD", (4, 512, 512), common_mode=(3, 350, 350, 128), corrected_by=(3, 50, 10, 128)),
        DetectorKind("Epix100a", "Epix100a", (704, 768), common_mode=(4, 6, 30, 30), corrected_by=(4, 6, 30, 10)),
        DetectorKind("Epix10ka", "Epix10ka", (1, 352, 384), 7, _EPIX10KA, divides=True),
        DetectorKind("Epix10kaQuad", "Epix10kaQuad", (4, 352, 384), 7, _EPIX10KA, divides=True),
        DetectorKind("Epix10ka2M", "Epix10ka2M", (16, 352, 384), 7, _EPIX10KA, divides=True),
        DetectorKind("Epix10k", "Epix10ka", (), 7, _EPIX10KA, corrected_by=(0,), divides=True),
        DetectorKind("Epix", "Epix"),
        DetectorKind("Jungfrau", "Jungfrau", (), 3, (7, 1, 100, 0), divides=True),
        DetectorKind("Princeton", "Princeton", common_mode=(1, 50, 50, 100, 1, 0, 1), corrected_by=(0,)),
        DetectorKind("Andor", "Andor", common_mode=_BANDS),
        DetectorKind("DualAndor", "Andor3d", common_mode=_BANDS),
        DetectorKind("Acqiris", "Acqiris", pixels=False),
        DetectorKind("Imp", "Imp", (4, 1023), pixels=False),
        *(DetectorKind(name, name) for name in ("Timepix", "Fli", "Pimax", "Pixis", "Uxi")),
        *(DetectorKind(name, "Camera") for name in _CAMERAS.split()),
        DetectorKind("Evr", "EvrData", pixels=False),
    )
}
"""By device.  The shapes of a file, except Epix10k, where the module decides."""


def kind_of(source: str) -> DetectorKind:
    """Return the kind of a detector.

    Parameters
    ----------
    source : str
        As the data acquisition spells it: ``CxiDs1.0:Cspad.0``.

    Raises
    ------
    UsageError
        The source is not spelled like that, or no constants are known of its device.
    """
    detector, colon, rest = source.partition(":")
    device = rest.split(".")[0]
    if not (detector and colon and device) or "/" in source or source in (".", ".."):
        raise UsageError(f"{source!r} is not the full name of a detector", "constants have names like CxiDs1.0:Cspad.0")
    kind = KINDS.get(device)
    if kind is None:
        raise UsageError(f"no constants are known of {device} ({source})", did_you_mean(device, KINDS))
    return kind


def type_of(name: str) -> ConstantsType:
    """Return a type of constants by its name.

    Raises
    ------
    UsageError
        There is none, or it is no array.
    """
    found = TYPES.get(name)
    if found is None:
        if name == GEOMETRY:
            raise UsageError("a geometry is no array of constants")
        raise UsageError(f"there is no type of constants {name!r}", did_you_mean(name, TYPES, ", ".join(TYPES)))
    return found


def directory_name(kind: DetectorKind) -> str:
    """Return the name of the directory of all detectors of a kind."""
    return kind.group + VERSION
