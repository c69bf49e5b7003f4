"""The catalogue says what the facility's classes say: sizes, places, bit fields, enumerations, constants, methods."""

from __future__ import annotations

import json

import pytest

from psanacli.xtc import find, named, type_ids, type_names
from psanacli.xtc.catalogue import Bits, Field, Method, enumeration, is_configuration


@pytest.fixture(scope="module")
def facts(shared):
    return json.loads((shared / "facts/xtc_types.json").read_text())


def test_type_numbers(facts):
    assert type_ids() == {number: short for number, _, short, _ in facts["type_ids"]}
    for number, _, _, configuration in facts["type_ids"]:
        assert is_configuration(number) == configuration


def test_names(facts):
    theirs = {f"{package}.{name}" for package, entry in facts["packages"].items() for name in entry["types"]}
    assert set(type_names()) == theirs
    assert len(theirs) == facts["counts"]["types"]


def test_every_type(facts, tally):
    for package, content in facts["packages"].items():
        for short, entry in content["types"].items():
            name = f"{package}.{short}"
            ours = named(name)
            assert (ours.kind, ours.size, ours.align) == (entry["kind"], entry["size"], entry["align"]), name
            assert ours.constants == entry.get("constants", {})
            if package != "SmlData":  # decoding needs no configuration there
                assert ours.config_types == tuple(entry.get("config", ()))
            if "xtc" in entry and name != "PNCCD.FullFrameV1":
                assert find(*entry["xtc"][1:]) is ours
                assert type_ids()[entry["xtc"][1]] == entry["xtc"][0]
            for key, enum in entry.get("enums", {}).items():
                assert ours.enums[key].members == enum["members"]
            tally["catalogue: members"] += members(ours, entry)


def members(ours, entry):
    """Compare the members of a type; return how many."""
    count = 0
    for field in entry["fields"]:
        for stored in [field, *field.get("bits", ())]:
            if "get" not in stored or stored.get("private"):
                continue
            member = ours.members[stored["get"]]
            assert member.type == stored["type"].replace("<", "")
            assert member.enum == stored.get("enum")
            if member.enum:
                enumeration(member.enum)
            if isinstance(member, Bits):
                assert (member.shift, member.width) == (stored["offset"], stored["width"])
            else:
                assert isinstance(member, Field)
                assert member.offset == stored.get("offset")
                assert list(member.shape) == stored.get("shape", [])
            count += 1
    for method in entry.get("methods", ()):
        member = ours.members[method["name"]]
        assert isinstance(member, Method)
        assert (member.type, member.rank) == (method["type"].replace("<", ""), method.get("rank", 0))
        assert member.enum == method.get("enum")
        arguments = [[member.argument, member.argument_type]] if member.argument else []
        assert arguments == [[name, kind.replace("<", "")] for name, kind in method.get("args", ())]
        count += 1
    return count
