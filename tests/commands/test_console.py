"""Tables, JSON, progress, with and without a terminal."""

import enum
import io
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from psanacli.commands import console

ROWS = [("EBeam", 120, 0.5), ("DscCsPad", 7, None)]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Make stdout and stderr terminals of 60 columns when called (pytest has its own before a test begins)."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def begin():
        for name in ("stdout", "stderr"):
            monkeypatch.setattr(sys, name, Terminal())

    return begin


def test_plain_table_is_aligned(capsys):
    console.table(["detector", "events", "rate"], ROWS, title="Detectors")
    assert capsys.readouterr().out == (
        "Detectors\n"
        "detector  events  rate\n"
        "EBeam        120   0.5\n"
        "DscCsPad       7\n"
    )  # fmt: skip


def test_table_without_rows_or_head(capsys):
    console.table(["a", "b"], [])
    console.table(["", ""], [("run", 54)])
    assert capsys.readouterr().out == "a  b\nrun  54\n"


def test_alignment_may_be_given(capsys):
    console.table(["n", "word"], [(1, "a"), (10, "bcd")], align="<>")
    assert capsys.readouterr().out == "n   word\n1      a\n10   bcd\n"


def test_table_on_a_terminal(terminal):
    terminal()
    console.table(["detector", "[events]"], [("[red]Ev[r]", 3)], title="Detectors")
    shown = sys.stdout.getvalue()
    assert "[red]Ev[r]" in shown  # brackets are no markup
    assert "\x1b[" in shown


def test_no_colour_when_asked(terminal, monkeypatch):
    terminal()
    monkeypatch.setenv("NO_COLOR", "1")
    console.table(["detector"], [("EBeam",)], title="Detectors")
    console.error("no")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", sys.stdout.getvalue())
    assert sys.stderr.getvalue() == "psana: error: no\n"


def test_errors_have_colour_on_a_terminal(terminal):
    terminal()
    console.error("no", "go there")
    assert "\x1b[31m" in sys.stderr.getvalue()


def test_a_real_terminal_shows_a_rich_table():
    leader, follower = pty.openpty()
    program = "from psanacli.commands import console; console.table(['detector', 'events'], [('EBeam', 120)])"
    subprocess.run([sys.executable, "-c", program], stdout=follower, check=True, env={**os.environ, "TERM": "xterm"})
    os.close(follower)
    shown = os.read(leader, 10_000).decode()
    os.close(leader)
    assert "EBeam" in shown
    assert "─" in shown


class Colour(enum.IntEnum):
    RED = 3


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (np.bool_(True), "true"),
        (np.uint64(2**64 - 1), "18446744073709551615"),
        (Colour.RED, "3"),
        (0.1, "0.1"),
        (np.float32(0.1), "0.10000000149011612"),
        (float("nan"), '"nan"'),
        (np.float32("inf"), '"inf"'),
        (-np.inf, '"-inf"'),
        ([1.0, float("-inf")], '[1.0, "-inf"]'),
        (np.array([[1.0, np.nan]]), '[[1.0, "nan"]]'),
        (np.arange(3, dtype="i2"), "[0, 1, 2]"),
        (np.array(b"ab"), '"ab"'),
        (b"\xe9", '"é"'),
        ("é", '"é"'),
        (Path("/a"), '"/a"'),
        ((1, (2,)), "[1, [2]]"),
        ({1: {2}}, '{"1": [2]}'),
        (np.datetime64("2015-03-01T00:00:00.5", "ns"), '"2015-03-01T00:00:00.500000000"'),
        (np.array([(1, 2.5)], dtype=[("n", "i4"), ("x", "f8")]), '[{"n": 1, "x": 2.5}]'),
        (np.zeros((), dtype=[("n", "i4", (2,))]), '{"n": [0, 0]}'),
    ],
)
def test_json(value, text):
    assert console.json_text(value) == text


def test_json_lines(capsys):
    for n in range(2):
        console.print_json_line({"n": n})
    console.print_json({"n": 2})
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["n"] for line in lines[:2]] == [0, 1]
    assert json.loads("".join(lines[2:])) == {"n": 2}


def test_json_of_what_has_none():
    with pytest.raises(TypeError, match="no JSON for object"):
        console.json_text(object())


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is moved."""
    now = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    return now


def test_progress_shows_nothing_when_it_is_over_soon(clock, capsys):
    with console.progress("translate", 100) as progress:
        for _ in range(100):
            progress.advance(1, 1_000_000)
            clock[0] += 0.01
    assert capsys.readouterr().err == ""
    assert (progress.done, progress.bytes) == (100, 100_000_000)


def test_progress_without_a_terminal_is_a_line_now_and_then(clock, capsys):
    with console.progress("translate", 100) as progress:
        for _ in range(50):
            clock[0] += 0.5
            progress.advance(1, 1_000_000)
    assert capsys.readouterr().err.splitlines() == [
        "translate: 4/100 events  2/s  2 MB/s  48.0 s left",
        "translate: 24/100 events  2/s  2 MB/s  38.0 s left",
        "translate: 44/100 events  2/s  2 MB/s  28.0 s left",
    ]


def test_progress_of_an_unknown_total(clock, capsys):
    with console.progress("dump", 0, "datagrams") as progress:
        clock[0] += 4
        progress.advance(8)
    assert capsys.readouterr().err == "dump: 8 datagrams  2/s\n"


def test_progress_on_a_terminal_is_a_bar_that_goes_away(clock, terminal):
    terminal()
    with console.progress("translate", 10) as progress:
        clock[0] += 4
        progress.advance(5)
    shown = sys.stderr.getvalue()
    assert "━" in shown
    assert "5/10 events" in shown
    assert shown.endswith("\r\x1b[K")
    assert all(len(re.sub(r"\x1b\[[0-9;]*[mK]", "", line)) < 60 for line in shown.split("\r"))
