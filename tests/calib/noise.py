"""Images with noise for the tests of common modes."""

import numpy as np


def panel(seed: int, shape: tuple[int, ...], dtype: str = "f4") -> tuple[np.ndarray, np.ndarray]:
    """Return an image with noise, hits, offsets of rows and panels, and which of its pixels are good."""
    random = np.random.default_rng(seed)
    image = random.normal(3.0, 4.0, shape) + random.normal(0, 6, (*shape[:-1], 1))
    image += np.where(random.random(shape) < 0.03, 200 * random.random(shape), 0)
    return image.astype(dtype), (random.random(shape) > 0.05).astype(np.uint8)


def applied(mode, detector: str, image: np.ndarray, good: np.ndarray | None) -> np.ndarray:
    result = image.copy()
    steps = mode.steps(detector, image.shape)
    if steps is not None:
        steps.apply(result.reshape(-1), None if good is None else good.reshape(-1))
    return result
