"""`psana dump`: what it prints, what narrows it, and how it ends when something is wrong."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from psanacli.commands.main import run
from psanacli.xtc import Container, Contribution, Datagram, Source, Transition, epics_record, named, node
from psanacli.xtc.encode import encode

CAMERA = Source.parse("XppEndstation.0:Opal1000.1", process=5102)
BEAM = Source.parse("EBeam", process=5401)
ANDOR = Source.parse("SxrEndstation.0:Andor.0", process=5102)
NODE = node("172.21.38.41", 5102)
PSANA = [sys.executable, "-c", "from psanacli.commands.main import main; main()"]
T = Transition


def frame(number):
    values = {"width": 3, "height": 2, "depth": 12, "offset": 32, "_int_pixel_data": [number, 0] * 6}
    return Contribution("Camera.FrameV1", CAMERA, encode("Camera.FrameV1", values))


def beam(charge, damage=0):
    payload = encode("Bld.BldDataEBeamV7", {"ebeamCharge": charge, "damageMask": 1})
    return Contribution("Bld.BldDataEBeamV7", BEAM, payload, damage=damage)


def event(number, *children):
    return Datagram(T.L1Accept, 1_500_000_000 + number, 5, [Container(NODE, list(children))], 3 * number, vector=number)


def transition(kind, *children):
    return Datagram(kind, 1_500_000_000, 1, list(children))


def configure():
    config = encode("Andor.ConfigV1", {"width": 4, "height": 4, "binX": 2, "binY": 2})
    return transition(T.Configure, Container(NODE, [Contribution("Andor.ConfigV1", ANDOR, config)]))


@pytest.fixture
def path(tmp_path):
    """A file with four events."""
    datagrams = [configure(), transition(T.BeginRun), transition(T.BeginCalibCycle), transition(T.Enable)]
    datagrams += [event(number, frame(number), beam(number / 2, damage=0x4000 * (number == 2))) for number in range(4)]
    datagrams += [transition(kind) for kind in (T.Disable, T.EndCalibCycle, T.EndRun)]
    path = tmp_path / "e158-r0054-s00-c00.xtc"
    path.write_bytes(b"".join(map(bytes, datagrams)))
    return path


@pytest.fixture
def dump(capsys):
    """Run `psana dump`, return exit code, stdout and stderr."""

    def call(*words):
        code = run(["dump", *map(str, words)])
        return code, *capsys.readouterr()

    return call


def test_text(dump, path):
    code, out, err = dump(path)
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == f"{path}: {path.stat().st_size / 1000:.3g} kB, 11 datagrams"
    assert "event 0  2017-07-14T02:40:00.000000005Z  fiducials 0  env 0x0  at" in out
    assert out.count("Camera.FrameV1") == 4
    assert "        width = 3\n" in out
    assert "        data8 = does not apply\n" in out
    assert "        data16 = uint16[2, 3] [[3, 3, 3], [3, 3, 3]]\n" in out
    assert out.count("damage 0x4000 (UserDefined)") == 1


def test_json_of_several_files(dump, path):
    code, out, _ = dump(path, path, "--json")
    assert code == 0
    decoder = json.JSONDecoder()
    first, end = decoder.raw_decode(out)
    second, _ = decoder.raw_decode(out[end:].lstrip())
    assert first == second
    assert first["file"] == path.name
    assert first["size"] == first["end"] == path.stat().st_size
    assert [dgram["transition"] for dgram in first["dgrams"][3:6]] == ["Enable", "L1Accept", "L1Accept"]
    assert first["dgrams"][5]["xtcs"][2]["data"]["ebeamCharge"] == 0.5


def test_what_narrows(dump, path):
    def shown(*words):
        code, out, _ = dump(path, "--json", *words)
        assert code == 0
        return [(dgram["transition"], [x["type"] for x in dgram["xtcs"]]) for dgram in json.loads(out)["dgrams"]]

    assert shown("--events", "1:3") == [("L1Accept", ["Xtc", "Frame", "EBeamBld"])] * 2
    assert shown("--events=-1", "--types", "EBEAM*") == [("L1Accept", ["EBeamBld"])]
    assert shown("--types", "camera.frame?1") == [("L1Accept", ["Frame"])] * 4
    assert shown("--types", "Frame_v1", "--types", "EBeamBld") == [("L1Accept", ["Frame", "EBeamBld"])] * 4
    assert shown("--sources", "*:Opal1000.1", "--events", ":2") == [("L1Accept", ["Frame"])] * 2
    assert shown("--sources", "EBeam", "--types", "Frame", "--sources", "*:Opal1000.*") == [("L1Accept", ["Frame"])] * 4


def test_headers_only(dump, path):
    code, out, _ = dump(path, "--headers")
    assert code == 0
    assert "Camera.FrameV1  at" in out
    assert "width" not in out
    _, out, _ = dump(path, "--headers", "--json", "--events", "0")
    assert "data" not in json.loads(out)["dgrams"][0]["xtcs"][1]


@pytest.mark.parametrize("events", ["4", "7:9", "4:"])
def test_events_behind_the_last(dump, path, events):
    code, out, err = dump(path, "--json", "--events", events)
    assert (code, out) == (3, "")
    assert f"there is no event {events.partition(':')[0]}" in err
    assert f"{path.name} has 4 events" in err


def test_a_pattern_that_matches_nothing(dump, path):
    code, _, err = dump(path, "--types", "EBeamBlt")
    assert code == 3
    assert "no type matches EBeamBlt" in err
    assert "did you mean EBeamBld" in err
    code, _, err = dump(path, "--sources", "*:Opal1000.7")
    assert code == 3
    assert "no source matches *:Opal1000.7" in err


def test_a_file_that_does_not_exist(dump, tmp_path):
    code, out, err = dump(tmp_path / "none.xtc")
    assert (code, out) == (3, "")
    assert "none.xtc: no such file" in err


def test_a_configuration_from_the_first_chunk(dump, tmp_path):
    pixels = np.arange(4, dtype="<u2").tobytes()
    image = Contribution("Andor.FrameV1", ANDOR, bytes(12) + pixels)
    (tmp_path / "e158-r0054-s00-c00.xtc").write_bytes(bytes(configure()))
    later = tmp_path / "e158-r0054-s00-c01.xtc"
    later.write_bytes(bytes(event(0, image)) + bytes(transition(T.EndRun)))
    code, out, err = dump(later, "--json")
    assert (code, err) == (0, "")
    item = json.loads(out)["dgrams"][0]["xtcs"][1]
    assert item["config"] == "Andor.ConfigV1"
    assert item["data"]["data"]["values"] == [0, 1, 2, 3]


def test_no_configuration_at_all(dump, tmp_path):
    later = tmp_path / "e158-r0054-s00-c01.xtc"
    later.write_bytes(bytes(event(0, Contribution("Andor.FrameV1", ANDOR, bytes(20)))))
    code, out, err = dump(later, "--json")
    assert code == 0
    assert json.loads(out)["dgrams"][0]["xtcs"][1]["data"] is None
    assert "Andor.FrameV1 needs a configuration object of its source" in err
    assert "there is no Configure, and no earlier chunk" in err


def test_an_object_too_short_for_its_counts(dump, tmp_path):
    wrong = encode("Camera.FrameV1", {"width": 60000, "height": 2, "depth": 8})
    path = tmp_path / "wrong.xtc"
    path.write_bytes(bytes(event(0, frame(0))) + bytes(event(1, Contribution("Camera.FrameV1", CAMERA, wrong))))
    code, out, err = dump(path, "--json")
    assert code == 4
    assert len(json.loads(out)["dgrams"]) == 1
    assert f"{path}: at offset" in err
    assert "Camera.FrameV1: needs 120016 bytes" in err
    assert len(err.splitlines()) == 1


def test_a_damaged_object_is_only_noted(dump, tmp_path):
    wrong = encode("Camera.FrameV1", {"width": 60000, "height": 2, "depth": 8})
    path = tmp_path / "damaged.xtc"
    path.write_bytes(bytes(event(0, Contribution("Camera.FrameV1", CAMERA, wrong, damage=1 << 15))))
    code, out, err = dump(path, "--json")
    assert code == 0
    assert json.loads(out)["dgrams"][0]["xtcs"][1]["data"] is None
    assert "a damaged object that cannot be decoded" in err


def test_two_damaged_files_are_both_named(dump, path, tmp_path):
    cut = []
    for name, size in (("one.xtc", 700), ("two.xtc", 1000)):
        (tmp_path / name).write_bytes(path.read_bytes()[:size])
        cut.append(tmp_path / name)
    code, _, err = dump(*cut)
    assert code == 4
    assert all(f"{name}: at offset" in err for name in cut)


def test_epics_records_show_name_and_alarm(dump, tmp_path):
    archiver = Source.parse("EpicsArch.0:NoDevice.0")
    path = tmp_path / "epics.xtc"
    record = Contribution(0x0001000D, archiver, epics_record(3, [1.5], name="XPP:PV"))
    path.write_bytes(bytes(transition(T.Configure, Container(NODE, [record]))) + bytes(transition(T.EndRun)))
    code, out, _ = dump(path)
    assert code == 0
    assert "pvName = 'XPP:PV'" in out
    assert "data = float64[1] [1.5]" in out


def test_a_closed_pipe_is_quiet(path):
    big = path.with_name("many.xtc")
    big.write_bytes(path.read_bytes() * 200)
    dump = subprocess.Popen([*PSANA, "dump", str(big)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert dump.stdout is not None and dump.stderr is not None
    dump.stdout.readline()
    dump.stdout.close()
    err = dump.stderr.read()
    dump.stderr.close()
    assert (dump.wait(60), err) == (0, b"")


def test_memory_does_not_grow_with_the_file(tmp_path):
    """A dump of 3000 frames of 64 kB, 200 MB in all, takes what a dump of one takes."""
    pixels = np.zeros((256, 128), "<u2").tobytes()
    head = np.array([128, 256, 16, 0], "<u4").tobytes()
    one = bytes(event(0, Contribution("Camera.FrameV1", CAMERA, head + pixels)))
    path = tmp_path / "big.xtc"
    with open(path, "wb") as file:
        for _ in range(3000):
            file.write(one)
    # VmHWM is the peak of the program itself; the peak of getrusage may be that of the process that started it.
    script = (
        "import sys; from psanacli.commands.main import run; run(['dump', sys.argv[1], '--json']);"
        "status = dict(line.split(':', 1) for line in open('/proc/self/status'));"
        "print(status['VmHWM'].split()[0], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True
    )
    assert int(done.stderr.split()[-1]) < 150_000  # kB
    os.remove(path)


def test_help_has_examples(dump):
    code, out, _ = dump("--help")
    assert code == 0
    assert "psana dump e158-r0054-s00-c00.xtc --events 0:3" in out


def test_types_of_the_examples_exist():
    assert named("Camera.FrameV1").type_word == 0x00010002
