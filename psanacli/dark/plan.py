"""The plan of dark runs: which events make which constants, and how."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from psanacli.calib import VALUE_BITS, DarkMethod, DarkOptions, Psana, PsanaEpix10ka, Robust
from psanacli.dark.frames import Frames
from psanacli.dark.joined_frames import frames_of
from psanacli.dark.modes import GainMode, fail_if_missing, missing_ranges, mode_of_step
from psanacli.errors import NotFoundError, UsageError
from psanacli.run import Run

Ints = NDArray[np.int64]

METHODS = ("robust", "psana")
_FOURTEEN_BITS = ("Cspad", "Cspad2x2", "Epix100a", "Epix10ka", "Epix10kaQuad", "Epix10ka2M", "Jungfrau", "pnCCD")
_MOST_OF_ORIGINAL = 1000
_MOST_OF_EPIX10KA = 1023  # the original's 1024 minus one
_FEW = 20


class Part(NamedTuple):
    """Events of one run: number of the run in the plan, and rows of the detector's objects."""

    run: int
    rows: Ints


@dataclass(frozen=True, eq=False)
class ModePlan:
    """What is made from the events of one gain mode.

    Attributes
    ----------
    mode : GainMode
    parts : tuple of Part
        Its events, in order.
    method : DarkMethod
    """

    mode: GainMode
    parts: tuple[Part, ...]
    method: DarkMethod

    @property
    def events(self) -> int:
        """Number of events."""
        return sum(len(part.rows) for part in self.parts)

    def range(self, first: int, stop: int) -> Iterator[Part]:
        """Give the events `first` to `stop`."""
        for part in self.parts:
            some = part.rows[max(first, 0) : max(stop, 0)]
            if len(some):
                yield Part(part.run, some)
            first, stop = first - len(part.rows), stop - len(part.rows)

    def some(self, numbers: Ints) -> Iterator[Part]:
        """Give some of the events by their numbers, ascending."""
        for part in self.parts:
            inside = numbers[(numbers >= 0) & (numbers < len(part.rows))]
            if len(inside):
                yield Part(part.run, part.rows[inside])
            numbers = numbers - len(part.rows)


