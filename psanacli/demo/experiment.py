"""The sample experiment: one run of a scan, in the directories of the facility."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from psanacli.demo import detectors
from psanacli.demo.detectors import DemoDetector, Scale
from psanacli.errors import OutputError, UsageError, did_you_mean
from psanacli.xtc import (
    EPICS,
    MAX_FIDUCIALS,
    Container,
    Contribution,
    DamageBit,
    Level,
    RunWriter,
    Source,
    encode,
    epics_record,
    node,
)

INSTRUMENT, EXPERIMENT, RUN, DARK_RUN = "XPP", "xppdemo26", 1, 2
DARK_EVENTS = 60
FIRST_FIDUCIAL, RATE = 16_947, 120
SCANNED = "XPP:LAS:DELAY"

CHOICES: dict[str, Callable[[Scale], DemoDetector]] = {
    "timing": detectors.timing,
    "ebeam": detectors.ebeam,
    "gas": detectors.gas_detector,
    "cavity": detectors.phase_cavity,
    "monitor": detectors.intensity_monitor,
    "digitizer": detectors.digitizer,
    "camera": detectors.camera,
    "cspad": detectors.cspad,
}
"""What can be in the run, by the name that the command line knows."""
IMAGES = {"camera": "opal_1", "cspad": "cspad"}
"""What a dark run has, with the timing; and the aliases of these."""
SMALL = ("timing", "ebeam", "gas", "cavity", "monitor", "digitizer")
"""What ``small`` stands for: everything but the images."""

_DAQ = Source.parse("ProcInfo(172.21.38.2)", 3977, Level.Control)
_EPICS = Source.parse("EpicsArch.0:NoDevice.0")


@dataclass(frozen=True)
class Sample:
    """What was written.

    Attributes
    ----------
    root : Path
        Directory to give as ``--root``.
    datasource : str
        The data source string of the run.
    paths : list of Path
        The files, by stream.
    size : int
        Bytes of all files.
    events, steps : int
    dark : str
        Data source of the dark run; empty when there is none.
    dark_paths : tuple of Path
        The files of the dark run.
    dark_detectors : tuple of str
        Aliases of the detectors of images in it.
    dark_events : int
        Its number of events.
    """

    root: Path
    datasource: str
    paths: list[Path]
    size: int
    events: int
    steps: int
    dark: str = ""
    dark_paths: tuple[Path, ...] = ()
    dark_detectors: tuple[str, ...] = ()
    dark_events: int = 0


def write_sample(
    root: Path | str,
    *,
    events: int | None = None,
    streams: int = 2,
    chosen: Sequence[str] = (),
    dark: bool = False,
    progress: Callable[[int], None] = lambda count: None,
) -> Sample:
    """Write the sample experiment below the directory `root`.

    Parameters
    ----------
    root : path
        Made if it does not exist; the run goes to ``XPP/xppdemo26/xtc`` in it.
    events : int, optional
        Number of events; 120 by default.
    streams : int
        Number of DAQ streams, which take turns.
    chosen : sequence of str
        Names of `CHOICES`, or ``small``.  Detectors that are asked for by name are written at their full size, in
        every event; without any all are written, small ones for a run of a few MB.
    dark : bool
        Write a dark run of 60 events of the images too, which comes after the run.
    progress : function
        Is told how many events are written, now and then.

    Raises
    ------
    UsageError
        A detector is not known, or a number is out of range.
    OutputError
        The files cannot be written.
    """
    count = 120 if events is None else events
    if count < 1 or not 1 <= streams <= 79:
        raise UsageError(f"{count} events in {streams} streams cannot be made", "at least 1 event, and 1 to 79 streams")
    names = _names(chosen)
    if dark and not any(name in IMAGES for name in names):
        raise UsageError(
            f"{', '.join(names)} have no images, and so no dark run", f"choose {' or '.join(IMAGES)} too (-d)"
        )
    steps = min(4, count)
    root = Path(root)
    home = root / INSTRUMENT / EXPERIMENT
    with _whole(home) as directory:
        written = _write(directory, RUN, names, _scale(count, steps, bool(chosen)), streams, progress)
        written_dark: Sequence[Path] = ()
        if dark:
            images = [name for name in names if name in (*IMAGES, "timing")]
            scale = _scale(DARK_EVENTS, 1, bool(chosen), dark=True)
            written_dark = _write(directory, DARK_RUN, images, scale, 1, lambda count: None)
    progress(count)
    paths = [home / "xtc" / path.name for path in written]
    size = sum(path.stat().st_size for path in paths)
    source = f"exp={EXPERIMENT}:run="
    sample = Sample(root, f"{source}{RUN}", paths, size, count, steps)
    if not dark:
        return sample
    dark_detectors = tuple(IMAGES[name] for name in names if name in IMAGES)
    return replace(
        sample,
        dark=f"{source}{DARK_RUN}",
        dark_paths=tuple(home / "xtc" / path.name for path in written_dark),
        dark_detectors=dark_detectors,
        dark_events=DARK_EVENTS,
    )


def _scale(count: int, steps: int, full_size: bool, *, dark: bool = False) -> Scale:
    fiducials = ((FIRST_FIDUCIAL + np.arange(count) * 3) % MAX_FIDUCIALS).astype(np.uint32)
    return Scale(count, np.arange(count) * steps // count, steps, full_size, fiducials, dark)


def _write(
    directory: Path,
    number: int,
    names: Sequence[str],
    scale: Scale,
    streams: int,
    progress: Callable[[int], None],
) -> Sequence[Path]:
    """Write one run; return its files."""
    instruments = [CHOICES[name](scale) for name in names]
    nodes = [node(f"172.21.38.{10 + place}", 5000 + place) for place in range(len(names))]
    start = 1_790_000_000 + 600 * (number - RUN)
    with RunWriter(
        directory, EXPERIMENT, number, streams=streams, start=start, rate=RATE, first_fiducial=FIRST_FIDUCIAL
    ) as run:
        run.configure(_configuration(instruments, nodes))
        for step in range(scale.steps):
            chosen = np.flatnonzero(scale.step_of == step)
            run.begin_step([_scan(step, scale.steps, len(chosen))])
            for event in chosen.tolist():
                run.event(list(_event(event, instruments, nodes, run)))
                if event % 256 == 0:
                    progress(event)
    return run.paths


@contextmanager
def _whole(home: Path) -> Iterator[Path]:
    """Give a directory to write to; what is in it takes the place of an older sample when all went well."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".writing-", dir=home) as directory:
            yield Path(directory)
            final = home / "xtc"
            final.mkdir(exist_ok=True)
            for old in final.glob(f"{EXPERIMENT}-r000[{RUN}{DARK_RUN}]-s*-c*.xtc"):
                old.unlink()
            for path in sorted(Path(directory).iterdir()):
                path.rename(final / path.name)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{home}: cannot be written: {error.strerror}") from error


