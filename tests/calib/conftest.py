"""Tests of constants: what is done by somebody who may not write everywhere."""

from __future__ import annotations

import os
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

NOBODY = 65534


@pytest.fixture
def as_user() -> Iterator[Callable[[Callable[[Path], None]], None]]:
    """Call a function with an empty directory, as a user whom permissions stop: for root, in a child process."""
    with tempfile.TemporaryDirectory(prefix="psanacli-user-") as name:
        place = Path(name)

        def call(function: Callable[[Path], None]) -> None:
            if os.geteuid() != 0:
                function(place)
                return
            os.chown(place, NOBODY, NOBODY)
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    os.setgroups([])
                    os.setgid(NOBODY)
                    os.setuid(NOBODY)
                    function(place)
                    code = 0
                except Exception:
                    traceback.print_exc()
                finally:
                    os._exit(code)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

        yield call
