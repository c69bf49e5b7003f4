"""Shared options."""

import click
import pytest
from click.testing import CliRunner

from psanacli.commands import common


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":", slice(None, None)),
        ("2:", slice(2, None)),
        (":-1", slice(None, -1)),
        ("1:9:2", slice(1, 9, 2)),
        ("::3", slice(None, None, 3)),
        ("4", slice(4, 5)),
        ("-1", slice(-1, None)),
        ("-2", slice(-2, -1)),
    ],
)
def test_event_slices(text, expected):
    assert common.event_slice(text) == expected


@pytest.mark.parametrize("text", ["", "a", "1:b", "1:2:3:4", "::0", "::-1", "1.5", "1 2"])
def test_what_is_no_event_slice(text):
    with pytest.raises(click.BadParameter, match="STEP of 1 or more"):
        common.event_slice(text)


def test_shared_options_arrive_under_their_names():
    seen = {}

    @common.verb(examples=[])
    @common.datasource
    @common.root
    @common.explain
    @common.output
    @common.number
    @common.events
    @common.jobs
    @common.json_output
    @common.dry_run
    @common.overwrite
    @common.talk
    def command(**values):
        seen.update(values)

    words = "exp=xppdemo:run=1 more.xtc --root /a --root /b -o out.h5 -n 5 --events 1:3 -j 0 --json"
    result = CliRunner().invoke(command, [*words.split(), "--dry-run", "--overwrite", "--explain", "-q", "-v"])
    assert result.exit_code == 0, result.output
    assert seen == {
        "datasource": ("exp=xppdemo:run=1", "more.xtc"),
        "root": ("/a", "/b"),
        "explain": True,
        "output": "out.h5",
        "number": 5,
        "events": slice(1, 3),
        "jobs": 0,
        "as_json": True,
        "dry_run": True,
        "overwrite": True,
    }


@pytest.mark.parametrize(
    "words", [[], ["x", "-j", "-1"], ["x", "-j", "many"], ["x", "--events", "::0"], ["x", "-n", "-1"]]
)
def test_wrong_values_are_wrong_usage(words):
    @common.verb(examples=[])
    @common.datasource
    @common.number
    @common.events
    @common.jobs
    def command(**values):
        pytest.fail("was called")

    assert CliRunner().invoke(command, words).exit_code == 2
