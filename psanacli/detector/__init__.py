"""Detectors: one lookup from the names that users know to data, constants and corrected images."""

from psanacli.detector.area import AreaDetector, ImageBlock
from psanacli.detector.constants import DetectorConstants
from psanacli.detector.lookup import find_detector

__all__ = ["AreaDetector", "DetectorConstants", "ImageBlock", "find_detector"]
