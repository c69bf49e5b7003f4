"""Where the image of a detector is in its records."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from psanacli.xtc import Record

FIELDS = {
    "Epix.Element": "frame",
    "Epix.Array": "frame",
    "Jungfrau.Element": "frame",
    "CsPad2x2.Element": "data",
    "Uxi.Frame": "frames",
    "Princeton.Frame": "data",
    "Andor.Frame": "data",
    "Andor3d.Frame": "data",
    "Fli.Frame": "data",
    "Pimax.Frame": "data",
    "Pixis.Frame": "data",
    "Zyla.Frame": "data",
    "Vimba.Frame": "data",
    "Timepix.Data": "data",
    "Camera.Frame": "",
    "CsPad.Data": "",
    "PNCCD.Frames": "",
}
"""By type without its version: the field of the image; empty where a class of its own makes the image."""


def bare(type_name: str) -> str:
    """Return the name of a type without its version: ``CsPad.Data`` of ``CsPad.DataV2``."""
    return type_name.rstrip("0123456789").removesuffix("V")


def has_image(type_name: str) -> bool:
    """Return whether objects of a type hold the image of an area detector."""
    return bare(type_name) in FIELDS


def field_of(type_name: str) -> str:
    """Return the field of the image; empty where a class of its own makes it, or there is none."""
    return FIELDS.get(bare(type_name), "")


def stored_image(record: Record) -> NDArray[Any]:
    """Return the image of a record as it is stored, a view."""
    image: NDArray[Any] = getattr(record, field_of(record.xtc_type.name))
    return image
