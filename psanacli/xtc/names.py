"""Numbers and spellings of the data sources of LCLS-I.

The position of a name is its number in the data.  `*_NAMES` are the spellings of source strings and event keys;
`*_ENUMS` are the identifiers of the facility's programs (``DetInfo.AmoIms``), which differ in a few places.
"""

DETECTOR_NAMES = tuple(
    """
    NoDetector AmoIMS AmoGD AmoETOF AmoITOF AmoMBES AmoVMI AmoBPS Camp EpicsArch BldEb SxrBeamline SxrEndstation
    XppSb1Ipm XppSb1Pim XppMonPim XppSb2Ipm XppSb3Ipm XppSb3Pim XppSb4Pim XppGon XppLas XppEndstation
    AmoEndstation CxiEndstation XcsEndstation MecEndstation CxiDg1 CxiDg2 CxiDg3 CxiDg4 CxiKb1 CxiDs1 CxiDs2
    CxiDsu CxiSc1 CxiDsd XcsBeamline CxiSc2 MecXuvSpectrometer MecXrtsForw MecXrtsBack MecFdi MecTimeTool
    MecTargetChamber FeeHxSpectrometer XrayTransportDiagnostic Lamp MfxEndstation MfxDg1 MfxDg2 XrtDiag DetLab
    """.split()
)
"""Spellings of detectors in source strings."""

DETECTOR_ENUMS = tuple(
    """
    NoDetector AmoIms AmoGasdet AmoETof AmoITof AmoMbes AmoVmi AmoBps Camp EpicsArch BldEb SxrBeamline
    SxrEndstation XppSb1Ipm XppSb1Pim XppMonPim XppSb2Ipm XppSb3Ipm XppSb3Pim XppSb4Pim XppGon XppLas
    XppEndstation AmoEndstation CxiEndstation XcsEndstation MecEndstation CxiDg1 CxiDg2 CxiDg3 CxiDg4 CxiKb1
    CxiDs1 CxiDs2 CxiDsu CxiSc1 CxiDsd XcsBeamline CxiSc2 MecXuvSpectrometer MecXrtsForw MecXrtsBack MecFdi
    MecTimeTool MecTargetChamber FeeHxSpectrometer XrayTransportDiagnostic Lamp MfxEndstation MfxDg1 MfxDg2
    XrtDiag DetLab
    """.split()
)
"""Identifiers of detectors in programs."""

DEVICE_NAMES = tuple(
    """
    NoDevice Evr Acqiris Opal1000 Tm6740 pnCCD Princeton Fccd Ipimb Encoder Cspad AcqTDC Xamps Cspad2x2 Fexamp
    Gsc16ai Phasics Timepix Opal2000 Opal4000 OceanOptics Opal1600 Opal8000 Fli Quartz4A150 Andor USDUSB OrcaFl40
    Imp Epix Rayonix EpixSampler Pimax Fccd960 Epix10k Epix100a EpixS Gotthard DualAndor Wave8 LeCroy
    ControlsCamera Archon Jungfrau Zyla Epix10ka Pixis Uxi Epix10ka2M StreakC7700 Epix10kaQuad JungfrauSegment
    JungfrauSegmentM2 JungfrauSegmentM3 JungfrauSegmentM4 iStar QuadAdc Alvium
    """.split()
)
"""Spellings of devices in source strings."""

DEVICE_ENUMS = tuple(
    """
    NoDevice Evr Acqiris Opal1000 TM6740 pnCCD Princeton Fccd Ipimb Encoder Cspad AcqTDC Xamps Cspad2x2 Fexamp
    Gsc16ai Phasics Timepix Opal2000 Opal4000 OceanOptics Opal1600 Opal8000 Fli Quartz4A150 Andor USDUSB OrcaFl40
    Imp Epix Rayonix EpixSampler Pimax Fccd960 Epix10k Epix100a EpixS Gotthard DualAndor Wave8 LeCroy
    ControlsCamera Archon Jungfrau Zyla Epix10ka Pixis Uxi Epix10ka2M StreakC7700 Epix10kaQuad JungfrauSegment
    JungfrauSegmentM2 JungfrauSegmentM3 JungfrauSegmentM4 iStar QuadAdc Alvium
    """.split()
)
"""Identifiers of devices in programs."""

