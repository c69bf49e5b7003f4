"""What all tests share: the reference data beside the checkout, and the tally of compared values."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
TALLY: Counter[str] = Counter()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The directory of recorded reference data; tests that need it are skipped where it is absent."""
    if not (SHARED / "lcls1").is_dir():
        message = f"no reference data at {SHARED}"
        if os.environ.get("PSANACLI_REQUIRE_SHARED"):
            pytest.fail(message)
        pytest.skip(message)
    return SHARED


@pytest.fixture
def tally() -> Counter[str]:
    """Counts of compared values by subject; the sum is printed at the end of the run."""
    return TALLY


def pytest_sessionfinish(session: pytest.Session) -> None:
    worker = getattr(session.config, "workeroutput", None)
    if worker is not None:
        worker["tally"] = dict(TALLY)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object, error: object) -> None:
    TALLY.update(getattr(node, "workeroutput", {}).get("tally", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if TALLY:
        terminalreporter.section("compared values")
        for subject, count in sorted(TALLY.items()):
            terminalreporter.write_line(f"{count:>14,}  {subject}")
