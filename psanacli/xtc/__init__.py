"""Bytes: headers, walking, types, sources, damage, EPICS records, compression, small data, writer."""

import sys

from psanacli.xtc.compress import Engine, compress, decompress, uncompressed_size
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
from psanacli.xtc.smalldata import PROXY, XTC, big_file_of, check_proxies, proxies_in, read_proxy
from psanacli.xtc.sources import NO_SOURCE, Segment, Source, SourceMatch
from psanacli.xtc.walk import FileTable, Node, Patterns, Problem, ProblemKind, walk_buffer, walk_file, walk_tree

if sys.byteorder != "little":
    raise ImportError("psanacli works on little-endian machines only")

__all__ = [
    "CONTRIBUTION",
    "DATAGRAM",
    "KEY",
    "MAX_FIDUCIALS",
    "NO_FIDUCIAL",
    "NO_SOURCE",
    "PROXY",
    "XTC",
    "ContributionFlag",
    "Damage",
    "DamageBit",
    "DatagramFlag",
    "Engine",
    "FileTable",
    "Level",
    "Node",
    "Patterns",
    "Problem",
    "ProblemKind",
    "Segment",
    "Source",
    "SourceMatch",
    "Transition",
    "big_file_of",
    "check_proxies",
    "compress",
    "control",
    "decompress",
    "fiducials",
    "proxies_in",
    "read_proxy",
    "service",
    "ticks",
    "uncompressed_size",
    "vector",
    "walk_buffer",
    "walk_file",
    "walk_tree",
]