def _names(chosen: Sequence[str]) -> list[str]:
    known = {*CHOICES, "small"}
    for name in chosen:
        if name not in known:
            raise UsageError(
                f"the demo has no detector {name!r}", did_you_mean(name, known, f"it has {', '.join(known)}")
            )
    wanted = {other for name in chosen for other in (SMALL if name == "small" else (name,))}
    # Whatever else is recorded, the event receiver always is.
    return [name for name in CHOICES if not chosen or name in wanted or name == "timing"]


def _configuration(instruments: Sequence[DemoDetector], nodes: Sequence[Source]) -> list[Container | Contribution]:
    named = [(item.source, item.alias) for item in instruments if item.alias]
    aliases = {
        "numSrcAlias": len(named),
        "srcAlias": [{"src": {"log": source.log, "phy": source.phy}, "aliasName": alias} for source, alias in named],
    }
    children: list[Container | Contribution] = [
        _scan(None, 0, 0),
        Contribution("Alias.ConfigV1", _DAQ, encode("Alias.ConfigV1", aliases)),
    ]
    for item, place in zip(instruments, nodes, strict=True):
        contents = [Contribution(kind, item.source, payload) for kind, payload in item.configuration]
        if contents:
            children.append(Container(place, contents))
    descriptions = {
        "numPv": len(_PVS),
        "getPvConfig": [
            {"pvId": number, "description": pv.description, "interval": 0.5} for number, pv in enumerate(_PVS)
        ],
    }
    records = [Contribution("Epics.ConfigV1", _EPICS, encode("Epics.ConfigV1", descriptions))]
    records += [_record(number, pv.value(0), name=pv.name, **pv.limits) for number, pv in enumerate(_PVS)]
    return [*children, Container(_EPICS_NODE, records)]


