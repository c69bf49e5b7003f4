"""The command line as a whole: verbs, messages, exit codes, pipes, signals."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
import types

import click
import pytest

from psanacli import errors
from psanacli.commands import common, console, main

PSANA = [sys.executable, "-c", "from psanacli.commands.main import main; main()"]


@pytest.fixture
def verb(monkeypatch):
    """Make `psana try` a verb that calls a function."""

    def install(function):
        @common.verb(examples=[("psana try", "try it")])
        @common.talk
        def command():
            function()

        monkeypatch.setitem(main.VERBS, "try", main.Entry("Try."))
        monkeypatch.setitem(sys.modules, "psanacli.commands.try", types.SimpleNamespace(command=command))

    return install


def raising(error):
    def function():
        raise error

    return function


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError("reversed range", "turn it round"), 2),
        (errors.NotFoundError("no run 7", "runs are 1 to 6"), 3),
        (errors.DataError("damaged at 0x40"), 4),
        (errors.OutputError("disk is full"), 5),
        (errors.ConstantsError("no pedestals"), 6),
        (errors.CheckFailed("files differ"), 7),
    ],
)
def test_errors_of_ours_end_with_message_hint_and_code(verb, capsys, error, code):
    verb(raising(error))
    assert main.run(["try"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"psana: error: {error.message}\n" + (f"  {error.hint}\n" if error.hint else "")


@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.ENOENT, 3), (errno.EACCES, 3), (errno.EIO, 4), (errno.ENOSPC, 5), (errno.EDQUOT, 5), (errno.EROFS, 5)],
)
def test_errors_of_the_system(verb, capsys, number, code):
    verb(raising(OSError(number, os.strerror(number), "some.h5")))
    assert main.run(["try"]) == code
    assert capsys.readouterr().err == f"psana: error: some.h5: {os.strerror(number)}\n"


def test_a_bug_asks_for_a_report(verb, capsys, monkeypatch):
    monkeypatch.delenv("PSANA_DEBUG", raising=False)
    verb(raising(KeyError("missing")))
    assert main.run(["try"]) == errors.EXIT_BUG
    err = capsys.readouterr().err
    assert "a bug in psana: KeyError: 'missing' (test_main.py:" in err
    assert "please report it" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("words", [["-v"], []])
def test_a_bug_shows_its_traceback_when_asked(verb, capsys, monkeypatch, words):
    monkeypatch.setenv("PSANA_DEBUG", "" if words else "1")
    verb(raising(KeyError("missing")))
    assert main.run(["try", *words]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_interrupted(verb, capsys, error):
    handler = signal.getsignal(signal.SIGINT)
    verb(raising(error))
    assert main.run(["try"]) == 130
    assert signal.getsignal(signal.SIGINT) is handler
    assert capsys.readouterr().err == "psana: error: interrupted\n"


def test_a_verb_may_end_with_a_code_of_its_own(verb):
    verb(lambda: click.get_current_context().exit(4))
    assert main.run(["try"]) == 4


def test_a_verb_that_works_ends_with_0(verb, capsys):
    verb(lambda: click.echo("result"))
    assert main.run(["try"]) == 0
    assert capsys.readouterr() == ("result\n", "")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["trnaslate"], "there is no verb 'trnaslate'; did you mean translate"),
        (["Dump"], "did you mean dump"),
        (["qqq"], "the verbs are demo, info"),
        (["--versoin"], "--versoin"),
        (["try", "--quite"], "there is no option --quite; did you mean --quiet?"),
        (["try", "what"], "unexpected extra argument"),
    ],
)
def test_wrong_usage_names_the_nearest(verb, capsys, words, told):
    verb(lambda: None)
    assert main.run(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err


def test_help_lists_the_verbs_and_loads_none():
    program = (
        "import sys; from psanacli.commands import main; code = main.run(['--help']);"
        "sys.exit(code or [m for m in ('numpy', 'h5py', 'rich', 'mpi4py', 'difflib') if m in sys.modules] or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    for name, entry in main.VERBS.items():
        assert f"  {name} " in done.stdout
        assert entry.help in done.stdout


def test_version(capsys):
    assert main.run(["--version"]) == 0
    assert capsys.readouterr().out == f"psana {main.__version__}\n"


def test_completion_knows_verbs_and_options():
    def complete(words):
        environment = {**os.environ, "_PSANA_COMPLETE": "bash_complete", "COMP_WORDS": words}
        environment["COMP_CWORD"] = str(len(words.split(" ")) - 1)
        return subprocess.run(PSANA, env=environment, capture_output=True, text=True).stdout.split()

    assert complete("psana ") == [f"plain,{name}" for name in main.VERBS]
    assert complete("psana tr") == ["plain,translate"]
    assert complete("psana --ver") == ["plain,--version"]


def test_a_closed_pipe_is_quiet():
    endless = "; ".join(
        [
            "import sys, types, click",
            "from psanacli.commands import main",
            "command = click.Command('try', callback=lambda: [click.echo('line') for _ in iter(int, 1)])",
            "main.VERBS['try'] = main.Entry('')",
            "sys.modules['psanacli.commands.try'] = types.SimpleNamespace(command=command)",
            "sys.argv[1:] = ['try']",
            "main.main()",
        ]
    )
    process = subprocess.Popen([sys.executable, "-c", endless], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"line\n"
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    assert process.wait(20) == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_under_stdout():
    with open("/dev/full", "w") as full:
        done = subprocess.run([*PSANA, "--help"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 5
    assert "No space left on device" in done.stderr


def test_a_closed_stdout_is_no_bug():
    done = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *PSANA, "--version"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_a_verb_in_order(number, code):
    program = """
