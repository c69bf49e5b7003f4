"""Checks find what is planted in a good run, and nothing in the good run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from psanacli.errors import NotFoundError
from psanacli.run import open_run
from psanacli.run.checks import CHECKS, Finding, check_run, choose
from psanacli.xtc import Datagram, StreamWriter, Transition, walk_file

from .runs import write_run


def found(directory: Path) -> dict[str, list[Finding]]:
    with open_run(directory) as run:
        findings: dict[str, list[Finding]] = {}
        for check, finding in check_run(run):
            findings.setdefault(check.name, []).append(finding)
        return findings


def good_run(directory: Path) -> list[Path]:
    return write_run(directory)


def datagrams(path: Path) -> list[bytes]:
    table = walk_file(path).datagrams
    data = path.read_bytes()
    return [data[int(row["offset"]) : int(row["offset"]) + 20 + int(row["extent"])] for row in table]


def changed(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    path.write_bytes(b"".join(change(datagrams(path))))


def accepts(parts: list[bytes]) -> list[int]:
    return [number for number, part in enumerate(parts) if part[11] & 0xF == Transition.L1Accept]


def with_clock(part: bytes, nanoseconds: int) -> bytes:
    clock = int.from_bytes(part[4:8], "little") * 10**9 + int.from_bytes(part[:4], "little") + nanoseconds
    return (clock % 10**9).to_bytes(4, "little") + (clock // 10**9).to_bytes(4, "little") + part[8:]


def with_fiducial(part: bytes, fiducial: int) -> bytes:
    high = int.from_bytes(part[12:16], "little") & ~0x1FFFF | fiducial
    return part[:12] + high.to_bytes(4, "little") + part[16:]


def test_a_run_is_good_but_for_the_one_damaged_object(tmp_path: Path) -> None:
    good_run(tmp_path)
    findings = found(tmp_path)
    assert list(findings) == ["damage"]
    (finding,) = findings["damage"]
    assert finding.event == 5
    assert "EBeam" in finding.found and "OutOfSynch" in finding.found
    assert str(finding).startswith(f"{finding.path} at offset {finding.offset}: event 5: ")


def test_an_event_that_is_not_there_is_a_gap(tmp_path: Path) -> None:
    paths = good_run(tmp_path)
    changed(paths[0], lambda parts: [part for number, part in enumerate(parts) if number != accepts(parts)[2]])
    findings = found(tmp_path)
    assert [finding.count for finding in findings["gap"]] == [1]
    assert "vector 4" in findings["gap"][0].found


def test_an_event_that_is_there_twice_is_a_duplicate_and_late(tmp_path: Path) -> None:
    paths = good_run(tmp_path)

    def again(parts: list[bytes]) -> list[bytes]:
        first, second = accepts(parts)[:2]
        return [*parts[: second + 1], parts[first], *parts[second + 1 :]]

    changed(paths[0], again)
    findings = found(tmp_path)
    assert len(findings["duplicate"]) == len(findings["order"]) == 1
    offset = sum(map(len, datagrams(paths[0])[: accepts(datagrams(paths[0]))[2]]))
    assert findings["duplicate"][0].offset == findings["order"][0].offset == offset


def test_events_that_changed_places_are_out_of_order(tmp_path: Path) -> None:
    paths = good_run(tmp_path)

    def swapped(parts: list[bytes]) -> list[bytes]:
        first, second = accepts(parts)[:2]
        parts[first], parts[second] = parts[second], parts[first]
        return parts

    changed(paths[0], swapped)
    findings = found(tmp_path)
    assert [finding.event for finding in findings["order"]] == [0]
    assert set(findings) == {"damage", "order"}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("clock", lambda part: with_clock(part, -20_000_000)),
        ("bad-fiducial", lambda part: with_fiducial(part, 0x1FFFF)),
        ("fiducial-jump", lambda part: with_fiducial(part, 90_000)),
    ],
)
def test_one_wrong_word_of_a_header_is_one_finding(tmp_path: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    paths = good_run(tmp_path)

    def one(parts: list[bytes]) -> list[bytes]:
        number = accepts(parts)[1]
        parts[number] = change(parts[number])
        return parts

    changed(paths[0], one)
    findings = found(tmp_path)
    assert set(findings) == {"damage", name}
    assert len(findings[name]) == 1


def test_a_pause_of_a_step_is_no_finding_but_one_between_events_is(tmp_path: Path) -> None:
    good_run(tmp_path)
    for path in sorted(tmp_path.glob("*.xtc")):

        def later(parts: list[bytes]) -> list[bytes]:
            shown = accepts(parts)
            return [with_clock(part, 30 * 10**9 if number > shown[0] else 0) for number, part in enumerate(parts)]

        changed(path, later)
    findings = found(tmp_path)
    assert set(findings) == {"damage", "pause", "fiducial-jump"}
    assert len(findings["pause"]) == 1 and "30.0" in findings["pause"][0].found


def test_transitions_that_are_missing_repeated_or_late(tmp_path: Path) -> None:
    paths = good_run(tmp_path)

    def wrong(parts: list[bytes]) -> list[bytes]:
        kinds = [part[11] & 0xF for part in parts]
        begin, enable = kinds.index(Transition.BeginCalibCycle), kinds.index(Transition.Enable)
        parts[enable] = with_clock(parts[enable], 1000)
        last = len(kinds) - 1 - kinds[::-1].index(Transition.BeginCalibCycle)
        return [*parts[: begin + 1], parts[begin], *parts[begin + 1 : last], *parts[last + 1 :]]

    changed(paths[1], wrong)
    findings = found(tmp_path)
    assert {name: len(of) for name, of in findings.items()} == {
        "damage": 1,
        "transition-order": 1,
        "transition-repeated": 1,
        "transition-missing": 1,
        "transition-clock": 1,
    }
    assert all(of[0].path == paths[1] for name, of in findings.items() if name.startswith("transition"))
    assert "1000 ns later" in findings["transition-clock"][0].found


def test_files_that_are_empty_cut_or_missing(tmp_path: Path) -> None:
    paths = good_run(tmp_path)
    paths[0].write_bytes(paths[0].read_bytes()[:-17])
    (tmp_path / "e301-r0001-s01-c02.xtc").write_bytes(b"")
    findings = found(tmp_path)
    assert {name: len(of) for name, of in findings.items()} == {
        "damage": 1, "empty-file": 1, "missing-chunk": 1, "truncated": 1,
    }  # fmt: skip


def test_a_stream_that_ends_too_early(tmp_path: Path) -> None:
    paths = good_run(tmp_path)
    changed(paths[1], lambda parts: parts[: accepts(parts)[-1] + 1])
    (finding,) = found(tmp_path)["transition-order"]
    assert finding.path == paths[1] and finding.found == "the stream ends with L1Accept"


def test_what_a_run_has_without_configure(tmp_path: Path) -> None:
    with StreamWriter(tmp_path, "e301", 1, 0) as writer:
        writer.write(Datagram(Transition.BeginRun, 10, 0, env=2))
        writer.write(Datagram(Transition.L1Accept, 11, 0, fiducials=3))
        writer.write(Datagram(Transition.EndRun, 12, 0))
    assert set(found(tmp_path)) == {"no-configure", "transition-order", "run-number", "no-contributions"}


def test_checks_are_chosen_by_name() -> None:
    assert [check.name for check in choose(["split", "gap"])] == ["gap", "split"]
    assert len(choose(skip=["gap"])) == len(CHECKS) - 1
    assert not any(check.reads for check in choose(quick=True))
    with pytest.raises(NotFoundError, match="there is no check 'gaps'") as caught:
        choose(["gaps"])
    assert "gap" in caught.value.hint
