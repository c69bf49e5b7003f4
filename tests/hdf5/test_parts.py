"""The parts of a translation by themselves: filters, chunks, blocks, names, selections."""

from __future__ import annotations

import io
import zlib

import h5py
import numpy as np
import pytest
from h5py import h5o
from hypothesis import given
from hypothesis import strategies as st

from psanacli.errors import NotFoundError, OutputError, UsageError
from psanacli.hdf5 import Compression, TranslateOptions
from psanacli.hdf5._filters import shuffle
from psanacli.hdf5.forms import compound, form_of
from psanacli.hdf5.layout import Member, type_layout
from psanacli.hdf5.names import damage_rows, source_group, variable_group
from psanacli.hdf5.object_header import set_shuffle_size
from psanacli.hdf5.options import Selection
from psanacli.hdf5.tables import BLOCK_BYTES, chunk_rows, cut_blocks
from psanacli.xtc import NO_SOURCE, Source


def shuffled(data: np.ndarray, item: int) -> np.ndarray:
    """The filter in numpy: first bytes of all items first, a rest as it is."""
    whole = len(data) // item * item
    return np.concatenate((data[:whole].reshape(-1, item).T.ravel(), data[whole:]))


@given(st.integers(0, 5000), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_shuffle(size: int, item: int, seed: int) -> None:
    data = np.random.default_rng(seed).integers(0, 256, size, np.uint8)
    found = np.empty_like(data)
    shuffle(data, item, found)
    wanted = shuffled(data, item) if len(data) // item > 1 else data
    assert np.array_equal(found, wanted)


@pytest.mark.parametrize("level", [1, 6])
@pytest.mark.parametrize("low", ["noise", "flat"])
def test_chunks_of_images(level: int, low: str) -> None:
    values = np.random.default_rng(1).integers(0, 256 if low == "noise" else 4, 300_001).astype(np.uint16)
    data = values.view(np.uint8)
    packed = Compression("gzip", level).packer(2).chunk(data)
    assert zlib.decompress(packed) == shuffled(data, 2).tobytes()
    assert len(packed) < (0.52 if low == "noise" else 0.2) * len(data)


@pytest.mark.parametrize("text", ["lz4", "gzip:0", "gzip:10", "zstd:20", "none:1", "GZIP", "gzip:"])
def test_unknown_compression(text: str) -> None:
    with pytest.raises(UsageError):
        Compression.parse(text)


@given(st.integers(1, 1 << 25), st.integers(1, 10**6), st.integers(1, 1 << 14))
def test_chunks_end_where_blocks_do(size: int, rows: int, span: int) -> None:
    chunk = chunk_rows(size, rows, span)
    assert 1 <= chunk <= max(1, min(rows, span))
    assert chunk == rows or chunk.bit_count() == 1


@given(st.lists(st.integers(0, 3 * BLOCK_BYTES), max_size=60), st.integers(0, 60))
def test_blocks_cover_all_events_in_order(sizes: list[int], cut: int) -> None:
    cut = min(cut, len(sizes))
    bytes_of = np.array(sizes, np.int64)
    steps = cut_blocks(
        [(0, cut), (cut, len(sizes))],
        lambda first, stop: int(bytes_of[first:stop].sum()),
        lambda first, stop: bytes_of[first:stop],
    )
    blocks = [block for step in steps for block in step]
    assert [event for first, stop, _ in blocks for event in range(first, stop)] == list(range(len(sizes)))
    assert all(sum(sizes[first:stop]) == size for first, stop, size in blocks)
    assert all(stop == first + 1 or size <= 2 * BLOCK_BYTES for first, stop, size in blocks)
    assert [step[0][0] for step in steps if step] == [first for first in {0, cut} if first < len(sizes)]


@pytest.mark.parametrize(
    ("text", "name"),
    [("XppEndstation.0:Opal1000.1", "XppEndstation.0:Opal1000.1"), ("EBeam", "EBeam")],
)
def test_source_groups(text: str, name: str) -> None:
    assert source_group(Source.parse(text)) == name


def test_odd_source_groups() -> None:
    assert source_group(NO_SOURCE) == "noSrc"
    assert source_group(Source(1 << 24, 0xFFFFFFFF)) == "detector.id:device.id"
    assert source_group(Source(4711, 0x01020304)) == "Control"
    assert source_group(Source(2 << 24 | 4711, 0x01020304)) == "4711@1.2.3.4"
    assert [variable_group(name) for name in ("A:B", "a/b", "", "a//b", "..")] == ["A:B", "a/b", "_", "a/_/b", "_"]


def test_damage() -> None:
    row = damage_rows(np.array([0x05005002], np.uint32))[0]
    assert (row["bits"], row["userBits"]) == (0x5002, 5)
    assert (row["DroppedContribution"], row["OutOfOrder"], row["UserDefined"], row["OutOfSynch"]) == (1, 1, 1, 0)


def test_forms_are_those_of_c() -> None:
    members = [Member(name, form, name) for name, form in (("a", "u1"), ("b", "f8"), ("c", "str"), ("d", "vlen<u2>"))]
    form = compound(tuple(members))
    assert [form.type_id.get_member_offset(i) for i in range(4)] == [0, 8, 16, 24]
    assert form.type_id.get_size() == form.dtype.itemsize == 40 and form.pointers
    assert form_of("u2[3,4]").dtype.shape == (3, 4) and not form_of("S7").pointers
    with pytest.raises(ValueError, match="not a form"):
        form_of("u3")


def test_no_shuffle_filter_to_set() -> None:
    with pytest.raises(OutputError):
        set_shuffle_size(io.BytesIO(bytes(200)), 0, 2)
    file = io.BytesIO()
    with h5py.File(file, "w", libver=("earliest", "v110")) as opened:
        opened.create_dataset("a", data=np.zeros(8), chunks=(4,), compression="gzip")
        address = h5o.get_info(opened["a"].id).addr
    with pytest.raises(OutputError, match="no shuffle filter"):
        set_shuffle_size(file, address, 2)


def test_selection() -> None:
    frame, ebeam = type_layout("Camera.FrameV1"), type_layout("Bld.BldDataEBeamV7")
    assert frame is not None and ebeam is not None
    camera, beam = Source.parse("XppEndstation.0:Opal1000.1"), Source.parse("EBeam")
    aliases = {"sample-camera": camera}

    def accepted(**options: tuple[str, ...]) -> list[bool]:
        selection = Selection(TranslateOptions(**options), aliases)
        return [selection.accepts(frame, camera), selection.accepts(ebeam, beam)]

    assert accepted() == [True, True]
    assert accepted(include=("SAMPLE_*",)) == accepted(include=("Camera.Frame*",)) == [True, False]
    assert accepted(include=("frame",)) == accepted(include=("Frame__*Opal*",)) == [True, False]
    assert accepted(include=("DetInfo(:Opal1000)",)) == accepted(exclude=("ebeam",)) == [True, False]
    assert accepted(include=("*",), exclude=("*",)) == [False, False]
    missing = Selection(TranslateOptions(include=("Frame", "Opal2000")), aliases)
    missing.accepts(frame, camera)
    with pytest.raises(NotFoundError, match="Opal2000"):
        missing.check()


def test_options_that_exclude_each_other() -> None:
    with pytest.raises(UsageError):
        TranslateOptions(epics="sometimes")
    with pytest.raises(UsageError):
        TranslateOptions(aligned=True, split=True)
