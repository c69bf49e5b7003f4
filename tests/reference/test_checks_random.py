"""Checks of the random runs, both ways: every finding is something planted, everything planted that shows is found.

What was planted is a list of ``[trigger or transition, stream or -1, what]``.  A trigger is told by the vector of its
datagrams, in control streams by the fiducial.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from psanacli.run import Run, open_run
from psanacli.run.checks import Evidence, Finding, check_run

RUNS = range(1, 81)
#: What is planted and shows in good runs too, or not at all: it must not be found as such.
USUAL = [
    "EPICS in transition", "Disable, Enable", "Map before Configure", "control EPICS only", "env 0$",
    r"Configure again in streams \[\]",
]  # fmt: skip
#: How what is planted is found: the planted kind, the checks that find it, and whether at that trigger.
FOUND: list[tuple[str, set[str], bool]] = [
    ("chunk .* does not exist", {"missing-chunk"}, False),
    ("empty file", {"empty-file"}, False),
    ("chunk .* ends in", {"truncated"}, False),
    ("chunk .* ends after", {"transition-order", "gap"}, False),
    ("env ", {"run-number"}, False),
    ("missing in all streams|a second one", {"transition-order"}, False),
    ("transition missing", {"transition-missing", "transition-order"}, False),
    ("calib cycles missing", {"transition-missing", "transition-order"}, False),
    ("transition twice", {"transition-repeated", "transition-clock"}, False),
    ("transition clock differs", {"transition-clock"}, False),
    ("Configure again", {"transition-order", "transition-missing"}, False),
    ("configuration differs", {"configuration"}, False),
    ("missing in DAQ", {"gap"}, True),
    ("twice$|also in another|control datagram twice", {"duplicate", "split"}, True),
    ("split in|second part", {"split"}, True),
    ("late by|before its predecessor", {"order"}, True),
    ("clock goes back|clock of the event before", {"clock", "fiducial-jump"}, True),
    ("pause of", {"pause"}, True),
    ("fiducial 0x1ff(e|f)", {"bad-fiducial"}, True),
    ("^fiducial 0x1ffdf|fiducial jumps", {"fiducial-jump"}, True),
    ("control fiducial off", {"control-unmatched", "control-clock", "order"}, True),
    ("control clock drifts", {"control-clock"}, True),
    ("^damage|datagram damage", {"damage", "dropped"}, True),
    ("dropped contribution", {"dropped"}, True),
    ("trimmed", {"trimmed"}, True),
    ("EPICS only", {"epics-only"}, True),
    ("no contributions|without contributions", {"no-contributions"}, True),
    ("same source twice|source of the DAQ", {"hidden"}, True),
    ("configuration in L1Accept", {"config-in-event"}, True),
    ("EPICS without payload", {"epics-empty"}, True),
    ("EPICS with unknown id", {"epics"}, False),
]
#: What else a finding can come from: other things that were planted, at that trigger or anywhere in the run.
CONSEQUENCES: dict[str, str] = {
    "transition-order": "feature (nocfg|noend|noBegRun|secondcfg|cutend|trunc|misschunk|emptyfile|endtwice)",
    "transition-missing": "feature (secondcfg|nocfg|nounc|misschunk|emptyfile|cutend|trunc|duptr|endtwice)|chunk",
    "transition-clock": "feature (cclk|spread|duptr)|transition twice",
    "gap": "feature (misschunk|emptyfile|cutend|trunc)|chunk|late by",  # so late that the run had ended
    "duplicate": "feature (cdup|dup|dupother|split|splitother)",
    "split": "feature (dup|dupother)",
    "order": "feature (late|clate|farlate|swap|back|sameclock|dup|split|splitother)",
    "clock": "feature (back|sameclock|swap|late)",
    "pause": "feature (back|gap|gap364|cutend|trunc|misschunk|miss|emptyfile)",
    "fiducial-jump": "feature (secondcfg|fidjump|back|sameclock|badfid|gap|gap364)",
    "control-unmatched": "feature (cfidoff|miss|cutend|trunc|misschunk|emptyfile|cdrift|back|sameclock|badfid|cbadfid|"
    "fidjump|late|clate|farlate|swap|noBegCal|misstr|noBegRun|secondcfg|endtwice|gap|gap364|bigoff|epicsonly|trim|cclk)"
    "|calib cycles missing|missing in all streams|transition",
    "control-clock": "feature (cdrift|bigoff|back|sameclock|clate|gap364|cfidoff|fidjump)",
    "damage": "feature (damage|cdamage|dgdamage|dropc|split|splitother)",
    "epics-only": "feature (split|splitother|epicsonly)",
    "no-contributions": "feature (empty|cempty)",
    "hidden": "feature (dup|dupother|split|splitother|csame|cdup|cdrift|cfidoff)",
    "epics": "feature (nocfg|misschunk|diffcfg|secondcfg|trunc|badint)",
    "configuration": "feature (diffcfg|secondcfg)",
}


@cache
def descriptions(shared: Path) -> dict[int, dict[str, Any]]:
    return {run["run"]: run for run in json.loads((shared / "lcls1" / "random" / "runs.json").read_text())}


class Triggers:
    """Numbers of the triggers of datagrams."""

    def __init__(self, evidence: Evidence, description: dict[str, Any]) -> None:
        self.evidence = evidence
        rows = np.flatnonzero(evidence.accepts & ~evidence.control)
        vectors = evidence.vector[rows]
        spread = (vectors - vectors[0] + 16384) % 32768 - 16384 if len(rows) else vectors
        missing = [n for n, _, what in description["planted"] if what == "missing in DAQ"]
        there = set(spread.tolist())
        count = description["triggers"]
        bases = range(int(spread.max()) - count + 1, int(spread.min()) + 1) if len(rows) else [0]
        base = min(bases, key=lambda base: sum(base + n in there for n in missing)) if len(bases) else 0
        self.of_row = dict(zip(rows.tolist(), (spread - base).tolist(), strict=True))
        fiducials = {int(evidence.fiducials[row]): n for row, n in self.of_row.items()}
        self.of_fiducial = {fiducial: n for fiducial, n in fiducials.items() if fiducial < 131040}

    def __call__(self, row: int) -> int | None:
        """Number of the trigger of a row, None when it cannot be told."""
        if row in self.of_row:
            return self.of_row[row]
        fiducial = int(self.evidence.fiducials[row])
        if fiducial >= 131040:
            return None
        for away in (0, -1, 1, -3, 3):
            if fiducial + away in self.of_fiducial:
                return self.of_fiducial[fiducial + away]
        return None


class Place(NamedTuple):
    check: str
    stream: int
    trigger: int | None


def places(run: Run, evidence: Evidence, triggers: Triggers) -> list[tuple[Place, Finding]]:
    numbers = {file.path: number for number, file in enumerate(run.table.files)}
    found = []
    for check, finding in check_run(run, evidence=evidence):
        stream, trigger = -1, None
        if finding.path in numbers:
            number = numbers[finding.path]
            stream = run.table.files[number].stream
            rows = evidence.rows_of_file(number)
            if finding.offset is not None and len(rows) and check.name != "truncated":
                at = int(np.searchsorted(evidence.datagrams["offset"][rows], finding.offset, side="right")) - 1
                trigger = triggers(int(rows[max(at, 0)])) if evidence.accepts[rows[max(at, 0)]] else None
        found.append((Place(check.name, stream, trigger), finding))
    return found


def visible(evidence: Evidence, triggers: Triggers, where: Any, stream: int, what: str) -> bool:
    """Whether something planted can be seen in the data: later changes of a datagram may have hidden it.

    This looks at the words of headers, and knows nothing of the checks.
    """
    daq = [one for one in evidence.streams if not one.control]
    if not isinstance(where, int):
        lone = len(daq) < 2 and re.search("configuration differs|calib cycles missing|transition missing", what)
        # Recorders of control data often lack transitions.
        return not (lone or (stream >= 80 and re.search("missing", what)))
    rows = [row for row, n in triggers.of_row.items() if n == where]
    mine = [row for row in rows if evidence.stream_of_row[row] == stream]
    if what == "missing in DAQ":
        seen = set(triggers.of_row.values())
        return min(seen) < where < max(seen) and not rows
    if what.startswith("pause"):
        before = [row for row, n in triggers.of_row.items() if n == where - 1]
        if not before or not rows:
            return False
        first, last = int(evidence.clock[before[0]]), int(evidence.clock[rows[0]])
        between = ~evidence.accepts & (evidence.clock > first) & (evidence.clock < last) & ~evidence.control
        return last - first > 2 * 10**9 and not between.any()
    if stream >= 80:
        return _shows_in_control(evidence, triggers, where, stream, what)
    return any(_shows(evidence, triggers, row, where, rows, what) for row in mine)


def _shows_in_control(evidence: Evidence, triggers: Triggers, where: int, stream: int, what: str) -> bool:
    """The same for control streams, whose datagrams are told by the fiducial."""
    of_stream = np.flatnonzero(evidence.accepts & (evidence.stream_of_row == stream))
    if what.startswith("control fiducial 0x"):
        return bool((evidence.fiducials[of_stream] >= 131040).any())
    mine = [row for row in of_stream.tolist() if triggers.of_fiducial.get(int(evidence.fiducials[row])) == where]
    if what == "control datagram twice":
        clocks = evidence.clock[of_stream].tolist()
        return any(clocks.count(int(evidence.clock[row])) > 1 for row in mine)
    if what == "control datagram without contributions":
        sizes = np.diff(evidence.table.start)[evidence.datagrams["pattern"]]
        return any(sizes[row] == 0 for row in mine)
    if what.startswith("damage"):
        return any(_shows(evidence, triggers, row, where, mine, what) for row in mine)
    return False  # clocks and matches are compared by the checks themselves


def _shows(evidence: Evidence, triggers: Triggers, row: int, where: int, rows: list[int], what: str) -> bool:
    table = evidence.table
    pattern = int(evidence.datagrams["pattern"][row])
    inside = table.contributions[table.start[pattern] : table.start[pattern + 1]]
    types = table.keys["type"][inside["key"]] & 0xFFFF
    if what.startswith("same source"):
        objects = [key for key, kind in zip(inside["key"].tolist(), types.tolist(), strict=True) if kind not in (1, 13)]
        return evidence.event_of_row[row] >= 0 and len(set(objects)) < len(objects) and not inside["damage"].any()
    if re.search("late by|before its predecessor", what):
        of_stream = [
            (one, n) for one, n in triggers.of_row.items() if evidence.stream_of_row[one] == evidence.stream_of_row[row]
        ]
        # Parts of split events come when they come, which is no disorder.
        often = Counter(triggers.of_row.values())
        return any((one < row) != (n < where) for one, n in of_stream if n != where and often[n] == 1)
    if re.search("clock goes back|clock of the event before", what):
        before = [one for one, n in triggers.of_row.items() if n == where - 1]
        return any(evidence.clock[row] <= evidence.clock[one] for one in before)
    if what == "EPICS only":
        return len(types) > 0 and set(types.tolist()) <= {13} and not evidence.datagrams["env"][row] >> 31
    if what == "EPICS without payload":
        return bool(((types == 13) & (inside["extent"] == 20)).any())
    if what.startswith("damage"):
        return bool(inside["damage"].any())
    if what.startswith("dropped"):
        return bool((inside["damage"] & 2).any())
    if re.search("second part|split in", what):
        return len(rows) > 1
    if re.search("^fiducial 0x1ffdf|fiducial jumps", what):
        return 0 < where
    return True


@pytest.mark.parametrize("number", RUNS)
def test_both_ways(shared: Path, tally: Counter[str], number: int) -> None:
    description = descriptions(shared)[number]
    planted = [entry for entry in description["planted"] if not any(re.search(usual, entry[2]) for usual in USUAL)]
    features = [f"feature {name} " for name in description["features"]]
    directory = shared / "lcls1" / "random" / f"r{number:04d}" / "xtc"
    with open_run(f"exp=cxirnd16:run={number}:dir={directory}", index=False) as run:
        evidence = Evidence(run)
        triggers = Triggers(evidence, description)
        found = places(run, evidence, triggers)
        unexplained = [str(finding) for place, finding in found if not explained(place, planted, features)]
        assert unexplained == []
        tally["random runs: findings that were planted"] += len(found)
        missed = []
        for where, stream, what in planted:
            if not visible(evidence, triggers, where, stream, what):
                tally["random runs: planted, does not show"] += 1
                continue
            if is_found(where, stream, what, [place for place, _ in found]):
                tally["random runs: planted and found"] += 1
            else:
                missed.append([where, stream, what])
        assert missed == []


def explained(place: Place, planted: list[Any], features: list[str]) -> bool:
    """Whether a finding is something that was planted, or comes from it."""
    for where, _, what in planted:
        for pattern, checks, local in FOUND:
            if place.check in checks and re.search(pattern, what):
                near = not local or place.trigger is None or not isinstance(where, int)
                if near or abs(place.trigger - where) <= 2:
                    return True
    also = CONSEQUENCES.get(place.check)
    if also is None:
        return False
    whats = [entry[2] for entry in planted]
    return any(re.search(also, text.strip()) for text in (*features, *whats))


def is_found(where: Any, stream: int, what: str, found: list[Place]) -> bool:
    for pattern, checks, local in FOUND:
        if re.search(pattern, what):
            for place in found:
                if place.check in checks:
                    if not local or not isinstance(where, int):
                        return True
                    if place.trigger is None or abs(place.trigger - where) <= 2:
                        return True
                    if place.check == "order" and place.stream == stream:
                        return True  # what was written before its predecessor makes that one late
    return False
