"""Runs: data sources, files, tables, events."""

from psanacli.run.datasource import Dataset, DataSource, RunFiles, explain, parse_datasource, resolve
from psanacli.run.experiments import Experiment, Roots
from psanacli.run.files import XtcFile

__all__ = [
    "DataSource",
    "Dataset",
    "Experiment",
    "Roots",
    "RunFiles",
    "XtcFile",
    "explain",
    "parse_datasource",
    "resolve",
]
