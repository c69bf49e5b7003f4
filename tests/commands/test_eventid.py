"""``psana eventid``: listing, choosing, saving and finding events; and ``--events``, ``--where`` of the other verbs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import h5py
import pytest
from commands.cluster import PSANA, environment, ranks
from run.runs import EVENTS, write_run

from psanacli.commands.main import run as run_psana


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("eventid")
    write_run(directory)
    return str(directory)


class Ran:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err
        self.lines = out.splitlines()


@pytest.fixture
def psana(capsys: pytest.CaptureFixture[str], here: Path):
    def call(*words: object, code: int = 0) -> Ran:
        found = run_psana([str(word) for word in words])
        printed = capsys.readouterr()
        assert found == code, printed.err
        return Ran(found, printed.out, printed.err)

    return call


def test_list_as_a_table(psana, data):
    lines = psana("eventid", "list", data).lines
    assert len(lines) == EVENTS + 1
    assert lines[0].split() == ["run", "number", "time", "fiducials", "step", "codes", "damage"]
    assert lines[6].split() == ["1", "5", "2015-07-06T16:26:40.841666665", "16962", "1", "140", "EBeam:OutOfSynch"]
    assert len({len(line.split()) for line in lines}) == 1
    lines = psana("eventid", "list", data, "--where", "absent(EBeam)", "--columns", "number,why(EBeam)").lines
    assert [line.split(maxsplit=1) for line in lines[1:]] == [
        ["4", "Bld.BldDataEBeamV7 is not in this event; 10 events have it"],
        ["5", "Bld.BldDataEBeamV7 is damaged: OutOfSynch"],
    ]


def test_list_with_tabs(psana, data):
    columns = "number,EBeam.ebeamCharge,min(number, 4),`ipm3/IpmFex`.channel,time,codes,present(opal_1)"
    lines = psana("eventid", "list", data, "--columns", columns, "--tsv", "--events", "3:5").lines
    assert [line.split("\t") for line in lines] == [
        ["number", "EBeam.ebeamCharge", "min(number, 4)", "`ipm3/IpmFex`.channel", "time", "codes", "present(opal_1)"],
        ["3", "0.75", "3", "3.0,1.0,2.0,3.0", "2015-07-06T16:26:40.424999999", "140,162", "True"],
        ["4", "", "4", "4.0,1.0,2.0,3.0", "2015-07-06T16:26:40.833333332", "140", "True"],
    ]


def test_list_as_json_always_tells_which_event(psana, data):
    (line,) = psana("eventid", "list", data, "--json", "--events", "4", "--columns", "EBeam.ebeamCharge,codes").lines
    assert json.loads(line) == {
        "experiment": "e301", "run": 1, "number": 4, "time": "2015-07-06T16:26:40.833333332", "seconds": 1436200000,
        "nanoseconds": 833333332, "fiducials": 16959, "EBeam.ebeamCharge": None, "codes": [140],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--columns", "number,,time"], 2, "a column has no name"),
        (["--columns", "number", "--columns", "number"], 2, "there twice"),
        (["--columns", "EBaem.x"], 3, "did you mean EBeam"),
        (["--where", "number = 3"], 2, "         ^"),
        (["--tsv", "--json"], 2, "exclude each other"),
        (["--events", "1", "-n", "2"], 2, "--events and -n exclude each other"),
        (["-x"], 2, "there is no option -x\n"),
        (["--events", "5:2"], 2, "is empty"),
        (["--events", "100:"], 3, "no event 100"),
        (["--events", "nothing.txt"], 3, "no list of events 'nothing.txt'"),
    ],
)
def test_list_says_what_is_wrong(psana, data, words, code, message):
    assert message in psana("eventid", "list", data, *words, code=code).err


def test_an_empty_list_is_a_list(psana, data):
    assert len(psana("eventid", "list", data, "--where", "False").lines) == 1
    ran = psana("eventid", "select", data, "--where", "step == 77")
    assert ran.out == "" and "0 of 12 events are chosen" in ran.err
    Path("empty.txt").write_text("# nothing\n")
    assert psana("eventid", "list", data, "--events", "empty.txt", "--json").out == ""


def test_the_first_events(psana, data):
    assert len(psana("eventid", "list", data, "-n", "2", "--json").lines) == 2
    lines = psana("eventid", "select", data).lines
    assert psana("eventid", "select", data, "-n", "3").lines == lines[:3]


def test_select_prints_and_writes_a_list(psana, data):
    lines = psana("eventid", "select", data, "--where", "code(162)").lines
    assert lines[1:3] == ["e301 r1 1436200000.424999999 f16956", "e301 r1 1436200000.849999998 f16965"]
    psana("eventid", "select", data, "--where", "code(162)", "-o", "laser.txt")
    text = Path("laser.txt").read_text()
    assert text.startswith("# psana eventid select ") and text.splitlines()[1:] == lines
    assert "laser.txt exists" in psana("eventid", "select", data, "-o", "laser.txt", code=5).err
    psana("eventid", "select", data, "--events", "laser.txt", "--where", "number > 3", "-o", "laser.txt", "--overwrite")
    assert Path("laser.txt").read_text().splitlines()[1:] == lines[2:]


def test_save_adds_to_a_list_and_leaves_the_rest(psana, data):
    Path("good.txt").write_text("# mine\ne301 r1 1436200000.424999999 f16956 # the best")
    assert "2 events added, 1 were there" in psana("eventid", "save", "good.txt", data, "--events", "2:5").err
    psana("eventid", "save", "good.txt", data, "--where", "step == 2 and code(162)", "--remark", "late ones")
    assert Path("good.txt").read_text() == (
        "# mine\ne301 r1 1436200000.424999999 f16956 # the best\n"
        "e301 r1 1436200000.416666666 f16953\ne301 r1 1436200000.833333332 f16959\n"
        "# late ones\ne301 r1 1436200001.274999997 f16974\n"
    )
    psana("eventid", "save", "good.txt", data, "--events", "0", "--overwrite")
    assert Path("good.txt").read_text() == "e301 r1 1436200000.400000000 f16947\n"


def test_combine_lists(psana, data):
    for name, where in {"laser": "code(162)", "late": "number > 5", "seven": "number in [6, 7]"}.items():
        psana("eventid", "select", data, "--where", where, "-o", f"{name}.txt")

    def numbers(*words: str) -> list[int]:
        Path("found.txt").write_text(psana("eventid", "combine", *words).out)
        lines = psana("eventid", "list", data, "--events", "found.txt", "--json").lines
        return [json.loads(line)["number"] for line in lines]

    assert numbers("laser.txt", "and", "late.txt") == [6, 9]
    assert numbers("laser.txt", "minus", "late.txt") == [0, 3]
    assert numbers("laser.txt", "or", "seven.txt") == [0, 3, 6, 9, 7]
    assert numbers("laser.txt", "or", "seven.txt", "minus", "late.txt") == [0, 3]
    assert numbers("late.txt") == [6, 7, 8, 9, 10, 11]
    assert json.loads(psana("eventid", "combine", "seven.txt", "--json").lines[0])["fiducials"] == 16965
    assert "did you mean minus" in psana("eventid", "combine", "laser.txt", "minsu", "late.txt", code=2).err
    assert "lists and words" in psana("eventid", "combine", "laser.txt", "and", code=2).err


def test_check_tells_which_events_exist_and_where(psana, data):
    psana("eventid", "select", data, "--events", "4:6", "-o", "some.txt")
    assert psana("eventid", "check", "some.txt", data).lines == [
        "e301 r1 1436200000.833333332 f16959\tevent 4 of run 1, step 1",
        "e301 r1 1436200000.841666665 f16962\tevent 5 of run 1, step 1",
    ]
    with Path("some.txt").open("a") as file:
        file.write("1436200000.841666000 f16962\nr2 1436200000.833333332 f16959\n77\n")
    ran = psana("eventid", "check", "some.txt", data, "-q", code=7)
    assert ran.lines == [
        "1436200000.841666000 f16962\tnot there; the nearest is event 5 of run 1, 6.65e-07 s away",
        "r2 1436200000.833333332 f16959\tnot there; the nearest is event 4 of run 1, 0 s away",
        "77\tnot there",
    ]
    assert "3 of 5 events of some.txt do not exist" in ran.err
    found = [json.loads(line) for line in psana("eventid", "check", "some.txt", data, "--json", code=7).lines]
    assert [each["found"] for each in found] == [True, True, False, False, False]
    assert found[0]["where"] == [{"experiment": "e301", "run": 1, "number": 4, "step": 1}]


@pytest.mark.parametrize("wanted", ["5", "e301 r1 1436200000.841666665 f16962", "1436200000.841666665"])
def test_show_tells_all_about_an_event(psana, data, wanted):
    shown = json.loads(psana("eventid", "show", wanted, data, "--json").out)
    assert shown["id"] == "e301 r1 1436200000.841666665 f16962" and shown["codes"] == [140]
    assert shown["datagrams"][0]["file"] == "e301-r0001-s01-c00.xtc"
    text = psana("eventid", "show", wanted, data).out
    for words in ("16962", "XPP:LAS:DELAY", "opal_1", "is damaged: OutOfSynch", "XPP:USR:MMN:01.RBV", "s01-c00"):
        assert words in text


def test_show_of_no_event_and_of_several(psana, data):
    assert "no event 99" in psana("eventid", "show", "99", data, code=3).err
    assert "is 2 events" in psana("eventid", "show", "9\n8", data, code=2).err
    assert "no event" in psana("eventid", "show", "what", data, code=2).err


def test_info_lists_chosen_events(psana, data):
    lines = psana("info", data, "--json", "--where", "code(162)").lines
    assert [json.loads(line)["event"] for line in lines] == [0, 3, 6, 9]
    Path("list.txt").write_text("9\n3\n3\n")
    lines = psana("info", data, "--json", "--events", "list.txt").lines
    assert [json.loads(line)["event"] for line in lines] == [9, 3, 3]


def test_dump_takes_the_events_of_a_list(psana, data):
    psana("eventid", "select", data, "--where", "number in [2, 4, 6]", "-o", "list.txt")
    file = next(Path(data).glob("*-s00-*.xtc"))
    shown = json.loads(psana("dump", file, "--json", "--headers", "--events", "list.txt").out)
    assert [each["fiducials"] for each in shown["dgrams"]] == [16953, 16959, 16965]
    with Path("list.txt").open("a") as other:
        other.write("1.000000000 f3\n")
    assert "are in none of the files" in psana("dump", file, "--events", "list.txt", code=3).err
    assert "are in none of the files" in psana("dump", file, "--events", "list.txt", "--missing-ok").err


def numbers_in(path: str | Path) -> list[int]:
    """Return the numbers of the events in a translated file, from the values of the intensity monitor."""
    with h5py.File(path) as file:
        run = file["Configure:0000/Run:0000"]
        return [
            int(value)
            for step in sorted(run)
            if "Lusi::IpmFexV1" in run[step]
            for value in run[step]["Lusi::IpmFexV1/XppSb2Ipm.1:Ipimb.0/data"]["sum"]
        ]


def test_translate_takes_lists_and_conditions(psana, data):
    Path("list.txt").write_text("9\n3\n3\n0\n")
    psana("translate", data, "--events", "list.txt", "-o", "list.h5")
    assert numbers_in("list.h5") == [0, 3, 9], "in the order of the run, and each once"
    psana("translate", data, "--where", "absent(opal_1) or EBeam.ebeamCharge == 1.5", "-o", "where.h5")
    assert numbers_in("where.h5") == [6, 7]
    psana("translate", data, "--events", "list.txt", "--where", "number > 0", "--steps", "0", "-o", "both.h5")
    assert numbers_in("both.h5") == [3]
    psana("translate", data, "-n", "5", "--where", "code(162)", "-o", "first.h5")
    assert numbers_in("first.h5") == [0, 3]
    psana("translate", data, "--where", "code(162)", "--split", "steps", "-o", "split.h5")
    assert numbers_in("split.h5") == [0, 3, 6, 9]
    Path("list.txt").write_text("3\n99\n")
    assert "1 of 2 events of list.txt" in psana("translate", data, "--events", "list.txt", "-o", "no.h5", code=3).err
    ran = psana("translate", data, "--events", "list.txt", "--missing-ok", "-o", "ok.h5")
    assert "1 of 2 events of the list are not in the data" in ran.err and numbers_in("ok.h5") == [3]
    assert "no event is chosen" in psana("translate", data, "--where", "number < 0", "-o", "no.h5", code=3).err
    assert not Path("no.h5").exists()


def pipe(*commands: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run commands, each with the output of the one before as its input."""
    done, text = None, ""
    for words in commands:
        done = subprocess.run(
            words, input=text, capture_output=True, text=True, cwd=cwd, env=environment(), timeout=120, check=True
        )
        text = done.stdout
    assert done is not None
    return done


