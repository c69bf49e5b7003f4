"""How long `psana --help` takes, next to the least that a click program takes.

``python benchmarks/startup.py`` times it and ``python -c "import click"`` in turn.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial

from measure import at_most, finish, in_turn

CLICK = [sys.executable, "-c", "import click"]
#: What the installed script `psana` does.
PSANA = [sys.executable, "-c", "import sys; from psanacli.commands.main import main; sys.exit(main())", "--help"]


def main() -> None:
    """Print the ratio."""
    run = partial(subprocess.run, stdout=subprocess.DEVNULL, check=True)
    pair = in_turn(partial(run, PSANA), partial(run, CLICK), 41)
    detail = f"{pair.first * 1000:.0f} ms, import click {pair.second * 1000:.0f} ms"
    at_most("psana --help / import click", pair.ratio, 2, detail)
    finish()


if __name__ == "__main__":
    main()
