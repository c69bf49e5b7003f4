"""Recipes: the corrected image, pixel by pixel, against plain numpy."""

from __future__ import annotations

import errno
import os
from contextlib import nullcontext

import numpy as np
import pytest

from psanacli.calib import PixelsInFile
from psanacli.calib.common_mode import GoodMedian, Histogram, Mean, Off, QuietMedian, Unbonded
from psanacli.calib.ranged_recipe import EPIX10KA_HIGH, RangedRecipe, Ranges, epix10ka_ranges
from psanacli.calib.recipe import Recipe
from psanacli.errors import ConstantsError, DataError


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "i4", "f4", "f8"])
def test_pedestals_gain_and_mask(dtype):
    random = np.random.default_rng(1)
    raw = random.integers(0, 250, (40, 60)).astype(dtype)
    pedestals, gain = random.normal(100, 5, raw.shape).astype("f4"), random.normal(1, 0.1, raw.shape).astype("f4")
    mask = (random.random(raw.shape) > 0.1).astype(np.uint8)
    found = Recipe("Opal1000", pedestals, gain, mask=mask)(raw)
    assert found.dtype == np.float32
    assert np.array_equal(found, (raw.astype("f4") - pedestals) * gain * mask + 0)


@pytest.mark.parametrize("shape", [(3, 50), (32, 185, 388)])
@pytest.mark.parametrize("offset", [0, 1, 2, 3])
def test_the_output_may_be_anywhere(shape, offset):
    """Large images are stored in another way than small ones, which asks for places at multiples of 16 bytes."""
    random = np.random.default_rng(9)
    raw, pedestals = random.integers(0, 250, shape).astype("i2"), random.normal(100, 5, shape).astype("f4")
    room = np.full(raw.size + 8, 7, np.float32)
    out = room[offset : offset + raw.size].reshape(shape)
    assert Recipe("Cspad" if raw.ndim == 3 else "Opal1000", pedestals)(raw, out) is out
    assert np.array_equal(out, raw - pedestals)
    assert (room[:offset] == 7).all() and (room[offset + raw.size :] == 7).all()


def test_the_gain_map_comes_before_the_gain():
    random = np.random.default_rng(2)
    raw = random.integers(0, 16000, (32, 185, 388)).astype("i2")
    pedestals, gain = random.normal(1000, 5, raw.shape).astype("f4"), random.normal(1, 0.1, raw.shape).astype("f4")
    two, many = np.where(random.random(raw.shape) < 0.5, 6.85, 1.0), random.normal(3, 1, raw.shape)
    plain = raw - pedestals
    for gain_map in (two, many):
        found = Recipe("Cspad", pedestals, gain, gain_map)(raw)
        assert np.array_equal(found, (plain.astype("f8") * gain_map).astype("f4") * gain)
    good = np.ones(raw.shape, np.uint8)
    for mode in (Histogram(max_mean=8000, max_sigma=8000, min_peak=2), Mean(16000, 16000)):
        shifted = plain.copy()
        assert mode.steps("Cspad", raw.shape).apply(shifted.reshape(-1), good.reshape(-1)).any()
        for gain_map in (two, many):
            found = Recipe("Cspad", pedestals, gain, gain_map, common_mode=mode)(raw)
            assert np.array_equal(found, (shifted.astype("f8") * gain_map).astype("f4") * gain)


