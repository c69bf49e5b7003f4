"""Deployment of constants, and taking it back: a plan that can be shown, then one change of the store."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from psanacli.calib import history
from psanacli.calib.constants import Array, read_bytes
from psanacli.calib.history import Record, stamp
from psanacli.calib.kinds import PIXEL_TYPES, kind_of, type_of
from psanacli.calib.place import changing
from psanacli.calib.ranges import EXTENSION, Listing, RunRange, spelled
from psanacli.calib.store import Store, in_shape, plain_source
from psanacli.calib.text import format_text, parse_text
from psanacli.errors import ConstantsError, NotFoundError, OutputError


@dataclass(frozen=True, eq=False)
class NewConstants:
    """Constants that are to be deployed.

    Attributes
    ----------
    array : ndarray
        As they were given, in any shape with the right number of values.
    origin : str
        Where they come from, for the history.
    text : bytes
        The text file they were read from, which is deployed as it is; empty when they come from elsewhere.
    """

    array: Array
    origin: str
    text: bytes = b""


@dataclass(frozen=True, eq=False)
class Deployment:
    """What a deployment would do; made by `plan_deployment`.

    Attributes
    ----------
    source, type : str
    range : RunRange
    path : Path
        The file that will be there.
    array : ndarray
        What will be read from it.
    data : bytes
        Its content.
    reach : list of RunRange
        The runs to which it will apply.
    hides : list of (str, list of RunRange)
        Files that will no longer apply to some of their runs.
    replaces : str
        SHA-256 of a file of the same range that is there; empty when there is none.
    unchanged : bool
        Whether the file that is there holds the same values, bit for bit.
    notes : list of str
        What a user should know.
    record : Record
        The line for the history.
    """

    source: str
    type: str
    range: RunRange
    path: Path
    array: Array
    data: bytes
    reach: list[RunRange]
    hides: list[tuple[str, list[RunRange]]]
    replaces: str
    unchanged: bool
    notes: list[str] = field(default_factory=list)
    record: Record = field(default_factory=Record)

    @property
    def checksum(self) -> str:
        """SHA-256 of the file that will be there."""
        return hashlib.sha256(self.data).hexdigest()

    def objections(self) -> list[str]:
        """Return what it would change beyond its own runs; a user has to say that this is meant."""
        found = []
        if self.replaces and not self.unchanged:
            found.append(f"{self.path.name} exists and would be replaced")
        for name, runs in self.hides:
            if not _is_step(name, self.range):
                found.append(f"{name} would no longer apply to {spelled(runs)}")
        if not self.reach:
            found.append(f"{self.range} would apply to no run: others hide it")
        return found


def _is_step(name: str, new: RunRange) -> bool:
    """Whether it is the usual way that constants follow others: those were for all runs to come, until the new ones."""
    other = Listing.of([name]).entries[0].range
    return other.end is None and other.begin < new.begin


def plan_deployment(
    store: Store,
    source: str,
    constants_type: str,
    runs: RunRange,
    new: NewConstants,
    *,
    raw_shape: tuple[int, ...] = (),
    fmt: str | None = None,
    values: dict[str, str] | None = None,
) -> Deployment:
    """Check constants against a detector, and work out what their deployment would do.

    Parameters
    ----------
    store : Store
        Where to; its directory need not exist.
    source, constants_type : str
        As for `Store.get`.
    runs : RunRange
        The runs they are for.
    new : NewConstants
        The constants.
    raw_shape : tuple of int
        Shape of the raw data of the detector, if they are known.
    fmt : str, optional
        Format of one number, such as ``%.3f``; default keeps every bit.
    values : dict of str to str
        More for the history: ``exp``, ``run``, ``command``, ``comment``, ``detid``.

    Raises
    ------
    ConstantsError
        Shape, dtype or values are not those of such constants.
    """
    source = plain_source(source)
    kind, constants = kind_of(source), type_of(constants_type)
    where = f"{new.origin}: {constants_type} of {source}"
    array, data, notes = new.array, new.text, []
    _check_values(array, constants_type, where)
    if data and parse_text(data, new.origin).foreign:
        notes.append("the text is written anew: its DTYPE is one that psana-1 in Python cannot read")
        data = b""
    shaped = in_shape(array, kind, constants, raw_shape, where)
    if array.shape not in (shaped.shape, shaped.reshape(-1, shaped.shape[-1]).shape) and shaped.ndim > 1:
        notes.append(f"the shape {array.shape} is taken as {shaped.shape}")
    if not data or fmt is not None:
        if fmt is not None and data:
            notes.append(f"the numbers are written with the format {fmt}")
        comments = [f"ARR_TYPE  {constants_type}", f"SOURCE    {source}"]
        metadata = kind.device not in ("Cspad", "Cspad2x2")  # as the original's writer does it
        name = f"{runs}{EXTENSION}"
        exact = _as_type(shaped, constants.dtype, where)
        data = format_text(exact, comments=comments, fmt=fmt, metadata=metadata, name=name)
    back = in_shape(parse_text(data, where, constants.dtype).values, kind, constants, raw_shape, where)
    lost = int(np.count_nonzero(back.ravel() != _as_type(shaped, constants.dtype, where).ravel()))
    if lost:
        notes.append(f"{lost} of {back.size} values change when they are written with {fmt}")
    directory = store.type_directory(source, constants_type)
    path = directory / f"{runs}{EXTENSION}"
    listing = store.files(source, constants_type)
    if not raw_shape and not kind.shape and constants_type in PIXEL_TYPES:
        notes.append("the shape could not be compared with the detector's: give a run that has data of it")
    record = Record(
        {
            "file": path.name,
            "copy_of": new.origin,
            "cmd": "deploy",
            "shape": "x".join(map(str, back.shape)),
            "dtype": str(back.dtype),
            "sha256": hashlib.sha256(data).hexdigest(),
            **(values or {}),
        }
    )
    return Deployment(
        source,
        constants_type,
        runs,
        path,
        back,
        data,
        listing.reach(runs),
        [(entry.name, lost_runs) for entry, lost_runs in listing.hidden_by(runs)],
        _checksum_of(path),
        _holds(path, back),
        notes,
        record,
    )


def _check_values(array: Array, constants_type: str, where: str) -> None:
    if array.dtype.kind not in "iufb" or not array.size:
        raise ConstantsError(f"{where}: {array.size} values of {array.dtype} are no constants")
    if array.dtype.kind == "f":
        bad = ~np.isfinite(array)
        if bad.any():
            index = ", ".join(str(int(axis[0])) for axis in np.nonzero(np.atleast_1d(bad)))
            first = f"the first is {array[bad].flat[0]} at [{index}]"
            raise ConstantsError(
                f"{where}: {np.count_nonzero(bad)} values are not finite, {first}",
                "replace them, and mark such pixels in pixel_status or pixel_mask",
            )
    if constants_type == "pixel_mask" and ((array != 0) & (array != 1)).any():
        raise ConstantsError(f"{where}: a mask has values 0 and 1 only, this one {array.min()} to {array.max()}")
    if constants_type == "pixel_rms" and (array < 0).any():
        raise ConstantsError(f"{where}: {np.count_nonzero(array < 0)} values are negative")


def _as_type(array: Array, dtype: np.dtype[np.generic], where: str) -> Array:
    """Return values in the dtype of a type; what whole numbers cannot hold is an error."""
    with np.errstate(over="ignore", invalid="ignore"):
        found = array.astype(dtype)
    if dtype.kind in "iu" and (found != array).any():
        raise ConstantsError(f"{where}: {array[found != array].flat[0]} does not fit into {dtype}")
    if dtype.kind == "f" and not np.isfinite(found).all():
        raise ConstantsError(f"{where}: values are too large for {dtype}")
    return found


def _checksum_of(path: Path) -> str:
    """Return the checksum of a file; empty when there is none."""
    try:
        return hashlib.sha256(read_bytes(path)).hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise ConstantsError(f"{path}: cannot be read: {error.strerror}") from error


def _holds(path: Path, array: Array) -> bool:
    """Whether a file holds exactly these values."""
    try:
        found = parse_text(read_bytes(path), str(path), array.dtype).values
    except (OSError, ConstantsError):
        return False
    return found.tobytes() == array.tobytes()


def deploy(store: Store, plan: Deployment, *, force: bool = False) -> Record:
    """Do what a plan says: the file is whole or as it was, and the history knows.

    Parameters
    ----------
    store : Store
        The store for which the plan was made.
    plan : Deployment
        From `plan_deployment`.
    force : bool
        Whether the `objections` of the plan are known and do not matter.  What is replaced is kept as a backup.

    Returns
    -------
    Record
        The line in the history; empty when the file was there already.

    Raises
    ------
    ConstantsError
        There are objections, and no force; or the store has changed since the plan was made.
    OutputError
        It could not be written.  Nothing has changed then.
    """
    if plan.unchanged:
        return Record()
    refuse(plan, force)
    with changing(plan.path.parent) as place:
        listing = store.files(plan.source, plan.type)
        now = replace(
            plan,
            reach=listing.reach(plan.range),
            hides=[(entry.name, runs) for entry, runs in listing.hidden_by(plan.range)],
            replaces=_checksum_of(plan.path),
            unchanged=_holds(plan.path, plan.array),
        )
        if now.unchanged:
            return Record()
        if now.replaces != plan.replaces:
            raise ConstantsError(
                f"{plan.path} has changed since the plan was made", "somebody else deploys; look again"
            )
        refuse(now, force)
        values = {**plan.record.values, **stamp()}
        if now.replaces:
            values["replaced"] = place.free_backup(plan.path.name)
        record = Record(values)
        place.put(plan.path.name, plan.data, record)
    if _checksum_of(plan.path) != plan.checksum:
        raise OutputError(f"{plan.path}: what is on disk is not what was written")
    return record


def deploy_together(store: Store, plans: Sequence[Deployment], *, force: bool = False) -> list[Record]:
    """Do what several plans say, all or none: when one fails, those before it are taken back.

    Parameters, errors and records are those of `deploy`.
    """
    for plan in plans:
        if not plan.unchanged:
            refuse(plan, force)
    records: list[Record] = []
    with ExitStack() as taken_back:
        for plan in plans:
            record = deploy(store, plan, force=force)
            records.append(record)
            if record.values:
                taken_back.callback(revert, store, plan.source, plan.type, plan.range)
        taken_back.pop_all()
    return records


def refuse(plan: Deployment, force: bool) -> None:
    """Raise the error of a plan with objections, unless they are known."""
    found = plan.objections()
    if found and not force:
        raise ConstantsError(
            f"{plan.path}: {'; '.join(found)}", "choose another range, or say --force (force=True) if this is meant"
        )


def revert(store: Store, source: str, constants_type: str, runs: RunRange, *, force: bool = False) -> Record:
    """Take back the last deployment of a file: what it replaced comes back; a file that was new goes.

    What is taken away is kept as a backup, and the history knows.

    Raises
    ------
    NotFoundError
        Neither the history nor a backup tells what was there before.
    ConstantsError
        The file is not the one that was deployed last, and no `force`.
    OutputError
        It could not be written.  Nothing has changed then.
    """
    directory = store.type_directory(source, constants_type)
    name = f"{runs}{EXTENSION}"
    if not (directory / name).exists():
        there = ", ".join(entry.name for entry in store.files(source, constants_type).entries)
        raise NotFoundError(f"{directory / name} does not exist", f"there are {there}" if there else "")
    with changing(directory) as place:
        before, checksum = _before(directory, name)
        if checksum and _checksum_of(directory / name) != checksum and not force:
            raise ConstantsError(
                f"{directory / name} is not what was deployed last: somebody has changed it",
                "look at it (psana calib diff); --force takes it back all the same",
            )
        values = {"file": name, "cmd": "revert", "copy_of": before, **stamp(), "replaced": place.free_backup(name)}
        if before:
            data = read_bytes(directory / before)
            record = Record({**values, "sha256": hashlib.sha256(data).hexdigest()})
            place.put(name, data, record)
        else:
            record = Record(values)
            place.take_away(name, record)
    return record


def _before(directory: Path, name: str) -> tuple[str, str]:
    """Return the backup that the last deployment of a file replaced (empty: nothing), and the checksum of that file."""
    undone: list[Record] = []
    done: list[Record] = []
    for record in history.read(directory):
        if record.file != name or not record.ours:
            continue
        if record.command == "revert":
            undone += [done.pop()] if done else []
        else:
            done.append(record)
    if done:
        last = done[-1]
        backup = last.values.get("replaced", "")
        if backup and not (directory / backup).exists():
            raise NotFoundError(f"{directory / backup}, which {name} replaced, is gone")
        return backup, "" if undone else last.values.get("sha256", "")
    backups = sorted(found for found in os.listdir(directory) if found.startswith(f"{name}-"))
    if not backups or undone:
        raise NotFoundError(
            f"{directory / name}: neither the history nor a backup tells what was there before",
            "psana calib history shows what is known",
        )
    return backups[-1], ""
