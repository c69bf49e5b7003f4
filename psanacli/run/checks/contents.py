"""Checks of what datagrams contain: damage, types, and what is not seen."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from psanacli.run.checks.evidence import Evidence, Finding, Ints
from psanacli.run.checks.triggers import repeats
from psanacli.run.objects import BOOKKEEPING, is_config, is_dropped, products_of
from psanacli.run.tables import Action
from psanacli.xtc import (
    EPICS,
    TYPE_ANY,
    TYPE_XTC,
    XTC,
    ContributionFlag,
    Damage,
    DamageBit,
    DatagramFlag,
    Source,
    find,
    type_ids,
    type_name,
)

Bools = NDArray[np.bool_]
_DROPPED = np.uint32(1 << DamageBit.DroppedContribution)


def named(key: np.void) -> str:
    """Return a key for people: ``EBeam_v7 of BldInfo(EBeam)``."""
    source = Source(int(key["log"]), int(key["phy"]))
    return f"{type_name(int(key['type']))} of {source.text or 'no source'}"


def places(evidence: Evidence, contributions: Ints, rows: Ints | None = None) -> tuple[Ints, Ints]:
    """Return where contributions occur: rows of the datagram table, ascending, and of the contribution table.

    Parameters
    ----------
    evidence : Evidence
        The run.
    contributions : ndarray of int64
        Rows of the contribution table, ascending.
    rows : ndarray of int64, optional
        Look in these datagrams only.
    """
    if rows is None:
        patterns = np.zeros(len(evidence.table.start) - 1, bool)
        patterns[evidence.table.contents.pattern[contributions]] = True
        rows = np.flatnonzero(patterns[evidence.datagrams["pattern"]])
    index, contribution = evidence.table.contents.occurrences(contributions, evidence.datagrams["pattern"][rows])
    return rows[index], contribution


def _each(evidence: Evidence, marked: Bools, rows: Ints | None = None) -> Iterator[tuple[int, int, np.void]]:
    """Go through the occurrences of marked contributions: row, offset in the datagram, contribution."""
    found, contributions = places(evidence, np.flatnonzero(marked), rows)
    table = evidence.table.contributions
    for row, number in zip(found.tolist(), contributions.tolist(), strict=True):
        contribution = table[number]
        yield row, int(contribution["offset"]), contribution


def _words(evidence: Evidence) -> NDArray[np.uint32]:
    """Type word of each contribution."""
    table = evidence.table
    return np.asarray(table.keys["type"][table.contributions["key"]] if len(table.keys) else np.zeros(0, np.uint32))


def damage(evidence: Evidence) -> Iterator[Finding]:
    """Damaged contributions and datagrams."""
    table = evidence.table
    word = table.contributions["damage"]
    for row, inside, contribution in _each(evidence, (word != 0) & ~is_dropped(_words(evidence), word)):
        key = table.keys[int(contribution["key"])]
        what = f"{named(key)}: {_told(int(contribution['damage']))}"
        if contribution["flags"] & ContributionFlag.NOT_ENTERED:
            source = Source(int(key["log"]), int(key["phy"])).text
            what = f"a container of {source}: {_told(int(contribution['damage']))}; what is inside is not read"
        yield evidence.at(row, what, "no damage", inside=inside)
    # A datagram that is part of a split event, or has lost a contribution, is another finding.
    parts = evidence.once(repeats)
    split = np.concatenate((parts.row[~parts.copy], parts.first[~parts.copy]))
    told = np.zeros(len(evidence.datagrams), bool)
    told[split] = True
    told[places(evidence, np.flatnonzero(is_dropped(_words(evidence), word)))[0]] = True
    bits = evidence.datagrams["damage"]
    for row in np.flatnonzero((bits != 0) & ((bits != _DROPPED) | ~told)).tolist():
        what = f"the datagram: {_told(int(bits[row]))}"
        if evidence.datagrams["flags"][row] & DatagramFlag.NOT_ENTERED:
            what += "; what is inside is not read"
        yield evidence.at(row, what, "no damage")


def _told(word: int) -> str:
    damage = Damage(word)
    user = f", user bits {damage.user_bits:#x}" if damage.user_bits else ""
    return f"damage {word:#x} ({', '.join(damage.names) or 'no flags'}{user})"


def dropped(evidence: Evidence) -> Iterator[Finding]:
    """Contributions that are missing, as the data say."""
    table = evidence.table
    for row, inside, contribution in _each(evidence, is_dropped(_words(evidence), table.contributions["damage"])):
        key = table.keys[int(contribution["key"])]
        source = Source(int(key["log"]), int(key["phy"])).text
        yield evidence.at(row, f"the contribution of {source or 'no source'} was dropped", "it", inside=inside)


def types(evidence: Evidence) -> Iterator[Finding]:
    """Objects of a type or version that nobody knows."""
    table = evidence.table
    names = type_ids()
    unknown = np.zeros(len(table.keys), bool)
    expected = []
    for number, word in enumerate(table.keys["type"].tolist()):
        type_id, version = word & 0xFFFF, word >> 16 & 0x7FFF
        fixed = {TYPE_XTC: 1, EPICS: 1, TYPE_ANY: None}
        wanted = fixed.get(type_id, version if find(type_id, version) else None)
        unknown[number] = version != wanted and type_id != TYPE_ANY
        known = [str(other) for other in range(64) if find(type_id, other)] if type_id in names else []
        expected.append(f"{names.get(type_id)} version {' or '.join(known)}" if known else "a type of the catalogue")
    marked = unknown[table.contributions["key"]] if len(table.keys) else np.zeros(0, bool)
    bad_any = (_words(evidence) & 0xFFFF == TYPE_ANY) & ~is_dropped(_words(evidence), table.contributions["damage"])
    for row, inside, contribution in _each(evidence, marked | bad_any):
        number = int(contribution["key"])
        key = table.keys[number]
        type_id, version = int(key["type"]) & 0xFFFF, int(key["type"]) >> 16 & 0x7FFF
        if type_id == TYPE_ANY:
            yield evidence.at(row, "an object of type Any that is not marked as dropped", "a type", inside=inside)
            continue
        what = f"type {type_id} version {version} of {Source(int(key['log']), int(key['phy'])).text or 'no source'}"
        yield evidence.at(row, what, expected[number], inside=inside)


def trimmed(evidence: Evidence) -> Iterator[Finding]:
    """Events whose detector data were removed because the level-3 trigger said fail."""
    rows = np.flatnonzero(evidence.accepts & ~evidence.control & (evidence.datagrams["env"] >> 31 != 0))
    for row in rows.tolist():
        left = ", left out of the events" if evidence.event_of_row[row] < 0 else ""
        yield evidence.at(row, f"trimmed: the level-3 trigger said fail{left}", "data of all detectors")


def epics_only(evidence: Evidence) -> Iterator[Finding]:
    """Datagrams of DAQ events with nothing but EPICS records in them."""
    for row in _bare_rows(evidence, empty=False):
        yield evidence.at(row, "nothing but EPICS" + _left_out(evidence, row), "detector data")


def no_contributions(evidence: Evidence) -> Iterator[Finding]:
    """Datagrams of events with nothing in them."""
    for row in _bare_rows(evidence, empty=True):
        size = int(evidence.datagrams["extent"][row]) - XTC.itemsize
        what = f"nothing but {size} bytes of containers in it" if size else "nothing is in it"
        yield evidence.at(row, what + _left_out(evidence, row), "detector data")


def _bare_rows(evidence: Evidence, *, empty: bool) -> list[int]:
    table = evidence.table
    nothing = np.diff(table.start) == 0
    wanted = nothing if empty else (table.contents.only_epics != 0) & ~nothing
    # A datagram whose contents contradict the format is another finding.
    chosen = evidence.accepts & wanted[evidence.datagrams["pattern"]] & (evidence.datagrams["flags"] == 0)
    if not empty:
        # Recorders of control data may have nothing but EPICS; of a trimmed event nothing else is left.
        chosen &= ~evidence.control & (evidence.datagrams["env"] >> 31 == 0)
    return np.flatnonzero(chosen).tolist()


def _left_out(evidence: Evidence, row: int) -> str:
    group = int(evidence.group_of_row[row])
    left = group >= 0 and int(evidence.table.groups["action"][group]) == Action.EPICS_ONLY
    return ": left out of the events" if left else ""


def config_in_events(evidence: Evidence) -> Iterator[Finding]:
    """Configuration objects in events, which count from there on."""
    table = evidence.table
    configuration = np.zeros(len(table.keys), bool)
    for number, word in enumerate(table.keys["type"].tolist()):
        xtc_type = find(word & 0xFFFF, word >> 16)
        configuration[number] = xtc_type is not None and is_config(xtc_type)
    if not configuration.any():
        return
    events = np.flatnonzero(evidence.accepts)
    for row, inside, contribution in _each(evidence, configuration[table.contributions["key"]], events):
        key = table.keys[int(contribution["key"])]
        expected = "configuration in Configure or BeginCalibCycle"
        yield evidence.at(row, f"{named(key)} in an event", expected, inside=inside)


def hidden(evidence: Evidence) -> Iterator[Finding]:
    """Objects that stand behind another one of the same type and source in one event, which alone is seen."""
    table = evidence.table
    contents = table.contents
    identity = _identities(evidence)
    contributions = np.flatnonzero((identity >= 0) & contents.storable)
    if not len(contributions):
        return
    rows, groups = evidence.event_members
    # Of lone datagrams only those are looked at whose pattern has something twice.
    several = int(identity.max()) + 1
    pairs = contents.pattern[contributions] * several + identity[contributions]
    unique, count = np.unique(pairs, return_counts=True)
    twice = np.zeros(len(table.start) - 1, bool)
    twice[unique[count > 1] // several] = True
    interesting = twice[evidence.datagrams["pattern"][rows]] | (table.groups["count"][groups] > 1)
    rows, groups = rows[interesting], groups[interesting]
    index, found = contents.occurrences(contributions, evidence.datagrams["pattern"][rows])
    by_key = np.lexsort((np.arange(len(found)), identity[found], groups[index]))
    index, found = index[by_key], found[by_key]
    again = np.zeros(len(found), bool)
    again[1:] = (np.diff(groups[index]) == 0) & (np.diff(identity[found]) == 0)
    index, found = index[again], found[again]
    for place in np.lexsort((found, rows[index])).tolist():
        contribution = table.contributions[int(found[place])]
        what = f"a second {named(table.keys[int(contribution['key'])])} in one event; only the first is seen"
        yield evidence.at(int(rows[index[place]]), what, "one", inside=int(contribution["offset"]))


def _identities(evidence: Evidence) -> Ints:
    """Return for each contribution a number that objects of one type and source share; -1 for all that is no object."""
    table = evidence.table
    numbers: dict[tuple[int, tuple[int, int]], int] = {}
    of_key: list[int] = []
    for log, phy, word in table.keys.tolist():
        products = products_of(word)
        if not products or products[0].xtc_type.name == BOOKKEEPING or is_config(products[0].xtc_type):
            of_key.append(-1)
        else:
            of_key.append(numbers.setdefault((word, Source(log, phy).identity), len(numbers)))
    return np.array(of_key, np.int64)[table.contributions["key"]] if of_key else np.zeros(0, np.int64)


def empty_epics(evidence: Evidence) -> Iterator[Finding]:
    """EPICS records without a payload."""
    table = evidence.table
    marked = (_words(evidence) & 0xFFFF == EPICS) & (table.contributions["extent"] <= XTC.itemsize)
    for row, inside, _ in _each(evidence, marked):
        yield evidence.at(row, "an EPICS record without a payload", "a value", inside=inside)
