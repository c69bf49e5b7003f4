"""What a translation is asked for: a value that the command line fills, and that is kept in the file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import NotFoundError, UsageError, check_events, did_you_mean
from psanacli.hdf5.compression import Compression
from psanacli.hdf5.layout import TypeLayout
from psanacli.hdf5.names import source_group
from psanacli.run import Patterns
from psanacli.xtc import Source

EPICS_MODES = ("calib-repeat", "updates", "always", "no")
BESIDE, INSTEAD, IN_TYPE = CALIB_FORMS = ("beside", "instead", "in-type")
"""Where corrected images stand: float32 beside the raw images, in their place, or int16 in the type of the raw ones."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TranslateOptions:
    """What to translate, and how.

    Attributes
    ----------
    include, exclude : tuple of str
        Patterns, see `Selection`. With `include` nothing else is translated; `exclude` is taken away from that.
    missing_ok : bool
        A pattern that matches nothing in the run is no error.
    epics : str
        ``calib-repeat``: each step begins with the values in force, then as ``updates``; ``updates``: a row for each
        event that brought a new record (the first event of the run has all that are known); ``always``: a row for
        each event; ``no``: nothing.
    compression : Compression
        Filters of the datasets.
    events : slice, or ndarray of int64
        Which events of the run. The order in the file is that of the run, and each is there once, whatever the order of
        the numbers.
    steps : tuple of int or None
        Which steps, counted from 0 in the run; None for all.
    configure_events : bool
        Also translate the event data of the Configure transition, which are no measurements.
    aligned : bool
        Same rows for all detectors: one a event, with a mask where a detector is absent.
    split : bool
        One file a step, and a master file with links to them.
    calib : tuple of str
        Patterns of area detectors whose corrected images are written, see `Patterns`.
    calib_form : str
        ``beside``: float32, beside the raw images; ``instead``: in their place; ``in-type``: int16 in the type of the
        raw images and in their place, as the original had it of CSPADs.
    common_mode : str or None
        The common mode that is subtracted from them; None for what the constants say.
    bad : str or None
        Which of their pixels are 0, as `psanacli.calib.mask_of` takes it; None for those with a bad status.
    allow_uncalibrated : bool
        Images of detectors without pedestals are written as they were taken.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    missing_ok: bool = False
    epics: str = "calib-repeat"
    compression: Compression = field(default_factory=Compression)
    events: slice | NDArray[np.int64] = field(default_factory=lambda: slice(None))
    steps: tuple[int, ...] | None = None
    configure_events: bool = True
    aligned: bool = False
    split: bool = False
    calib: tuple[str, ...] = ()
    calib_form: str = BESIDE
    common_mode: str | None = None
    bad: str | None = None
    allow_uncalibrated: bool = False

    def __post_init__(self) -> None:
        if self.epics not in EPICS_MODES:
            raise UsageError(
                f"EPICS values cannot be stored as {self.epics!r}",
                did_you_mean(self.epics, EPICS_MODES, f"one of {', '.join(EPICS_MODES)}"),
            )
        if self.calib_form not in CALIB_FORMS:
            raise UsageError(
                f"corrected images cannot be stored as {self.calib_form!r}",
                did_you_mean(self.calib_form, CALIB_FORMS, f"one of {', '.join(CALIB_FORMS)}"),
            )
        if not self.calib and (self.calib_form != BESIDE or self.common_mode or self.bad or self.allow_uncalibrated):
            raise UsageError("no detector is named whose images are to be corrected", "say --calib DETECTOR")
        if (self.common_mode or self.bad) and self.calib_form == IN_TYPE:
            raise UsageError("images in the type of the raw ones have the common mode of their constants, and no mask")
        if self.aligned and self.split:
            raise UsageError("an aligned file has no steps, so it cannot be split by steps")

    def numbers(self, count: int) -> NDArray[np.int64]:
        """Return the numbers of the events of a run of `count` events, ascending.

        Raises
        ------
        NotFoundError
            The slice begins behind the last event, or there is no event of a number.
        """
        if isinstance(self.events, slice):
            check_events(self.events, count, "the run")
            return np.arange(*self.events.indices(count))
        numbers = np.unique(self.events)
        beyond = numbers[(numbers < 0) | (numbers >= count)]
        if len(beyond):
            raise NotFoundError(f"there is no event {beyond[0]}", f"the run has {count} events")
        return numbers

    @property
    def ends_early(self) -> bool:
        """Whether the events end at a number, so that the rest of the run is not looked at."""
        return isinstance(self.events, slice) and self.events.stop is not None

    def record(self) -> dict[str, Any]:
        """Return the options as plain values, for the provenance and the fingerprint of a resumed translation."""
        values = asdict(replace(self, events=slice(None)))
        if isinstance(self.events, slice):
            values["events"] = [self.events.start, self.events.stop, self.events.step]
        else:
            numbers = np.ascontiguousarray(self.events, "<i8")
            values["events"] = {"count": len(numbers), "sha256": hashlib.sha256(numbers).hexdigest()}
        values["compression"] = str(self.compression)
        return values


class Selection:
    """Decides which types and sources are translated, by `Patterns`.

    A pattern is compared with the name of the type (``Camera.FrameV1``, ``Camera::FrameV1``, or its short name in
    filters, ``Frame``), with the source, and with both as ``TYPE__SOURCE``.

    Parameters
    ----------
    options : TranslateOptions
    aliases : mapping of str to Source
        DAQ aliases of the run.
    """

    def __init__(self, options: TranslateOptions, aliases: Mapping[str, Source]) -> None:
        self._patterns = Patterns(options.include, options.exclude, aliases)

    def accepts(self, layout: TypeLayout, source: Source) -> bool:
        """Return whether objects of this type and source are translated."""
        shown = [layout.alias] if layout.alias else []
        types = [*shown, layout.name, layout.name.replace(".", "::"), layout.group]
        if source.segment is None:
            return self._patterns.accepts(types, source, source_group(source))
        # A piece of a detector is also meant by the name of the whole. All are asked: patterns note what they meet.
        meant = [source, source.segment.whole]
        found = [self._patterns.accepts(types, each, source_group(each)) for each in meant]
        return any(found) and not any(self._patterns.excluded(types, each) for each in meant)

    def check(self) -> None:
        """Raise if a pattern matched nothing.

        Raises
        ------
        NotFoundError
            With the names that are near to the first such pattern.
        """
        self._patterns.check()
