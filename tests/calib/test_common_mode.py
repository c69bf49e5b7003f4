"""Common mode algorithms: each against plain numpy on random panels, and what is asked of them in words."""

from __future__ import annotations

import math

import numpy as np
import pytest

from psanacli.calib.common_mode import (
    BinnedMedian,
    GoodMedian,
    Histogram,
    Mean,
    Median,
    Off,
    PnccdMedian,
    QuietMedian,
    Unbonded,
    default_common_mode,
    from_numbers,
    parse_common_mode,
)
from psanacli.errors import UsageError


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


def plain_histogram(values, good, max_mean, max_sigma, min_peak):
    """Return the mean of the first peak of a histogram, None when it is not believed; one bin an ADU."""
    chosen = values[good != 0].astype(float)
    rounded = np.where(chosen < 0, np.ceil(chosen - 0.5), np.floor(chosen + 0.5))
    counts = np.histogram(rounded[(rounded >= -1000) & (rounded < 2000)], np.arange(-1000, 2001))[0]
    peak, right = -1, 3000
    for index, count in enumerate(counts):
        if count > (counts[peak] if peak >= 0 else 0) and count > min_peak:
            peak = index
        elif peak >= 0 and count <= counts[peak] // 2:
            right = index
            break
    if peak < 0:
        return None
    left = peak
    while left >= 0 and counts[left] > counts[peak] // 2:
        left -= 1
    sigma, mean = (right - left) / 2.36, float(peak)
    for _ in range(2):
        reach = int(2 * sigma + 0.5)
        bins = np.arange(max(0, peak - reach), min(2999, peak + reach) + 1)
        weights = counts[bins]
        first = ((bins - mean) * weights).sum() / weights.sum()
        sigma = math.sqrt(((bins - mean) ** 2 * weights).sum() / weights.sum() - first**2)
        mean += first
    mean -= 1000
    return None if abs(mean) > max_mean or sigma > max_sigma else mean


def plain_unbonded(values, limit):
    at = np.arange(10, 190, 10)
    mean = np.concatenate((values[at, at], values[at, at + 194])).astype(float).mean()
    return mean if abs(mean) <= limit else 0.0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_histogram_of_a_cspad(seed, dtype):
    image, good = panel(seed, (32, 185, 388), dtype)
    image[:8] += np.linspace(-60, 60, 8)[:, None, None].astype(dtype)
    good[3] = 0
    for unbonded in (False, True):
        found = applied(Histogram(unbonded=unbonded), "Cspad", image, good)
        for segment in range(0, 32, 3):
            mean = plain_histogram(image[segment], good[segment], 25, 25, 100)
            if mean is None:
                mean = plain_unbonded(image[segment], 25) if unbonded else 0.0
            expected = (image[segment].astype(float) - mean).astype(dtype)
            np.testing.assert_allclose(found[segment], expected, rtol=0, atol=1e-4 if dtype == "f4" else 1e-9)


def runs(size, length):
    return [slice(start, min(start + length, size)) for start in range(0, size, length)]


@pytest.mark.parametrize("length", [128, 388, 1000, 71780])
def test_mean_and_binned_median_of_runs(length):
    image, good = panel(7, (2, 185, 388))
    means = applied(Mean(40, 10, length), "Opal1000", image, good).reshape(-1)
    medians = applied(BinnedMedian(40, 10, length), "Opal1000", image, good).reshape(-1)
    flat, which = image.reshape(-1), good.reshape(-1) != 0
    for run in runs(flat.size, length):
        values = flat[run][which[run] & (flat[run] < 40)]
        mean = values.astype(float).mean()
        np.testing.assert_allclose(means[run], flat[run] - (mean if abs(mean) <= 10 else 0), atol=1e-4)
        ordered = np.sort(np.trunc(values))
        median = ordered[math.ceil(len(ordered) / 2) - 1]
        np.testing.assert_allclose(medians[run], flat[run] - (median if abs(median) <= 10 else 0), atol=1e-4)


def test_median_of_an_epix100a():
    image, good = panel(11, (704, 768))
    expected = image.copy()

    def correct(part):
        values = expected[part][(good[part] != 0) & (np.abs(expected[part]) <= 30)]
        if len(values) >= 10 and abs(np.median(values)) <= 10:
            expected[part] -= np.median(values)

    for top in (0, 352):
        for left in range(0, 768, 96):
            correct((slice(top, top + 352), slice(left, left + 96)))
            for row in range(top, top + 352):
                correct((row, slice(left, left + 96)))
            for column in range(left, left + 96):
                correct((slice(top, top + 352), column))
    found = applied(Median(banks=True, rows=True, columns=True), "Epix100a", image, good)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(("detector", "shape", "half", "bank"), [
    ("Jungfrau", (2, 512, 1024), 256, 64), ("Epix10kaQuad", (2, 352, 384), 176, 48),
])  # fmt: skip
@pytest.mark.parametrize("switches", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)])
def test_median_of_good_pixels(detector, shape, half, bank, switches):
    rows, columns, banks = map(bool, switches)
    image, good = panel(13, shape)
    good[0, :5] = 0  # empty rows
    expected = image.copy()

    def correct(part, least):
        which = good[part] != 0
        values = expected[part][which]
        if len(values) >= least and abs(np.median(values)) < 8:
            expected[part][which] -= np.median(values)

    for segment in range(shape[0]):
        for top in range(0, shape[1], half) if banks else ():
            for left in range(0, shape[2], bank):
                correct((segment, slice(top, top + half), slice(left, left + bank)), 10)
        for row in range(shape[1]) if rows else ():
            for left in range(0, shape[2], bank):
                correct((segment, row, slice(left, left + bank)), 11)
        for top in range(0, shape[1], half) if columns else ():
            for column in range(shape[2]):
                correct((segment, slice(top, top + half), column), 11)
    found = applied(GoodMedian(rows, columns, banks, max_correction=8), detector, image, good)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_unbonded_pixels_of_interleaved_panels():
    image, _ = panel(17, (2, 185, 388))
    stored = np.ascontiguousarray(np.moveaxis(image, 0, -1))
    found = np.moveaxis(applied(Unbonded(50), "Cspad2x2", stored, None), -1, 0)
    for segment in range(2):
        np.testing.assert_allclose(found[segment], image[segment] - plain_unbonded(image[segment], 50), atol=1e-4)


