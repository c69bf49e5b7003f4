"""Runs: data sources, files, tables, events."""

from psanacli.run.blocks import Block
from psanacli.run.choice import Choice, Chosen
from psanacli.run.codes import EventCodes
from psanacli.run.config import Config, ConfigTimeline, Configuration
from psanacli.run.datasource import Dataset, DataSource, parse_datasource
from psanacli.run.described import describe_event
from psanacli.run.detectors import Detector, Detectors, main_array, place_in
from psanacli.run.epics import Epics, Value, Variable
from psanacli.run.event import Event, EventId
from psanacli.run.eventlist import IDS, EventList, Operator
from psanacli.run.events import Events
from psanacli.run.experiments import Experiment, Roots, calib_directory
from psanacli.run.expressions import Expression, ExpressionError, RunColumns, Table
from psanacli.run.files import XtcFile
from psanacli.run.gathered import EventsOfRuns
from psanacli.run.headers import RunHeaders
from psanacli.run.index import IndexFault, RunIndex
from psanacli.run.indexes import (
    IndexBuilder,
    IndexUse,
    Piece,
    build_index,
    find_index,
    index_paths,
    match,
    save_index,
    walk_piece,
)
from psanacli.run.indexstate import describe_index, list_runs
from psanacli.run.joined import Joined
from psanacli.run.listing import DEFAULT_COLUMNS, EventTable, event_values, split_columns
from psanacli.run.live import LAG, TIMEOUT, Batch, LiveRun, follow_run
from psanacli.run.missing import Bins, Presence, presence
from psanacli.run.names import DetectorNames, FoundDetector, Names
from psanacli.run.objects import Form, History, Key, Objects, Places, Product, chained, products_of
from psanacli.run.opening import open_run, open_runs
from psanacli.run.origins import Origin
from psanacli.run.patterns import Patterns
from psanacli.run.payloads import PayloadError
from psanacli.run.picture import Canvas
from psanacli.run.pieces import JoinedElement, WholeReader, Wholes
from psanacli.run.readers import Reader
from psanacli.run.reading import PayloadBlock, Rooms, Unread
from psanacli.run.resolving import RunFiles, explain, resolve
from psanacli.run.run import Run
from psanacli.run.runtable import DELIVERED, FileProblem, RunTable
from psanacli.run.segments import Whole, wholes
from psanacli.run.steps import CONTROL_DATA, CONTROL_NAMES, Step, Steps
from psanacli.run.streams import Stream
from psanacli.run.summary import (
    DetectorSummary,
    EpicsSummary,
    RunSummary,
    StepSummary,
    StreamSummary,
    TypeSummary,
    summarise,
)
from psanacli.run.tables import (
    EVENT,
    GROUP,
    STEP,
    TRANSITION,
    Action,
    Assembly,
    Built,
    Counters,
    EventFlag,
    Joining,
    Rules,
    build_groups,
    nest,
)
from psanacli.run.unchanged import witness

__all__ = [
    "CONTROL_DATA",
    "CONTROL_NAMES",
    "DEFAULT_COLUMNS",
    "DELIVERED",
    "EVENT",
    "GROUP",
    "IDS",
    "LAG",
    "STEP",
    "TIMEOUT",
    "TRANSITION",
    "Action",
    "Assembly",
    "Batch",
    "Bins",
    "Block",
    "Built",
    "Canvas",
    "Choice",
    "Chosen",
    "Config",
    "ConfigTimeline",
    "Configuration",
    "Counters",
    "DataSource",
    "Dataset",
    "Detector",
    "DetectorNames",
    "DetectorSummary",
    "Detectors",
    "Epics",
    "EpicsSummary",
    "Event",
    "EventCodes",
    "EventFlag",
    "EventId",
    "EventList",
    "EventTable",
    "Events",
    "EventsOfRuns",
    "Experiment",
    "Expression",
    "ExpressionError",
    "FileProblem",
    "Form",
    "FoundDetector",
    "History",
    "IndexBuilder",
    "IndexFault",
    "IndexUse",
    "Joined",
    "JoinedElement",
    "Joining",
    "Key",
    "LiveRun",
    "Names",
    "Objects",
    "Operator",
    "Origin",
    "Patterns",
    "PayloadBlock",
    "PayloadError",
    "Piece",
    "Places",
    "Presence",
    "Product",
    "Reader",
    "Rooms",
    "Roots",
    "Rules",
    "Run",
    "RunColumns",
    "RunFiles",
    "RunHeaders",
    "RunIndex",
    "RunSummary",
    "RunTable",
    "Step",
    "StepSummary",
    "Steps",
    "Stream",
    "StreamSummary",
    "Table",
    "TypeSummary",
    "Unread",
    "Value",
    "Variable",
    "Whole",
    "WholeReader",
    "Wholes",
    "XtcFile",
    "build_groups",
    "build_index",
    "calib_directory",
    "chained",
    "describe_event",
    "describe_index",
    "event_values",
    "explain",
    "find_index",
    "follow_run",
    "index_paths",
    "list_runs",
    "main_array",
    "match",
    "nest",
    "open_run",
    "open_runs",
    "parse_datasource",
    "place_in",
    "presence",
    "products_of",
    "resolve",
    "save_index",
    "split_columns",
    "summarise",
    "walk_piece",
    "wholes",
    "witness",
]
