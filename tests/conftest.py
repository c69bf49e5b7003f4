"""What all tests share: the reference data beside the checkout, and the tally of compared values."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
REFERENCE = Path(__file__).resolve().parent / "reference"
REQUIRED = "PSANACLI_REQUIRE_SHARED"
"""Set in the environment: the reference data have to be there, and every comparison with them has to be made."""
TALLY: Counter[str] = Counter()


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what is in the background deaf to Ctrl-C, and all that the tests start would be so too.
    signal.signal(signal.SIGINT, signal.default_int_handler)

SCRATCH = "" if "PYTEST_XDIST_WORKER" in os.environ else tempfile.mkdtemp(prefix="psanacli-tests-")
"""What is kept for the session, by all its processes: the cache of `psana`, which is not that of the user, and bytecode
where Python may leave none beside the sources; each of the hundreds of processes would compile all modules again else,
which takes it as long as its work."""
if SCRATCH:
    os.environ["XDG_CACHE_HOME"] = os.path.join(SCRATCH, "cache")
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
        os.environ["PYTHONPYCACHEPREFIX"] = os.path.join(SCRATCH, "bytecode")
PATIENCE = 300
"""Seconds after which a process is ended that a test waits for without saying how long: it hangs, on any machine."""


def pytest_unconfigure() -> None:
    if SCRATCH:
        shutil.rmtree(SCRATCH, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def patience() -> Iterator[None]:
    """Have an end to whatever a test waits for."""
    communicate = subprocess.Popen.communicate

    def with_an_end(process: Any, input: Any = None, timeout: float | None = None) -> Any:
        try:
            return communicate(process, input, PATIENCE if timeout is None else timeout)
        except subprocess.TimeoutExpired:
            if timeout is None:
                process.kill()
            raise

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess.Popen, "communicate", with_an_end)
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The directory of recorded reference data; tests that need it are skipped where it is absent."""
    if not (SHARED / "lcls1").is_dir():
        message = f"no reference data at {SHARED}"
        if os.environ.get(REQUIRED):
            pytest.fail(message)
        pytest.skip(message)
    return SHARED


def _must_run(path: Path | None) -> bool:
    """Whether a file has comparisons that may not be left out."""
    return bool(os.environ.get(REQUIRED)) and path is not None and REFERENCE in path.resolve().parents


def _fail(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Make a failure of what was skipped, whatever skipped it: a mark, a missing module, an expected failure."""
    why = getattr(report, "wasxfail", None) or (report.longrepr[2] if isinstance(report.longrepr, tuple) else "")
    report.__dict__.pop("wasxfail", None)
    report.outcome = "failed"
    report.longrepr = f"{report.nodeid} was left out though {REQUIRED} is set: {why}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.skipped and _must_run(item.path):
        _fail(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    report = yield
    if report.skipped and _must_run(getattr(collector, "path", None)):
        _fail(report)
    return report


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
