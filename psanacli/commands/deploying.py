"""Constants that verbs of `psana calib` put into the store: the options that say so, what is shown, how it is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from psanacli.commands import common, console

if TYPE_CHECKING:
    from psanacli.calib import Deployment, RunRange, SeenDetector, Store
    from psanacli.commands.constants import Target


@dataclass(frozen=True)
class Deploying:
    """The values of the options.

    Attributes
    ----------
    runs : RunRange or None
        The runs to which the constants are to apply.
    comment : str
        For the history.
    force : bool
        Whether objections do not count.
    deploy : bool
        Whether anything is to be deployed.
    """

    runs: RunRange | None
    comment: str
    force: bool
    deploy: bool = True

    def __post_init__(self) -> None:
        if not self.deploy and (self.runs is not None or self.comment or self.force):
            raise click.UsageError("--run, --comment and --force go with --deploy")

    def circumstances(self, target: Target, seen: SeenDetector | None) -> dict[str, str]:
        """Return what the history tells of a deployment beyond the file."""
        return {
            "exp": target.experiment,
            "command": console.command_line(),
            "comment": self.comment,
            "run": "" if target.number is None else str(target.number),
            "detid": seen.identity if seen else "",
        }

    def carry_out(self, store: Store, *plans: Deployment) -> None:
        """Deploy all or none, and say what was done."""
        from psanacli.calib import deploy_together

        for plan, record in zip(plans, deploy_together(store, plans, force=self.force), strict=True):
            if not record.values:
                console.note(f"{plan.path} was there already with the same values, bit for bit: nothing changed")
                continue
            kept = record.values.get("replaced")
            before = f"; the file before is kept as {kept}, psana calib revert brings it back" if kept else ""
            console.note(f"deployed {plan.path}{before}")


def deploying(*, runs: str, force: str, always: bool = False) -> Callable[[common.Command], common.Command]:
    """Return the decorator that gives a verb the options of `Deploying`, and their values as its argument `deploying`.

    Parameters
    ----------
    runs, force : str
        The help of ``--run`` and ``--force``.
    always : bool
        Whether the verb does nothing else: it has no ``--deploy`` then, and needs ``--run``.
    """
    switch = click.option("--deploy", is_flag=True, help="Put the constants into the store.")
    return common.together(
        Deploying,
        "deploying",
        *([] if always else [switch]),
        click.option("--run", "runs", required=always, callback=_range, metavar="A-B|A-end", help=runs),
        click.option("--comment", default="", metavar="TEXT", help="For the history."),
        click.option("--force", is_flag=True, help=force),
    )


def _range(ctx: click.Context, param: click.Parameter, value: str | None) -> RunRange | None:
    """Return the runs of ``A-B``."""
    if value is None:
        return None
    from psanacli.calib import RunRange

    return RunRange.parse(value)


def told(plan: Deployment, dry_run: bool) -> dict[str, object]:
    """Return what a deployment does, as ``--json`` tells it."""
    return {
        "format": "psana calib deploy",
        "version": 1,
        "dry_run": dry_run,
        "file": plan.path,
        "detector": plan.source,
        "type": plan.type,
        "range": str(plan.range),
        "shape": list(plan.array.shape),
        "dtype": str(plan.array.dtype),
        "bytes": len(plan.data),
        "sha256": plan.checksum,
        "applies_to": [str(runs) for runs in plan.reach],
        "hides": [{"name": name, "runs": [str(each) for each in runs]} for name, runs in plan.hides],
        "replaces": plan.replaces or None,
        "unchanged": plan.unchanged,
        "objections": plan.objections(),
        "notes": plan.notes,
    }


def show(plan: Deployment, as_json: bool, dry_run: bool) -> None:
    """Print what a deployment does."""
    from psanacli.calib import spelled

    if as_json:
        console.print_json(told(plan, dry_run))
        return
    rows: list[tuple[str, object]] = [
        ("file", plan.path),
        ("values", f"{'x'.join(map(str, plan.array.shape))} {plan.array.dtype}, {console.bytes_text(len(plan.data))}"),
        ("min, max", f"{plan.array.min():.6g}, {plan.array.max():.6g}"),
        ("range", str(plan.range)),
        ("applies to runs", spelled(plan.reach) or "none: other files hide it"),
        *(("hides", f"{name} for runs {spelled(runs)}") for name, runs in plan.hides),
    ]
    if plan.replaces:
        rows.append(("replaces", "the same file" if plan.unchanged else f"a file with sha256 {plan.replaces[:16]}..."))
    console.table(("", ""), rows, title=f"{plan.type} of {plan.source}", align="<<")
    for note in plan.notes:
        console.note(note)
    if dry_run:
        for objection in plan.objections():
            console.warn(objection, "needs --force")
