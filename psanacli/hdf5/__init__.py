"""HDF5: the standard translated file, its plan and its filling.

>>> from psanacli.hdf5 import TranslateOptions, plan, translate          # doctest: +SKIP
>>> made = plan(run, TranslateOptions(include=("EBeam",)))                # doctest: +SKIP
>>> translate(run, made, Path("out.h5"), Team.from_options(jobs=4))       # doctest: +SKIP
"""

from psanacli.hdf5.compression import Compression
from psanacli.hdf5.options import EPICS_MODES, Selection, TranslateOptions
from psanacli.hdf5.outputs import job_name, output_path, outputs
from psanacli.hdf5.tables import Plan
from psanacli.hdf5.translate import Summary, plan, translate

__all__ = [
    "EPICS_MODES",
    "Compression",
    "Plan",
    "Selection",
    "Summary",
    "TranslateOptions",
    "job_name",
    "output_path",
    "outputs",
    "plan",
    "translate",
]
