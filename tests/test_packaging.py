"""What `python -m build` makes, and pip of it, runs elsewhere: without the checkout, without its neighbours."""

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
#: What a checkout has and a release is not made from.
LEFT_OUT = (".git", ".venv", "build", "dist", "*.egg-info", "*.so", "__pycache__", ".*_cache", ".hypothesis")

pytestmark = pytest.mark.slow


def run(*words, cwd):
    """Run a command with nothing of this checkout in its environment; return its stdout.

    What it compiles is slow code: whether it builds and runs is looked at here, in a third of the time.
    """
    ours = ("PYTHON", "PSANA", "SIT_", "XDG_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    kept["PSANACLI_OPTIMIZE"] = "0"
    done = subprocess.run([str(word) for word in words], cwd=cwd, env=kept, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, f"{words}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """The programs of an environment in which nothing is installed."""
    place = tmp_path_factory.mktemp("elsewhere") / "venv"
    venv.create(place, with_pip=True)
    return place / "bin"


@pytest.fixture(scope="module")
def release(tmp_path_factory, programs):
    """Source distribution and wheel; pip makes the wheel of the former, as for those who install the source."""
    place = tmp_path_factory.mktemp("release")
    shutil.copytree(ROOT, place / "checkout", ignore=shutil.ignore_patterns(*LEFT_OUT))
    if (ROOT / "build" / "cython").is_dir():  # Cython need not make the same C once more to list the sources
        shutil.copytree(ROOT / "build" / "cython", place / "checkout" / "build" / "cython")
    run(sys.executable, "-m", "build", "--sdist", "--outdir", place / "dist", place / "checkout", cwd=place)
    (sdist,) = (place / "dist").glob("*.tar.gz")
    run(programs / "pip", "wheel", "-q", "--no-deps", "--no-cache-dir", "-w", place / "dist", sdist, cwd=place)
    (wheel,) = (place / "dist").glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def checkout(release):
    """The tree that the release was made from."""
    return release[0].parent.parent / "checkout"


def test_content_of_the_wheel(release, checkout):
    names = set(zipfile.ZipFile(release[1]).namelist())
    modules = {path.relative_to(checkout).as_posix() for path in checkout.glob("psanacli/**/*.py")}
    data = {path.relative_to(checkout).as_posix() for path in checkout.glob("psanacli/**/*.json")}
    stubs = {path.relative_to(checkout).as_posix() for path in checkout.glob("psanacli/**/*.pyi")}
    assert data and stubs
    assert modules | data | stubs | {"psanacli/py.typed"} <= names
    native = {f"psanacli/{path.parent.name}/{path.stem}" for path in checkout.glob("cext/*/*.pyx")}
    native.add("psanacli/_cython")  # what all of them share
    assert native == {name.partition(".")[0] for name in names if name.endswith(".so")}
    shared = {name.partition(".data/data/share/")[2] for name in names}
    assert {f"man/man{path.suffix[1:]}/{path.name}" for path in checkout.glob("man/*.[17]")} <= shared
    assert {
        "bash-completion/completions/psana",
        "zsh/site-functions/_psana",
        "fish/vendor_completions.d/psana.fish",
    } <= shared
    assert not [name for name in names if name.startswith(("tests/", "cext/", "docs/", "benchmarks/"))]


def test_content_of_the_source_distribution(release, checkout):
    with tarfile.open(release[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tracked = [
        *checkout.glob("cext/**/*.p*"),
        *checkout.glob("tests/**/*.py"),
        *checkout.glob("docs/*"),
        *checkout.glob("man/*.[17]"),
    ]
    wanted = {path.relative_to(checkout).as_posix() for path in tracked if path.is_file()}
    assert wanted | {"LICENSE", "README.md", "CHANGELOG.md", "setup.py", "pyproject.toml"} <= names
    assert not [name for name in names if name.endswith((".so", ".c"))]


def test_it_installs_and_runs_elsewhere(release, programs, tmp_path):
    run(programs / "pip", "install", "-q", release[1], cwd=tmp_path)
    psana = programs / "psana"
    assert run(psana, "--version", cwd=tmp_path).startswith("psana ")
    where = run(programs / "python", "-c", "import psanacli; print(psanacli.__file__)", cwd=tmp_path)
    assert where.startswith(str(programs.parent))
    run(psana, "demo", "sample", cwd=tmp_path)
    made = list((tmp_path / "sample").rglob("*.h5"))
    assert made and made[0].stat().st_size > 100_000
    if shutil.which("man"):
        assert "psana" in run("man", "-l", programs.parent / "share/man/man1/psana.1", cwd=tmp_path)
