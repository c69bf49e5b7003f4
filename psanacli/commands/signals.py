"""Ctrl-C and SIGTERM: each ends the command with one answer, wherever it comes."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

#: Those that a user, a launcher or a batch system sends to end a command.
_ENDING = (signal.SIGINT, signal.SIGTERM)
#: Seconds after which one that was not answered is raised again.
_AGAIN = 0.1


class Terminated(BaseException):
    """The process was asked to end (SIGTERM), as batch systems do when the time is up."""

    exit_code = 143


#: What the last signal raised.
_raised: type[BaseException] = KeyboardInterrupt


def listen() -> None:
    """Let SIGTERM raise `Terminated`, as SIGINT raises `KeyboardInterrupt`, and let neither get lost.

    An exception that a handler raises while a destructor or a weak reference's callback runs has nobody to go to:
    Python prints it and goes on. The import system has such a callback for every module. Some C code drops any
    exception that comes while it looks for an attribute. So it is raised once more, until somebody has it.
    """
    signal.signal(signal.SIGTERM, _end)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as in a job that shall not hear it
        signal.signal(signal.SIGINT, _end)
    signal.signal(signal.SIGALRM, _again)
    reported = sys.unraisablehook

    def hook(unraisable: UnraisableHookArgs) -> None:
        if not issubclass(unraisable.exc_type, Terminated | KeyboardInterrupt):
            reported(unraisable)

    sys.unraisablehook = hook


def ignore() -> None:
    """Hear no signal any more."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def unheard() -> Iterator[None]:
    """Keep an impatient second Ctrl-C from ending the answer to the first."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = [signal.getsignal(number) for number in _ENDING]
    ignore()
    try:
        yield
    finally:
        for number, handler in zip(_ENDING, before, strict=True):
            signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    global _raised
    _raised = KeyboardInterrupt if number == signal.SIGINT else Terminated
    signal.setitimer(signal.ITIMER_REAL, _AGAIN)
    raise _raised


def _again(number: int, frame: FrameType | None) -> None:
    """Raise what was raised before, unless somebody closes files or waits for threads because of it."""
    if signal.getsignal(signal.SIGTERM) is not _end:
        return  # it is being answered
    signal.setitimer(signal.ITIMER_REAL, _AGAIN)
    error = sys.exc_info()[1]
    while error is not None:
        if isinstance(error, Terminated | KeyboardInterrupt):
            return
        error = error.__context__
    raise _raised
