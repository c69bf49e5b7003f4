"""``psana index``: the indexes of runs. Each verb is in a file of its own, ``index_VERB.py``."""

from __future__ import annotations

from psanacli.commands import groups
from psanacli.commands.groups import Entry


@groups.group(
    {
        "build": Entry("Build the index of runs, or bring it up to date.", parallel=True),
        "show": Entry("Show what the index of a run has, and whether it is still right."),
        "list": Entry("List the runs of an experiment: sizes, events, and the state of their indexes."),
        "check": Entry("Check a run and its indexes: gaps, duplicates, damage, and all that is irregular."),
    },
    examples=[
        ("psana index build exp=xpptut15:run=54", "make the index of a run; every verb uses it from then on"),
        ("psana index show exp=xpptut15:run=54", "what is in it"),
        ("psana index list exp=xpptut15", "which runs have one"),
        ("psana index check exp=xpptut15:run=54", "silent when all is well"),
        ("psana index check --list", "what is checked"),
    ],
)
def command() -> None:
    """Build, show, list and check the indexes of runs.

    An index keeps what the headers of a run say: where each datagram is, which belong to one event, what is in them.
    With it a run opens at once, however long it is. It lies in index/ beside the data, or in the user's cache
    (~/.cache/psanacli, XDG_CACHE_HOME) where that cannot be written. Files that have changed since are read as if there
    were none.
    """
