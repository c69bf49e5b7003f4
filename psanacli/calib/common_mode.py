"""Common mode: an offset that all pixels of a region of a detector share in one event, found and subtracted.

Each algorithm is a value with named parameters, and knows the regions of the detector it is for.  The numbers of
the original (``1,25,25,100``) are understood too.  The algorithms are those of the reference of its calibration,
section 5.6.

Examples
--------
>>> parse_common_mode("1,25,25,100", "Cspad")
Histogram(max_mean=25.0, max_sigma=25.0, min_peak=100.0, unbonded=True)
>>> parse_common_mode("median:rows=yes,columns=yes,max_correction=10", "Epix100a")
Median(banks=False, rows=True, columns=True, half_range=30.0, max_correction=10.0)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from psanacli.calib._correct import Steps
from psanacli.errors import UsageError, did_you_mean

HISTOGRAM, MEAN, BINNED_MEDIAN, MEDIAN, UNBONDED, GROWING_HISTOGRAM = range(1, 7)

BLOCK = 128
"""Length of a run of pixels where none is given, or one below 100."""
LEAST = 10
"""Values that a median needs where no other number is said."""


class Pass(NamedTuple):
    """One correction of many regions: how, and each region as first element, rows, row step, columns, step."""

    method: tuple[int, float, float, float, float, float, int, int]
    regions: NDArray[np.int64]


def _method(
    kind: int,
    limit: float = math.inf,
    low: float = -math.inf,
    high: float = math.inf,
    least: float = 0.0,
    width: float = math.inf,
    *,
    only_good: bool = False,
    unbonded: bool = False,
) -> tuple[int, float, float, float, float, float, int, int]:
    return kind, float(limit), float(low), float(high), float(least), float(width), int(only_good), int(unbonded)


def below(limit: float | None) -> float:
    """Return the largest number below a limit (None: no limit), where the original compares strictly."""
    return math.inf if limit is None else math.nextafter(float(limit), -math.inf)


def tiles(shape: Sequence[int], rows: int, columns: int, *, by_column: bool = False) -> NDArray[np.int64]:
    """Return the regions that cut the last two axes of an array into tiles of `rows` x `columns` pixels.

    What is left at the end of an axis belongs to no region.  They come row by row of tiles, or column by column.
    """
    height, width = int(shape[-2]), int(shape[-1])
    panels = math.prod(shape[:-2])
    first = np.arange(panels)[:, None, None] * height * width
    down = np.arange(height // rows)[:, None] * rows * width
    across = np.arange(width // columns) * columns
    grid = down + across
    starts = (first + (grid.T if by_column else grid)).reshape(-1)
    found = np.empty((len(starts), 5), np.int64)
    found[:, 0] = starts
    found[:, 1:] = rows, width, columns, 1
    return found


def stripes(size: int, length: int) -> NDArray[np.int64]:
    """Return the regions of `length` consecutive pixels; the last has what is left.

    The original reads beyond the array there (trap T15).
    """
    starts = np.arange(0, size, length)
    found = np.zeros((len(starts), 5), np.int64)
    found[:, 0] = starts
    found[:, 1] = found[:, 4] = 1
    found[:, 3] = np.minimum(length, size - starts)
    return found


@dataclass(frozen=True)
class CommonMode:
    """One algorithm with its parameters; `passes` says what it does to a detector."""

    word: ClassVar[str]
    number: ClassVar[int]
    detectors: ClassVar[tuple[str, ...]] = ()
    """Detectors it is for; empty: all."""

    def passes(self, detector: str, shape: tuple[int, ...]) -> Iterator[Pass]:
        """Yield what is done one after the other.

        Parameters
        ----------
        detector : str
            Kind of the detector: ``Cspad``.
        shape : tuple of int
            Of the image, panels first; of a Cspad2x2 as it is stored: (185, 388, 2).
        """
        raise NotImplementedError

    def steps(self, detector: str, shape: tuple[int, ...]) -> Steps | None:
        """Return it compiled for images of one shape; None when there is nothing to do.

        Raises
        ------
        UsageError
            It is not for such a detector.
        """
        if self.detectors and detector not in self.detectors:
            known = ", ".join(word for word, kind in COMMON_MODES.items() if _fits(kind, detector))
            meant = ", ".join(self.detectors)
            raise UsageError(
                f"common mode {self.word} is not for {detector or 'this detector'}, but for {meant}",
                f"for it there are: {known}",
            )
        return compiled(self.passes(detector, shape), math.prod(shape))

    def __str__(self) -> str:
        words = [f"{field.name}={_spelled(getattr(self, field.name))}" for field in fields(self)]
        return f"{self.word}:{','.join(words)}" if words else self.word


def _spelled(value: Any) -> str:
    return ("no", "yes")[value] if isinstance(value, bool) else f"{value:g}" if value is not None else "none"


def compiled(passes: Iterable[Pass], size: int) -> Steps | None:
    """Return the native form of passes over arrays of `size` elements.

    The array is cut where no region crosses, so that each piece can be worked on while it is in the cache.
    """
    found = [each for each in passes if len(each.regions)]
    if not found:
        return None
    regions = np.concatenate([each.regions for each in found])
    method = np.repeat(np.arange(len(found)), [len(each.regions) for each in found])
    last = regions[:, 0] + (regions[:, 1] - 1) * regions[:, 2] + (regions[:, 3] - 1) * regions[:, 4]
    order = np.argsort(regions[:, 0], kind="stable")
    reach = np.maximum.accumulate(last[order])
    cuts = regions[order[1:], 0][regions[order[1:], 0] > reach[:-1]]
    # Pieces of some size only: each costs a call.
    wide = [0]
    for cut in cuts.tolist():
        if cut - wide[-1] >= _PIECE:
            wide.append(cut)
    spans = np.array([*wide, size], np.int64)
    piece = np.searchsorted(spans, regions[:, 0], side="right") - 1
    in_pieces = np.argsort(piece, kind="stable")
    bounds = np.searchsorted(piece[in_pieces], np.arange(len(spans)))
    return Steps(
        size, [each.method for each in found], regions[in_pieces], method[in_pieces], spans, bounds.astype(np.int64)
    )


_PIECE = 1 << 15


@dataclass(frozen=True)
class Off(CommonMode):
    """No correction."""

    word: ClassVar[str] = "none"
    number: ClassVar[int] = 0

    def passes(self, detector: str, shape: tuple[int, ...]) -> Iterator[Pass]:
        """Yield nothing."""
        return iter(())


@dataclass(frozen=True)
class Histogram(CommonMode):
    """The first peak of the histogram of each 2x1 (CSPAD), or of `regions` runs of `length` pixels (cameras).

    Attributes
    ----------
    max_mean, max_sigma : float
        Larger ones are not believed, ADU.
    min_peak : float
        Pixels that the bin of the peak (1 ADU wide) has at least.
    unbonded : bool
        Where there is no good peak, take the pixels that are bonded to nothing (CSPAD).
    regions, length, stride : int
        For cameras: number and length of the runs, and the distance of their pixels.  A length below 100 stands for
        128 pixels; 0 regions for as many runs as there are.
    """

    max_mean: float = 25.0
    max_sigma: float = 25.0
    min_peak: float = 100.0
    unbonded: bool = True
    regions: int = 0
    length: int = 0
    stride: int = 1
    word: ClassVar[str] = "histogram"
    number: ClassVar[int] = 1

    def passes(self, detector: str, shape: tuple[int, ...]) -> Iterator[Pass]:
        """Yield one pass over the 2x1s or runs."""
        size = math.prod(shape)
        unbonded = self.unbonded and detector in ("Cspad", "Cspad2x2")
        method = _method(
            HISTOGRAM, self.max_mean, least=self.min_peak, width=self.max_sigma, unbonded=unbonded
        )
        if detector in ("Cspad", "Cspad2x2"):
            yield Pass(method, _two_by_ones(detector, size))
            return
        length = BLOCK if self.length < 100 else self.length
        stride = max(self.stride, 1)
        count = self.regions or size // length
        starts = np.arange(count) * length
        starts = starts[starts + (length - 1) * stride < size]
        found = np.zeros((len(starts), 5), np.int64)
        found[:, 0] = starts
        found[:, 1:] = 1, 0, length, stride
        yield Pass(method, found)

    def __repr__(self) -> str:
        cut = () if self.regions or self.length else ("regions", "length", "stride")
        words = (f"{each.name}={getattr(self, each.name)!r}" for each in fields(self) if each.name not in cut)
        return f"Histogram({', '.join(words)})"


def _two_by_ones(detector: str, size: int) -> NDArray[np.int64]:
    """Return the regions of the 2x1s: one after the other (Cspad), or pixel by pixel in turn (Cspad2x2)."""
    panel = 185 * 388
    count, step = (size // panel, 1) if detector == "Cspad" else (2, 2)
    found = np.zeros((count, 5), np.int64)
    found[:, 0] = np.arange(count) * (panel if step == 1 else 1)
    found[:, 1:] = 1, 0, panel, step
    return found


@dataclass(frozen=True)
class Mean(CommonMode):
    """The mean of runs of pixels.

    Attributes
    ----------
    threshold : float
        Only values below it count, ADU.
    max_correction : float
        A larger one is not made, ADU.
    length : int
        Pixels of a run; below 100: 128.
    """

    threshold: float = 100.0
    max_correction: float = 50.0
    length: int = BLOCK
    word: ClassVar[str] = "mean"
    number: ClassVar[int] = 2
    _kind: ClassVar[int] = MEAN

    def passes(self, detector: str, shape: tuple[int, ...]) -> Iterator[Pass]:
        """Yield one pass over the runs."""
        length = BLOCK if self.length < 100 else self.length
        yield Pass(_method(self._kind, self.max_correction, high=self.threshold), stripes(math.prod(shape), length))


@dataclass(frozen=True)
class BinnedMedian(Mean):
    """The median of runs of pixels, in whole ADU."""

    word: ClassVar[str] = "binned-median"
    number: ClassVar[int] = 3
    _kind: ClassVar[int] = BINNED_MEDIAN


@dataclass(frozen=True)
class Median(CommonMode):
    """The median of banks, then of the rows in each, then of its columns (Epix100a); of rows and columns (Fccd960).

    Attributes
    ----------
    banks, rows, columns : bool
        What is corrected.  Of an Fccd960 there are rows (in six groups of 160, even and odd columns apart), and
        columns (by tens in each half).
    half_range : float
        Only values from minus to plus this one count, ADU; of an Fccd960 where its histogram begins.
    max_correction : float
        A larger one is not made, ADU; 0: any.
    """

    banks: bool = False
    rows: bool = True
    columns: bool = True
    half_range: float = 30.0
    max_correction: float = 10.0
    word: ClassVar[str] = "median"
    number: ClassVar[int] = 4
    detectors: ClassVar[tuple[str, ...]] = ("Epix100a", "Fccd960")

    def passes(self, detector: str, shape: tuple[int, ...]) -> Iterator[Pass]:
        """Yield the passes that are switched on."""
        limit = self.max_correction or math.inf
        if detector == "Fccd960":
            limit = int(self.max_correction) or math.inf
            half = max(int(self.half_range), LEAST)
            method = _method(GROWING_HISTOGRAM, limit, -half, half, LEAST)
            if self.rows:
                found = tiles(shape, 1, 160)
                odd = found.copy()
                odd[:, 0] += 1
                both = np.stack((found, odd), axis=1).reshape(-1, 5)
                both[:, 3:] = 80, 2
                yield Pass(method, both)
            if self.columns:
                yield Pass(method, tiles(shape, 480, 10))
            return
        method = _method(MEDIAN, limit, -self.half_range, self.half_range, LEAST)
        banks = tiles(shape, 352, 96)
        if self.banks:
            yield Pass(method, banks)
        if self.rows:
            yield Pass(method, _parts(banks, 1, 96))
        if self.columns:
            yield Pass(method, _parts(banks, 352, 1))


def _parts(regions: NDArray[np.int64], rows: int, columns: int) -> NDArray[np.int64]:
    """Return the regions cut into tiles of `rows` x `columns`, region by region."""
    parts = []
    for start, height, row_step, width, step in regions.tolist():
        grid = np.arange(height // rows)[:, None] * rows * row_step + np.arange(width // columns) * columns * step
        cut = np.empty((grid.size, 5), np.int64)
        cut[:, 0] = start + grid.reshape(-1)
        cut[:, 1:] = rows, row_step, columns, step
        parts.append(cut)
    return np.concatenate(parts) if parts else np.zeros((0, 5), np.int64)


@dataclass(frozen=True)
class Unbonded(CommonMode):
    """The mean of the 36 pixels of each 2x1 that are bonded to nothing.

    Attributes
    ----------
    max_correction : float
        A larger one is not made, ADU.
    """

    max_correction: float = 50.0
    word: ClassVar[str] = "unbonded"
    number: ClassVar[int] = 5
    detectors: ClassVar[tuple[str, ...]] = ("Cspad", "Cspad2x2")

    def passes(self, detector: str, shape: tuple[int, ...]) -> Iterator[Pass]:
        """Yield one pass over the 2x1s."""
        yield Pass(_method(UNBONDED, self.max_correction), _two_by_ones(detector, math.prod(shape)))


@dataclass(frozen=True)
class GoodMedian(CommonMode):
    """Medians of good pixels, of which only these are corrected: of banks, of rows in banks, of columns in halves.

    For gain-switching detectors pixels count in their high gain ranges only.

    Attributes
    ----------
    rows, columns, banks : bool
        What is corrected, in the order banks, rows, columns.
    max_correction : float
        Only smaller ones are made, ADU.
    min_pixels : int
        A row or column needs more good pixels than this, a bank as many.
    """

    rows: bool = True
    columns: bool = False
    banks: bool = False
    max_correction: float = 100.0
    min_pixels: int = LEAST
    word: ClassVar[str] = "good-median"
    number: ClassVar[int] = 7
    detectors: ClassVar[tuple[str, ...]] = ("Jungfrau", "Epix10ka", "Epix10kaQuad", "Epix10ka2M")

    def passes(self, detector: str, shape: tuple[int, ...]) -> Iterator[Pass]:
        """Yield the passes that are switched on."""
        half, bank = (256, 64) if detector == "Jungfrau" else (176, 48)
        limit = below(self.max_correction)
        line = _method(MEDIAN, limit, least=self.min_pixels + 1, only_good=True)
        if self.banks:
            whole = _method(MEDIAN, limit, least=self.min_pixels, only_good=True)
            yield Pass(whole, tiles(shape, half, bank))
        if self.rows:
            yield Pass(line, tiles(shape, 1, bank))
        if self.columns:
            yield Pass(line, tiles(shape, half, 1))


@dataclass(frozen=True)
class PnccdMedian(CommonMode):
    """Medians of good pixels of a pnCCD, of which only these are corrected.

    Attributes
    ----------
    bank_rows, rows, columns, banks : bool
        What is corrected, in this order: rows of 128, rows of 512, columns, banks of 512 x 128.
    max_correction : float
        Only smaller ones are made, ADU.
    min_pixels : int
        A row or column needs more good pixels than this, a bank as many.
    """

    bank_rows: bool = True
    rows: bool = False
    columns: bool = False
    banks: bool = False
    max_correction: float = 500.0
    min_pixels: int = LEAST
    word: ClassVar[str] = "pnccd-median"
    number: ClassVar[int] = 8
    detectors: ClassVar[tuple[str, ...]] = ("pnCCD",)

    def passes(self, detector: str, shape: tuple[int, ...]) -> Iterator[Pass]:
        """Yield the passes that are switched on."""
        limit = below(self.max_correction)
        line = _method(MEDIAN, limit, least=self.min_pixels + 1, only_good=True)
        height, width = shape[-2], shape[-1]
        if self.bank_rows:
            yield Pass(line, tiles(shape, 1, width // 4))
        if self.rows:
            yield Pass(line, tiles(shape, 1, width))
        if self.columns:
            yield Pass(line, tiles(shape, height, 1))
        if self.banks:
            whole = _method(MEDIAN, limit, least=self.min_pixels, only_good=True)
            yield Pass(whole, tiles(shape, height, width // 4))


@dataclass(frozen=True)
class QuietMedian(CommonMode):
    """Medians of an Epix100a without pixels that were hit, nor their neighbours: of half columns, then of rows of 96.

    Attributes
    ----------
    max_correction : float
        A larger one is not made, ADU.
    half_range : float
        Pixels beyond it do not count, ADU.
    columns, rows : bool
        What is corrected.
    min_fraction : float
        Part of a row or column that has to count.
    level : bool
        Subtract the mean of all pixels that count first.
    """

    max_correction: float = 30.0
    half_range: float = 30.0
    columns: bool = True
    rows: bool = True
    min_fraction: float = 0.25
    level: bool = False
    word: ClassVar[str] = "quiet-median"
    number: ClassVar[int] = 6
    detectors: ClassVar[tuple[str, ...]] = ("Epix100a",)
    HIT: ClassVar[float] = 10.0
    """Pixels from this many times their rms on were hit."""

    def passes(self, detector: str, shape: tuple[int, ...]) -> Iterator[Pass]:
        """Yield the passes that are switched on; which pixels count is in `quiet`."""
        for wanted, rows, columns in ((self.columns, 352, 1), (self.rows, 1, 96)):
            if wanted:
                length = rows * columns
                least = length - math.floor((1 - self.min_fraction) * length)
                yield Pass(_method(MEDIAN, self.max_correction, least=max(least, 1)), tiles(shape, rows, columns))

    def quiet(self, values: NDArray[Any], rms: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which pixels count, from an image without pedestals and the rms of the dark, ADU."""
        hit = values >= self.HIT * rms
        grown = hit.copy()
        grown[..., 1:, :] |= hit[..., :-1, :]
        grown[..., :-1, :] |= hit[..., 1:, :]
        grown[..., :, 1:] |= hit[..., :, :-1]
        grown[..., :, :-1] |= hit[..., :, 1:]
        return np.asarray(~grown & (np.abs(values) <= self.half_range))