@pytest.mark.parametrize("uneven", [0, 0.01, 1])
@pytest.mark.parametrize("gains", [(1.0, 6.85), (0.3, 7.2), (1.0, 1e5)])
def test_single_precision_is_taken_only_where_it_gives_the_same(uneven, gains):
    random = np.random.default_rng(12)
    shape = (32, 185, 388)
    pedestals = random.normal(1200, 200, shape).astype("f4")
    small = random.random(shape) < uneven
    pedestals[small] = random.choice([0, 1e-9, 0.3, 17.123456, 300.01], shape).astype("f4")[small]
    level = random.uniform(-20, 20, (32, 1, 1))
    raw = (pedestals + random.normal(level, 5)).clip(0, 16383).astype("i2")
    bright = random.random(shape) < 0.05
    raw[bright] = random.integers(0, 16384, shape)[bright]
    gain, mask = random.normal(1, 0.1, shape).astype("f4"), (random.random(shape) > 0.1).astype(np.uint8)
    gain_map = np.where(random.random(shape) < 0.3, gains[0], gains[1])
    mode = Histogram(max_mean=25, max_sigma=25, min_peak=100)
    plain = raw - pedestals
    assert np.count_nonzero(mode.steps("Cspad", shape).apply(plain.reshape(-1), mask.reshape(-1))) > 20
    found = Recipe("Cspad", pedestals, gain, gain_map, mask=mask, good=mask, common_mode=mode)(raw)
    expected = (plain.astype("f8") * gain_map).astype("f4") * (gain * mask) + 0
    assert np.array_equal(found.view("u4"), expected.view("u4"))


def test_common_mode_is_subtracted_before_the_gain():
    random = np.random.default_rng(3)
    raw = random.integers(1000, 1020, (32, 185, 388)).astype("i2")
    pedestals, gain = np.full(raw.shape, 1000, "f4"), np.full(raw.shape, 2, "f4")
    good = np.ones(raw.shape, np.uint8)
    plain = raw - pedestals
    Histogram().steps("Cspad", raw.shape).apply(plain.reshape(-1), good.reshape(-1))
    recipe = Recipe("Cspad", pedestals, gain, good=good, common_mode=Histogram())
    assert np.array_equal(recipe(raw), plain * gain)
    out = np.empty(raw.shape, np.float32)
    assert recipe(raw, out) is out


PEDESTALS = {
    "one decimal": lambda random: np.round(random.uniform(900, 1300, (32, 185, 388)), 1),
    "halves": lambda random: random.integers(0, 40, (32, 185, 388)) / 2,
    "next to halves": lambda random: np.where(
        random.random((32, 185, 388)) < 0.01,
        np.nextafter(np.float32(10.5), random.choice([0, 20], (32, 185, 388)).astype("f4")),
        random.integers(0, 20, (32, 185, 388)),
    ),
    "small and negative": lambda random: random.normal(0, 3, (32, 185, 388)),
    "large": lambda random: random.normal(20_000, 50, (32, 185, 388)),
}


@pytest.mark.parametrize("kind", PEDESTALS)
@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "i4"])
def test_a_histogram_of_integers_is_that_of_the_differences(kind, dtype):
    """Values are counted without being subtracted; the peaks are the same."""
    random = np.random.default_rng(7)
    pedestals = PEDESTALS[kind](random).astype("f4")
    limits = np.iinfo(dtype)
    raw = np.clip(np.rint(pedestals + random.normal(2, 9, pedestals.shape)), limits.min, limits.max)
    raw[0, :, ::5] = limits.max
    raw[1, :, ::5] = max(limits.min, -30_000)
    raw = raw.astype(dtype)
    pedestals[2, ::9] = np.nan
    good = (random.random(raw.shape) > 0.05).astype(np.uint8)
    good[3] = 0
    plain = raw.astype("f4") - pedestals
    found = Histogram().steps("Cspad", raw.shape).apply(plain.reshape(-1), good.reshape(-1))
    assert np.count_nonzero(found) > 3 or dtype == "u1"
    result = Recipe("Cspad", pedestals, good=good, common_mode=Histogram())(raw)
    assert np.array_equal(result, plain, equal_nan=True)


