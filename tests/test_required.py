"""What is compared with the recorded reference may not be left out where the reference has to be there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LEFT_OUT = {
    "in_the_test": "import pytest\ndef test(): pytest.skip('not today')",
    "by_a_mark": "import pytest\n@pytest.mark.skipif(True, reason='not today')\ndef test(): pass",
    "by_a_fixture": "import pytest\n@pytest.fixture\ndef f(): pytest.skip('not today')\ndef test(f): pass",
    "by_a_module": "import pytest\npytest.importorskip('no_such_module', reason='not today')\ndef test(): pass",
    "by_a_parameter": "import pytest\n@pytest.mark.parametrize('x', [])\ndef test(x): pass",
    "by_an_expectation": "import pytest\n@pytest.mark.xfail(reason='not today')\ndef test(): assert 0",
}


def outcome(directory: Path, **environment: str) -> tuple[int, dict[str, int], str]:
    """Run the tests in a directory; return the exit code, how many of each outcome, and all that was printed."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("PSANACLI", "PYTEST"))}
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(directory), "tests"]
    done = subprocess.run(words, cwd=directory, env=bare | environment, capture_output=True, text=True, timeout=120)
    counts = {word: int(count) for count, word in re.findall(r"(\d+) (\w+)", done.stdout.splitlines()[-1])}
    return done.returncode, counts, done.stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with our conftest, one test that passes, and tests that are left out in every way."""
    reference = tmp_path / "tests" / "reference"
    reference.mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path / "tests")
    (reference / "test_done.py").write_text("def test(): pass\n")
    (tmp_path / "tests" / "test_elsewhere.py").write_text(LEFT_OUT["by_a_mark"])
    for name, text in LEFT_OUT.items():
        (reference / f"test_{name}.py").write_text(text)
    return tmp_path


def test_what_is_left_out_fails(project: Path) -> None:
    code, counts, text = outcome(project, PSANACLI_REQUIRE_SHARED="1", PYTEST_ADDOPTS="--continue-on-collection-errors")
    assert code == 1
    errors = counts.get("error", 0) + counts.get("errors", 0)
    assert counts["failed"] + errors == len(LEFT_OUT), text
    assert (counts["passed"], counts["skipped"]) == (1, 1)  # elsewhere tests may be skipped
    assert text.count("not today") >= len(LEFT_OUT) - 1
    for name in LEFT_OUT:
        assert re.search(rf"test_{name}.py\S* was left out though PSANACLI_REQUIRE_SHARED is set", text), name


def test_without_the_reference_they_are_skipped(project: Path) -> None:
    code, counts, text = outcome(project)
    assert (code, counts.get("failed", 0), counts["passed"]) == (0, 0, 1), text
    assert (counts["skipped"], counts["xfailed"]) == (len(LEFT_OUT), 1)
