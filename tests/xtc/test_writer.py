"""Writing datagrams, streams and runs, and reading them back."""

import struct

import numpy as np
import pytest

from psanacli.errors import DataError, OutputError
from psanacli.xtc import (
    MAX_FIDUCIALS,
    NO_FIDUCIAL,
    Container,
    Contribution,
    Datagram,
    DatagramBlock,
    Engine,
    Level,
    RunWriter,
    Source,
    StreamWriter,
    Transition,
    control,
    decode_epics,
    decompress,
    epics_record,
    fiducials,
    node,
    service,
    vector,
    walk_buffer,
    walk_file,
    walk_tree,
)

CAMERA = Source.parse("XppEndstation.0:Opal1000.1", process=5102)
BEAM = Source.parse("EBeam", process=5401)
NODE = node("172.21.38.41", 5102)
T = Transition


def test_bytes_of_a_datagram():
    frame = Contribution("Camera.FrameV1", CAMERA, b"abcde", damage=0x1000)
    datagram = Datagram(T.L1Accept, 100, 200, [Container(NODE, [frame])], 300, ticks=400, vector=5, env=6)
    words = struct.unpack("<20I", bytes(datagram)[:80])
    assert words[:5] == (200, 100, 0x0C << 24 | 400, 5 << 17 | 300, 6)
    assert words[5:10] == (0, Level.Event << 24, 0, 0x00010001, 20 + 20 + 28)
    assert words[10:15] == (0, NODE.log, NODE.phy, 0x00010001, 48)
    assert words[15:20] == (0x1000, CAMERA.log, CAMERA.phy, 0x00010002, 28)
    assert bytes(datagram)[80:] == b"abcde\0\0\0", "payloads are padded"


def test_transitions_have_the_extended_bit_and_no_fiducial():
    words = struct.unpack("<10I", bytes(Datagram(T.Configure, 1, 2)))
    assert words[2] >> 24 == 0x84 and words[3] == NO_FIDUCIAL and words[9] == 20
    assert struct.unpack("<10I", bytes(Datagram(T.Configure, 1, 2, control=4)))[2] >> 24 == 4


def test_what_was_written_is_read_back():
    inside = [Contribution("Camera.FrameV1", CAMERA, bytes(range(32))), Contribution(0, BEAM, damage=2)]
    nested = Container(NODE, [Container(NODE, inside, damage=1 << 16), *inside])
    datagram = Datagram(T.L1Accept, 1, 2, [nested, Container(NODE), inside[1]], 3, 4, 5, 6, damage=7)
    data = bytes(datagram)
    again = Datagram.parse(b"before" + data, 6)
    assert bytes(again) == data
    assert again.children[0].children[0].children[0].payload == bytes(range(32))
    assert [node.depth for node in walk_tree(data)] == [0, 1, 2, 2, 1, 1, 0, 0]


def test_what_does_not_fit_is_not_read_back():
    data = bytearray(bytes(Datagram(T.L1Accept, 1, 2, [Contribution(2, CAMERA, bytes(40))])))
    for extent in (0, 64, 50):
        struct.pack_into("<I", data, 56, extent)
        with pytest.raises(DataError):
            Datagram.parse(bytes(data))
    struct.pack_into("<I", data, 56, 60)
    data[11] = 14
    with pytest.raises(DataError, match="transition number 14"):
        Datagram.parse(bytes(data))


def test_payloads_may_be_arrays():
    image = np.arange(12, dtype="<u2").reshape(3, 4)
    data = bytes(Datagram(T.L1Accept, 1, 2, [Contribution(2, CAMERA, image)]))
    assert data[60:] == image.tobytes()


def test_compressed_contributions():
    frame = struct.pack("<4I", 20, 10, 16, 32) + bytes(400)
    small = Contribution("Camera.FrameV1", CAMERA, frame).compressed(Engine.HIST16)
    assert small.type_word == 0x80010002 and len(small.payload) < 300
    assert decompress(small.payload) == frame


def test_types_inside_of_others_cannot_be_written():
    with pytest.raises(ValueError, match="no type number"):
        bytes(Datagram(T.L1Accept, 1, 2, [Contribution("Epics.dbr_time_double", CAMERA)]))


@pytest.mark.parametrize(
    ("value", "kind"),
    [(1.5, "Double"), (np.float32(2.5), "Float"), (7, "Long"), (np.int16(-3), "Short"), (np.uint16(2), "Enum"),
     (np.uint8(9), "Char"), ("open", "String"), ([1.0, 2.0, float("inf")], "Double")],
)  # fmt: skip
def test_epics_records(value, kind):
    wanted = np.atleast_1d(value).tolist()
    time = decode_epics(epics_record(12, value, seconds=1436200001, nanoseconds=5, severity=2))
    assert time.xtc_type.name == f"Epics.EpicsPvTime{kind}" and time.pvId == 12
    assert list(time.data) == wanted and time.severity == 2
    assert time.stamp.sec == 1436200001 - 631152000 and time.stamp.nsec == 5
    ctrl = decode_epics(epics_record(12, value, name="XPP:MOTOR:01"))
    assert ctrl.xtc_type.name == f"Epics.EpicsPvCtrl{kind}"
    assert ctrl.pvName == "XPP:MOTOR:01" and list(ctrl.data) == wanted


