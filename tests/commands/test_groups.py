"""Verbs with verbs of their own: loaded when called, with help, hints and completions like all others."""

import os
import subprocess
import sys
import types

import click
import pytest

from psanacli.commands import common, console, groups, main
from psanacli.commands.groups import Entry


@pytest.fixture
def group(monkeypatch):
    """`psana colour red` and `psana colour dark-blue`; returns what was called, and loads nothing before."""
    called = []

    def command():
        """Paint.

        With any colour.
        """

    command.__module__ = "psanacli.commands.colour"
    verbs = {"red": Entry("Paint it red."), "dark-blue": Entry("Paint it blue.", parallel=True)}
    made = groups.group(verbs, examples=[("psana colour red 3", "red it is"), ("psana colour dark-blue 4", "blue")])(
        command
    )

    for name in ("red", "dark_blue"):

        @common.verb(examples=[(f"psana colour {name} 3", "three times")])
        @click.argument("times", type=int)
        @common.talk
        def member(times, name=name):
            called.append((name, times))
            console.note("painted")

        monkeypatch.setitem(sys.modules, f"psanacli.commands.colour_{name}", types.SimpleNamespace(command=member))
    monkeypatch.setitem(main.VERBS, "colour", Entry("Paint.", group=True))
    monkeypatch.setitem(sys.modules, "psanacli.commands.colour", types.SimpleNamespace(command=made))
    return called


def test_a_verb_of_a_group_is_called_with_its_words(group, capsys):
    assert main.run(["colour", "dark-blue", "7"]) == 0
    assert main.run(["colour", "red", "2", "-q"]) == 0
    assert group == [("dark_blue", 7), ("red", 2)]
    assert capsys.readouterr().err == "painted\n"


def test_the_words_of_the_whole_line_are_remembered(group, monkeypatch):
    seen = []
    monkeypatch.setattr(console, "note", lambda text: seen.append(click.get_current_context().meta[console.WORDS]))
    main.run(["colour", "red", "1"])
    assert seen == [("psana", "colour", "red", "1")]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["colour", "rde", "1"], "there is no verb 'rde' of psana colour; did you mean red?"),
        (["colour", "exp=x:run=1"], "the verbs are red, dark-blue"),
        (["colour", "red", "--quite"], "there is no option --quite; did you mean --quiet?"),
        (["colour", "red"], "Usage: psana colour red"),
        (["colour", "--verboes"], "--verboes"),
        (["colour"], "Paint it blue."),
    ],
)
def test_wrong_usage_of_a_group(group, capsys, words, told):
    assert main.run(words) == 2
    out, err = capsys.readouterr()
    assert (out, group) == ("", [])
    assert told in err


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_of_a_group_has_examples_and_its_verbs(group, capsys, word):
    assert main.run(["colour", word]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Usage: psana colour [-h] VERB ...\n")
    assert "  psana colour red 3\n      red it is\n" in out
    assert out.index("Examples:") < out.index("Verbs:")
    assert "  dark-blue  Paint it blue.\n" in out
    assert main.run(["colour", "red", word]) == 0
    assert "psana colour red 3" in capsys.readouterr().out


def test_which_verbs_take_several_ranks(group):
    parallel = [["colour", "dark-blue", "1"], ["translate"]]
    alone = [["colour"], ["colour", "red"], ["info"], ["nothing"], []]
    assert all(main.psana.is_parallel(words) for words in parallel)
    assert not any(main.psana.is_parallel(words) for words in alone)


def test_completion_knows_the_verbs_of_a_group(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, types\n"
        "from psanacli.commands import groups, main\n"
        "def command(): pass\n"
        "command.__module__ = 'psanacli.commands.colour'\n"
        "table = {'red': groups.Entry(''), 'rose': groups.Entry(''), 'blue': groups.Entry('')}\n"
        "made = groups.group(table, examples=[])(command)\n"
        "sys.modules['psanacli.commands.colour'] = types.SimpleNamespace(command=made)\n"
        "main.VERBS['colour'] = groups.Entry('', group=True)\n"
        "main.main()\n"
    )

    def complete(words):
        environment = {**os.environ, "_PSANA_COMPLETE": "bash_complete", "COMP_WORDS": words}
        environment["COMP_CWORD"] = str(len(words.split(" ")) - 1)
        done = subprocess.run([sys.executable, str(program)], env=environment, capture_output=True, text=True)
        return done.stdout.split()

    assert complete("psana colour ") == ["plain,red", "plain,rose", "plain,blue"]
    assert complete("psana colour r") == ["plain,red", "plain,rose"]
    assert complete("psana colour --he") == ["plain,--help"]


def test_man_pages_of_a_group(group):
    import importlib.util
    from pathlib import Path

    path = Path(__file__).resolve().parents[2] / "docs" / "generate.py"
    spec = importlib.util.spec_from_file_location("generate", path)
    assert spec and spec.loader
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    pages = dict(generate.man_pages())
    assert {"psana-colour.1", "psana-colour-red.1", "psana-colour-dark-blue.1"} <= set(pages)
    assert "\\fBpsana\\-colour\\-red\\fP(1)\nPaint it red." in pages["psana-colour.1"]
    assert ".BR psana\\-colour\\-dark\\-blue (1)" in pages["psana-colour-red.1"]
    assert ".BR psana\\-colour\\-red" not in pages["psana-info.1"]
    assert ".BR psana\\-colour " in pages["psana-info.1"]
