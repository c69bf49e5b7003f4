"""Common mode algorithms, each against plain numpy on random panels: with bad pixels, gain ranges and empty banks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from calib.noise import applied, panel

from psanacli.calib.common_mode import (
    BinnedMedian,
    GoodMedian,
    Histogram,
    Mean,
    Median,
    PnccdMedian,
    QuietMedian,
    Unbonded,
)
from psanacli.calib.ranged_recipe import EPIX10KA_HIGH, JUNGFRAU_HIGH, RangedRecipe, Ranges
from psanacli.calib.recipe import Recipe


def cut(image: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return the tiles of the last two axes, each as one row of pixels; what is left over is not there."""
    high, wide = image.shape[-2] // rows, image.shape[-1] // columns
    tiled = image[..., : high * rows, : wide * columns].reshape(*image.shape[:-2], high, rows, wide, columns)
    return np.moveaxis(tiled, -2, -3).reshape(*image.shape[:-2], high, wide, rows * columns)


def put(image: np.ndarray, tiles: np.ndarray, rows: int, columns: int) -> None:
    """Write tiles back to where `cut` has taken them from."""
    high, wide = tiles.shape[-3:-1]
    joined = np.moveaxis(tiles.reshape(*tiles.shape[:-1], rows, columns), -3, -2)
    image[..., : high * rows, : wide * columns] = joined.reshape(*image.shape[:-2], high * rows, wide * columns)


