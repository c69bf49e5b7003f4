"""Detectors: one lookup from the names that users know to data, constants and corrected images."""

from psanacli.detector.acqiris import Acqiris, WaveformBlock, Waveforms
from psanacli.detector.area import AreaDetector, ImageBlock
from psanacli.detector.cameras import Camera, Fccd960
from psanacli.detector.constants import DetectorConstants
from psanacli.detector.images import has_image
from psanacli.detector.jungfrau_segments import JungfrauPiece, SegmentedJungfrau
from psanacli.detector.lookup import find_detector, those_with_pixels
from psanacli.detector.monitors import Encoder, Ipimb, OceanOptics, Tdc, UsdUsb
from psanacli.detector.panels import Cspad, Cspad2x2, Pnccd
from psanacli.detector.ranged import Epix10ka, Jungfrau, RangedDetector
from psanacli.detector.records import RecordDetector
from psanacli.detector.timing import EpicsTimeTool, Evr, TimeTool
from psanacli.detector.together import correct_together, image_shape
from psanacli.detector.variables import ControlData, EpicsDetector
from psanacli.detector.waveforms import EpixSampler, Generic1D, Imp
from psanacli.run import JoinedElement

__all__ = [
    "Acqiris",
    "AreaDetector",
    "Camera",
    "ControlData",
    "Cspad",
    "Cspad2x2",
    "DetectorConstants",
    "Encoder",
    "EpicsDetector",
    "EpicsTimeTool",
    "Epix10ka",
    "EpixSampler",
    "Evr",
    "Fccd960",
    "Generic1D",
    "ImageBlock",
    "Imp",
    "Ipimb",
    "JoinedElement",
    "Jungfrau",
    "JungfrauPiece",
    "OceanOptics",
    "Pnccd",
    "RangedDetector",
    "RecordDetector",
    "SegmentedJungfrau",
    "Tdc",
    "TimeTool",
    "UsdUsb",
    "WaveformBlock",
    "Waveforms",
    "correct_together",
    "find_detector",
    "has_image",
    "image_shape",
    "those_with_pixels",
]
