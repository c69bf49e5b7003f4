"""Gain modes: which events of dark runs belong to which gain range of a detector that switches gains.

Source of the rules: reference of the original's calibration, 5.5 (Jungfrau, ePix10ka) and 5.8.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from psanacli.calib import epix10ka_ranges
from psanacli.errors import ConstantsError, DataError
from psanacli.run import Run, Step
from psanacli.xtc import Record


@dataclass(frozen=True)
class GainMode:
    """A gain range, and how it is run in the dark.

    Attributes
    ----------
    index : int
        Of the range in the constants.
    name : str
    label : str
        How the step of a scan is called.
    gain : (int, int)
        Bits of a raw value that tell the range, and what they are in it; (0, 0) when they tell nothing.
    """

    index: int
    name: str
    label: str = ""
    gain: tuple[int, int] = (0, 0)


SINGLE = GainMode(0, "")
"""Of detectors that do not switch."""

_TWO_BITS, _SWITCHED = 0xC000, 0x4000

JUNGFRAU_MODES = {
    number: GainMode(index, name, gain=(_TWO_BITS, (0, 1, 3)[index] << 14))
    for number, index, name in (
        (0, 0, "Normal"),
        (1, 1, "FixedGain1"),
        (2, 2, "FixedGain2"),
        (3, 1, "ForcedGain1"),
        (4, 2, "ForcedGain2"),
        (5, 0, "HighGain0"),
    )
}
"""By the number in the configuration object."""

EPIX10KA_MODES = (
    GainMode(0, "FH", "dark Fixed High Gain"),
    GainMode(1, "FM", "dark Fixed Medium Gain"),
    GainMode(2, "FL", "dark Fixed Low Gain"),
    GainMode(3, "AHL-H", "dark Auto High to Low", (_SWITCHED, 0)),
    GainMode(4, "AML-M", "dark Auto Medium to Low", (_SWITCHED, 0)),
)
"""In the order of the steps."""

JUNGFRAU_NAMES = ("gain 0", "gain 1", "gain 2")
EPIX10KA_NAMES = (*(mode.name for mode in EPIX10KA_MODES), "AHL-L", "AML-L")


def mode_of_step(run: Run, source: str, step: Step) -> tuple[GainMode, str]:
    """Return the gain mode in which a step was taken, and what should be said of it.

    Raises
    ------
    DataError
        The configuration does not tell, or not what the label of the step says.
    """
    device = source.partition(":")[2]
    if device.startswith("Jungfrau"):
        return _jungfrau(step, run, source), ""
    if device.startswith("Epix10ka"):
        return _epix10ka(step, run, source)
    return SINGLE, ""


def _config(step: Step, run: Run, source: str, start: str) -> Record:
    moment = step.config if step.group >= 0 else run.config
    for key in moment:
        if key.source.name == source and key.xtc_type.name.startswith(start):
            return moment[key]
    raise DataError(f"run {run.number}: {source} has no configuration, which tells its gain mode")


def _jungfrau(step: Step, run: Run, source: str) -> GainMode:
    modes = {}
    for name in _pieces(run, source):
        config: Any = _config(step, run, name, "Jungfrau.Config")
        number = int(config.gainMode)
        modes[name] = JUNGFRAU_MODES.get(number)
        if modes[name] is None:
            raise DataError(f"run {run.number}: {name} has the gain mode {number}, which is unknown")
    if len({mode.name for mode in modes.values() if mode}) > 1:
        told = ", ".join(f"{name} in {mode.name}" for name, mode in modes.items() if mode)
        raise DataError(
            f"run {run.number}, step {step.number}: the pieces of {source} are in different gain modes: {told}"
        )
    mode = next(iter(modes.values()))
    assert mode is not None
    return mode


def _pieces(run: Run, source: str) -> list[str]:
    """Return the sources that a detector is read out as: one, but for those that come in pieces."""
    whole = run.wholes.get(source)
    return [source] if whole is None else [piece.name for piece, _ in whole.pieces]


def _epix10ka(step: Step, run: Run, source: str) -> tuple[GainMode, str]:
    place = f"run {run.number}, step {step.number}"
    name = source.partition(":")[2].replace(".", "-")
    labels = [value for label, value in step.labels.items() if name in label.replace(".", "-")]
    known = {mode.label: mode for mode in EPIX10KA_MODES}
    found = configured_epix10ka(_config(step, run, source, "Epix.Config10ka"))
    if labels and labels[0] not in known:
        raise DataError(
            f"{place}: the label {labels[0]!r} of {source} is none of {', '.join(known)}",
            "choose the dark steps with --where or --events",
        )
    if labels:
        mode = known[labels[0]]
        if found is not mode:
            seen = found.name if found else "none that is known"
            raise DataError(
                f"{place}: the label of {source} says {labels[0]!r} ({mode.name}), its configuration {seen}",
                "choose the dark steps with --where or --events",
            )
        return mode, ""
    ordered = EPIX10KA_MODES[step.number] if len(run.steps) == len(EPIX10KA_MODES) else None
    if found is not None:
        other = f", the order of steps {ordered.name}" if ordered is not None and ordered is not found else ""
        return found, f"{place}: no label; the configuration says {found.name}{other}"
    if ordered is None:
        raise DataError(
            f"{place}: {source} has no gain mode that is known",
            "there is no label, no range has most of its pixels, and the run does not have five steps",
        )
    return ordered, f"{place}: neither label nor configuration tell; taken as {ordered.name} by the order of steps"


def configured_epix10ka(config: Any) -> GainMode | None:
    """Return the gain mode of more than half of the pixels of a configuration, None when there is none."""
    panels = list(config.elemCfg) if "elemCfg" in dir(config) else [config]
    bits = np.array([panel.asicPixelConfigArray for panel in panels])
    trbits = np.array([[asic.trbit for asic in panel.asics] for panel in panels])
    ranges = epix10ka_ranges(bits, trbits)
    number, count = Counter(np.asarray(ranges.clear).ravel().tolist()).most_common(1)[0]
    if number >= len(EPIX10KA_MODES) or 2 * count <= bits.size:
        return None
    return EPIX10KA_MODES[number]


def names_of_ranges(source: str) -> tuple[str, ...]:
    """Return the names of the gain ranges of constants of a detector; none when it does not switch."""
    device = source.partition(":")[2]
    if device.startswith("Jungfrau"):
        return JUNGFRAU_NAMES
    if device.startswith("Epix10ka"):
        return EPIX10KA_NAMES
    return ()


def missing_ranges(source: str, there: set[int]) -> list[str]:
    """Return the names of the ranges that dark runs should have and these have not."""
    names = names_of_ranges(source)
    measured = len(EPIX10KA_MODES) if names is EPIX10KA_NAMES else len(names)
    return [names[index] for index in range(measured) if index not in there]


def fail_if_missing(source: str, there: set[int]) -> None:
    """Raise the error of gain ranges without dark events."""
    missing = missing_ranges(source, there)
    if missing:
        raise ConstantsError(
            f"{source}: there are no dark events in {', '.join(missing)}",
            "give all dark runs as data sources, or say --missing-ok to take what the original takes",
        )
