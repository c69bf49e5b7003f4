"""The committed man pages and completions are those that docs/generate.py makes, and shells and man read them."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from psanacli.commands.common import Verb, WithExamples
from psanacli.commands.groups import Verbs
from psanacli.commands.main import psana
from psanacli.commands.manual import PAGES

ROOT = Path(__file__).resolve().parent.parent
TOP = click.Context(psana, info_name="psana", **psana.context_settings)
PATHS = [context.command_path for _, context in psana.walk(TOP)]


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_man_pages_are_up_to_date(generate):
    made = dict(generate.man_pages())
    kept = {path.name: path.read_text() for path in (ROOT / "man").glob("*.[17]")}
    assert kept == made, "run: python docs/generate.py"


@pytest.mark.skipif(not shutil.which("man"), reason="no man here")
@pytest.mark.parametrize("page", ["psana", *(path.replace(" ", "-") for path in PATHS)])
def test_man_reads_the_pages_without_a_warning(page):
    words = ["man", "--warnings", "-l", str(ROOT / "man" / f"{page}.1")]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "MANWIDTH": "100"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "EXIT STATUS" in done.stdout


@pytest.mark.skipif(not shutil.which("man"), reason="no man here")
@pytest.mark.parametrize("topic", PAGES)
def test_man_reads_the_pages_of_the_manual_without_a_warning(topic):
    words = ["man", "--warnings", "-l", str(ROOT / "man" / f"psana-{topic}.7")]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "MANWIDTH": "100"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "SEE ALSO" in done.stdout


@pytest.mark.parametrize("path", PATHS)
def test_help_of_every_verb_has_examples_and_a_line_for_the_list(path):
    command = dict(zip(PATHS, psana.walk(TOP), strict=True))[path][0]
    assert isinstance(command, Verb | Verbs)
    assert isinstance(command, WithExamples)
    assert len(command.examples) >= 2
    assert all(path in line and meaning for line, meaning in command.examples)
    assert command.help
    assert all(option.help for option in command.params if isinstance(option, click.Option))


@pytest.fixture
def path_with_psana(tmp_path):
    program = tmp_path / "psana"
    program.write_text(f"#!{sys.executable}\nfrom psanacli.commands.main import main\nmain()\n")
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


SCRIPTS = {
    "bash": """
source {file}
COMP_WORDS=(psana tr) COMP_CWORD=1
_psana_completion psana
echo "${{COMPREPLY[@]}}"
""",
    "fish": "source {file}; complete -C 'psana tr'",
    "zsh": """
compdef() {{ :; }}; _describe() {{ print -l $completions_with_descriptions }}
source {file}
words=(psana tr) CURRENT=2
_psana_completion
""",
}


@pytest.mark.parametrize("shell", SCRIPTS)
def test_completions_work_in_the_shell(shell, generate, path_with_psana):
    if not shutil.which(shell):
        pytest.skip(f"no {shell} here")
    file = ROOT / "completions" / shell / generate.SHELLS[shell]
    done = subprocess.run(
        [shell, "-c", SCRIPTS[shell].format(file=file)], capture_output=True, text=True, env=path_with_psana, timeout=60
    )
    assert "translate" in done.stdout, done.stderr
    assert "demo" not in done.stdout


@pytest.mark.parametrize("path", PATHS)
def test_what_json_tells_is_in_the_documentation(path):
    """A verb of a group stands under the heading of its group, by its own name."""
    command = dict(zip(PATHS, psana.walk(TOP), strict=True))[path][0]
    if not any("--json" in option.opts for option in command.params):
        return
    *groups, verb = path.split()[1:]
    sections = (ROOT / "docs" / "json.md").read_text().split("\n## ")
    alone = any(section.startswith(f"`psana {' '.join([*groups, verb])} ") for section in sections)
    listed = (section for section in sections if groups and section.startswith(f"`psana {groups[0]} "))
    assert alone or any(re.search(rf"^- [^:\n]*`{verb}`", section, re.MULTILINE) for section in listed)