@pytest.mark.parametrize("count", [0, 3])
def test_pipes(here, data, count):
    select = [*PSANA, "eventid", "select", data, "--where", "step == 1"]
    translate = [*ranks(count), *PSANA, "translate", data, "--events", "-", "-o"]
    pipe(select, [*translate, "one.h5"], cwd=here)
    assert numbers_in(here / "one.h5") == [4, 5, 6, 7]
    keep = "import sys, json\nfor line in sys.stdin:\n    if json.loads(line)['damage']: print(line, end='')"
    pipe([*PSANA, "eventid", "list", data, "--json"], [sys.executable, "-c", keep], [*translate, "two.h5"], cwd=here)
    assert numbers_in(here / "two.h5") == [5]
    if count == 0:
        listed = pipe(
            [*PSANA, "eventid", "list", data, "--tsv"], [*PSANA, "eventid", "select", data, "--events", "-"], cwd=here
        )
        assert len(listed.stdout.splitlines()) == EVENTS


def test_several_runs(psana, tmp_path):
    write_run(tmp_path / "other")
    two = tmp_path / "two"
    write_run(two, events=6)
    for path in (tmp_path / "other").iterdir():
        path.rename(two / path.name.replace("r0001", "r0002"))
    lines = psana("eventid", "select", two, "--where", "number >= 5").lines
    assert [line.split()[1] for line in lines] == ["r1"] + ["r2"] * 7
    Path("second.txt").write_text("\n".join(lines[1:3]))
    shown = [json.loads(line) for line in psana("eventid", "list", two, "--json", "--events", "second.txt").lines]
    assert [(each["run"], each["number"]) for each in shown] == [(2, 5), (2, 6)]
    ran = psana("translate", two, "--events", "second.txt", "-o", "{run}.h5")
    assert "run 1: no event is chosen" in ran.err
    assert numbers_in("2.h5") == [5, 6] and not Path("1.h5").exists()
    Path("numbers.txt").write_text("3\n")
    assert "and there are 2 runs" in psana("eventid", "list", two, "--events", "numbers.txt", code=2).err
    assert "which run?" in psana("eventid", "show", "3", two, code=2).err


def test_help_has_the_pages_of_the_manual(psana):
    assert "EBeam.ebeamPhotonEnergy" in psana("help", "expressions").out
    assert "1436954400.123456789" in psana("help", "events").out
    assert "--columns" in psana("help", "eventid", "list").out
    assert "translate" in psana("help").out
    assert "did you mean expressions" in psana("help", "expresions", code=2).err