@dataclass(frozen=True, eq=False)
class DarkPlan:
    """What is made from dark runs; made by `plan_dark`.

    Attributes
    ----------
    source : str
    frames : tuple of Frames
        One a run.
    modes : tuple of ModePlan
        One a gain range, in their order; one for detectors that do not switch.
    method : str
    chosen, absent, damaged : int
        Events that were looked through, and of these how many do not have the detector, or have it damaged.
    notes : tuple of str
    """

    source: str
    frames: tuple[Frames, ...]
    modes: tuple[ModePlan, ...]
    method: str
    chosen: int
    absent: int
    damaged: int
    notes: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an image."""
        return self.frames[0].shape

    @property
    def events(self) -> int:
        """Number of events that are used."""
        return sum(mode.events for mode in self.modes)

    @property
    def run(self) -> int:
        """Number of the last run."""
        return max(frames.run.number for frames in self.frames)

    def asdict(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        return {
            "detector": self.source,
            "method": self.method,
            "runs": [frames.run.number for frames in self.frames],
            "shape": list(self.shape),
            "events": {"chosen": self.chosen, "used": self.events, "absent": self.absent, "damaged": self.damaged},
            "modes": [{"index": each.mode.index, "name": each.mode.name, "events": each.events} for each in self.modes],
            "notes": list(self.notes),
        }


def plan_dark(
    runs: Sequence[Run],
    source: str,
    *,
    method: str = "robust",
    options: DarkOptions | None = None,
    chosen: Sequence[Ints | slice | None] = (),
    skip: int = 0,
    number: int | None = None,
    missing_ok: bool = False,
) -> DarkPlan:
    """Find out which events make which constants.

    Parameters
    ----------
    runs : sequence of Run
        One run, or several for the gain ranges of a Jungfrau.
    source : str
        Full name of the detector.
    method : {"robust", "psana"}
        See `psanacli.calib.Robust` and `psanacli.calib.Psana`.
    options : DarkOptions, optional
        Limits, and how large the sample is.
    chosen : sequence, optional
        For each run the numbers of the events to look at, or a slice; None: all of them.
    skip, number : int
        Of the events with the detector, in each gain mode, leave out so many, and use so many at most.
    missing_ok : bool
        Whether gain ranges without events are no error.

    Raises
    ------
    NotFoundError
        No event has the detector.
    ConstantsError
        Gain ranges are missing.
    DataError
        The gain mode of a step is unknown.
    """
    if method not in METHODS:
        raise UsageError(f"there is no method {method!r}", f"there are {', '.join(METHODS)}")
    options = options or DarkOptions()
    frames = tuple(frames_of(run, source) for run in runs)
    shapes = {each.shape for each in frames}
    if len(shapes) > 1:
        raise UsageError(f"the images of {source} have different shapes in these runs: {', '.join(map(str, shapes))}")
    found: dict[GainMode, list[Part]] = {}
    notes: list[str] = []
    looked = absent = damaged = 0
    for index, each in enumerate(frames):
        events = _events(each.run, chosen[index] if index < len(chosen) else None)
        looked += len(events)
        rows = np.flatnonzero(np.isin(each.numbers, events, assume_unique=True)).astype(np.int64)
        absent += len(events) - len(rows)
        notes += each.remarks(rows)
        damaged += int(np.count_nonzero(~each.stored[rows]))
        rows = rows[each.stored[rows]]
        for mode, some, note in _by_mode(each, source, rows):
            notes += [note] if note else []
            found.setdefault(mode, []).append(Part(index, some))
    modes = []
    for mode, parts in sorted(found.items(), key=lambda item: (item[0].index, item[0].name)):
        made = _method(method, source, options, mode)
        kept = _cut(parts, skip, _most(made, number))
        modes.append(ModePlan(mode, _without_last(kept) if isinstance(made, PsanaEpix10ka) else kept, made))
    modes = [each for each in modes if each.events]
    if not modes:
        if not looked:
            raise NotFoundError(f"no event is chosen that could have {source}", "see --events and --where")
        skipped = f", and the first {skip} are left out (--skip)" if skip else ""
        raise NotFoundError(
            f"none of {looked} events can be used: {absent} do not have {source}, in {damaged} it is damaged{skipped}"
        )
    _fail_if_twice(modes, source)
    there = {each.mode.index for each in modes}
    if not missing_ok:
        fail_if_missing(source, there)
    notes += [f"no dark events in {name}" for name in missing_ranges(source, there)]
    for made_of in modes:
        if made_of.events < _FEW:
            which = f" in {made_of.mode.name}" if made_of.mode.name else ""
            error = 100 / np.sqrt(2 * max(made_of.events - 1, 1))
            notes.append(f"only {made_of.events} events{which}: each rms is known to {error:.0f} % (100 events: 7 %)")
    if method == "psana" and _bits(source) != VALUE_BITS:
        notes.append("this method takes all values modulo 16384, as the original does")
    if frames[0].absent.any() and method == "robust":
        notes.append(f"{np.count_nonzero(frames[0].absent)} panels are not read out: their pedestals are 0")
    return DarkPlan(source, frames, tuple(modes), method, looked, absent, damaged, tuple(notes))


def _events(run: Run, chosen: Ints | slice | None) -> Ints:
    every = np.arange(len(run.events), dtype=np.int64)
    if chosen is None:
        return every
    return every[chosen] if isinstance(chosen, slice) else np.unique(np.asarray(chosen, np.int64))


def _by_mode(frames: Frames, source: str, rows: Ints) -> Iterator[tuple[GainMode, Ints, str]]:
    """Give the rows of each step with its gain mode; steps in the same mode go together."""
    run = frames.run
    events = frames.numbers[rows]
    found: dict[GainMode, list[Ints]] = {}
    notes: dict[GainMode, str] = {}
    for step in run.steps:
        some = rows[(events >= step.first) & (events < step.stop)]
        if len(some):
            mode, notes[mode] = mode_of_step(run, source, step)
            found.setdefault(mode, []).append(some)
    for mode, parts in found.items():
        yield mode, np.concatenate(parts), notes[mode]


def _cut(parts: list[Part], skip: int, most: int | None) -> tuple[Part, ...]:
    """Leave out the first events, and those beyond the wanted number."""
    kept = []
    for part in parts:
        rows = part.rows[skip:]
        skip = max(skip - len(part.rows), 0)
        if most is not None:
            rows = rows[:most]
            most -= len(rows)
        if len(rows):
            kept.append(Part(part.run, rows))
    return tuple(kept)


def _without_last(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """Leave out the last event: the original collects it, and does not use it."""
    return (*parts[:-1], Part(parts[-1].run, parts[-1].rows[:-1])) if parts else parts


def _bits(source: str) -> int:
    return VALUE_BITS if source.partition(":")[2].split(".")[0] in _FOURTEEN_BITS else 0xFFFF


def _method(name: str, source: str, options: DarkOptions, mode: GainMode) -> DarkMethod:
    if name == "robust":
        return Robust(options, _bits(source), mode.gain)
    if source.partition(":")[2].startswith("Epix10ka"):
        return PsanaEpix10ka(options)
    return Psana(options, gain=mode.gain)


def _most(method: DarkMethod, number: int | None) -> int | None:
    """Return how many events are used at most; the original has a limit of its own."""
    if number is not None or isinstance(method, Robust):
        return number
    return _MOST_OF_EPIX10KA if isinstance(method, PsanaEpix10ka) else _MOST_OF_ORIGINAL


def _fail_if_twice(modes: Sequence[ModePlan], source: str) -> None:
    """Raise the error of two modes of the same gain range: they are not the same dark."""
    for one, other in pairwise(modes):
        if one.mode.index == other.mode.index:
            raise UsageError(
                f"{source}: events in {one.mode.name} and in {other.mode.name}, which give the same constants",
                "choose runs, or events with --events or --where",
            )