def subtract_medians(image, counts, rows, columns, *, least, limit, of_all=False):
    """Subtract the median of the pixels that count from each tile, from these or from all; `limit` says which."""
    values, which = cut(image, rows, columns), cut(counts, rows, columns) != 0
    ordered, n = np.sort(np.where(which, values, np.inf), axis=-1), which.sum(axis=-1)
    middle = np.stack((np.maximum(n - 1, 0) // 2, np.minimum(n // 2, rows * columns - 1)), axis=-1)
    pair = np.take_along_axis(ordered, middle, axis=-1)
    median = (pair[..., 0] + pair[..., 1]) / image.dtype.type(2)
    used = (n >= least) & (n > 0) & limit(np.abs(median))
    median = np.where(used, median, 0)[..., None]
    put(image, values - (median if of_all else np.where(which, median, 0)), rows, columns)


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


def test_histogram_of_interleaved_panels():
    image, good = panel(23, (2, 185, 388))
    good[1, 5:90] = 0
    raw = np.rint(image * 3).astype("i2")
    found = Recipe("Cspad2x2", np.zeros(raw.shape, "f4"), good=good, common_mode=Histogram())(raw)
    for segment in range(2):
        mean = plain_histogram(raw[segment], good[segment], 25, 25, 100)
        assert mean
        np.testing.assert_allclose(found[segment], raw[segment] - mean, atol=1e-4)


@pytest.mark.parametrize(("regions", "length", "stride"), [(1, 0, 1), (3, 5000, 1), (2, 4000, 3), (0, 20_000, 1)])
def test_histogram_of_runs_of_a_camera(regions, length, stride):
    image, good = panel(29, (200, 300))
    good.reshape(-1)[5000:9000] = 0
    mode = Histogram(100, 60, 15, regions=regions, length=length, stride=stride)
    found = applied(mode, "Opal1000", image, good).reshape(-1)
    expected, flat, which = image.copy().reshape(-1), image.reshape(-1), good.reshape(-1)
    long = max(length, 128)
    corrected = 0
    for start in range(0, (regions or flat.size // long) * long, long):
        chosen = slice(start, start + (long - 1) * stride + 1, stride)
        mean = plain_histogram(expected[chosen], which[chosen], 100, 60, 15)
        expected[chosen] -= mean or 0
        corrected += mean is not None
    assert corrected or length == 0
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("length", [128, 388, 1000, 71780])
def test_mean_and_binned_median_of_runs(length):
    image, good = panel(7, (2, 185, 388))
    good.reshape(-1)[1024:3072] = 0  # empty runs
    image.reshape(-1)[4096:6144] += 400  # runs without a value below the threshold
    means = applied(Mean(40, 10, length), "Opal1000", image, good).reshape(-1)
    medians = applied(BinnedMedian(40, 10, length), "Opal1000", image, good).reshape(-1)
    flat, which = image.reshape(-1), good.reshape(-1) != 0
    for run in runs(flat.size, length):
        values = flat[run][which[run] & (flat[run] < 40)]
        mean = values.astype(float).mean() if len(values) else 0
        np.testing.assert_allclose(means[run], flat[run] - (mean if abs(mean) <= 10 else 0), atol=1e-4)
        ordered = np.sort(np.trunc(values))
        median = ordered[math.ceil(len(ordered) / 2) - 1] if len(ordered) else 0
        np.testing.assert_allclose(medians[run], flat[run] - (median if abs(median) <= 10 else 0), atol=1e-4)


@pytest.mark.parametrize("switches", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)])
def test_median_of_an_epix100a(switches):
    banks, rows, columns = map(bool, switches)
    image, good = panel(11, (704, 768))
    good[352:, 96:192] = good[:30, :50] = good[40:42, :96] = 0  # an empty bank, and rows with few pixels
    image[40:42, :11] = 5
    good[40, :10] = good[41, :9] = 1  # just enough, and one too few
    expected = image.copy()
    for top in (0, 352):
        for left in range(0, 768, 96):  # bank by bank, in each all that is asked for
            part = (slice(top, top + 352), slice(left, left + 96))
            for wanted, high, wide in ((banks, 352, 96), (rows, 1, 96), (columns, 352, 1)):
                if wanted:
                    bank = expected[part]
                    counts = (good[part] != 0) & (np.abs(bank) <= 30)
                    subtract_medians(bank, counts, high, wide, least=10, limit=lambda x: x <= 10, of_all=True)
    found = applied(Median(banks=banks, rows=rows, columns=columns), "Epix100a", image, good)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.array_equal(found[352:, 96:192], image[352:, 96:192])


def plain_growing_median(values, half, limit):
    """Return the median of a histogram of whole ADU that grows until its middle is inside, None when it is given up."""
    low, high = -half, half
    cells = np.trunc(values.astype(float)).astype(int)
    if len(cells) < 10:
        return None
    while True:
        bins = high - low + 1
        if bins > 10_000:
            return None
        counts = np.bincount(np.clip(cells, low, high) - low, minlength=bins)
        if counts[0] > len(cells) // 2:
            low -= bins // 4
        elif counts[-1] > len(cells) // 2:
            high += bins // 4
        else:
            break
        if limit and (-low > limit or high > limit):
            return None
    wanted, sums = (len(cells) + 1) // 2, np.cumsum(counts)
    at = int(np.argmax(sums >= wanted))
    found = low + at + (wanted - sums[at]) / counts[at] + 0.8
    return found if not limit or abs(found) <= limit else None


@pytest.mark.parametrize(("rows", "columns", "half", "limit"), [
    (True, False, 30, 100), (False, True, 10, 0), (True, True, 12, 40),
])  # fmt: skip
def test_growing_median_of_an_fccd960(rows, columns, half, limit):
    image, good = panel(31, (960, 960))
    image += np.linspace(-60, 60, 960, dtype="f4")[:, None]
    good[100:103] = good[:480, 20:30] = 0
    expected = image.copy()

    def correct(part):
        middle = plain_growing_median(expected[part][good[part] != 0], half, limit)
        expected[part] -= middle or 0

    for row in range(960) if rows else ():
        for left in range(0, 960, 160):
            for odd in (0, 1):
                correct((row, slice(left + odd, left + 160, 2)))
    for top in (0, 480) if columns else ():
        for left in range(0, 960, 10):
            correct((slice(top, top + 480), slice(left, left + 10)))
    mode = Median(rows=rows, columns=columns, half_range=half, max_correction=limit)
    found = applied(mode, "Fccd960", image, good)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert not np.array_equal(found, image) and np.array_equal(found[100], image[100]) is not columns


GOOD = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)]


def good_medians(expected, good, half, bank, rows, columns, banks):
    """Correct as the original does a Jungfrau or an ePix10ka: banks, then rows, then columns."""

    def below(x):
        return x < 8

    if banks:
        subtract_medians(expected, good, half, bank, least=10, limit=below)
    if rows:
        subtract_medians(expected, good, 1, bank, least=11, limit=below)
    if columns:
        subtract_medians(expected, good, half, 1, least=11, limit=below)


@pytest.mark.parametrize(("detector", "shape", "half", "bank"), [
    ("Jungfrau", (2, 512, 1024), 256, 64), ("Epix10kaQuad", (4, 352, 384), 176, 48),
])  # fmt: skip
@pytest.mark.parametrize("switches", GOOD)
def test_median_of_good_pixels(detector, shape, half, bank, switches):
    image, good = panel(13, shape)
    good[0, :5] = 0  # empty rows
    good[1, half:, bank : 2 * bank] = 0  # an empty bank
    good[0, 7, :bank] = good[0, 8, :bank] = 0
    good[0, 7, :10] = good[0, 8, :11] = 1  # one pixel too few, and just enough
    expected = image.copy()
    good_medians(expected, good, half, bank, *map(bool, switches))
    found = applied(GoodMedian(*map(bool, switches), max_correction=8), detector, image, good)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.array_equal(found[1, half:, bank : 2 * bank], image[1, half:, bank : 2 * bank])


