"""The types that need code: what their declarations cannot say, and objects that are made of others.

Decoding itself needs none of this; here is what people (and the original) see in the decoded objects.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError
from psanacli.xtc.catalogue import XtcType, named
from psanacli.xtc.headers import Buffer
from psanacli.xtc.layout import bind, decode
from psanacli.xtc.record import Record

_SPLIT = frozenset(f"Bld.BldData{name}" for name in ("IpimbV0", "IpimbV1", "PimV1", "UsdUsbV1"))
_TDC_COMMON, _TDC_AUXILIARY = 0, 7


# --- shared beam-line data ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Part:
    """A member of an object that is taken apart: its name there, its type, and its offset in the payload."""

    name: str
    xtc_type: XtcType
    offset: int


def split_parts(xtc_type: XtcType) -> tuple[Part, ...]:
    """Return the members as which objects of a shared beam-line type are stored; none for all other types.

    Each is stored as if it had come alone from the same source, configurations in the configuration store.
    """
    if xtc_type.name not in _SPLIT:
        return ()
    return tuple(
        Part(field.name, named(field.type), field.offset) for field in xtc_type.fields if field.offset is not None
    )


def split_payload(xtc_type: XtcType, payload: Buffer) -> list[tuple[XtcType, memoryview]]:
    """Return the members of a shared beam-line object, with their payloads (views).

    Raises
    ------
    DataError
        The object does not fit into its payload.
    """
    decode(xtc_type, payload)
    view = memoryview(payload)
    pieces = []
    for part in split_parts(xtc_type):
        size = part.xtc_type.size
        pieces.append((part.xtc_type, view[part.offset : None if size is None else part.offset + size]))
    return pieces


# --- Acqiris TDC ----------------------------------------------------------------------------------------------------


def tdc_items(data: Record) -> list[Record]:
    """Return the items of ``Acqiris.TdcDataV1`` as what they are.

    By their source: ``TdcDataV1Common`` (``nhits``), ``TdcDataV1Channel`` (``ticks``, ``time`` in s) or
    ``TdcDataV1Marker`` (``type``).
    """
    kinds = {_TDC_COMMON: "Common", _TDC_AUXILIARY: "Marker"}
    return [decode(named(f"Acqiris.TdcDataV1{kinds.get(item.source, 'Channel')}"), bytes(item)) for item in data.data]


# --- CSPAD ----------------------------------------------------------------------------------------------------------


def quads_in_order(data: Record) -> list[Record]:
    """Return the quadrants of ``CsPad.DataV1`` or ``V2`` sorted by ``quad``; in the file they are as they arrived."""
    return sorted(data.quads, key=lambda quad: int(quad.quad))


# --- pnCCD ----------------------------------------------------------------------------------------------------------


def full_frame(frames: Record) -> Record:
    """Return the ``PNCCD.FullFrameV1`` (1024 x 1024) of a ``PNCCD.FramesV1`` with its four links.

    Links 0 and 3 are the upper half side by side, links 1 and 2 the lower one, both turned by 180 degrees.  Special
    word and frame number are those of link 0, the time stamp is the smallest.

    Raises
    ------
    DataError
        There are not four links.
    """
    links = list(frames.frame)
    if len(links) != 4:
        raise DataError(f"a full pnCCD frame needs 4 links, {frames.xtc_type.name} has {len(links)}")
    layout = bind(named("PNCCD.FullFrameV1"))
    full = np.zeros(1, layout.dtype)
    full["specialWord"], full["frameNumber"] = links[0].specialWord, links[0].frameNumber
    full["timeStampHi"], full["timeStampLo"] = min((link.timeStampHi, link.timeStampLo) for link in links)
    full_image(np.stack([link.data for link in links]), out=full["data"][0])
    return decode(layout.xtc_type, full.tobytes())


def full_image(links: NDArray[np.uint16], out: NDArray[np.uint16] | None = None) -> NDArray[np.uint16]:
    """Return the image of four pnCCD links.

    Parameters
    ----------
    links : array, shape (..., 4, 512, 512)
        Their data.
    out : array, shape (..., 1024, 1024), optional
        Where the image goes.

    Returns
    -------
    array, shape (..., 1024, 1024)
    """
    if out is None:
        out = np.empty((*links.shape[:-3], 1024, 1024), links.dtype)
    out[..., :512, :512] = links[..., 0, :, :]
    out[..., :512, 512:] = links[..., 3, :, :]
    out[..., 512:, :512] = links[..., 1, ::-1, ::-1]
    out[..., 512:, 512:] = links[..., 2, ::-1, ::-1]
    return out


# --- Timepix --------------------------------------------------------------------------------------------------------


def timepix_image(data: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return the pixels of ``Timepix.DataV1`` in the order of ``DataV2``.

    Parameters
    ----------
    data : array, shape (..., 512, 512)
        As stored: really four chips of 256 x 256, one behind the other.
    """
    chips = data.reshape(*data.shape[:-2], 4, 256, 256)  # chip, iy mod 256, ix
    image = np.empty(data.shape, data.dtype)
    image[..., 256:, :256] = np.swapaxes(chips[..., 0, :, ::-1], -1, -2)  # x = iy, y = 511 - ix
    image[..., :256, :256] = np.swapaxes(chips[..., 1, :, ::-1], -1, -2)  # x = iy - 256, y = 255 - ix
    image[..., :256, 256:] = np.swapaxes(chips[..., 2, ::-1, :], -1, -2)  # x = 1023 - iy, y = ix
    image[..., 256:, 256:] = np.swapaxes(chips[..., 3, ::-1, :], -1, -2)  # x = 1279 - iy, y = ix + 256
    return image


def timepix_v2(data: Record) -> Record:
    """Return a ``Timepix.DataV1`` as the ``DataV2`` that takes its place."""
    head = np.zeros(1, [("width", "<u2"), ("height", "<u2"), ("timestamp", "<u4"), ("frame", "<u2"), ("lost", "<u2")])
    head["width"] = head["height"] = 512
    head["timestamp"], head["frame"], head["lost"] = data.timestamp, data.frameCounter, data.lostRows
    return decode(named("Timepix.DataV2"), head.tobytes() + timepix_image(data.data).tobytes())
