"""A sample experiment, written with our own writer: to try things, to show them, and to measure speed."""

from psanacli.demo.experiment import CHOICES, SMALL, Sample, write_sample

__all__ = ["CHOICES", "SMALL", "Sample", "write_sample"]
