"""A sample experiment, written with our own writer: to try things, to show them, and to measure speed."""

from psanacli.demo.experiment import CHOICES, EXPERIMENT, INSTRUMENT, SMALL, Sample, write_sample

__all__ = ["CHOICES", "EXPERIMENT", "INSTRUMENT", "SMALL", "Sample", "write_sample"]
