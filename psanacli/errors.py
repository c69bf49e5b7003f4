"""The one family of errors, and the exit code of each.

Every error that psanacli raises on purpose is a `PsanaError`.  Its message names the thing (file, offset, run,
detector), what was found and what was expected; `hint` says what to do next.  The command line prints both and
ends with `exit_code`; a library user catches `PsanaError`, or the matching Python class (`LookupError`,
`ValueError`, `OSError`).

Exit codes: 0 done; 1 a bug; 2 wrong usage; 3 not found; 4 damaged data; 5 output not written; 6 constants missing or
wrong; 7 a check said no; 130 interrupted.
"""

from __future__ import annotations

from collections.abc import Iterable

EXIT_BUG = 1
EXIT_INTERRUPTED = 130


class PsanaError(Exception):
    """Base of all errors of psanacli.

    Parameters
    ----------
    message : str
        What is wrong, with the names of file, offset, run or detector.
    hint : str, optional
        What the user can do next.
    """

    exit_code = EXIT_BUG

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message + "".join(f"\n  {line}" for line in self.hint.splitlines())


class UsageError(PsanaError, ValueError):
    """The request itself is wrong: an unknown key, a reversed range, options that exclude each other."""

    exit_code = 2


class NotFoundError(PsanaError, LookupError):
    """An experiment, run, file, detector, PV or event does not exist."""

    exit_code = 3


class DataError(PsanaError, ValueError):
    """Data are damaged or contradict themselves."""

    exit_code = 4


class OutputError(PsanaError, OSError):
    """An output could not be written."""

    exit_code = 5


class ConstantsError(PsanaError):
    """Calibration constants or a geometry are missing or wrong."""

    exit_code = 6


class CheckFailed(PsanaError):
    """A check that the user asked for said no."""

    exit_code = 7


def fold(name: str) -> str:
    """Return the form in which names are compared: case and ``-``/``_`` do not matter."""
    return name.casefold().replace("-", "_")


def nearest(name: str, names: Iterable[str], count: int = 3) -> list[str]:
    """Return up to `count` of `names` that are near to `name`, best first; case and ``-``/``_`` do not matter."""
    import difflib  # only when something was missed: `psana --help` need not wait for it

    by_fold: dict[str, str] = {}
    for known in names:
        by_fold.setdefault(fold(known), known)
    wanted = fold(name)
    close = difflib.get_close_matches(wanted, by_fold, n=count, cutoff=0.5)
    close += [known for known in by_fold if wanted and wanted in known and known not in close]
    return [by_fold[key] for key in close[:count]]


def did_you_mean(name: str, names: Iterable[str], otherwise: str = "") -> str:
    """Return the hint ``did you mean ...?`` for a miss, or `otherwise` when nothing is near."""
    close = nearest(name, names)
    return f"did you mean {' or '.join(close)}?" if close else otherwise


def check_events(wanted: slice, count: int, whose: str) -> None:
    """Raise NotFoundError if a range of events begins behind the last one.

    Parameters
    ----------
    wanted : slice
        Numbers of events.
    count : int
        How many there are.
    whose : str
        Of what, such as ``"the run"``.
    """
    if wanted.start and wanted.start >= count:
        raise NotFoundError(f"there is no event {wanted.start}", f"{whose} has {count} events")
