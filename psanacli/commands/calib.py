"""``psana calib``: calibration constants."""

from __future__ import annotations

from psanacli.commands import groups
from psanacli.commands.groups import Entry


@groups.group(
    {
        "show": Entry("Show the constants that apply to a run."),
        "dark": Entry("Make pedestals, rms and status from dark runs."),
        "mask": Entry("Make a mask of bad pixels, and deploy it."),
        "deploy": Entry("Deploy constants from a file."),
        "check": Entry("Look through a store for what is wrong."),
        "which": Entry("Tell which file applies to a run, and why not the others."),
        "list": Entry("List the files of a store, and the runs to which each applies."),
        "diff": Entry("Compare constants of two runs or files."),
        "history": Entry("Show what was deployed when, by whom, and from where."),
        "revert": Entry("Take back the last deployment of a file."),
        "export": Entry("Write the constants of a run to a file."),
    },
    examples=[
        ("psana calib show exp=xpptut15:run=54", "the constants of all detectors of a run"),
        ("psana calib dark exp=xpptut15:run=53 -d cspad --deploy", "those of a dark run, for it and all that follow"),
        ("psana calib deploy ped.npy exp=xpptut15:run=54 -d cspad --type pedestals --run 54-end", "deploy pedestals"),
        ("psana calib check --calib-dir /data/calib", "is a store in order?"),
    ],
)
def command() -> None:
    """Make, look at, check and deploy calibration constants.

    Constants are in the directory calib of the experiment, or where --calib-dir says.
    """