def test_a_quiet_median_leaves_hits_and_their_neighbours_out():
    image = np.zeros((704, 768), np.float32)
    image[100:102] = 7
    image[100, 5] = 500
    quiet = QuietMedian().quiet(image, np.full(image.shape, 3, np.float32))
    assert not quiet[100, 5] and not quiet[99, 5] and not quiet[101, 5] and not quiet[100, 4] and quiet[98, 5]
    result = image.copy()
    QuietMedian().steps("Epix100a", image.shape).apply(result.reshape(-1), quiet.astype(np.uint8).reshape(-1))
    assert result[100, 50] == 0 and result[100, 5] == 493


def test_nothing_that_is_not_a_number_is_taken_for_one():
    image, good = panel(19, (32, 185, 388))
    image[0, ::7] = np.nan
    image[1, :, ::9] = np.inf
    for mode in (Histogram(), Mean(), BinnedMedian(), Unbonded()):
        found = applied(mode, "Cspad", image, good)
        assert np.isfinite(found[2:]).all()
        assert np.isfinite(found[0][np.isfinite(image[0])]).all()
    shape = (1, 512, 1024)
    image, good = panel(19, shape)
    image[0, 3, :64] = np.nan
    found = applied(GoodMedian(banks=True, columns=True), "Jungfrau", image, good)
    assert np.isfinite(found[0, 256:]).all()


def test_values_that_mislead_a_median_take_no_longer():
    for line in (np.zeros(180224), np.arange(180224) % 2, np.concatenate((np.arange(90112), np.arange(90112)[::-1]))):
        image = line.astype(np.float32).reshape(1, 352, 512)
        found = applied(PnccdMedian(False, False, False, True, 1e9), "pnCCD", image, None)
        for left in range(0, 512, 128):
            part = image[0, :, left : left + 128]
            assert np.array_equal(found[0, :, left : left + 128], part - np.median(part))


def test_numbers_of_the_original():
    assert from_numbers([1, 25, 25, 100, 1], "Cspad") == Histogram()
    assert from_numbers([1, 25, 25, 100, 0], "Cspad") == Histogram(unbonded=False)
    assert from_numbers([2, 100, 50, 388, 0], "Cspad") == Mean(100, 50, 388)
    assert from_numbers([4, 6, 30, 10], "Epix100a") == Median()
    assert from_numbers([5, 50, 0, 0, 0], "Cspad") == Unbonded(50)
    assert from_numbers([7, 2, 100], "Epix10kaQuad") == GoodMedian(False, True, False, 100)
    assert from_numbers([8, 5, 500], "pnCCD") == PnccdMedian(True, False, True)
    assert from_numbers([0, 1, 2], "Cspad") == Off()
    assert parse_common_mode(" 1 25 25 100 ", "Cspad") == Histogram()


def test_words():
    assert parse_common_mode("mean:threshold=30,length=256", "Opal1000") == Mean(30, 50, 256)
    assert parse_common_mode("Good_Median:columns=yes,rows=no", "Jungfrau") == GoodMedian(rows=False, columns=True)
    for mode in (Histogram(), Median(), GoodMedian(), Off(), default_common_mode("pnCCD")):
        assert parse_common_mode(str(mode), "Cspad") == mode


@pytest.mark.parametrize(("text", "said"), [
    ("histogramm", "did you mean histogram"),
    ("mean:treshold=3", "did you mean threshold"),
    ("mean:threshold=much", "expected a number"),
    ("median:rows=maybe", "expected yes or no"),
    ("9,1,2", "no common mode 9"),
    ("", "expected an algorithm"),
    ("1,nan", "not a common mode"),
])  # fmt: skip
def test_what_is_not_understood(text, said):
    with pytest.raises(UsageError, match=said):
        parse_common_mode(text, "Cspad")


def test_an_algorithm_for_another_detector():
    with pytest.raises(UsageError, match=r"(?s)unbonded is not for Jungfrau.*good-median"):
        Unbonded().steps("Jungfrau", (1, 512, 1024))