def _scan(step: int | None, steps: int, events: int) -> Contribution:
    """Return the control data: of a step its position in the scan, of Configure (None) nothing yet."""
    values: dict[str, object] = {"events": events, "uses_events": 1}
    if step is not None:
        position = -1.0 + 2.0 * step / max(1, steps - 1)
        values |= {
            "npvControls": 1,
            "npvLabels": 1,
            "pvControls": [{"name": SCANNED, "index": 0xFFFFFFFF, "value": position}],
            "pvLabels": [{"name": "sample", "value": "LaB6 powder"}],
        }
    return Contribution("ControlData.ConfigV3", _DAQ, encode("ControlData.ConfigV3", values))


def _event(
    number: int, instruments: Sequence[DemoDetector], nodes: Sequence[Source], run: RunWriter
) -> Iterator[Container]:
    for item, place in zip(instruments, nodes, strict=True):
        damage = 0
        if item.alias == "opal_1" and number % 37 == 20:
            continue  # a camera that misses a trigger
        if item.alias == "opal_1" and number % 59 == 40:
            damage = 1 << DamageBit.OutOfOrder
        if item.source.name == "EBeam" and number % 47 == 30:
            damage = 1 << 24 | 1 << DamageBit.UserDefined
        contents = [Contribution(kind, item.source, payload, damage) for kind, payload in item.event(number)]
        if contents:
            yield Container(place, contents)
    if number % (RATE // 2) == 0:
        seconds, nanoseconds = run.now
        yield Container(
            _EPICS_NODE,
            [_record(k, pv.value(number), seconds=seconds, nanoseconds=nanoseconds) for k, pv in enumerate(_PVS)],
        )


@dataclass(frozen=True)
class _Pv:
    name: str
    description: str
    value: Callable[[int], Any]
    limits: dict[str, Any]


_EPICS_NODE = node("172.21.38.9", 4990)
_PVS = (
    _Pv(
        "XPP:USR:MMN:01.RBV",
        "sample_x",
        lambda number: float(np.round(1.5 + 0.25 * np.sin(number / 40), 4)),
        {"units": "mm", "precision": 3},
    ),
    _Pv(
        "XPP:SMP:TEMP",
        "sample_temperature",
        lambda number: np.float32(298.1 + 0.01 * number),
        {"units": "K", "precision": 2, "upper_warning_limit": 310.0},
    ),
    _Pv(
        "XPP:ATT:01:STATE",
        "attenuator",
        lambda number: np.uint16(number // 60 % 2),
        {"no_str": 2, "strings": ["OUT", "IN", *[""] * 14]},
    ),
    _Pv("XPP:USR:SAMPLE", "sample_name", lambda number: "LaB6 powder", {}),
)


def _record(pv_id: int, value: Any, **more: Any) -> Contribution:
    return Contribution(_EPICS_WORD, _EPICS, epics_record(pv_id, value, **more))


_EPICS_WORD = 1 << 16 | EPICS
