"""A mask as a picture."""

from __future__ import annotations

import numpy as np

from psanacli.calib.masks import Mask
from psanacli.calib.sheet import FRAME, drawn, labels

_GOOD, _BAD = (236, 236, 236), (180, 20, 20)


def mask_png(mask: Mask, title: str = "") -> bytes:
    """Draw a mask: bad pixels red, good ones light, grey lines between the panels, which have their numbers.

    Parameters
    ----------
    mask : ndarray
        0 is bad, in the shape of constants in files.
    title : str
        Stands above.
    """
    from psanacli.run import Canvas

    bad, lines = drawn((mask == 0).astype(np.float64))
    colours = np.where(np.nan_to_num(bad)[..., None] > 0, np.array(_BAD), np.array(_GOOD)).astype(np.uint8)
    colours[lines] = FRAME
    margin = 24
    width = max(bad.shape[1] + 20, 6 * (len(title) + 4))
    canvas = Canvas(width, bad.shape[0] + margin + 10)
    canvas.write(10, 7, title)
    canvas.fill(9, margin - 1, bad.shape[1] + 2, bad.shape[0] + 2, FRAME)
    canvas.place(10, margin, colours)
    for number, x, y in labels(mask.shape):
        canvas.write(13 + x, margin + y + 3, number, FRAME)
    return canvas.png()
