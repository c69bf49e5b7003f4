"""Pictures that look like data: rings of a powder on a CSPAD, a drifting spot on a camera."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ROWS, COLUMNS = 185, 388
PIXEL_MM = 0.10992
FEW = 6
"""Pixels of the camera that are hot, and as many that are noisy, in the dark."""
RINGS_MM = ((18.0, 90.0, 0.9), (31.5, 220.0, 1.1), (44.0, 120.0, 1.3), (57.0, 60.0, 1.6))
"""Radius, height and width of the powder rings."""

# Where the sections of a CSPAD are: centre x and y in mm from the beam, rotation in degrees; the order is that of
# the data, eight sections a quadrant, the quadrants turned against each other by 90 degrees.
_FIRST_QUADRANT = (
    (-33.5, 22.0, 90), (-10.9, 22.2, 90), (-68.7, 33.4, 0), (-68.7, 10.7, 0),
    (-57.3, 68.5, 270), (-80.3, 68.6, 270), (-22.3, 77.9, 0), (-22.2, 55.2, 0),
)  # fmt: skip


def _sections() -> list[tuple[float, float, float]]:
    sections: list[tuple[float, float, float]] = []
    for quadrant in range(4):
        for x, y, angle in _FIRST_QUADRANT:
            for _ in range(quadrant):
                x, y = y, -x
            sections.append((x, y, angle - 90 * quadrant))
    return sections


def cspad_radius() -> NDArray[np.float32]:
    """Return the distance of each pixel of a CSPAD from the beam, in mm, float32, shape (32, 185, 388)."""
    rows = (np.arange(ROWS, dtype=np.float32) - ROWS / 2)[:, None] * np.float32(PIXEL_MM)
    columns = (np.arange(COLUMNS, dtype=np.float32) - COLUMNS / 2)[None, :] * np.float32(PIXEL_MM)
    radius = np.empty((32, ROWS, COLUMNS), np.float32)
    for section, (x, y, angle) in enumerate(_sections()):
        cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        radius[section] = np.hypot(x + columns * cosine - rows * sine, y + columns * sine + rows * cosine)
    return radius


def cspad_frames(count: int, sections: NDArray[np.intp], seed: int = 1, dark: bool = False) -> NDArray[np.int16]:
    """Return raw frames of a CSPAD: pedestal, common mode, noise, rings and a few bright spots.

    Parameters
    ----------
    count : int
        Number of frames.
    sections : array of int
        Which of the 32 sections are read out.
    seed : int
        Of the random numbers; decides about the pedestals too.
    dark : bool
        Without rings and spots.

    Returns
    -------
    array
        int16, shape (count, len(sections), 185, 388), in ADU.
    """
    generator = np.random.default_rng(seed)
    radius = cspad_radius()[sections]
    signal = sum(height * np.exp(-(((radius - at) / width) ** 2)) for at, height, width in RINGS_MM)
    signal = (signal + 40 * np.exp(-radius / 30)).astype(np.float32)
    pedestal = generator.normal(1200, 60, radius.shape).astype(np.float32)
    frames = np.empty((count, *radius.shape), np.int16)
    for frame in frames:
        energy = np.float32(0 if dark else generator.uniform(0.4, 1.6))
        noise = generator.standard_normal(radius.shape, np.float32)
        noise *= 3 + np.sqrt(energy * signal)
        common = generator.normal(0, 6, (len(sections), 1, 1)).astype(np.float32)
        noise += pedestal + common + energy * signal
        spots = tuple(generator.integers(0, size, 40) for size in radius.shape)
        noise[spots] += 0 if dark else generator.uniform(500, 4000, 40)
        np.clip(noise, 0, 16383, out=noise)
        frame[...] = noise
    return frames


def camera_frames(
    count: int, rows: int, columns: int, delays: NDArray[np.float64], dark: bool = False
) -> NDArray[np.uint8]:
    """Return frames of a beam-profile camera: a spot that moves with the scanned delay.

    Parameters
    ----------
    count, rows, columns : int
        Number and shape of the frames.
    delays : array of float
        Scanned value of each frame, 0 to 1; it moves the spot to the right.
    dark : bool
        Without the spot, and with a few pixels that are hot or noisy.

    Returns
    -------
    array
        uint8, shape (count, rows, columns), with an offset of 16.
    """
    generator = np.random.default_rng(2)
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    frames = np.empty((count, rows, columns), np.uint8)
    for frame, delay in zip(frames, delays, strict=True):
        centre_x = columns * (0.3 + 0.4 * delay) + generator.normal(0, 1)
        centre_y = rows / 2 + generator.normal(0, 1)
        spot = generator.uniform(120, 200) * np.exp(
            -(((x - centre_x) / (columns / 12)) ** 2) - ((y - centre_y) / (rows / 10)) ** 2
        )
        frame[...] = np.clip((0 if dark else spot) + generator.normal(16, 1.5, spot.shape), 0, 255)
    if dark:
        places = np.random.default_rng(4).choice(rows * columns, 2 * FEW, replace=False)
        flat = frames.reshape(count, -1)
        flat[:, places[:FEW]] += 90
        flat[:, places[FEW:]] += generator.integers(0, 60, (count, FEW), np.uint8)
    return frames