@pytest.mark.parametrize("dtype", ["i2", "f4"])
def test_a_masked_pixel_is_zero_whatever_it_was(dtype):
    random = np.random.default_rng(8)
    raw = random.integers(-50, 50, (32, 185, 388)).astype(dtype)
    pedestals, gain = np.zeros(raw.shape, "f4"), np.full(raw.shape, -1, "f4")
    pedestals[4, 5], gain[4, 6] = np.nan, np.inf
    if dtype == "f4":
        raw[4, 7] = np.inf
    mask = np.ones(raw.shape, np.uint8)
    mask[4] = mask[:, :, 0] = 0
    for mode in (Off(), Histogram(), Mean()):
        for gain_map in (None, np.full(raw.shape, 6.85), random.normal(2, 0.1, raw.shape)):
            found = Recipe("Cspad", pedestals, gain, gain_map, mask, common_mode=mode)(raw)
            assert not found[mask == 0].any() and not np.signbit(found[mask == 0]).any()
            assert np.isfinite(found).all() and found[0, 1:, 1:].any()


def test_interleaved_panels():
    random = np.random.default_rng(4)
    raw = random.integers(1000, 1020, (2, 185, 388)).astype("i2")
    pedestals = np.full(raw.shape, 1000, "f4")
    found = Recipe("Cspad2x2", pedestals, common_mode=Unbonded())(raw)
    at = np.arange(10, 190, 10)
    for segment in range(2):
        plain = raw[segment] - pedestals[segment]
        mean = np.concatenate((plain[at, at], plain[at, at + 194])).mean()
        np.testing.assert_allclose(found[segment], plain - mean, atol=1e-5)


def test_hits_are_left_out_by_their_rms():
    raw = np.full((704, 768), 10, "u2")
    raw[:, 5] = 500
    pedestals = np.full(raw.shape, 7, "f4")
    found = Recipe("Epix100a", pedestals, rms=np.full(raw.shape, 2, "f4"), common_mode=QuietMedian())(raw)
    assert found[0, 100] == 0 and found[0, 5] > 400
    with pytest.raises(ConstantsError, match="pixel_rms"):
        Recipe("Epix100a", pedestals, common_mode=QuietMedian())


def ranged(raw, planes, number):
    return np.choose(np.minimum(number, len(planes)), [*planes, np.zeros_like(planes[0])])


def test_a_jungfrau_chooses_by_its_top_bits():
    random = np.random.default_rng(5)
    raw = random.integers(0, 1 << 14, (2, 512, 1024)).astype("u2")
    bits = random.choice([0, 0, 0, 1, 2, 3], raw.shape).astype("u2")
    bits[0, :100] = 0
    raw |= bits << 14
    pedestals = random.normal(3000, 50, (3, *raw.shape)).astype("f4")
    gain = random.normal(40, 3, pedestals.shape).astype("f4")
    gain[1, 0, 0, :5] = 0
    mask = (random.random(raw.shape) > 0.1).astype(np.uint8)
    number = np.array([0, 1, 3, 2])[bits]
    factors = np.divide(1, gain, out=np.zeros_like(gain), where=gain != 0)
    factor = np.where(number == 3, np.float32(1), ranged(raw, factors, number))
    plain = (raw & 0x3FFF).astype("f4") - ranged(raw, pedestals, number)
    assert np.array_equal(RangedRecipe("Jungfrau", pedestals, gain, mask)(raw), plain * factor * mask + 0)
    # Only good pixels in high gain take part in the common mode.
    good = (number == 0) & (mask != 0)
    GoodMedian().steps("Jungfrau", raw.shape).apply(plain.reshape(-1), good.astype(np.uint8).reshape(-1))
    found = RangedRecipe("Jungfrau", pedestals, gain, mask, common_mode=GoodMedian())(raw)
    assert np.array_equal(found, plain * factor * mask + 0)


