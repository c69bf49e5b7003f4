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
#: Seconds until a lost signal comes again: longer than what lost it goes on.
_AGAIN = 0.02


class Terminated(BaseException):
    """The process was asked to end (SIGTERM), as batch systems do when the time is up."""

    exit_code = 143


def listen() -> None:
    """Let SIGTERM raise `Terminated`, as SIGINT raises `KeyboardInterrupt`, and let neither get lost.

    An exception that a handler raises while a destructor or a weak reference's callback runs has nobody to go to:
    Python prints it and goes on. The import system has such a callback for every module. So what was lost there is
    raised once more.
    """
    signal.signal(signal.SIGTERM, _terminate)
    reported = sys.unraisablehook

    def hook(unraisable: UnraisableHookArgs) -> None:
        kind = unraisable.exc_type
        if not issubclass(kind, Terminated | KeyboardInterrupt):
            reported(unraisable)
        elif signal.getsignal(signal.SIGTERM) is _terminate:  # else it is being answered
            # Not here and now: this is still within what cannot raise.
            signal.signal(signal.SIGALRM, _terminate if kind is Terminated else signal.default_int_handler)
            signal.setitimer(signal.ITIMER_REAL, _AGAIN)

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


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated
