"""The native sums and order statistics of dark frames against plain numpy."""

from __future__ import annotations

import numpy as np
import pytest

from psanacli.calib import DarkSums, Gates, _dark
from psanacli.calib.dark import Rules


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 16, 17, 50, 64, 65, 100])
@pytest.mark.parametrize("pixels", [1, 127, 128, 300])
def test_ranks_are_those_of_sorted_values(count: int, pixels: int) -> None:
    frames = np.random.default_rng(count).integers(0, 65536, (count, pixels), np.uint16)
    frames[:, ::3] &= 3  # many equal values
    ranks = np.array(sorted({0, count // 3, count // 2, count - 1}), np.int64)
    for bits in (0xFFFF, 0x3FFF):
        out = np.empty((len(ranks), pixels), np.uint16)
        _dark.ranks(frames, bits, ranks, out)
        assert np.array_equal(out, np.sort(frames & np.uint16(bits), axis=0)[ranks])


def plain(frames: np.ndarray, gates: Gates, rules: Rules) -> dict[str, np.ndarray]:
    """Return the sums, the plain way."""
    x = (frames & rules.bits).astype(object)
    wrong = (frames & rules.range_bits) != rules.gain_range
    out = wrong & rules.leave_out
    inside = (x >= gates.low) & (x <= gates.high) & ~out
    return {
        "count": inside.sum(axis=0),
        "below": ((x < rules.limits[0]) & ~out).sum(axis=0),
        "above": ((x > rules.limits[1]) & ~out).sum(axis=0),
        "wrong": wrong.sum(axis=0),
        "sum": np.where(inside, x, 0).sum(axis=0),
        "squares": np.where(inside, x * x, 0).sum(axis=0),
        "least": np.where(out, 65535, x).min(axis=0),
        "largest": np.where(out, 0, x).max(axis=0),
    }


@pytest.mark.parametrize("width", [0, 255, 256, 65535])
@pytest.mark.parametrize(
    "rules",
    [
        Rules(),
        Rules(0xFFFF, limits=(100, 65000)),
        Rules(0x3FFF, 0xC000, 0x4000, leave_out=True),
        Rules(0x3FFF, 0xC000, 0x4000),
    ],
)
def test_sums_are_exact_however_the_frames_are_divided(width: int, rules: Rules) -> None:
    random = np.random.default_rng(width)
    frames = random.integers(0, 65536, (61, 300), np.uint16)
    frames[:, :150] = random.integers(30000, 30200, (61, 150), np.uint16)
    low = random.integers(0, 65536, 300).astype(np.uint16)
    low[:150] = 30000 & rules.bits
    high = np.minimum(low.astype(int) + width, 65535).astype(np.uint16)
    high[7], low[7] = 0, 1  # empty
    gates = Gates(low, high, 1)
    expected = plain(frames, gates, rules)
    for cuts in ([], [1], [20, 40], list(range(1, 61))):
        total = DarkSums(gates, rules)
        for part in np.split(frames, cuts):
            sums = DarkSums(gates, rules)
            sums.add(part)
            total.merge(sums.parts)
        assert total.events == 61
        for name, values in expected.items():
            assert np.array_equal(getattr(total, name), values.astype(np.uint64)), name


@pytest.mark.parametrize("width", [255, 65535])
def test_counts_do_not_overflow(width: int) -> None:
    gates = Gates(np.array([0, 65535 - width], np.uint16), np.array([width, 65535], np.uint16), 1)
    sums = DarkSums(gates, Rules(0xFFFF, limits=(0, 65535)))
    frames = np.empty((70_000, 2), np.uint16)
    frames[:] = width, 65535
    sums.add(frames)
    assert sums.count.tolist() == [70_000] * 2
    assert sums.sum.tolist() == [70_000 * width, 70_000 * 65535]
    assert sums.squares.tolist() == [70_000 * width**2, 70_000 * 65535**2]


def test_what_does_not_fit_is_refused() -> None:
    gate = np.zeros(5, np.uint16)
    sums = _dark.Sums(5)
    with pytest.raises(ValueError, match="frames of 4 pixels, sums of 5"):
        sums.add(np.zeros((2, 4), np.uint16), gate, gate, (1, 0, 0, False, 0, 1))
    with pytest.raises(ValueError, match="3 gates for 5 pixels"):
        sums.add(np.zeros((2, 5), np.uint16), gate[:3], gate, (1, 0, 0, False, 0, 1))
    with pytest.raises(ValueError, match="no rank 2 in 2 frames"):
        _dark.ranks(np.zeros((2, 5), np.uint16), 1, np.array([2]), np.empty((1, 5), np.uint16))
