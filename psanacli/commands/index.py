"""``psana index``: the indexes of runs. Each verb is in a file of its own, ``index_VERB.py``."""

from __future__ import annotations

from psanacli.commands import groups
from psanacli.commands.groups import Entry


@groups.group(
    {
        "check": Entry("Check a run and its indexes: gaps, duplicates, damage, and all that is irregular."),
    },
    examples=[
        ("psana index check exp=xpptut15:run=54", "silent when all is well"),
        ("psana index check --list", "what is checked"),
    ],
)
def command() -> None:
    """Work with the indexes of runs."""
