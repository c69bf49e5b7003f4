"""Low gain pedestals of an ePix10ka in its automatic modes, and its gains: from constants of charge injection.

In the dark no pixel switches to low gain, so those pedestals are derived; and the dark tells no gain.  Source of the
rules: reference of the original's calibration, 5.5 (ePix10ka).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.calib import identity, read_text
from psanacli.dark.further import NOMINAL_GAINS
from psanacli.dark.modes import EPIX10KA_NAMES
from psanacli.dark.result import DarkResult
from psanacli.errors import ConstantsError, NotFoundError

Array = NDArray[Any]

_FL = EPIX10KA_NAMES.index("FL")
_MODES = (("AHL", "AHL-H", "AHL-L"), ("AML", "AML-M", "AML-L"))
_NAME = re.compile(r".*_(\d{14})_.*?_(offset|gain|offsetph)_([A-Z]+(?:-[HML])?)\.dat")


def low_gain_pedestals(
    pedestals: Array, offset: Array, offset_low: Array, gain: Array, gain_low: Array
) -> NDArray[np.float64]:
    """Return the pedestals of the low gain range of an automatic mode.

    Parameters
    ----------
    pedestals : ndarray
        Measured in the dark in the range before switching, ADU.
    offset, offset_low, gain, gain_low : ndarray
        From charge injection: where the lines of both ranges cross zero charge, ADU, and their slopes.

    Returns
    -------
    ndarray of float64
        ``offset_low - (offset - pedestals) * gain_low / gain``; 0 where the gain is 0.
    """
    known = np.asarray(gain) != 0
    ratio = np.divide(gain_low, gain, out=np.zeros(np.shape(gain)), where=known)
    found: NDArray[np.float64] = np.where(known, offset_low - (offset - np.asarray(pedestals, np.float64)) * ratio, 0)
    return found


def with_low_gain(result: DarkResult, repository: Path) -> DarkResult:
    """Derive the pedestals of AHL-L and AML-L of all panels, and the gains, from a repository of the facility.

    Gains of charge injection are relative: each is scaled so that its median is the nominal gain of the range.

    Parameters
    ----------
    result : DarkResult
        Of an ePix10ka.
    repository : Path
        A directory a panel, named by its identification; somewhere below are files
        ``*_<YYYYmmddHHMMSS>_*_<offset|gain>_<AHL-H|AHL-L|AML-M|AML-L>.dat`` (gains also of FH, FM and FL), or
        ``..._offsetph_<AHL|AML>.dat`` with what the pedestals differ from those of the fixed low gain.  The newest not
        later than the run count (UTC).

    Returns
    -------
    DarkResult
        A panel without either keeps what it has, and a note tells so; gains without a file are nominal.

    Raises
    ------
    NotFoundError
        There is no such directory.
    ConstantsError
        The detector has no automatic modes, or its configuration does not tell its panels, or a file is wrong.
    """
    if not repository.is_dir():
        raise NotFoundError(f"{repository} is no directory")
    plan = result.plan
    if not plan.source.partition(":")[2].startswith("Epix10ka"):
        raise ConstantsError(f"{plan.source} has no constants of charge injection", "only ePix10ka have")
    frames = plan.frames[-1]
    ids = _panels(frames.run, plan.source, plan.shape[0])
    start = frames.run.start
    when = "9" * 14 if start is None else re.sub(r"\D", "", str(start))[:14]
    measured = result.constants["pedestals"]
    low = measured.astype(np.float64)
    derived: dict[int, Array] = {}
    notes = []
    for short, high_name, low_name in _MODES:
        high, target = EPIX10KA_NAMES.index(high_name), EPIX10KA_NAMES.index(low_name)
        derived[target] = low[target]
        for panel, name in enumerate(ids):
            files = _newest(repository / name, when)
            keys = [(kind, mode) for kind in ("offset", "gain") for mode in (high_name, low_name)]
            if all(key in files for key in keys):
                offset, offset_low, gain, gain_low = (_read(files[key], plan.shape[1:]) for key in keys)
                derived[target][panel] = low_gain_pedestals(measured[high, panel], offset, offset_low, gain, gain_low)
            elif ("offsetph", short) in files:
                derived[target][panel] = low[_FL, panel] + _read(files["offsetph", short], plan.shape[1:])
            else:
                notes.append(f"panel {panel} ({name}): no constants of charge injection for {low_name}")
    gains: dict[tuple[int, int], Array] = {}
    for panel, name in enumerate(ids):
        files = _newest(repository / name, when)
        for index, mode in enumerate(EPIX10KA_NAMES):
            if ("gain", mode) in files:
                gains[index, panel] = _scaled(files["gain", mode], plan.shape[1:], NOMINAL_GAINS[index])
    return replace(result, derived=derived, gains=gains, notes=(*result.notes, *notes))


def _scaled(path: Path, shape: tuple[int, ...], nominal: float) -> Array:
    """Return gains whose median is the nominal one."""
    gains = _read(path, shape)
    median = float(np.median(gains))
    if not np.isfinite(median) or median == 0:
        raise ConstantsError(f"{path}: the median of the gains is {median:g}, so they cannot be scaled")
    return gains * (nominal / median)


def _panels(run: Any, source: str, count: int) -> list[str]:
    """Return the identifications of the panels."""
    for key in run.config:
        if key.source.name == source and key.xtc_type.name.startswith("Epix.Config10ka"):
            ids = identity(run.config[key].asdict()).split("_")
            if len(ids) == count:
                return ids
    raise ConstantsError(f"{source}: its configuration does not tell which panels it has")


def _newest(directory: Path, when: str) -> dict[tuple[str, str], Path]:
    """Return the newest files of a panel by what they hold."""
    found: dict[tuple[str, str], tuple[str, Path]] = {}
    paths: Iterable[Path] = sorted(directory.rglob("*.dat")) if directory.is_dir() else ()
    for path in paths:
        match = _NAME.fullmatch(path.name)
        if match and match.group(1) <= when:
            key = match.group(2), match.group(3)
            found[key] = max(found.get(key, ("", path)), (match.group(1), path))
    return {key: path for key, (_, path) in found.items()}


def _read(path: Path, shape: tuple[int, ...]) -> Array:
    array = read_text(path, "f8", use_cache=False).text.values
    if array.size != np.prod(shape):
        raise ConstantsError(f"{path}: {array.shape} numbers, a panel has {shape}")
    return array.reshape(shape)
