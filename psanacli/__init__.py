"""Read the data of LCLS-I, and turn it into what people work with.

>>> import psanacli
>>> run = psanacli.open_run("exp=xpptut15:run=54")   # doctest: +SKIP
"""

from psanacli.version import __version__

__all__ = ["__version__"]
