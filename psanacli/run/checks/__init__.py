"""Checks: what in a run is not as it should be, one named check for each kind of irregularity.

What is usual in good runs is no finding: clocks of control streams that are off by a constant, fiducials that wrap,
steps that pause, EPICS records anywhere, a Map, a missing Unconfigure, a later chunk that simply goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from psanacli.errors import NotFoundError, did_you_mean
from psanacli.run.checks import companions, contents, control, files, order, payloads, transitions
from psanacli.run.checks.evidence import Check, Evidence, Finding
from psanacli.run.run import Run

Result = tuple[Check, Finding]

CHECKS: tuple[Check, ...] = (
    Check("empty-file", "files without a byte", files.empty),
    Check("missing-chunk", "chunks of a stream that are not there", files.chunks),
    Check("truncated", "files that end before their last datagram does", files.truncated),
    Check("header", "datagram headers that cannot be, behind which nothing can be read", files.headers),
    Check("container", "containers and contributions that contradict what is around them", files.containers),
    Check("no-configure", "a run without a Configure", transitions.no_configure),
    Check("transition-order", "transitions missing or in the wrong order in their stream", transitions.order),
    Check("transition-repeated", "transitions that are in a stream twice", transitions.repeated),
    Check("transition-missing", "transitions that only some streams have", transitions.missing),
    Check("transition-clock", "transitions whose clock is not the same in all streams", transitions.clocks),
    Check("run-number", "a BeginRun with another number than the name of the file", transitions.run_number),
    Check("gap", "triggers that no stream has, as the vectors tell", order.gaps),
    Check("duplicate", "events that are there twice", order.duplicates),
    Check("split", "events whose parts are in several datagrams", order.split),
    Check("order", "events that stand behind younger ones in their stream", order.order),
    Check("clock", "clocks that stand or go backwards", order.clock),
    Check("pause", "long times without an event within a step", order.pauses),
    Check("bad-fiducial", "fiducials that cannot be", order.bad_fiducials),
    Check("fiducial-jump", "fiducials that do not go with the clock", order.fiducial_jumps),
    Check("control-unmatched", "control datagrams that belong to no event", control.unmatched),
    Check("control-clock", "control streams whose clock is not off by a constant, or too far", control.clock),
    Check("damage", "damage of datagrams, containers and contributions", contents.damage),
    Check("dropped", "contributions that were dropped", contents.dropped),
    Check("trimmed", "events trimmed by the level-3 trigger", contents.trimmed),
    Check("epics-only", "DAQ datagrams with nothing but EPICS records", contents.epics_only),
    Check("no-contributions", "datagrams of events with nothing in them", contents.no_contributions),
    Check("hidden", "objects behind another one of the same type and source in one event", contents.hidden),
    Check("config-in-event", "configuration objects in events", contents.config_in_events),
    Check("type", "types and versions that nobody knows", contents.types),
    Check("epics-empty", "EPICS records without a payload", contents.empty_epics),
    Check("run-index", "an index of the run that does not agree with the data", companions.run_index),
    Check("facility-index", "index files (.xtc.idx) that do not agree with the data", companions.facility_index),
    Check("small-data", "small data that do not have the datagrams of the data", companions.small_data),
    Check("proxy", "proxies of the small data for something else than there is", companions.proxies, reads=True),
    Check("epics", "EPICS records that cannot be, or of a variable without a name", payloads.epics, reads=True),
    Check("configuration", "Configure that differs among the DAQ streams", payloads.configurations, reads=True),
    Check("payload", "objects that do not fit into their payloads", payloads.sizes, reads=True),
    Check("compressed", "compressed payloads that cannot be decompressed", payloads.compressed, reads=True),
)
"""All checks, in the order in which they are made."""


def choose(only: Iterable[str] = (), skip: Iterable[str] = (), *, quick: bool = False) -> tuple[Check, ...]:
    """Return some of the checks.

    Parameters
    ----------
    only, skip : iterable of str
        Names of checks; `only` is for all when it is empty.
    quick : bool
        Leave out those that read payloads.

    Raises
    ------
    NotFoundError
        There is no check of that name, with the nearest names.
    """
    names = [check.name for check in CHECKS]
    only, skip = set(only), set(skip)
    for name in sorted((only | skip) - set(names)):
        raise NotFoundError(f"there is no check {name!r}", did_you_mean(name, names, "--list shows all checks"))
    return tuple(
        check
        for check in CHECKS
        if (not only or check.name in only) and check.name not in skip and not (quick and check.reads)
    )


def check_run(run: Run, checks: Sequence[Check] = CHECKS, evidence: Evidence | None = None) -> Iterator[Result]:
    """Find what is not as it should be in a run.

    Parameters
    ----------
    run : Run
        The run.
    checks : sequence of Check
        Which checks to make, see `choose`.
    evidence : Evidence, optional
        Made of the run, with its ``most_bytes``; its notes say afterwards what was not read for that reason.

    Yields
    ------
    Check, Finding
    """
    evidence = evidence or Evidence(run)
    for check in checks:
        for finding in check.find(evidence):
            yield check, finding


__all__ = ["CHECKS", "Check", "Evidence", "Finding", "check_run", "choose"]
