"""What every detector says to an event that is none of its run: its number would mean another event there."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from psanacli.detector import ControlData, EpicsDetector, EpicsTimeTool
from psanacli.errors import UsageError
from psanacli.run import Detector, Run, open_run


@pytest.fixture(scope="module")
def runs(shared: Path) -> Iterator[tuple[Run, Run]]:
    home = shared / "lcls1" / "types" / "xtc"
    with open_run(home / "e303-r0001-s00-c00.xtc") as run, open_run(home / "e303-r0002-s00-c00.xtc") as another:
        yield run, another


def takes_an_event(detector: Detector) -> Iterator[tuple[str, Callable[..., Any], bool]]:
    """Give the methods whose first argument is an event, and whether it may be left out."""
    names = [name for name in dir(type(detector)) if not name.startswith("_")]
    for name in [*names, *(["__call__"] if callable(detector) else [])]:
        if not callable(getattr(type(detector), name)):
            continue
        parameters = [*inspect.signature(getattr(detector, name)).parameters.values()]
        if parameters and parameters[0].name == "event":
            yield name, getattr(detector, name), parameters[0].default is None


def every_kind(run: Run) -> dict[type[Detector], Detector]:
    """Return a detector of each class."""
    found = {type(detector): detector for detector in (run.detector(name) for name in run.detectors)}
    if run.epics:
        found[EpicsDetector] = run.detector(next(iter(run.epics)))
    found[EpicsTimeTool] = EpicsTimeTool(run, "XPP:TIMETOOL")
    found[ControlData] = run.detector("ControlData")
    return found


def test_no_detector_takes_an_event_of_another_run(runs: tuple[Run, Run]) -> None:
    run, another = runs
    foreign = another.events[0]
    kinds = every_kind(run)
    assert len(kinds) > 15
    asked = 0
    for detector in kinds.values():
        for name, method, optional in takes_an_event(detector):
            with pytest.raises(UsageError, match=f"event 0 is of .*run {another.number}"):
                method(foreign)
            if not optional:
                with pytest.raises(UsageError, match=f"an event of run {run.number} is needed, not None"):
                    method(None)
            with pytest.raises(UsageError, match="is needed, not 3") as caught:
                method(3)
            assert "run.events[3]" in caught.value.hint, name
            asked += 1
    assert asked > 60


def test_the_error_tells_both_runs_and_the_way_out(runs: tuple[Run, Run]) -> None:
    run, another = runs
    detector = run.detector("EBeam")
    with pytest.raises(UsageError) as caught:
        detector.get(another.events[1])
    assert f"event 1 is of run {another.number} of {another.experiment.name or 'lone files'}" in caught.value.message
    assert f"not of run {run.number}" in caught.value.message
    assert "event.run.detector('EBeam')" in caught.value.hint
    assert caught.value.exit_code == 2
    with open_run([file.path for file in run.files.files]) as again:
        with pytest.raises(UsageError, match="of another opening of it"):
            detector.get(again.events[1])


def test_configuration_and_variables_take_events_of_their_run_only(runs: tuple[Run, Run]) -> None:
    run, another = runs
    with pytest.raises(UsageError, match=r"another run .* than this configuration"):
        run.config.at(another.events[0])
    with pytest.raises(UsageError, match="than these EPICS variables"):
        run.epics.at(another.events[0])