def test_a_block_of_datagrams():
    template = Datagram(
        T.L1Accept, 0, 0, [Container(NODE, [Contribution(2, CAMERA, bytes(8)), Contribution(15, BEAM, bytes(16))])]
    )
    block = DatagramBlock(template, 50)
    block.payload(0, "<i4")[:] = np.arange(100).reshape(50, 2)
    block.payload(1, "<f8")[:, 1] = np.arange(50) / 8
    block.headers["seconds"] = range(50)
    table = walk_buffer(block.data.tobytes())
    assert len(block) == len(table.datagrams) == 50 and len(table.patterns) == 1
    assert table.datagrams["seconds"].tolist() == list(range(50))
    last = Datagram.parse(block.data[49]).children[0].children
    assert np.frombuffer(last[0].payload, "<i4").tolist() == [98, 99]
    assert np.frombuffer(last[1].payload, "<f8").tolist() == [0, 49 / 8]


def frames(number):
    return [Container(NODE, [Contribution("Camera.FrameV1", CAMERA, struct.pack("<2q", number, 0))])]


def test_a_run(tmp_path):
    with RunWriter(tmp_path, "e301", 5, streams=2, control_streams=[80], first_fiducial=MAX_FIDUCIALS - 6,
                   control_offset={80: 3}) as run:  # fmt: skip
        run.configure([Contribution("Opal1k.ConfigV1", CAMERA, bytes(24))], {80: frames(-1)})
        clocks = []
        for _ in range(2):
            run.begin_step([Contribution("ControlData.ConfigV3", Source(0, 0), bytes(28))])
            clocks += [run.event(frames(i), {80: frames(i)} if i == 1 else None, env=3) for i in range(4)]
    assert [path.name for path in run.paths] == [f"e301-r0005-s{s}-c00.xtc" for s in ("00", "01", "80")]
    tables = [walk_file(path) for path in run.paths]
    assert not any(table.problems for table in tables)
    rows = [table.datagrams for table in tables]
    step = [T.BeginCalibCycle, T.Enable, T.L1Accept, T.L1Accept, T.Disable, T.EndCalibCycle]
    assert service(rows[0]).tolist() == [T.Configure, T.BeginRun, *step, *step, T.EndRun, T.Unconfigure]
    transitions = [part[service(part) != T.L1Accept] for part in rows]
    for part in transitions:
        assert (part["seconds"] == transitions[0]["seconds"]).all() and (fiducials(part) == NO_FIDUCIAL).all()
        assert (part["nanoseconds"] == transitions[0]["nanoseconds"]).all() and (control(part) >= 0x80).all()
    assert [part["env"][1] for part in rows] == [5, 5, 5]
    configured = [table.patterns[table.datagrams["pattern"][0]].tolist() for table in tables]
    assert configured[0] == configured[1] != configured[2]
    events = [part[service(part) == T.L1Accept] for part in rows]
    assert np.stack([vector(events[0]), vector(events[1])], 1).ravel().tolist() == list(range(8))
    assert fiducials(events[0])[:2].tolist() == [MAX_FIDUCIALS - 6, 0], "fiducials wrap"
    assert events[0]["env"].tolist() == [3] * 4
    assert events[2]["seconds"].tolist() == [clocks[1].seconds + 3, clocks[5].seconds + 3]
    assert fiducials(events[2]).tolist() == [clocks[1].fiducials, clocks[5].fiducials]


def test_a_run_of_blocks_equals_a_run_of_events(tmp_path):
    def written(name, write):
        with RunWriter(tmp_path / name, "e1", 1, streams=3, chunk_size=1500) as run:
            run.begin_step()
            write(run)
        return {path.name: path.read_bytes() for path in run.paths}

    def one_by_one(run):
        for i in range(101):
            run.event(frames(i))

    def by_blocks(run):
        for first, stop in ((0, 1), (1, 50), (50, 101)):
            block = DatagramBlock(Datagram(T.L1Accept, 0, 0, frames(0)), stop - first)
            block.payload(0, "<i8")[:, 0] = range(first, stop)
            run.events(block)

    expected = written("a", one_by_one)
    assert len(expected) > 6, "there are several chunks"
    assert written("b", by_blocks) == expected


def test_chunks_go_on_where_the_former_ended(tmp_path):
    with StreamWriter(tmp_path, "e1", 2, 5, chunk_size=400) as stream:
        stream.write(Datagram(T.Configure, 1, 0))
        for i in range(20):
            stream.write(Datagram(T.L1Accept, 2 + i, 0, frames(i)))
        stream.write(Datagram(T.Disable, 50, 0))
    tables = [walk_file(path) for path in stream.paths]
    assert [path.name for path in stream.paths] == [f"e1-r0002-s05-c{c:02d}.xtc" for c in range(len(tables))]
    assert len(tables) > 4 and all(400 <= table.size < 600 for table in tables[:-1])
    seconds = np.concatenate([table.datagrams["seconds"] for table in tables])
    assert seconds.tolist() == [1, *range(2, 22), 50]


def test_a_given_stream_and_a_mistaken_one(tmp_path):
    with RunWriter(tmp_path, "e1", 1, streams=[2, 4]) as run:
        for stream in (4, 4, 2):
            run.event(stream=stream)
        with pytest.raises(ValueError, match="no DAQ stream 3"):
            run.event(stream=3)
    counts = [int((service(walk_file(path).datagrams) == T.L1Accept).sum()) for path in run.paths]
    assert counts == [1, 2]


def test_a_run_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        RunWriter(tmp_path / "file" / "xtc", "e1", 1)
    with pytest.raises(ValueError, match="divides 360"):
        RunWriter(tmp_path, "e1", 1, rate=7)


def test_an_error_inside_leaves_a_run_without_an_end(tmp_path):
    with pytest.raises(ZeroDivisionError), RunWriter(tmp_path, "e1", 1) as run:
        run.event(frames(0))
        _ = 1 // 0
    rows = walk_file(run.paths[0]).datagrams
    assert service(rows)[-1] == T.L1Accept, "the run looks like one whose recorder died"
