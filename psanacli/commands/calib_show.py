"""``psana calib show``: the constants that apply to a run."""

from __future__ import annotations

from typing import Any

from psanacli.commands import common, console
from psanacli.commands.asked import Asked, asked


@common.verb(
    examples=[
        ("psana calib show exp=xpptut15:run=54", "all detectors of a run"),
        ("psana calib show exp=xpptut15:run=54 -d cspad --type pedestals", "one type"),
        ("psana calib show --calib-dir /data/calib --run 54", "without data"),
        ("psana calib show exp=xpptut15:run=54 --json | jq '.constants[].file'", "for programs"),
    ]
)
@asked(run=True)
@common.json_output
@common.talk
def command(wanted: Asked, as_json: bool) -> None:
    """Show the constants that apply to a run: from which file, shape, dtype, statistics.

    A type without a file that applies is told, and is no error unless --type asks for it.
    """
    from psanacli.calib import GEOMETRY, TYPES
    from psanacli.commands.constants import about, no_constants
    from psanacli.errors import ConstantsError

    wanted.check_type()
    target, kind = wanted.target, wanted.kind
    run = target.the_run()
    told: list[dict[str, Any]] = []
    failed: list[ConstantsError] = []
    sources = target.sources(wanted.detector)
    for source in sources:
        seen = target.look(source)
        for name in wanted.types(source):
            if name not in (*TYPES, GEOMETRY):
                continue
            choice = target.store.which(source, name, run)
            if choice.file is None:
                if kind:
                    failed.append(choice.missing())
                told.append({"detector": source, "type": name, "run": run, "file": None})
            elif name == GEOMETRY:
                assert choice.entry is not None
                told.append({"detector": source, "type": name, "run": run, "file": str(choice.file)})
                told[-1]["range"] = str(choice.entry.range)
            else:
                try:
                    told.append(about(target.store.get(source, name, run, raw_shape=seen.shape if seen else ())))
                except ConstantsError as error:
                    failed.append(error)
                    told.append({"detector": source, "type": name, "run": run, "file": str(choice.file)})
                    told[-1]["error"] = error.message
    if as_json:
        document = {"format": "psana calib show", "version": 1, "directory": target.store.directory, "run": run}
        console.print_json({**document, "constants": told})
    elif told:
        _print(told, f"run {run}, constants in {target.store.directory}")
    if failed:
        for other in failed[1:]:
            console.warn(other.message, other.hint)
        raise failed[0]
    if not told:
        raise no_constants(target.store, f"of {wanted.detector}" if wanted.detector else "of the detectors of the run")


def _print(told: list[dict[str, Any]], title: str) -> None:
    rows = []
    for row in told:
        numbers = row.get("statistics", {})
        rows.append(
            (
                row["detector"],
                row["type"],
                row["file"].rpartition("/")[2] if row["file"] else "none applies",
                "x".join(map(str, row.get("shape", []))),
                row.get("dtype", "wrong" if "error" in row else ""),
                *(_short(numbers.get(key)) for key in ("min", "median", "max")),
            )
        )
    console.table(("detector", "type", "file", "shape", "dtype", "min", "median", "max"), rows, title=title)


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
