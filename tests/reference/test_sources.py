"""Source strings: what each selects, compared with what the original said."""

import json

import pytest

from psanacli.errors import UsageError
from psanacli.xtc import Source, SourceMatch


@pytest.fixture(scope="module")
def recorded(shared):
    return json.loads((shared / "psana1/api/core_api.json").read_text())


def test_every_recorded_string_selects_the_same_sources(recorded, tally):
    for case in recorded["sources"].values():
        sources = [Source(case["detail"][text]["log"], case["detail"][text]["phy"]) for text in case["sources"]]
        by_text = {source.text: source for source in sources}
        aliases = {alias: by_text[text] for text, alias in case["alias_map_order"] if alias}
        for text, expected in case["strings"].items():
            with_aliases = expected["plain"] if expected["aliases"] == "same" else expected["aliases"]
            for known, wanted in (({}, expected["plain"]), (aliases, with_aliases)):
                if "error" in wanted:
                    with pytest.raises(UsageError, match="cannot be parsed"):
                        SourceMatch.parse(text, known)
                    tally["source strings"] += 1
                    continue
                match = SourceMatch.parse(text, known)
                chosen = [number for number, source in enumerate(sources) if match.matches(source)]
                assert chosen == (list(range(len(sources))) if wanted["match"] == "all" else wanted["match"]), text
                assert match.exact == wanted["exact"], text
                assert match.no_source == wanted["no_source"], text
                assert f"SrcMatch({match})" == wanted["repr"], text
                tally["source strings"] += 4


def test_every_recorded_source_is_spelled_the_same(recorded, tally):
    ours = {
        "level": "level",
        "processId": "process",
        "detName": "detector",
        "detId": "det_id",
        "devName": "device",
        "devId": "dev_id",
        "typeName": "bld",
        "repr": "text",
    }
    for case in recorded["sources"].values():
        for text, detail in case["detail"].items():
            source = Source(detail["log"], detail["phy"])
            assert source.text == text
            for key, attribute in ours.items():
                if key in detail:
                    assert getattr(source, attribute) == detail[key], (text, key)
                    tally["source attributes"] += 1


def test_one_string_within_another(recorded, tally):
    strings = recorded["source_in"]["strings"]
    for text, row in zip(strings, recorded["source_in"]["matrix"], strict=True):
        for other, wanted in zip(strings, row, strict=True):
            assert SourceMatch.parse(text).within(SourceMatch.parse(other)) == wanted, (text, other)
            tally["source strings"] += 1


def test_names_and_numbers(shared, tally):
    from psanacli.xtc import names

    facts = json.loads((shared / "facts/sources.json").read_text())
    tables = {"detectors": "DETECTOR", "devices": "DEVICE", "bld": "BLD"}
    for subject, prefix in tables.items():
        assert [row["name"] for row in facts[subject]] == list(getattr(names, f"{prefix}_NAMES"))
        assert [row["enum"] for row in facts[subject]] == list(getattr(names, f"{prefix}_ENUMS"))
        tally["source names"] += 2 * len(facts[subject])