@pytest.mark.parametrize("switches", GOOD)
@pytest.mark.parametrize("detector", ["Jungfrau", "Epix10kaQuad"])
def test_only_high_gain_counts_and_is_corrected(detector, switches):
    """By gain range: a pixel in a low one neither counts nor changes; one in no range has no pedestal and gain 1."""
    random = np.random.default_rng(37)
    shape, half, bank, count = ((1, 512, 1024), 256, 64, 3) if detector == "Jungfrau" else ((4, 352, 384), 176, 48, 7)
    image, mask = panel(41, shape)
    mask[0, :half, :bank] = 0
    if detector == "Jungfrau":
        number = random.choice([0, 0, 0, 0, 1, 2, 3], shape)  # 3: none
        bits, ranges, high = np.array([0, 1, 3, 2])[number] << 14, None, JUNGFRAU_HIGH
    else:
        clear, after = random.choice([0, 1, 2, 3, 4, 255], shape), random.choice([0, 1, 2, 5, 6, 255], shape)
        switched = random.random(shape) < 0.2
        number, bits = np.minimum(np.where(switched, after, clear), count), switched * 0x4000
        ranges, high = Ranges(clear.astype("u1"), after.astype("u1")), EPIX10KA_HIGH
    raw = (np.rint(image + 3000).astype(int) | bits).astype("u2")
    pedestals = (3000 + random.normal(0, 1, (count, *shape))).astype("f4")
    gain = random.normal(40, 3, pedestals.shape).astype("f4")
    chosen = np.minimum(number, count - 1)[None]
    is_none = number == count
    offset = np.where(is_none, np.float32(0), np.take_along_axis(pedestals, chosen, axis=0)[0])
    factor = np.where(is_none, np.float32(1), np.take_along_axis(1 / gain, chosen, axis=0)[0])
    expected = (raw & 0x3FFF).astype("f4") - offset
    counts = (mask != 0) & (high >> number & 1 != 0)
    good_medians(expected, counts, half, bank, *map(bool, switches))
    mode = GoodMedian(*map(bool, switches), max_correction=8)
    found = RangedRecipe(detector, pedestals, gain, mask, ranges, mode, high)(raw)
    np.testing.assert_allclose(found, expected * factor * mask, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("switches", [(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (1, 1, 1, 1)])
def test_median_of_a_pnccd(switches, masked):
    image, good = panel(43, (4, 512, 512))
    good[2, :, 128:256] = good[3, 17] = 0
    which = good if masked else np.ones_like(good)
    expected = image.copy()
    areas = ((1, 128, 11), (1, 512, 11), (512, 1, 11), (512, 128, 10))
    for wanted, (rows, columns, least) in zip(switches, areas, strict=True):
        if wanted:
            subtract_medians(expected, which, rows, columns, least=least, limit=lambda x: x < 9)
    found = applied(PnccdMedian(*map(bool, switches), max_correction=9), "pnCCD", image, good if masked else None)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("level", [False, True])
@pytest.mark.parametrize(("columns", "rows"), [(True, False), (False, True), (True, True)])
def test_quiet_median_of_an_epix100a(columns, rows, level):
    image, _ = panel(47, (704, 768))
    image[:352, 300] += 25  # a half column with few quiet pixels
    rms = np.random.default_rng(48).uniform(3, 5, image.shape).astype("f4")
    hit = np.pad(image >= 10 * rms, 1)
    near = hit[1:-1, 1:-1] | hit[:-2, 1:-1] | hit[2:, 1:-1] | hit[1:-1, :-2] | hit[1:-1, 2:]
    quiet = ~near & (np.abs(image) <= 30)
    expected = image.copy()
    if level:
        expected[quiet] -= image[quiet].mean(dtype=float)
    for wanted, high, wide in ((columns, 352, 1), (rows, 1, 96)):
        if wanted:
            least = high * wide - math.floor(0.75 * high * wide)
            subtract_medians(expected, quiet, high, wide, least=least, limit=lambda x: x <= 8, of_all=True)
    assert not np.array_equal(expected, image)
    mode = QuietMedian(max_correction=8, columns=columns, rows=rows, level=level)
    found = image.copy()
    recipe = Recipe("Epix100a", np.zeros_like(image), rms=rms, common_mode=mode)
    recipe.subtract_common_mode(found)
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
