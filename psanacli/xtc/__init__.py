"""Bytes: headers, walking, types, sources, damage, EPICS records, compression, small data, writer."""

import sys

from psanacli.xtc.catalogue import (
    EPICS,
    Enumeration,
    XtcType,
    find,
    is_configuration,
    named,
    names,
    type_ids,
    type_name,
)
from psanacli.xtc.columns import Batch
from psanacli.xtc.compress import Engine, compress, decompress, uncompressed_size
from psanacli.xtc.epics import (
    ALARMS,
    EPICS_EPOCH,
    EPICS_HEAD,
    RECORD_KINDS,
    SEVERITIES,
    decode_epics,
    epics_heads,
    epics_type,
)
from psanacli.xtc.headers import (
    CONTRIBUTION,
    DATAGRAM,
    KEY,
    MAX_FIDUCIALS,
    NO_FIDUCIAL,
    ContributionFlag,
    Damage,
    DamageBit,
    DatagramFlag,
    Level,
    Transition,
    control,
    fiducials,
    service,
    ticks,
    vector,
)
from psanacli.xtc.layout import Layout, bind, config_for, config_inside, decode
from psanacli.xtc.record import Record, Records
from psanacli.xtc.smalldata import PROXY, XTC, big_file_of, check_proxies, proxies_in, read_proxy
from psanacli.xtc.sources import NO_SOURCE, Segment, Source, SourceMatch
from psanacli.xtc.walk import FileTable, Node, Patterns, Problem, ProblemKind, walk_buffer, walk_file, walk_tree

if sys.byteorder != "little":
    raise ImportError("psanacli works on little-endian machines only")

__all__ = [
    "ALARMS",
    "CONTRIBUTION",
    "DATAGRAM",
    "EPICS",
    "EPICS_EPOCH",
    "EPICS_HEAD",
    "KEY",
    "MAX_FIDUCIALS",
    "NO_FIDUCIAL",
    "NO_SOURCE",
    "PROXY",
    "RECORD_KINDS",
    "SEVERITIES",
    "XTC",
    "Batch",
    "ContributionFlag",
    "Damage",
    "DamageBit",
    "DatagramFlag",
    "Engine",
    "Enumeration",
    "FileTable",
    "Layout",
    "Level",
    "Node",
    "Patterns",
    "Problem",
    "ProblemKind",
    "Record",
    "Records",
    "Segment",
    "Source",
    "SourceMatch",
    "Transition",
    "XtcType",
    "big_file_of",
    "bind",
    "check_proxies",
    "compress",
    "config_for",
    "config_inside",
    "control",
    "decode",
    "decode_epics",
    "decompress",
    "epics_heads",
    "epics_type",
    "fiducials",
    "find",
    "is_configuration",
    "named",
    "names",
    "proxies_in",
    "read_proxy",
    "service",
    "ticks",
    "type_ids",
    "type_name",
    "uncompressed_size",
    "vector",
    "walk_buffer",
    "walk_file",
    "walk_tree",
]
