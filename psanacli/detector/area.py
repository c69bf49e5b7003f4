"""Area detectors: corrected images, one by one and by blocks, and photons."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from psanacli.calib import CommonMode, Raw, Recipe, from_numbers, parse_common_mode, photons
from psanacli.detector.image_detector import ImageDetector
from psanacli.detector.together import AnyRecipe, correct_together, image_shape
from psanacli.errors import ConstantsError, DataError, UsageError
from psanacli.parallel import launched
from psanacli.run import Event, Events
from psanacli.xtc import Record

if TYPE_CHECKING:
    from psanacli.run import FoundDetector, Run

Image = NDArray[np.float32]
CommonModeChoice = CommonMode | Sequence[float] | str | Literal[False] | None
ArrayChoice = NDArray[Any] | Literal[False] | None

_KEPT_RECIPES = 8
_BLOCK = 1 << 25


@dataclass(frozen=True, eq=False)
class ImageBlock:
    """Images of some events one after the other.

    Attributes
    ----------
    events : Events
        Those events of the block that have the detector.
    images : ndarray, shape (events, ...)
        Raw or corrected images.
    """

    events: Events
    images: NDArray[Any]

    def __len__(self) -> int:
        return len(self.images)


class AreaDetector(ImageDetector):
    """A detector of images.

    Arrays of pixels have the shape of the raw image, panels first; constants of detectors that switch gains have one
    such array for each range.  An event without the detector gives None.

    Examples
    --------
    >>> camera = run.detector("DscCsPad")                                  # doctest: +SKIP
    >>> image = camera.calib(run.events[0])                                # doctest: +SKIP
    >>> image = camera.calib(event, common_mode="median", mask=False)      # doctest: +SKIP
    """

    def __init__(self, run: Run, found: FoundDetector) -> None:
        super().__init__(run, found)
        self._lock = threading.Lock()
        self._recipes: OrderedDict[tuple[Any, ...], tuple[AnyRecipe | None, Any]] = OrderedDict()

    # Correction

    def recipe(
        self,
        event: Event | None = None,
        *,
        common_mode: CommonModeChoice = None,
        mask: ArrayChoice = None,
        gain: ArrayChoice = None,
        gain_map: ArrayChoice = None,
        allow_uncalibrated: bool = False,
    ) -> AnyRecipe | None:
        """Return the function that corrects images; arguments as for `calib`.

        Returns
        -------
        Recipe, RangedRecipe, or None
            None when there are no pedestals, and that is allowed.
        """
        config = self.config(event)
        mode = self._mode(common_mode)
        mask, gain, gain_map = (
            np.asarray(each) if isinstance(each, list | tuple) else each for each in (mask, gain, gain_map)
        )
        key = (id(config), mode, *map(_token, (mask, gain, gain_map)), allow_uncalibrated)
        with self._lock:
            if key in self._recipes:
                self._recipes.move_to_end(key)
                return self._recipes[key][0]
        try:
            made = self._make(config, mode, mask, gain, gain_map)
        except ConstantsError:
            if not allow_uncalibrated or self.constants.get("pedestals") is not None:
                raise
            made = None
        # An array that its owner can write to may be another one in the next call.
        if all(not isinstance(each, np.ndarray) or not each.flags.writeable for each in (mask, gain, gain_map)):
            with self._lock:
                self._recipes[key] = made, (config, mask, gain, gain_map)
                while len(self._recipes) > _KEPT_RECIPES:
                    self._recipes.popitem(last=False)
        return made

    def _mode(self, common_mode: CommonModeChoice) -> CommonMode | None:
        """Return the common mode that is meant; None: what the constants say."""
        if common_mode is None or isinstance(common_mode, CommonMode):
            return common_mode
        if common_mode is False:
            return from_numbers([0], self.device)
        if isinstance(common_mode, str):
            return parse_common_mode(common_mode, self.device)
        return from_numbers([float(number) for number in common_mode], self.device)

    def _make(
        self,
        config: Record | None,
        mode: CommonMode | None,
        mask: ArrayChoice,
        gain: ArrayChoice,
        gain_map: ArrayChoice,
    ) -> AnyRecipe:
        """Return a new recipe."""
        pedestals = self.pedestals
        mode = self.common_mode if mode is None else mode
        return Recipe(
            self.device,
            pedestals,
            gain=self._chosen(gain, self.gain, "gain"),
            gain_map=self._chosen(gain_map, self._map_of(config), "gain_map"),
            mask=self._chosen(mask, self.status_as_mask(), "mask"),
            good=self._good(mode, mask),
            common_mode=mode,
            rms=self.rms,
        )

    def _map_of(self, config: Record | None) -> NDArray[Any] | None:
        return None

    def _good(self, mode: CommonMode, mask: ArrayChoice) -> NDArray[np.uint8] | None:
        """Return which pixels count for the common mode: those without a bit of `pixel_status`."""
        status = self.status
        return None if status is None else np.asarray(status == 0, np.uint8)

    def _chosen(self, given: ArrayChoice, usual: NDArray[Any] | None, what: str) -> NDArray[Any] | None:
        if given is None:
            return usual
        if given is False:
            return None
        if isinstance(given, str):
            raise UsageError(f"{self.name}: {what}= is an array, not text", "det.mask(EXPRESSION) makes a mask of one")
        if np.size(given) != np.prod(self.shape) and (usual is None or np.size(given) != usual.size):
            raise UsageError(f"{self.name}: {what}= has the shape {np.shape(given)}, images have {self.shape}")
        return np.asarray(given)

    def calib(
        self,
        event: Event,
        *,
        common_mode: CommonModeChoice = None,
        mask: ArrayChoice = None,
        gain: ArrayChoice = None,
        gain_map: ArrayChoice = None,
        allow_uncalibrated: bool = False,
        out: Image | None = None,
    ) -> Image | None:
        """Return the corrected image: without pedestals and common mode, times gains, bad pixels 0.

        Parameters
        ----------
        event : Event
            Which event.
        common_mode : optional
            The numbers of the original (``[1, 25, 25, 100]`` or ``"1,25,25,100"``), a name with parameters
            (``"median:rows=yes"``), a `CommonMode`, or False for none.  Default is what the constants say, else what
            is usual for such a detector.
        mask : ndarray or False, optional
            0 where the result is 0.  Default is the mask of the status of pixels; an array is taken in its place
            (``det.mask(edges=1, user=mine)`` makes one of all that is bad).
        gain : ndarray or False, optional
            In place of `pixel_gain`.
        gain_map : ndarray or False, optional
            In place of what the configuration says (CSPAD).
        allow_uncalibrated : bool
            Without pedestals return the raw image as float32, with nothing else done.
        out : ndarray of float32, optional
            Where to write it.

        Returns
        -------
        ndarray of float32, in the shape of the raw image, or None
            ADU times the gain factors; of detectors that switch gains, with gains, keV.

        Raises
        ------
        ConstantsError
            There are no pedestals for this run, or constants do not fit; the message names detector, run and files.
        UsageError
            The common mode is not for this detector, or an array has a wrong shape.
        DataError
            The image cannot be read; `out` may hold a part of it then.
        """
        found = self._with_recipe(
            self._index(event),
            event,
            common_mode=common_mode,
            mask=mask,
            gain=gain,
            gain_map=gain_map,
            allow_uncalibrated=allow_uncalibrated,
        )
        if found is None:
            return None
        raw, recipe = found
        if out is None:
            out = self.empty(image_shape(raw, recipe), np.float32)
        if recipe is not None:
            return recipe(raw, out)
        assert isinstance(raw, np.ndarray)
        out[...] = raw
        return out

    def _with_recipe(
        self, index: int, event: Event, **options: Any
    ) -> tuple[Raw, AnyRecipe] | tuple[NDArray[Any], None] | None:
        """Return the raw image of an event as its recipe takes it, with the recipe; None when the event has none."""
        raw = self.in_file(index)
        record = self._record(index) if raw is None else None
        if raw is None and record is None:
            return None
        recipe = self.recipe(event, **options)
        if recipe is not None and raw is not None:
            return raw, recipe
        if record is None:
            record = self._record(index)
            assert record is not None
        return (self.assembled(record), None) if recipe is None else (self.pixels(record), recipe)

    def photons(
        self,
        event: Event,
        *,
        adu_per_photon: float = 1.0,
        threshold: float = 0.9,
        photon_mask: NDArray[np.uint8] | None = None,
        **options: Any,
    ) -> NDArray[np.uint16] | None:
        """Return the number of photons in each pixel; see `psanacli.calib.photons`.

        Parameters
        ----------
        event : Event
            Which event.
        adu_per_photon : float
            Units of the corrected image that one photon makes.
        threshold : float
            Fractions of two neighbours that make one photon together.
        photon_mask : ndarray of uint8, optional
            Pixels that are 0 have no photons, and share none with their neighbours.
        **options
            As for `calib`.
        """
        image = self.calib(event, **options)
        if image is None:
            return None
        return photons(image, adu_per_photon=adu_per_photon, threshold=threshold, mask=photon_mask)

    # Many images

    def images(
        self,
        events: Events | NDArray[np.integer] | Sequence[int],
        *,
        calib: bool = True,
        out: NDArray[Any] | None = None,
        **options: Any,
    ) -> NDArray[Any]:
        """Return the images of several events, one behind the other.

        Parameters
        ----------
        events : Events or array of int
            Which events, or their numbers in the run; all have to have the detector (`event_numbers`).
        calib : bool
            Corrected images; else raw ones.
        out : ndarray, optional
            Where to write them.
        **options
            As for `calib`.

        Returns
        -------
        ndarray, shape (events, ...)
            float32, or as `raw` gives them.

        Raises
        ------
        DataError
            The shape changes between the events.
        UsageError
            An event does not have the detector.
        """
        numbers = np.asarray(events.indices if isinstance(events, Events) else events, np.int64).tolist()
        if not numbers:
            return np.empty((0, *self.shape), np.float32 if calib else self.dtype) if out is None else out
        images = self._uncorrected(numbers, calib, options)
        first = next(images)
        if out is None:
            out = self.empty((len(numbers), *image_shape(*first)), np.float32 if calib else first[0].dtype)
        shape = out.shape[1:]

        def of_one_shape() -> Iterator[tuple[Raw, AnyRecipe | None]]:
            for number, image in zip(numbers, chain([first], images), strict=True):
                found = image_shape(*image)
                if found != shape:
                    raise DataError(f"{self.name}: event {number} has an image of {found}, others of {shape}")
                yield image

        correct_together(of_one_shape(), out)
        return out

    def _uncorrected(
        self, numbers: list[int], calib: bool, options: dict[str, Any]
    ) -> Iterator[tuple[Raw, AnyRecipe] | tuple[NDArray[Any], None]]:
        """Yield the raw image of each event, as the recipe takes it that comes with it."""
        for number in numbers:
            if calib:
                found = self._with_recipe(number, self._run.events[number], **options)
            else:
                raw = self._raw_of(number)
                found = None if raw is None else (raw, None)
            if found is None:
                raise UsageError(f"event {number} has no image of {self.name}", "choose from its event_numbers")
            yield found

    def blocks(
        self, *, calib: bool = True, events: slice | None = None, max_bytes: int | None = None, **options: Any
    ) -> Iterator[ImageBlock]:
        """Go through the events that have the detector, by blocks of images.

        Under MPI (`mpirun`) the blocks are dealt to the ranks in turn, and each goes through its share.

        Parameters
        ----------
        calib : bool
            Corrected images; else raw ones.
        events : slice, optional
            Some of the events of the run; default is all.
        max_bytes : int, optional
            Bytes of the images of one block, about; default is 32 MiB, of which two go into memory that stays.
        **options
            As for `calib`.

        Yields
        ------
        ImageBlock
        """
        chosen = np.zeros(len(self._run.events), bool)
        chosen[events or slice(None)] = True
        numbers = self.event_numbers[chosen[self.event_numbers]]
        itemsize = 4 if calib else np.dtype(self.dtype or "u1").itemsize
        count = max(1, (max_bytes or _BLOCK) // max(1, math.prod(self.shape) * itemsize))
        rank, size = launched()
        for first in range(rank * count, len(numbers), size * count):
            some = numbers[first : first + count]
            yield ImageBlock(self._run.events[some], self.images(some, calib=calib, **options))


def _token(choice: ArrayChoice) -> Any:
    return id(choice) if isinstance(choice, np.ndarray) else choice
