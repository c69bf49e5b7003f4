"""The rooms of docs/architecture.md: imports go downwards, through faces, and foreign packages have their room."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import psanacli

HOME = Path(psanacli.__file__).parent
ORDER = (
    {"commands"},
    {"demo"},
    {"hdf5", "dark"},
    {"detector"},
    {"parallel"},
    {"calib"},
    {"run"},
    {"outside"},
    {"xtc"},
    {"whole", "large"},
    {"errors", "version"},
)
"""From the top; rooms beside each other do not import each other."""
UPWARDS = {("run", "detector")}
"""Inside of `Run.detector`, see the decisions."""
KNOWN_TO = {
    "click": ("commands/",),
    "rich": ("commands/",),
    "mpi4py": ("parallel/",),
    "h5py": ("hdf5/", "outside/hdf5_table.py", "calib/arrays.py"),
}
"""Foreign packages that only these know: a room, or the one file of a foreign format."""


class Import(NamedTuple):
    file: str
    line: int
    module: str
    name: str

    @property
    def room(self) -> str:
        return self.file.partition("/")[0].removesuffix(".py")

    @property
    def target(self) -> str:
        """The room that is imported from; empty for other packages."""
        return (self.module + ".").split(".")[1] if self.module.startswith("psanacli.") else ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.name} from {self.module}"


def imports_of(text: str, file: str) -> Iterator[Import]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(file, node.lineno, alias.name, "")
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if node.module == "psanacli":  # a room itself
                    yield Import(file, node.lineno, f"psanacli.{alias.name}", "")
                else:
                    yield Import(file, node.lineno, node.module, alias.name)


@cache
def all_imports() -> list[Import]:
    files = sorted(HOME.rglob("*.py"))
    return [each for path in files for each in imports_of(path.read_text(), path.relative_to(HOME).as_posix())]


def goes_up(found: Import) -> bool:
    floors = {room: floor for floor, rooms in enumerate(ORDER) for room in rooms}
    if found.room not in floors or not found.target or found.target == found.room:
        return False
    return floors[found.target] <= floors[found.room] and (found.room, found.target) not in UPWARDS


def goes_past_the_face(found: Import) -> bool:
    """A face is the `__init__` of a room, or of a package in it; `main` is what starts the command."""
    if not found.target or found.target == found.room or found.module == "psanacli.commands.main":
        return False
    if (HOME.parent / found.module.replace(".", "/")).is_dir():
        return found.name != "" and found.name not in importlib.import_module(found.module).__all__
    return found.module.count(".") > 1


def is_stranger(found: Import) -> bool:
    homes = KNOWN_TO.get(found.module.partition(".")[0])
    return homes is not None and not found.file.startswith(homes)


def test_every_room_has_its_place() -> None:
    rooms = {path.name for path in HOME.iterdir() if path.is_dir() and path.name != "__pycache__"}
    rooms |= {path.stem for path in HOME.glob("*.py") if not path.stem.startswith("__")}
    assert rooms == set().union(*ORDER)


@pytest.mark.parametrize("rule", [goes_up, goes_past_the_face, is_stranger])
def test_the_rules_hold(rule) -> None:
    assert [str(found) for found in all_imports() if rule(found)] == []


@pytest.mark.parametrize(
    ("file", "line", "rule"),
    [
        ("xtc/walk.py", "from psanacli.run import Run", goes_up),
        ("hdf5/plan.py", "from psanacli.dark import plan_dark", goes_up),
        ("run/run.py", "def f():\n    from psanacli.commands import console", goes_up),
        ("hdf5/plan.py", "from psanacli.xtc.columns import Batch", goes_past_the_face),
        ("hdf5/plan.py", "from psanacli.run import _read", goes_past_the_face),
        ("commands/info.py", "from psanacli.calib import sheet", goes_past_the_face),
        ("run/run.py", "import h5py", is_stranger),
        ("hdf5/plan.py", "from rich.table import Table", is_stranger),
    ],
)
def test_what_breaks_a_rule_is_seen(file: str, line: str, rule) -> None:
    assert [found for found in imports_of(line, file) if rule(found)]
