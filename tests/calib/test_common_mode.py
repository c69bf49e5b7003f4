"""Common mode: how algorithms are asked for, and values that are made to mislead them."""

from __future__ import annotations

import numpy as np
import pytest
from calib.noise import applied, panel

from psanacli.calib.common_mode import (
    BinnedMedian,
    GoodMedian,
    Histogram,
    Mean,
    Median,
    Off,
    PnccdMedian,
    Unbonded,
    default_common_mode,
    from_numbers,
    parse_common_mode,
)
from psanacli.errors import UsageError


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
