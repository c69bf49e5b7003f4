"""History of constants: a line for each deployment, in the file ``HISTORY`` of each type, as the facility writes it."""

from __future__ import annotations

import os
import re
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

from psanacli.calib.text import user_name
from psanacli.errors import ConstantsError

NAME = "HISTORY"
PROGRAM = "psanacli"
_LIMIT = 1 << 26  # bytes
#: The keys of all forms in use. Values may have blanks and colons: a word before a colon is a key only if it is here.
_KEYS = (
    "file copy_of ctype exp run app cmd user host cptime zone cwd cmt sha256 shape dtype detid replaced command by"
    " comment"
).split()
_KEY = re.compile(rf"(?:^|(?<=\s))({'|'.join(_KEYS)}):")


@dataclass(frozen=True)
class Record:
    """What was done to a file of constants.

    Attributes
    ----------
    values : dict of str to str
        By the keys of the line: ``file``, ``copy_of``, ``exp``, ``run``, ``user``, ``host``, ``cptime``, ``comment``.
        Ours also have ``sha256``, ``shape``, ``dtype``, ``replaced`` (the backup of what was there), ``command``.
    line : int
        Number in the file, from 1; 0 when it is not written yet.
    """

    values: dict[str, str] = field(default_factory=dict)
    line: int = 0

    @classmethod
    def parse(cls, text: str, line: int = 0) -> Record:
        """Return the record of a line, whoever wrote it."""
        found = list(_KEY.finditer(text))
        values: dict[str, str] = {}
        last = ""
        for k, match in enumerate(found):
            key = match[1]
            stop = found[k + 1].start() if k + 1 < len(found) else len(text)
            if key in values or (last == "comment" and values.get("by") == PROGRAM):
                values[last] = f"{values[last]} {text[match.start() : stop].strip()}"  # belongs to the value before
                continue
            values[key] = text[match.end() : stop].strip()
            last = key
        return cls(values, line)

    def format(self) -> str:
        """Return the line, in the order of our keys; a comment stands last, as it may hold anything."""
        ordered = [key for key in _KEYS if self.values.get(key)]
        words = [f"{key}:{' '.join(self.values[key].split())}" for key in ordered]
        if words and ordered[0] == "file":
            words[0] = f"file:{self.values['file']:<14}"
        return "  ".join(words)

    @property
    def file(self) -> str:
        """Name of the file: ``0-end.data``."""
        return self.values.get("file", "")

    @property
    def command(self) -> str:
        """What was done: ``deploy``, ``revert``, ``rm``."""
        return self.values.get("cmd", "deploy")

    @property
    def ours(self) -> bool:
        """Whether this program wrote it."""
        return self.values.get("by") == PROGRAM

    @property
    def comment(self) -> str:
        """The comment, by either of its keys."""
        return self.values.get("comment") or self.values.get("cmt", "")


def stamp() -> dict[str, str]:
    """Return who does something, where and when."""
    now = time.localtime()
    return {
        "user": user_name(),
        "host": socket.gethostname(),
        "cptime": time.strftime("%Y-%m-%dT%H:%M:%S", now),
        "zone": time.strftime("%Z", now),
        "cwd": os.getcwd(),
        "by": PROGRAM,
    }


def read(directory: Path) -> list[Record]:
    """Return the history of a type, oldest first; none when there is no file.

    Raises
    ------
    ConstantsError
        It is there and cannot be read.
    """
    path = directory / NAME
    try:
        with open(path, "rb") as file:
            data = file.read(_LIMIT)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise ConstantsError(f"{path}: cannot be read: {error.strerror}") from error
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    return [Record.parse(line, number) for number, line in enumerate(lines, 1) if line.strip()]
