"""The expression that says which pixels are bad, next to plain numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from psanacli.calib import Constants, kind_of, mask_of, mask_png
from psanacli.errors import ConstantsError, PsanaError

EPIX = "XppGon.0:Epix100a.1"
CSPAD = "XppGon.0:Cspad.0"
JUNGFRAU = "XppEndstation.0:Jungfrau.0"


class Given(dict[str, Any]):
    """Constants by type; what is not there is missing, as in a store."""

    def get(self, name: str) -> Constants | None:  # type: ignore[override]
        return Constants(self[name], EPIX, name, 1, Path(f"{name}/1-end.data")) if name in self else None

    def need(self, name: str) -> Constants:
        found = self.get(name)
        if found is None:
            raise ConstantsError(f"no {name}")
        return found


@pytest.fixture(scope="module")
def epix() -> Given:
    generator = np.random.default_rng(5)
    status = generator.choice([0, 0, 0, 0, 1, 2, 8, 64], (704, 768)).astype("u2")
    return Given(
        pixel_status=status,
        pixel_rms=generator.gamma(3, 1, status.shape).astype("f4"),
        pixel_gain=generator.normal(1, 0.1, status.shape).astype("f4"),
        pixel_mask=(generator.random(status.shape) > 0.1).astype("u1"),
    )


def bad(expression: str, given: Given, source: str = EPIX, shape: tuple[int, ...] = (704, 768)) -> np.ndarray:
    return mask_of(expression, source, shape, given).mask == 0


ROW, COLUMN = np.indices((704, 768))
DISC = (ROW - 100) ** 2 + (COLUMN - 50.5) ** 2 <= 20**2


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("status", lambda g: g["pixel_status"] != 0),
        ("status()", lambda g: g["pixel_status"] != 0),
        ("status(1, 0x40)", lambda g: (g["pixel_status"] & 65) != 0),
        ("not status", lambda g: g["pixel_status"] == 0),
        ("pixel_status == 8", lambda g: g["pixel_status"] == 8),
        ("pixel_status in [1, 8]", lambda g: np.isin(g["pixel_status"], [1, 8])),
        ("pixel_status not in [0, 8]", lambda g: ~np.isin(g["pixel_status"], [0, 8])),
        ("pixel_mask", lambda g: g["pixel_mask"] == 0),
        ("rms > 4", lambda g: g["pixel_rms"] > 4),
        ("2 < pixel_rms <= 4", lambda g: (g["pixel_rms"] > 2) & (g["pixel_rms"] <= 4)),
        ("rms > 2 * median(rms)", lambda g: g["pixel_rms"] > 2 * np.median(g["pixel_rms"])),
        (
            "abs(gain - mean(gain)) > 2 * std(gain)",
            lambda g: abs(g["pixel_gain"] - g["pixel_gain"].mean(dtype=float)) > 2 * g["pixel_gain"].std(dtype=float),
        ),
        ("-gain < -1.1", lambda g: -g["pixel_gain"] < -1.1),
        ("row < 10 or column >= 760", lambda g: (ROW < 10) | (COLUMN >= 760)),
        ("edges", lambda g: (ROW < 1) | (ROW > 702) | (COLUMN < 1) | (COLUMN > 766)),
        ("edges(2, 3)", lambda g: (ROW < 2) | (ROW > 701) | (COLUMN < 3) | (COLUMN > 764)),
        ("central(2)", lambda g: (abs(ROW - 351.5) < 2) | (abs(COLUMN - 383.5) < 2)),
        ("disc(100, 50.5, 20)", lambda g: DISC),
        ("disc(0, 100, 50.5, 20) and status", lambda g: DISC & (g["pixel_status"] != 0)),
        ("square(100, 50, 3)", lambda g: (abs(ROW - 100) <= 3) & (abs(COLUMN - 50) <= 3)),
        ("near(row == 5 and column == 7, 2, 'disc')", lambda g: (ROW - 5) ** 2 + (COLUMN - 7) ** 2 <= 4),
        ("near(row == 5 and column == 7, 2)", lambda g: abs(ROW - 5) + abs(COLUMN - 7) <= 2),
        ("neighbours(row == 5 and column == 7)", lambda g: abs(ROW - 5) + abs(COLUMN - 7) <= 1),
        ("neighbours(row == 5 and column == 7, 8)", lambda g: (abs(ROW - 5) <= 1) & (abs(COLUMN - 7) <= 1)),
        ("unbonded", lambda g: ROW < 0),
        (
            "status and not (rms > 4 or edges(5))",
            lambda g: (
                (g["pixel_status"] != 0)
                & ~((g["pixel_rms"] > 4) | (ROW < 5) | (ROW > 698) | (COLUMN < 5) | (COLUMN > 762))
            ),
        ),
    ],
)
def test_expressions(epix: Given, expression: str, expected: Any) -> None:
    found = bad(expression, epix)
    assert np.array_equal(found, expected(epix))


def test_further_status_counts_where_it_is_there(epix: Given) -> None:
    extra = np.zeros((704, 768), "u8")
    extra[7, 9] = 1 << 40
    more = Given(epix, status_extra=extra)
    assert np.array_equal(bad("status", more), (epix["pixel_status"] != 0) | (extra != 0))
    assert np.array_equal(bad("status(1)", more), (epix["pixel_status"] & 1) != 0)
    assert bad("status_extra == 0", more).sum() == extra.size - 1


def test_a_cspad_has_panels_and_unbonded_pixels() -> None:
    shape = (32, 185, 388)
    found = bad("unbonded", Given(), CSPAD, shape)
    assert found.sum() == 32 * 38 and found[:, 10, 10].all() and found[:, 10, 204].all()
    found = bad("panel == 3 and row < 2", Given(), CSPAD, shape)
    assert found.sum() == 2 * 388 and found[3, :2].all()
    assert not bad("disc(5, 90, 90, 4)", Given(), CSPAD, shape)[[4, 6]].any()


def test_a_cspad_2x2_has_its_panels_last(tmp_path: Path) -> None:
    source, shape = "XppGon.0:Cspad2x2.0", (185, 388, 2)
    assert kind_of(source).interleaved
    found = bad("panel == 1 and row == 7", Given(), source, shape)
    assert found.shape == shape and found.sum() == 388 and found[7, :, 1].all()
    mask = (np.random.default_rng(1).random(shape) > 0.3).astype("u1")
    np.save(tmp_path / "m.npy", mask)
    np.save(tmp_path / "panels.npy", np.moveaxis(mask, -1, 0))
    for name in ("m.npy", "panels.npy"):
        assert np.array_equal(bad(f"file('{tmp_path / name}')", Given(), source, shape), mask == 0)


def test_what_is_bad_in_any_gain_range_is_bad() -> None:
    status = np.zeros((3, 2, 512, 1024), "u2")
    status[1, 0, 5, 6] = 4
    rms = np.ones(status.shape, "f4")
    rms[2, 1, 8] = 50
    given = Given(pixel_status=status, pixel_rms=rms)
    shape = status.shape[1:]
    found = bad("status or rms > 3 * median(rms)", given, JUNGFRAU, shape)
    assert np.array_equal(found, ((status != 0) | (rms > 3)).any(axis=0))
    assert not bad("rms[0] > 3", given, JUNGFRAU, shape).any()
    assert bad("rms[2] > 3", given, JUNGFRAU, shape).sum() == 1024


def test_parts_of_an_or_are_counted(epix: Given) -> None:
    made = mask_of("status(8) or (edges and rms > 0) or disc(9, 9, 1)", EPIX, (704, 768), epix)
    assert [part for part, _ in made.causes] == ["status(8)", "edges and rms > 0", "disc(9, 9, 1)"]
    assert [count for _, count in made.causes] == [np.count_nonzero(epix["pixel_status"] == 8), 2940, 5]
    assert [path.parent.name for path in made.files] == ["pixel_status", "pixel_rms"]
    assert made.bad == np.count_nonzero(made.mask == 0)


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("", "the expression is empty"),
        ("stauts", "did you mean status"),
        ("rms", "rms is a number of pixels"),
        ("status > 3", "status is a set of pixels"),
        ("rms > edges(2)", "edges is a set of pixels"),
        ("edges(1, 2, 3)", "edges is not used with 3 arguments"),
        ("edges(1.5)", "a whole number from 0"),
        ("edges(730)", "does not fit on a panel"),
        ("disc(1, 2)", "disc([PANEL,] ROW, COLUMN, RADIUS)"),
        ("disc(3, 1, 2, 3)", "a whole number from 0 to 0"),
        ("disc(900, 20, 3)", "no pixel of the detector is in this form"),
        ("disc(900, 20, 3)", "rows are 0 to 703, columns 0 to 767"),
        ("square(10.5, 20.5, 0.25)", "no pixel of the detector is in this form"),
        ("disc(9, 20, -3)", "a radius cannot be negative"),
        ("edges(0)", "a rim of 0 pixels is none"),
        ("central(0)", "a whole number from 1 to 768"),
        ("near(status, 2, 'ring')", "there is no form 'ring'"),
        ("neighbours(status, 6)", "4 or 8 neighbours"),
        ("median(3) > 2", "median is of the numbers of all pixels"),
        ("file('no/such.npy')", "no file no/such.npy"),
        ("file(3)", "a text in quotes"),
        ("rms[0] > 1", "only constants with several gain ranges"),
        ("12", "this is no set of bad pixels"),
        ("row == 'x'", "a number was expected"),
        ("pedestals > 3", "no pedestals"),
        ("status(-1)", "a whole number from 1"),
    ],
)
def test_what_is_wrong_is_shown_with_its_place(epix: Given, expression: str, told: str) -> None:
    with pytest.raises(PsanaError) as caught:
        bad(expression, epix)
    assert told in f"{caught.value.message} {caught.value.hint}"
    assert "^" in caught.value.hint


def test_the_picture() -> None:
    mask = np.ones((32, 185, 388), "u1")
    mask[4, 7, 9] = 0
    assert mask_png(mask, "a title").startswith(b"\x89PNG")


def test_parts_that_can_mean_no_pixel_of_a_detector_are_told(epix: Given) -> None:
    parts = "status(512) or unbonded or row > 800 or edges(0, 2) or rms > 1e9"
    made = mask_of(parts, EPIX, (704, 768), epix)
    assert [count for _, count in made.causes] == [0, 0, 0, 4 * 704, 0]
    assert made.without_effect == ["unbonded", "row > 800"]  # constants may be others tomorrow
    assert mask_of("unbonded", CSPAD, (32, 185, 388)).without_effect == []
