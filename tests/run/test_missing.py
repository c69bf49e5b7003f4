"""The picture of what is missing: honest bins, as text and as PNG."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from psanacli.run.missing import ABSENT, DAMAGED, PRESENT, Presence, shown_share
from psanacli.run.picture import Canvas


def presence(*rows: str, steps: tuple[int, ...] = (0,)) -> Presence:
    states = np.array([[" x!?".index(state) for state in row] for row in rows], np.uint8)
    return Presence(tuple(f"object {k}" for k in range(len(rows))), states.reshape(len(rows), -1), steps)


def test_an_event_a_letter_where_there_is_room() -> None:
    bins = presence("xx x", "!   ").binned(80)
    assert bins.rows() == ["██·█", "█···"]
    assert bins.damaged.tolist() == [[0, 0, 0, 0], [1, 0, 0, 0]]


def test_one_event_of_many_shows() -> None:
    states = np.full((3, 60_000), PRESENT, np.uint8)
    states[0, 31_234] = ABSENT
    states[1, :] = ABSENT
    states[1, 31_234] = DAMAGED
    rows = Presence(("most", "one", "all"), states).binned(60).rows()
    assert rows == ["█" * 31 + "▇" + "█" * 28, "·" * 31 + "▁" + "·" * 28, "█" * 60]


@given(st.integers(1, 500), st.integers(1, 90))
def test_a_bin_never_claims_more_than_it_has(events: int, width: int) -> None:
    states = np.random.default_rng(events * 100 + width).integers(0, 3, (2, events)).astype(np.uint8)
    bins = Presence(("a", "b"), states).binned(width)
    assert bins.edges[0] == 0 and bins.edges[-1] == events and bins.sizes.min() >= 1
    for row, shown in zip(states, bins.levels(8), strict=True):
        for first, stop, level in zip(bins.edges, bins.edges[1:], shown, strict=False):
            part = row[first:stop] != ABSENT
            assert (level == 8) == bool(part.all()) and (level == 0) == (not part.any())


def test_what_was_lost_by_damage_is_not_counted_as_there() -> None:
    lost = presence("x?x!", "??? ")
    assert lost.binned(80).rows() == ["█!██", "!!!·"]
    assert lost.binned(2).rows() == ["▄█", "!!"]
    assert lost.shares() == ["75.0 %", "0 %"]
    assert [lost.damaged(number) for number in (0, 1)] == [2, 3]
    assert lost.gaps()["object 0"] == {"absent": [], "damaged": [[1, 2], [3, 4]]}
    assert lost.gaps()["object 1"] == {"absent": [[3, 4]], "damaged": [[0, 3]]}


def test_no_events_and_no_objects_are_no_error() -> None:
    nothing = Presence(("a",), np.zeros((1, 0), np.uint8))
    assert nothing.binned(80).rows() == [""]
    assert Presence((), np.zeros((0, 5), np.uint8)).binned(80).rows() == []
    assert decoded(nothing.png()).shape[2] == 3


def test_the_scale_names_events() -> None:
    bins = Presence(("a",), np.ones((1, 6000), np.uint8)).binned(60)
    assert bins.scale() == "╵0" + " " * 18 + "╵2000" + " " * 15 + "╵4000"


@pytest.mark.parametrize(
    ("part", "shown"), [(0, "0 %"), (1, "0.1 %"), (30_000, "50.0 %"), (59_999, "99.9 %"), (60_000, "100 %")]
)
def test_a_share_is_full_only_when_it_is(part: int, shown: str) -> None:
    assert shown_share(part, 60_000) == shown


def decoded(data: bytes) -> np.ndarray:
    """Read back a PNG as this program writes it, every checksum checked."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    place, parts, shape = 8, b"", (0, 0)
    while place < len(data):
        (size,) = struct.unpack_from(">I", data, place)
        kind, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + size]
        assert zlib.crc32(kind + body) == struct.unpack_from(">I", data, place + 8 + size)[0]
        if kind == b"IHDR":
            shape = struct.unpack_from(">II", body)
            assert body[8:] == bytes([8, 2, 0, 0, 0])
        parts += body if kind == b"IDAT" else b""
        place += 12 + size
    rows = np.frombuffer(zlib.decompress(parts), np.uint8).reshape(shape[1], 1 + 3 * shape[0])
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(shape[1], shape[0], 3)


def test_the_picture_has_the_colours_of_what_is_there() -> None:
    pixels = decoded(presence("xxxx    ", "   !    ", steps=(0, 4)).png(width=80))
    colours = {tuple(colour) for colour in pixels.reshape(-1, 3).tolist()}
    assert {(40, 84, 138), (200, 40, 40), (150, 150, 150), (40, 40, 40)} <= colours
    blue = np.argwhere((pixels == (40, 84, 138)).all(axis=2))
    red = np.argwhere((pixels == (200, 40, 40)).all(axis=2))
    assert np.ptp(blue[:, 1]) == 39  # four events of ten dots
    assert np.ptp(red[:, 1]) == 9 and blue[:, 0].max() < red[:, 0].min()


def test_text_stays_on_the_canvas() -> None:
    canvas = Canvas(20, 12)
    canvas.write(15, 8, "Wé→")
    assert decoded(canvas.png()).shape == (12, 20, 3)
