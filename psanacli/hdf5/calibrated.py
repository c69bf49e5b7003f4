"""Corrected images: tables of float32 beside the raw ones or in their place, or as the original's module made them.

``ndarray_float32_3/CxiDs1.0:Cspad.0`` is where the original puts an array that a module adds under the key
``calibrated``.  For CSPADs the facility's automatic translation had corrected int16 in the type of the raw data; that
is `IN_TYPE` (see `cspad_module`).  A plan says what is corrected and with which constants; each worker makes the
recipes for itself, and checks that its constants are the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from psanacli.detector import (
    AreaDetector,
    correct_together,
    find_detector,
    has_image,
    image_shape,
    those_with_pixels,
)
from psanacli.errors import ConstantsError, UsageError
from psanacli.hdf5 import calibstore, cspad_module
from psanacli.hdf5.layout import DatasetLayout, TypeLayout, type_layout
from psanacli.hdf5.names import source_group
from psanacli.hdf5.options import BESIDE, IN_TYPE
from psanacli.hdf5.rows import Rows, WholeRows
from psanacli.hdf5.values import Column
from psanacli.run import Key, Patterns, Run
from psanacli.xtc import Batch

if TYPE_CHECKING:
    from psanacli.hdf5.assembled import Assembly
    from psanacli.hdf5.plan import Planner

KEY = "calibrated"
"""The key of corrected objects in the original."""
_FLOAT, _BYTES = 3, 4


@dataclass(frozen=True)
class Correction:
    """How the images of a detector are corrected: values only, so that a plan can go to other ranks.

    Attributes
    ----------
    source : str
        The detector.
    in_type : bool
        As the original's module did it: int16, in the type of the raw data.
    common_mode : str or None
        What was asked for; None for what the constants say.
    bad : str or None
        Which pixels are 0; None for those with a bad status.
    allow_uncalibrated : bool
        Without pedestals images stay as they were taken.
    constants : tuple of (str, str)
        Types that are used, and the checksums of their files; that of the mask, when `bad` made it.
    """

    source: str
    in_type: bool
    common_mode: str | None
    bad: str | None
    allow_uncalibrated: bool
    constants: tuple[tuple[str, str], ...] = ()


class Corrected(NamedTuple):
    """What is special in a table of images that are made: how, where they stand, and their key in the original."""

    correction: Correction | Assembly
    layout: TypeLayout
    columns: tuple[Column, ...] | None
    type_attributes: tuple[tuple[str, Any], ...] | None
    key: str = KEY


def attributes_of(dimensions: int) -> tuple[tuple[str, Any], ...]:
    """Return the attributes of the group of float32 arrays, as the original writes them."""
    return (
        ("_ndarray", np.uint8(1)),
        ("_ndarrayDim", np.uint32(dimensions)),
        ("_ndarrayElemType", np.int16(_FLOAT)),
        ("_ndarraySizeBytes", np.uint32(_BYTES)),
        ("_ndarrayConstElem", np.uint8(0)),
        ("_vlen", np.uint8(0)),
    )


# ---- planning ------------------------------------------------------------------------------------------------------


class Images:
    """The detectors of a run whose corrected images are wanted.

    Parameters
    ----------
    planner : Planner

    Raises
    ------
    ConstantsError
        Constants are missing or do not fit.
    NotFoundError
        A pattern matches no area detector.
    """

    def __init__(self, planner: Planner) -> None:
        self._planner = planner
        self.wanted: dict[Key, Corrected] = {}
        self._pieces: dict[Key, tuple[Key, ...]] = {}
        options = planner.options
        if not options.calib:
            return
        patterns = Patterns(options.calib, (), planner.run.aliases)
        for key in self._keys(patterns):
            corrected = self._corrected(key)
            if corrected is not None:
                self.wanted[key] = corrected
        if not options.missing_ok:
            there = ", ".join(those_with_pixels(planner.run))
            patterns.check("no detector with images", f"there are {there}" if there else "the run has none")

    def _keys(self, patterns: Patterns) -> Iterator[Key]:
        """Give the keys of the images, one for each detector: of several versions of its type the newest."""
        contents = self._planner.table.contents
        known: set[tuple[int, int]] = set()
        for (_, identity), products in sorted(contents.products.items(), key=lambda entry: entry[0], reverse=True):
            xtc_type, source = products[0][1].xtc_type, contents.sources[identity]
            layout = type_layout(xtc_type.name)
            if layout is None or not has_image(xtc_type.name) or source.identity in known:
                continue
            names = [layout.alias] if layout.alias else []
            types = [*names, layout.name, layout.name.replace(".", "::"), layout.group]
            whole = source.segment.whole if source.segment else None
            if whole is not None and whole.name in self._planner.run.wholes:
                if patterns.accepts(types, whole, source_group(whole)):
                    # Whoever means the whole gets it in one table; patterns also note that they meet its pieces.
                    patterns.accepts(types, source, source_group(source))
                    known.add(source.identity)
                    if whole.identity not in known:
                        known.add(whole.identity)
                        reader = self._planner.run.wholes.reader(whole.name)
                        self._pieces[reader.key] = tuple(piece.readers[0].key for piece in reader.pieces)
                        yield reader.key
                    continue
            if patterns.accepts(types, source, source_group(source)):
                known.add(source.identity)
                yield Key(xtc_type, source)

    def _corrected(self, key: Key) -> Corrected | None:
        planner, options = self._planner, self._planner.options
        layout = type_layout(key.xtc_type.name)
        assert layout is not None
        in_type = options.calib_form == IN_TYPE
        if in_type and not cspad_module.covers(key.xtc_type.name):
            raise UsageError(
                f"{key.source.name}: only images of CSPADs were stored corrected in the type of the raw data",
                f"leave out --calib-form {IN_TYPE}",
            )
        asked = Correction(key.source.name, in_type, options.common_mode, options.bad, options.allow_uncalibrated)
        corrector = Corrector(planner.run, asked)
        if not len(corrector.detector.event_numbers):
            planner.plan.notes.append(f"{key.source.name}: all its images are damaged, so none is corrected")
            return None
        correction = corrector.used()
        if not corrector.calibrated:
            planner.plan.notes.append(f"{key.source.name}: there are no pedestals, so its images stay uncorrected")
        calibstore.add(planner.plan, corrector.detector, corrector, key.source)
        if in_type:
            return Corrected(correction, layout, None, None)
        shape = corrector.detector.shape
        form = DatasetLayout("data", form="f4", value="data", rank=len(shape))
        made = TypeLayout(KEY, f"ndarray_float32_{len(shape)}", 0, "", (form,))
        return Corrected(correction, made, (Column(form, tuple(shape)),), attributes_of(len(shape)))

    def replaces(self, key: Key) -> bool:
        """Return whether the raw images of a key are not written, as the corrected ones are."""
        return key in self.keys and self._planner.options.calib_form != BESIDE

    @property
    def keys(self) -> list[Key]:
        """The keys of all objects that are read for them: of detectors in pieces those of the pieces."""
        return [piece for key in self.wanted for piece in self._pieces.get(key, (key,))]

    def rows(self) -> Iterator[tuple[Rows, TypeLayout, Corrected]]:
        """Give the rows of the tables of all of them."""
        planner = self._planner
        for key, made in self.wanted.items():
            pieces = self._pieces.get(key)
            rows = planner.detected(key) if pieces is None else whole_of(planner, key, pieces)
            yield planner.spread(rows), made.layout, made


def whole_of(planner: Planner, key: Key, pieces: Sequence[Key]) -> WholeRows:
    """Return the rows of a detector in pieces."""
    return WholeRows(key, tuple(planner.detected(piece) for piece in pieces))


# ---- filling -------------------------------------------------------------------------------------------------------


class Corrector:
    """Makes the corrected images of one detector; threads may share it.

    Parameters
    ----------
    run : Run
    correction : Correction

    Raises
    ------
    ConstantsError
        Constants are missing, or are not those of the plan.
    """

    def __init__(self, run: Run, correction: Correction) -> None:
        found = find_detector(run, correction.source)
        if not isinstance(found, AreaDetector):
            raise UsageError(f"{correction.source} is no area detector")
        self.detector = found
        self.correction = correction
        self._run = run
        self._module = cspad_module.Module(found, correction.allow_uncalibrated) if correction.in_type else None
        self._mask = self._masked()
        numbers = found.event_numbers
        self.recipe = None if self._module or not len(numbers) else self._recipe(int(numbers[0]))
        if correction.constants and correction.constants != self.used().constants:
            raise ConstantsError(
                f"{correction.source}: its constants have changed since the translation began", "translate it again"
            )

    @property
    def calibrated(self) -> bool:
        """Whether there are pedestals."""
        return self._module.calibrated if self._module else self.recipe is not None

    @property
    def common_mode(self) -> str:
        """The common mode that is subtracted, in words."""
        if self._module:
            return str(self._module.common_mode)
        return str(self.recipe.common_mode) if self.recipe else ""

    def used(self) -> Correction:
        """Return the correction with the checksums of the constants that are used."""
        constants = sorted((each.type, each.checksum) for each in self.detector.constants.used)
        if self._mask is not None:
            constants.append(("mask", hashlib.sha256(self._mask).hexdigest()))
        return replace(self.correction, constants=tuple(constants))

    @property
    def mask(self) -> NDArray[np.uint8] | None:
        """The mask that is applied, in the shape of the images; None when there is none."""
        return self.detector.status_as_mask() if self._mask is None else self._mask

    def _masked(self) -> NDArray[np.uint8] | None:
        """Return the mask that was asked for."""
        bad = self.correction.bad
        return None if bad is None else self.detector.mask(bad)

    def _recipe(self, event: int) -> Any:
        correction = self.correction
        return self.detector.recipe(
            self._run.events[event],
            common_mode=correction.common_mode,
            mask=self._mask,
            allow_uncalibrated=correction.allow_uncalibrated,
        )

    def rows(self, column: Column, batch: Batch, events: NDArray[np.int64]) -> NDArray[Any] | None:
        """Return the rows of a column for some objects.

        Parameters
        ----------
        column : Column
            Of the table.
        batch : Batch
            The raw data.
        events : ndarray of int64
            Their numbers in the run.

        Returns
        -------
        ndarray or None
            None when the column is as in the raw data.
        """
        if self._module:
            return self._module.rows(column, batch, events)
        result = np.empty((len(batch), *column.shape), np.float32)
        correct_together(self._uncorrected(column.shape, batch, events.tolist()), result)
        return result

    def _uncorrected(self, shape: tuple[int, ...], batch: Batch, events: list[int]) -> Iterator[tuple[Any, Any]]:
        """Yield the raw image of each object, as the recipe takes it that comes with it."""
        for place, number in enumerate(events):
            recipe, record = self._recipe(number), batch[place]
            raw = self.detector.assembled(record) if recipe is None else self.detector.pixels(record)
            found = image_shape(raw, recipe)
            if found != shape:
                raise ConstantsError(
                    f"{self.correction.source}: event {number} has an image of {found}, others of {shape}"
                )
            yield raw, recipe