import sys, time, types, click
from psanacli.commands import main
def wait():
    try:
        click.echo("begun")
        time.sleep(60)
    finally:
        click.echo("cleaned up")
main.VERBS["try"] = main.Entry("")
sys.modules["psanacli.commands.try"] = types.SimpleNamespace(command=click.Command("try", callback=wait))
sys.argv[1:] = ["try"]
main.main()
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    begin = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == code
    assert out == b"cleaned up\n"
    assert err in (b"psana: error: interrupted\n", b"psana: error: terminated\n")
    assert time.monotonic() - begin < 10


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_that_meets_a_destructor_is_not_lost(number, code):
    program = f"""
import os, sys, time, types, click
from psanacli.commands import main
class Last:
    def __del__(self):
        os.kill(os.getpid(), {int(number)})
        time.sleep(0.1)
def wait():
    for _ in range(3):  # what is lost twice is not lost for good, either
        try:
            Last()
        finally:
            click.echo("went on")
    time.sleep(60)
main.VERBS["try"] = main.Entry("")
sys.modules["psanacli.commands.try"] = types.SimpleNamespace(command=click.Command("try", callback=wait))
sys.argv[1:] = ["try"]
main.main()
"""
    begin = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=50)
    assert done.returncode == code
    assert b"went on" in done.stdout
    assert done.stderr in (b"psana: error: interrupted\n", b"psana: error: terminated\n")
    assert time.monotonic() - begin < 30


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_that_is_dropped_comes_again_but_not_into_its_own_answer(number, code):
    program = f"""
import os, sys, time, types, click
from psanacli.commands import main, signals
signals._AGAIN = 0.05
def wait():
    try:
        os.kill(os.getpid(), {int(number)})
        time.sleep(5)
    except BaseException:
        pass  # as C code does that looks for an attribute
    try:
        time.sleep(60)
    finally:
        for _ in range(20):
            time.sleep(0.02)  # files are closed, threads end
        click.echo("cleaned up")
main.VERBS["try"] = main.Entry("")
sys.modules["psanacli.commands.try"] = types.SimpleNamespace(command=click.Command("try", callback=wait))
sys.argv[1:] = ["try"]
main.main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=50)
    assert (done.returncode, done.stdout) == (code, b"cleaned up\n")
    assert done.stderr in (b"psana: error: interrupted\n", b"psana: error: terminated\n")


@pytest.mark.parametrize("where", ["click", "numpy", "the first", *random.Random(5).sample(range(1, 120), 5)])
def test_interrupted_while_it_is_loaded(where):
    """At the import of any module: the command has an answer before it imports the first that takes time."""
    program = f"""
import os, sys
class Interrupt:
    count = 0
    def find_spec(self, name, path=None, target=None):
        self.count += 1
        if {where!r} in (name, self.count) or {where!r} == "the first":
            os.kill(os.getpid(), 2)
from psanacli.__main__ import main
sys.meta_path.insert(0, Interrupt())
sys.argv[1:] = ["info", "/nowhere"]
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True)
    assert (done.returncode, done.stdout) == (130, b"")
    assert done.stderr in (b"", b"psana: error: interrupted\n")


def test_interrupted_at_any_instant():
    """In the first 0.3 s; what Python prints when it is interrupted before it comes to the command is its own."""
    chance = random.Random(3)
    ours = 0
    for number in range(12):
        process = subprocess.Popen(
            [sys.executable, "-m", "psanacli", "help", "masks"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        time.sleep(0.3 * (number + chance.random()) / 12)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=50)
        quiet = errors in (b"", b"psana: error: interrupted\n")
        assert (process.returncode in (0, 130) and quiet) or b"psanacli/" not in errors, errors
        ours += quiet
    assert ours, "Python took longer to begin than all signals took to come"


def test_quiet_hides_notes_but_no_warnings(verb, capsys):
    def talk():
        console.note("by the way")
        console.warn("3 events are damaged")

    verb(talk)
    assert main.run(["try"]) == 0
    assert capsys.readouterr().err == "by the way\npsana: warning: 3 events are damaged\n"
    assert main.run(["try", "-q"]) == 0
    assert capsys.readouterr().err == "psana: warning: 3 events are damaged\n"


def test_examples_stand_above_the_options(verb, capsys):
    verb(lambda: None)
    main.run(["try", "--help"])
    out = capsys.readouterr().out
    assert out.index("Examples:") < out.index("psana try") or out.index("Examples:") < out.index("Options:")
    assert "  psana try\n      try it\n" in out