COMMON_MODES: dict[str, type[CommonMode]] = {
    kind.word: kind
    for kind in (Off, Histogram, Mean, BinnedMedian, Median, Unbonded, QuietMedian, GoodMedian, PnccdMedian)
}


def _fits(kind: type[CommonMode], detector: str) -> bool:
    return not kind.detectors or detector in kind.detectors


def from_numbers(numbers: Sequence[float], detector: str) -> CommonMode:
    """Return the common mode of a list of numbers as the original has them: the algorithm, then its parameters.

    Parameters that are missing have the defaults of the algorithm; the original reads whatever lies in memory there
    (traps T5, T49).  Numbers behind the last parameter do not count.

    Raises
    ------
    UsageError
        There is no such algorithm, or a number is not finite.
    """
    values = [float(number) for number in numbers]
    if not values or not all(math.isfinite(value) for value in values):
        hint = "expected an algorithm and its parameters: 1,25,25,100"
        raise UsageError(f"{_listed(values)} is not a common mode", hint)
    number, rest = values[0], values[1:]
    kind = next((kind for kind in COMMON_MODES.values() if kind.number == number), None)
    if kind is None:
        known = ", ".join(f"{kind.number} {word}" for word, kind in COMMON_MODES.items())
        raise UsageError(f"there is no common mode {number:g}", f"there are {known}")
    given: dict[str, Any] = {}
    if kind is Histogram:
        given = dict(zip(("max_mean", "max_sigma", "min_peak"), rest, strict=False))
        tail = rest[3:]
        if detector in ("Cspad", "Cspad2x2"):
            given |= {"unbonded": tail[0] > 0.1} if tail else {}
        elif tail:
            counts = [int(value) for value in tail]
            given |= {"regions": max(counts[0], 1), "length": counts[1] if len(counts) > 1 else 0}
            given |= {"stride": max(counts[2], 1)} if len(counts) > 2 else {}
    elif kind in (Mean, BinnedMedian):
        given = dict(zip(("threshold", "max_correction", "length"), rest, strict=False))
        if "length" in given:
            given["length"] = int(given["length"])
    elif kind is Unbonded:
        given = dict(zip(("max_correction",), rest, strict=False))
    elif kind is Median:
        names = ("rows", "columns") if detector == "Fccd960" else ("banks", "rows", "columns")
        given = {**_switched(rest, names), **dict(zip(("half_range", "max_correction"), rest[1:], strict=False))}
    elif kind is GoodMedian:
        given.update(_switched(rest, ("rows", "columns", "banks")))
        given.update(zip(("max_correction", "min_pixels"), rest[1:], strict=False))
    elif kind is PnccdMedian:
        given.update(_switched(rest, ("bank_rows", "rows", "columns", "banks")))
        given.update(zip(("max_correction",), rest[1:], strict=False))
    if "min_pixels" in given:
        given["min_pixels"] = int(given["min_pixels"])
    return kind(**given)


