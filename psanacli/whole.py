"""Files that are there whole or not at all: written under a hidden name beside the final one, synced, then renamed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from psanacli.errors import OutputError, PsanaError


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to write that takes the place of `path` when the block ends well.

    Parameters
    ----------
    path : Path
        The final name; its directory has to exist.

    Yields
    ------
    binary file
        To write to, by its methods or by its descriptor.

    Raises
    ------
    OutputError
        It cannot be written.  After this and any other exception nothing has changed.
    """
    part: str | None = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            part = file.name
            yield file.file
            file.flush()
            os.fsync(file.fileno())
            mask = os.umask(0)
            os.umask(mask)
            os.fchmod(file.fileno(), 0o666 & ~mask)  # a temporary file is for its owner alone
        os.replace(part, path)
        part = None
    except PsanaError:
        raise
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        if part is not None:
            with suppress(OSError):
                os.unlink(part)
