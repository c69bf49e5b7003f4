"""The store: which file of constants applies to a detector in a run, and what it holds.

    DIRECTORY/CsPad::CalibV1/CxiDs1.0:Cspad.0/pedestals/15-end.data

A `Store` remembers nothing: every question looks at the directory as it is.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from psanacli.calib.constants import Array, Constants, frozen, read_text
from psanacli.calib.kinds import TYPES, VERSION, ConstantsType, DetectorKind, directory_name, kind_of, type_of
from psanacli.calib.ranges import Entry, Listing, RunRange
from psanacli.calib.text import Cast
from psanacli.errors import ConstantsError, did_you_mean


@dataclass(frozen=True)
class Choice:
    """Which file applies to a run, and which others there are.

    Attributes
    ----------
    source, type : str
    run : int
    directory : Path
        Where was looked, whether it exists or not.
    listing : Listing
    entry : Entry or None
        The name that applies, None when none does.
    """

    source: str
    type: str
    run: int
    directory: Path
    listing: Listing
    entry: Entry | None

    @property
    def file(self) -> Path | None:
        """The file that applies."""
        return None if self.entry is None else self.directory / self.entry.name

    def missing(self) -> ConstantsError:
        """Return the error that no file applies, with everything that was looked at."""
        what = f"{self.source}, run {self.run}: no {self.type}"
        if not self.directory.is_dir():
            parents = [self.directory, *self.directory.parents]
            last = next(parent for parent in parents if parent.is_dir())
            absent = parents[parents.index(last) - 1].name
            # All groups are alike (...::CalibV1), and another type is not what was meant.
            names = [name for name in _names(last) if name not in TYPES]
            near = "" if "::" in absent else did_you_mean(absent, names)
            return ConstantsError(f"{what}; looked in {self.directory}, which does not exist", near)
        names = [f"{entry.name} ({reason})" for entry, reason in self.listing.explain(self.run)]
        names += [f"{name} ({reason})" for name, reason in self.listing.ignored]
        there = "; ".join(names) or "no file of constants"
        return ConstantsError(f"{what}; looked in {self.directory}: {there}")


@dataclass(frozen=True)
class Store:
    """A directory of constants.

    Attributes
    ----------
    directory : Path

    Examples
    --------
    >>> store = Store(Path("/data/cxi/cxi12345/calib"))                        # doctest: +SKIP
    >>> pedestals = store.get("CxiDs1.0:Cspad.0", "pedestals", run=15)         # doctest: +SKIP
    >>> pedestals.array.shape, pedestals.file.name                             # doctest: +SKIP
    ((32, 185, 388), '15-end.data')
    """

    directory: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "directory", Path(self.directory))

    def source_directory(self, source: str) -> Path:
        """Return where the constants of a detector are, whether it exists or not."""
        source = plain_source(source)
        return self.directory / directory_name(kind_of(source)) / source

    def type_directory(self, source: str, constants_type: str) -> Path:
        """Return where the constants of a type are, whether it exists or not."""
        return self.source_directory(source) / constants_type

    def sources(self) -> list[str]:
        """Return the detectors that have a directory where the store looks for them, sorted."""
        return sorted(source for _, source, kind in self.source_directories() if kind is not None)

    def source_directories(self) -> list[tuple[Path, str, DetectorKind | None]]:
        """Return all directories of detectors with the detector; those where nobody looks for it without a kind."""
        found: list[tuple[Path, str, DetectorKind | None]] = []
        for group in _names(self.directory):
            if not group.endswith(VERSION):
                continue
            for source in _names(self.directory / group):
                path = self.directory / group / source
                if not path.is_dir():
                    continue
                try:
                    kind: DetectorKind | None = kind_of(source)
                except ValueError:
                    kind = None
                found.append((path, source, kind if kind and directory_name(kind) == group else None))
        return found

    def types(self, source: str) -> list[str]:
        """Return the types for which a detector has a directory, sorted."""
        path = self.source_directory(source)
        return [name for name in _names(path) if (path / name).is_dir()]

    def files(self, source: str, constants_type: str) -> Listing:
        """Return the files of a type."""
        return Listing.of(_names(self.type_directory(source, constants_type)))

    def which(self, source: str, constants_type: str, run: int) -> Choice:
        """Return which file applies to a run; `constants_type` may be ``geometry`` and any other directory too."""
        source = plain_source(source)
        listing = self.files(source, constants_type)
        directory = self.type_directory(source, constants_type)
        return Choice(source, constants_type, run, directory, listing, listing.choose(run))

    def get(
        self,
        source: str,
        constants_type: str,
        run: int,
        *,
        raw_shape: Iterable[int] = (),
        assume: bool = False,
        cast: Cast = "exact",
        use_cache: bool = True,
    ) -> Constants:
        """Return the constants that apply to a run.

        Parameters
        ----------
        source : str
            ``CxiDs1.0:Cspad.0``
        constants_type : str
            ``pedestals``, ...; see `psanacli.calib.TYPES`.
        run : int
            Its number.
        raw_shape : iterable of int
            Shape of the raw data, against which detectors without a fixed shape are checked.
        assume : bool
            When no file applies, return what the original takes (zeros or ones), if it takes anything.
        cast : {"exact", "wrap"}
            See `psanacli.calib.text.parse_text`.
        use_cache : bool
            See `psanacli.calib.read_text`.

        Returns
        -------
        Constants
            In the shape of files: panels in the order of the data acquisition, gain ranges first; of a CSPAD 2x2 the
            two panels last.

        Raises
        ------
        ConstantsError
            No file applies, or it is unreadable or of a wrong shape; the message names detector, run, and files.
        """
        constants = type_of(constants_type)
        choice = self.which(source, constants_type, run)
        kind = kind_of(choice.source)
        if choice.file is None or choice.entry is None:
            default = kind.default(constants) if assume else None
            if default is None:
                raise choice.missing()
            return Constants(frozen(default), choice.source, constants_type, run)
        who = f"{choice.source}, run {run}, {constants_type}"
        try:
            found = read_text(choice.file, constants.dtype, cast=cast, use_cache=use_cache)
            array = in_shape(found.text.values, kind, constants, tuple(raw_shape), str(choice.file))
        except ConstantsError as error:
            raise ConstantsError(f"{who}: {error.message}", error.hint) from error
        return Constants(
            frozen(array),
            choice.source,
            constants_type,
            run,
            choice.file,
            choice.entry.range,
            found.checksum,
            found.text.comments,
        )


def in_shape(
    array: Array, kind: DetectorKind, constants: ConstantsType, raw_shape: tuple[int, ...], where: str
) -> Array:
    """Return the array of a file in the shape that constants of this detector have.

    Raises
    ------
    ConstantsError
        It has another number of values.
    """
    if not array.size:
        raise ConstantsError(f"{where}: there are no numbers in it")
    if constants.name == "common_mode":
        return array.reshape(-1)
    wanted = kind.file_shape(constants, raw_shape, array.size)
    if not wanted:
        return array
    if array.size != math.prod(wanted):
        raise ConstantsError(
            f"{where}: has the shape {array.shape}, {array.size} values; {constants.name} of {kind.device} have the "
            f"shape {wanted}, {math.prod(wanted)} values"
        )
    return array.reshape(wanted)


def plain_source(text: str) -> str:
    """Return the name of a source without ``DetInfo(...)`` around it."""
    return text[8:-1] if text.startswith("DetInfo(") and text.endswith(")") else text


def _names(directory: Path) -> list[str]:
    """Return the names in a directory, sorted; none when it is not there.

    Raises
    ------
    ConstantsError
        It is there and cannot be read.
    """
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise ConstantsError(f"{directory}: cannot be read: {error.strerror}") from error


__all__ = ["Choice", "RunRange", "Store", "in_shape", "plain_source"]
