"""The command `psana`: finds the verb, and turns errors into messages and exit codes.

Nothing here imports numpy or a room: `psana --help` shows the static table `VERBS`, and a verb's module is loaded
when the verb is called.
"""

from __future__ import annotations

import errno
import io
import os
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import NoReturn

import click

from psanacli import parallel
from psanacli.commands import console, signals
from psanacli.commands.groups import Entry, Verbs
from psanacli.errors import EXIT_BUG, EXIT_INTERRUPTED, PsanaError
from psanacli.version import __version__

#: Failures of the system that no verb has named: 3 for what cannot be opened, 4 for what cannot be read to its end,
#: 5 for what only writing can meet.
_EXIT_CODES = {
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.ELOOP), 3),
    **dict.fromkeys((errno.EIO, errno.ESTALE), 4),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG), 5),
}


#: The verbs in the order of the work.
VERBS = {
    "demo": Entry("Make a sample experiment, and show what can be done with it."),
    "info": Entry("Tell what is in a run: detectors, events, steps, EPICS, sizes."),
    "dump": Entry("Print every datagram of XTC files and everything in it."),
    "index": Entry("Build, show and check the indexes of runs.", group=True),
    "eventid": Entry("List, choose and save events, and find them again.", group=True),
    "extract": Entry("Extract chosen events into a reduced run, as XTC files.", parallel=True),
    "translate": Entry("Translate runs to HDF5 files.", parallel=True),
    "calib": Entry("Make, look at, check and deploy calibration constants.", group=True),
    "help": Entry("Show the help of a verb, or a page of the manual."),
}


@click.group(
    cls=Verbs,
    verbs=VERBS,
    context_settings={"help_option_names": ["-h", "--help"]},
    subcommand_metavar="VERB ...",
    options_metavar="[-h] [--version]",
    epilog="Try `psana demo` first. `psana VERB --help` has examples of every verb.",
)
@click.version_option(__version__, prog_name="psana", message="%(prog)s %(version)s")
def psana() -> None:
    """Read the data of LCLS-I, and turn it into what people work with."""


def main() -> NoReturn:
    """Run the command line of this process, and end it."""
    try:
        signals.listen()
        _open_standard_streams()
        code = run(sys.argv[1:])
        signals.ignore()
    except BaseException as error:  # a signal before or behind all that, or while something else was being answered
        signals.ignore()
        code = parallel.end_all(error, partial(_answer, error, False))
    while True:
        with suppress(KeyboardInterrupt, signals.Terminated):
            # A launcher may send them to a rank that is about to end anyhow.
            signals.ignore()
            if code == EXIT_INTERRUPTED or threading.active_count() > 1:
                _leave_now(code)
            sys.exit(code)


def _leave_now(code: int) -> NoReturn:
    """End the process without the interpreter's own end.

    That would be taken down under the feet of threads that still work on jobs nobody wants. And after a Ctrl-C that
    came while a class was made from text, as those of `dataclasses` are, it would kill the process with SIGINT.
    """
    import ctypes

    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    parallel.leave()
    # Not os._exit: MPICH says its farewell to the launcher in a function that C calls at exit. With PyDLL nobody else
    # gets the GIL any more.
    ctypes.PyDLL(None).exit(code)
    raise AssertionError("exit came back")


def _open_standard_streams() -> None:
    """Have all three standard streams, so that nothing else gets their numbers, and let stdout print any name.

    A file that is opened while number 1 or 2 is free would receive what libraries print.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def run(args: Sequence[str]) -> int:
    """Run a command line; return its exit code.

    Under an MPI launcher all ranks come here.  A verb that is not parallel runs in rank 0 alone; of a parallel one
    all ranks run, rank 0 prints, and whoever fails ends them all.

    Parameters
    ----------
    args : sequence of str
        The words after ``psana``.
    """
    complete = os.environ.get("_PSANA_COMPLETE")
    if complete:
        from click.shell_completion import shell_complete

        return shell_complete(psana, {}, "psana", "_PSANA_COMPLETE", complete)
    with_others = psana.is_parallel(args)
    rank = parallel.launched().rank
    if not with_others:
        if rank:
            return 0
        parallel.stay_alone()
    context: click.Context | None = None
    with parallel.one_voice():
        try:
            if with_others:
                parallel.join()
            context = psana.make_context("psana", list(args))
            context.meta[console.WORDS] = ("psana", *args)
            with context:
                psana.invoke(context)
            if sys.stdout is not None:
                sys.stdout.flush()
            return parallel.end_well(0)
        except click.exceptions.Exit as end:
            return parallel.end_well(end.exit_code)
        except click.ClickException as error:  # every rank sees the same words
            if not rank:
                error.show()
            return parallel.end_well(2)
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else EXIT_BUG
        except BaseException as error:  # the one place where all others are answered
            verbose = context is not None and console.VERBOSE in context.meta
            with signals.unheard():
                return parallel.end_all(error, partial(_answer, error, verbose))


def _answer(error: BaseException, verbose: bool) -> int:
    """Say what went wrong; return the exit code."""
    import traceback

    debug = verbose or bool(os.environ.get("PSANA_DEBUG"))
    if isinstance(error, OSError) and error.errno == errno.EPIPE and not isinstance(error, PsanaError):
        # The reader has seen enough. What is still buffered must not fail again when Python closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if isinstance(error, signals.Terminated):
        console.error("terminated")
        return error.exit_code
    if isinstance(error, KeyboardInterrupt | click.Abort):
        console.error("interrupted")
        return EXIT_INTERRUPTED
    if debug:
        traceback.print_exception(error)
    if isinstance(error, PsanaError):
        console.error(error.message, error.hint)
        return error.exit_code
    if isinstance(error, OSError) and error.errno in _EXIT_CODES:
        if error.filename is None:
            console.error(str(error.strerror), "that is of standard output, or of a temporary file (in TMPDIR)")
        else:
            console.error(f"{error.filename}: {error.strerror}")
        return _EXIT_CODES[error.errno]
    place = traceback.extract_tb(error.__traceback__)[-1]
    console.error(
        f"a bug in psana: {type(error).__name__}: {error} ({os.path.basename(place.filename)}:{place.lineno})",
        f"please report it with the command line and the traceback{'' if debug else ' (PSANA_DEBUG=1 shows it)'}",
    )
    for remark in getattr(error, "__notes__", []) if not debug else []:
        console.note(remark)
    return EXIT_BUG
