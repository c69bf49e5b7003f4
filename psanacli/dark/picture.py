"""A picture of dark constants: pedestals, rms and bad pixels of each gain mode, with their histograms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.calib import tiled
from psanacli.dark.result import DarkResult, ModeResult, read_out
from psanacli.run import Canvas

_SIDE = 460
"""Dots of an image, at most."""
_GAP, _LINE, _BARS = 16, 14, 90
_GREY, _BAD, _LIMIT = (90, 90, 90), (200, 30, 30), (40, 84, 160)


def picture(result: DarkResult) -> bytes:
    """Draw the results as the bytes of a PNG file.

    A row a gain mode: pedestals, rms, and in red the bad pixels.  Grey levels go from the 1st to the 99th percentile of
    the good pixels.  Under them are histograms of pedestals and rms, good pixels grey and bad ones red, and lines at
    the limits (of the first panel).
    """
    rows = [_row(each) for each in result.modes]
    width = max(row.pixels.shape[1] for row in rows)
    runs = ", ".join(str(frames.run.number) for frames in result.plan.frames)
    title = f"{result.plan.source} run {runs}, method {result.plan.method}"
    canvas = Canvas(max(width, 6 * (len(title) + 6)), sum(row.pixels.shape[0] for row in rows) + 2 * _LINE)
    canvas.write(_GAP, 8, title)
    y = 2 * _LINE
    for row in rows:
        canvas.place(0, y, row.pixels)
        y += row.pixels.shape[0]
    return canvas.png()


def _row(result: ModeResult) -> Canvas:
    dark = result.dark
    good, there = dark.status == 0, read_out(dark)
    pedestals, rms = _grey(dark.pedestals, good & there), _grey(dark.rms, good & there)
    bad = _red(dark.status)
    height, width = bad.shape[:2]
    canvas = Canvas(3 * width + 4 * _GAP, height + _BARS + 5 * _LINE)
    name = f"{result.mode.name}: " if result.mode.name else ""
    canvas.write(_GAP, 2, f"{name}{dark.events} events, {dark.bad} of {dark.status.size} pixels bad")
    limits = dark.limits[0]
    for k, (label, image) in enumerate((("pedestals", pedestals), ("rms", rms), ("bad pixels", bad))):
        x = _GAP + k * (width + _GAP)
        canvas.write(x, _LINE + 2, label)
        canvas.place(x, 2 * _LINE, image)
    for k, (values, ends) in enumerate(((dark.pedestals, limits.pedestal), (dark.rms, limits.rms))):
        _histogram(canvas, _GAP + k * (width + _GAP), 2 * _LINE + height + 4, width, values[there], good[there], ends)
    x, y = _GAP + 2 * (width + _GAP), 2 * _LINE + height + 8
    for bit, count in dark.counts().items():
        canvas.write(x, y, f"{int(bit):>4} {(bit.name or '').lower()}: {count}")
        y += 12
    return canvas


def _shrunk(panel: NDArray[Any], step: int) -> NDArray[Any]:
    """Return the blocks of an image, shape (rows, columns, values of a block)."""
    rows, columns = panel.shape[0] // step, panel.shape[1] // step
    cut = panel[: rows * step, : columns * step].reshape(rows, step, columns, step)
    return cut.transpose(0, 2, 1, 3).reshape(rows, columns, -1)


def _sheet(array: NDArray[Any]) -> tuple[NDArray[np.float64], int]:
    sheet = tiled(np.asarray(array, np.float64))
    return sheet, max(1, math.ceil(max(sheet.shape) / _SIDE))


def _grey(array: NDArray[Any], good: NDArray[np.bool_]) -> NDArray[np.uint8]:
    sheet, step = _sheet(array)
    low, high = np.percentile(array[good], (1, 99)) if good.any() else (0.0, 1.0)
    middle = np.median(_shrunk(sheet, step), axis=-1)
    share = np.clip((np.nan_to_num(middle, nan=high) - low) / max(high - low, 1e-9), 0, 1)
    return np.repeat(np.rint(30 + 225 * share)[..., None], 3, axis=-1).astype(np.uint8)


def _red(status: NDArray[np.uint16]) -> NDArray[np.uint8]:
    sheet, step = _sheet(status)
    bad = (np.nan_to_num(_shrunk(sheet, step), nan=0.0) != 0).any(axis=-1)
    return np.where(bad[..., None], np.array(_BAD), 238).astype(np.uint8)


def _histogram(
    canvas: Canvas,
    x: int,
    y: int,
    width: int,
    values: NDArray[np.float64],
    good: NDArray[np.bool_],
    limits: tuple[float, float],
) -> None:
    """Draw a histogram with the logarithm of the counts."""
    if not values.size:  # no panel was read out
        return
    some = values[good] if good.any() else values
    low, high = np.percentile(some, (0.5, 99.5))
    low = min([low, *(limit for limit in limits if limit >= values.min())])
    high = max([high, *(limit for limit in limits if limit <= values.max())])
    margin = max(0.1 * (high - low), 1e-3)
    low, high = low - margin, high + margin
    bins = max(10, width // 3)
    heights = [np.histogram(values[which], bins, (low, high))[0] for which in (good, ~good)]
    top = math.log1p(max(1, *(int(each.max()) for each in heights)))
    for counts, colour in zip(heights, (_GREY, _BAD), strict=True):
        for k, count in enumerate(counts.tolist()):
            size = round(_BARS * math.log1p(count) / top)
            if size:
                canvas.fill(x + 3 * k, y + _BARS - size, 2, size, colour)
    for limit in limits:
        if low < limit < high:
            canvas.fill(x + int((limit - low) / (high - low) * 3 * bins), y, 1, _BARS, _LIMIT)
    canvas.write(x, y + _BARS + 4, f"{low:.5g}")
    label = f"{high:.5g}"
    canvas.write(x + 3 * bins - 6 * len(label), y + _BARS + 4, label)