BLD_NAMES = tuple(
    """
    EBeam PhaseCavity FEEGasDetEnergy NH2-SB1-IPM-01 XCS-IPM-01 XCS-DIO-01 XCS-IPM-02 XCS-DIO-02 XCS-IPM-03
    XCS-DIO-03 XCS-IPM-03m XCS-DIO-03m XCS-YAG-1 XCS-YAG-2 XCS-YAG-3m XCS-YAG-3 XCS-YAG-mono XCS-IPM-mono
    XCS-DIO-mono XCS-DEC-mono MEC-LAS-EM-01 MEC-TCTR-PIP-01 MEC-TCTR-DI-01 MEC-XT2-IPM-02 MEC-XT2-IPM-03
    MEC-HXM-IPM-01 GMD CxiDg1_Imb01 CxiDg2_Imb01 CxiDg2_Imb02 CxiDg3_Imb01 CxiDg1_Pim CxiDg2_Pim CxiDg3_Pim
    XppMon_Pim0 XppMon_Pim1 XppSb2_Ipm XppSb3_Ipm XppSb3_Pim XppSb4_Pim XppEnds_Ipm0 XppEnds_Ipm1 MEC-XT2-PIM-02
    MEC-XT2-PIM-03 CxiDg3_Spec NH2-SB1-IPM-02 FEE-SPEC0 SXR-SPEC0 XPP-SPEC0 XCS-USR-IPM-01 XCS-USR-IPM-02
    XCS-USR-IPM-03 XCS-USR-IPM-04 XCS-IPM-04 XCS-DIO-04 XCS-IPM-05 XCS-DIO-05 XCS-IPM-gon XCS-IPM-ladm XPP-AIN-01
    XCS-AIN-01 AMO-AIN-01 MFX-BEAMMON-01 EOrbits MfxDg1_Pim MfxDg2_Pim SXR-AIN-01 HX2-SB1-BMMON XRT-USB-ENCODER-01
    XPP-USB-ENCODER-01 XPP-USB-ENCODER-02 XCS-USB-ENCODER-01 CXI-USB-ENCODER-01 XCS-SND-DIO MFX-USR-DIO
    XPP-SB2-BMMON XPP-SB3-BMMON HFX-DG2-BMMON XCS-SB1-BMMON XCS-SB2-BMMON CXI-DG2-BMMON CXI-DG3-BMMON
    MFX-DG1-BMMON MFX-DG2-BMMON MFX-AIN-01 MEC-AIN-01 FEE-AIN-01 MEC-XT2-BMMON-02 MEC-XT2-BMMON-03 XPP-USR-DIO
    XPP-ALC-DIO XCS-USR-DIO CXI-USR-DIO MEC-USR-DIO MFX-USB-ENCODER-01 HXX-DG1-BMMON-01 EM3L0-BMMON SP1L2-BMMON
    XRT-HRM-DIO
    """.split()
)
"""Spellings of beam-line data in source strings."""

BLD_ENUMS = tuple(
    """
    EBeam PhaseCavity FEEGasDetEnergy Nh2Sb1Ipm01 HxxUm6Imb01 HxxUm6Imb02 HfxDg2Imb01 HfxDg2Imb02 XcsDg3Imb03
    XcsDg3Imb04 HfxDg3Imb01 HfxDg3Imb02 HxxDg1Cam HfxDg2Cam HfxDg3Cam XcsDg3Cam HfxMonCam HfxMonImb01 HfxMonImb02
    HfxMonImb03 MecLasEm01 MecTctrPip01 MecTcTrDio01 MecXt2Ipm02 MecXt2Ipm03 MecHxmIpm01 GMD CxiDg1Imb01
    CxiDg2Imb01 CxiDg2Imb02 CxiDg3Imb01 CxiDg1Pim CxiDg2Pim CxiDg3Pim XppMonPim0 XppMonPim1 XppSb2Ipm XppSb3Ipm
    XppSb3Pim XppSb4Pim XppEndstation0 XppEndstation1 MecXt2Pim02 MecXt2Pim03 CxiDg3Spec Nh2Sb1Ipm02 FeeSpec0
    SxrSpec0 XppSpec0 XcsUsrIpm01 XcsUsrIpm02 XcsUsrIpm03 XcsUsrIpm04 XcsSb1Ipm01 XcsSb1Ipm02 XcsSb2Ipm01
    XcsSb2Ipm02 XcsGonIpm01 XcsLamIpm01 XppAin01 XcsAin01 AmoAin01 MfxBeamMon01 EOrbits MfxDg1Pim MfxDg2Pim
    SxrAin01 Hx2Sb1BeamMon XrtUsbEncoder01 XppUsbEncoder01 XppUsbEncoder02 XcsUsbEncoder01 CxiUsbEncoder01
    XcsSndDio MfxUsrDio XppSb2BeamMon XppSb3BeamMon HfxDg2BeamMon XcsSb1BeamMon XcsSb2BeamMon CxiDg2BeamMon
    CxiDg3BeamMon MfxDg1BeamMon MfxDg2BeamMon MfxAin01 MecAin01 FeeAin01 MecXt2BeamMon02 MecXt2BeamMon03 XppUsrDio
    XppAlcDio XcsUsrDio CxiUsrDio MecUsrDio MfxUsbEncoder01 HxxDg1BeamMon EM3L0BeamMon SP1L2BeamMon XrtHrmDio
    """.split()
)
"""Identifiers of beam-line data in programs."""

DETECTOR_SPELLINGS = {
    "AmoIms": 1,
    "amoIMS": 1,
    "AmoPem": 2,
    "amoGD": 2,
    "AmoGasdet": 2,
    "AmoETof": 3,
    "amoETOF": 3,
    "AmoITof": 4,
    "amoITOF": 4,
    "AmoMbs": 5,
    "amoMBES": 5,
    "AmoMbes": 5,
    "AmoIis": 6,
    "amoVMI": 6,
    "AmoVMI": 6,
    "AmoVmi": 6,
    "AmoBps": 7,
    "amoBPS": 7,
    "epicsArch": 9,
}
"""Further spellings of detectors that are accepted in source strings."""

DEVICE_SPELLINGS = {"TM6740": 4}
"""Further spellings of devices that are accepted in source strings."""

SEGMENT_DEVICES = {51: (43, 1), 52: (43, 2), 53: (43, 3), 54: (43, 4)}
"""Devices that are a piece of a larger one: number of the device of the whole, modules in the piece."""
