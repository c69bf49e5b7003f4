"""Names of detectors and variables forgive case and dashes, and say what they may have meant."""

from __future__ import annotations

import pytest

from psanacli.errors import NotFoundError, UsageError
from psanacli.run.names import DetectorNames, Names
from psanacli.xtc import Source

CAMERA, SECOND, CSPAD, BEAM, MONITOR = map(
    Source.parse,
    [
        "XppEndstation.0:Opal1000.0",
        "XppEndstation.0:Opal1000.1",
        "XppGon.0:Cspad.0",
        "EBeam",
        "XCS-IPM-02",
    ],
)
ABSENT = Source.parse("XppGon.0:Epix100a.0")


@pytest.fixture
def names() -> DetectorNames:
    keys = [
        ("Camera.FrameV1", CAMERA),
        ("Opal1k.ConfigV1", CAMERA),
        ("Camera.FrameV1", SECOND),
        ("CsPad.DataV2", CSPAD),
        ("CsPad.ConfigV5", CSPAD),
        ("Bld.BldDataEBeamV7", BEAM),
        ("Lusi.IpmFexV1", MONITOR),
    ]
    return DetectorNames(keys, {"opal_0": CAMERA, "DscCsPad": CSPAD, "epix": ABSENT})


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("opal_0", CAMERA),
        ("OPAL-0", CAMERA),
        ("dsccspad", CSPAD),
        ("XppGon.0:Cspad.0", CSPAD),
        ("xppgon.0:cspad.0", CSPAD),
        ("DetInfo(XppGon.0:Cspad.0)", CSPAD),
        ("XppGon-0|Cspad-0", CSPAD),
        ("Cspad", CSPAD),
        ("cspad.0", CSPAD),
        ("XppGon", CSPAD),
        (":Cspad.*", CSPAD),
        ("opal1000.1", SECOND),
        ("ebeam", BEAM),
        ("BldInfo(EBeam)", BEAM),
        ("xcs_ipm_02", MONITOR),
        ("  EBeam ", BEAM),
    ],
)
def test_one_detector_has_many_names(names: DetectorNames, name: str, source: Source) -> None:
    assert names.find(name).source.same_as(source)


@pytest.mark.parametrize(
    ("name", "types"),
    [
        ("cspad", ("CsPad.DataV2", "CsPad.ConfigV5")),
        ("cspad/DataV2", ("CsPad.DataV2",)),
        ("cspad/data", ("CsPad.DataV2",)),
        ("DscCsPad/cspad.configv5", ("CsPad.ConfigV5",)),
        ("XppEndstation.0:Opal1000.0/Camera.Frame", ("Camera.FrameV1",)),
    ],
)
def test_a_type_may_be_added(names: DetectorNames, name: str, types: tuple[str, ...]) -> None:
    assert names.find(name).types == types


def test_a_field_stands_behind_the_last_name_that_fits(names: DetectorNames) -> None:
    assert names.find_field("EBeam.ebeamPhotonEnergy") == (names.find("EBeam"), "ebeamPhotonEnergy")
    assert names.find_field("XppGon.0:Cspad.0.quads.virtual_channel") == (names.find("Cspad"), "quads.virtual_channel")
    assert names.find_field("opal_0/Camera.FrameV1.width") == (names.find("opal_0/FrameV1"), "width")
    assert names.find_field("XppGon.0:Cspad.0") == (names.find("Cspad"), "")
    with pytest.raises(NotFoundError, match=r"did you mean EBeam"):
        names.find_field("EBaem.charge")


def test_several_candidates_are_listed(names: DetectorNames) -> None:
    with pytest.raises(UsageError, match="ambiguous") as caught:
        names.find("Opal1000")
    assert "XppEndstation.0:Opal1000.0 (opal_0)" in caught.value.hint
    assert "XppEndstation.0:Opal1000.1" in caught.value.hint


def test_a_miss_shows_the_nearest(names: DetectorNames) -> None:
    with pytest.raises(NotFoundError, match="did you mean DscCsPad") as caught:
        names.find("DscCsPd")
    assert caught.value.exit_code == 3
    with pytest.raises(NotFoundError, match=r"the run has XppEndstation\.0:Opal1000\.0 \(opal_0\)"):
        names.find("?????")
    with pytest.raises(NotFoundError, match=r"its types are|did you mean CsPad.DataV2"):
        names.find("cspad/DataV9")


def test_an_alias_without_data_says_so(names: DetectorNames) -> None:
    with pytest.raises(NotFoundError, match=r"alias of DetInfo\(XppGon\.0:Epix100a\.0\)"):
        names.find("EPIX")


def test_case_decides_where_nothing_else_does() -> None:
    motors = Names[int]("EPICS variable")
    motors.add(1, "m-x", "first")
    motors.add(2, "M_X")
    motors.add(3, "first", "third")
    assert (motors.find("m-x"), motors.find("M_X"), motors.find("FIRST"), motors.find("Third")) == (1, 2, 1, 3)
    with pytest.raises(UsageError, match="it may be M_X, m-x"):
        motors.find("m_x")
    with pytest.raises(NotFoundError, match="no EPICS variable 'tird'"):
        motors.find("tird")