def _switched(rest: Sequence[float], names: Sequence[str]) -> dict[str, bool]:
    return {name: bool(int(rest[0]) >> bit & 1) for bit, name in enumerate(names)} if rest else {}


def _listed(values: Iterable[float]) -> str:
    return ",".join(f"{value:g}" for value in values) or "nothing"


def parse_common_mode(text: str, detector: str) -> CommonMode:
    """Return the common mode that a text names: ``1,25,25,100``, ``histogram``, ``mean:threshold=30,length=256``.

    Raises
    ------
    UsageError
        It names none, or a parameter that the algorithm does not have.
    """
    text = text.strip()
    word, _, rest = text.partition(":")
    kind = COMMON_MODES.get(word.strip().lower().replace("_", "-"))
    if kind is None:
        try:
            numbers = [float(part) for part in text.replace(",", " ").split()]
        except ValueError:
            hint = did_you_mean(word, COMMON_MODES, f"there are {', '.join(COMMON_MODES)}, or numbers as 1,25,25,100")
            raise UsageError(f"there is no common mode {word!r}", hint) from None
        return from_numbers(numbers, detector)
    known = {field.name: field for field in fields(kind)}
    given: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in rest.split(","))):
        name, equals, value = part.partition("=")
        name = name.strip().replace("-", "_")
        if name not in known or not equals:
            hint = did_you_mean(name, known, f"there are {', '.join(known) or 'none'}")
            raise UsageError(f"common mode {kind.word} has no parameter {part!r}", hint)
        given[name] = _value(kind, name, value.strip(), getattr(kind, name))
    return kind(**given)


