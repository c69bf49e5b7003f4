"""One expression that says which pixels are bad: ``status or edges(2) or pixel_rms > 5 * median(pixel_rms)``.

The grammar is that of the expressions that choose events; names and functions are those of this file.  A part is a set
of bad pixels, or numbers that are compared; nothing is executed.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from psanacli.calib import masks
from psanacli.calib.arrays import read_array
from psanacli.calib.constants import Constants
from psanacli.calib.kinds import PIXEL_TYPES, DetectorKind, kind_of
from psanacli.calib.masks import ALL_BITS, Mask
from psanacli.errors import ConstantsError, PsanaError, did_you_mean
from psanacli.run.expressions import ExpressionError, parse, tree

Bad = NDArray[np.bool_]
Numbers = NDArray[Any]

MASK_TERMS = {
    "status": ("status, status(BITS...)", "pixels whose status has any bit, or whose pixel_status has one of these"),
    "pixel_mask": ("pixel_mask", "pixels that the deployed mask calls bad"),
    "edges": ("edges, edges(N), edges(ROWS, COLUMNS)", "the rim of each panel; default 1"),
    "central": ("central, central(N)", "beside the borders between the ASICs of a panel; default 1"),
    "unbonded": ("unbonded", "pixels of a CSPAD that are bonded to nothing"),
    "neighbours": ("neighbours(SET), neighbours(SET, 8)", "a set and the four or eight neighbours of each pixel"),
    "near": ("near(SET, RADIUS), near(SET, RADIUS, 'disc')", "a set and what is near: 'diamond', 'disc' or 'square'"),
    "disc": ("disc([PANEL,] ROW, COLUMN, RADIUS)", "a disc on one panel, or on all"),
    "square": ("square([PANEL,] ROW, COLUMN, RADIUS)", "a square on one panel, or on all"),
    "file": ("file('NAME'), file('NAME', 'DATASET')", "pixels that are 0 in an array of text, npy, npz or HDF5"),
}
"""Sets of bad pixels: how each is written, and what it is."""
FURTHER_STATUS = ("status_extra", "status_data")
"""What counts as status beside ``pixel_status``, where it is there."""
PLACES = {"panel": 0, "row": 1, "column": 2}
"""Numbers of a pixel that are its place, from 0."""
SHORT = {name.removeprefix("pixel_"): name for name in PIXEL_TYPES if name not in ("pixel_mask", "pixel_status")}
"""Constants that numbers of pixels may come from, under their names without ``pixel_`` too."""
STATISTICS: dict[str, Callable[..., Any]] = {"median": np.nanmedian, "mean": np.nanmean, "std": np.nanstd}
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_COMPUTE: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
}


@dataclass(frozen=True, eq=False)
class Masked:
    """What an expression came to.

    Attributes
    ----------
    mask : ndarray of uint8
        1 good, 0 bad, in the shape of constants in files (the two panels of a CSPAD 2x2 last).
    causes : list of (str, int)
        The parts of an outermost ``or``, and how many pixels each calls bad.
    files : list of Path
        Files of constants that were used.
    without_effect : list of str
        Those parts that can call no pixel of this detector bad, whatever its constants: ``unbonded`` of a camera.
    """

    mask: Mask
    causes: list[tuple[str, int]]
    files: list[Path]
    without_effect: list[str]

    @property
    def bad(self) -> int:
        """Number of bad pixels."""
        return int(np.count_nonzero(self.mask == 0))


class Known(Protocol):
    """Constants of a detector in a run, such as `psanacli.detector.DetectorConstants`."""

    def get(self, constants_type: str, /) -> Constants | None:
        """Return the constants of a type; None when there are none."""

    def need(self, constants_type: str, /) -> Constants:
        """Return the constants of a type; that there are none is an error."""


def mask_of(expression: str, source: str, shape: Sequence[int], constants: Known | None = None) -> Masked:
    """Return the mask of the pixels that an expression calls bad.

    Parameters
    ----------
    expression : str
        ``status or edges(2) or disc(3, 100, 120, 15)``.
    source : str
        The detector, which decides about ASICs and unbonded pixels: ``CxiDs1.0:Cspad.0``.
    shape : sequence of int
        Of its constants, without gain ranges.
    constants : object with `get` and `need`, optional
        The constants of the detector, in the shape of files.  What has one array for each gain range is bad where it is
        bad in any of them.

    Raises
    ------
    ExpressionError
        The expression is wrong; the hint shows where.
    ConstantsError
        There are no constants of a type that it names.

    Examples
    --------
    >>> mask_of("edges(2) or row == 10", "XppGon.0:Epix100a.1", (704, 768)).bad
    6628
    """
    kind = kind_of(source)
    pixels = _Pixels(expression, kind, tuple(shape), constants)
    whole = parse(expression)
    parts = whole.operands if isinstance(whole, tree.Logic) and whole.operator == "or" else (whole,)
    causes = []
    without_effect = []
    total = np.zeros(pixels.panels, bool)
    for part in parts:
        read = pixels.arrays_read
        found = pixels.set_of(part)
        text, count = expression[slice(*part.span)], int(np.count_nonzero(found))
        causes.append((text, count))
        # Constants may call nothing bad today; what only asks for places or panels never will.
        if not count and pixels.arrays_read == read:
            without_effect.append(text)
        total |= found
    return Masked(pixels.as_in_files(np.asarray(~total, np.uint8)), causes, pixels.files, without_effect)


class _Pixels:
    """The pixels of a detector, with what an expression may ask of them."""

    def __init__(self, text: str, kind: DetectorKind, shape: tuple[int, ...], constants: Known | None) -> None:
        self.text = text
        self.kind = kind
        self.shape = shape
        self.constants = constants
        self.files: list[Path] = []
        self.arrays_read = 0
        #: Always three axes: panels, rows, columns.
        self.panels = self.with_panels_first(np.empty(shape, np.bool_)).shape

    def with_panels_first(self, array: Numbers) -> Numbers:
        """Return an array in the shape of files, perhaps with gain ranges before, as (..., panels, rows, columns)."""
        if self.kind.interleaved:
            return np.moveaxis(array, -1, -3)
        return array if len(self.shape) > 2 else array.reshape(*array.shape[:-2], 1, *array.shape[-2:])

    def as_in_files(self, mask: Mask) -> Mask:
        """Return a mask in the shape of files."""
        return np.ascontiguousarray(np.moveaxis(mask, 0, -1) if self.kind.interleaved else mask.reshape(self.shape))

    def fail(self, node: tree.Node, message: str, hint: str = "") -> NoReturn:
        raise ExpressionError(message, tree.Place(self.text, node.span), hint)

    # -- sets ---------------------------------------------------------------------------------------------------------

    def set_of(self, node: tree.Node) -> Bad:
        """Return the pixels that a part calls bad, shape (panels, rows, columns)."""
        if isinstance(node, tree.Logic):
            sets = [self.set_of(each) for each in node.operands]
            if node.operator == "not":
                return ~sets[0]
            join = np.logical_and if node.operator == "and" else np.logical_or
            return np.asarray(join.reduce(sets))
        if isinstance(node, tree.Comparison):
            return self.compared(node)
        if isinstance(node, tree.Name | tree.Call):
            name = node.text if isinstance(node, tree.Name) else node.function
            if name in MASK_TERMS:
                arguments = node.arguments if isinstance(node, tree.Call) else ()
                found: Bad = getattr(self, f"_{name}")(node, arguments)
                return found
            if name in STATISTICS or name in PLACES or SHORT.get(name, name) in SHORT.values():
                self.fail(node, f"{name} is a number of pixels, not a set of them", f"compare it: {name} > 10")
            self.unknown(node, name)
        self.fail(node, "this is no set of bad pixels", "such as status, edges(2), pixel_rms > 20")

    def unknown(self, node: tree.Node, name: str) -> NoReturn:
        known = [*MASK_TERMS, *PLACES, *STATISTICS, "abs", *SHORT.values(), *SHORT]
        self.fail(
            node, f"there is no {name!r}", did_you_mean(name, known, "there are " + ", ".join(dict.fromkeys(known)))
        )

    def _status(self, node: tree.Node, arguments: Sequence[tree.Node]) -> Bad:
        bits = 0
        for each in arguments:
            bits |= self.whole(each, 1, ALL_BITS)
        found = self.of_status(masks.from_status(self.array(node, "pixel_status"), bits or ALL_BITS) == 0)
        bad = self.over_ranges(node, found)
        for name in () if bits else FURTHER_STATUS:
            if self.constants is not None and self.constants.get(name) is not None:
                bad |= self.over_ranges(node, self.of_status(self.array(node, name) != 0))
        return bad

    def _pixel_mask(self, node: tree.Node, arguments: Sequence[tree.Node]) -> Bad:
        self.count(node, arguments, 0)
        return self.over_ranges(node, self.of_status(self.array(node, "pixel_mask") == 0))

    def of_status(self, bad: Bad) -> Bad:
        """Return those gain ranges whose status counts."""
        chosen = masks.RANGES_OF_STATUS.get(len(bad)) if bad.ndim > len(self.panels) else None
        return bad if chosen is None else bad[list(chosen)]

    def _edges(self, node: tree.Node, arguments: Sequence[tree.Node]) -> Bad:
        self.count(node, arguments, 0, 1, 2)
        widths = [self.whole(each, 0, max(self.panels[1:])) for each in arguments] or [1]
        if not any(widths):
            self.fail(node, "a rim of 0 pixels is none", "leave it out; edges(0, 2) is the two columns on each side")
        return self.bad(node, lambda: masks.edges(self.panels, widths[0], widths[-1]))

    def _central(self, node: tree.Node, arguments: Sequence[tree.Node]) -> Bad:
        self.count(node, arguments, 0, 1)
        width = self.whole(arguments[0], 1, max(self.panels[1:])) if arguments else 1
        return self.bad(node, lambda: masks.central(self.panels, self.kind.device, width))

    def _unbonded(self, node: tree.Node, arguments: Sequence[tree.Node]) -> Bad:
        self.count(node, arguments, 0)
        return self.bad(node, lambda: masks.unbonded(self.panels, self.kind.device))

    def _neighbours(self, node: tree.Node, arguments: Sequence[tree.Node]) -> Bad:
        self.count(node, arguments, 1, 2)
        many = self.whole(arguments[1], 4, 8) if len(arguments) > 1 else 4
        if many not in (4, 8):
            self.fail(arguments[1], "a pixel has 4 or 8 neighbours")
        good = np.asarray(~self.set_of(arguments[0]), np.uint8)
        return np.asarray(masks.with_neighbours(good, many == 8) == 0)

    def _near(self, node: tree.Node, arguments: Sequence[tree.Node]) -> Bad:
        self.count(node, arguments, 2, 3)
        good = np.asarray(~self.set_of(arguments[0]), np.uint8)
        radius = self.whole(arguments[1], 0, 1000)
        form: Any = self.word(arguments[2]) if len(arguments) > 2 else "diamond"
        return self.bad(node, lambda: masks.with_surroundings(good, radius, form))

    def _disc(self, node: tree.Node, arguments: Sequence[tree.Node]) -> Bad:
        panels, row, column, radius = self.around(node, arguments)
        inside = (self.place[1] - row) ** 2 + (self.place[2] - column) ** 2 <= radius * radius
        return self.somewhere(node, panels & inside)

    def _square(self, node: tree.Node, arguments: Sequence[tree.Node]) -> Bad:
        panels, row, column, radius = self.around(node, arguments)
        inside = (abs(self.place[1] - row) <= radius) & (abs(self.place[2] - column) <= radius)
        return self.somewhere(node, panels & inside)

    def somewhere(self, node: tree.Node, found: Bad) -> Bad:
        """Return the pixels of a form; that there are none is an error, as it stands beside the detector."""
        if found.any():
            return found
        rows, columns = self.panels[1:]
        self.fail(
            node,
            "no pixel of the detector is in this form",
            f"rows are 0 to {rows - 1}, columns 0 to {columns - 1}, in the order [PANEL,] ROW, COLUMN, RADIUS",
        )

    def around(self, node: tree.Node, arguments: Sequence[tree.Node]) -> tuple[Bad, float, float, float]:
        """Return the panels, and the centre and size of a form on them."""
        self.count(node, arguments, 3, 4)
        panels = np.ones(self.panels, bool)
        if len(arguments) == 4:
            panels &= self.place[0] == self.whole(arguments[0], 0, self.panels[0] - 1)
        row, column, radius = (float(self.number(each)) for each in arguments[-3:])
        if radius < 0:
            self.fail(arguments[-1], "a radius cannot be negative")
        return panels, row, column, radius

    def _file(self, node: tree.Node, arguments: Sequence[tree.Node]) -> Bad:
        self.count(node, arguments, 1, 2)
        words = [self.word(each) for each in arguments]
        self.arrays_read += 1
        try:
            array = read_array(Path(words[0]), *words[1:]).array
        except PsanaError as error:
            raise tree.pointed(error, tree.Place(self.text, node.span)) from error
        if self.kind.interleaved and array.shape == self.panels:
            return np.asarray(array == 0)
        if array.size != np.prod(self.shape):
            self.fail(node, f"{words[0]} has the shape {array.shape}, the detector {self.shape}")
        return np.asarray(self.with_panels_first(array.reshape(self.shape)) == 0)

    def bad(self, node: tree.Node, make: Callable[[], Mask]) -> Bad:
        """Return the bad pixels of a mask; an error of its making points at the part."""
        try:
            return np.asarray(make() == 0)
        except PsanaError as error:
            raise tree.pointed(error, tree.Place(self.text, node.span)) from error

    # -- numbers ------------------------------------------------------------------------------------------------------

    def compared(self, node: tree.Comparison) -> Bad:
        result: Any = True
        for k, sign in enumerate(node.operators):
            left, right = node.operands[k : k + 2]
            value = self.numbers(left)
            if isinstance(right, tree.Listing):
                one = np.isin(value, [self.number(item) for item in right.items])
                one = ~one if sign == "not in" else one
            else:
                with np.errstate(all="ignore"):
                    one = _COMPARE[sign](value, self.numbers(right))
            result = np.logical_and(result, one)
        return self.over_ranges(node, result)

    def over_ranges(self, node: tree.Node, found: Any) -> Bad:
        """Return what is bad in any gain range, for all pixels."""
        found = np.asarray(found)
        while found.ndim > len(self.panels):
            found = found.any(axis=0)
        return np.broadcast_to(found, self.panels).copy()

    def numbers(self, node: tree.Node) -> Any:
        """Return the numbers of all pixels, or one for all, that a part stands for."""
        if isinstance(node, tree.Constant):
            return self.number(node)
        if isinstance(node, tree.Operation):
            values = [self.numbers(each) for each in node.operands]
            with np.errstate(all="ignore"):
                return -values[0] if len(values) == 1 else _COMPUTE[node.operator](*values)
        if isinstance(node, tree.Element):
            value = np.asarray(self.numbers(node.value))
            index = node.index[0]
            if value.ndim <= len(self.panels) or len(node.index) != 1 or not isinstance(index, int):
                self.fail(node, "only constants with several gain ranges have elements, one for each range")
            if not -value.shape[0] <= index < value.shape[0]:
                self.fail(node, f"there are {value.shape[0]} gain ranges")
            return value[index]
        if isinstance(node, tree.Name):
            if node.text in PLACES:
                return self.place[PLACES[node.text]]
            name = SHORT.get(node.text, node.text)
            if name in PIXEL_TYPES and name != "pixel_mask":
                return self.array(node, name)
            if name in MASK_TERMS:
                self.fail(node, f"{name} is a set of pixels, not numbers")
            self.unknown(node, node.text)
        if isinstance(node, tree.Call):
            if node.function not in STATISTICS and node.function != "abs":
                if node.function in MASK_TERMS:
                    self.fail(node, f"{node.function} is a set of pixels, not numbers")
                self.unknown(node, node.function)
            self.count(node, node.arguments, 1)
            value = np.asarray(self.numbers(node.arguments[0]), np.float64)
            if node.function == "abs":
                return abs(value)
            if value.ndim < len(self.panels):
                self.fail(
                    node, f"{node.function} is of the numbers of all pixels", f"such as {node.function}(pixel_rms)"
                )
            return STATISTICS[node.function](value, axis=(-3, -2, -1), keepdims=True)  # of each gain range
        self.fail(node, "numbers were expected here")

    @cached_property
    def place(self) -> list[Numbers]:
        """Panel, row and column of pixels, to be broadcast."""
        return list(np.indices(self.panels, sparse=True))

    def array(self, node: tree.Node, name: str) -> Numbers:
        """Return constants as (..., panels, rows, columns)."""
        self.arrays_read += 1
        try:
            if self.constants is None:
                raise ConstantsError(f"there are no constants, and so no {name}")
            found = self.constants.need(name)
        except PsanaError as error:
            raise tree.pointed(error, tree.Place(self.text, node.span)) from error
        if found.file is not None and found.file not in self.files:
            self.files.append(found.file)
        return self.with_panels_first(found.array)

    def number(self, node: tree.Node) -> int | float:
        if isinstance(node, tree.Operation) and node.operator == "-" and len(node.operands) == 1:
            return -self.number(node.operands[0])
        if not isinstance(node, tree.Constant) or isinstance(node.value, str | bool):
            self.fail(node, "a number was expected here")
        return node.value

    def whole(self, node: tree.Node, low: int, high: int) -> int:
        value = self.number(node)
        if not isinstance(value, int) or not low <= value <= high:
            self.fail(node, f"a whole number from {low} to {high} was expected here")
        return value

    def word(self, node: tree.Node) -> str:
        if not isinstance(node, tree.Constant) or not isinstance(node.value, str):
            self.fail(node, "a text in quotes was expected here")
        return node.value

    def count(self, node: tree.Node, arguments: Sequence[tree.Node], *counts: int) -> None:
        """Fail unless there is one of these numbers of arguments."""
        if len(arguments) not in counts:
            name = node.function if isinstance(node, tree.Call) else self.text[slice(*node.span)]
            usage = MASK_TERMS[name][0] if name in MASK_TERMS else f"{name}(NUMBERS)"
            self.fail(node, f"{name} is not used with {len(arguments)} arguments", usage)
