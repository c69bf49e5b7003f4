"""Payloads that are shown in another form than the one in which they are stored.

Each function takes the stored payload and gives the payload of the type that is shown, so that everything that
decodes or gathers payloads works on both alike.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError
from psanacli.run.objects import Form, Product
from psanacli.xtc import Record, XtcType, decode, named

_LINKS = 4


def convert(payload: memoryview, stored: XtcType, product: Product, config: Record | None) -> memoryview:
    """Return the payload of the product of an object.

    Parameters
    ----------
    payload : memoryview
        As stored, uncompressed and without header.
    stored : XtcType
        Type of the stored object.
    product : Product
        What is wanted.
    config : Record or None
        Its configuration object, where the stored type needs one.

    Raises
    ------
    DataError
        The payload is too short, or not what can be converted.
    """
    match product.form:
        case Form.SORTED_QUADS:
            return sort_quads(payload, stored, config)
        case Form.FULL_FRAME:
            return full_frame(payload, stored, config)
        case Form.TURNED:
            return turn_timepix(payload)
        case Form.STORED:
            stop = product.offset + product.size if product.size else len(payload)
            if stop > len(payload) or product.offset >= len(payload):
                raise DataError(
                    f"{stored.name}: needs {stop} bytes for {product.xtc_type.name}, the payload has {len(payload)}"
                )
            return payload[product.offset : stop]


def sort_quads(payload: memoryview, stored: XtcType, config: Record | None) -> memoryview:
    """Return a CSPAD object with its quadrants in the order of their numbers; in files they come in any order."""
    quads = list(decode(stored, payload, config).quads)
    numbers = [quad.quad for quad in quads]
    if numbers == sorted(numbers):
        return payload
    return memoryview(b"".join(bytes(quad) for quad in sorted(quads, key=lambda quad: quad.quad)))


def full_frame(payload: memoryview, stored: XtcType, config: Record | None) -> memoryview:
    """Return the image of 1024 x 1024 pixels that the four links of a pnCCD make.

    The upper half has link 0 beside link 3, the lower half links 1 and 2, both turned by 180 degrees.  The time stamp
    is the earliest of the four, everything else that of link 0.
    """
    frames = list(decode(stored, payload, config).frame)
    if len(frames) != _LINKS:
        raise DataError(f"{stored.name}: an image needs {_LINKS} links, there are {len(frames)}")
    stamp = min((frame.timeStampHi, frame.timeStampLo) for frame in frames)
    image: NDArray[np.uint16] = np.empty((1024, 1024), "<u2")
    image[:512, :512], image[:512, 512:] = frames[0].data, frames[3].data
    image[512:, :512], image[512:, 512:] = frames[1].data[::-1, ::-1], frames[2].data[::-1, ::-1]
    head = np.array([frames[0].specialWord, frames[0].frameNumber, *stamp], "<u4")
    return memoryview(head.tobytes() + image.tobytes())


def turn_timepix(payload: memoryview) -> memoryview:
    """Return a ``Timepix.DataV1`` as ``DataV2``: four chips of 256 rows, each turned to its place."""
    record = decode(named("Timepix.DataV1"), payload)
    chips = record.data.reshape(4, 256, 256)
    image: NDArray[np.uint16] = np.empty((512, 512), "<u2")
    # Chip k has pixel (row r, column c) at iy = 256 k + r, ix = c; each line says where the image takes it from.
    image[256:, :256] = chips[0].T[::-1, :]
    image[:256, :256] = chips[1].T[::-1, :]
    image[:256, 256:] = chips[2].T[:, ::-1]
    image[256:, 256:] = chips[3].T[:, ::-1]
    head = np.array([512, 512], "<u2").tobytes() + np.array([record.timestamp], "<u4").tobytes()
    return memoryview(head + np.array([record.frameCounter, record.lostRows], "<u2").tobytes() + image.tobytes())
