"""Sources and the strings that select them."""

import pytest

from psanacli.errors import UsageError
from psanacli.xtc import NO_SOURCE, Level, Source, SourceMatch

CAMERA = Source.parse("XppEndstation.0:Opal1000.1", process=5102)


def test_spellings_of_a_detector():
    assert CAMERA == Source(0x010013EE, 0x16000301)
    assert CAMERA.text == str(CAMERA) == "DetInfo(XppEndstation.0:Opal1000.1)"
    assert (CAMERA.name, CAMERA.daq_name) == ("XppEndstation.0:Opal1000.1", "XppEndstation-0|Opal1000-1")
    assert (CAMERA.detector, CAMERA.det_id, CAMERA.device, CAMERA.dev_id) == ("XppEndstation", 0, "Opal1000", 1)
    assert (CAMERA.level, CAMERA.level_name, CAMERA.process) == (Level.Source, "Source", 5102)
    assert repr(CAMERA) == "Source('DetInfo(XppEndstation.0:Opal1000.1)')"


def test_spellings_of_the_other_kinds():
    beam = Source.parse("XCS-IPM-02")
    assert (beam.level, beam.bld, beam.text, beam.daq_name) == (
        Level.Reporter,
        "XCS-IPM-02",
        "BldInfo(XCS-IPM-02)",
        "XCS-IPM-02",
    )
    computer = Source.parse("ProcInfo(172.21.1.2)", process=4711)
    assert (computer.text, computer.ip) == ("ProcInfo(172.21.1.2, pid=4711)", "172.21.1.2")
    assert (computer.level, computer.daq_name) == (Level.Segment, "Segment")
    assert NO_SOURCE.is_none and NO_SOURCE.text == NO_SOURCE.name == ""


def test_numbers_without_a_name():
    assert Source(1 << 24, 0xFA00FB00).text == "DetInfo(-Invalid-.0:-Invalid-.0)"
    assert Source(6 << 24, 5000).text == "BldInfo(-Invalid-)"
    strange = Source(9 << 24 | 3, 1)
    assert (strange.level, strange.level_name, strange.text) == (9, "-Invalid-", "ProcInfo(0.0.0.1, pid=3)")


def test_the_process_does_not_matter():
    assert CAMERA.same_as(Source.parse("XppEndstation-0|Opal1000-1", process=1))
    assert not CAMERA.same_as(Source.parse("XppEndstation.0:Opal1000.2", process=5102))
    assert not CAMERA.same_as(Source(Level.Reporter << 24, CAMERA.phy))


def test_order_of_event_keys_is_level_and_signed_number():
    sources = [Source(1 << 24, 0x80000000), Source(0, 5), Source(1 << 24, 1)]
    assert sorted(sources, key=lambda source: source.identity) == [sources[1], sources[0], sources[2]]


def test_pieces_of_a_jungfrau():
    piece = Source.parse("MfxEndstation.19:JungfrauSegmentM2.20", process=9)
    whole, first, modules, total = piece.segment
    assert whole == Source.parse("MfxEndstation.1:Jungfrau.1", process=9)
    assert (first, modules, total) == (4, 2, 3)
    assert CAMERA.segment is None and Source(0, piece.phy).segment is None


@pytest.mark.parametrize(
    ("text", "printed", "exact"),
    [
        ("", "", False),
        ("  ", "", False),
        ("*", "DetInfo(*.*:*.*)", False),
        (":Opal1000", "DetInfo(*.*:Opal1000.*)", False),
        ("XppEndstation.0", "DetInfo(XppEndstation.0:*.*)", False),
        (" DetInfo (XppEndstation-0|Opal1000-1) ", "DetInfo(XppEndstation.0:Opal1000.1)", True),
        ("XppEndstation.256:Opal1000.257", "DetInfo(XppEndstation.0:Opal1000.1)", True),
        ("XppEndstation.255:Opal1000.1", "DetInfo(XppEndstation.*:Opal1000.1)", False),
        ("epicsArch.0:TM6740.0", "DetInfo(EpicsArch.0:Tm6740.0)", True),
        ("BldInfo()", "BldInfo()", False),
        ("ProcInfo()", "ProcInfo(255.255.255.255, pid=0)", False),
        ("ProcInfo(1.2.3.4)", "ProcInfo(1.2.3.4, pid=0)", True),
    ],
)
def test_what_strings_mean(text, printed, exact):
    match = SourceMatch.parse(text)
    assert (str(match), match.exact) == (printed, exact)


@pytest.mark.parametrize(
    "text",
    ["Cspad", "opal1000", "DetInfo(x", "DetInfo(EBeam)", "BldInfo(*)", "ProcInfo(1.2.3)", "ProcInfo(1.2.3.256)",
     "CxiDs1.0:Cspad.0:x", "CxiDs1.0|Cspad.0", "CxiDs1.x", "CxiDs1.99999999999", "ProcInfo(1.2.3.4, pid=5)"],
)  # fmt: skip
def test_strings_that_mean_nothing(text):
    with pytest.raises(UsageError, match="cannot be parsed") as caught:
        SourceMatch.parse(text)
    assert caught.value.hint and caught.value.exit_code == 2


def test_a_miss_shows_the_nearest_names():
    with pytest.raises(UsageError) as caught:
        SourceMatch.parse("cam_1", {"cam1": CAMERA})
    assert "cam1" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        SourceMatch.parse("ebeam")
    assert "EBeam" in caught.value.hint


def test_aliases_come_first():
    assert SourceMatch.parse("EBeam", {"EBeam": CAMERA}).matches(CAMERA)
    with pytest.raises(UsageError):
        SourceMatch.parse("DetInfo(cam)", {"cam": CAMERA})


def test_matching():
    beam, computer = Source.parse("EBeam"), Source.parse("ProcInfo(1.2.3.4)", level=Level.Control)
    everything = [CAMERA, beam, computer, NO_SOURCE]

    def chosen(match):
        return [source for source in everything if match.matches(source)]

    assert chosen(SourceMatch.parse("")) == everything
    assert chosen(SourceMatch.parse("DetInfo()")) == [CAMERA]
    assert chosen(SourceMatch.parse("XppEndstation.1")) == []
    assert chosen(SourceMatch.parse("BldInfo()")) == chosen(SourceMatch.parse("EBeam")) == [beam]
    assert chosen(SourceMatch.parse("ProcInfo(1.2.3.4)")) == chosen(SourceMatch.parse("ProcInfo()")) == [computer]
    assert chosen(SourceMatch.of(NO_SOURCE)) == [NO_SOURCE] and SourceMatch.of(NO_SOURCE).exact
    assert SourceMatch.of(CAMERA) == SourceMatch.parse(CAMERA.name)


def test_only_an_exact_string_names_a_source():
    with pytest.raises(UsageError, match="does not name one"):
        Source.parse(":Opal1000")
