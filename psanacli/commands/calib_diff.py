"""``psana calib diff``: constants of two runs or files compared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from psanacli.commands import common, console, files

if TYPE_CHECKING:
    from psanacli.commands.constants import Target


@common.verb(
    examples=[
        ("psana calib diff exp=xpptut15:run=54 exp=xpptut15:run=60 -d cspad", "all types of two runs"),
        ("psana calib diff 54 60 --calib-dir /data/calib -d CxiDs1.0:Cspad.0 --type pedestals", "by numbers of runs"),
        ("psana calib diff old.data new.npy --png difference.png", "two files, and a picture"),
    ]
)
@click.argument("first", shell_complete=common.complete_files)
@click.argument("second", shell_complete=common.complete_files)
@common.detector
@common.constants_type
@click.option("--png", type=click.Path(dir_okay=False), metavar="FILE", help="Draw the difference as PNG.")
@common.overwrite
@common.calib_dir
@common.root
@common.json_output
@common.talk
def command(
    first: str,
    second: str,
    detector: str | None,
    kind: str | None,
    png: str | None,
    overwrite: bool,
    calib_dir: str | None,
    root: tuple[str, ...],
    as_json: bool,
) -> None:
    """Compare constants: second minus first.

    FIRST and SECOND are files, data sources, or with --calib-dir numbers of runs. Ends with 7 when they differ.
    """
    from psanacli.calib import Difference, compare, read_array
    from psanacli.commands.constants import check_type
    from psanacli.errors import CheckFailed, NotFoundError, UsageError

    check_type(kind)
    files.check_new([Path(png)] if png else [], overwrite)
    found: list[tuple[str, Difference]] = []
    sides = [None if _is_constants(word) else _target(word, root, calib_dir) for word in (first, second)]
    types = [kind] if kind else []
    names: list[str | None] = [None, None]
    for k, side in enumerate(sides):
        if side is None:
            continue
        if detector is None:
            raise click.UsageError("which detector? Say -d NAME")
        names[k] = side.source(detector)
        run = side.the_run()
        if not kind:
            there = [
                name for name in side.store.types(names[k] or "") if side.store.which(names[k] or "", name, run).file
            ]
            types += [name for name in there if name not in types and name != "geometry"]
    if all(side is None for side in sides):
        types = [""]
    elif any(side is None for side in sides) and len(types) != 1:
        raise click.UsageError("which type of constants is the file? Say --type TYPE")
    if not types:
        runs = " or ".join(f"run {side.the_run()} in {side.store.directory}" for side in sides if side is not None)
        raise NotFoundError(f"no constants of {detector} apply to {runs}", "psana calib list shows the files")
    for name in types:
        arrays = []
        for word, side, source in zip((first, second), sides, names, strict=True):
            if side is None:
                arrays.append(read_array(Path(word)).array)
            else:
                arrays.append(side.store.get(source or "", name, side.the_run()).array)
        if None in sides and arrays[0].size == arrays[1].size:
            arrays = [array.reshape(arrays[sides.index(None) - 1].shape) for array in arrays]
        found.append((name, compare(arrays[0], arrays[1], f"{name or first}")))
    if png:
        if len(found) != 1:
            raise UsageError(f"a picture shows one type of constants, not {len(found)}", "choose one with --type")
        files.write_whole(Path(png), found[0][1].png(f"{found[0][0]} {second} - {first}"))
        console.note(f"wrote {png}")
    told = [{"type": name, **difference.numbers()} for name, difference in found]
    if as_json:
        console.print_json(
            {"format": "psana calib diff", "version": 1, "first": first, "second": second, "types": told}
        )
    else:
        keys = ("type", "values", "changed", "mean", "median", "std", "min", "max", "largest_at")
        rows = [[f"{v:.5g}" if isinstance(v := row.get(key), float) else v for key in keys] for row in told]
        console.table(keys, rows, title=f"{second} - {first}")
    different = [name or "they" for name, difference in found if not difference.same]
    if different:
        raise CheckFailed(f"{', '.join(different)} differ")


def _is_constants(word: str) -> bool:
    return Path(word).is_file() and not word.endswith(".xtc")


def _target(word: str, root: tuple[str, ...], calib_dir: str | None) -> Target:
    from psanacli.commands.constants import Target

    if word.isdecimal() and calib_dir is not None:
        return Target((), root, calib_dir, int(word))
    return Target((word,), root, calib_dir)
