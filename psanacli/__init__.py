"""Read the data of LCLS-I, and turn it into what people work with.

>>> import psanacli
>>> run = psanacli.open_run("exp=xpptut15:run=54")   # doctest: +SKIP

The names below are loaded when first used, so that `import psanacli` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from psanacli.version import __version__

if TYPE_CHECKING:
    from psanacli.errors import PsanaError as PsanaError
    from psanacli.run import open_run as open_run
    from psanacli.run import open_runs as open_runs

_ROOMS = {
    "PsanaError": "psanacli.errors",
    "open_run": "psanacli.run",
    "open_runs": "psanacli.run",
}

__all__ = ["PsanaError", "__version__", "open_run", "open_runs"]


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'psanacli' has no attribute {name!r}")
    value = getattr(import_module(_ROOMS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
