"""Lists of events: the forms that are understood, what is wrong with others, sets, and the way back to runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from run.runs import EVENTS, write_run

from psanacli.errors import NotFoundError, PsanaError, UsageError
from psanacli.run import Choice, EventList, Run, describe_event, open_run

SECONDS, NANO, FID = 1436954400, 123456789, 12345
TIME = "2015-07-15T10:00:00.123456789"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    directory = tmp_path_factory.mktemp("lists")
    write_run(directory)
    with open_run(directory) as run:
        yield run


#: Lines, and what of them is known: experiment, run, seconds, nanoseconds, fiducials, number.
FORMS = {
    f"xpptut15 r54 {SECONDS}.{NANO} f{FID}": ("xpptut15", 54, SECONDS, NANO, FID, -1),
    f"XPP/xpptut15   r0054 {SECONDS}.{NANO}\tf{FID}  # the best": ("xpptut15", 54, SECONDS, NANO, FID, -1),
    f"r54 {SECONDS}.{NANO} f{FID}": (None, 54, SECONDS, NANO, FID, -1),
    f"{SECONDS}.{NANO} f0": (None, -1, SECONDS, NANO, 0, -1),
    f"{SECONDS}.{NANO}": (None, -1, SECONDS, NANO, -1, -1),
    f"xpptut15 r54 {TIME} f{FID}": ("xpptut15", 54, SECONDS, NANO, FID, -1),
    f"r54 {TIME.replace('T', ' ')}Z f{FID}": (None, 54, SECONDS, NANO, FID, -1),
    "2015-07-15T03:00:00-07:00": (None, -1, SECONDS, 0, -1, -1),
    "17": (None, -1, -1, -1, -1, 17),
    f"{SECONDS} {NANO} {FID}": (None, -1, SECONDS, NANO, FID, -1),
    f"({SECONDS}, {NANO}, {FID}),": (None, -1, SECONDS, NANO, FID, -1),
    f"(({SECONDS}, {NANO}), {FID})": (None, -1, SECONDS, NANO, FID, -1),
    f"psana.EventTime({SECONDS << 32 | NANO}, {FID})": (None, -1, SECONDS, NANO, FID, -1),
    f"et = EventTime({SECONDS << 32 | NANO},{FID})": (None, -1, SECONDS, NANO, FID, -1),
    f"{SECONDS << 32 | NANO} {FID}": (None, -1, SECONDS, NANO, FID, -1),
    f"XtcEventId(run=54, time=2015-07-15 03:00:00.{NANO}-07, fiducials={FID}, ticks=1, vector=2, control=0)": (
        None, 54, SECONDS, NANO, FID, -1,
    ),
    json.dumps({"run": 54, "number": 3, "time": TIME, "fiducials": FID}): (None, 54, SECONDS, NANO, FID, -1),
    json.dumps({"experiment": "xpptut15", "seconds": SECONDS, "nanoseconds": NANO, "x": None}): (
        "xpptut15", -1, SECONDS, NANO, -1, -1,
    ),
    json.dumps({"event": 3}): (None, -1, -1, -1, -1, 3),
    json.dumps({"id": f"r54 {SECONDS}.{NANO} f{FID}"}): (None, 54, SECONDS, NANO, FID, -1),
}  # fmt: skip


@pytest.mark.parametrize("text", FORMS)
def test_forms_of_a_line(text: str) -> None:
    listed = EventList.parse(text)
    experiment, *numbers = FORMS[text]
    assert len(listed) == 1
    assert listed.experiments == (() if experiment is None else (experiment,))
    assert listed.rows[["run", "seconds", "nanoseconds", "fiducials", "number"]].tolist() == [tuple(numbers)]


def test_a_list_keeps_order_and_repetitions_and_drops_remarks() -> None:
    text = "# head\n\nr2 10.000000001 f3\r\nr1 9.000000000 f6 # why\n  \nr2 10.000000001 f3\n5"
    listed = EventList.parse(text.encode())
    assert [*listed.lines()] == ["r2 10.000000001 f3", "r1 9.000000000 f6", "r2 10.000000001 f3", "5"]
    assert [*EventList.parse("\n".join(listed.lines())).lines()] == [*listed.lines()]
    assert [*EventList.parse("\n".join(json.dumps(each) for each in listed.records())).lines()] == [*listed.lines()]


def test_a_table_with_tabs_and_a_line_of_names() -> None:
    table = f"# made by hand\nrun\tx\ttime\tfiducials\n54\t\t{TIME}\t{FID}\n55\t0.5\t{TIME}\t\n"
    assert [*EventList.parse(table).lines()] == [f"r54 {SECONDS}.{NANO} f{FID}", f"r55 {SECONDS}.{NANO}"]
    assert [*EventList.parse("number\n3\n4\n").lines()] == ["3", "4"]
    with pytest.raises(UsageError, match=r"here, line 3: 2 columns.*\n.*names 3"):
        EventList.parse("run\tnumber\tx\n1\t2\t3\n1\t2\n", "here")


#: Lines that are no events, and words of the message.
WRONG = {
    "what?": "no event",
    "r54": "no event",
    "1436954400.5": "no event",
    "1 2": "EventTime",
    "1 2 3 4": "no event",
    "4294967296.000000000": "no time",
    "5 1000000000 3": "no time",
    "1.000000001 f131072": "no fiducials",
    "99999999999999999999": "too large",
    "r54 2015-13-01T00:00:00 f3": "no time",
    '{"run": 3}': "nothing tells which event",
    '{"number": 3.5}': "number is no number",
    '{"number": -3}': "number is no number",
    '{"number": true}': "number is no number",
    '{"number": ': "no JSON",
    '{"a":' * 5000: "no JSON",
    "XtcEventId(run=54, time=noon, fiducials=3)": "no time",
    "\0\1": "no event",
}


@pytest.mark.parametrize("text", WRONG, ids=lambda text: text[:20])
def test_a_line_that_is_no_event_is_told_with_its_place(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        EventList.parse(f"# head\n17\n{text}\n", "my.txt")
    assert caught.value.message.startswith("my.txt, line 3: ")
    assert WRONG[text] in str(caught.value)
    assert len(str(caught.value)) < 500


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_bytes_are_a_list_or_a_clear_error(data: bytes | str) -> None:
    try:
        listed = EventList.parse(data)
    except PsanaError as error:
        assert "line" in error.message
    else:
        assert [*EventList.parse("\n".join(listed.lines())).lines()] == [*listed.lines()]


IDS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 1), st.sampled_from(["a", "b"])), max_size=12
)


def text_of(ids: list[tuple[int, int, int, str]]) -> str:
    return "\n".join(f"{experiment} r{run} {seconds}.000000000 f{fid}" for seconds, fid, run, experiment in ids)


@given(IDS, IDS)
def test_sets_are_those_of_python(
    first: list[tuple[int, int, int, str]], second: list[tuple[int, int, int, str]]
) -> None:
    a, b = EventList.parse(text_of(first)), EventList.parse(text_of(second))
    assert [*(a & b).lines()] == text_of([each for each in first if each in second]).splitlines()
    assert [*(a - b).lines()] == text_of([each for each in first if each not in second]).splitlines()
    assert [*(a | b).lines()] == text_of(first + [each for each in second if each not in first]).splitlines()


def test_what_one_list_does_not_tell_is_not_compared() -> None:
    whole = EventList.parse(f"xpptut15 r54 {SECONDS}.{NANO} f{FID}\nxpptut15 r54 {SECONDS}.{NANO} f3")
    assert [*(whole & EventList.parse(f"{SECONDS} {NANO} {FID}")).lines()] == [whole.line(0)]
    assert len(whole & EventList.parse(f"{SECONDS}.{NANO}")) == 2
    assert len(whole & EventList.parse(f"r55 {SECONDS}.{NANO} f{FID}")) == 0
    with pytest.raises(UsageError, match="cannot be compared with times"):
        whole & EventList.parse("17")


def test_events_have_ids_and_ids_lead_back(run: Run, tmp_path: Path) -> None:
    some = run.events[[7, 3, 3, 11]]
    listed = EventList.of(some)
    assert listed.line(0) == f"e301 r1 {run.events[7].id.seconds}.{run.events[7].id.nanoseconds:09d} f16968"
    assert listed.resolve(run).tolist() == [7, 3, 3, 11]
    listed.write(tmp_path / "list.txt", remarks=["two\nlines"])
    assert (tmp_path / "list.txt").read_text().startswith("# two\n# lines\ne301 r1 ")
    again = EventList.read(tmp_path / "list.txt")
    assert again.resolve(run).tolist() == [7, 3, 3, 11]
    assert [path.name for path in tmp_path.iterdir()] == ["list.txt"]
    assert len(EventList()) == 0 and EventList().resolve(run).tolist() == []


def test_ids_that_say_little_or_something_else(run: Run) -> None:
    event = run.events[5].id
    time = f"{event.seconds}.{event.nanoseconds:09d}"

    def found(text: str) -> int:
        return int(EventList.parse(text).resolve(run)[0])

    assert found(f"{time} f{event.fiducials}") == 5
    assert found(time) == 5
    assert found("5") == 5
    assert found(f"xpptut15 r1 {time}") == 5, "e301 is the prefix of the files, not the name of an experiment"
    assert found(f"r2 {time}") == -1
    assert found(f"{time} f3") == -1
    assert found("12") == -1
    assert found("1.000000000") == -1


def test_choices(run: Run) -> None:
    assert [len(events) for events in Choice().among([run, run]).events] == [EVENTS, EVENTS]
    chosen = Choice(slice(2, 9), "code(162)").among([run])
    assert np.asarray(chosen.events[0].indices).tolist() == [3, 6]
    listed = EventList.parse("5\n3\n3\n99")
    with pytest.raises(NotFoundError, match="1 of 4 events of the list are not in the data: 99"):
        Choice(listed).among([run])
    chosen = Choice(listed, "number != 5", missing_ok=True).among([run])
    assert np.asarray(chosen.events[0].indices).tolist() == [3, 3]
    assert [*chosen.missing.lines()] == ["99"]
    with pytest.raises(UsageError, match="numbers of events"):
        Choice(listed).among([run, run])
    with pytest.raises(NotFoundError, match="no event 50"):
        Choice(slice(50, 60)).among([run])
    with pytest.raises(NotFoundError, match="no list of events"):
        EventList.read("/nowhere/list.txt")


def test_all_about_one_event(run: Run) -> None:
    described = describe_event(run.events[5])
    assert described["id"] == EventList.of(run.events[5:6]).line(0)
    assert described["codes"] == [140] and described["step"] == {
        "number": 1, "values": {"XPP:LAS:DELAY": 1.0}, "labels": {"sample": "no 1"},
    }  # fmt: skip
    assert [d["stream"] for d in described["datagrams"]] == [1]
    head = described["datagrams"][0]
    assert run.events.at_offset(head["file"], head["offset"]).index == 5
    states = {source["source"]: source["state"] for source in described["sources"]}
    assert states["EBeam"] == "lost" and states["XppEndstation.0:Opal1000.1"] == "there"
    assert "OutOfSynch" in next(s["why"] for s in described["sources"] if s["source"] == "EBeam")
    assert describe_event(run.events[7])["sources"][3]["state"] == "absent"
    assert {v["name"]: v["value"] for v in described["epics"]} == {
        "XPP:ARRAY": [1, 2, 3], "XPP:USR:MMN:01.RBV": 2.5,
    }  # fmt: skip
    json.dumps(described)