_SWITCHES = {"yes": True, "no": False, "1": True, "0": False, "true": True, "false": False, "on": True, "off": False}


def _value(kind: type[CommonMode], name: str, text: str, default: Any) -> bool | int | float:
    """Return a parameter as its default is: a switch, a whole number, a number."""
    expected = {bool: "yes or no", int: "a whole number"}.get(type(default), "a number")
    try:
        if isinstance(default, bool):
            return _SWITCHES[text.lower()]
        value = int(text) if isinstance(default, int) else float(text)
        if math.isfinite(value):
            return value
    except (KeyError, ValueError):
        pass
    raise UsageError(f"{name}={text} of common mode {kind.word}: expected {expected}")


_DEFAULTS: dict[str, CommonMode] = {
    "Cspad": Histogram(),
    "Cspad2x2": Histogram(),
    "pnCCD": BinnedMedian(50.0, 10.0, BLOCK),
    "Epix100a": Median(),
    "Epix10ka": GoodMedian(rows=False, columns=True, max_correction=10.0),
    "Epix10kaQuad": GoodMedian(rows=False, columns=True, max_correction=10.0),
    "Epix10ka2M": GoodMedian(rows=False, columns=True, max_correction=10.0),
    "Jungfrau": GoodMedian(min_pixels=0),
    "Andor": Mean(10.0, 10.0, BLOCK),
    "DualAndor": Mean(10.0, 10.0, BLOCK),
}


def default_common_mode(detector: str) -> CommonMode:
    """Return what is done for a kind of detector when nothing is said and the store has no file.

    It is what takes effect in the original (5.6), apart from cameras of Princeton: there only the first 128 pixels of
    an image would be corrected (trap T14), so nothing is done.
    """
    return _DEFAULTS.get(detector, Off())
