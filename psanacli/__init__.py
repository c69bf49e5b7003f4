"""Read the data of LCLS-I, and turn it into what people work with.

>>> import psanacli
>>> run = psanacli.open_run("exp=xpptut15:run=54")   # doctest: +SKIP
"""

from psanacli.version import __version__

TYPE_CHECKING = False  # not that of `typing`, which takes longer than all that is before the answer to Ctrl-C
if TYPE_CHECKING:
    from typing import Any

    from psanacli.run import Event, Events, LiveRun, Run, follow_run, open_run, open_runs

__all__ = ["Event", "Events", "LiveRun", "Run", "__version__", "follow_run", "open_run", "open_runs"]


def __getattr__(name: str) -> "Any":
    # The rooms are imported when one of their names is used, so that the command starts fast.
    if name in __all__:
        import psanacli.run

        return getattr(psanacli.run, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
