"""Where the command `psana` begins, also as ``python -m psanacli``.

The first thing is an answer to Ctrl-C, before anything is imported that takes time: no exception, which may be lost or
printed while modules are loaded, but the end, as quiet as any later one. What is before it is Python's own beginning.
"""

import _signal  # type: ignore[import-not-found]  # what `signal` is made of, without what that imports
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn


def _leave(number: int, frame: "FrameType | None") -> "NoReturn":
    # Nothing is open yet.
    os._exit(130)


if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:  # not in a job that shall not hear it
    _signal.signal(_signal.SIGINT, _leave)


def main() -> "NoReturn":
    """Run the command line of this process, and end it."""
    from psanacli.commands.main import main as psana

    psana()


if __name__ == "__main__":
    main()