def test_an_epix10ka_chooses_by_configuration_and_bit_14():
    random = np.random.default_rng(6)
    bits = random.choice([0x0, 0x4, 0x8, 0xC], (4, 352, 384)).astype("u2")
    trbits = random.integers(0, 2, (4, 4))
    raw = random.integers(0, 1 << 15, bits.shape).astype("u2")
    ranges = epix10ka_ranges(bits, trbits)
    control = bits.astype(int)
    for panel in range(4):
        for row in (0, 175, 176, 351):
            for column in (0, 191, 192, 383):
                asic = {(1, 1): 0, (0, 1): 1, (0, 0): 2, (1, 0): 3}[row >= 176, column >= 192]
                word = (control[panel, row, column] & 0x0C) | 0x10 * trbits[panel, asic]
                for switched, found in ((0, ranges.clear), (0x20, ranges.set)):
                    value = word | switched
                    expected = (
                        0 if value & 0x1C == 0x1C else 1 if value & 0x1C == 0x0C else 2 if value & 0x0C == 0x08
                        else 3 if value & 0x3C == 0x10 else 4 if value & 0x3C == 0 else 5 if value & 0x3C == 0x30
                        else 6 if value & 0x3C == 0x20 else 255
                    )  # fmt: skip
                    assert found[panel, row, column] == expected
    pedestals = random.normal(3000, 50, (7, *raw.shape)).astype("f4")
    number = np.where(raw & 0x4000, ranges.set, ranges.clear)
    plain = (raw & 0x3FFF).astype("f4") - ranged(raw, pedestals, np.minimum(number, 7))
    found = RangedRecipe("Epix10kaQuad", pedestals, ranges=ranges, high=EPIX10KA_HIGH)(raw)
    assert np.array_equal(found, plain)


def test_shapes_that_do_not_fit():
    with pytest.raises(ConstantsError, match=r"gains have the shape \(3, 4\), expected \(4, 5\)"):
        Recipe("Opal1000", np.zeros((4, 5)), np.zeros((3, 4)))
    with pytest.raises(ConstantsError, match=r"image has the shape \(2, 2\), the pedestals \(4, 5\)"):
        Recipe("Opal1000", np.zeros((4, 5)), common_mode=Mean())(np.zeros((2, 2)))
    with pytest.raises(ConstantsError, match="not one array for each gain range"):
        RangedRecipe("Jungfrau", np.zeros((4, 5)))


@pytest.mark.parametrize("mode", [Off(), Histogram(), Mean(16000, 16000), Unbonded(2000)], ids=str)
@pytest.mark.parametrize("dtypes", [("i2", "i2", "i2"), ("i2", "u2", "f4"), ("f8", "i4", "i4")], ids=str)
def test_several_images_at_once_are_as_one_by_one(mode, dtypes):
    """One comes in pieces; of one the peak of the histogram is not believed, so it waits for nothing."""
    random = np.random.default_rng(11)
    shape = (32, 185, 388)
    pedestals, gain = random.normal(1200, 40, shape).astype("f4"), random.normal(1, 0.1, shape).astype("f4")
    raws = [(pedestals + random.normal(4, 5 + 40 * k, shape)).astype(kind) for k, kind in enumerate(dtypes)]
    room = np.zeros((4, raws[0][:8].size + 16), raws[0].dtype)
    room[:, 16:] = raws[0].reshape(4, -1)
    pieces = np.lib.stride_tricks.as_strided(room[0, 16:], (4, 8, *shape[1:]), (room.strides[0], *raws[0].strides))
    good = (random.random(shape) > 0.05).astype(np.uint8)
    gain_map = np.where(np.arange(388) < 190, 6.85, 1.0) * np.ones(shape)
    for factors in (None, gain_map):
        recipe = Recipe("Cspad", pedestals, gain, factors, mask=good, good=good, common_mode=mode)
        each = [recipe(raw) for raw in raws]
        found = recipe.images([pieces, *raws[1:]])
        assert found.shape == (3, *shape)
        for one, alone in zip(found, each, strict=True):
            assert np.array_equal(one, alone)
    assert recipe.images([]).shape == (0, *shape)


@pytest.mark.parametrize("mode", [Off(), GoodMedian()], ids=str)
@pytest.mark.parametrize("by_configuration", [False, True])
def test_several_images_of_switching_pixels_are_as_one_by_one(mode, by_configuration):
    random = np.random.default_rng(13)
    shape = (2, 512, 1024)
    raws = [random.integers(0, 1 << 14, shape).astype("u2") for _ in range(3)]
    raws[1] |= random.choice([0, 1 << 14, 3 << 14], shape).astype("u2")
    pedestals, mask = random.normal(3000, 50, (3, *shape)).astype("f4"), (random.random(shape) > 0.1).astype(np.uint8)
    ranges = Ranges(random.choice([0, 1, 255], shape).astype(np.uint8), np.full(shape, 2, np.uint8))
    recipe = RangedRecipe(
        "Jungfrau", pedestals, pedestals / 70, mask, ranges if by_configuration else None, common_mode=mode
    )
    found = recipe.images(raws)
    for raw, image in zip(raws, found, strict=True):
        assert np.array_equal(image, recipe(raw))
    assert not np.array_equal(found[0], found[1])
    assert recipe.images([]).shape == (0, *shape)


@pytest.mark.parametrize("mode", [Off(), Histogram(), Unbonded(), Mean(5000, 5000)])
@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "i4", "f4", "f8"])
def test_pixels_in_a_file_are_as_good_as_those_in_memory(tmp_path, mode, dtype):
    random = np.random.default_rng(31)
    raws = random.normal(105, 5, (3, 4, 8, 185, 388)).astype(dtype)
    pedestals = random.normal(100, 3, (32, 185, 388)).astype("f4")
    recipe = Recipe("Cspad", pedestals, good=random.random(pedestals.shape) < 0.9, common_mode=mode)
    gap, quadrant = 7, raws[0, 0].nbytes
    path = tmp_path / "pixels"
    path.write_bytes(b"".join(bytes(gap) + part.tobytes() for part in raws.reshape(12, -1)))

    def error(number):
        return DataError(f"error {number}")

    def filed(number, opened):
        place, step = gap + 4 * number * (quadrant + gap) - 3, quadrant + gap
        return PixelsInFile(
            raws[0].shape, raws.dtype, place, step, lambda: nullcontext((opened, 3)), error, lambda: raws[number]
        )

    with open(path, "rb") as file, open(path, "ab") as unreadable:
        expected = recipe.images(raws)
        assert not np.array_equal(expected[0], expected[1])
        np.testing.assert_array_equal(recipe(filed(1, file.fileno())), expected[1])
        mixed = [filed(0, file.fileno()), raws[1], filed(2, file.fileno())]
        np.testing.assert_array_equal(recipe.images(mixed), expected)
        if dtype == "f8" or isinstance(mode, Mean):
            return  # such pixels, or those that are taken together, are read first
        for opened, number in ((unreadable, errno.EBADF), (file, 0)):
            if not number:
                os.truncate(path, path.stat().st_size - 1)
            with pytest.raises(DataError, match=f"^error {number}$"):
                recipe.images([filed(0, file.fileno()), raws[1], filed(2, opened.fileno())])


def test_the_number_of_pixels_does_not_matter():
    """Eight pixels are made at once where the processor can; what is left over, and the first ones, one by one."""
    random = np.random.default_rng(12)
    for size in range(1, 40):
        raw, pedestals = random.integers(0, 4000, size).astype("u2"), random.normal(1500, 5, size).astype("f4")
        gain, gain_map = random.normal(1, 0.1, size).astype("f4"), np.where(random.random(size) < 0.5, 6.85, 1.0)
        plain = raw - pedestals
        assert np.array_equal(Recipe("Opal1000", pedestals, gain)(raw), plain * gain)
        expected = (plain.astype("f8") * gain_map).astype("f4") * gain
        assert np.array_equal(Recipe("Opal1000", pedestals, gain, gain_map)(raw), expected)
